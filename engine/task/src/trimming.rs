//! When depot partitions are trimmed, and how far: by the rule of the depot, and, unless its author gives that up, never past what a
//! topology of the module has yet to process.
//!
//! Without that a topology that is too far behind loses records. It goes on with the first that is there, and says which it lost. What
//! it has begun with it ends: events have their records with them, and those of a microbatch are kept while an attempt has them.

use crate::micro::part::{Part, TryPhase};
use crate::micro::record::Range;
use crate::slot::TaskSlot;
use crate::thread::TaskThread;
use crate::together;
use std::ops;
use tantu_base::door::Nanos;
use tantu_base::id::{Offset, TaskId};
use tantu_flow::{DepotDef, ModuleDef};

/// Tells the log of records that a topology will never process.
pub(crate) fn tell_lost(topology: &str, depot: &DepotDef, partition: TaskId, lost: ops::Range<u64>) {
    tracing::warn!(
        topology,
        depot = depot.name,
        partition = partition.0,
        from = lost.start,
        to = lost.end,
        count = lost.end - lost.start,
        "records were trimmed before the topology processed them: it goes on with the first that is there"
    );
}

impl Part {
    /// The first record of a depot partition that an attempt under way may still read.
    fn reads_from(&self, depot: usize) -> Option<Offset> {
        let attempt = self.attempt.as_ref().filter(|attempt| attempt.takes_events())?;
        let ranges = self.sources.iter().zip(&attempt.ranges.0);
        let of_depot = ranges.filter(|(source, (from, to))| source.depot == depot && source.is_here && from < to);
        of_depot.map(|(_, (from, _))| *from).min()
    }
}

impl TaskSlot {
    /// Where a partition would start if it kept so many records and everything its sources need.
    fn trim_start(&self, depot: usize, kept_count: u64, waits: bool) -> Offset {
        let kept = Offset(self.state.depots()[depot].committed_end().0.saturating_sub(kept_count));
        if !waits {
            return self.parts.iter().filter_map(|part| part.reads_from(depot)).fold(kept, Offset::min);
        }
        // Saved progress, not what was processed since: a restart goes back to it.
        let needed = self.sources.iter().filter(|source| source.setup.depot == depot).map(|source| source.saved());
        needed.chain(self.published(depot)).min().map_or(kept, |needed| kept.min(needed))
    }

    /// What of the records of a microbatch is there, and will be while an attempt has them.
    pub(crate) fn there(&self, depot: usize, (from, to): Range) -> Range {
        let start = self.state.trimmed_to(depot);
        (from.max(start).min(to), to)
    }

    /// Microbatch topologies that stand before the first record of a partition go on there.
    pub(crate) fn skip_in_parts(&mut self, def: &ModuleDef) {
        // What an attempt has prepared it has processed: its progress comes with the publish.
        let is_prepared = |part: &Part| {
            part.attempt.as_ref().is_some_and(|it| matches!(it.phase, TryPhase::Preparing | TryPhase::Prepared))
        };
        let parts = self.parts.iter_mut().zip(&def.microbatches).filter(|(part, _)| !is_prepared(part));
        for (part, topology) in parts {
            for source in part.sources.iter_mut().filter(|source| source.is_here) {
                let start = self.state.depots()[source.depot].start();
                if source.progress < start {
                    tell_lost(&topology.name, &def.depots[source.depot], self.task, source.progress.0..start.0);
                    source.progress = start;
                }
            }
        }
    }
}

impl TaskThread {
    /// A stream source that stands before the first record of its partition, or waits to try one again that is not there any more,
    /// goes on with what is there.
    #[inline]
    pub(crate) fn pass_by_trimmed(&mut self, at: usize, index: usize, now: Nanos) {
        let slot = &self.slots[at];
        let source = &slot.sources[index];
        let start = slot.state.depots()[source.setup.depot].start();
        // One that another leads stands where that does, once what it had before is done.
        if source.base() < start && (source.lead.is_none() || source.is_busy()) {
            self.skip_trimmed(at, index, start, now);
        }
    }

    fn skip_trimmed(&mut self, at: usize, index: usize, start: Offset, now: Nanos) {
        let slot = &mut self.slots[at];
        let (stream, depot) = (slot.sources[index].setup.stream, slot.sources[index].setup.depot);
        let mut lost: Vec<ops::Range<u64>> = Vec::new();
        for Offset(offset) in slot.sources[index].drop_trimmed(start) {
            slot.sources[index].drop_returns(Offset(offset));
            match lost.last_mut().filter(|last| last.end == offset) {
                Some(last) => last.end += 1,
                None => lost.push(offset..offset + 1),
            }
        }
        let followers: Vec<usize> = together::followers(&slot.sources, index, start).collect();
        let is_busy = |at: &usize| slot.sources[*at].is_busy();
        let next = slot.sources[index].next();
        // Those that another source keeps go on when it does; and what is under way ends first.
        if slot.sources[index].lead.is_none() && next < start && !is_busy(&index) && !followers.iter().any(is_busy) {
            slot.sources[index].skip_to(start);
            followers.into_iter().for_each(|at| slot.sources[at].count_without(start.0 - next.0));
            lost.push(next.0..start.0);
        }
        let def = &self.config.module.def;
        let (task, topology) = (slot.task, &def.streams[usize::from(stream)].name);
        for lost in &lost {
            tell_lost(topology, &def.depots[depot], task, lost.clone());
        }
        for lost in lost {
            let awaited = self.slots[at].waiters[depot].known(lost);
            self.refuse_unprocessed(at, depot, awaited, "the record was trimmed before a topology processed it", now);
        }
    }

    /// Trims the partitions of the depots whose time has come; true if there are such.
    pub(crate) fn trim_depots(&mut self, now: Nanos) -> bool {
        let mut begun = false;
        for (depot, def) in self.config.module.def.depots.iter().enumerate() {
            let Some(kept_count) = def.options.kept_count() else { continue };
            if now < self.trims_at[depot] {
                continue;
            }
            let period_ms = u64::try_from(def.options.trim_period.as_millis()).unwrap_or(u64::MAX);
            self.trims_at[depot] = now.plus_ms(period_ms.max(1));
            for slot in &mut self.slots {
                let start = slot.trim_start(depot, kept_count, def.options.trim_waits_for_topologies);
                begun |= slot.state.trim(depot, start);
            }
        }
        begun
    }

    /// When a partition that has something to trim is looked at next.
    pub(crate) fn next_trim(&self) -> Option<Nanos> {
        let trimmable = |depot: usize, kept_count: u64, waits: bool| {
            let mut slots = self.slots.iter();
            slots.any(|slot| slot.state.could_trim(depot, slot.trim_start(depot, kept_count, waits)))
        };
        let depots = self.config.module.def.depots.iter().enumerate();
        let due = depots.filter(|(depot, def)| {
            let waits = def.options.trim_waits_for_topologies;
            def.options.kept_count().is_some_and(|count| trimmable(*depot, count, waits))
        });
        due.map(|(depot, _)| self.trims_at[depot]).min()
    }
}
