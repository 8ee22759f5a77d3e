//! What may go wrong in a simulation, and what of it a seed draws.

use tantu_replog::seglog::SegLogOptions;
use tantu_state::TaskStateOptions;
use tantu_state::segment::SegmentOptions;
use tantu_weather::{DiskWeather, SimEntropy, WireWeather};

/// What may go wrong. Each seed draws some of it, so that a loud fault does not hide a quiet one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Faults {
    /// How often the power may be cut or the process killed, at most: at any request of the disk, also while the process
    /// starts, and between any two steps.
    pub crash_count_max: u32,
    /// Reads, writes and flushes may fail. A process that cannot go on stops, and is started again.
    pub disk_errors: bool,
    /// The disk may be full for a while.
    pub full_disk: bool,
    /// Requests of the disk, letters and whole task threads may take long.
    pub delays: bool,
    /// The author's closures may panic.
    pub panics: bool,
}

impl Default for Faults {
    /// Everything.
    fn default() -> Self {
        Self { crash_count_max: 4, disk_errors: true, full_disk: true, delays: true, panics: true }
    }
}

impl Faults {
    /// Nothing goes wrong; what depends on nothing still happens in another order with each seed.
    pub fn none() -> Self {
        Self { crash_count_max: 0, disk_errors: false, full_disk: false, delays: false, panics: false }
    }

    /// Power cuts and kills alone.
    pub fn crashes() -> Self {
        Self { crash_count_max: 4, ..Self::none() }
    }
}

/// How a life of the process is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// The power is cut at this request of the disk.
    CutAtRequest(u64),
    /// The power is cut after this many steps.
    CutAtStep(u64),
    /// The process is killed after this many steps.
    KillAtStep(u64),
}

/// What a seed drew.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub(crate) crash_count: u32,
    pub(crate) disk: DiskWeather,
    pub(crate) wire: WireWeather,
    /// Bytes of space besides what is there when a life begins.
    pub(crate) room: Option<u64>,
    pub(crate) stall_ppm: u32,
    /// Of a million steps, those in which a closure is to panic.
    pub(crate) panic_ppm: u32,
    pub(crate) tick_ns: u64,
    pub(crate) log: SegLogOptions,
    pub(crate) state: TaskStateOptions,
}

impl Drawn {
    pub(crate) fn new(faults: &Faults, chance: &mut SimEntropy) -> Self {
        // Everything is drawn, whatever is allowed, so that a fault class that is left out changes no other.
        let mut rate = |allowed: bool, percent: u32, rates: &[u32]| {
            let (comes, rate) = (chance.percent(percent), *chance.pick(rates));
            if allowed && comes { rate } else { 0 }
        };
        let errors = faults.disk_errors;
        let disk = DiskWeather {
            eio_read_ppm: rate(errors, 20, &[2_000, 20_000]),
            eio_write_ppm: rate(errors, 20, &[2_000, 20_000]),
            eio_flush_ppm: rate(errors, 20, &[2_000, 50_000]),
            slow_ppm: rate(faults.delays, 25, &[1_000, 10_000]),
            ..DiskWeather::default()
        };
        let wire = WireWeather {
            long_delay_ppm: rate(faults.delays, 30, &[2_000, 10_000]),
            refuse_ppm: rate(faults.delays, 30, &[5_000, 50_000]),
            ..WireWeather::default()
        };
        let stall_ppm = rate(faults.delays, 30, &[2_000, 20_000]);
        let panic_ppm = rate(faults.panics, 50, &[5_000, 100_000]);
        let full = rate(faults.full_disk, 20, &[1]) > 0;
        let latency_ns = chance.pick(&[1_000..2_000, 5_000..200_000, 50_000..5_000_000]).clone();
        let delay_ns = chance.pick(&[1..2, 100..20_000, 1_000..3_000_000]).clone();
        let room = chance.within(64 << 10..3 << 20);
        Self {
            crash_count: chance.below(u64::from(faults.crash_count_max) + 1) as u32,
            disk: DiskWeather { latency_ns, torn_percent: *chance.pick(&[0, 5, 30]), ..disk },
            wire: WireWeather { delay_ns, lane_capacity: *chance.pick(&[4, 16, 256]), ..wire },
            room: full.then_some(room),
            stall_ppm,
            panic_ppm,
            tick_ns: *chance.pick(&[20, 300, 5_000]),
            log: SegLogOptions {
                segment_size: *chance.pick(&[64 << 10, 256 << 10, 1 << 20]),
                group_size_max: *chance.pick(&[4 << 10, 16 << 10, 1 << 20]),
                ..SegLogOptions::default()
            },
            state: TaskStateOptions {
                segments: SegmentOptions {
                    segment_size_max: *chance.pick(&[32 << 10, 1 << 20]),
                    chunk_size_max: *chance.pick(&[2 << 10, 1 << 20]),
                    large_run_size: *chance.pick(&[400, 64 << 10]),
                },
                ..TaskStateOptions::default()
            },
        }
    }

    /// Whether a process may have to stop, or cannot start, for reasons of the disk.
    pub(crate) fn may_fail(&self) -> bool {
        let DiskWeather { eio_read_ppm, eio_write_ppm, eio_flush_ppm, .. } = self.disk;
        eio_read_ppm + eio_write_ppm + eio_flush_ppm > 0 || self.room.is_some()
    }

    /// The same without faults.
    pub(crate) fn calm(&mut self) {
        self.disk = DiskWeather { latency_ns: self.disk.latency_ns.clone(), ..DiskWeather::default() };
        self.wire = WireWeather::default();
        self.room = None;
        self.crash_count = 0;
        self.stall_ppm = 0;
        self.panic_ppm = 0;
    }

    /// How the next life ends: while it opens, at any request, or in the middle of the work.
    pub(crate) fn draw_end(&self, tasks: u32, chance: &mut SimEntropy) -> End {
        match chance.below(4) {
            0 => End::CutAtRequest(chance.below(30 + 25 * u64::from(tasks))),
            1 => End::CutAtRequest(1 << chance.within(4..11) | chance.below(16)),
            2 => End::CutAtStep(1 << chance.within(1..12) | chance.below(16)),
            _ => End::KillAtStep(1 << chance.within(1..12) | chance.below(16)),
        }
    }
}
