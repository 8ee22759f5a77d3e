//! The five doors: the only way code below `bin/` reaches the outside world.
//!
//! An operation goes down by call with a [`Token`] and comes back later as a completion, which the
//! task thread turns into an event. No trait here has a default method: a door that quietly does
//! nothing hides wiring bugs. There are two sets of doors, the real ones and the simulated ones,
//! and the engine cannot tell which it stands behind.

use crate::buf::Buf;
use crate::id::Category;
use std::fmt;
use std::path::{Path, PathBuf};

/// Names one outstanding request; its completion carries it back. `owner` routes the completion to the
/// component that asked, `tag` is that component's own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token {
    /// Which component of the task thread asked.
    pub owner: u32,
    /// That component's own name for the request.
    pub tag: u32,
}

/// Nanoseconds of a monotonic clock that starts anywhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Nanoseconds from an earlier moment to this one; 0 if it is not earlier.
    pub const fn since(self, earlier: Nanos) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment and some milliseconds.
    pub const fn plus_ms(self, ms: u64) -> Nanos {
        Nanos(self.0.saturating_add(ms.saturating_mul(1_000_000)))
    }
}

/// Time. Correctness never depends on the wall clock.
pub trait Clock {
    /// Monotonic time.
    fn now(&self) -> Nanos;
    /// Wall clock, in milliseconds since the Unix epoch.
    fn wall_ms(&self) -> u64;
}

/// Randomness, which a seed can replay.
pub trait Entropy {
    /// 64 random bits.
    fn next_u64(&mut self) -> u64;
}

/// An open file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(pub u32);

/// How to open a file. Reads and writes are unbuffered (`O_DIRECT`) where the file system allows, so every
/// offset, length and buffer is a multiple of [`crate::limit::BLOCK_ALIGN`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// The file must exist; read only.
    Read,
    /// The file must exist; read and write.
    ReadWrite,
    /// The file must not exist. Its name is durable only after a [`DiskOp::SyncDir`].
    Create,
}

/// One disk request.
#[derive(Debug)]
pub enum DiskOp {
    /// Opens or creates a file. Reply: [`DiskReply::Opened`].
    Open {
        /// Path, absolute or relative to the process.
        path: PathBuf,
        /// See [`OpenMode`].
        mode: OpenMode,
    },
    /// Closes a file. Reply: [`DiskReply::Done`].
    Close {
        /// The file.
        file: FileId,
    },
    /// Fills the buffer from an offset. Reply: [`DiskReply::Read`] with how many bytes there were: fewer than
    /// asked only at the end of the file.
    Read {
        /// The file.
        file: FileId,
        /// Where, in bytes, a multiple of the block alignment.
        offset: u64,
        /// Its length, a multiple of the block alignment, says how much.
        buf: Buf,
    },
    /// Writes the whole buffer at an offset, or fails. Reply: [`DiskReply::Written`].
    Write {
        /// The file.
        file: FileId,
        /// Where, in bytes, a multiple of the block alignment.
        offset: u64,
        /// What.
        buf: Buf,
        /// With `true` the completion means flushed to the medium, as far as this range of the file goes.
        durable: bool,
    },
    /// Flushes all that was written to the file and its length. Reply: [`DiskReply::Done`].
    Sync {
        /// The file.
        file: FileId,
    },
    /// Reserves space up to `len` bytes and sets the file's length. Reply: [`DiskReply::Done`].
    Allocate {
        /// The file.
        file: FileId,
        /// New length in bytes.
        len: u64,
    },
    /// Renames, replacing the target atomically. Durable after a [`DiskOp::SyncDir`]. Reply: [`DiskReply::Done`].
    Rename {
        /// Old name.
        from: PathBuf,
        /// New name.
        to: PathBuf,
    },
    /// Removes a file. Durable after a [`DiskOp::SyncDir`]. Reply: [`DiskReply::Done`].
    Remove {
        /// Its name.
        path: PathBuf,
    },
    /// Makes a directory and its parents; an existing one is fine. The new names are durable with the reply
    /// [`DiskReply::Done`].
    MakeDir {
        /// Its name.
        path: PathBuf,
    },
    /// Names and lengths of the plain files of a directory, sorted by name; none if it does not exist.
    /// Reply: [`DiskReply::Names`].
    List {
        /// The directory.
        path: PathBuf,
    },
    /// Makes creations, renames and removals in a directory durable. Reply: [`DiskReply::Done`].
    SyncDir {
        /// The directory.
        path: PathBuf,
    },
}

/// What a successful request gives back.
#[derive(Debug)]
pub enum DiskReply {
    /// The file and its length in bytes.
    Opened {
        /// The file.
        file: FileId,
        /// Bytes in it.
        len: u64,
    },
    /// The buffer and how many bytes of it were read.
    Read {
        /// The buffer of the request; bytes past `len` are unspecified.
        buf: Buf,
        /// Bytes read.
        len: usize,
    },
    /// The buffer of a write, to be used again.
    Written(Buf),
    /// File names and lengths.
    Names(Vec<(String, u64)>),
    /// Nothing but success.
    Done,
}

/// Why a disk request failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskFault {
    /// No such file or directory.
    NotFound,
    /// The file exists already.
    Exists,
    /// No space, or no quota, left.
    Full,
    /// Any other error of the operating system, by its `errno`.
    Os(i32),
}

/// A failed disk request: what, where, why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskError {
    /// The operation, as in "write".
    pub op: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// Where in the file, if that has a meaning.
    pub offset: Option<u64>,
    /// Why.
    pub fault: DiskFault,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}", self.op, self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        match self.fault {
            DiskFault::NotFound => write!(f, ": no such file or directory"),
            DiskFault::Exists => write!(f, ": it exists already"),
            DiskFault::Full => write!(f, ": no space left on the device"),
            DiskFault::Os(errno) => write!(f, ": {}", std::io::Error::from_raw_os_error(errno)),
        }
    }
}

impl std::error::Error for DiskError {}

/// A finished disk request.
#[derive(Debug)]
pub struct DiskDone {
    /// The token of the request.
    pub token: Token,
    /// How it went.
    pub result: Result<DiskReply, DiskError>,
    /// The request itself if there was no space for it ([`DiskFault::Full`]): it may be submitted again.
    pub refused: Option<DiskOp>,
}

impl DiskDone {
    /// A request that ended and is not submitted again.
    pub fn new(token: Token, result: Result<DiskReply, DiskError>) -> Self {
        Self { token, result, refused: None }
    }
}

/// The disk of one core. Requests run concurrently and finish in any order.
pub trait Disk {
    /// Starts a request.
    fn submit(&mut self, token: Token, op: DiskOp);
    /// Hands what was submitted to the device now: a disk may keep requests until it is asked what has finished.
    fn start(&mut self) {}
    /// Whether something has finished that was not reaped; a disk may not know before it is reaped. Costs next to nothing.
    fn has_done(&mut self) -> bool {
        false
    }
    /// Appends what has finished since the last call; never blocks.
    fn reap(&mut self, done: &mut Vec<DiskDone>);
    /// Blocks until something can be reaped. Only for starting and stopping, while no event runs.
    fn wait(&mut self);
    /// How much room the file system of a path has; none if nobody knows. Never waits for the device.
    fn room(&self, _path: &Path) -> Option<DiskRoom> {
        None
    }
}

/// Room on a file system, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskRoom {
    /// What this process may still take.
    pub free: u64,
    /// All there is.
    pub total: u64,
}

/// Owner of the tokens of [`call`].
pub const CALL_OWNER: u32 = u32::MAX;

/// Runs one request to its end, blocking. Only for starting and stopping, while nothing else is outstanding.
///
/// # Errors
/// What the disk answers.
///
/// # Panics
/// If another request was outstanding: that is a bug.
pub fn call(disk: &mut dyn Disk, op: DiskOp) -> Result<DiskReply, DiskError> {
    disk.submit(Token { owner: CALL_OWNER, tag: 0 }, op);
    let mut done = Vec::with_capacity(1);
    while done.is_empty() {
        disk.wait();
        disk.reap(&mut done);
    }
    assert_eq!(done.len(), 1, "a blocking disk call ran beside other requests");
    let done = done.pop().expect("invariant: just counted");
    assert_eq!(done.token.owner, CALL_OWNER, "a blocking disk call met another's completion");
    done.result
}

/// Runs requests side by side to their ends, blocking, and gives their answers in the order of the requests. Only for starting and
/// stopping, while nothing else is outstanding: several flushes take hardly longer than one.
///
/// # Errors
/// What the disk answers to the first that fails; all of them have ended then.
///
/// # Panics
/// If another request was outstanding: that is a bug.
pub fn call_all(disk: &mut dyn Disk, ops: impl IntoIterator<Item = DiskOp>) -> Result<Vec<DiskReply>, DiskError> {
    let ops: Vec<DiskOp> = ops.into_iter().collect();
    let count = ops.len();
    for (tag, op) in (0..).zip(ops) {
        disk.submit(Token { owner: CALL_OWNER, tag }, op);
    }
    let mut done = Vec::with_capacity(count);
    while done.len() < count {
        disk.wait();
        disk.reap(&mut done);
    }
    assert!(
        done.len() == count && done.iter().all(|done| done.token.owner == CALL_OWNER),
        "blocking disk calls ran beside other requests"
    );
    done.sort_unstable_by_key(|done| done.token.tag);
    done.into_iter().map(|done| done.result).collect()
}

/// Where letters come from and go to: the task threads `0..thread_count`, then the client ports.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Peer(pub u32);

/// Letters for one peer in one category, encoded one after the other, each with its own length.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LetterBatch {
    /// The encoded letters.
    pub bytes: Vec<u8>,
    /// How many there are.
    pub count: u32,
}

/// Letters between cores, and to and from clients. Between an ordered pair of peers, and within one
/// category, batches arrive once, whole and in the order sent, or not at all (the peer is gone).
pub trait Wire {
    /// Sends a batch. A full ring gives it back: the caller keeps it, in order, and tries again later.
    ///
    /// # Errors
    /// The batch itself, when there was no room.
    fn send(&mut self, to: Peer, category: Category, batch: LetterBatch) -> Result<(), LetterBatch>;
    /// The next batch of a category, from any peer, fairly; never blocks.
    fn receive(&mut self, category: Category) -> Option<(Peer, LetterBatch)>;
    /// Wakes those peers that sleep and were sent something since the last call.
    fn ring_bells(&mut self);
    /// A peer that is gone, with nothing of it left in some category, or in any: it may be named once or twice, and nobody can be
    /// answered who is named.
    fn departed(&mut self) -> Option<Peer>;
    /// Gives the emptied buffer of a received batch back to its sender, which writes its next batch into it: what one
    /// thread allocates another does not free. It may be dropped.
    fn give_back(&mut self, _from: Peer, _category: Category, _bytes: Vec<u8>) {}
    /// An empty buffer for a batch: one that the peer gave back, if there is one.
    fn buffer(&mut self, _to: Peer, _category: Category) -> Vec<u8> {
        Vec::new()
    }
}

/// Work for another thread: blocking calls and user futures. Its answer is bytes.
pub type Job = Box<dyn FnOnce() -> Result<Vec<u8>, String> + Send>;

/// A finished job.
#[derive(Debug)]
pub struct JobDone {
    /// The token of the request.
    pub token: Token,
    /// Its answer, or what it says went wrong (a panic included).
    pub result: Result<Vec<u8>, String>,
}

/// Work that does not belong on a task thread: a token out, a completion letter in. Bounded.
pub trait Jobs {
    /// Starts a job.
    ///
    /// # Errors
    /// The job itself, when too many are outstanding.
    fn start(&mut self, token: Token, job: Job) -> Result<(), Job>;
    /// Appends what has finished since the last call; never blocks.
    fn reap(&mut self, done: &mut Vec<JobDone>);
}

/// The five doors as a task thread holds them during one step.
pub struct Doors<'a> {
    /// Files.
    pub disk: &'a mut dyn Disk,
    /// Letters.
    pub wire: &'a mut dyn Wire,
    /// Time.
    pub clock: &'a dyn Clock,
    /// Randomness.
    pub entropy: &'a mut dyn Entropy,
    /// Work elsewhere.
    pub jobs: &'a mut dyn Jobs,
}

impl fmt::Debug for Doors<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Doors")
    }
}
