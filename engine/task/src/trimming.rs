//! When depot partitions are trimmed, and how far: by the rule of the depot, and never past what a topology of the
//! module has yet to process.

use crate::slot::TaskSlot;
use crate::thread::TaskThread;
use tantu_base::door::Nanos;
use tantu_base::id::Offset;

impl TaskSlot {
    /// Where a partition would start if it kept so many records and everything its sources need.
    fn trim_start(&self, depot: usize, kept_count: u64) -> Offset {
        let kept = Offset(self.state.depots()[depot].committed_end().0.saturating_sub(kept_count));
        // Saved progress, not what was processed since: a restart goes back to it.
        let needed = self.sources.iter().filter(|source| source.setup.depot == depot).map(|source| source.saved());
        needed.chain(self.published(depot)).min().map_or(kept, |needed| kept.min(needed))
    }
}

impl TaskThread {
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
                let start = slot.trim_start(depot, kept_count);
                begun |= slot.state.trim(depot, start);
            }
        }
        begun
    }

    /// When a partition that has something to trim is looked at next.
    pub(crate) fn next_trim(&self) -> Option<Nanos> {
        let trimmable = |depot: usize, kept_count: u64| {
            let mut slots = self.slots.iter();
            slots.any(|slot| slot.state.could_trim(depot, slot.trim_start(depot, kept_count)))
        };
        let depots = self.config.module.def.depots.iter().enumerate();
        let due = depots.filter(|(depot, def)| def.options.kept_count().is_some_and(|count| trimmable(*depot, count)));
        due.map(|(depot, _)| self.trims_at[depot]).min()
    }
}
