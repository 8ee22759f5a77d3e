//! The command `tantu`.
//!
//! Every verb is one clap definition, from which parsing, help and completion derive. A verb ends in one of
//! three ways: well (0), with one sentence that says what to do (1), or with a usage error (2). Results go to
//! stdout; everything said to the person at the terminal goes to stderr.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
