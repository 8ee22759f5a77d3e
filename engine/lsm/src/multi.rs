//! Point reads that go together: each step is done for all of them before the next one.
//!
//! A point read is a chain of memory the processor has not seen lately: a filter, the heads of an index, a frame, a block. Done
//! side by side the chains of several reads are waited for at the same time. What is not in the cache is asked for at once.

use crate::block::Block;
use crate::cache::BlockCache;
use crate::error::{BlockId, Need, Stop};
use crate::memtable::{Memtable, Revision, SIDE_BY_SIDE, Sought, hidden_at};
use crate::table::{BlockSearch, Filter, Table};
use crate::tree::Tree;
use std::rc::Rc;
use tantu_base::id::Version;

/// Reads that go side by side; more than that do not fit the processor's queue of misses.
const WIDTH: usize = SIDE_BY_SIDE;

/// One read of several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PointRead<'k> {
    key: &'k [u8],
    answered: bool,
}

impl<'k> PointRead<'k> {
    /// A read of a key.
    pub fn new(key: &'k [u8]) -> Self {
        Self { key, answered: false }
    }

    /// Whether its answer was given.
    pub fn is_answered(&self) -> bool {
        self.answered
    }
}

/// A read on its way through the runs.
#[derive(Clone, Copy)]
struct Probe<'a> {
    /// Its place among the reads.
    index: usize,
    key: &'a [u8],
    hash: u64,
    /// The newest range deletion over its key.
    hidden: Option<Version>,
    /// A block is missing: it goes on when that is there.
    parked: bool,
}

/// A read that may find its key in a table.
struct Candidate<'a> {
    probe: usize,
    /// The place of its table in the run.
    first: usize,
    table: &'a Table,
    search: BlockSearch<'a>,
    block: usize,
    data: Option<&'a Block>,
}

impl Tree {
    /// Has fetched what reads of some keys will look at in memtables: of more than sixteen keys those of the first. It changes
    /// nothing but how long they wait.
    pub fn expect_reads<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        expect_in(self.memtables(), keys);
    }

    /// Reads keys at a version. `visit` is told the place and the value of each read that can be answered, in any order. A
    /// read is answered once: after a stop call it again with the same reads.
    ///
    /// # Errors
    /// [`Stop`]: blocks are needed, of all reads that have no answer yet; or one is damaged.
    pub fn multi_get(
        &self,
        cache: &BlockCache,
        reads: &mut [PointRead<'_>],
        at: Version,
        visit: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<(), Stop> {
        let mut need = Vec::new();
        let mut probes: Vec<Probe<'_>> = Vec::with_capacity(WIDTH);
        let mut candidates: Vec<Candidate<'_>> = Vec::with_capacity(WIDTH);
        let mut next = 0;
        while next < reads.len() {
            probes.clear();
            while next < reads.len() && probes.len() < WIDTH {
                let PointRead { key, answered } = reads[next];
                if !answered {
                    let hash = Filter::hash(key);
                    probes.push(Probe { index: next, key, hash, hidden: None, parked: false });
                }
                next += 1;
            }
            let mut answer = |probe: &Probe<'_>, value: Option<&[u8]>| {
                reads[probe.index].answered = true;
                visit(probe.index, value);
            };
            self.ask_memtables(&mut probes, at, &mut answer);
            for run in self.runs() {
                candidates.clear();
                self.find_candidates(run, &probes, &mut candidates);
                self.ask_run(cache, run, &mut candidates, &mut probes, at, &mut need, &mut answer)?;
            }
            probes.iter().filter(|probe| !probe.parked).for_each(|probe| answer(probe, None));
        }
        if need.is_empty() { Ok(()) } else { Err(Stop::Need(Need::of(need))) }
    }

    /// Answers the reads whose keys are in memtables, and notes which deletions lie over the others.
    fn ask_memtables(
        &self,
        probes: &mut Vec<Probe<'_>>,
        at: Version,
        answer: &mut impl FnMut(&Probe<'_>, Option<&[u8]>),
    ) {
        if probes.len() > 1 {
            let mut sought = [Sought::default(); WIDTH];
            for (sought, probe) in sought.iter_mut().zip(&*probes) {
                *sought = Sought::new(probe.key, probe.hash);
            }
            self.memtables().for_each(|memtable| memtable.seek(&mut sought[..probes.len()]));
        }
        probes.retain_mut(|probe| {
            for memtable in self.memtables() {
                probe.hidden = probe.hidden.max(hidden_at(&memtable.ranges, probe.key, at));
                if let Some(revision) = memtable.get(probe.key, probe.hash, at) {
                    answer(probe, seen(&revision, probe.hidden));
                    return false;
                }
            }
            // A deletion in an older table hides nothing newer: all of them may be asked at once.
            probe.hidden = probe.hidden.max(hidden_at(self.table_ranges(), probe.key, at));
            true
        });
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one call, borrowed apart")]
    fn ask_run<'a>(
        &'a self,
        cache: &'a BlockCache,
        run: &'a [Rc<Table>],
        candidates: &mut [Candidate<'a>],
        probes: &mut Vec<Probe<'_>>,
        at: Version,
        need: &mut Vec<BlockId>,
        answer: &mut impl FnMut(&Probe<'_>, Option<&[u8]>),
    ) -> Result<(), Stop> {
        // In lock step: the halvings of one search do not wait for those of another.
        while candidates.iter_mut().fold(false, |more, candidate| candidate.search.halve() | more) {}
        for candidate in &mut *candidates {
            candidate.block = candidate.table.block_found(&candidate.search, probes[candidate.probe].key);
        }
        let frames: [u32; WIDTH] = side_by_side(candidates, |candidate| candidate.table.frame(candidate.block).get());
        for (candidate, frame) in candidates.iter_mut().zip(frames) {
            let id = (self.owner(), candidate.table.number, candidate.block as u32);
            candidate.data = cache.get_at(id, frame);
        }
        let found = || candidates.iter().filter_map(|candidate| Some((candidate.data?, probes[candidate.probe].hash)));
        found().for_each(|(block, _)| block.prefetch());
        found().for_each(|(block, hash)| block.prefetch_entry(hash));
        let mut answered = [false; WIDTH];
        for candidate in &*candidates {
            let probe = &mut probes[candidate.probe];
            match self.finish(cache, run, candidate, probe, at) {
                Ok(None) => {}
                Ok(Some(revision)) => {
                    answer(probe, seen(&revision, probe.hidden));
                    answered[candidate.probe] = true;
                }
                Err(Stop::Need(missing)) => {
                    probe.parked = true;
                    for id in missing.blocks {
                        if !need.contains(&id) {
                            need.push(id);
                        }
                    }
                }
                Err(corrupt) => return Err(corrupt),
            }
        }
        let mut place = 0;
        probes.retain(|_| {
            place += 1;
            !answered[place - 1]
        });
        Ok(())
    }

    /// The reads that may find their keys in a run, by its tables' filters.
    fn find_candidates<'a>(&self, run: &'a [Rc<Table>], probes: &[Probe<'_>], candidates: &mut Vec<Candidate<'a>>) {
        let table_of = |probe: &Probe<'_>| {
            let first = run.partition_point(|table| table.meta.last_key[..] < *probe.key);
            let table = run.get(first)?;
            table.begins_by(probe.key).then_some(first)
        };
        let firsts: [Option<usize>; WIDTH] = side_by_side(probes, table_of);
        let mut place = 0;
        let likely: [bool; WIDTH] = side_by_side(probes, |probe| {
            let first = firsts[place];
            place += 1;
            // A table that does not hold the key may hold its older revisions behind it: that is looked at one by one.
            first.is_some_and(|first| run[first].meta.filter.may_hold(probe.hash) || spills(run, first, probe.key))
        });
        for (at, (first, probe)) in firsts.into_iter().zip(probes).enumerate() {
            if let Some(first) = first.filter(|_| likely[at] && !probe.parked) {
                let table = &*run[first];
                candidates.push(Candidate {
                    probe: at,
                    first,
                    table,
                    search: table.search(probe.key),
                    block: 0,
                    data: None,
                });
            }
        }
    }

    /// Looks into the block that was found, and where that is not enough into those behind it.
    fn finish<'a>(
        &'a self,
        cache: &'a BlockCache,
        run: &'a [Rc<Table>],
        candidate: &Candidate<'a>,
        probe: &Probe<'_>,
        at: Version,
    ) -> Result<Option<Revision<'a>>, Stop> {
        if let Some(entry) = candidate.data.and_then(|block| block.find(probe.key, probe.hash, at)) {
            return Ok(Some(Revision { version: entry.version, value: entry.value }));
        }
        for table in run[candidate.first..].iter().take_while(|table| table.begins_by(probe.key)) {
            if let Some(revision) = self.get_in(cache, table, probe.key, probe.hash, at)? {
                return Ok(Some(revision));
            }
        }
        Ok(None)
    }
}

/// Has fetched what reads and writes of some keys look at in memtables, of more than [`SIDE_BY_SIDE`] keys for the first.
pub(crate) fn expect_in<'m, 'k>(
    memtables: impl Iterator<Item = &'m Memtable>,
    keys: impl IntoIterator<Item = &'k [u8]>,
) {
    let (mut sought, mut count) = ([Sought::default(); SIDE_BY_SIDE], 0);
    for (place, key) in sought.iter_mut().zip(keys) {
        *place = Sought::new(key, Filter::hash(key));
        count += 1;
    }
    memtables.for_each(|memtable| memtable.seek(&mut sought[..count]));
}

/// Whether the next table of a run begins with a key too.
fn spills(run: &[Rc<Table>], first: usize, key: &[u8]) -> bool {
    run.get(first + 1).is_some_and(|table| table.begins_by(key))
}

/// The value a reader sees.
fn seen<'a>(revision: &Revision<'a>, hidden: Option<Version>) -> Option<&'a [u8]> {
    revision.value.filter(|_| hidden.is_none_or(|hidden| hidden <= revision.version))
}

/// What each item gives, none waiting for another.
#[inline]
fn side_by_side<T, R: Copy + Default>(items: &[T], mut of: impl FnMut(&T) -> R) -> [R; WIDTH] {
    let mut out = [R::default(); WIDTH];
    out.iter_mut().zip(items).for_each(|(out, item)| *out = of(item));
    out
}
