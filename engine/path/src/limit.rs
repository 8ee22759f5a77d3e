//! The limits of this crate, each with its unit, and how they relate.

use tantu_base::limit::{FRAME_SIZE_MAX, KEY_SIZE_MAX, RECORD_SIZE_MAX, VALUE_DEPTH_MAX};

/// Most navigators in one path, those of its sub-paths included.
pub const PATH_NAV_COUNT_MAX: usize = 512;
/// Deepest nesting of paths in paths.
pub const PATH_DEPTH_MAX: usize = 8;
/// Longest encoded path, in bytes.
pub const PATH_SIZE_MAX: usize = 1 << 20;
/// Longest encoded schema, in bytes.
pub const SCHEMA_SIZE_MAX: usize = 1 << 20;
/// Deepest argument of a path that is sent: what the lists around it may leave.
pub(crate) const ARGUMENT_DEPTH_MAX: usize = VALUE_DEPTH_MAX - (PATH_DEPTH_MAX * 3 + 4);
/// Most navigations one evaluation may make on one stored value. A short path of nested `multi_path`s can ask
/// for an exponential number of visits; this ends it with a typed error.
pub(crate) const STEP_COUNT_MAX: u64 = 1 << 24;
/// Most bytes of stored keys and values one evaluation may hold at a time; more needs a paged select.
pub(crate) const GATHER_SIZE_MAX: usize = 256 << 20;
/// Most bytes of stored keys and values followed as one value tree, which takes several times as much.
pub(crate) const IMAGE_SIZE_MAX: usize = 32 << 20;
/// Bytes of buffer a scratch keeps from one evaluation to the next.
pub(crate) const RETAINED_SIZE_MAX: usize = 1 << 20;
/// Longest stored value, in bytes: it must travel in one replog entry.
pub(crate) const STORED_SIZE_MAX: usize = RECORD_SIZE_MAX;
/// Most subindexed structures in one schema: a location's number is 16 bits wide.
pub(crate) const SUB_COUNT_MAX: usize = 1 << 10;
/// A structure with at most so many elements, all of them read, is removed element by element instead of by a range
/// deletion, which every later reader would have to look at until it is compacted away.
pub(crate) const ERASE_SINGLY_COUNT_MAX: usize = 64;
/// Most bytes of results in one page, which travels in one frame.
pub(crate) const PAGE_SIZE_MAX: usize = FRAME_SIZE_MAX - (1 << 20);

const _: () = assert!(STORED_SIZE_MAX + KEY_SIZE_MAX < PAGE_SIZE_MAX);
// A path is written as one value, three lists deeper with each sub-path, and leaves its arguments half the depth.
const _: () = assert!(PATH_DEPTH_MAX * 3 + 4 <= VALUE_DEPTH_MAX / 2);
const _: () = assert!(IMAGE_SIZE_MAX <= GATHER_SIZE_MAX && STORED_SIZE_MAX <= IMAGE_SIZE_MAX);
const _: () = assert!(SUB_COUNT_MAX <= 1 << 16);
const _: () = assert!(PATH_SIZE_MAX < FRAME_SIZE_MAX);
