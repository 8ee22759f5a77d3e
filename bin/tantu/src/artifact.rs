//! An artifact: the executable of a module author, which is what a cluster is given.
//!
//! [`main!`](crate::main) makes its `main`. The verb `describe` prints what the modules are, as JSON, so that a
//! cluster can check an artifact before it runs it. It needs none of what the command line needs.

use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use tantu_flow::{DefineErrors, Module, ModuleDef, Plan, QueryDef, StreamDef, define};

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
#[macro_export]
macro_rules! main {
    ($($module:ty),+ $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::artifact::run(&[$($crate::artifact::entry::<$module>()),+], ::std::env::args_os().skip(1))
        }
    };
}

const HELP: &str = "An artifact of Tantu: an executable that holds modules.

Usage: ARTIFACT <verb>

Verbs:
  describe  Print the modules as JSON: depots, PStates with their schemas, topologies with their steps
  help      Print this
";

/// Runs the verb that the arguments name.
pub fn run(entries: &[Entry], args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let verb = match args.as_slice() {
        [] => "help",
        [verb] => verb,
        _ => "",
    };
    match verb {
        "describe" => match describe(entries) {
            Ok(text) => write_to(io::stdout(), &text, ExitCode::SUCCESS),
            Err(why) => write_to(io::stderr(), &format!("error: {why}\n"), ExitCode::FAILURE),
        },
        "help" | "--help" | "-h" => write_to(io::stdout(), HELP, ExitCode::SUCCESS),
        _ => write_to(io::stderr(), &format!("error: unknown verb: {}\n\n{HELP}", args.join(" ")), ExitCode::from(2)),
    }
}

/// A reader that closed the pipe has seen what it wanted.
fn write_to(mut out: impl Write, text: &str, code: ExitCode) -> ExitCode {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => code,
    }
}

/// The modules of an artifact as JSON.
///
/// # Errors
/// Every mistake in the modules, each with the author's file and line.
pub fn describe(entries: &[Entry]) -> Result<String, String> {
    let mut modules = Vec::new();
    for entry in entries {
        modules.push(module((entry.define)().map_err(|errors| errors.to_string())?));
    }
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
    let topologies = streams.chain(module.queries.iter().map(query_topology)).collect::<Vec<_>>();
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
            "start": format!("{:?}", source.start),
            "retry": format!("{:?}", source.retry),
        })
    };
    let mut topology = topology("stream", &stream.name, &stream.plan);
    topology["sources"] = stream.sources.iter().map(source).collect();
    topology
}

fn query_topology(query: &QueryDef) -> Value {
    let mut topology = topology("query", &query.name, &query.plan);
    topology["arguments"] = query.inputs.iter().copied().collect();
    topology["result"] = query.output.into();
    topology
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
    use tantu_flow::{Setup, Topologies};

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

    struct Wrong;

    impl Module for Wrong {
        fn define(setup: &mut Setup, _: &mut Topologies) {
            setup.declare_depot::<String>("lines", tantu_flow::random());
        }
    }

    #[test]
    fn a_module_with_a_mistake_is_refused_with_its_line() {
        let why = describe(&[entry::<Wrong>()]).unwrap_err();
        assert!(why.contains("Wrong") && why.contains("artifact.rs:") && why.contains("`lines`"), "{why}");
    }

    #[test]
    fn an_unknown_verb_is_a_usage_error() {
        let code = run(&[entry::<WordCount>()], ["deploy".into()].into_iter());
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(2)));
    }
}
