//! Blows: what happens to the disk in one life of a cluster, planned instead of drawn.
//!
//! A story with blows is small and always the same but for them: a few lines, one thread, a close at the end of each
//! life. So a proof can try every request of it.

use crate::swarm::{Kind, Swarm};
use tantu_lsm::TreeOptions;
use tantu_proof::sweep::Planned;
use tantu_state::segment::SegmentOptions;
use tantu_weather::{DiskWeather, SimDisk, SimEntropy, WireWeather};

/// What is done to one life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blow {
    /// The power is cut at a request of the disk.
    Cut {
        /// Which, counted from the start of the life.
        request: u64,
        /// Which of the remains: see [`tantu_proof::cuts::left`].
        sample: u64,
    },
    /// The power is cut at a letter, which is lost with all that follow.
    Letter {
        /// Which, counted from the start of the life.
        letter: u64,
        /// As of a cut.
        sample: u64,
    },
    /// A request fails.
    Fail(Planned),
}

impl Blow {
    /// Lets it come.
    pub fn arm(&self, disk: &SimDisk) {
        match self {
            Blow::Cut { request, .. } => disk.stop_at(*request),
            // The rings know.
            Blow::Letter { .. } => {}
            Blow::Fail(planned) => planned.arm(disk),
        }
    }

    /// Whether it came.
    pub fn has_landed(&self, disk: &SimDisk) -> bool {
        match self {
            Blow::Cut { .. } | Blow::Letter { .. } => disk.crashed(),
            Blow::Fail(_) => disk.faults_outstanding() == 0,
        }
    }
}

impl Swarm {
    /// A small story of some blows, one for each life.
    pub fn of_blows(seed: u64, blows: Vec<Blow>) -> Self {
        Self {
            kind: Kind::Words,
            client_count: 1,
            moody: false,
            tree: TreeOptions::default(),
            tasks: 2,
            threads: 1,
            noting: !seed.is_multiple_of(2),
            line_count: 12,
            word_count: 4,
            window: 3,
            ack_percent: 90,
            resend_percent: 50,
            crash_count: blows.len() as u32,
            segment_size: 64 << 10,
            group_size_max: 4 << 10,
            blows,
            disk: DiskWeather::default(),
            room: None,
            wire: WireWeather::default(),
            tick_ns: 20,
            stall_ppm: 0,
            lie: None,
            chunks: SegmentOptions {
                segment_size_max: 32 << 10,
                chunk_size_max: 2 << 10,
                large_run_size: if seed.is_multiple_of(3) { 50 } else { 64 << 10 },
            },
            trim: (seed % 4 == 1).then_some((5, 1)),
            range_percent: 0,
            side: (100, 3),
            period_ns: 1_000_000_000,
            exact: true,
            further: (seed as u32 % 2, false),
            leave_ppm: 0,
        }
    }

    /// The blow of a life.
    pub fn blow(&self, life: u32) -> Option<Blow> {
        self.blows.get(life as usize).copied()
    }
}

/// What a life leaves on the disk after its blow.
pub(crate) fn left(blow: Blow, disk: &SimDisk, chance: &mut SimEntropy) -> tantu_weather::Image {
    match blow {
        Blow::Cut { sample, .. } | Blow::Letter { sample, .. } => tantu_proof::cuts::left(disk, sample, chance),
        Blow::Fail(planned) => {
            tantu_proof::cuts::left(disk, if planned.index.is_multiple_of(2) { 2 } else { 4 }, chance)
        }
    }
}
