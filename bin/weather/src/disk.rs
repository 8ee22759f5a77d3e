//! The simulated disk: files in memory, requests that take virtual time and finish in any order.
//!
//! A request takes effect when it finishes. Until the power is cut every promise of the disk door holds; what the
//! medium has at a cut is the business of [`Image`]. The disk counts requests, and [`SimDisk::stop_at`] lets nothing
//! happen from a certain one on, so that a driver can cut a run at every one of its requests. It also refuses what a
//! kernel would punish later: unaligned requests, files closed under their requests, writes to files opened to read.

use crate::chance::SimEntropy;
use crate::fault::{DiskWeather, Fault, OpKind, Plan};
use crate::file::CutBias;
use crate::image::{Image, clean};
use crate::mark;
use crate::trace::digest;
use crate::{SimClock, Trace, Weather};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tantu_base::door::{
    Disk, DiskDone, DiskError, DiskFault, DiskOp, DiskReply, DiskRoom, FileId, Nanos, OpenMode, Token,
};
use tantu_base::limit::BLOCK_ALIGN;

const EIO: i32 = 5;
/// What is left in the part of a read buffer past the end of the file: never what a reader hopes for.
const UNSPECIFIED: u8 = 0xa5;

/// One core's door to a simulated disk.
#[derive(Debug)]
pub struct SimDisk {
    machine: Rc<RefCell<Machine>>,
    port: u32,
}

#[derive(Debug)]
struct OpenFile {
    inode: u64,
    path: PathBuf,
    port: u32,
    writable: bool,
    /// Requests under way.
    busy: u32,
    closing: bool,
}

#[derive(Debug)]
struct Request {
    order: u64,
    port: u32,
    token: Token,
    kind: OpKind,
    op: DiskOp,
    /// For flushes: they cover what finished before this.
    upto: u64,
    fault: Option<Fault>,
}

#[derive(Debug)]
struct Machine {
    world: Weather,
    weather: DiskWeather,
    chance: SimEntropy,
    plan: Plan,
    image: Image,
    open: BTreeMap<u32, OpenFile>,
    next_file: u32,
    in_flight: BTreeMap<(Nanos, u64), Request>,
    finished: Vec<Vec<DiskDone>>,
    last_finished: u64,
    submitted: u64,
    stop_at: u64,
    stopped: bool,
    /// Requests made after the stop: they never happened.
    vanished: Vec<(u32, Token, OpKind)>,
    /// Requests in flight at the stop whose askers were told of a failure, so that blocking calls end.
    told: BTreeSet<u64>,
}

impl SimDisk {
    /// A disk with the files of an image.
    pub fn new(world: &Weather, weather: DiskWeather, mut image: Image) -> Self {
        image.collect(&BTreeSet::new());
        let machine = Machine {
            chance: world.entropy(),
            world: world.clone(),
            weather,
            plan: Plan::default(),
            image,
            open: BTreeMap::new(),
            next_file: 0,
            in_flight: BTreeMap::new(),
            finished: vec![Vec::new()],
            last_finished: 0,
            submitted: 0,
            stop_at: u64::MAX,
            stopped: false,
            vanished: Vec::new(),
            told: BTreeSet::new(),
        };
        Self { machine: Rc::new(RefCell::new(machine)), port: 0 }
    }

    /// An empty disk in a world of its own, without faults.
    pub fn calm(seed: u64) -> Self {
        Self::new(&Weather::new(seed), DiskWeather::default(), Image::default())
    }

    /// The door of another core to the same files. Completions come to the door that asked.
    pub fn another(&self) -> Self {
        let mut machine = self.machine.borrow_mut();
        machine.finished.push(Vec::new());
        Self { machine: self.machine.clone(), port: machine.finished.len() as u32 - 1 }
    }

    /// The world it is in.
    pub fn world(&self) -> Weather {
        self.machine.borrow().world.clone()
    }

    /// The clock its requests take time of.
    pub fn clock(&self) -> SimClock {
        self.machine.borrow().world.clock.clone()
    }

    /// The trace its requests leave.
    pub fn trace(&self) -> Trace {
        self.machine.borrow().world.trace.clone()
    }

    /// Changes rates, latencies or the capacity from here on.
    pub fn set_weather(&self, weather: DiskWeather) {
        self.machine.borrow_mut().weather = weather;
    }

    /// Makes the request of a kind fail that comes after `index` more of them.
    pub fn fail_nth(&self, kind: OpKind, index: u64, fault: Fault) {
        self.machine.borrow_mut().plan.fail_nth(kind, index, fault);
    }

    /// Makes every request of a kind fail from here on; `None` ends it.
    pub fn fail_all(&self, kind: OpKind, fault: Option<Fault>) {
        match fault {
            Some(fault) => self.fail_from(kind, 0, fault),
            None => self.machine.borrow_mut().plan.heal(kind),
        }
    }

    /// Makes every request of a kind fail that comes after `index` more of them.
    pub fn fail_from(&self, kind: OpKind, index: u64, fault: Fault) {
        self.machine.borrow_mut().plan.fail_from(kind, index, fault);
    }

    /// Planned faults that have not come yet. A sweep over "fail the N-th" ends when one is left.
    pub fn faults_outstanding(&self) -> usize {
        self.machine.borrow().plan.outstanding()
    }

    /// Requests of a kind so far.
    pub fn count(&self, kind: OpKind) -> u64 {
        self.machine.borrow().plan.seen(kind)
    }

    /// Requests so far, of all doors and kinds.
    pub fn submitted(&self) -> u64 {
        self.machine.borrow().submitted
    }

    /// Lets nothing happen any more once `count` requests were made, counted from the first.
    pub fn stop_at(&self, count: u64) {
        self.machine.borrow_mut().stop_at = count;
    }

    /// Lets nothing happen from here on.
    pub fn stop(&self) {
        self.machine.borrow_mut().stop();
    }

    /// Whether it has stopped: every answer since is a lie that makes blocking calls end, and the driver should throw
    /// the engine away.
    pub fn crashed(&self) -> bool {
        self.machine.borrow().stopped
    }

    /// What a power cut now, or at the stop, leaves. The disk itself goes on, so that one moment can be cut many times.
    pub fn crash(&self, chance: &mut SimEntropy) -> Image {
        let bias = CutBias::draw(chance, self.machine.borrow().weather.torn_percent);
        self.crash_with(bias, chance)
    }

    /// As [`SimDisk::crash`], with a say in what survives.
    pub fn crash_with(&self, bias: CutBias, chance: &mut SimEntropy) -> Image {
        let mut machine = self.machine.borrow_mut();
        let marks = machine.world.marks.clone();
        marks.hit(mark::POWER_CUT);
        machine.interrupted(bias.request_percent, chance).cut(bias, chance, &marks)
    }

    /// What a kill of the process now leaves: everything that finished, and anything of what was in flight. It is not
    /// more durable than it was: a power cut later can still take it.
    pub fn kill(&self, chance: &mut SimEntropy) -> Image {
        let mut machine = self.machine.borrow_mut();
        machine.world.marks.hit(mark::KILL);
        let bias = CutBias::draw(chance, 0);
        let mut image = machine.interrupted(bias.request_percent, chance);
        image.collect(&BTreeSet::new());
        image
    }

    /// The files as they are read now, with what is not durable yet.
    pub fn image(&self) -> Image {
        let mut machine = self.machine.borrow_mut();
        machine.finish_due();
        machine.image.clone()
    }

    /// When the next request finishes, of any door; nothing if none is under way.
    pub fn next_due(&self) -> Option<Nanos> {
        let machine = self.machine.borrow();
        if machine.stopped {
            return None;
        }
        machine.in_flight.keys().next().map(|(due, _)| *due)
    }

    /// Whether this door has something to reap now.
    pub fn has_completions(&self) -> bool {
        let mut machine = self.machine.borrow_mut();
        machine.finish_due();
        !machine.stopped && !machine.finished[self.port as usize].is_empty()
    }
}

impl Disk for SimDisk {
    fn submit(&mut self, token: Token, op: DiskOp) {
        self.machine.borrow_mut().submit(self.port, token, op);
    }

    fn reap(&mut self, done: &mut Vec<DiskDone>) {
        let mut machine = self.machine.borrow_mut();
        machine.finish_due();
        done.append(&mut machine.finished[self.port as usize]);
    }

    fn wait(&mut self) {
        let mut machine = self.machine.borrow_mut();
        machine.finish_due();
        if machine.stopped {
            machine.fail_all_of(self.port);
        }
        while machine.finished[self.port as usize].is_empty() {
            let next =
                machine.in_flight.iter().find(|(_, request)| request.port == self.port).map(|((due, _), _)| *due);
            let due = next.expect("waiting for a disk that has nothing to do would never end");
            machine.world.clock.advance_to(due);
            machine.finish_due();
        }
    }

    fn room(&self, _path: &Path) -> Option<DiskRoom> {
        let machine = self.machine.borrow();
        let total = machine.weather.capacity?;
        Some(DiskRoom { free: total.saturating_sub(machine.image.size()), total })
    }
}

/// Whether a request may fail for want of space, and is then given back.
fn needs_room(op: &DiskOp) -> bool {
    matches!(op, DiskOp::Write { .. } | DiskOp::Allocate { .. } | DiskOp::Open { mode: OpenMode::Create, .. })
}

/// The file a request is for.
fn file_of(op: &DiskOp) -> Option<FileId> {
    match op {
        DiskOp::Close { file }
        | DiskOp::Read { file, .. }
        | DiskOp::Write { file, .. }
        | DiskOp::Sync { file }
        | DiskOp::Allocate { file, .. } => Some(*file),
        _ => None,
    }
}

fn check_shape(op: &DiskOp) {
    let (offset, len, address) = match op {
        DiskOp::Read { offset, buf, .. } | DiskOp::Write { offset, buf, .. } => {
            (*offset, buf.len(), buf.as_ptr() as usize)
        }
        _ => return,
    };
    assert!(len > 0, "an empty request");
    assert_eq!(len % BLOCK_ALIGN, 0, "a length that is not a multiple of the block");
    assert_eq!(offset % BLOCK_ALIGN as u64, 0, "an offset that is not a multiple of the block");
    assert_eq!(address % BLOCK_ALIGN, 0, "a buffer that is not aligned");
}

impl Machine {
    fn submit(&mut self, port: u32, token: Token, op: DiskOp) {
        check_shape(&op);
        let kind = OpKind::of(&op);
        self.finish_due();
        if self.submitted >= self.stop_at {
            self.stop();
        }
        if self.stopped {
            self.vanished.push((port, token, kind));
            return;
        }
        self.claim(port, &op);
        self.submitted += 1;
        let fault = self.draw_fault(kind);
        let latency = if fault == Some(Fault::Slow) {
            self.world.marks.hit(mark::SLOW_REQUEST);
            self.weather.slow_ns.clone()
        } else {
            self.weather.latency_ns.clone()
        };
        let due = Nanos(self.world.clock.time().0 + self.chance.within(latency));
        let order = self.submitted;
        self.note_submission(port, token, kind, &op);
        let upto = self.image.next_seq();
        self.in_flight.insert((due, order), Request { order, port, token, kind, op, upto, fault });
    }

    /// Checks that the asker may use the file, and notes that it does.
    fn claim(&mut self, port: u32, op: &DiskOp) {
        let Some(file) = file_of(op) else { return };
        let open =
            self.open.get_mut(&file.0).unwrap_or_else(|| panic!("a request for a file that is not open: {op:?}"));
        let path = open.path.display();
        assert_eq!(open.port, port, "a request for another core's open file {path}");
        assert!(!open.closing, "a request for the closed file {path}");
        if matches!(op, DiskOp::Close { .. }) {
            assert_eq!(open.busy, 0, "{path} was closed under its requests");
            open.closing = true;
        }
        let writes = matches!(op, DiskOp::Write { .. } | DiskOp::Allocate { .. });
        assert!(open.writable || !writes, "{path} was opened to be read only");
        open.busy += 1;
    }

    fn draw_fault(&mut self, kind: OpKind) -> Option<Fault> {
        let (eio, slow) = (self.weather.eio_ppm(kind), self.weather.slow_ppm);
        let (eio, slow) = (self.chance.chance_ppm(eio), self.chance.chance_ppm(slow));
        let drawn = if eio { Some(Fault::Eio) } else { slow.then_some(Fault::Slow) };
        self.plan.next(kind).or(drawn)
    }

    fn note_submission(&self, port: u32, token: Token, kind: OpKind, op: &DiskOp) {
        let trace = &self.world.trace;
        trace.note(kind as u64 | u64::from(port) << 8 | u64::from(token.owner) << 32);
        trace.note(u64::from(token.tag) ^ self.world.clock.time().0);
        let (path, offset) = self.place_of(op);
        trace.note_bytes(path.as_os_str().as_encoded_bytes());
        trace.note(offset.unwrap_or_default());
        if let DiskOp::Write { buf, durable, .. } = op {
            trace.note(digest(buf) ^ u64::from(*durable));
        }
    }

    /// For errors and traces: which file, where.
    fn place_of(&self, op: &DiskOp) -> (PathBuf, Option<u64>) {
        let path = |file: &FileId| self.open.get(&file.0).map(|open| open.path.clone()).unwrap_or_default();
        match op {
            DiskOp::Open { path, .. }
            | DiskOp::Remove { path }
            | DiskOp::MakeDir { path }
            | DiskOp::List { path }
            | DiskOp::SyncDir { path }
            | DiskOp::Rename { from: path, .. } => (path.clone(), None),
            DiskOp::Close { file } | DiskOp::Sync { file } => (path(file), None),
            DiskOp::Allocate { file, len } => (path(file), Some(*len)),
            DiskOp::Read { file, offset, .. } | DiskOp::Write { file, offset, .. } => (path(file), Some(*offset)),
        }
    }

    fn stop(&mut self) {
        if !self.stopped {
            self.finish_due();
            self.stopped = true;
            // What finished and was not seen yet happened; only the news is lost.
            self.vanished.extend(
                self.finished
                    .iter_mut()
                    .zip(0..)
                    .flat_map(|(finished, port)| finished.drain(..).map(move |done| (port, done.token, OpKind::Close))),
            );
        }
    }

    /// Answers everything a door waits for with a failure: the machine has no power, and nobody will look at the answer.
    fn fail_all_of(&mut self, port: u32) {
        let told = &mut self.told;
        let waiting = self.in_flight.values().filter(|request| request.port == port && told.insert(request.order));
        let mut tokens: Vec<(Token, OpKind)> = waiting.map(|request| (request.token, request.kind)).collect();
        self.vanished.retain(|(asker, token, kind)| {
            if *asker == port {
                tokens.push((*token, *kind));
            }
            *asker != port
        });
        let failed = tokens.into_iter().map(|(token, kind)| {
            let error = DiskError {
                op: kind.verb(),
                path: "(the power is cut)".into(),
                offset: None,
                fault: DiskFault::Os(EIO),
            };
            DiskDone::new(token, Err(error))
        });
        self.finished[port as usize].extend(failed);
    }

    /// Lets everything happen whose time has come.
    fn finish_due(&mut self) {
        let now = self.world.clock.time();
        while !self.stopped
            && let Some(entry) = self.in_flight.first_entry()
            && entry.key().0 <= now
        {
            let request = entry.remove();
            let (order, port) = (request.order, request.port as usize);
            if order < self.last_finished {
                self.world.marks.hit(mark::REORDERED_REQUEST);
            }
            self.last_finished = order;
            let done = self.finish(request);
            self.world.trace.note(order << 1 | u64::from(done.result.is_ok()));
            self.finished[port].push(done);
        }
    }

    fn finish(&mut self, request: Request) -> DiskDone {
        let (path, offset) = self.place_of(&request.op);
        let (token, kind) = (request.token, request.kind);
        if let Some(file) = file_of(&request.op) {
            self.open.get_mut(&file.0).expect("invariant: a claimed file stays open").busy -= 1;
        }
        let failed = match request.fault {
            Some(Fault::Eio) => Some(DiskFault::Os(EIO)),
            Some(Fault::Full) => Some(DiskFault::Full),
            Some(Fault::Os(errno)) => Some(DiskFault::Os(errno)),
            None | Some(Fault::Slow | Fault::Short) => self.lacks_room(&request.op).then_some(DiskFault::Full),
        };
        let mut refused = None;
        let result = match failed {
            Some(DiskFault::Full) if needs_room(&request.op) => {
                refused = Some(request.op);
                Err(DiskFault::Full)
            }
            Some(fault) => {
                self.fail(request);
                Err(fault)
            }
            None => self.perform(request),
        };
        let result = result.map_err(|fault| {
            self.mark_failure(kind, fault);
            DiskError { op: kind.verb(), path, offset, fault }
        });
        DiskDone { token, result, refused }
    }

    fn mark_failure(&self, kind: OpKind, fault: DiskFault) {
        let mark = match (fault, kind) {
            (DiskFault::Full, _) => mark::ENOSPC,
            (DiskFault::Os(_), OpKind::Read) => mark::EIO_READ,
            (DiskFault::Os(_), OpKind::Write) => mark::EIO_WRITE,
            (DiskFault::Os(_), OpKind::Sync | OpKind::SyncDir) => mark::EIO_FLUSH,
            (DiskFault::Os(_), _) => mark::EIO_OTHER,
            (DiskFault::NotFound | DiskFault::Exists, _) => return,
        };
        self.world.marks.hit(mark);
    }

    /// What a request that is answered with an error does nevertheless.
    fn fail(&mut self, request: Request) {
        match request.op {
            DiskOp::Write { file, offset, buf, .. } if request.fault == Some(Fault::Eio) => {
                let seq = self.image.next_seq();
                let (inode, orphan, chance) = (self.open[&file.0].inode, self.weather.page_cache, &mut self.chance);
                self.image.file_mut(inode).write(seq, offset, &buf, orphan, || chance.percent(50));
            }
            DiskOp::Sync { file } if !matches!(request.fault, Some(Fault::Os(_))) => {
                let (target, chance) = (self.image.file_mut(self.open[&file.0].inode), &mut self.chance);
                if self.weather.page_cache {
                    target.orphan(request.upto);
                } else {
                    target.drop_from_cache(request.upto, || chance.percent(50));
                }
            }
            DiskOp::Close { file } => {
                self.open.remove(&file.0);
            }
            _ => {}
        }
    }

    fn perform(&mut self, request: Request) -> Result<DiskReply, DiskFault> {
        let upto = request.upto;
        match request.op {
            DiskOp::Open { path, mode } => self.open_file(request.port, &path, mode),
            DiskOp::Close { file } => {
                self.open.remove(&file.0);
                Ok(DiskReply::Done)
            }
            DiskOp::Read { file, offset, mut buf } => {
                let mut len = self.image.file(self.open[&file.0].inode).live().read_at(offset, &mut buf);
                if request.fault == Some(Fault::Short) {
                    self.world.marks.hit(mark::SHORT_READ);
                    len = self.chance.below(len.max(1) as u64) as usize;
                }
                buf[len..].fill(UNSPECIFIED);
                Ok(DiskReply::Read { buf, len })
            }
            DiskOp::Write { file, offset, buf, durable } => {
                let inode = self.open[&file.0].inode;
                let seq = self.image.next_seq();
                let target = self.image.file_mut(inode);
                if durable && !self.weather.lies_about_flushes {
                    target.write_durable(offset, &buf)
                } else {
                    target.write(seq, offset, &buf, false, || true)
                }
                Ok(DiskReply::Written(buf))
            }
            DiskOp::Sync { file } => {
                if !self.weather.lies_about_flushes {
                    self.image.file_mut(self.open[&file.0].inode).flush(upto);
                }
                Ok(DiskReply::Done)
            }
            DiskOp::Allocate { file, len } => {
                let inode = self.open[&file.0].inode;
                let seq = self.image.next_seq();
                let target = self.image.file_mut(inode);
                assert!(len >= target.live().len(), "allocating less than the file has");
                target.grow(seq, len);
                Ok(DiskReply::Done)
            }
            DiskOp::Rename { .. }
            | DiskOp::Remove { .. }
            | DiskOp::MakeDir { .. }
            | DiskOp::List { .. }
            | DiskOp::SyncDir { .. } => self.perform_on_names(request.op, upto),
        }
    }

    fn perform_on_names(&mut self, op: DiskOp, upto: u64) -> Result<DiskReply, DiskFault> {
        match op {
            DiskOp::Rename { from, to } => {
                let (from, to) = (clean(&from), clean(&to));
                let inode = self.image.inode(&from).ok_or(DiskFault::NotFound)?;
                if !self.image.has_parent(&to) {
                    return Err(DiskFault::NotFound);
                }
                self.image.rename(from, to, inode);
            }
            DiskOp::Remove { path } => {
                let path = clean(&path);
                let inode = self.image.inode(&path).ok_or(DiskFault::NotFound)?;
                self.image.unlink(path, inode);
            }
            DiskOp::MakeDir { path } => self.image.make_dir(&clean(&path)),
            DiskOp::List { path } => return Ok(DiskReply::Names(self.image.list(&clean(&path)))),
            DiskOp::SyncDir { path } => {
                let path = clean(&path);
                if !self.image.has_dir(&path) {
                    return Err(DiskFault::NotFound);
                }
                if !self.weather.lies_about_names {
                    self.image.flush_dir(&path, upto);
                }
                let open = self.open.values().map(|open| open.inode).collect();
                self.image.collect(&open);
            }
            op => unreachable!("not about names: {op:?}"),
        }
        Ok(DiskReply::Done)
    }

    fn open_file(&mut self, port: u32, path: &Path, mode: OpenMode) -> Result<DiskReply, DiskFault> {
        let path = clean(path);
        let inode = match (self.image.inode(&path), mode) {
            (Some(_), OpenMode::Create) => return Err(DiskFault::Exists),
            (Some(inode), OpenMode::Read | OpenMode::ReadWrite) => inode,
            (None, OpenMode::Create) if self.image.has_parent(&path) => self.image.create(path.clone()),
            (None, _) => return Err(DiskFault::NotFound),
        };
        let (file, len) = (FileId(self.next_file), self.image.file(inode).live().len());
        self.next_file += 1;
        let writable = mode != OpenMode::Read;
        self.open.insert(file.0, OpenFile { inode, path, port, writable, busy: 0, closing: false });
        Ok(DiskReply::Opened { file, len })
    }

    /// Whether a request makes a file longer than there is room for.
    fn lacks_room(&self, op: &DiskOp) -> bool {
        let Some(capacity) = self.weather.capacity else { return false };
        let (file, len) = match op {
            DiskOp::Write { file, offset, buf, .. } => (file, offset + buf.len() as u64),
            DiskOp::Allocate { file, len } => (file, *len),
            _ => return false,
        };
        let old = self.image.file(self.open[&file.0].inode).live().len().next_multiple_of(BLOCK_ALIGN as u64);
        let more = len.next_multiple_of(BLOCK_ALIGN as u64).saturating_sub(old);
        more > 0 && self.image.size() + more > capacity
    }

    /// The files after an interruption, before anything unflushed is taken away: requests in flight happened in any
    /// order, in part, or not at all.
    fn interrupted(&mut self, percent: u32, chance: &mut SimEntropy) -> Image {
        self.finish_due();
        let mut image = self.image.clone();
        let mut requests: Vec<&Request> = self.in_flight.values().collect();
        requests.sort_unstable_by_key(|request| request.order);
        chance.shuffle(&mut requests);
        for request in requests {
            let happened = chance.percent(percent) && self.begin(&mut image, request, percent, chance);
            self.world.marks.hit(if happened { mark::UNANSWERED_REQUEST } else { mark::LOST_REQUEST });
        }
        image
    }

    /// Lets a request that will not be answered happen, in part or whole. Whether it changed anything.
    fn begin(&self, image: &mut Image, request: &Request, percent: u32, chance: &mut SimEntropy) -> bool {
        let inode = file_of(&request.op).map(|file| self.open[&file.0].inode);
        let seq = image.next_seq();
        match (&request.op, inode) {
            (DiskOp::Write { offset, buf, .. }, Some(inode)) => {
                image.file_mut(inode).write(seq, *offset, buf, false, || chance.percent(percent))
            }
            (DiskOp::Sync { .. }, Some(inode)) => image.file_mut(inode).flush(request.upto),
            (DiskOp::Allocate { len, .. }, Some(inode)) => image.file_mut(inode).grow(seq, *len),
            (DiskOp::Open { path, mode: OpenMode::Create }, _) => {
                let path = clean(path);
                if image.inode(&path).is_some() || !image.has_parent(&path) {
                    return false;
                }
                image.create(path);
            }
            (DiskOp::Rename { from, to }, _) => {
                let (from, to) = (clean(from), clean(to));
                let Some(inode) = image.inode(&from).filter(|_| image.has_parent(&to)) else { return false };
                image.rename(from, to, inode);
            }
            (DiskOp::Remove { path }, _) => {
                let path = clean(path);
                let Some(inode) = image.inode(&path) else { return false };
                image.unlink(path, inode);
            }
            (DiskOp::MakeDir { path }, _) => image.make_dir(&clean(path)),
            (DiskOp::SyncDir { path }, _) => image.flush_dir(&clean(path), request.upto),
            _ => return false,
        }
        true
    }
}
