//! What can go wrong in an evaluation, one closed enum per operation.

use crate::limit::{
    GATHER_SIZE_MAX, PAGE_SIZE_MAX, PATH_DEPTH_MAX, PATH_NAV_COUNT_MAX, STEP_COUNT_MAX, STORED_SIZE_MAX,
};
use crate::schema::SchemaError;
use crate::store::Stop;
use tantu_base::id::ObjectId;
use tantu_base::limit::{KEY_SIZE_MAX, VALUE_DEPTH_MAX};
use tantu_base::value::DecodeError;

/// Why a path cannot be followed on a value.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum PathError {
    /// The navigator stands on a value it cannot enter.
    #[error("{navigator} needs a {wanted} but stands on a {found}")]
    Type {
        /// Which navigator.
        navigator: &'static str,
        /// What it can enter.
        wanted: &'static str,
        /// What it stands on.
        found: String,
    },
    /// An argument of the wrong kind.
    #[error("{navigator}: {what}")]
    Argument {
        /// Which navigator.
        navigator: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// No such place in the list.
    #[error("{navigator}: index {index} is outside a list of {count}")]
    OutOfRange {
        /// Which navigator.
        navigator: &'static str,
        /// The index asked for.
        index: i64,
        /// How many elements there are.
        count: usize,
    },
    /// What came back cannot take the place it was navigated from.
    #[error("{navigator}: the replacement must be a {wanted}, not a {found}")]
    Replacement {
        /// Which navigator.
        navigator: &'static str,
        /// What fits.
        wanted: &'static str,
        /// What came.
        found: String,
    },
    /// `collect_one` on a path that does not lead to exactly one value (PTH-35).
    #[error("{navigator} needs a path to exactly one value; there are {count}")]
    NotOne {
        /// Which navigator.
        navigator: &'static str,
        /// How many values there are.
        count: usize,
    },
    /// A navigator of the module's author failed.
    #[error("{navigator}: {what}")]
    Custom {
        /// What its author calls it.
        navigator: &'static str,
        /// What it says.
        what: String,
    },
    /// A transform path whose last navigator is not a term navigator (PTH-41).
    #[error("a transform path must end in term_val, term or term_void")]
    NoTerminal,
    /// A term navigator where nothing is to be changed, or with navigators after it.
    #[error("{navigator} can only stand at the end of a transform path")]
    MisplacedTerminal {
        /// Which navigator.
        navigator: &'static str,
    },
    /// Void has no collection to be removed from (PTH-40).
    #[error("term_void at the top of a PState: there is nothing to remove it from")]
    VoidAtTop,
    /// A select of a subindexed structure, or of something that holds one, as a whole (ERR-12).
    #[error("the path selects the subindexed structure {schema} as a whole; navigate into it")]
    Subindexed {
        /// What it stands on.
        schema: String,
    },
    /// A user closure could not read its arguments.
    #[error("{navigator}: the closure {name} cannot read its argument: {source}")]
    Closure {
        /// Which navigator.
        navigator: &'static str,
        /// The closure's type name.
        name: &'static str,
        /// What does not fit.
        source: DecodeError,
    },
    /// Bytes of an argument or of a closure's answer are no value.
    #[error("{navigator}: not a value: {source}")]
    Bytes {
        /// Which navigator.
        navigator: &'static str,
        /// What does not decode.
        source: DecodeError,
    },
    /// More navigators than a path may have.
    #[error("the path has more than {} navigators, or is nested deeper than {}", PATH_NAV_COUNT_MAX, PATH_DEPTH_MAX)]
    TooLarge,
    /// More visits than one evaluation may make.
    #[error("the path makes more than {} navigations on one stored value", STEP_COUNT_MAX)]
    TooManySteps,
    /// Deeper than a value may be.
    #[error("the value is nested deeper than {}", VALUE_DEPTH_MAX)]
    TooDeep,
}

/// Why an aggregation cannot take one more argument.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum AggError {
    /// The integer result does not fit its type. It never wraps.
    #[error("{aggregator} overflows {type_name}: {current} and {argument}")]
    Overflow {
        /// Which aggregator.
        aggregator: &'static str,
        /// The type that is too small.
        type_name: &'static str,
        /// The state so far.
        current: String,
        /// What was to be added.
        argument: String,
    },
    /// State and argument are of different types, or of one that cannot be aggregated.
    #[error("{aggregator} cannot combine a {current} with a {argument}")]
    Type {
        /// Which aggregator.
        aggregator: &'static str,
        /// What the state is.
        current: String,
        /// What the argument is.
        argument: String,
    },
    /// There is no number to add to where there must be one.
    #[error("{aggregator} needs a value to start from, and there is none: give the PState an initial value")]
    Absent {
        /// Which aggregator.
        aggregator: &'static str,
    },
    /// Too many or too few arguments.
    #[error("{aggregator} takes {wanted} arguments, not {found}")]
    Arguments {
        /// Which aggregator.
        aggregator: &'static str,
        /// How many it takes.
        wanted: usize,
        /// How many there were.
        found: usize,
    },
    /// A state or an argument cannot be read.
    #[error("{aggregator} cannot read its state or an argument: {source}")]
    Bytes {
        /// Which aggregator, or which closure.
        aggregator: &'static str,
        /// What does not decode.
        source: DecodeError,
    },
    /// An aggregator where it cannot be.
    #[error("{aggregator} {what}")]
    Misplaced {
        /// Which aggregator.
        aggregator: &'static str,
        /// Why not.
        what: &'static str,
    },
    /// New values can be captured only where one key path changes at a time (AGG-12).
    #[error("new values cannot be captured from a shape with {what}")]
    Capture {
        /// What branches.
        what: &'static str,
    },
    /// Void has no collection to be removed from.
    #[error("void at the top of a PState: there is nothing to remove it from")]
    VoidAtTop,
    /// More groups or longer states than a fold may hold, and they cannot be sent on before the end.
    #[error("an aggregation holds more than {limit} bytes and has accumulators, which need every row in one place")]
    Memory {
        /// The limit in bytes.
        limit: usize,
    },
    /// The shape does not fit the value there.
    #[error("the aggregation shape needs a {wanted} but stands on a {found}")]
    Shape {
        /// What the shape says.
        wanted: &'static str,
        /// What is there.
        found: String,
    },
}

/// Why an evaluation over a store gave no answer.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum EvalError {
    /// A block is not in memory: repeat when told to. No closure has run, nothing was written.
    #[error("a block is not in memory yet")]
    Need,
    /// The store cannot answer.
    #[error("{0}")]
    Store(String),
    /// The path does not fit what is stored.
    #[error("{object}: {source}")]
    Path {
        /// Which PState.
        object: ObjectId,
        /// What does not fit.
        source: PathError,
    },
    /// The new value does not fit the schema; nothing was written.
    #[error("{object}, {source}")]
    Schema {
        /// Which PState.
        object: ObjectId,
        /// What does not fit, and where.
        source: SchemaError,
    },
    /// The aggregation failed; nothing was written.
    #[error("{object}: {source}")]
    Agg {
        /// Which PState.
        object: ObjectId,
        /// Why.
        source: AggError,
    },
    /// Stored bytes are no value. They were checksummed, so this is a mismatch of versions or a bug.
    #[error("{object}: stored bytes are not a value: {source}")]
    Stored {
        /// Which PState.
        object: ObjectId,
        /// What does not decode.
        source: DecodeError,
    },
    /// A key longer than a store takes.
    #[error("{object}: a key of {size} bytes; the limit is {}", KEY_SIZE_MAX)]
    KeyTooLong {
        /// Which PState.
        object: ObjectId,
        /// Its length in bytes.
        size: usize,
    },
    /// A value longer than a store takes.
    #[error("{object}: a value of {size} bytes under one key; the limit is {}", STORED_SIZE_MAX)]
    ValueTooLong {
        /// Which PState.
        object: ObjectId,
        /// Its length in bytes.
        size: usize,
    },
    /// One evaluation would hold too much of the partition in memory.
    #[error("{object}: the path reads more than {} bytes at once; read it in pages", GATHER_SIZE_MAX)]
    TooMuch {
        /// Which PState.
        object: ObjectId,
    },
    /// One row, or a path that cannot be paged, gives more than a page may hold.
    #[error("{object}: the result exceeds {} bytes and cannot be split; navigate further in", PAGE_SIZE_MAX)]
    PageTooLong {
        /// Which PState.
        object: ObjectId,
    },
}

impl From<Stop> for EvalError {
    fn from(stop: Stop) -> EvalError {
        match stop {
            Stop::Need => EvalError::Need,
            Stop::Failed(why) => EvalError::Store(why),
        }
    }
}
