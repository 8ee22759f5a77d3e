//! What can go wrong with a cluster, one sentence each.

use std::path::PathBuf;
use tantu_client::ClientError;
use tantu_doors::{LockError, StartError};
use tantu_flow::DefineErrors;
use tantu_state::meta::DocumentError;

/// Why a cluster cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The module's definition has mistakes.
    #[error(transparent)]
    Define(#[from] DefineErrors),
    /// The launch parameters do not fit each other.
    #[error("the module {module} cannot be launched: {what}")]
    Launch {
        /// Which module.
        module: String,
        /// What is wrong.
        what: String,
    },
    /// The machine does not offer what is needed.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The directories of tasks and threads could not be made.
    #[error("making the directories of a module: {0}")]
    Directories(#[source] std::io::Error),
    /// The data directory cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A document of the data directory.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The directory holds the module in a form that this launch does not fit.
    #[error("{} holds {module} differently: {what}", dir.display())]
    Mismatch {
        /// The directory.
        dir: PathBuf,
        /// Which module.
        module: String,
        /// What does not fit.
        what: String,
    },
    /// A task thread could not start, or had to stop.
    #[error("the module {module} stopped: {what}")]
    Stopped {
        /// Which module.
        module: String,
        /// Why.
        what: String,
    },
    /// No such module runs here.
    #[error("the module {module} is not alive; launched here: {known}")]
    NotAlive {
        /// What was asked for.
        module: String,
        /// What there is.
        known: String,
    },
    /// Records were still being processed when the cluster closed. They will be processed when it is opened again.
    #[error("the module {module} closed while records were still being processed; they go on when it is opened again")]
    NotDrained {
        /// Which module.
        module: String,
    },
    /// A handle could not be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The temporary directory.
    #[error("cannot use a temporary directory: {0}")]
    Temporary(std::io::Error),
}
