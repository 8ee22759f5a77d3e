//! The command line of an artifact.

use super::data::{self, DeadLettersArgs, Order, TopologyArgs};
use super::{ArtifactError, Entry, Story, Work, definitions, described, ended, print};
use crate::diagnostics::quietly;
use crate::graph::{self, Format};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::{OsStr, OsString};
use std::process::ExitCode;
use tantu_local::sim::fresh_seed;

/// An artifact of Tantu: an executable that holds modules.
#[derive(Debug, Parser)]
#[command(after_help = "A cluster is given the executable as it is.")]
struct Artifact {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print the modules as JSON: depots, PStates with their schemas, topologies with their steps
    Describe,
    /// Draw topologies: what happens, partitioners and what crosses them, PStates
    Graph(GraphArgs),
    /// Tell the module's story on a simulated cluster, under faults that a seed draws
    Sim(SimArgs),
    /// Show the records that topologies gave up, from a data directory that no process uses
    DeadLetters(DeadLettersArgs),
    /// Tell how far a microbatch topology is and whether it is paused, from a data directory that no process uses
    Status(TopologyArgs),
    /// Pause a microbatch topology in a data directory that no process uses: it begins nothing when it is launched
    Pause(TopologyArgs),
    /// Let a microbatch topology that was paused go on when it is launched
    Resume(TopologyArgs),
}

#[derive(Debug, Args)]
struct SimArgs {
    /// The first seed; a new one without it
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds
    #[arg(long, default_value_t = 1)]
    count: u64,
}

#[derive(Debug, Args)]
struct GraphArgs {
    /// The topology, as `counter` or `Module/counter`; all without it
    #[arg(long)]
    topology: Option<String>,
    /// How it is drawn
    #[arg(long, value_enum, default_value_t = Drawn::Text)]
    format: Drawn,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Drawn {
    /// A picture that a browser shows
    Svg,
    /// For graphviz
    Dot,
    /// For this terminal
    Text,
}

pub(super) fn dispatch(
    entries: &[Entry],
    args: Vec<OsString>,
    work: Option<Work<'_>>,
    story: Option<Story<'_>>,
) -> ExitCode {
    let name = args.first().cloned().unwrap_or_else(|| "artifact".into());
    let parsed = match (Artifact::try_parse_from(args), &work) {
        (Ok(Artifact { verb: None }), None) => Artifact::try_parse_from([name.clone(), "--help".into()]),
        (parsed, _) => parsed,
    };
    let end = match parsed {
        Ok(Artifact { verb: Some(Verb::Describe) }) => described(entries),
        Ok(Artifact { verb: Some(Verb::Graph(args)) }) => graph(entries, &args),
        Ok(Artifact { verb: Some(Verb::Sim(args)) }) => sim(story, &args, &name).and_then(|text| print(&text)),
        Ok(Artifact { verb: Some(Verb::DeadLetters(args)) }) => data::dead_letters(entries, &args),
        Ok(Artifact { verb: Some(Verb::Status(args)) }) => data::order(entries, &args, Order::Status),
        Ok(Artifact { verb: Some(Verb::Pause(args)) }) => data::order(entries, &args, Order::Pause),
        Ok(Artifact { verb: Some(Verb::Resume(args)) }) => data::order(entries, &args, Order::Resume),
        Ok(Artifact { verb: None }) => work.map_or(Ok(()), |work| work()).map_err(ArtifactError::Run),
        Err(error) => {
            // Where nobody reads there is nobody to tell.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    ended(end)
}

/// How the story went for these seeds.
fn sim(story: Option<Story<'_>>, args: &SimArgs, name: &OsStr) -> Result<String, ArtifactError> {
    let simulation = story.ok_or(ArtifactError::NoSimulation)?();
    let first = args.seed.unwrap_or_else(fresh_seed);
    let found = |failure| ArtifactError::Found { failure, artifact: name.to_string_lossy().into_owned() };
    let told = quietly(|| simulation.tell(first, args.count)).map_err(found)?;
    Ok(format!("{}, seeds from {first} on: {told}\n", simulation.module()))
}

fn graph(entries: &[Entry], args: &GraphArgs) -> Result<(), ArtifactError> {
    print(&drawing(entries, args)?)
}

fn drawing(entries: &[Entry], args: &GraphArgs) -> Result<String, ArtifactError> {
    let modules = definitions(entries).map_err(ArtifactError::Define)?;
    let format = match args.format {
        Drawn::Svg => Format::Svg,
        Drawn::Dot => Format::Dot,
        Drawn::Text => Format::Text,
    };
    graph::draw(&modules, args.topology.as_deref(), format).map_err(ArtifactError::Graph)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::entry;
    use crate::demo::WordCount;
    use crate::graph::GraphError;
    use clap::CommandFactory;

    fn parsed(args: &[&str]) -> Result<GraphArgs, clap::Error> {
        match Artifact::try_parse_from(["artifact", "graph"].iter().chain(args))?.verb {
            Some(Verb::Graph(args)) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Artifact::command().debug_assert();
    }

    #[test]
    fn the_verb_draws_in_the_format_asked_for() {
        let entries = [entry::<WordCount>()];
        let drawn = |args: &[&str]| drawing(&entries, &parsed(args).unwrap()).unwrap();
        assert!(drawn(&[]).starts_with("WordCount: stream topology counter\n"));
        assert!(drawn(&["--topology", "counter", "--format", "svg"]).starts_with("<svg "));
        assert!(drawn(&["--topology", "WordCount/counter", "--format", "dot"]).starts_with("digraph "));
        assert!(parsed(&["--format", "png"]).unwrap_err().to_string().contains("svg, dot, text"));
    }

    #[test]
    fn an_unknown_topology_is_refused_with_those_there_are() {
        let args = parsed(&["--topology", "nowhere"]).unwrap();
        let error = drawing(&[entry::<WordCount>()], &args).unwrap_err();
        assert!(matches!(&error, ArtifactError::Graph(GraphError::UnknownTopology { name, known })
            if name == "nowhere" && known == &["WordCount/counter"]));
        assert_eq!(error.to_string(), "there is no topology `nowhere`; there is WordCount/counter");
    }

    struct Lines;

    impl tantu_flow::Module for Lines {
        fn define(setup: &mut tantu_flow::Setup, _: &mut tantu_flow::Topologies) {
            setup.declare_depot::<String>("*lines", tantu_flow::random());
        }
    }

    #[test]
    fn the_story_of_a_seed_is_told_and_a_finding_says_how_to_see_it_again() {
        let story = |sim: &crate::sim::Sim| -> crate::sim::Told {
            sim.depot::<String>("*lines")?.append(&"one".to_string()).map(drop).ok();
            assert!(sim.below(2) == 0, "a planted mistake");
            Ok(())
        };
        let make = || crate::sim::seeds(1).of::<Lines>(story);
        let told = |seed| sim(Some(&make), &SimArgs { seed: Some(seed), count: 1 }, OsStr::new("lines"));
        let (good, bad): (Vec<u64>, Vec<u64>) = (0..20).partition(|seed| told(*seed).is_ok());
        assert!(good.len() > 2 && bad.len() > 2, "{good:?} {bad:?}");
        let text = told(good[0]).unwrap();
        assert!(text.starts_with(&format!("Lines, seeds from {} on: 1 stories", good[0])), "{text}");
        let error = told(bad[0]).unwrap_err().to_string();
        assert!(error.contains("a planted mistake"), "{error}");
        assert!(error.ends_with(&format!("replay: lines sim --seed {}", bad[0])), "{error}");
        let none = sim(None, &SimArgs { seed: None, count: 1 }, OsStr::new("lines"));
        assert!(none.unwrap_err().to_string().contains("sim = story"));
    }

    #[test]
    fn without_a_verb_the_executable_does_its_own_work_and_says_how_it_ended() {
        let entries = [entry::<WordCount>()];
        let code = |args: &[&str], end: Result<(), &'static str>| {
            let args = args.iter().map(OsString::from);
            format!("{:?}", super::super::run_or(&entries, args, || end))
        };
        assert_eq!(code(&["artifact"], Ok(())), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(code(&["artifact"], Err("no")), format!("{:?}", ExitCode::FAILURE));
        assert_eq!(code(&["artifact", "describe"], Err("no")), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(code(&["artifact", "what"], Ok(())), format!("{:?}", ExitCode::from(2)));
    }
}
