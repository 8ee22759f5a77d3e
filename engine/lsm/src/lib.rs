//! Ordered bytes with versions: memtable, tables, manifest, compaction, block cache.
//!
//! A [`Tree`] maps keys to values at versions. It holds committed data only: what enters through
//! [`Tree::apply`] is never taken back. It is sans-I/O: reads that miss return [`Stop::Need`], background
//! work advances in slices by [`Tree::step`], and disk completions come back through [`Tree::complete`].
//! It has no write-ahead log: [`Tree::flushed`] says what a log still has to hold.

mod aside;
mod block;
mod cache;
mod compress;
mod error;
mod fetch;
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod golden;
mod ingest;
pub mod inspect;
mod job;
mod manifest;
mod memtable;
mod merge;
mod multi;
mod option;
mod prefix;
mod scan;
mod table;
mod tree;
mod writer;

pub use cache::BlockCache;
pub use error::{BlockId, Corruption, Fault, Need, Neighbours, OpenError, Stop};
pub use ingest::IngestError;
pub use multi::PointRead;
pub use option::{BLOCK_SIZE_MAX, Budget, Compression, RUN_COUNT_MAX, TreeOptions, VALUE_SIZE_MAX};
pub use prefix::PrefixRule;
pub use scan::Visit;
pub use tree::{Completed, Tree, Write};
