//! Text to count: seeded, skewed like language, with every kind of white space the demo knows.

use std::fs;
use std::path::{Path, PathBuf};

/// The white space between words. The others of Unicode are parts of words.
const SPACES: [&str; 6] = [" ", "\t", "  ", "\x0b", "\x0c", "\r"];

/// Number of distinct words.
const RANK_MAX: f64 = 4000.0;

/// Writes a file of `line_count` lines. The same seed gives the same bytes.
pub fn write(folder: &Path, name: &str, seed: u64, line_count: usize) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, generate(seed, line_count)).expect("a file can be written");
    path
}

/// The text of a file: lines of up to 20 words, some empty, the last without its line end in every other seed.
pub fn generate(seed: u64, line_count: usize) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut text = String::new();
    for _ in 0..line_count {
        for _ in 0..random.usize(0..20) {
            text.push_str(&word(&mut random));
            text.push_str(random.choice(SPACES).unwrap_or(" "));
        }
        text.push('\n');
    }
    if seed % 2 == 1 {
        text.push_str("the last line has no end");
    }
    text
}

/// A word. The frequency of the word of rank n is proportional to 1/n, as in language: so many words come again and
/// again that a key has revisions on both sides of every boundary in a table. Some hold letters of several bytes.
fn word(random: &mut fastrand::Rng) -> String {
    let rank = (random.f64() * RANK_MAX.ln()).exp() as u32;
    match rank % 7 {
        0 => format!("żółw{rank}"),
        1 => format!("a\u{a0}b{rank}"),
        _ => format!("word{rank}"),
    }
}

/// The lines of a text as the demo sees them.
pub fn line_count(text: &str) -> u64 {
    text.split_terminator('\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_text() {
        assert_eq!(generate(7, 50), generate(7, 50));
        assert_ne!(generate(7, 50), generate(8, 50));
        assert_eq!(line_count("a\n\nb"), 3);
        assert_eq!(line_count("a\n\n"), 2);
        assert_eq!(line_count(""), 0);
    }
}
