//! A log on a simulated disk, driven as a task thread drives it.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::result_large_err, reason = "an error gives the disk back")]

use std::path::Path;
use tantu_base::door::{Disk, DiskOp, Token};
use tantu_base::id::Epoch;
use tantu_replog::Lsn;
use tantu_replog::seglog::{LogIdentity, OpenError, Poisoned, SegLog, SegLogOptions};
use tantu_weather::{SimDisk, SimEntropy};

pub(crate) const DIR: &str = "group/log";

/// An entry as it was replayed: number, epoch, body.
pub(crate) type Replayed = (u64, u64, Vec<u8>);

pub(crate) fn options() -> SegLogOptions {
    SegLogOptions {
        segment_size: 40 << 10,
        group_size_max: 8 << 10,
        flushes_in_flight_max: 3,
        beside_size_min: 0,
        spare_count_max: 2,
        expect_first: None,
    }
}

pub(crate) struct Rig {
    pub(crate) disk: SimDisk,
    pub(crate) log: SegLog,
    pub(crate) replayed: Vec<Replayed>,
    /// What there was no space for.
    pub(crate) refused: Vec<(Token, DiskOp)>,
}

impl Rig {
    pub(crate) fn open(disk: SimDisk, chance: &mut SimEntropy) -> Result<Rig, (OpenError, SimDisk)> {
        Self::open_with(disk, chance, options())
    }

    pub(crate) fn open_with(
        mut disk: SimDisk,
        chance: &mut SimEntropy,
        options: SegLogOptions,
    ) -> Result<Rig, (OpenError, SimDisk)> {
        let mut replayed = Vec::new();
        let opened =
            SegLog::open(&mut disk, Path::new(DIR), 5, LogIdentity { group: 2 }, chance, options, &mut |entry| {
                replayed.push((entry.lsn.0, entry.epoch.0, entry.body.to_vec()));
                Ok(())
            });
        match opened {
            Ok(log) => Ok(Rig { disk, log, replayed, refused: Vec::new() }),
            Err(error) => Err((error, disk)),
        }
    }

    pub(crate) fn append(&mut self, lsn: u64, seed: u64) {
        let (epoch, body) = entry(lsn, seed);
        let at = body.len() / 3;
        assert_eq!(self.log.append(Epoch(epoch), &[&body[..at], &body[at..]]), Lsn(lsn));
    }

    pub(crate) fn append_bytes(&mut self, body: &[u8]) {
        let epoch = self.log.opened().epoch.max(Epoch(1));
        self.log.append(epoch, &[body]);
    }

    /// Hands over what finished; waits for something if asked to.
    pub(crate) fn deliver(&mut self, wait: bool) -> Result<(), Poisoned> {
        if wait {
            self.disk.wait();
        }
        let mut done = Vec::new();
        self.disk.reap(&mut done);
        for mut done in done {
            match done.refused.take() {
                Some(op) => self.refused.push((done.token, op)),
                None => self.log.complete(done, &mut self.disk)?,
            }
        }
        self.log.pump(&mut self.disk);
        Ok(())
    }

    /// Submits again what there was no space for.
    pub(crate) fn try_again(&mut self) {
        self.refused.drain(..).for_each(|(token, op)| self.disk.submit(token, op));
    }

    /// Flushes everything appended, as far as there is space.
    pub(crate) fn settle(&mut self) -> Result<(), Poisoned> {
        self.log.pump(&mut self.disk);
        while self.log.is_busy() && self.disk.next_due().is_some() {
            self.deliver(true)?;
        }
        Ok(())
    }
}

/// The epoch and the bytes of an entry, from its number: replayed ones can be checked without a copy.
pub(crate) fn entry(lsn: u64, seed: u64) -> (u64, Vec<u8>) {
    let mut chance = SimEntropy::new(seed).fork(lsn);
    let size = match chance.below(20) {
        0 => 0,
        1 => 11_000,
        2..8 => chance.below(3000),
        _ => chance.below(200),
    };
    (1 + lsn / 50, (0..size).map(|at| (at as u8).wrapping_mul(31) ^ lsn as u8 ^ chance.below(256) as u8).collect())
}

/// Checks that entries are the right ones, in order, without gaps; returns the first and the end.
pub(crate) fn check_entries(replayed: &[Replayed], seed: u64, place: &str) -> (u64, u64) {
    let first = replayed.first().map_or(0, |(lsn, ..)| *lsn);
    for ((lsn, epoch, body), expected) in replayed.iter().zip(first..) {
        assert_eq!(*lsn, expected, "{place}: out of order");
        assert!((*epoch, body) == (entry(*lsn, seed).0, &entry(*lsn, seed).1), "{place}: entry {lsn} is another");
    }
    (first, first + replayed.len() as u64)
}
