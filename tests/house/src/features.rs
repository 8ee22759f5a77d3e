//! `docs/features.md`: every row names what works and a test that shows it, and the test exists.
//!
//! A row is `| ID | what works | `path/of/file.rs::test_name` |`; several tests are separated by a
//! comma. The name is that of the function, with or without the modules around it.

use crate::source;
use crate::tree::TextFile;
use std::collections::{BTreeMap, BTreeSet};

/// A row of the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// As in `MOD-01`.
    pub id: String,
    /// Pairs of a file and a test in it.
    pub tests: Vec<(String, String)>,
    /// Its line in the list, from 1.
    pub line: usize,
}

/// Reads the rows of the list.
///
/// # Errors
/// Every row of another shape, as sentences.
pub fn parse(text: &str) -> Result<Vec<Row>, Vec<String>> {
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let Some(inner) = line.trim().strip_prefix('|').and_then(|rest| rest.strip_suffix('|')) else {
            continue;
        };
        let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
        if cells.first() == Some(&"ID") || cells.iter().all(|cell| cell.chars().all(|c| c == '-' || c == ':')) {
            continue;
        }
        match parse_row(&cells, index + 1) {
            Ok(row) => rows.push(row),
            Err(why) => wrong.push(format!("features.md:{}: {why}", index + 1)),
        }
    }
    if wrong.is_empty() { Ok(rows) } else { Err(wrong) }
}

fn parse_row(cells: &[&str], line: usize) -> Result<Row, String> {
    let [id, what, tests] = cells else {
        return Err(format!("{} cells, not ID, what, test", cells.len()));
    };
    if !is_id(id) {
        return Err(format!("{id:?} is not an ID like MOD-01"));
    }
    if what.is_empty() {
        return Err(format!("{id} does not say what works"));
    }
    let tests = tests.split(',').map(|test| {
        let test = test.trim().trim_matches('`');
        let (file, name) = test.split_once("::").ok_or_else(|| format!("{id}: {test:?} is not path::test"))?;
        Ok((file.to_string(), name.to_string()))
    });
    Ok(Row { id: (*id).to_string(), tests: tests.collect::<Result<_, String>>()?, line })
}

fn is_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(word, number)| {
        !word.is_empty()
            && word.bytes().all(|b| b.is_ascii_uppercase())
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
    })
}

/// Rows whose test does not exist, and IDs that stand twice.
pub fn violations(rows: &[Row], files: &[TextFile]) -> Vec<String> {
    let mut found = Vec::new();
    let mut ids = BTreeSet::new();
    let mut tests: BTreeMap<&str, Option<Vec<String>>> = BTreeMap::new();
    for row in rows {
        if !ids.insert(&row.id) {
            found.push(format!("features.md:{}: {} stands twice", row.line, row.id));
        }
        for (path, name) in &row.tests {
            let known = tests.entry(path).or_insert_with(|| tests_of(path, files));
            match known {
                None => found.push(format!("features.md:{}: {} names {path}, which does not exist", row.line, row.id)),
                Some(names) if !names.iter().any(|known| is_same(known, name)) => {
                    found.push(format!(
                        "features.md:{}: {} names {path}::{name}, which is not a test",
                        row.line, row.id
                    ));
                }
                Some(_) => {}
            }
        }
    }
    found
}

fn tests_of(path: &str, files: &[TextFile]) -> Option<Vec<String>> {
    let file = files.iter().find(|file| file.path == path)?;
    let outline = source::outline(&file.text).unwrap_or_default();
    Some(outline.functions.into_iter().filter(|function| function.is_test).map(|function| function.name).collect())
}

fn is_same(known: &str, asked: &str) -> bool {
    known == asked || known.strip_suffix(asked).is_some_and(|rest| rest.ends_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# What works\n\n| ID | What | Shown by |\n|---|---|---|\n| MOD-01 | a module | `a/tests/x.rs::one_works` |\n\
        | DEP-08 | append | `a/tests/x.rs::tests::two_works`, `a/tests/x.rs::one_works` |\n";

    fn files() -> Vec<TextFile> {
        let text =
            "//! x\n#[test]\nfn one_works() {}\nmod tests {\n#[test]\nfn two_works() {}\n}\nfn not_a_test() {}\n";
        vec![TextFile { path: "a/tests/x.rs".into(), text: text.into() }]
    }

    #[test]
    fn rows_that_name_their_tests_are_fine() {
        let rows = parse(LIST).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(violations(&rows, &files()), Vec::<String>::new());
    }

    #[test]
    fn a_row_of_another_shape_is_an_error() {
        for row in [
            "| mod-1 | x | `a::b` |",
            "| MOD-x | x | `a::b` |",
            "| MOD-1 | x |",
            "| MOD-1 |  | `a::b` |",
            "| MOD-1 | x | a.rs |",
        ] {
            assert_eq!(parse(row).unwrap_err().len(), 1, "{row}");
        }
    }

    #[test]
    fn a_row_whose_test_does_not_exist_is_named() {
        for (good, bad) in [
            ("one_works`", "one_worked`"),
            ("a/tests/x.rs::one", "a/tests/y.rs::one"),
            ("one_works`", "not_a_test`"),
            ("one_works`", "works`"),
            ("DEP-08", "MOD-01"),
        ] {
            let rows = parse(&LIST.replacen(good, bad, 1)).unwrap();
            assert_eq!(violations(&rows, &files()).len(), 1, "{bad}");
        }
    }
}
