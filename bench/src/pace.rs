//! When operations start: at once after the one before (closed loop), or at moments that were fixed before the system
//! was seen (open loop). A latency counts from the intended start, so that a stall is paid for by every operation that
//! should have started meanwhile, not only by the one that met it.

use std::time::{Duration, Instant};

/// How intended starts follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Arrival {
    /// Gaps of a Poisson process: as many independent users arrive
    Poisson,
    /// Equal gaps
    Fixed,
}

/// Open loop or closed
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct PaceArgs {
    /// Operations per second of all clients together, started at moments of their own (open loop); without it each
    /// starts when one before it has ended (closed loop)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rate: Option<u64>,
    /// How starts of an open loop follow each other
    #[arg(long, value_enum, default_value = "poisson", requires = "rate")]
    pub(crate) arrival: Arrival,
}

impl PaceArgs {
    /// What a line's `loop` says.
    pub(crate) fn label(&self) -> &'static str {
        if self.rate.is_some() { "open" } else { "closed" }
    }

    /// For the report.
    pub(crate) fn config(&self) -> crate::fields::Fields {
        let config = crate::fields::Fields::new().with("loop", self.label());
        let arrival = if self.arrival == Arrival::Poisson { "poisson" } else { "fixed" };
        match self.rate {
            Some(rate) => config.with("rate", rate).with("arrival", arrival),
            None => config,
        }
    }

    /// The pace of one of so many clients from a moment on.
    pub(crate) fn pace(&self, clients: usize, seed: u64, from: Instant) -> Pace {
        let Some(rate) = self.rate else { return Pace::Closed };
        Pace::open(rate as f64 / clients as f64, self.arrival, seed, from)
    }
}

/// The starts of one client.
#[derive(Debug)]
pub(crate) enum Pace {
    /// Always now.
    Closed,
    /// See the module.
    Open {
        /// The next intended start.
        next: Instant,
        gap_s: f64,
        arrival: Arrival,
        random: fastrand::Rng,
    },
}

impl Pace {
    pub(crate) fn open(rate: f64, arrival: Arrival, seed: u64, from: Instant) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        // Clients of equal gaps start anywhere in the first one, not all at once.
        let next = from + Duration::from_secs_f64(random.f64() / rate);
        Pace::Open { next, gap_s: 1.0 / rate, arrival, random }
    }

    /// The next intended start; none in a closed loop.
    pub(crate) fn next(&self) -> Option<Instant> {
        match self {
            Pace::Closed => None,
            Pace::Open { next, .. } => Some(*next),
        }
    }

    /// The intended start of an operation that is due; the next call is about the one after it.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Instant> {
        let Pace::Open { next, gap_s, arrival, random } = self else { return Some(now) };
        if *next > now {
            return None;
        }
        let start = *next;
        let gaps = match arrival {
            Arrival::Fixed => 1.0,
            // The inverse of an exponential distribution; f64() is below 1, so the logarithm is finite.
            Arrival::Poisson => -(1.0 - random.f64()).ln(),
        };
        *next += Duration::from_secs_f64(*gap_s * gaps);
        Some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(arrival: Arrival, count: usize) -> Vec<Instant> {
        let from = Instant::now();
        let mut pace = Pace::open(1000.0, arrival, 3, from);
        let late = from + Duration::from_secs(3600);
        std::iter::repeat_with(|| pace.due(late).expect("an hour late, everything is due")).take(count).collect()
    }

    fn gaps_s(starts: &[Instant]) -> Vec<f64> {
        starts.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    }

    #[test]
    fn equal_gaps_are_equal_and_those_of_a_poisson_process_deviate_by_their_mean() {
        let fixed = gaps_s(&starts(Arrival::Fixed, 1000));
        assert!(fixed.iter().all(|gap| (gap - 1e-3).abs() < 1e-6));
        let poisson = gaps_s(&starts(Arrival::Poisson, 20_000));
        let mean = poisson.iter().sum::<f64>() / poisson.len() as f64;
        let variance = poisson.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / poisson.len() as f64;
        assert!((mean / 1e-3 - 1.0).abs() < 0.05, "{mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "{variance}");
    }

    #[test]
    fn nothing_is_due_before_its_intended_start_and_a_late_one_keeps_it() {
        let from = Instant::now();
        let mut pace = Pace::open(10.0, Arrival::Fixed, 1, from);
        let first = pace.next().expect("an open loop");
        assert_eq!(pace.due(first - Duration::from_nanos(1)), None);
        assert_eq!(pace.due(first + Duration::from_secs(1)), Some(first));
        assert_eq!(pace.due(first + Duration::from_secs(1)), Some(first + Duration::from_millis(100)));
        let now = Instant::now();
        assert_eq!(Pace::Closed.due(now), Some(now));
    }
}
