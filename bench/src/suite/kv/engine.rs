//! What a store must offer to be measured in this process: one client thread calls it.

use super::KvArgs;
use crate::error::BenchError;
use crate::fields::Fields;
use crate::report::Figures;
use std::path::Path;
use std::time::{Duration, Instant};

/// Puts beside the reads of another thread.
pub(super) type Writer = Box<dyn FnMut(u64, &[u8]) -> Result<(), BenchError> + Send>;

/// See the module.
pub(super) trait Engine: Sized {
    const NAME: &'static str;

    /// Every option it runs with.
    fn config(args: &KvArgs) -> Fields;

    /// Opens what is in the directory, or makes it.
    fn open(dir: &Path, args: &KvArgs, cache_size: usize) -> Result<Self, BenchError>;

    fn put(&mut self, key: u64, value: &[u8]) -> Result<(), BenchError>;

    /// Whether a key is there.
    fn get(&mut self, key: u64) -> Result<bool, BenchError>;

    /// Reads keys as they come, so many in flight at a time, or one at a time where it can do no better.
    fn get_in_flight(
        &mut self,
        keys: &mut dyn Iterator<Item = u64>,
        _depth: usize,
        answered: &mut dyn FnMut(bool, Duration),
    ) -> Result<(), BenchError> {
        for key in keys {
            let began = Instant::now();
            let found = self.get(key)?;
            answered(found, began.elapsed());
        }
        Ok(())
    }

    /// Reads keys together, and says how many of them are there; one after the other where it can do no better.
    fn get_together(&mut self, keys: &[u64]) -> Result<u64, BenchError> {
        keys.iter().try_fold(0, |found, key| Ok(found + u64::from(self.get(*key)?)))
    }

    /// Reads so many pairs from a key on, and says how many there were.
    fn scan(&mut self, from: u64, count: usize) -> Result<usize, BenchError>;

    /// Brings into the cache what fits of so many keys.
    fn warm(&mut self, keys: u64) -> Result<(), BenchError>;

    /// Writes what was put and merges everything: what reads find best.
    fn settle(&mut self) -> Result<(), BenchError>;

    /// Its background work while the client waits, if it does any on the client's thread.
    fn idle(&mut self) -> Result<(), BenchError>;

    /// A writer for a thread of its own; without one the reading thread writes in between.
    fn writer(&mut self) -> Option<Writer>;

    /// Bytes of zeros it wrote to files before what was put; they are counted apart.
    fn prewritten_size(&self) -> u64;

    /// Figures of a fill that only it has.
    fn fill_figures(&self) -> Figures;

    /// Figures of its opening that only it has.
    fn open_figures(&self) -> Figures;

    /// Figures of an opening after so many puts of which only the log is on the disk, where it can be had without
    /// flushing.
    fn recover(dir: &Path, args: &KvArgs, puts: u64) -> Result<Option<Figures>, BenchError>;

    /// Figures of opening a store that so many sorted pairs were ingested into, where that can be.
    fn open_ingested(_dir: &Path, _args: &KvArgs, _keys: u64) -> Result<Option<Figures>, BenchError> {
        Ok(None)
    }
}

/// Bytes of a value that are copied out of a scan, at most.
const TAKEN_SIZE_MAX: usize = 256;

/// What a scan does with its pairs, the same for every engine and as db_bench does it: the value is copied, and the bytes of
/// both are counted.
pub(super) struct Taken {
    value: [u8; TAKEN_SIZE_MAX],
    size: usize,
    pub(super) count: usize,
}

impl Taken {
    pub(super) fn new() -> Self {
        Self { value: [0; TAKEN_SIZE_MAX], size: 0, count: 0 }
    }

    #[inline]
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) {
        let copied = &value[..value.len().min(TAKEN_SIZE_MAX)];
        self.value[..copied.len()].copy_from_slice(copied);
        self.size += std::hint::black_box(key).len() + value.len();
        self.count += 1;
        std::hint::black_box(&self.value);
    }
}

/// An error of a store, with what was asked of it.
pub(super) fn failed(doing: &str, error: impl std::fmt::Display) -> BenchError {
    BenchError::Wrong(format!("{doing}: {error}"))
}

/// How often readers beside a writer look at newer data, where they must ask for it.
#[cfg(feature = "peers")]
pub(super) const READS_PER_SNAPSHOT: u32 = 1000;

/// Random puts: numbers and values from a seed.
pub(super) struct Puts {
    random: fastrand::Rng,
    bytes: Vec<u8>,
    keys: u64,
    value_size: usize,
    count: usize,
}

/// Bytes values are cut from: they cannot be compressed, and making them costs nothing.
const VALUES_SIZE: usize = 1 << 16;

impl Puts {
    pub(super) fn new(seed: u64, keys: u64, value_size: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let bytes = std::iter::repeat_with(|| random.u8(..)).take(value_size + VALUES_SIZE).collect();
        Self { random, bytes, keys, value_size, count: 0 }
    }

    pub(super) fn next(&mut self) -> (u64, &[u8]) {
        let start = (self.count * 97) % VALUES_SIZE;
        self.count += 1;
        (self.random.u64(..self.keys), &self.bytes[start..start + self.value_size])
    }
}

/// Waits for a moment with work to do meanwhile.
pub(super) fn idle_until<E: Engine>(engine: &mut E, moment: Instant) -> Result<(), BenchError> {
    while Instant::now() < moment {
        engine.idle()?;
        std::hint::spin_loop();
    }
    Ok(())
}
