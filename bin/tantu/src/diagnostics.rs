//! What the engine says of itself while it runs: warnings and errors on stderr, so that a pipe on stdout sees results only.

use std::io;
use tracing_subscriber::EnvFilter;

/// The variable that says how much is told, as `debug` or `warn,tantu_task=debug`.
pub const LOG_VARIABLE: &str = "TANTU_LOG";

/// Tells warnings and errors of the engine on stderr, or what `TANTU_LOG` says. [`main!`](crate::main) calls it; a `main` of another
/// kind, or a test, may. Called again it does nothing, and where a `tracing` subscriber is installed already, that one is told.
///
/// ```
/// tantu::start_diagnostics();
/// ```
pub fn start_diagnostics() {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("warn"));
    let telling = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false).finish();
    // One that is there stays.
    let _ = tracing::subscriber::set_global_default(telling);
}

/// What a simulation does to its module is no trouble of this process: it is told only if that was asked for.
#[cfg(feature = "verbs")]
pub(crate) fn quietly<R>(work: impl FnOnce() -> R) -> R {
    if std::env::var_os(LOG_VARIABLE).is_some() {
        return work();
    }
    tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::new(), work)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test starts itself once more")]
mod tests {
    use super::*;
    use crate::demo::WordCount;
    use std::process::Command;
    use tracing::{debug, warn};

    mod made {
        use super::WordCount;

        crate::main!(WordCount);

        pub(super) fn start() {
            let _ = main();
        }
    }

    /// What the test below looks at; it does nothing by itself.
    #[test]
    #[ignore = "run by the test below, in a process of its own"]
    fn the_process_that_is_looked_at() {
        match std::env::var("TANTU_TEST_MAIN").as_deref() {
            Ok("made") => made::start(),
            Ok("own") => start_diagnostics(),
            _ => tracing::subscriber::set_global_default(tracing::subscriber::NoSubscriber::new()).unwrap(),
        }
        start_diagnostics();
        warn!("a slow op");
        debug!("a detail");
        #[cfg(feature = "verbs")]
        quietly(|| warn!("a simulated fault"));
    }

    fn told(main: &str, log: Option<&str>) -> String {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--nocapture", "--exact", "diagnostics::tests::the_process_that_is_looked_at"]);
        command.env("TANTU_TEST_MAIN", main).env_remove(LOG_VARIABLE);
        if let Some(log) = log {
            command.env(LOG_VARIABLE, log);
        }
        let output = command.output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    #[test]
    fn every_executable_tells_warnings_and_more_if_the_environment_says() {
        for main in ["made", "own"] {
            let text = told(main, None);
            assert!(text.contains("a slow op") && !text.contains("a detail"), "{main}: {text}");
            assert!(!text.contains("a simulated fault"), "{main}: {text}");
        }
        assert!(told("own", Some("debug")).contains("a detail"));
        assert!(!told("own", Some("off")).contains("a slow op"));
        assert!(!told("another subscriber", None).contains("a slow op"), "it stays");
    }
}
