//! What a run found out, for people as a table and for programs as one JSON object.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use serde_json::{Value, json};
use std::time::Duration;

/// No borders: what is printed can be read by `awk` too.
const RULE_UNDER_HEADER: TableStyle = NOTHING.header_separator(LineStyle::new('─', '─', '─', '─'));
/// Longest word in the table, in letters.
const SHOWN_LETTERS_MAX: usize = 60;

/// The result of a run.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Report {
    /// Lines appended by this run.
    pub(super) lines_appended: u64,
    /// Words counted in the data directory so far.
    pub(super) words: u64,
    /// Distinct words so far.
    pub(super) distinct: u64,
    /// The most frequent words: by count, then by word.
    pub(super) top: Vec<(String, u64)>,
    /// From the first append to the last result.
    pub(super) elapsed: Duration,
}

impl Report {
    /// Sorts and cuts what was read from the PState. With `top_count` 0 every word stays.
    pub(super) fn new(
        lines_appended: u64,
        mut counts: Vec<(String, u64)>,
        top_count: usize,
        elapsed: Duration,
    ) -> Report {
        let words = counts.iter().map(|(_, count)| count).sum();
        let distinct = counts.len() as u64;
        counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        if top_count > 0 {
            counts.truncate(top_count);
        }
        Report { lines_appended, words, distinct, top: counts, elapsed }
    }

    /// One object on one line.
    pub(super) fn json(&self) -> String {
        let top: Vec<Value> = self.top.iter().map(|(word, count)| json!([word, count])).collect();
        let object = json!({
            "lines_appended": self.lines_appended,
            "words": self.words,
            "distinct": self.distinct,
            "top": top,
            "elapsed_s": self.elapsed.as_secs_f64(),
        });
        format!("{object}\n")
    }

    /// A sentence and the top words.
    pub(super) fn table(&self) -> String {
        let seconds = self.elapsed.as_secs_f64();
        let mut text = format!(
            "{} lines appended in {seconds:.2} s ({:.0} lines/s), each durable before its ack; {} words counted so far, {} distinct\n",
            self.lines_appended,
            self.lines_appended as f64 / seconds.max(1e-9),
            self.words,
            self.distinct,
        );
        if !self.top.is_empty() {
            let mut table = Table::new();
            table.load_style(RULE_UNDER_HEADER).set_header(["count", "word"]);
            table.add_rows(self.top.iter().map(|(word, count)| [count.to_string(), shown(word)]));
            if let Some(column) = table.column_mut(0) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            text.push_str(&format!("{table}\n"));
        }
        text
    }
}

/// A word as a terminal may see it: on one line, without control letters, cut if it is very long.
fn shown(word: &str) -> String {
    let mut text = String::new();
    for (index, letter) in word.chars().enumerate() {
        if index == SHOWN_LETTERS_MAX {
            text.push('…');
            break;
        }
        if letter.is_control() { text.extend(letter.escape_default()) } else { text.push(letter) }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(top_count: usize) -> Report {
        let counts = [("b", 2), ("z", 1), ("a", 2), ("\"c\"", 7)].map(|(word, count)| (word.to_string(), count));
        Report::new(5, counts.to_vec(), top_count, Duration::from_millis(1500))
    }

    #[test]
    fn the_top_is_cut_after_everything_was_counted() {
        let report = report(2);
        assert_eq!((report.words, report.distinct), (12, 4));
        assert_eq!(report.top, [("\"c\"".to_string(), 7), ("a".to_string(), 2)]);
        assert_eq!(super::Report::new(0, report.top.clone(), 0, Duration::ZERO).top.len(), 2);
    }

    #[test]
    fn json_is_one_object_on_one_line() {
        let text = report(1).json();
        assert_eq!(text.lines().count(), 1);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            json!({"lines_appended": 5, "words": 12, "distinct": 4, "top": [["\"c\"", 7]], "elapsed_s": 1.5})
        );
    }

    #[test]
    fn the_table_holds_the_words_in_order() {
        let text = report(0).table();
        assert!(text.starts_with("5 lines appended in 1.50 s (3 lines/s)"), "{text}");
        let rows: Vec<Vec<&str>> = text.lines().skip(3).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows, [["7", "\"c\""], ["2", "a"], ["2", "b"], ["1", "z"]]);
    }

    #[test]
    fn a_word_cannot_command_the_terminal() {
        assert_eq!(shown("\x1b[31mred\u{85}"), "\\u{1b}[31mred\\u{85}");
        assert_eq!(shown("żółw"), "żółw");
        assert_eq!(shown(&"x".repeat(100)).chars().count(), SHOWN_LETTERS_MAX + 1);
    }
}
