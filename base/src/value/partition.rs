//! Which partition a key belongs to: the one hash of depots, hash partitioners and clients.
//!
//! It is part of the format: changing it would send the keys of existing data to other tasks.

use super::typed::Encode;
use std::cell::Cell;

/// The hash of a key in key form: xxh3, 64 bits, seed 0.
#[inline]
pub fn partition_hash(key_form: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key_form)
}

/// The partition, of `count`, of a key in key form.
///
/// # Panics
/// If `count` is 0.
#[inline]
pub fn partition_of_key(key_form: &[u8], count: u32) -> u32 {
    (partition_hash(key_form) % u64::from(count)) as u32
}

/// The partition, of `count`, of a key.
///
/// # Panics
/// If `count` is 0.
pub fn partition_of<K: Encode + ?Sized>(key: &K, count: u32) -> u32 {
    thread_local! {
        /// The key's bytes live here, so that routing a record allocates nothing. Taken out while in use:
        /// encoding a user's type may come back here.
        static KEY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    /// A rare huge key does not keep its memory.
    const KEPT_SIZE_MAX: usize = 64 << 10;

    let mut bytes = KEY.take();
    bytes.clear();
    key.encode_key(&mut bytes);
    let partition = partition_of_key(&bytes, count);
    if bytes.capacity() <= KEPT_SIZE_MAX {
        KEY.set(bytes);
    }
    partition
}
