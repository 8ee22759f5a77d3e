//! An artifact: the executable of a module author, which is what a cluster is given.
//!
//! [`main!`](crate::main) makes its `main`. The verb `describe` prints what the modules are, as JSON, so that a
//! cluster can check an artifact before it runs it; `graph` draws their topologies for people; `dead-letters`, `status`, `pause`
//! and `resume` open a data directory that no process uses. `describe` needs
//! none of what a command line needs and is always there; the other verbs, and the parsing of options, come with the
//! feature `verbs`.

#[cfg(feature = "verbs")]
mod data;
#[cfg(feature = "verbs")]
mod verbs;

use crate::graph::GraphError;
use serde_json::{Value, json};
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tantu_client::ClientError;
use tantu_flow::{DefineErrors, MicrobatchDef, Module, ModuleDef, Plan, QueryDef, StreamDef, define};
use tantu_local::ClusterError;
use tantu_local::sim::{Failure, Simulation};

/// The first word of the JSON's `format`; a reader refuses what it does not know.
pub const DESCRIPTION_VERSION: u32 = 1;

/// One module of an artifact.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    define: fn() -> Result<ModuleDef, DefineErrors>,
}

/// The entry of a module; [`main!`](crate::main) calls it.
pub fn entry<M: Module>() -> Entry {
    Entry { define: define::<M> }
}

/// Makes the `main` of an executable that is an artifact.
///
/// ```no_run
/// use tantu::prelude::*;
///
/// struct Lines;
///
/// impl Module for Lines {
///     fn define(setup: &mut Setup, _: &mut Topologies) {
///         setup.declare_depot::<String>("*lines", random());
///     }
/// }
///
/// tantu::main!(Lines);
/// ```
///
/// Several modules are separated by commas. Without a verb the executable prints its help, unless it is told what to
/// do then: `tantu::main!(Lines; run = show)`, where `show` is a function or a closure that returns a `Result<(), E>`.
/// `sim = story`, alone or behind `run`, gives it the verb `sim`: `story` is a function or a closure that returns a
/// [`Simulation`](crate::sim::Simulation).
#[macro_export]
macro_rules! main {
    ($($module:ty),+ $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::start_diagnostics();
            $crate::artifact::run(&[$($crate::artifact::entry::<$module>()),+], ::std::env::args_os())
        }
    };
    ($($module:ty),+ $(,)?; run = $run:expr) => {
        fn main() -> ::std::process::ExitCode {
            $crate::start_diagnostics();
            let entries = [$($crate::artifact::entry::<$module>()),+];
            $crate::artifact::run_or(&entries, ::std::env::args_os(), $run)
        }
    };
    ($($module:ty),+ $(,)?; sim = $sim:expr) => {
        fn main() -> ::std::process::ExitCode {
            $crate::start_diagnostics();
            let entries = [$($crate::artifact::entry::<$module>()),+];
            $crate::artifact::run_simulated(&entries, ::std::env::args_os(), &$sim)
        }
    };
    ($($module:ty),+ $(,)?; run = $run:expr; sim = $sim:expr) => {
        fn main() -> ::std::process::ExitCode {
            $crate::start_diagnostics();
            let entries = [$($crate::artifact::entry::<$module>()),+];
            $crate::artifact::run_or_simulated(&entries, ::std::env::args_os(), $run, &$sim)
        }
    };
}

/// What went wrong with a verb.
#[derive(Debug)]
pub enum ArtifactError {
    /// A module cannot be launched.
    Define(DefineErrors),
    /// There is nothing to draw.
    Graph(GraphError),
    /// The executable's own work failed.
    Run(Box<dyn Error>),
    /// There is no story to tell.
    NoSimulation,
    /// A simulation found something.
    Found {
        /// What.
        failure: Failure,
        /// The executable.
        artifact: String,
    },
    /// There is no such module.
    UnknownModule {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// No microbatch topology has the name, or several have.
    NotOneTopology {
        /// What was asked for.
        name: String,
        /// What there is, as `Module/topology`.
        known: Vec<String>,
        /// What else has the name: a stream, a query.
        kind: Option<&'static str>,
    },
    /// It is no data directory.
    NoData {
        /// What was given.
        dir: PathBuf,
    },
    /// The directory has nothing of the module.
    NeverLaunched {
        /// Which module.
        module: String,
        /// Which directory.
        dir: PathBuf,
    },
    /// The data directory, or a module in it.
    Cluster(ClusterError),
    /// The answer cannot be written.
    Write(io::Error),
}

impl fmt::Display for ArtifactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArtifactError::Define(errors) => errors.fmt(f),
            ArtifactError::Graph(error) => error.fmt(f),
            ArtifactError::Run(error) => error.fmt(f),
            ArtifactError::NoSimulation => {
                f.write_str("there is no story to tell: `tantu::main!(…; sim = story)` gives the executable one")
            }
            ArtifactError::Found { failure, artifact } => {
                write!(f, "{failure}\n  replay: {artifact} sim --seed {}", failure.seed)
            }
            ArtifactError::UnknownModule { name, known } => {
                write!(f, "there is no module `{name}`; there is {}", known.join(", "))
            }
            ArtifactError::NotOneTopology { name, known, kind } => {
                match kind {
                    Some(kind) => write!(f, "`{name}` is a {kind} topology; ")?,
                    None => write!(f, "`{name}` is not the name of one microbatch topology; ")?,
                }
                match known.as_slice() {
                    [] => f.write_str("the executable has no microbatch topologies"),
                    known => write!(f, "microbatch topologies are {}", known.join(", ")),
                }
            }
            ArtifactError::NoData { dir } => write!(f, "{} holds no modules: it is no data directory", dir.display()),
            ArtifactError::NeverLaunched { module, dir } => {
                write!(f, "{module} was never launched in {}", dir.display())
            }
            ArtifactError::Cluster(error) => error.fmt(f),
            ArtifactError::Write(error) => write!(f, "cannot write to stdout: {error}"),
        }
    }
}

impl Error for ArtifactError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ArtifactError::Define(errors) => Some(errors),
            ArtifactError::Graph(error) => Some(error),
            ArtifactError::Run(error) => Some(&**error),
            ArtifactError::NoSimulation
            | ArtifactError::UnknownModule { .. }
            | ArtifactError::NotOneTopology { .. }
            | ArtifactError::NoData { .. }
            | ArtifactError::NeverLaunched { .. } => None,
            ArtifactError::Cluster(error) => Some(error),
            ArtifactError::Found { failure, .. } => Some(failure),
            ArtifactError::Write(error) => Some(error),
        }
    }
}

impl From<ClusterError> for ArtifactError {
    fn from(error: ClusterError) -> Self {
        ArtifactError::Cluster(error)
    }
}

impl From<ClientError> for ArtifactError {
    fn from(error: ClientError) -> Self {
        ArtifactError::Cluster(error.into())
    }
}

/// What an executable does without a verb.
type Work<'w> = &'w mut dyn FnMut() -> Result<(), Box<dyn Error>>;
/// The story that an executable tells with the verb `sim`.
type Story<'s> = &'s dyn Fn() -> Simulation;

/// Runs the verb that the arguments name; the first argument is the executable. Without a verb it prints the help.
pub fn run(entries: &[Entry], args: impl Iterator<Item = OsString>) -> ExitCode {
    dispatch(entries, args.collect(), None, None)
}

/// As [`run`], with a story for the verb `sim`.
pub fn run_simulated(
    entries: &[Entry],
    args: impl Iterator<Item = OsString>,
    story: &dyn Fn() -> Simulation,
) -> ExitCode {
    dispatch(entries, args.collect(), None, Some(story))
}

/// Runs the verb that the arguments name; the first argument is the executable. Without a verb it runs the closure.
pub fn run_or<E: Into<Box<dyn Error>>>(
    entries: &[Entry],
    args: impl Iterator<Item = OsString>,
    run: impl FnOnce() -> Result<(), E>,
) -> ExitCode {
    let mut run = Some(run);
    let mut work = || run.take().map_or(Ok(()), |run| run().map_err(Into::into));
    dispatch(entries, args.collect(), Some(&mut work), None)
}

/// As [`run_or`], with a story for the verb `sim`.
pub fn run_or_simulated<E: Into<Box<dyn Error>>>(
    entries: &[Entry],
    args: impl Iterator<Item = OsString>,
    run: impl FnOnce() -> Result<(), E>,
    story: &dyn Fn() -> Simulation,
) -> ExitCode {
    let mut run = Some(run);
    let mut work = || run.take().map_or(Ok(()), |run| run().map_err(Into::into));
    dispatch(entries, args.collect(), Some(&mut work), Some(story))
}

#[cfg(feature = "verbs")]
use verbs::dispatch;

#[cfg(not(feature = "verbs"))]
fn dispatch(entries: &[Entry], args: Vec<OsString>, work: Option<Work<'_>>, _: Option<Story<'_>>) -> ExitCode {
    const HELP: &str = "An artifact of Tantu: an executable that holds modules.

Usage: ARTIFACT [describe]

  describe  Print the modules as JSON: depots, PStates with their schemas, topologies with their steps

Other verbs are there if the crate `tantu` has its feature `verbs`.
";
    let verbs: Vec<String> = args.iter().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let verbs: Vec<&str> = verbs.iter().map(String::as_str).collect();
    match (verbs.as_slice(), work) {
        ([], Some(work)) => ended(work().map_err(ArtifactError::Run)),
        (["describe"], _) => ended(described(entries)),
        ([] | ["help" | "--help" | "-h"], _) => ended(print(HELP)),
        _ => {
            // Where nobody reads there is nobody to tell.
            let _ = write!(io::stderr(), "error: unknown verb: {}\n\n{HELP}", verbs.join(" "));
            ExitCode::from(2)
        }
    }
}

/// Tells how a verb ended.
fn ended(end: Result<(), ArtifactError>) -> ExitCode {
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // Where nobody reads there is nobody to tell.
            let _ = writeln!(io::stderr(), "error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn described(entries: &[Entry]) -> Result<(), ArtifactError> {
    print(&describe(entries).map_err(ArtifactError::Define)?)
}

/// A reader that closed the pipe has seen what it wanted.
fn print(text: &str) -> Result<(), ArtifactError> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(ArtifactError::Write(error)),
        _ => Ok(()),
    }
}

/// The definitions of all modules.
fn definitions(entries: &[Entry]) -> Result<Vec<ModuleDef>, DefineErrors> {
    entries.iter().map(|entry| (entry.define)()).collect()
}

/// The modules of an artifact as JSON.
///
/// # Errors
/// Every mistake in the modules, each with the author's file and line.
pub fn describe(entries: &[Entry]) -> Result<String, DefineErrors> {
    let modules: Vec<Value> = definitions(entries)?.into_iter().map(module).collect();
    let object = json!({
        "format": DESCRIPTION_VERSION,
        "engine_version": env!("CARGO_PKG_VERSION"),
        "formats": { "value": tantu_base::value::FORMAT_VERSION },
        "modules": modules,
    });
    Ok(format!("{object:#}\n"))
}

fn module(module: ModuleDef) -> Value {
    let depot = |depot: &tantu_flow::DepotDef| {
        json!({
            "name": depot.name,
            "partitioner": depot.partitioner.name(),
            "global": depot.global,
            "record": depot.record_type,
            "tick_ms": depot.tick.map(|period| period.as_millis() as u64),
        })
    };
    let pstate = |pstate: &tantu_flow::PStateDef| {
        json!({
            "name": pstate.name,
            "schema": pstate.schema.to_string(),
            "global": pstate.global,
            "private": pstate.private,
            "owner": module.owner(pstate),
        })
    };
    let streams = module.streams.iter().map(|stream| stream_topology(&module, stream));
    let microbatches = module.microbatches.iter().map(|microbatch| microbatch_topology(&module, microbatch));
    let queries = module.queries.iter().map(|query| query_topology(&module, query));
    let topologies = streams.chain(microbatches).chain(queries).collect::<Vec<_>>();
    json!({
        "name": module.name,
        "tasks": { "power_of_two": true, "max": tantu_base::limit::TASK_COUNT_MAX },
        "depots": module.depots.iter().map(depot).collect::<Vec<_>>(),
        "pstates": module.pstates.iter().map(pstate).collect::<Vec<_>>(),
        "topologies": topologies,
    })
}

fn stream_topology(module: &ModuleDef, stream: &StreamDef) -> Value {
    let source = |source: &tantu_flow::SourceDef| {
        json!({
            "depot": module.depots[source.depot].name,
            "id": source.id,
            "start": format!("{:?}", source.start),
            "retry": format!("{:?}", source.retry),
            "dead_letter_after": source.dead_letter_after,
        })
    };
    let options = stream.options;
    let mut topology = topology("stream", &stream.name, &stream.plan);
    topology["sources"] = stream.sources.iter().map(source).collect();
    // Null is what the launch says.
    topology["options"] = json!({
        "timeout_ms": options.timeout.map(ms),
        "executing_max": options.executing_max,
        "batch_event_max": options.batch_event_max,
        "checkpoint_threshold": options.checkpoint_threshold,
        "checkpoint_period_ms": options.checkpoint_period.map(ms),
    });
    topology
}

fn microbatch_topology(module: &ModuleDef, microbatch: &MicrobatchDef) -> Value {
    let source = |source: &tantu_flow::MicrobatchSource| {
        json!({
            "depot": module.depots[source.depot].name,
            "id": source.id,
            "start": format!("{:?}", source.start),
        })
    };
    let options = microbatch.options;
    let mut topology = topology("microbatch", &microbatch.name, &microbatch.plan);
    topology["sources"] = microbatch.sources.iter().map(source).collect();
    topology["options"] = json!({
        "max_records": options.max_records,
        "fetch_max": options.fetch_max,
        "phase_timeout_ms": ms(options.phase_timeout),
        "force_delay_ms": ms(options.force_delay),
        "empty_period_ms": options.empty_period.map(ms),
        "flush_path_count": options.flush_path_count,
        "combiner_limit": options.combiner_limit,
    });
    topology
}

fn query_topology(module: &ModuleDef, query: &QueryDef) -> Value {
    let mut topology = topology("query", &query.name, &query.plan);
    topology["arguments"] = query.inputs.iter().copied().collect();
    topology["result"] = query.output.into();
    topology["options"] = json!({
        "timeout_ms": query.options.timeout.map(ms),
        "consistent_with": query.options.consistent_with.map(|at| &module.microbatches[at].name),
    });
    topology
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What topologies of all kinds have.
fn topology(kind: &str, name: &str, plan: &Plan) -> Value {
    let plan = plan.describe();
    let step =
        |step: &tantu_flow::StepInfo| json!({ "does": step.label, "at": format!("{}:{}", step.file, step.line) });
    let hop = |hop: &tantu_flow::HopInfo| {
        let live: Vec<_> = hop.live.iter().map(|(var, of)| json!({ "var": var, "type": of })).collect();
        json!({ "partitioner": hop.label, "live": live })
    };
    json!({
        "kind": kind,
        "name": name,
        "fingerprint": format!("{:016x}", plan.fingerprint),
        "steps": plan.steps.iter().map(step).collect::<Vec<_>>(),
        "partitioners": plan.hops.iter().map(hop).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::WordCount;
    use tantu_flow::{MicrobatchOptions, QueryOptions, Setup, SourceOptions, StartFrom, Topologies, Var};

    #[test]
    fn the_description_says_what_the_module_is() {
        let text = describe(&[entry::<WordCount>()]).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let module = &value["modules"][0];
        assert_eq!(module["name"], "WordCount");
        assert_eq!(module["depots"][0]["name"], "*lines");
        assert_eq!(module["depots"][0]["partitioner"], "random");
        assert_eq!(module["pstates"][0]["name"], "$$counts");
        assert_eq!(module["pstates"][0]["owner"], "counter");
        let topology = &module["topologies"][0];
        assert_eq!(topology["sources"][0]["depot"], "*lines");
        assert_eq!(topology["partitioners"][0]["partitioner"], "hash_partition");
        assert_eq!(topology["partitioners"][0]["live"][0]["type"], "str");
        assert_eq!(topology["fingerprint"].as_str().unwrap().len(), 16);
        let places: Vec<_> =
            topology["steps"].as_array().unwrap().iter().map(|step| step["at"].as_str().unwrap()).collect();
        assert!(places.iter().all(|place| place.contains("demo.rs:")), "{places:?}");
    }

    /// A topology of each kind, with options.
    struct Kinds;

    impl Module for Kinds {
        fn define(setup: &mut Setup, topologies: &mut Topologies) {
            let words = setup.declare_depot::<String>("*words", tantu_flow::random());
            let options = SourceOptions { id: Some("second".to_string()), ..SourceOptions::default() };
            topologies.stream("parser").source_with(&words, options.dead_letter_after(3), |_, _| {});
            let few = MicrobatchOptions { max_records: 7, ..MicrobatchOptions::default() };
            let mut counter = topologies.microbatch_with("counter", few);
            counter.source_from(&words, StartFrom::Beginning, |m, batch| {
                m.explode_microbatch(batch);
            });
            let whole = QueryOptions::default().consistent_with(&counter).timeout(Duration::from_secs(2));
            topologies.query_with("double", whole, |q, (n,): (Var<i64>,)| {
                q.origin_partition();
                q.each(n, |n| 2 * n)
            });
        }
    }

    #[test]
    fn topologies_of_every_kind_are_described_with_their_sources_and_options() {
        let value: Value = serde_json::from_str(&describe(&[entry::<Kinds>()]).unwrap()).unwrap();
        let topologies = value["modules"][0]["topologies"].as_array().unwrap();
        let kinds: Vec<_> = topologies.iter().map(|topology| topology["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["stream", "microbatch", "query"]);
        let [stream, microbatch, query] = &topologies[..] else { unreachable!("there are three") };
        assert_eq!(stream["sources"][0]["id"], "second");
        assert_eq!(stream["sources"][0]["dead_letter_after"], 3);
        assert_eq!(stream["options"]["executing_max"], Value::Null);
        assert_eq!(microbatch["name"], "counter");
        assert_eq!(microbatch["sources"], json!([{ "depot": "*words", "id": null, "start": "Beginning" }]));
        assert_eq!(microbatch["options"]["max_records"], 7);
        assert_eq!(microbatch["options"]["phase_timeout_ms"], 60_000);
        assert!(!microbatch["steps"].as_array().unwrap().is_empty());
        assert_eq!(query["options"], json!({ "timeout_ms": 2_000, "consistent_with": "counter" }));
    }

    struct Wrong;

    impl Module for Wrong {
        fn define(setup: &mut Setup, _: &mut Topologies) {
            setup.declare_depot::<String>("lines", tantu_flow::random());
        }
    }

    #[test]
    fn a_module_with_a_mistake_is_refused_with_its_line() {
        let why = describe(&[entry::<Wrong>()]).unwrap_err().to_string();
        assert!(why.contains("Wrong") && why.contains("artifact.rs:") && why.contains("`lines`"), "{why}");
    }

    #[test]
    fn an_unknown_verb_is_a_usage_error() {
        let code = run(&[entry::<WordCount>()], ["artifact".into(), "deploy".into()].into_iter());
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(2)));
    }
}
