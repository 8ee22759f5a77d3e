//! Unique ids that sort by time: UUID version 7, made from a wall clock and randomness that the caller gives.
//!
//! 48 bits of milliseconds, then 74 bits of which the first of a millisecond are random. Ids of one generator ascend
//! strictly, also within a millisecond and when the clock goes back.

use crate::door::Entropy;
use crate::value::Uuid;

/// Bits behind the time: 12 before the variant, 62 behind it.
const TAIL_BITS: u32 = 74;
/// A new millisecond starts in the lower half of the tail, so that there is room to count up.
const FIRST_TAIL_MAX: u128 = (1 << (TAIL_BITS - 1)) - 1;

/// Makes UUIDs of version 7.
///
/// ```
/// use tantu_base::door::Entropy;
/// use tantu_base::uid::UuidV7;
///
/// struct Seven;
/// impl Entropy for Seven {
///     fn next_u64(&mut self) -> u64 {
///         7
///     }
/// }
///
/// let mut ids = UuidV7::default();
/// let (first, second) = (ids.next(1_700_000_000_000, &mut Seven), ids.next(1_700_000_000_000, &mut Seven));
/// assert!(first < second);
/// assert_eq!(UuidV7::time_ms(first), 1_700_000_000_000);
/// ```
#[derive(Clone, Debug, Default)]
pub struct UuidV7 {
    ms: u64,
    tail: u128,
}

impl UuidV7 {
    /// The next id, at this time in milliseconds since the Unix epoch.
    pub fn next(&mut self, wall_ms: u64, entropy: &mut dyn Entropy) -> Uuid {
        let high = u128::from(entropy.next_u64());
        let random = high << 64 | u128::from(entropy.next_u64());
        if wall_ms > self.ms {
            (self.ms, self.tail) = (wall_ms, random & FIRST_TAIL_MAX);
        } else {
            // A random step, so that nobody guesses the next id from the last.
            self.tail += 1 + (random & u128::from(u32::MAX));
            if self.tail >> TAIL_BITS != 0 {
                (self.ms, self.tail) = (self.ms + 1, random & FIRST_TAIL_MAX);
            }
        }
        let (before, behind) = (self.tail >> 62, self.tail & ((1 << 62) - 1));
        let time = u128::from(self.ms) & ((1 << 48) - 1);
        Uuid((time << 80 | 7 << 76 | before << 64 | 2 << 62 | behind).to_be_bytes())
    }

    /// When an id of version 7 was made, in milliseconds since the Unix epoch.
    pub fn time_ms(id: Uuid) -> u64 {
        (u128::from_be_bytes(id.0) >> 80) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);

    impl Entropy for Fixed {
        fn next_u64(&mut self) -> u64 {
            self.0
        }
    }

    fn hex(id: Uuid) -> String {
        id.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn time_version_variant_and_randomness_are_where_the_standard_says() {
        assert_eq!(hex(UuidV7::default().next(0x0123_4567_89AB, &mut Fixed(0))), "0123456789ab70008000000000000000");
        let ones = UuidV7::default().next(0x0123_4567_89AB, &mut Fixed(u64::MAX));
        assert_eq!(hex(ones), "0123456789ab77ffbfffffffffffffff", "half of the tail is left to count up");
        assert_eq!(UuidV7::time_ms(ones), 0x0123_4567_89AB);
    }

    #[test]
    fn ids_ascend_within_a_millisecond_over_it_and_when_the_clock_goes_back() {
        let mut ids = UuidV7::default();
        let made: Vec<Uuid> = [5, 5, 5, 6, 2, 6, 9].map(|ms| ids.next(ms, &mut Fixed(u64::MAX))).to_vec();
        assert!(made.is_sorted_by(|a, b| a < b));
        assert_eq!(made.iter().map(|id| UuidV7::time_ms(*id)).collect::<Vec<_>>(), [5, 5, 5, 6, 6, 6, 9]);
    }

    #[test]
    fn a_full_millisecond_goes_over_into_the_next() {
        let mut ids = UuidV7 { ms: 5, tail: (1 << TAIL_BITS) - 1 };
        assert_eq!(UuidV7::time_ms(ids.next(5, &mut Fixed(0))), 6);
    }
}
