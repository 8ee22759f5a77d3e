//! Words: the byte runs between ASCII white space.

use std::collections::BTreeMap;

/// How often each word occurs.
pub type WordCounts = BTreeMap<String, u64>;

/// Whether a byte separates words: space, `\t`, `\n`, vertical tab, form feed, `\r`, and nothing else of Unicode.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// The words of a text, in order.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| u8::try_from(letter).is_ok_and(is_space)).filter(|word| !word.is_empty())
}

/// How often each word occurs in the texts.
pub fn count<'t>(texts: impl IntoIterator<Item = &'t str>) -> WordCounts {
    let mut counts = WordCounts::new();
    for word in texts.into_iter().flat_map(words) {
        *counts.entry(word.to_string()).or_default() += 1;
    }
    counts
}

/// The most frequent words: count descending, then word ascending by its bytes.
pub fn top(counts: &WordCounts, len: usize) -> Vec<(String, u64)> {
    let mut all: Vec<(String, u64)> = counts.iter().map(|(word, count)| (word.clone(), *count)).collect();
    all.sort_by(|(word_a, count_a), (word_b, count_b)| count_b.cmp(count_a).then_with(|| word_a.cmp(word_b)));
    all.truncate(len);
    all
}

/// The lines of a file: split on `\n`, empty ones count, a last one without `\n` counts.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').map(|line| line.strip_suffix('\n').unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_exact_bytes_between_ascii_white_space() {
        let text = "  one\ttwo\u{b}three\u{c}four\r\nFour fo\u{a0}ur \u{2003}x \u{85}";
        let expected = ["one", "two", "three", "four", "Four", "fo\u{a0}ur", "\u{2003}x", "\u{85}"];
        assert!(words(text).eq(expected));
        assert_eq!(words(" \t\n\u{b}\u{c}\r").count(), 0);
        assert_eq!(words("").count(), 0);
    }

    #[test]
    fn only_six_bytes_are_white_space() {
        let spaces: Vec<u8> = (0..=u8::MAX).filter(|byte| is_space(*byte)).collect();
        assert_eq!(spaces, [9, 10, 11, 12, 13, 32]);
    }

    #[test]
    fn words_of_equal_count_come_in_order_of_their_bytes() {
        let counts = count(["b a b", "c a z", "Z"]);
        let top = top(&counts, 4);
        assert_eq!(top, [("a", 2), ("b", 2), ("Z", 1), ("c", 1)].map(|(word, count)| (word.to_string(), count)));
    }

    #[test]
    fn every_line_counts_and_a_line_end_ends_a_line() {
        assert!(lines("a\n\nb").eq(["a", "", "b"]));
        assert!(lines("a\n").eq(["a"]));
        assert!(lines("\n").eq([""]));
        assert_eq!(lines("").count(), 0);
        assert!(lines("a\r\nb").eq(["a\r", "b"]));
    }
}
