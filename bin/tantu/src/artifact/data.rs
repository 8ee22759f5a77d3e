//! The verbs of an artifact that look at a data directory no process uses, or change what a topology does at its next launch.
//!
//! They launch the module at rest: the storage is opened as at any launch, with all its checks, and no topology takes a record.

use super::{ArtifactError, Entry, definitions, print};
use clap::Args;
use serde_json::json;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tantu_base::id::Offset;
use tantu_base::value::{Value, decoded};
use tantu_client::{MicrobatchStatus, PageMax};
use tantu_flow::{DeadLetter, ModuleDef};
use tantu_local::InProcessCluster;

/// Dead letters read at a time.
const PAGE_COUNT: u32 = 1_024;
/// Longest part of a record that is shown, in characters.
const SHOWN_COUNT_MAX: usize = 200;

#[derive(Debug, Args)]
pub(super) struct DeadLettersArgs {
    /// The data directory; no process may be using it
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The module; all that have data there without it
    #[arg(long)]
    module: Option<String>,
    /// Show at most so many of each partition, the newest
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// Print one JSON object for each
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct TopologyArgs {
    /// The microbatch topology, as `counter` or `Module/counter`
    topology: String,
    /// The data directory; no process may be using it
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

/// What is done to a microbatch topology.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    Pause,
    Resume,
    Status,
}

/// Shows the records that topologies gave up.
pub(super) fn dead_letters(entries: &[Entry], args: &DeadLettersArgs) -> Result<(), ArtifactError> {
    print(&told_dead_letters(entries, args)?)
}

/// Pauses a topology, lets it go on, or tells how far it is.
pub(super) fn order(entries: &[Entry], args: &TopologyArgs, order: Order) -> Result<(), ArtifactError> {
    print(&ordered(entries, args, order)?)
}

fn told_dead_letters(entries: &[Entry], args: &DeadLettersArgs) -> Result<String, ArtifactError> {
    let mut modules = definitions(entries).map_err(ArtifactError::Define)?;
    let known: Vec<String> = modules.iter().map(|module| module.name.clone()).collect();
    modules.retain(|module| args.module.as_ref().is_none_or(|name| module.name == *name));
    if let (true, Some(name)) = (modules.is_empty(), &args.module) {
        return Err(ArtifactError::UnknownModule { name: name.clone(), known });
    }
    let cluster = open(&args.data_dir)?;
    let mut out = String::new();
    for module in modules {
        let name = module.name.clone();
        if module.dead_letters.is_none() {
            if !args.json {
                let _ = writeln!(out, "{name}: no source gives records up");
            }
            continue;
        }
        if !cluster.launch_at_rest(module)? {
            continue;
        }
        for letter in newest(&cluster, &name, args.limit)? {
            show(&name, &letter, args.json, &mut out);
        }
    }
    cluster.close()?;
    Ok(out)
}

/// The newest dead letters of each partition, in their order there.
fn newest(cluster: &InProcessCluster, module: &str, limit: u64) -> Result<Vec<DeadLetter>, ArtifactError> {
    let depot = cluster.dead_letters(module)?;
    let mut letters = Vec::new();
    for partition in 0..depot.partition_count() {
        let offsets = depot.offsets(partition)?;
        let mut from = offsets.start.max(Offset(offsets.end.0.saturating_sub(limit)));
        while from < offsets.end {
            let max = PageMax { count: PAGE_COUNT, ..PageMax::default() };
            let page = depot.read_page(partition, from, offsets.end, max)?;
            letters.extend(page.records);
            from = page.next;
        }
    }
    Ok(letters)
}

fn show(module: &str, letter: &DeadLetter, as_json: bool, out: &mut String) {
    let DeadLetter { bytes, error, depot, partition, offset, topology, tries } = letter;
    // One that is too long to be kept twice is where it was.
    let record = decoded::<Value>(bytes).ok().map(|value| value.to_string());
    let _ = if as_json {
        let object = json!({
            "module": module, "topology": topology, "depot": depot, "partition": partition, "offset": offset,
            "tries": tries, "error": error, "record": record,
        });
        writeln!(out, "{object}")
    } else {
        let mut shown = record.unwrap_or_else(|| "it is too long to be shown here".to_string());
        if let Some((end, _)) = shown.char_indices().nth(SHOWN_COUNT_MAX) {
            shown.truncate(end);
            shown.push('…');
        }
        writeln!(
            out,
            "{module}/{topology}: {depot}, partition {partition}, offset {offset}, after {tries} tries: {error}\n  {shown}"
        )
    };
}

fn ordered(entries: &[Entry], args: &TopologyArgs, order: Order) -> Result<String, ArtifactError> {
    let modules = definitions(entries).map_err(ArtifactError::Define)?;
    let (module, topology) = find(modules, &args.topology)?;
    let name = module.name.clone();
    let cluster = open(&args.data_dir)?;
    if !cluster.launch_at_rest(module)? {
        return Err(ArtifactError::NeverLaunched { module: name, dir: args.data_dir.clone() });
    }
    let handle = cluster.microbatch(&name, &topology)?;
    match order {
        Order::Pause => handle.pause()?,
        Order::Resume => handle.resume()?,
        Order::Status => {}
    }
    // At rest it fails nowhere.
    let MicrobatchStatus { finished, processed, paused, failing: _ } = handle.status()?;
    // What was asked for is durable when this went well.
    cluster.close()?;
    let state = if paused { "paused" } else { "goes on when the module is launched" };
    Ok(format!("{name}/{topology}: {state}; {finished} microbatches finished, {processed} records processed\n"))
}

/// The module that has a microbatch topology of this name.
fn find(modules: Vec<ModuleDef>, wanted: &str) -> Result<(ModuleDef, String), ArtifactError> {
    let names = |module: &ModuleDef| module.microbatches.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    let paths = |module: &ModuleDef| names(module).iter().map(|name| format!("{}/{name}", module.name)).collect();
    let known: Vec<String> = modules.iter().flat_map(|module| -> Vec<String> { paths(module) }).collect();
    let is_wanted = |module: &str, name: &str| name == wanted || format!("{module}/{name}") == wanted;
    let kind = modules.iter().find_map(|module| {
        let has = |name: &String| is_wanted(&module.name, name);
        let stream = module.streams.iter().any(|stream| has(&stream.name)).then_some("stream");
        stream.or_else(|| module.queries.iter().any(|query| has(&query.name)).then_some("query"))
    });
    let mut found = modules.into_iter().filter_map(|module| {
        let name = names(&module).into_iter().find(|name| is_wanted(&module.name, name))?;
        Some((module, name))
    });
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        _ => Err(ArtifactError::NotOneTopology { name: wanted.to_string(), known, kind }),
    }
}

/// A directory that is not there is not made: its name is a mistake.
fn open(dir: &Path) -> Result<InProcessCluster, ArtifactError> {
    if !dir.join("modules").is_dir() {
        return Err(ArtifactError::NoData { dir: dir.to_path_buf() });
    }
    Ok(InProcessCluster::open(dir)?)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test lays out a directory by hand")]
mod tests {
    use super::*;
    use crate::artifact::entry;
    use crate::demo::WordCount;
    use std::time::Duration;
    use tantu_flow::{Module, Setup, SourceOptions, Topologies, random};
    use tantu_local::LaunchConfig;

    /// A stream that gives negative numbers up, and a microbatch topology that counts.
    struct Numbers;

    impl Module for Numbers {
        fn define(setup: &mut Setup, topologies: &mut Topologies) {
            let numbers = setup.declare_depot::<i64>("*numbers", random());
            let given_up = SourceOptions::default().dead_letter_after(1);
            topologies.stream("parser").source_with(&numbers, given_up, |b, n| {
                b.assert(n, |n| n >= 0, "it is negative");
            });
            topologies.microbatch("counter").source(&numbers, |_, _| {});
        }
    }

    struct Others;

    impl Module for Others {
        fn define(setup: &mut Setup, topologies: &mut Topologies) {
            let numbers = setup.declare_depot::<i64>("*numbers", random());
            topologies.microbatch("counter").source(&numbers, |_, _| {});
        }
    }

    fn args(dir: &Path, topology: &str) -> TopologyArgs {
        TopologyArgs { topology: topology.to_string(), data_dir: dir.to_path_buf() }
    }

    #[test]
    fn what_was_given_up_is_shown_and_a_topology_is_paused_and_goes_on_while_no_process_runs_it() {
        let dir = tempfile::tempdir().unwrap();
        let launch = || {
            let cluster = InProcessCluster::open(dir.path()).unwrap();
            cluster.launch::<Numbers>(LaunchConfig::new(4, 2)).unwrap();
            cluster
        };
        let cluster = launch();
        let numbers = cluster.depot::<i64>("Numbers", "*numbers").unwrap();
        for n in [1, -7, 2, -8] {
            let _ = numbers.append(&n);
        }
        let wait = |cluster: &InProcessCluster, count| {
            cluster.wait_for_microbatch_processed_count("Numbers", "counter", count, Duration::from_secs(20)).unwrap()
        };
        wait(&cluster, 4);
        let entries = [entry::<Numbers>()];
        let busy = ordered(&entries, &args(dir.path(), "counter"), Order::Status).unwrap_err();
        assert!(matches!(busy, ArtifactError::Cluster(_)), "the directory is in use: {busy}");
        cluster.close().unwrap();

        let of = |json| DeadLettersArgs { data_dir: dir.path().to_path_buf(), module: None, limit: 100, json };
        let text = told_dead_letters(&entries, &of(false)).unwrap();
        assert!(text.contains("Numbers/parser: *numbers, partition ") && text.contains("it is negative"), "{text}");
        let lines = told_dead_letters(&entries, &of(true)).unwrap();
        let mut records: Vec<String> = lines
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["record"].as_str().unwrap().to_string()
            })
            .collect();
        records.sort();
        assert_eq!(records, ["-7", "-8"]);

        let told = ordered(&entries, &args(dir.path(), "Numbers/counter"), Order::Pause).unwrap();
        assert!(told.starts_with("Numbers/counter: paused; ") && told.ends_with(" 4 records processed\n"), "{told}");
        let cluster = launch();
        cluster.depot::<i64>("Numbers", "*numbers").unwrap().append(&3).unwrap();
        let status = cluster.microbatch("Numbers", "counter").unwrap().status().unwrap();
        assert_eq!((status.paused, status.processed), (true, 4));
        cluster.close().unwrap();
        let told = ordered(&entries, &args(dir.path(), "counter"), Order::Resume).unwrap();
        assert!(told.contains("goes on") && told.ends_with(" 4 records processed\n"), "nothing runs at rest: {told}");
        let told = ordered(&entries, &args(dir.path(), "counter"), Order::Status).unwrap();
        assert!(told.contains("goes on"), "{told}");
        let cluster = launch();
        wait(&cluster, 5);
        cluster.close().unwrap();
    }

    #[test]
    fn names_that_lead_nowhere_are_refused_with_what_there_is_and_make_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let entries = [entry::<Numbers>(), entry::<Others>()];
        let refused = |topology: &str, data: &Path| {
            ordered(&entries, &args(data, topology), Order::Pause).unwrap_err().to_string()
        };
        let both = refused("counter", dir.path());
        assert!(both.contains("Numbers/counter, Others/counter"), "{both}");
        let stream = refused("parser", dir.path());
        assert_eq!(stream, "`parser` is a stream topology; microbatch topologies are Numbers/counter, Others/counter");
        let none =
            ordered(&[entry::<WordCount>()], &args(dir.path(), "counting"), Order::Status).unwrap_err().to_string();
        assert!(none.ends_with("; the executable has no microbatch topologies"), "{none}");
        let missing = dir.path().join("missing");
        assert!(refused("Others/counter", &missing).contains("missing") && !missing.exists());
        let cluster = InProcessCluster::open(dir.path()).unwrap();
        cluster.launch::<Numbers>(LaunchConfig::new(1, 1)).unwrap();
        cluster.close().unwrap();
        let never = refused("Others/counter", dir.path());
        assert!(never.contains("Others was never launched") && !dir.path().join("modules/Others").exists(), "{never}");
        let module = Some("Nobody".to_string());
        let args = DeadLettersArgs { data_dir: dir.path().to_path_buf(), module, limit: 1, json: false };
        let unknown = told_dead_letters(&entries, &args).unwrap_err().to_string();
        assert!(unknown.contains("Nobody") && unknown.contains("Numbers, Others"), "{unknown}");
    }
}
