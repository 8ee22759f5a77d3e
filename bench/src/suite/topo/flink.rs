//! The keyed count of Apache Flink: its jars on Debian's Java, a job that is compiled here, one process that is started
//! and ends.
//!
//! The job makes its own keys. Counts are in the heap, or in RocksDB where there are many, with exactly-once checkpoints
//! every second; its just-in-time compiler warms up outside of the measured stretch.

use super::TopoArgs;
use crate::Common;
use crate::child::{self, Program};
use crate::error::BenchError;
use crate::report::Measured;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What must be known to read a comparison with it.
pub(super) const NOTE: &str = "flink makes its own records; exactly-once checkpoints every second";
const JAVA: Program = Program { name: "java", package: "openjdk-17-jre-headless" };
const JAVAC: Program = Program { name: "javac", package: "openjdk-17-jdk-headless" };
const PACKAGE: &str = "apache-flink-libraries";
const JOB: &str = include_str!("KeyedCount.java");
/// More keys than these are kept in RocksDB.
const HEAP_KEY_COUNT_MAX: u64 = 100_000;
/// What Flink needs of a Java that hides its insides.
const OPTIONS: &[&str] = &[
    "-Xmx4g",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
];

pub(super) fn run(args: &TopoArgs, common: &Common, keys: u64) -> Result<Measured, BenchError> {
    JAVA.require()?;
    JAVAC.require()?;
    let jars = jars(args)?;
    let dir = common.fresh_dir()?;
    let source = dir.path().join("KeyedCount.java");
    std::fs::write(&source, JOB).map_err(BenchError::io("writing the job"))?;
    let classes = dir.path().join("classes");
    child::run(Command::new(JAVAC.name).args(["-cp", &class_path(&jars), "-d"]).arg(&classes).arg(&source))?;
    let state = if keys > HEAP_KEY_COUNT_MAX { "rocksdb" } else { "heap" };
    let seconds = |time: std::time::Duration| time.as_secs_f64().to_string();
    let mut command = Command::new(JAVA.name);
    command.args(OPTIONS).arg("-cp").arg(class_path(&[jars.as_slice(), &[classes]].concat()));
    command.args(["KeyedCount", state, &keys.to_string(), &args.threads.to_string()]);
    command.args([seconds(args.warm_up_time(common)), seconds(args.measured_time(common))]).arg(dir.path());
    let ended = child::run(&mut command)?;
    let counted = Counted::read(&ended.text)
        .ok_or_else(|| BenchError::Wrong(format!("the job's line is not understood: {}", ended.text)))?;
    if counted.checkpoints == 0.0 {
        return Err(BenchError::Wrong("the job has no checkpoint in the measured time".to_string()));
    }
    Ok(vec![
        ("records_per_s", counted.records / counted.wall_s),
        ("records_per_cpu_s", counted.records / counted.cpu_s),
        ("records", counted.records),
        ("checkpoints", counted.checkpoints),
        ("elapsed_s", counted.wall_s),
        ("cpu_s", counted.cpu_s),
    ]
    .into())
}

/// What the job printed.
#[derive(Debug, PartialEq)]
struct Counted {
    records: f64,
    cpu_s: f64,
    wall_s: f64,
    checkpoints: f64,
}

impl Counted {
    fn read(text: &str) -> Option<Counted> {
        let line = text.lines().find(|line| line.starts_with("records="))?;
        let of = |name: &str| {
            let value = line.split_whitespace().find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse::<f64>().ok())
        };
        let (records, cpu_s) = (of("records")?, of("cpu_s")?);
        Some(Counted { records, cpu_s, wall_s: of("wall_s")?, checkpoints: of("checkpoints")? })
    }
}

fn class_path(jars: &[PathBuf]) -> String {
    jars.iter().map(|jar| jar.to_string_lossy()).collect::<Vec<_>>().join(":")
}

/// Flink and its logger, from the directory that was given.
fn jars(args: &TopoArgs) -> Result<Vec<PathBuf>, BenchError> {
    let missing = || BenchError::NotFetched { what: "Flink", package: PACKAGE, option: "--flink DIR --fetch" };
    let dir = args.flink.as_deref().ok_or_else(missing)?;
    let mut jars = found(dir)?;
    if jars.is_empty() && args.fetch {
        fetch(dir)?;
        jars = found(dir)?;
    }
    if jars.is_empty() { Err(missing()) } else { Ok(jars) }
}

/// Whether a file is a jar that the job needs.
fn is_wanted(name: &str) -> bool {
    let wanted = ["flink-dist-", "log4j-api-", "log4j-core-", "log4j-slf4j-impl-"];
    name.ends_with(".jar") && wanted.iter().any(|start| name.starts_with(start))
}

/// The jars below a directory; none without Flink's own.
fn found(dir: &Path) -> Result<Vec<PathBuf>, BenchError> {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut jars = Vec::new();
    crate::measure::visit_files(dir, &mut |path, _| {
        if is_wanted(&name(path)) {
            jars.push(path.to_path_buf());
        }
    })?;
    if !jars.iter().any(|jar| name(jar).starts_with("flink-dist-")) {
        jars.clear();
    }
    jars.sort();
    Ok(jars)
}

/// Gets the package with pip and takes the jars out of it.
fn fetch(dir: &Path) -> Result<(), BenchError> {
    Program { name: "python3", package: "python3-pip" }.require()?;
    std::fs::create_dir_all(dir).map_err(BenchError::io("making Flink's directory"))?;
    child::run(Command::new("python3").args(["-m", "pip", "download", "--no-deps", "-d"]).arg(dir).arg(PACKAGE))?;
    let mut archives = Vec::new();
    crate::measure::visit_files(dir, &mut |path, _| {
        if unpack(path, dir).is_some() {
            archives.push(path.to_path_buf());
        }
    })?;
    for archive in archives {
        if let Some(mut command) = unpack(&archive, dir) {
            child::run(&mut command)?;
        }
        std::fs::remove_file(&archive).map_err(BenchError::io("removing Flink's archive"))?;
    }
    Ok(())
}

/// What takes the jars out of a package: pip brings a wheel or the sources, as it likes.
fn unpack(archive: &Path, dir: &Path) -> Option<Command> {
    let name = archive.to_string_lossy();
    if name.ends_with(".whl") {
        let mut command = Command::new("python3");
        command.args(["-m", "zipfile", "-e"]).arg(archive).arg(dir);
        return Some(command);
    }
    let mut command = Command::new("tar");
    command.arg("xzf").arg(archive).arg("-C").arg(dir).args(["--wildcards", "*/lib/*.jar"]);
    name.ends_with(".tar.gz").then_some(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wheels_and_sources_are_unpacked_and_jars_are_left_alone() {
        let program = |name: &str| {
            let command = unpack(Path::new(name), Path::new("into"))?;
            Some((command.get_program().to_owned(), command.get_args().any(|argument| argument == "into")))
        };
        assert_eq!(program("a/flink.whl"), Some(("python3".into(), true)));
        assert_eq!(program("a/flink.tar.gz"), Some(("tar".into(), true)));
        assert_eq!(program("a/flink-dist-2.3.0.jar"), None);
    }

    #[test]
    fn what_the_job_printed_is_found_among_its_other_lines() {
        let text = "WARNING: a word of Java's\nrecords=12 cpu_s=1.500000 wall_s=2.0 checkpoints=3\n";
        let expected = Counted { records: 12.0, cpu_s: 1.5, wall_s: 2.0, checkpoints: 3.0 };
        assert_eq!(Counted::read(text), Some(expected));
        assert_eq!(Counted::read("records=12 cpu_s=1.5\n"), None);
    }

    #[test]
    fn jars_are_found_below_a_directory_and_those_of_its_logger_are_not_enough() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let lib = dir.path().join("some/lib");
        std::fs::create_dir_all(&lib).expect("it is made");
        let put = |name: &str| std::fs::write(lib.join(name), "").expect("it is written");
        put("log4j-core-2.jar");
        assert_eq!(found(dir.path()).expect("it looks"), Vec::<PathBuf>::new());
        put("flink-dist-2.3.0.jar");
        put("flink-json-2.3.0.jar");
        let jars = found(dir.path()).expect("it looks");
        assert_eq!(jars, ["flink-dist-2.3.0.jar", "log4j-core-2.jar"].map(|name| lib.join(name)));
        assert_eq!(found(Path::new("/nowhere/at/all")).expect("that is no failure"), Vec::<PathBuf>::new());
    }
}
