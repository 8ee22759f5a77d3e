//! `tantu demo wordcount` as a process: how to start it and what it answered.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A command line in the making.
#[derive(Clone, Debug)]
pub struct Demo {
    binary: PathBuf,
    args: Vec<String>,
    temp_dir: Option<PathBuf>,
}

impl Demo {
    /// `tantu demo wordcount`, with the given binary.
    pub fn wordcount(binary: &str) -> Demo {
        Demo::verb(binary, &["demo", "wordcount"])
    }

    /// Any other verb.
    pub fn verb(binary: &str, verb: &[&str]) -> Demo {
        let args = verb.iter().map(|part| (*part).to_string()).collect();
        Demo { binary: PathBuf::from(binary), args, temp_dir: None }
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<Path>) -> Demo {
        self.args.push(arg.as_ref().to_str().expect("stories use UTF-8 names").to_string());
        self
    }

    /// `--data-dir`.
    pub fn data_dir(self, dir: &Path) -> Demo {
        self.arg("--data-dir").arg(dir)
    }

    /// `--json --top 0`: everything the demo knows, for a machine.
    pub fn everything(self) -> Demo {
        self.arg("--json").arg("--top").arg("0")
    }

    /// `--ack-log`.
    pub fn ack_log(self, file: &Path) -> Demo {
        self.arg("--ack-log").arg(file)
    }

    /// Where the process makes its temporary files.
    pub fn temp_dir(mut self, dir: &Path) -> Demo {
        self.temp_dir = Some(dir.to_path_buf());
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(&self.args).stdin(Stdio::null());
        if let Some(dir) = &self.temp_dir {
            command.env("TMPDIR", dir);
        }
        command
    }

    /// Runs it to its end.
    pub fn run(&self) -> Finished {
        Finished::new(self.command().output().expect("the binary starts"))
    }

    /// Starts it; what it prints is thrown away.
    pub fn spawn(&self) -> Child {
        self.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts")
    }

    /// Runs it to its end, which must be a good one, and reads its JSON.
    pub fn report(&self) -> Report {
        self.run().report()
    }
}

/// A process that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed for programs.
    pub stdout: String,
    /// What it printed for people.
    pub stderr: String,
}

impl Finished {
    fn new(output: Output) -> Finished {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the binary prints UTF-8");
        Finished { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Its report, when it ended well.
    ///
    /// # Panics
    /// If it ended badly or printed anything but one report.
    pub fn report(&self) -> Report {
        assert_eq!(self.code, Some(0), "stderr: {}", self.stderr);
        Report::parse(&self.stdout)
    }

    /// Asserts a bad end that a person can understand: a code, one line that holds every one of `parts`,
    /// no result, no backtrace.
    ///
    /// # Panics
    /// If it ended in any other way.
    pub fn expect_refusal(&self, parts: &[&str]) {
        assert!(self.code.is_some_and(|code| code != 0 && code != 101), "ended with {:?}: {}", self.code, self.stderr);
        assert!(
            self.stderr.lines().any(|line| line.starts_with("error: ") && parts.iter().all(|part| line.contains(part))),
            "no error line with {parts:?} in: {}",
            self.stderr
        );
        assert!(!self.stderr.contains("panicked") && !self.stderr.contains("backtrace"), "{}", self.stderr);
        assert_eq!(self.stdout, "", "a refusal prints no result");
    }
}

/// What `--json` prints.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// Lines of this run.
    pub lines_appended: u64,
    /// Words counted so far in the directory.
    pub words: u64,
    /// Distinct words so far.
    pub distinct: u64,
    /// The top words in the order printed.
    pub top: Vec<(String, u64)>,
}

impl Report {
    /// Reads the one object on stdout.
    ///
    /// # Panics
    /// If there is anything else, or a field is missing.
    pub fn parse(stdout: &str) -> Report {
        assert_eq!(stdout.lines().count(), 1, "stdout holds more than one object: {stdout}");
        let value: Value = serde_json::from_str(stdout).expect("stdout is JSON");
        let object = value.as_object().expect("an object");
        let fields: Vec<&str> = object.keys().map(String::as_str).collect();
        assert_eq!(fields.len(), 5, "{fields:?}");
        assert!(object["elapsed_s"].as_f64().expect("elapsed_s is a number") >= 0.0);
        let number = |field: &str| object[field].as_u64().unwrap_or_else(|| panic!("{field} is not a count"));
        let pair = |entry: &Value| {
            let pair = entry.as_array().filter(|pair| pair.len() == 2).expect("a pair");
            (pair[0].as_str().expect("a word").to_string(), pair[1].as_u64().expect("a count"))
        };
        Report {
            lines_appended: number("lines_appended"),
            words: number("words"),
            distinct: number("distinct"),
            top: object["top"].as_array().expect("top is a list").iter().map(pair).collect(),
        }
    }

    /// The top words by word.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.top.iter().cloned().collect()
    }
}
