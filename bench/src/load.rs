//! Producers of records: so many clients with so many records in flight each, the same for every log.

use crate::error::BenchError;
use crate::measure::{Latencies, Stretch};
use crate::pace::{Pace, PaceArgs};
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// What a client of a log can do.
pub(crate) trait Producer {
    /// Hands a record over; it is answered under its number.
    fn send(&mut self, number: u64, record: &[u8]) -> Result<(), BenchError>;

    /// Lets go of what was gathered, and takes in answers until so many have come or a moment has passed.
    fn answers(
        &mut self,
        wanted: usize,
        until: Option<Instant>,
        answered: &mut dyn FnMut(u64),
    ) -> Result<(), BenchError>;
}

/// What is asked of a log, and when.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) clients: usize,
    /// Records of each client that may be out.
    pub(crate) in_flight: usize,
    pub(crate) record: Vec<u8>,
    pub(crate) pace: PaceArgs,
    pub(crate) began: Instant,
    /// When the warm-up is over.
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

/// What clients measured in the window.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) latencies: Latencies,
    pub(crate) cpu_s: f64,
    /// Records sent, those of the warm-up included.
    pub(crate) sent: u64,
    /// Records of an open loop that should have started and could not: too many were out.
    pub(crate) unsent: u64,
}

impl Loaded {
    pub(crate) fn new(load: &Load) -> Self {
        Self { latencies: Latencies::new(load.from), cpu_s: 0.0, sent: 0, unsent: 0 }
    }

    pub(crate) fn add(&mut self, other: &Loaded) {
        self.latencies.add(&other.latencies);
        self.cpu_s += other.cpu_s;
        self.sent += other.sent;
        self.unsent += other.unsent;
    }
}

/// Runs all clients. Meanwhile, and at the end, somebody may watch.
pub(crate) fn run<P: Producer>(
    template: &Load,
    warm_up: Duration,
    connect: impl Fn() -> Result<P, BenchError> + Sync,
    watch: &mut dyn FnMut() -> Result<(), BenchError>,
) -> Result<Loaded, BenchError> {
    let lasts = template.to - template.from;
    // Nobody starts before everybody is connected.
    let connected = Barrier::new(template.clients + 1);
    let started: std::sync::OnceLock<Load> = std::sync::OnceLock::new();
    let ready = Barrier::new(template.clients + 1);
    std::thread::scope(|scope| {
        let (connect, connected, ready, started) = (&connect, &connected, &ready, &started);
        let clients: Vec<_> = (0..template.clients)
            .map(|client| {
                scope.spawn(move || {
                    let producer = connect();
                    connected.wait();
                    ready.wait();
                    let load = started.get().expect("invariant: set before the second barrier");
                    produce(&mut producer?, load, client)
                })
            })
            .collect();
        connected.wait();
        let began = Instant::now();
        let from = began + warm_up;
        let load = Load { began, from, to: from + lasts, ..template.clone() };
        let (from, to) = (load.from, load.to);
        started.set(load).expect("invariant: set once");
        ready.wait();
        watch_until(from, watch)?;
        let stretch = Stretch::begin();
        watch_until(to, watch)?;
        let cpu_s = stretch.end().cpu_s;
        let load = started.get().expect("invariant: set above");
        let mut all = Loaded { cpu_s, ..Loaded::new(load) };
        for client in clients {
            all.add(&client.join().map_err(|_| BenchError::Wrong("a producer panicked".into()))??);
        }
        Ok(all)
    })
}

/// How often somebody watches.
const WATCH_EVERY: Duration = Duration::from_millis(25);

fn watch_until(moment: Instant, watch: &mut dyn FnMut() -> Result<(), BenchError>) -> Result<(), BenchError> {
    loop {
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(WATCH_EVERY));
        watch()?;
    }
}

/// Intended starts of what is out, by number.
#[derive(Default)]
struct Out {
    first: u64,
    starts: VecDeque<Option<Instant>>,
    count: usize,
}

impl Out {
    fn next(&self) -> u64 {
        self.first + self.starts.len() as u64
    }

    fn push(&mut self, start: Instant) {
        self.starts.push_back(Some(start));
        self.count += 1;
    }

    fn take(&mut self, number: u64) -> Option<Instant> {
        let at = number.checked_sub(self.first)?;
        let start = self.starts.get_mut(usize::try_from(at).ok()?)?.take()?;
        self.count -= 1;
        while self.starts.front().is_some_and(Option::is_none) {
            self.starts.pop_front();
            self.first += 1;
        }
        Some(start)
    }
}

/// Starts of an open loop that were due before a moment and are not made.
pub(crate) fn unsent(pace: &mut Pace, to: Instant) -> u64 {
    match pace {
        Pace::Closed => 0,
        Pace::Open { .. } => std::iter::from_fn(|| pace.due(to)).count() as u64,
    }
}

/// One client, until the end of the load and until everything is answered. Latencies are those of what should have
/// started after the warm-up.
fn produce(producer: &mut impl Producer, load: &Load, client: usize) -> Result<Loaded, BenchError> {
    let is_open = load.pace.rate.is_some();
    if is_open {
        // Sleeps end when they should; by default the kernel may add 50 us.
        let exactly = NonZeroU64::new(1);
        rustix::thread::set_current_timer_slack(exactly).map_err(BenchError::io("setting the timer slack"))?;
    }
    let mut pace = load.pace.pace(load.clients, client as u64, load.began);
    let mut loaded = Loaded::new(load);
    let mut out = Out::default();
    loop {
        let now = Instant::now();
        let is_over = now >= load.to;
        while !is_over
            && out.count < load.in_flight
            && let Some(start) = pace.due(now)
        {
            producer.send(out.next(), &load.record)?;
            out.push(start);
        }
        if out.count == 0 {
            if is_over {
                let unsent = unsent(&mut pace, load.to);
                return Ok(Loaded { sent: out.first, unsent, ..loaded });
            }
            let next = pace.next().map_or(load.to, |next| next.min(load.to));
            std::thread::sleep(next.saturating_duration_since(now));
            continue;
        }
        // In a closed loop half of what is out: one answer at a time would wake the client once per record.
        let wanted = if is_open && !is_over { 1 } else { out.count.div_ceil(2) };
        let until = if is_over || out.count == load.in_flight { None } else { pace.next() };
        let mut unknown = None;
        producer.answers(wanted, until, &mut |number| match out.take(number) {
            Some(start) if start >= load.from => loaded.latencies.record(start, Instant::now()),
            Some(_) => {}
            None => unknown = Some(number),
        })?;
        if let Some(number) = unknown {
            return Err(BenchError::Wrong(format!("record {number} was answered and is not out")));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::pace::Arrival;

    /// A tenth of a second, the first half of it warm-up.
    pub(crate) fn short_load(clients: usize, in_flight: usize, rate: Option<u64>) -> Load {
        let began = Instant::now();
        let pace = PaceArgs { rate, arrival: Arrival::Fixed };
        let (from, to) = (began + Duration::from_millis(50), began + Duration::from_millis(100));
        Load { clients, in_flight, record: vec![b'r'; 100], pace, began, from, to }
    }

    /// A log that answers when asked, and once not for a while.
    struct Slow {
        out: VecDeque<u64>,
        out_max: usize,
        stall: Duration,
    }

    impl Producer for Slow {
        fn send(&mut self, number: u64, _: &[u8]) -> Result<(), BenchError> {
            self.out.push_back(number);
            self.out_max = self.out_max.max(self.out.len());
            Ok(())
        }

        fn answers(
            &mut self,
            wanted: usize,
            _: Option<Instant>,
            answered: &mut dyn FnMut(u64),
        ) -> Result<(), BenchError> {
            std::thread::sleep(std::mem::take(&mut self.stall));
            // Not in order, as several committers do not answer in order.
            self.out.make_contiguous().reverse();
            (0..wanted).for_each(|_| answered(self.out.pop_front().expect("no more are wanted than are out")));
            self.out.make_contiguous().sort_unstable();
            Ok(())
        }
    }

    #[test]
    fn a_closed_loop_keeps_its_window_full_and_no_fuller() {
        let run = || {
            let mut slow = Slow { out: VecDeque::new(), out_max: 0, stall: Duration::ZERO };
            let loaded = produce(&mut slow, &short_load(1, 7, None), 0).expect("it ends");
            (loaded, slow)
        };
        // On a busy machine the thread may not run at all within the tenth of a second.
        let (loaded, slow) = (0..100).map(|_| run()).find(|run| run.0.sent > 7).expect("one of the tries has its time");
        assert_eq!((slow.out.len(), slow.out_max, loaded.unsent), (0, 7, 0));
        assert!(loaded.sent > 7 && loaded.latencies.all().len() < loaded.sent, "the warm-up does not count");
    }

    #[test]
    fn in_an_open_loop_a_stall_is_paid_for_by_everything_that_should_have_started_meanwhile() {
        let stall = Duration::from_millis(40);
        let mut slow = Slow { out: VecDeque::new(), out_max: 0, stall };
        // Nothing is warm-up: the stall meets the first record.
        let mut load = short_load(1, 1000, Some(1000));
        load.from = load.began;
        let Loaded { latencies, sent, unsent, .. } = produce(&mut slow, &load, 0).expect("it ends");
        let all = latencies.all();
        assert_eq!(all.len(), sent);
        assert!((99..=101).contains(&(sent + unsent)), "{sent} + {unsent} in a tenth of a second");
        let late = sent - all.count_between(0, 10_000_000);
        assert!(late >= 25, "of 40 that were due in the stall, {late} waited more than 10 ms");
    }

    #[test]
    fn what_a_full_window_kept_from_starting_is_counted() {
        let stall = Duration::from_millis(150);
        let mut slow = Slow { out: VecDeque::new(), out_max: 0, stall };
        let loaded = produce(&mut slow, &short_load(1, 1, Some(1000)), 0).expect("it ends");
        assert_eq!((loaded.sent, slow.out_max), (1, 1));
        assert!((98..=100).contains(&loaded.unsent), "{}", loaded.unsent);
    }

    #[test]
    fn clients_share_the_rate_and_begin_together() {
        let mut watched = 0;
        let connect = || Ok(Slow { out: VecDeque::new(), out_max: 0, stall: Duration::ZERO });
        let mut watch = || {
            watched += 1;
            Ok(())
        };
        let load = short_load(4, 10, Some(2000));
        let loaded = run(&load, Duration::from_millis(50), connect, &mut watch).expect("it ends");
        let started = loaded.sent + loaded.unsent;
        assert!((196..=204).contains(&started), "2000/s for a tenth of a second: {started}");
        assert!(loaded.latencies.all().len() < loaded.sent && watched >= 2);
    }
}
