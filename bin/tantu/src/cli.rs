//! The verbs and what they share: how options look, how an error is told, where diagnostics go.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "this is the command line")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command line reads files and the clock itself"
)]

mod demo;
mod storage;

use clap::{CommandFactory, Parser, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;

/// A thread-per-core backend engine: depots, topologies and PStates in one durable module.
#[derive(Debug, Parser)]
#[command(name = "tantu", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Tantu {
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "Start here:\n  tantu demo             count the words of the licence texts on this machine\n  tantu demo FILE…       count the words of your own files\n\nDiagnostics go to stderr; TANTU_LOG=debug shows more of them.";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Watch a module run durably on this machine
    Demo(demo::DemoArgs),
    /// Look at the files of a data directory, without changing any
    Storage(storage::StorageArgs),
    /// Print a script that completes this command in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Parses the command line, runs the verb and tells how it ended.
pub(crate) fn run() -> ExitCode {
    let tantu = Tantu::parse();
    tantu::start_diagnostics();
    let ended = match tantu.verb {
        Verb::Demo(args) => demo::run(&args).map(|()| true).map_err(|error| error.to_string()),
        Verb::Storage(args) => storage::run(&args).map_err(|error| error.to_string()),
        Verb::Completions { shell } => print_completions(shell).map(|()| true),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        // What is wrong is the result, and was printed.
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn print_completions(shell: clap_complete::Shell) -> Result<(), String> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Tantu::command(), "tantu", &mut script);
    print_all(&script).map_err(|error| error.to_string())
}

/// Writes to stdout. A reader that has seen enough and closed the pipe is no error.
fn print_all(text: &[u8]) -> io::Result<()> {
    match io::stdout().write_all(text).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended.map_err(|error| io::Error::new(error.kind(), format!("cannot write to stdout: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Tantu::command().debug_assert();
    }
}
