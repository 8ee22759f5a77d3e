//! Sizes with a ratchet: a file of at most 800 lines, a function of at most 70.
//!
//! An offender that existed when the rule came stands in `ratchet.txt` with its size; it may only
//! shrink. A line for something that has meanwhile come under the limit must go, so that it cannot
//! grow back.

use crate::source;
use crate::tree::TextFile;
use std::collections::BTreeMap;

/// Most lines of a source file.
pub const FILE_LINES_MAX: usize = 800;
/// Most lines of a function.
pub const FUNCTION_LINES_MAX: usize = 70;

/// Sizes over a limit, by what they belong to: `path` or `path::function`.
pub type Offenders = BTreeMap<String, usize>;

/// What is over a limit now.
///
/// # Errors
/// A file that is not Rust.
pub fn offenders(files: &[TextFile]) -> Result<Offenders, String> {
    let mut found = Offenders::new();
    for file in files {
        let line_count = file.text.lines().count();
        if line_count > FILE_LINES_MAX {
            found.insert(file.path.clone(), line_count);
        }
        let outline = source::outline(&file.text).map_err(|e| format!("{}: {e}", file.path))?;
        for function in outline.functions {
            if function.line_count > FUNCTION_LINES_MAX {
                let size = found.entry(format!("{}::{}", file.path, function.name)).or_default();
                *size = function.line_count.max(*size);
            }
        }
    }
    Ok(found)
}

/// Reads a ratchet file: lines of `size name`; `#` starts a comment.
///
/// # Errors
/// A line of another shape.
pub fn parse(text: &str) -> Result<Offenders, String> {
    let mut known = Offenders::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let parts = line.split_once(' ').and_then(|(size, name)| Some((size.parse().ok()?, name.trim().to_string())));
        let (size, name) = parts.ok_or_else(|| format!("ratchet line {}: not \"size name\": {line}", index + 1))?;
        known.insert(name, size);
    }
    Ok(known)
}

/// Where what is now and what was known disagree.
pub fn violations(now: &Offenders, known: &Offenders) -> Vec<String> {
    let mut found = Vec::new();
    for (name, size) in now {
        match known.get(name) {
            None => found.push(format!(
                "{name}: {size} lines; a file has at most {FILE_LINES_MAX}, a function {FUNCTION_LINES_MAX}"
            )),
            Some(was) if size > was => found.push(format!("{name}: {size} lines; it was {was} and may only shrink")),
            Some(was) if size < was => found.push(format!("{name}: {size} lines; lower its ratchet line from {was}")),
            Some(_) => {}
        }
    }
    for name in known.keys().filter(|name| !now.contains_key(*name)) {
        found.push(format!("{name}: no longer over the limit; take its ratchet line away"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_function(line_count: usize) -> TextFile {
        let mut text = String::from("//! A sign.\nfn long() {\n");
        (0..line_count - 2).for_each(|_| text.push_str("    let _ = 1;\n"));
        text.push_str("}\n");
        TextFile { path: "a.rs".into(), text }
    }

    #[test]
    fn a_function_of_71_lines_and_a_file_of_801_are_offenders() {
        assert_eq!(offenders(&[long_function(FUNCTION_LINES_MAX)]).unwrap(), Offenders::new());
        let found = offenders(&[long_function(FUNCTION_LINES_MAX + 1)]).unwrap();
        assert_eq!(found, Offenders::from([("a.rs::long".to_string(), 71)]));
        let text = "//! A line.\n".repeat(FILE_LINES_MAX + 1);
        let found = offenders(&[TextFile { path: "b.rs".into(), text }]).unwrap();
        assert_eq!(found, Offenders::from([("b.rs".to_string(), 801)]));
    }

    #[test]
    fn a_new_offender_a_grown_one_and_a_stale_line_are_violations() {
        let known = parse("# why\n90 a.rs::long\n").unwrap();
        let now = |size: usize| Offenders::from([("a.rs::long".to_string(), size)]);
        assert_eq!(violations(&now(90), &known), Vec::<String>::new());
        assert!(violations(&now(91), &known)[0].contains("may only shrink"));
        assert!(violations(&now(80), &known)[0].contains("lower its ratchet line"));
        assert!(violations(&Offenders::new(), &known)[0].contains("take its ratchet line away"));
        assert_eq!(violations(&now(90), &Offenders::new()).len(), 1);
    }

    #[test]
    fn a_ratchet_line_of_another_shape_is_an_error() {
        assert!(parse("a.rs 90").unwrap_err().contains("line 1"));
    }
}
