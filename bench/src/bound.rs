//! What the machine can do at all: a raw loop of group commits, fed by the same producers over the same rings.
//!
//! A committer thread takes every record that waits for it, writes them as one aligned group with `O_DIRECT` and
//! `RWF_DSYNC` into a file whose blocks are already allocated and written, and answers. It keeps nothing else and
//! computes nothing, not even a checksum: no durable log that acknowledges what it has flushed does less.

use crate::error::BenchError;
use crate::load::Producer;
use crate::machine::Pinning;
use rustix::fs::{Mode, OFlags};
use rustix::io::ReadWriteFlags;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tantu_base::buf::Buf;
use tantu_base::door::{LetterBatch, Peer, Wire};
use tantu_base::fixed::FixedReader;
use tantu_base::id::{Category, Offset, TaskId};
use tantu_net::letter::{AckLevel, Letter};
use tantu_net::{ClientPort, Mesh, ThreadBell, ThreadPort};

/// Bytes of a committer's file; it starts over at its end.
pub(crate) const FILE_SIZE: usize = 64 << 20;
/// What a write is padded to: as the engine's log.
pub(crate) const ALIGN: usize = 4096;
/// Bytes of a group at most.
pub(crate) const GROUP_SIZE_MAX: usize = 1 << 20;
/// How long a sleep lasts before it looks whether it is time to stop.
const WAIT: Duration = Duration::from_millis(50);
/// Letters of one batch: as the engine's client gathers them.
const GATHER_COUNT: usize = 32;

/// The committers.
pub(crate) struct Bound {
    mesh: Mesh,
    stop: Arc<AtomicBool>,
    committers: Vec<JoinHandle<Result<(), BenchError>>>,
}

impl Bound {
    /// So many committers, each with a file of its own.
    pub(crate) fn start(dir: &Path, threads: u32) -> Result<Self, BenchError> {
        Self::start_on(dir, threads, None)
    }

    /// The same, each on a processor of its own: the first ones, as the engine's threads.
    pub(crate) fn start_on(dir: &Path, threads: u32, cores: Option<&Pinning>) -> Result<Self, BenchError> {
        let (mesh, ports) = Mesh::new(threads);
        let stop = Arc::new(AtomicBool::new(false));
        let mut committers = Vec::new();
        for port in ports {
            let groups = GroupFile::new(&dir.join(format!("bound-{}", port.thread().0)))?;
            let bell = Arc::new(ThreadBell::default());
            port.set_bell(bell.clone());
            let stop = Arc::clone(&stop);
            let (cores, number) = (cores.cloned(), port.thread().index());
            committers.push(std::thread::spawn(move || {
                cores.map_or(Ok(()), |cores| cores.pin(number))?;
                let mut committer = Committer { port, bell, groups };
                while !stop.load(Ordering::Acquire) {
                    committer.turn()?;
                }
                Ok(())
            }));
        }
        Ok(Self { mesh, stop, committers })
    }

    pub(crate) fn stop(self) -> Result<(), BenchError> {
        self.stop.store(true, Ordering::Release);
        for committer in self.committers {
            committer.join().map_err(|_| BenchError::Wrong("a committer panicked".into()))??;
        }
        Ok(())
    }
}

/// A file without holes, so that a write changes data only.
pub(crate) fn prewritten(path: &Path) -> Result<OwnedFd, BenchError> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let open = |flags| rustix::fs::open(path, flags, Mode::from_raw_mode(0o600));
    // Some file systems have no direct I/O; the engine writes through their cache as well.
    let file = open(flags | OFlags::DIRECT)
        .or_else(|_| open(flags - OFlags::EXCL))
        .map_err(BenchError::io("opening the bound's file"))?;
    let zeros = Buf::zeroed(GROUP_SIZE_MAX);
    for at in (0..FILE_SIZE).step_by(zeros.len()) {
        write(&file, &zeros, at, ReadWriteFlags::empty())?;
    }
    rustix::fs::fsync(&file).map_err(BenchError::io("flushing the bound's file"))?;
    Ok(file)
}

fn write(file: &OwnedFd, bytes: &[u8], at: usize, flags: ReadWriteFlags) -> Result<(), BenchError> {
    let wrote = rustix::io::pwritev2(file, &[IoSlice::new(bytes)], at as u64, flags)
        .map_err(BenchError::io("writing to the bound's file"))?;
    if wrote == bytes.len() { Ok(()) } else { Err(BenchError::Wrong("the bound's file took a part of a write".into())) }
}

/// Records gathered into groups, and written as such.
struct GroupFile {
    file: OwnedFd,
    at: usize,
    group: Buf,
}

impl GroupFile {
    fn new(path: &Path) -> Result<Self, BenchError> {
        Ok(Self { file: prewritten(path)?, at: 0, group: Buf::with_capacity(GROUP_SIZE_MAX) })
    }

    fn push(&mut self, record: &[u8]) {
        self.group.extend(&(record.len() as u32).to_le_bytes());
        self.group.extend(record);
    }

    /// Whether the group should be written before it takes more.
    fn is_full(&self) -> bool {
        self.group.len() >= GROUP_SIZE_MAX / 2
    }

    /// Makes the group durable.
    fn commit(&mut self) -> Result<(), BenchError> {
        self.group.pad_to(ALIGN);
        if self.at + self.group.len() > FILE_SIZE {
            self.at = 0;
        }
        write(&self.file, &self.group, self.at, ReadWriteFlags::DSYNC)?;
        self.at += self.group.len();
        self.group.clear();
        Ok(())
    }
}

struct Committer {
    port: ThreadPort,
    bell: Arc<ThreadBell>,
    groups: GroupFile,
}

impl Committer {
    /// One group, or a sleep.
    fn turn(&mut self) -> Result<(), BenchError> {
        let mut answers: Vec<(Peer, LetterBatch)> = Vec::new();
        while !self.groups.is_full()
            && let Some((from, batch)) = self.port.receive(Category::Client)
        {
            answers.push((from, self.gather(from, &batch)?));
            self.port.give_back(from, Category::Client, batch.bytes);
        }
        if answers.is_empty() {
            if self.port.lie_down() {
                self.bell.wait(WAIT);
                self.port.get_up();
            }
            return Ok(());
        }
        self.groups.commit()?;
        for (to, mut answer) in answers {
            while let Err(back) = self.port.send(to, Category::Client, answer) {
                answer = back;
                self.port.ring_bells();
                std::thread::yield_now();
            }
        }
        self.port.ring_bells();
        Ok(())
    }

    /// Copies a batch's records into the group and writes their answers.
    fn gather(&mut self, from: Peer, batch: &LetterBatch) -> Result<LetterBatch, BenchError> {
        let mut answer = LetterBatch { bytes: self.port.buffer(from, Category::Client), count: 0 };
        let mut reader = FixedReader::new(&batch.bytes);
        while let Some(letter) = Letter::decode_next(&mut reader) {
            let Ok(Letter::Append { request, record, .. }) = letter else {
                return Err(BenchError::Wrong("the bound was sent something that is no append".into()));
            };
            self.groups.push(record);
            Letter::Appended { request, offset: Offset(request) }.encode(&mut answer.bytes);
            answer.count += 1;
        }
        Ok(answer)
    }
}

/// One producer: sends all records, so many in flight, to each committer in turn.
pub(crate) fn produce<'r>(
    bound: &Bound,
    mut records: impl Iterator<Item = &'r [u8]>,
    in_flight: usize,
) -> Result<(), BenchError> {
    let mut producer = BoundProducer::new(bound);
    let (mut sent, mut out) = (0, 0);
    loop {
        while out < in_flight
            && let Some(record) = records.next()
        {
            producer.send(sent, record)?;
            sent += 1;
            out += 1;
        }
        if out == 0 {
            return Ok(());
        }
        // Half of what is out, as the engine's producers do it.
        let mut answered = 0;
        producer.answers(out.div_ceil(2), None, &mut |_| answered += 1)?;
        out -= answered;
    }
}

/// A client of the committers.
pub(crate) struct BoundProducer {
    port: ClientPort,
    open: Vec<LetterBatch>,
}

impl BoundProducer {
    pub(crate) fn new(bound: &Bound) -> Self {
        let port = bound.mesh.attach();
        let open = vec![LetterBatch::default(); port.thread_count() as usize];
        Self { port, open }
    }

    fn flush(&mut self) {
        for (thread, open) in self.open.iter_mut().enumerate() {
            if open.count == 0 {
                continue;
            }
            let mut batch = std::mem::take(open);
            loop {
                match self.port.send(Peer(thread as u32), Category::Client, batch) {
                    Ok(()) => {
                        open.bytes = self.port.buffer(Peer(thread as u32), Category::Client);
                        break;
                    }
                    Err(back) => batch = back,
                }
                self.port.ring_bells();
                std::thread::yield_now();
            }
        }
        self.port.ring_bells();
    }

    /// Takes in what has arrived, and says how many answers that were.
    fn receive(&mut self, answered: &mut dyn FnMut(u64)) -> usize {
        let mut count = 0;
        while let Some((from, category, batch)) = self.port.receive_any() {
            let mut reader = FixedReader::new(&batch.bytes);
            while let Some(letter) = Letter::decode_next(&mut reader) {
                if let Ok(Letter::Appended { request, .. }) = letter {
                    answered(request);
                    count += 1;
                }
            }
            self.port.give_back(from, category, batch.bytes);
        }
        count
    }
}

impl Producer for BoundProducer {
    fn send(&mut self, number: u64, record: &[u8]) -> Result<(), BenchError> {
        let thread = (number % self.open.len() as u64) as usize;
        let letter = Letter::Append { task: TaskId(0), request: number, depot: 0, ack: AckLevel::AppendAck, record };
        letter.encode(&mut self.open[thread].bytes);
        self.open[thread].count += 1;
        if self.open[thread].count as usize == GATHER_COUNT {
            self.flush();
        }
        Ok(())
    }

    fn answers(
        &mut self,
        wanted: usize,
        until: Option<Instant>,
        answered: &mut dyn FnMut(u64),
    ) -> Result<(), BenchError> {
        self.flush();
        let mut count = 0;
        loop {
            count += self.receive(answered);
            let now = Instant::now();
            if count >= wanted || until.is_some_and(|until| now >= until) {
                return Ok(());
            }
            if (0..self.port.thread_count()).any(|thread| self.port.is_thread_gone(Peer(thread))) {
                return Err(BenchError::Wrong("a committer ended".into()));
            }
            self.port.wait(until.map_or(WAIT, |until| (until - now).min(WAIT)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_answers_every_record_once_and_writes_what_it_was_sent() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let bound = Bound::start(dir.path(), 2).expect("it starts");
        let records: Vec<Vec<u8>> = (0..5_000u32).map(|n| n.to_be_bytes().repeat(5)).collect();
        let mut producer = BoundProducer::new(&bound);
        let mut answers = vec![0; records.len()];
        for (number, record) in records.iter().enumerate() {
            producer.send(number as u64, record).expect("it is sent");
        }
        let mut answered = |number| answers[number as usize] += 1;
        producer.answers(records.len(), None, &mut answered).expect("all are answered");
        producer.answers(1, Some(Instant::now()), &mut answered).expect("no more are");
        drop(producer);
        bound.stop().expect("it stops");
        assert!(answers.iter().all(|count| *count == 1));
        for (thread, first) in records.iter().take(2).enumerate() {
            let bytes = std::fs::read(dir.path().join(format!("bound-{thread}"))).expect("the file is there");
            assert_eq!(bytes.len(), FILE_SIZE);
            assert_eq!(bytes[..24], [&20u32.to_le_bytes()[..], first].concat(), "its first record");
        }
    }
}
