//! Clients' selects of single entries, which are answered with the batch of letters that they came in.
//!
//! Nearly all that clients read is the value under one key. Such a select is a read of a tree and a copy: no path is made of it,
//! nothing waits in a queue and no version is pinned, since what is committed when it arrives is what it reads then and there,
//! side by side with the others of its batch. One that needs a block from the disk becomes a select like any other.

use crate::thread::TaskThread;
use tantu_base::door::{Doors, Peer};
use tantu_base::id::Category;
use tantu_lsm::{PointRead, Stop};
use tantu_net::letter::Letter;
use tantu_path::PointSelect;
use tantu_state::layout::{OBJECT_PREFIX_SIZE, object_prefix};

#[derive(Clone, Copy, Debug)]
struct Point {
    slot: u32,
    pstate: u16,
    select: PointSelect,
    peer: Peer,
    request: u64,
    /// Where its tree key lies.
    start: u32,
    end: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Points {
    points: Vec<Point>,
    /// Their tree keys.
    keys: Vec<u8>,
    answered_count: u64,
}

impl Points {
    /// How many there were.
    pub(crate) fn answered_count(&self) -> u64 {
        self.answered_count
    }
}

/// Reads of one task that go together.
const TOGETHER_COUNT: usize = 64;

impl TaskThread {
    /// A select of a client, if it is of one entry: it is answered by [`TaskThread::answer_points`].
    #[inline]
    pub(crate) fn take_point(&mut self, (peer, request): (Peer, u64), slot: usize, pstate: u16, path: &[u8]) -> bool {
        let (module, keys) = (&self.config.module, &mut self.points.keys);
        let at = usize::from(pstate);
        if !PointSelect::suits(&module.def.pstates[at].schema) || !self.slots[slot].state.has_points() {
            return false;
        }
        let start = keys.len();
        keys.extend_from_slice(&object_prefix(module.pstates[at]));
        let Some(select) = PointSelect::read(path, keys) else {
            keys.truncate(start);
            return false;
        };
        let (start, end) = (start as u32, keys.len() as u32);
        self.points.points.push(Point { slot: slot as u32, pstate, select, peer, request, start, end });
        true
    }

    /// Answers the selects of the batch that was taken in.
    pub(crate) fn answer_points(&mut self, doors: &mut Doors<'_>) {
        if self.points.points.is_empty() {
            return;
        }
        let Points { mut points, mut keys, answered_count } = std::mem::take(&mut self.points);
        let answered_count = answered_count + points.len() as u64;
        // Those of a task together; in which order answers leave means nothing.
        points.sort_unstable_by_key(|point| (point.slot, point.start));
        for points in points.chunk_by(|one, other| one.slot == other.slot) {
            points.chunks(TOGETHER_COUNT).for_each(|points| self.read_points(points, &keys, doors));
        }
        points.clear();
        keys.clear();
        self.points = Points { points, keys, answered_count };
    }

    /// Answers selects of one task.
    fn read_points(&mut self, points: &[Point], keys: &[u8], doors: &mut Doors<'_>) {
        let key = |point: &Point| &keys[point.start as usize..point.end as usize];
        let mut reads = [PointRead::new(&[]); TOGETHER_COUNT];
        let reads = &mut reads[..points.len()];
        reads.iter_mut().zip(points).for_each(|(read, point)| *read = PointRead::new(key(point)));
        let (state, outbox) = (&mut self.slots[points[0].slot as usize].state, &mut self.outbox);
        let read = state.read_points(&self.cache, reads, &mut |at, value| {
            let Point { peer, request, select, .. } = points[at];
            let (count, rows) = select.rows(value);
            outbox.push(peer, Category::Client, &Letter::Rows { request, more: false, count: count as u32, rows });
        });
        let Err(stop) = read else { return };
        if let Stop::Need(need) = stop {
            state.fetch(&need, doors.disk);
        }
        // These find out for themselves what they wait for, or what is damaged.
        let at = state.visible();
        for (point, _) in points.iter().zip(reads).filter(|(_, read)| !read.is_answered()) {
            let path = point.select.path(&key(point)[OBJECT_PREFIX_SIZE..]).expect("invariant: it was read of a path");
            self.start_select(point.peer, point.request, point.slot as usize, point.pstate, (path, at));
        }
    }
}
