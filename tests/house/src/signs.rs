//! Signs and words: how a file opens, what it may be called, which words it may not hold.

use crate::tree::TextFile;

/// File and folder names that admit defeat: what is in them belongs to a room with a name.
pub const NAMES_REFUSED: [&str; 6] = ["helpers", "helper", "utils", "util", "impls", "common"];

/// Words that may stand in no text of the project, and why. They are put together from pieces, so
/// that this list does not accuse itself.
pub const WORDS_REFUSED: [(&str, &str); 7] = [
    (concat!("TO", "DO"), "an unfinished part is finished or left out"),
    (concat!("FIX", "ME"), "an unfinished part is finished or left out"),
    (concat!("XX", "X"), "an unfinished part is finished or left out"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("/fa", "rm/"), "a path of one machine"),
];

/// Source files that do not open with a `//!` line.
pub fn without_sign(files: &[TextFile]) -> Vec<String> {
    files
        .iter()
        .filter(|file| !opens_with_sign(&file.text))
        .map(|file| format!("{}: does not open with a //! sign that says what it is", file.path))
        .collect()
}

/// A first line `#!/…` is not Rust text and may come before the sign.
fn opens_with_sign(text: &str) -> bool {
    text.strip_prefix("//!").and_then(|rest| rest.lines().next()).is_some_and(|line| !line.trim().is_empty())
}

/// Files whose own name, or a folder of whose path, is refused.
pub fn names_refused(files: &[TextFile]) -> Vec<String> {
    let is_refused = |part: &str| {
        let stem = part.split('.').next().unwrap_or(part);
        NAMES_REFUSED.iter().any(|name| stem == *name || stem.ends_with(&format!("_{name}")))
    };
    files
        .iter()
        .filter(|file| file.path.split('/').any(is_refused))
        .map(|file| format!("{}: name the noun, or the code is in the wrong room", file.path))
        .collect()
}

/// Lines that hold a refused word.
pub fn words_refused(files: &[TextFile]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for (index, line) in file.text.lines().enumerate() {
            for (word, why) in WORDS_REFUSED {
                if line.contains(word) {
                    found.push(format!("{}:{}: holds {word:?} ({why})", file.path, index + 1));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.into(), text: text.into() }
    }

    #[test]
    fn a_file_without_a_sign_is_named() {
        let files = [
            file("a.rs", "//! What it is.\nfn a() {}"),
            file("b.rs", "fn b() {}"),
            file("c.rs", "// a comment\n//! late"),
            file("d.rs", "//!\n//! An empty first line says nothing."),
            file("e.rs", ""),
        ];
        let found = without_sign(&files);
        let named: Vec<_> = found.iter().map(|text| &text[..4]).collect();
        assert_eq!(named, ["b.rs", "c.rs", "d.rs", "e.rs"]);
    }

    #[test]
    fn a_name_that_admits_defeat_is_refused() {
        let bad = [
            "x/utils.rs",
            "x/helpers/a.rs",
            "x/impls.rs",
            "tests/common/mod.rs",
            "x/plane_helpers.rs",
            "x/string_util.rs",
        ];
        for path in bad {
            assert_eq!(names_refused(&[file(path, "")]).len(), 1, "{path}");
        }
        for path in ["x/utility_of_it.rs", "x/commonly.rs", "docs/formats/table.md"] {
            assert_eq!(names_refused(&[file(path, "")]).len(), 0, "{path}");
        }
    }

    #[test]
    fn a_refused_word_is_named_with_its_line() {
        for (word, _) in WORDS_REFUSED {
            let found = words_refused(&[file("a.md", &format!("fine\nnot {word} fine\n"))]);
            assert_eq!(found.len(), 1, "{word}");
            assert!(found[0].starts_with("a.md:2:"), "{found:?}");
        }
    }
}
