//! Why an event failed.

use crate::key_partitioner::show_key;
use crate::plan::Plan;
use crate::table::BatchError;
use tantu_base::value::DecodeError;
use tantu_path::EvalError;

/// Why an event failed.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum RunError {
    /// A letter or record is not what the plan expects here.
    #[error("topology {topology}: the live variables cannot be read: {source}")]
    Live {
        /// Which topology.
        topology: String,
        /// What does not decode.
        source: DecodeError,
    },
    /// A position the plan does not have.
    #[error("topology {topology} has no position {position}")]
    Position {
        /// Which topology.
        topology: String,
        /// The position asked for.
        position: u32,
    },
    /// A partitioner chose a task that does not exist.
    #[error(
        "{file}:{line}: topology {topology}: {partitioner} chose task {index}, but the module has the tasks 0 to {last}"
    )]
    OutOfRange {
        /// Which topology.
        topology: String,
        /// Which partitioner.
        partitioner: String,
        /// The author's file.
        file: &'static str,
        /// The line in it.
        line: u32,
        /// What it chose.
        index: i64,
        /// The last task.
        last: u32,
    },
    /// Rows of a batch block could not be taken in or read.
    #[error("{file}:{line}: topology {topology}: {error}")]
    Batch {
        /// Which topology.
        topology: String,
        /// The author's file.
        file: &'static str,
        /// The line in it.
        line: u32,
        /// Why.
        error: Box<BatchError>,
    },
    /// The query has a result that cannot be one.
    #[error("topology {topology}: {what}")]
    Result {
        /// Which topology.
        topology: String,
        /// Why.
        what: String,
    },
    /// A path or an aggregation failed.
    #[error("{file}:{line}: topology {topology}: {what}: {error}")]
    Eval {
        /// Which topology.
        topology: String,
        /// Which step.
        what: String,
        /// The author's file.
        file: &'static str,
        /// The line in it.
        line: u32,
        /// Why.
        error: Box<EvalError>,
    },
    /// The author's own check, or a function of the module's, said no.
    #[error("{file}:{line}: topology {topology}: {label}: {what}")]
    Refused {
        /// Which topology.
        topology: String,
        /// Which step.
        label: String,
        /// The author's file.
        file: &'static str,
        /// The line in it.
        line: u32,
        /// What it said.
        what: String,
    },
    /// A local access on a task where its key does not live.
    #[error(
        "{file}:{line}: topology {topology}: `{access}` ran on task {task}, but {key} lives on task {lives}: go there \
         first (`hash_partition` by the key, `path_partition` or `select`), or declare the PState `unchecked`"
    )]
    WrongTask {
        /// Which topology.
        topology: String,
        /// Which access.
        access: String,
        /// The author's file.
        file: &'static str,
        /// The line in it.
        line: u32,
        /// The key, in words.
        key: String,
        /// The task the event was on.
        task: u32,
        /// The task where the key lives.
        lives: u32,
    },
}

pub(crate) fn eval_error(plan: &Plan, at: usize, error: EvalError) -> RunError {
    let record = &plan.steps[at];
    RunError::Eval {
        topology: plan.name.clone(),
        what: record.label.clone(),
        file: record.place.file(),
        line: record.place.line(),
        error: Box::new(error),
    }
}

pub(crate) fn batch_error(plan: &Plan, at: usize, error: BatchError) -> RunError {
    let record = &plan.steps[at];
    RunError::Batch {
        topology: plan.name.clone(),
        file: record.place.file(),
        line: record.place.line(),
        error: Box::new(error),
    }
}

/// The step refuses to go on.
pub(crate) fn complaint(plan: &Plan, at: usize, what: String) -> RunError {
    let record = &plan.steps[at];
    RunError::Refused {
        topology: plan.name.clone(),
        label: record.label.clone(),
        file: record.place.file(),
        line: record.place.line(),
        what,
    }
}

/// The step runs on a task, the first, where its key does not live, but on the second. Without a key the PState is global.
pub(crate) fn wrong_task(plan: &Plan, at: usize, key: Option<&[u8]>, (task, lives): (u32, u32)) -> RunError {
    let record = &plan.steps[at];
    RunError::WrongTask {
        topology: plan.name.clone(),
        access: record.label.clone(),
        file: record.place.file(),
        line: record.place.line(),
        key: key.map_or_else(|| "the one partition".to_string(), |key| format!("the key {}", show_key(key))),
        task,
        lives,
    }
}
