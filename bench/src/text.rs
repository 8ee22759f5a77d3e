//! Generated text: words drawn by Zipf's law from a vocabulary, in lines of a page's width.

use std::fmt::Write;

/// Words in the vocabulary.
const WORD_COUNT: usize = 100_000;
/// Bytes after which a line ends.
const LINE_SIZE: usize = 72;

/// About `size` bytes of lines, the same for the same seed, and how many words they hold.
pub(crate) fn zipf(size: usize, seed: u64) -> (Vec<String>, u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let vocabulary: Vec<String> = (0..WORD_COUNT).map(|rank| word(rank, &mut random)).collect();
    // The word of rank r comes with weight 1 / r.
    let mut sum = 0.0;
    let bounds: Vec<f64> = (1..=WORD_COUNT)
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect();
    let (mut lines, mut words, mut total) = (Vec::new(), 0, 0);
    while total < size {
        let mut line = String::with_capacity(LINE_SIZE + 16);
        while line.len() < LINE_SIZE {
            let at = random.f64() * sum;
            let rank = bounds.partition_point(|bound| *bound < at).min(WORD_COUNT - 1);
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&vocabulary[rank]);
            words += 1;
        }
        total += line.len() + 1;
        lines.push(line);
    }
    (lines, words)
}

/// Common words are short, as in any language; the rank keeps them apart.
fn word(rank: usize, random: &mut fastrand::Rng) -> String {
    let mut word = String::new();
    let length = 1 + (rank as f64 + 1.0).log(6.0) as usize;
    (0..length).for_each(|_| word.push(random.lowercase()));
    let _ = write!(word, "{}", radix36(rank));
    word
}

fn radix36(mut number: usize) -> String {
    let mut digits = String::new();
    loop {
        digits.push(char::from_digit((number % 36) as u32, 36).unwrap_or('0'));
        number /= 36;
        if number == 0 {
            return digits;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_text_follows_zipfs_law_and_its_seed() {
        let (lines, words) = zipf(400_000, 7);
        assert_eq!(zipf(400_000, 7).0, lines);
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        lines.iter().flat_map(|line| line.split(' ')).for_each(|word| *counts.entry(word).or_default() += 1);
        assert_eq!(counts.values().sum::<u64>(), words);
        let mut by_count: Vec<u64> = counts.into_values().collect();
        by_count.sort_unstable_by(|a, b| b.cmp(a));
        let ratio = by_count[0] as f64 / by_count[9] as f64;
        assert!((7.0..14.0).contains(&ratio), "the first comes ten times as often as the tenth: {ratio}");
        assert!(lines.iter().all(|line| (LINE_SIZE..LINE_SIZE + 16).contains(&line.len())));
    }
}
