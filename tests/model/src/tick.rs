//! A clock that strikes: what it left of each strike, in order, never too early, and not for too long silent.

use std::fmt;

/// What cannot be about ticks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TickLie {
    /// One is before the one before it.
    Disorder {
        /// Which.
        index: usize,
    },
    /// More than there were periods since the clock was started.
    Invented {
        /// Which.
        index: usize,
    },
    /// It was at no time in which there was a clock.
    Nowhen {
        /// Which.
        index: usize,
    },
    /// Too few came in the last life.
    Silent {
        /// How many came.
        found: usize,
    },
}

impl fmt::Display for TickLie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TickLie::Disorder { index } => write!(f, "tick {index} is before the one before it"),
            TickLie::Invented { index } => write!(f, "tick {index} came before its period had passed"),
            TickLie::Nowhen { index } => write!(f, "tick {index} came when nobody was there"),
            TickLie::Silent { found } => write!(f, "only {found} ticks came in the last life"),
        }
    }
}

/// Everything that is wrong with ticks of a period that came at these times, given when each life of the clock began, and how many
/// must have come in the last one. Ticks may be missing: a life that ends takes some along.
pub fn judge(ticks: &[u64], births: &[u64], period: u64, least: usize) -> Vec<TickLie> {
    let mut lies = Vec::new();
    let (mut life, mut count) = (None, 0);
    for (index, at) in ticks.iter().copied().enumerate() {
        if index > 0 && ticks[index - 1] > at {
            lies.push(TickLie::Disorder { index });
        }
        let Some(of) = births.iter().rposition(|birth| *birth <= at) else {
            lies.push(TickLie::Nowhen { index });
            continue;
        };
        count = if life == Some(of) { count + 1 } else { 1 };
        life = Some(of);
        if at < births[of] + count * period {
            lies.push(TickLie::Invented { index });
        }
    }
    let last = births.last().copied().unwrap_or(u64::MAX);
    let found = ticks.iter().filter(|at| **at >= last).count();
    if found < least {
        lies.push(TickLie::Silent { found });
    }
    lies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_come_once_in_a_period_of_each_life_or_later() {
        assert_eq!(judge(&[10, 20, 35, 111, 120], &[0, 100], 10, 2), []);
        assert_eq!(judge(&[20, 20], &[0], 10, 0), [], "one was late");
        assert_eq!(judge(&[], &[0], 10, 0), []);
    }

    #[test]
    fn ticks_that_are_too_many_out_of_order_or_missing_are_caught() {
        assert_eq!(judge(&[10, 19], &[0], 10, 0), [TickLie::Invented { index: 1 }]);
        assert_eq!(judge(&[30, 25], &[0], 10, 0), [TickLie::Disorder { index: 1 }]);
        assert_eq!(judge(&[105], &[0, 100], 10, 0), [TickLie::Invented { index: 0 }]);
        assert_eq!(judge(&[5], &[7], 1, 0), [TickLie::Nowhen { index: 0 }, TickLie::Silent { found: 0 }][..1]);
        let silent = judge(&[10, 110], &[0, 100], 10, 2);
        assert_eq!(silent, [TickLie::Silent { found: 1 }]);
        assert!(silent[0].to_string().contains("only 1 ticks"));
    }
}
