//! What can be chosen per tree, and the limits of this crate with their relations.

use crate::prefix::PrefixRule;
use tantu_base::limit::{BLOCK_ALIGN, KEY_SIZE_MAX, RECORD_SIZE_MAX};

/// Longest value, in bytes.
pub const VALUE_SIZE_MAX: usize = RECORD_SIZE_MAX;
/// Largest data block of more than one entry, in bytes: entry offsets are 16 bits.
pub const BLOCK_SIZE_MAX: usize = 64 << 10;
/// Most runs per level before they are merged.
pub const RUN_COUNT_MAX: usize = 16;

const _: () = assert!(BLOCK_SIZE_MAX.is_multiple_of(BLOCK_ALIGN));
const _: () = assert!(KEY_SIZE_MAX + VALUE_SIZE_MAX < (u32::MAX / 2) as usize, "an entry's lengths fit their fields");

/// Choices of one tree. All sizes are in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreeOptions {
    /// The memtable is frozen at this size; a core whose trees together have many may freeze it earlier.
    pub memtable_size_max: usize,
    /// Size of a data block; a larger entry gets a block of its own size.
    pub block_size: usize,
    /// A table is cut at the next key once it is this large.
    pub table_size_max: u64,
    /// Runs a level gathers before they are merged.
    pub run_count_max: usize,
    /// Size of one write while a table is written.
    pub write_size: usize,
    /// Writes of one table that may be outstanding.
    pub writes_in_flight_max: usize,
    /// Size of one read of compaction.
    pub read_ahead_size: usize,
    /// Blocks of small data are all verified when the tree opens, up to this many bytes.
    pub open_verify_size_max: u64,
    /// Which beginnings of keys new tables' filters also hold. A table keeps the rule it was written with, and is only skipped
    /// by a tree that still has the same one.
    pub prefix: Option<PrefixRule>,
    /// How blocks of new tables are written. Blocks take whole units of 4 KiB on the disk, so that it helps only those that are
    /// several times as large.
    pub compression: Compression,
}

/// How a block is written, if it gets smaller by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compression {
    /// As it is.
    #[default]
    None,
    /// By LZ4. A block that takes as much room then is written as it is.
    Lz4,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self {
            memtable_size_max: 128 << 20,
            block_size: 4 << 10,
            table_size_max: 16 << 20,
            run_count_max: 4,
            write_size: 128 << 10,
            writes_in_flight_max: 4,
            read_ahead_size: 256 << 10,
            open_verify_size_max: 64 << 20,
            prefix: None,
            compression: Compression::None,
        }
    }
}

impl TreeOptions {
    /// Checks the relations between options.
    ///
    /// # Panics
    /// If one is out of bounds: options are code, not input.
    pub(crate) fn check(&self) {
        assert!(
            self.block_size.is_multiple_of(BLOCK_ALIGN) && (BLOCK_ALIGN..=BLOCK_SIZE_MAX).contains(&self.block_size)
        );
        assert!(self.write_size.is_multiple_of(BLOCK_ALIGN) && self.write_size >= self.block_size);
        assert!(self.read_ahead_size >= self.block_size);
        assert!(self.table_size_max >= self.block_size as u64);
        assert!((2..=RUN_COUNT_MAX).contains(&self.run_count_max));
        assert!(self.writes_in_flight_max >= 1);
    }
}

/// How much one [`crate::Tree::step`] may do. It ends after the entry that reaches either bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Entries merged.
    pub entry_count: usize,
    /// Bytes read, merged or written.
    pub size: usize,
}

impl Default for Budget {
    /// About 200 µs, half a millisecond where memory is slow: a flush and a merge take one each.
    fn default() -> Self {
        Self { entry_count: 256, size: 64 << 10 }
    }
}
