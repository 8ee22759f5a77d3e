//! The module behind `tantu demo`: the words of every line, counted.

use crate::prelude::*;

/// The depot of lines.
pub const LINES: &str = "*lines";
/// The PState of counts, by word.
pub const COUNTS: &str = "$$counts";

/// Counts words. A word is what stands between ASCII white space, byte for byte.
#[derive(Debug)]
pub struct WordCount;

impl Module for WordCount {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let lines = setup.declare_depot::<String>(LINES, random());
        let mut counter = topologies.stream("counter");
        let counts = counter.pstate::<Map<String, i64>>(COUNTS);
        let from_the_start = SourceOptions { start: StartFrom::Beginning, ..SourceOptions::default() };
        counter.source_with(&lines, from_the_start, |b, line| {
            let word = b.unfold(line, 0, next_word);
            b.hash_partition(word);
            b.compound_agg(counts, agg::key(word, agg::count()));
        });
    }
}

/// The next word at or after a byte of the line; `at` moves behind it.
fn next_word<'x>(line: &'x str, at: &mut usize) -> Option<&'x str> {
    let rest = line.get(*at..)?;
    let start = *at + rest.find(|letter: char| !is_space(letter))?;
    let word = line[start..].split(is_space).next()?;
    *at = start + word.len();
    Some(word)
}

/// ASCII white space with the vertical tab, which Rust's own list leaves out.
fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<&str> {
        let mut at = 0;
        std::iter::from_fn(|| next_word(line, &mut at)).collect()
    }

    #[test]
    fn words_stand_between_ascii_white_space() {
        assert_eq!(words(""), Vec::<&str>::new());
        assert_eq!(words(" \t\x0b\x0c\r"), Vec::<&str>::new());
        assert_eq!(words("one"), ["one"]);
        assert_eq!(words("  a\tb\x0bc\x0cd\re "), ["a", "b", "c", "d", "e"]);
        assert_eq!(words("żółw\u{a0}x ż\u{2003}y"), ["żółw\u{a0}x", "ż\u{2003}y"]);
    }

    #[test]
    fn the_module_can_be_defined() {
        let module = define::<WordCount>().unwrap();
        assert_eq!(module.name, "WordCount");
        assert_eq!((module.depots[0].name.as_str(), module.pstates[0].name.as_str()), (LINES, COUNTS));
    }

    #[test]
    fn only_the_word_travels() {
        let module = define::<WordCount>().unwrap();
        let hops = module.streams[0].plan.describe().hops;
        let live: Vec<_> = hops.iter().map(|hop| hop.live.iter().map(|(_, of)| *of).collect::<Vec<_>>()).collect();
        assert_eq!(live, [["str"]]);
    }
}
