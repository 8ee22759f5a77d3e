//! Schemas, paths and aggregation: how a module or a client says *where* in a PState and *what* to do there.
//!
//! Two layers. Underneath everything is untyped: a [`Schema`], a [`Path`] of navigators over
//! [`Value`](tantu_base::value::Value)s, arguments that are constants or slots. On top,
//! [`PathTo`] and the schema markers ([`Map`], [`List`], [`Set`], plain Rust types) let rustc check keys,
//! values and results, and record the same untyped path.
//!
//! A path means the same on a plain value ([`select`], [`transform`]) and on a PState partition
//! ([`select_store`], [`transform_store`]). Over a store every read comes first, then the navigation, then
//! the writes: a caller may repeat an evaluation that answered [`Stop::Need`] and no closure has run yet.

pub mod agg;
mod arg;
mod codec;
mod collecting;
mod collection;
mod error;
mod field;
mod func;
mod gather;
mod interpose;
mod limit;
mod marker;
mod marker_sub;
mod nav;
mod navigate;
mod page;
mod partition;
mod path;
mod point;
mod reach;
mod row;
mod schema;
mod schema_codec;
mod scratch;
mod show;
mod store;
mod structure;
mod typed;
mod walk;

pub use agg::{
    AggOn, AggOut, AggShape, Aggregator, Captured, Fold, Leaf, Room, ShapedFold, aggregate, aggregate_capturing,
};
pub use arg::{Arg, Args, NoArgs};
pub use codec::{PathDecodeError, PathEncodeError};
pub use collecting::{Collecting, Collects, SetAside};
pub use error::{AggError, EvalError, PathError};
pub use field::{Field, RecordLocation, record_schema};
pub use func::{Func, Functions, NamedFn, ReadExtra};
pub use interpose::Before;
pub use limit::{PATH_DEPTH_MAX, PATH_NAV_COUNT_MAX, PATH_SIZE_MAX, SCHEMA_SIZE_MAX};
pub use marker::List;
pub use marker::{
    AllLocation, ListLocation, Map, MapLocation, NullLocation, OneValue, PStateSchema, PairLocation, Set, SetLocation,
};
pub use marker_sub::{Sub, Untracked};
pub use nav::custom::{Custom, CustomNav};
pub use navigate::Navigate;
pub use page::{Page, PageLimit, select_page};
pub use partition::{select_store, transform_store};
pub use path::{Nav, Path};
pub use point::PointSelect;
pub use schema::{DeclareError, FieldSchema, Schema, SchemaError, Step, Tracking};
pub use schema_codec::SchemaDecodeError;
pub use scratch::Scratch;
pub use store::{Stop, Store, VisitEntry};
pub use structure::change::clear_store;
pub use typed::{
    Arm, ChangeArm, Condition, ExtraArgs, KeyPath, PathArg, PathTo, TransformTo, path, select_value, transform_value,
};
pub use walk::{Rebuilt, Visited, select, select_each, transform};
