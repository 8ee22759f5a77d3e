//! Seeded randomness: xoshiro256** started by splitmix64, in twenty lines, so that a seed means the same run for ever.

use std::ops::Range;
use tantu_base::door::Entropy;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SimEntropy {
    state: [u64; 4],
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl SimEntropy {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        let mut seed = seed;
        Self { state: std::array::from_fn(|_| splitmix(&mut seed)) }
    }

    /// Another sequence that depends on this one's state and on `part`, and leaves this one where it is.
    pub fn fork(&self, part: u64) -> Self {
        let mut mixed = part;
        let part = splitmix(&mut mixed);
        Self::new(
            self.state
                .iter()
                .fold(part, |seed, word| (seed ^ word).rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        )
    }

    /// A number in `0..count`.
    ///
    /// # Panics
    /// If `count` is 0.
    pub fn below(&mut self, count: u64) -> u64 {
        assert!(count > 0, "a choice among nothing");
        ((u128::from(self.next_u64()) * u128::from(count)) >> 64) as u64
    }

    /// A number of a range.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// True `ppm` times in a million.
    pub fn chance_ppm(&mut self, ppm: u32) -> bool {
        // Always draws, so that changing one rate does not shift every later choice.
        self.below(1_000_000) < u64::from(ppm)
    }

    /// True `percent` times in a hundred.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.chance_ppm(percent * 10_000)
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// Puts them into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end as u64 + 1) as usize);
        }
    }
}

impl Entropy for SimEntropy {
    fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let drawn = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_sequence_for_ever() {
        let mut chance = SimEntropy::new(7);
        let drawn: Vec<u64> = (0..3).map(|_| chance.next_u64()).collect();
        let mut again = SimEntropy::new(7);
        assert!(drawn.iter().all(|drawn| *drawn == again.next_u64()));
        assert_ne!(chance.fork(1).next_u64(), chance.fork(2).next_u64());
        assert_eq!(chance.fork(1).next_u64(), again.fork(1).next_u64(), "a fork depends on nothing but state and part");
    }

    #[test]
    fn choices_stay_in_range_and_reach_every_value() {
        let mut chance = SimEntropy::new(1);
        let mut seen = [0u32; 7];
        for _ in 0..7000 {
            seen[chance.below(7) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
        assert!((0..1000).all(|_| !chance.chance_ppm(0) && chance.chance_ppm(1_000_000)));
        let mut order: Vec<u32> = (0..50).collect();
        chance.shuffle(&mut order);
        assert!(order.windows(2).any(|pair| pair[0] > pair[1]));
        order.sort_unstable();
        assert!(order.into_iter().eq(0..50));
    }
}
