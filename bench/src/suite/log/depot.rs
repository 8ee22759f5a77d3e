//! A depot of a cluster in this process, and the bytes it makes the disk write.

use crate::error::BenchError;
use crate::load::Producer;
use crate::measure;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::time::{Instant, SystemTime};
use tantu::prelude::*;

pub(super) const RECORDS: &str = "*records";

/// A depot without topologies: what an append costs
#[derive(Debug)]
pub(super) struct Appends;

impl Module for Appends {
    fn define(setup: &mut Setup, _: &mut Topologies) {
        setup.declare_depot::<Vec<u8>>(RECORDS, random());
    }
}

/// A client with a connection of its own. Answers are taken in the order of the appends.
pub(crate) struct DepotProducer {
    depot: Depot<Vec<u8>>,
    ack: AckLevel,
    out: VecDeque<(u64, PendingAppend)>,
    record: Vec<u8>,
}

impl DepotProducer {
    pub(crate) fn new(depot: Depot<Vec<u8>>, ack: AckLevel) -> Self {
        Self { depot, ack, out: VecDeque::new(), record: Vec::new() }
    }
}

impl Producer for DepotProducer {
    fn send(&mut self, number: u64, record: &[u8]) -> Result<(), BenchError> {
        if self.record != record {
            self.record = record.to_vec();
        }
        self.out.push_back((number, self.depot.append_async(&self.record, self.ack)?));
        Ok(())
    }

    fn answers(
        &mut self,
        wanted: usize,
        until: Option<Instant>,
        answered: &mut dyn FnMut(u64),
    ) -> Result<(), BenchError> {
        if until.is_some() {
            self.depot.flush();
        }
        for _ in 0..wanted {
            match until {
                Some(until) => {
                    let Some((number, append)) = self.out.front_mut() else { return Ok(()) };
                    let left = until.saturating_duration_since(Instant::now());
                    let Some(answer) = append.wait_for(left) else { return Ok(()) };
                    answer?;
                    answered(*number);
                    self.out.pop_front();
                }
                None => {
                    let Some((number, append)) = self.out.pop_front() else { return Ok(()) };
                    append.wait()?;
                    answered(number);
                }
            }
        }
        Ok(())
    }
}

/// Bytes of new log segments: they are written with zeros before their first use. A recycled one keeps its birth, so
/// whoever looks often enough sees every new one once.
#[derive(Debug)]
pub(super) struct Prewriting {
    /// What was there at the beginning. It may still grow: with records, not with zeros.
    before: BTreeSet<Born>,
    /// What came, with the most bytes it had.
    new: BTreeMap<Born, u64>,
}

/// A file for life, whatever it is called: inode numbers are used again, births are not.
type Born = (u64, SystemTime);

impl Prewriting {
    pub(super) fn new(dir: &Path) -> Result<Self, BenchError> {
        let mut begun = Self { before: BTreeSet::new(), new: BTreeMap::new() };
        begun.look(dir)?;
        begun.before = std::mem::take(&mut begun.new).into_keys().collect();
        Ok(begun)
    }

    pub(super) fn look(&mut self, dir: &Path) -> Result<(), BenchError> {
        measure::visit_files(dir, &mut |path, file| {
            let is_segment = path.extension().is_some_and(|extension| extension == "log");
            // A file system that keeps no births cannot tell which are new.
            let Ok(born) = file.created() else { return };
            let identity = (std::os::unix::fs::MetadataExt::ino(file), born);
            if is_segment && !self.before.contains(&identity) {
                let most = self.new.entry(identity).or_default();
                *most = file.len().max(*most);
            }
        })
    }

    /// Since the beginning.
    pub(super) fn size(&self) -> u64 {
        self.new.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_segments_count_once_under_any_name_and_those_that_were_there_do_not() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = dir.path().join("threads/0/log");
        std::fs::create_dir_all(&log).expect("it is made");
        let write = |name: &str, size: usize| std::fs::write(log.join(name), vec![0; size]).expect("it is written");
        write("1.log", 100);
        let mut prewriting = Prewriting::new(dir.path()).expect("it looks");
        write("1.log", 300);
        write("2.log", 1000);
        write("2.seg", 5);
        prewriting.look(dir.path()).expect("it looks");
        std::fs::rename(log.join("2.log"), log.join("3.log")).expect("it is recycled");
        prewriting.look(dir.path()).expect("it looks");
        std::fs::remove_file(log.join("3.log")).expect("it is removed");
        write("4.log", 20);
        prewriting.look(dir.path()).expect("it looks");
        assert_eq!(prewriting.size(), 1020);
    }
}
