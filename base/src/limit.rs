//! The limits every crate shares, each with its unit. A crate's own limits live in the crate.

/// Longest frame, and longest replog entry body, in bytes.
pub const FRAME_SIZE_MAX: usize = 16 << 20;
/// Longest single record a client may append, in bytes of its encoded value.
pub const RECORD_SIZE_MAX: usize = 8 << 20;
/// Longest encoded key of a PState entry, in bytes.
pub const KEY_SIZE_MAX: usize = 64 << 10;
/// Deepest nesting of a value.
pub const VALUE_DEPTH_MAX: usize = 64;
/// Most tasks a module may have (22 bits of a unique id name the task).
pub const TASK_COUNT_MAX: u32 = 1 << 22;
/// Alignment of every buffer given to the disk, in bytes.
pub const BLOCK_ALIGN: usize = 4096;
/// What a power cut keeps or loses whole, in bytes.
pub const SECTOR_SIZE: usize = 512;

const _: () = assert!(RECORD_SIZE_MAX * 2 <= FRAME_SIZE_MAX);
const _: () = assert!(BLOCK_ALIGN.is_multiple_of(SECTOR_SIZE));
