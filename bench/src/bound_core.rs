//! The raw loop of group commits with the records made on the core that commits them: no ring, no other thread, no
//! sleep. What is left is the disk.

use crate::bound::GroupFile;
use crate::error::BenchError;
use crate::load::Load;
use crate::measure::Latencies;
use std::time::Instant;

/// One owning core of so many: it makes its share of what all producers have in flight, commits it, and begins anew.
pub(crate) fn own(
    groups: &mut GroupFile,
    load: &Load,
    core: usize,
    cores: usize,
) -> Result<(Latencies, u64), BenchError> {
    let in_flight = load.clients * load.in_flight;
    // Shares differ by one at most; a core without one has nothing to do.
    let share = in_flight / cores + usize::from(core < in_flight % cores);
    let mut latencies = Latencies::new(load.from);
    let mut starts: Vec<Instant> = Vec::with_capacity(share);
    let mut pace = load.pace.pace(cores.min(in_flight), core as u64, load.began);
    let mut sent = 0;
    loop {
        let now = Instant::now();
        if share == 0 || now >= load.to {
            return Ok((latencies, sent));
        }
        while starts.len() < share
            && !groups.is_full()
            && let Some(start) = pace.due(now)
        {
            groups.push(&load.record);
            starts.push(start);
            sent += 1;
        }
        if starts.is_empty() {
            std::hint::spin_loop();
            continue;
        }
        groups.commit()?;
        let done = Instant::now();
        for start in starts.drain(..).filter(|start| *start >= load.from) {
            latencies.record(start, done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tests::short_load;

    #[test]
    fn each_owning_core_commits_its_share_and_one_without_a_share_ends_at_once() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for core in 0..4 {
            let path = dir.path().join(format!("core-{core}"));
            let mut groups = GroupFile::new(&path).expect("the file is made");
            // One core after the other: each has a load of its own.
            let load = short_load(1, 3, None);
            let (latencies, sent) = own(&mut groups, &load, core, 4).expect("it commits");
            assert_eq!((sent > 0, !latencies.all().is_empty()), (core < 3, core < 3), "core {core}: {sent}");
            let bytes = std::fs::read(&path).expect("the file is there");
            assert_eq!(bytes[..5] == [100, 0, 0, 0, b'r'], core < 3, "the record is in the file, or none is");
        }
    }
}
