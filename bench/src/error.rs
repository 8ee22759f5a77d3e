//! Why a bench could not do its work.

use std::io;
use tantu::prelude::{ClientError, ClusterError};

/// See the module.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("{doing}: {source}")]
    Io { doing: String, source: io::Error },
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{name} is not compiled in; build with `--features {feature}`")]
    NotCompiledIn { name: &'static str, feature: &'static str },
    #[error("{program} is not there; install Debian's package {package}: sudo apt-get install {package}")]
    NotInstalled { program: &'static str, package: &'static str },
    #[error(
        "{what} is not there; it is in the Python package {package}: give its directory, or let it be fetched with {option}"
    )]
    NotFetched { what: &'static str, package: &'static str, option: &'static str },
    #[error("{0}")]
    Wrong(String),
}

impl BenchError {
    /// Says what was being done.
    pub(crate) fn io<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        let doing = doing.into();
        move |source| BenchError::Io { doing, source: source.into() }
    }
}
