//! What the machine can do at all: a raw loop of group commits, fed by the same producers over the same rings.
//!
//! A committer thread takes every record that waits for it, writes them as one aligned group with `O_DIRECT` and
//! `RWF_DSYNC` into a file whose blocks are already allocated and written, and answers. It keeps nothing else and
//! computes nothing, not even a checksum: no durable log that acknowledges what it has flushed does less.

use crate::error::BenchError;
use crate::measure::Latencies;
use rustix::fs::{Mode, OFlags};
use rustix::io::ReadWriteFlags;
use std::collections::VecDeque;
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
const FILE_SIZE: usize = 64 << 20;
/// What a write is padded to: as the engine's log.
const ALIGN: usize = 4096;
/// Bytes of a group at most.
const GROUP_SIZE_MAX: usize = 1 << 20;
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
        let (mesh, ports) = Mesh::new(threads);
        let stop = Arc::new(AtomicBool::new(false));
        let mut committers = Vec::new();
        for port in ports {
            let file = prewritten(&dir.join(format!("bound-{}", port.thread().0)))?;
            let bell = Arc::new(ThreadBell::default());
            port.set_bell(bell.clone());
            let stop = Arc::clone(&stop);
            committers.push(std::thread::spawn(move || {
                let mut committer = Committer { port, bell, file, at: 0, group: Buf::with_capacity(GROUP_SIZE_MAX) };
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
fn prewritten(path: &Path) -> Result<OwnedFd, BenchError> {
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

struct Committer {
    port: ThreadPort,
    bell: Arc<ThreadBell>,
    file: OwnedFd,
    at: usize,
    group: Buf,
}

impl Committer {
    /// One group, or a sleep.
    fn turn(&mut self) -> Result<(), BenchError> {
        self.group.clear();
        let mut answers: Vec<(Peer, LetterBatch)> = Vec::new();
        while self.group.len() < GROUP_SIZE_MAX / 2
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
        self.group.pad_to(ALIGN);
        if self.at + self.group.len() > FILE_SIZE {
            self.at = 0;
        }
        write(&self.file, &self.group, self.at, ReadWriteFlags::DSYNC)?;
        self.at += self.group.len();
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
            self.group.extend(&(record.len() as u32).to_le_bytes());
            self.group.extend(record);
            Letter::Appended { request, offset: Offset(request) }.encode(&mut answer.bytes);
            answer.count += 1;
        }
        Ok(answer)
    }
}

/// One producer: sends all records, so many in flight, to each committer in turn. Latencies are those of records sent
/// after the given moment.
pub(crate) fn produce<'r>(
    bound: &Bound,
    records: impl Iterator<Item = &'r [u8]>,
    in_flight: usize,
    mut latencies: Option<(Instant, &mut Latencies)>,
) -> Result<(), BenchError> {
    let mut producer = Producer::new(bound);
    let mut sent: VecDeque<Option<Instant>> = VecDeque::new();
    let (mut first, mut answered) = (0u64, 0usize);
    let mut out = 0;
    let mut records = records.peekable();
    while records.peek().is_some() || out > 0 {
        let now = Instant::now();
        while out < in_flight
            && let Some(record) = records.next()
        {
            producer.append(first + sent.len() as u64, record);
            sent.push_back(Some(now));
            out += 1;
        }
        producer.flush();
        // Half of what is out, as the engine's producers do it.
        let enough = answered + out.div_ceil(2);
        while answered < enough {
            producer.answers(|request| {
                let began = sent[(request - first) as usize].take().expect("a record is answered once");
                if let Some((from, latencies)) = &mut latencies
                    && began >= *from
                {
                    latencies.record(began.elapsed());
                }
                answered += 1;
                out -= 1;
            })?;
            while sent.front().is_some_and(Option::is_none) {
                sent.pop_front();
                first += 1;
            }
        }
    }
    Ok(())
}

struct Producer {
    port: ClientPort,
    open: Vec<LetterBatch>,
}

impl Producer {
    fn new(bound: &Bound) -> Self {
        let port = bound.mesh.attach();
        let open = vec![LetterBatch::default(); port.thread_count() as usize];
        Self { port, open }
    }

    fn append(&mut self, request: u64, record: &[u8]) {
        let thread = (request % self.open.len() as u64) as usize;
        let letter = Letter::Append { task: TaskId(0), request, depot: 0, ack: AckLevel::AppendAck, record };
        letter.encode(&mut self.open[thread].bytes);
        self.open[thread].count += 1;
        if self.open[thread].count as usize == GATHER_COUNT {
            self.flush();
        }
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

    /// Waits for answers, and hands each out.
    fn answers(&mut self, mut answered: impl FnMut(u64)) -> Result<(), BenchError> {
        loop {
            let mut any = false;
            while let Some((from, category, batch)) = self.port.receive_any() {
                any = true;
                let mut reader = FixedReader::new(&batch.bytes);
                while let Some(letter) = Letter::decode_next(&mut reader) {
                    if let Ok(Letter::Appended { request, .. }) = letter {
                        answered(request);
                    }
                }
                self.port.give_back(from, category, batch.bytes);
            }
            if any {
                return Ok(());
            }
            if (0..self.port.thread_count()).any(|thread| self.port.is_thread_gone(Peer(thread))) {
                return Err(BenchError::Wrong("a committer ended".into()));
            }
            self.port.wait(WAIT);
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
        let mut latencies = Latencies::new();
        let began = Instant::now();
        produce(&bound, records.iter().map(Vec::as_slice), 700, Some((began, &mut latencies)))
            .expect("all are answered");
        bound.stop().expect("it stops");
        assert_eq!(latencies.count(), 5_000);
        for (thread, first) in records.iter().take(2).enumerate() {
            let bytes = std::fs::read(dir.path().join(format!("bound-{thread}"))).expect("the file is there");
            assert_eq!(bytes.len(), FILE_SIZE);
            assert_eq!(bytes[..24], [&20u32.to_le_bytes()[..], first].concat(), "its first record");
        }
    }
}
