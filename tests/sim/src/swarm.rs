//! What one seed draws: layout, workload and weather. Every class of fault is on in some stories and off in others, so
//! that a loud one does not hide a quiet one.

use crate::blow::Blow;
use tantu_lsm::TreeOptions;
use tantu_state::segment::SegmentOptions;
use tantu_weather::{DiskWeather, Fault, SimEntropy, WireWeather};

/// A promise of the doors that is broken on purpose, to show that the judges notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// The drive answers flushes and flushed writes without flushing.
    Flushes,
    /// The file system answers flushes of directories without flushing.
    Names,
    /// Rings deliver some batches twice.
    Twice,
    /// The newest block of a log is gone after each crash, as if recovery cut one entry too much.
    Tail,
}

/// What a story is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Words of lines are counted.
    Words,
    /// Money moves between accounts, and registers are written.
    Bank,
    /// Names are claimed, some claims always fail, and a clock strikes.
    Registry,
    /// Parcels and notes go from task to task.
    Errands,
    /// Two tasks flood each other; no story is drawn of this.
    Flood,
}

/// One story's parameters.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// What it is about.
    pub kind: Kind,
    /// Clients of a bank or a registry.
    pub client_count: usize,
    /// The trees of the tasks: small ones have many tables, of which nothing is in memory after a start.
    pub tree: TreeOptions,
    /// Whether user code throws and dawdles.
    pub moody: bool,
    /// Tasks of the module.
    pub tasks: u32,
    /// Task threads.
    pub threads: u32,
    /// Whether the module notes lines where they start.
    pub noting: bool,
    /// Lines the client appends in all.
    pub line_count: usize,
    /// Different words, besides one per line that no other line has.
    pub word_count: u64,
    /// Appends without an answer at a time.
    pub window: usize,
    /// Of a hundred appends, those whose processing the client waits for; half of the others wait for the append.
    pub ack_percent: u32,
    /// Of a hundred appends with unknown outcome, those sent again after a crash.
    pub resend_percent: u32,
    /// Lives that end badly before the last one.
    pub crash_count: u32,
    /// Bytes of a log segment.
    pub segment_size: u64,
    /// Bytes of a group of the log.
    pub group_size_max: usize,
    /// What happens to the disk in each life, instead of what chance draws.
    pub blows: Vec<Blow>,
    /// The disk's faults.
    pub disk: DiskWeather,
    /// Bytes of space besides what is on the disk when a life begins; none if there is always enough.
    pub room: Option<u64>,
    /// The rings' faults.
    pub wire: WireWeather,
    /// Virtual time of a look at the clock.
    pub tick_ns: u64,
    /// Of a million choices of a thread, those that stall it for a while.
    pub stall_ppm: u32,
    /// The lie, if there is one.
    pub lie: Option<Lie>,
    /// Bytes of a chunk of records, and of a depot segment.
    pub chunks: SegmentOptions,
    /// Records a partition keeps when it is trimmed, and milliseconds between trims.
    pub trim: Option<(u64, u64)>,
    /// Of a hundred steps of the client, those that read a range of the depot.
    pub range_percent: u32,
    /// Whether a microbatch topology counts the same lines beside the stream.
    pub exact: bool,
    /// Bytes of a side run before it goes to the disk, and its writes that are published in one slice.
    pub side: (usize, usize),
    /// Between two strikes of a registry's clock.
    pub period_ns: u64,
    /// The life from which on topologies of errands have second sources, and whether this is one of those.
    pub further: (u32, bool),
    /// Of a million steps of a client that runs errands, those after which it takes no answers for a while, and then leaves.
    pub leave_ppm: u32,
}

impl Swarm {
    /// The story of a seed.
    pub fn draw(chance: &mut SimEntropy, lie: Option<Lie>) -> Self {
        let tasks = 1 << chance.below(4);
        let threads = 1 + chance.below(u64::from(tasks.min(3))) as u32;
        let mut later = chance.fork(10);
        let kind = if later.percent(40) { Kind::Bank } else { Kind::Words };
        let mut clock = chance.fork(50);
        let kind = if clock.percent(20) { Kind::Registry } else { kind };
        let mut errand = chance.fork(70);
        let kind = if kind == Kind::Words && errand.percent(25) { Kind::Errands } else { kind };
        let mut swarm = Self {
            kind,
            client_count: *later.pick(&[1, 2, 4]),
            moody: later.percent(60),
            tree: draw_tree(&mut later),
            tasks,
            threads,
            noting: chance.percent(50),
            line_count: *chance.pick(&[20, 100, 300, 800]),
            word_count: *chance.pick(&[2, 20, 200]),
            window: *chance.pick(&[1, 8, 32, 200]),
            ack_percent: *chance.pick(&[50, 90, 100]),
            resend_percent: *chance.pick(&[0, 50, 100]),
            crash_count: chance.within(1..6) as u32,
            segment_size: *chance.pick(&[64 << 10, 256 << 10, 1 << 20]),
            group_size_max: *chance.pick(&[4 << 10, 16 << 10, 1 << 20]),
            blows: Vec::new(),
            disk: draw_disk(chance, lie),
            room: if chance.percent(20) { Some(chance.within(64 << 10..3 << 20)) } else { None },
            wire: draw_wire(chance, lie),
            tick_ns: *chance.pick(&[0, 20, 300, 5_000]),
            stall_ppm: *chance.pick(&[0, 0, 2_000, 20_000]),
            lie,
            chunks: SegmentOptions {
                segment_size_max: *chance.pick(&[8 << 10, 32 << 10, 1 << 20]),
                chunk_size_max: *chance.pick(&[200, 2 << 10, 1 << 20]),
                large_run_size: *chance.pick(&[50, 400, 64 << 10]),
            },
            trim: chance.percent(60).then(|| (*chance.pick(&[1, 10, 40]), *chance.pick(&[1, 20]))),
            range_percent: *chance.pick(&[0, 3, 20]),
            exact: chance.fork(9).percent(60),
            side: draw_side(&mut chance.fork(40)),
            period_ns: *clock.pick(&[100_000_000, 700_000_000, 3_000_000_000]),
            further: (errand.below(4) as u32, false),
            leave_ppm: *errand.pick(&[0, 1_000, 10_000]),
        };
        if kind != Kind::Words {
            swarm.trim = None;
        }
        swarm
    }

    /// The last life: no faults, so that everything can come to rest. Lies stay.
    pub fn calm(&self) -> Self {
        let mut calm = self.clone();
        let (disk, wire) = (DiskWeather::default(), WireWeather::default());
        calm.disk = DiskWeather {
            lies_about_flushes: self.disk.lies_about_flushes,
            lies_about_names: self.disk.lies_about_names,
            ..disk
        };
        calm.wire = WireWeather { twice_ppm: self.wire.twice_ppm, ..wire };
        calm.room = None;
        calm.moody = false;
        calm.stall_ppm = 0;
        calm.blows.clear();
        calm
    }

    /// What it is in one life.
    pub fn of_life(&self, life: u32) -> Self {
        let from = self.further.0;
        Self { further: (from, life >= from), ..self.clone() }
    }

    /// Whether a life may run out of space, and is given some again.
    pub fn gets_space_back(&self) -> bool {
        let once = |blow: &Blow| matches!(blow, Blow::Fail(planned) if planned.fault == Fault::Full && !planned.sticky);
        self.room.is_some() || self.blows.iter().any(once)
    }

    /// Whether requests may fail, so that a process may have to stop or cannot start.
    pub fn may_fail(&self) -> bool {
        let DiskWeather { eio_read_ppm, eio_write_ppm, eio_flush_ppm, .. } = self.disk;
        let planned = self.blows.iter().any(|blow| matches!(blow, Blow::Fail(_)));
        eio_read_ppm + eio_write_ppm + eio_flush_ppm > 0 || self.room.is_some() || planned
    }
}

fn draw_tree(chance: &mut SimEntropy) -> TreeOptions {
    let usual = TreeOptions::default();
    if chance.percent(70) {
        return usual;
    }
    let memtable_size_max = *chance.pick(&[1 << 10, 8 << 10, 64 << 10]);
    let (table_size_max, run_count_max) = (*chance.pick(&[4 << 10, 64 << 10]), *chance.pick(&[2, 4]));
    TreeOptions { memtable_size_max, table_size_max, run_count_max, open_verify_size_max: 0, ..usual }
}

/// Bytes from which on runs go to the disk, and writes of a slice.
fn draw_side(chance: &mut SimEntropy) -> (usize, usize) {
    (*chance.pick(&[100, 400, 16 << 20]), *chance.pick(&[1, 3, 256]))
}

fn draw_disk(chance: &mut SimEntropy, lie: Option<Lie>) -> DiskWeather {
    let mut rate = |rates: &[u32]| if chance.percent(25) { *chance.pick(rates) } else { 0 };
    let (eio_read_ppm, eio_write_ppm, eio_flush_ppm) =
        (rate(&[2_000, 20_000]), rate(&[2_000, 20_000]), rate(&[2_000, 50_000]));
    let slow_ppm = rate(&[1_000, 10_000]);
    DiskWeather {
        latency_ns: chance.pick(&[1_000..2_000, 5_000..200_000, 50_000..5_000_000]).clone(),
        slow_ppm,
        eio_read_ppm,
        eio_write_ppm,
        eio_flush_ppm,
        torn_percent: *chance.pick(&[0, 5, 30]),
        lies_about_flushes: lie == Some(Lie::Flushes),
        lies_about_names: lie == Some(Lie::Names),
        ..DiskWeather::default()
    }
}

fn draw_wire(chance: &mut SimEntropy, lie: Option<Lie>) -> WireWeather {
    WireWeather {
        lane_capacity: *chance.pick(&[2, 16, 256]),
        delay_ns: chance.pick(&[1..2, 100..20_000, 1_000..3_000_000]).clone(),
        long_delay_ppm: *chance.pick(&[0, 0, 10_000]),
        refuse_ppm: *chance.pick(&[0, 0, 50_000]),
        twice_ppm: if lie == Some(Lie::Twice) { 20_000 } else { 0 },
        ..WireWeather::default()
    }
}
