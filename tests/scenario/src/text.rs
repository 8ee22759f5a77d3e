//! Text to count: seeded, skewed like language, with every kind of white space the demo knows.

use std::fs;
use std::path::{Path, PathBuf};

/// The white space between words. The others of Unicode are parts of words.
const SPACES: [&str; 6] = [" ", "\t", "  ", "\x0b", "\x0c", "\r"];

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

/// A word; small numbers are far more frequent than large ones. Some hold letters of several bytes.
fn word(random: &mut fastrand::Rng) -> String {
    let rank = (1.0 / (random.f64() + 0.0005)) as u32;
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
