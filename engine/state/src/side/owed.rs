//! What side runs append when it is more than their share of memory: on the disk before they are published, and from there to
//! the depots afterwards.
//!
//! Pieces lie in the tree of side runs, by their depot and the end of the piece. The publish gives all of them their offsets, as
//! it does for what is in memory, and the depot *owes* them to its readers: piece by piece they are read, become readable, and
//! are copied to segments like all else, never more than two chunks ahead of the copies. What commits behind them waits in
//! memory, since offsets are read in order. That the run was published is told when all of it can be read. Its files stay until
//! the tree has flushed that the records are in segments; until then a replay begins with the same debt.

use super::append::Appended;
use super::attached::SIDE_SLICE_SIZE;
use super::{Published, RunEvent, Side};
use crate::depot::Run;
use crate::task::{StateError, TaskState, fetch_now};
use std::ops::ControlFlow;
use tantu_base::door::Disk;
use tantu_base::id::{ObjectId, Offset, RunId, Version};
use tantu_lsm::{BlockCache, Stop, Tree, Write};

/// The kind of a piece in the tree of side runs, behind the run's number there.
const PIECE: u8 = 2;

/// Records of a depot that lie in the tree of side runs, under the number of their run there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owed {
    pub(crate) appended: Appended,
    pub(crate) serial: u64,
}

/// The files of such records are kept for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwedFiles {
    run: RunId,
    /// The depot, by its place.
    depot: usize,
    end: Offset,
    pub(crate) serial: u64,
    /// All of them can be read.
    is_paid: bool,
}

/// The key of the piece with this end, which counts from the first record that the run appends to the depot.
fn piece_key(serial: u64, depot: ObjectId, end: u64) -> Vec<u8> {
    [&serial.to_be_bytes()[..], &[PIECE], &depot.0.to_be_bytes(), &end.to_be_bytes()].concat()
}

/// Moves a piece to the disk.
pub(crate) fn put_piece(tree: &mut Tree, serial: u64, depot: ObjectId, piece: &Run) {
    let (key, mut value) = (piece_key(serial, depot, piece.end().0), Vec::new());
    piece.encode(&mut value);
    let version = Version(tree.applied().0 + 1);
    tree.apply(version, std::iter::once(Write::Put { key: &key, value: &value }));
    tree.retain_from(version);
}

/// How many records of a depot a run has on the disk. Blocking.
fn count_now(
    tree: &mut Tree,
    serial: u64,
    depot: ObjectId,
    cache: &mut BlockCache,
    disk: &mut dyn Disk,
) -> Result<u64, StateError> {
    let (from, to) = (piece_key(serial, depot, 0), piece_key(serial, depot, u64::MAX));
    loop {
        let mut count = 0;
        let scanned = tree.scan_back(cache, &from, &to, tree.applied(), &mut |key, _| {
            let end = key.last_chunk().map_or(0, |end| u64::from_be_bytes(*end));
            count = end;
            ControlFlow::Break(())
        });
        match scanned {
            Ok(()) => return Ok(count),
            Err(Stop::Corrupt(corruption)) => return Err(corruption.into()),
            Err(Stop::Need(need)) => fetch_now(tree, &need, cache, disk)?,
        }
    }
}

impl Side {
    /// Whether some of what a run appended cannot be read yet.
    pub(crate) fn owes(&self, run: &RunId) -> bool {
        self.owed.iter().any(|owed| owed.run == *run && !owed.is_paid)
    }

    /// Tells of runs that owe nothing any more.
    fn tell_paid(&mut self) {
        for Published { run, version } in std::mem::take(&mut self.untold) {
            match self.owes(&run) {
                true => self.untold.push(Published { run, version }),
                false => self.events.push(RunEvent::Published { run, version }),
            }
        }
    }
}

impl TaskState {
    /// Records that were published lie on the disk.
    pub(crate) fn owe(&mut self, index: usize, owed: Owed) {
        let Owed { appended, serial } = owed;
        self.depots[index].owe(owed);
        let files = OwedFiles { run: appended.run, depot: index, end: appended.end(), serial, is_paid: false };
        self.side.owed.push(files);
    }

    /// Whether some of what a run appended, which is published, cannot be read yet: then it is told later that it was published.
    pub fn owes(&self, run: RunId) -> bool {
        self.side.owes(&run)
    }

    /// Whether published records have still to come from the disk before anybody can read them.
    pub fn is_owing(&self) -> bool {
        self.depots.iter().any(|depot| depot.committed_end() < depot.durable_end())
    }

    /// Lets go of the files of what is in segments, and tells of what can be read.
    fn settle_owed(&mut self) {
        let Self { side, depots, copied, tree, .. } = self;
        let flushed = tree.flushed();
        side.owed.retain_mut(|owed| {
            owed.is_paid = depots[owed.depot].committed_end() >= owed.end;
            let known = copied[owed.depot].iter().rev().find(|(version, _)| *version <= flushed);
            known.is_none_or(|(_, end)| *end < owed.end)
        });
        side.tell_paid();
    }

    /// The next records that a published run appended and that a depot has still to get; true if there may be more at once.
    pub(crate) fn owed_slice(&mut self, cache: &BlockCache, disk: &mut dyn Disk) -> Result<bool, StateError> {
        if self.side.owed.is_empty() {
            return Ok(false);
        }
        let more = self.pay_slice(cache, disk);
        self.settle_owed();
        more
    }

    fn pay_slice(&mut self, cache: &BlockCache, disk: &mut dyn Disk) -> Result<bool, StateError> {
        let Self { task, side: Side { spill: Some(files), .. }, depots, chunk_size_max, .. } = self else {
            return Ok(false);
        };
        // Copies have to keep up.
        let most = 2 * *chunk_size_max;
        let Some(depot) = depots.iter_mut().find(|depot| depot.owed().is_some() && depot.uncopied_size() < most) else {
            return Ok(false);
        };
        let Some(Owed { appended, serial }) = depot.owed().copied() else { return Ok(false) };
        let mut next = depot.committed_end();
        let (from, to) = (next.0 - appended.first.0 + 1, u64::MAX);
        let (from, to) = (piece_key(serial, appended.depot, from), piece_key(serial, appended.depot, to));
        let (mut pieces, mut size, mut is_whole) = (Vec::new(), 0, true);
        let scanned = files.scan(cache, &from, &to, files.applied(), &mut |_, value| {
            let piece = Run::decode(value).map(|mut piece| {
                piece.place(appended.first, appended.time_ms);
                piece
            });
            match piece {
                Ok(piece) if piece.first == next && piece.count() > 0 => {
                    (next, size) = (piece.end(), size + piece.size());
                    pieces.push(piece);
                }
                _ => is_whole = false,
            }
            let is_enough = !is_whole || size >= SIDE_SLICE_SIZE || next >= appended.end();
            if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match scanned {
            Ok(()) if is_whole && !pieces.is_empty() => {}
            Ok(()) => {
                let what = "records that it appended are missing on the disk";
                return Err(StateError::Run { task: *task, run: appended.run, what });
            }
            Err(Stop::Corrupt(corruption)) => return Err(corruption.into()),
            Err(Stop::Need(need)) => return Ok(!files.fetch(&need, disk)),
        }
        pieces.into_iter().for_each(|piece| depot.take_owed(piece));
        Ok(true)
    }

    /// After the replay: what runs on the disk append is known again, and what is owed is there. Blocking.
    pub(crate) fn learn_appends(&mut self, disk: &mut dyn Disk, cache: &mut BlockCache) -> Result<(), StateError> {
        let Self { task, side, depots, .. } = self;
        let Side { runs, appends, spill: Some(files), owed, published, untold, .. } = side else { return Ok(()) };
        for (run, found) in runs {
            let Some(serial) = found.serial() else { continue };
            for depot in &*depots {
                match count_now(files, serial, depot.object, cache, disk)? {
                    0 => {}
                    count => appends.learn(*run, depot.object, count),
                }
            }
        }
        appends.end_learning();
        for owed in &*owed {
            let depot = &depots[owed.depot];
            // What the tree had before the replay was not told of in it.
            if let Some(last) = published.get(&owed.run.topology).filter(|last| last.run == owed.run)
                && !untold.contains(last)
            {
                untold.push(*last);
            }
            let Some(Owed { appended, serial }) = depot.owed_by(owed.run) else { continue };
            if count_now(files, serial, depot.object, cache, disk)? != appended.count {
                let what = "records that it appended are missing on the disk";
                return Err(StateError::Run { task: *task, run: owed.run, what });
            }
        }
        self.settle_owed();
        Ok(())
    }
}
