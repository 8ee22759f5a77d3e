//! Dead files: a source file that no target reaches is compiled by nobody, tested by nobody and
//! believed by everybody.

use crate::source;
use crate::tree::TextFile;
use std::collections::{BTreeMap, BTreeSet};

/// Source files that cannot be reached through `mod` lines from any of the targets' first files.
///
/// # Errors
/// A file that is not Rust.
pub fn unreached(files: &[TextFile], roots: &[String]) -> Result<Vec<String>, String> {
    let by_path: BTreeMap<&str, &str> = files.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    let mut seen = BTreeSet::new();
    let mut next: Vec<(String, bool)> = roots.iter().map(|root| (root.clone(), true)).collect();
    while let Some((path, is_root)) = next.pop() {
        let Some(text) = by_path.get(path.as_str()) else {
            continue;
        };
        if !seen.insert(path.clone()) {
            continue;
        }
        let outline = source::outline(text).map_err(|e| format!("{path}: {e}"))?;
        for module in &outline.modules {
            next.extend(places(&path, is_root, module).into_iter().map(|place| (place, false)));
        }
    }
    let dead = by_path.keys().filter(|path| !seen.contains(**path));
    Ok(dead.map(|path| format!("{path}: no target reaches this file")).collect())
}

/// Where the file of a module may be.
fn places(path: &str, is_root: bool, module: &source::ModuleFile) -> Vec<String> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let join = |folder: &str, rest: &str| {
        if folder.is_empty() { rest.to_string() } else { format!("{folder}/{rest}") }
    };
    let mut own = folder.to_string();
    if !is_root && name != "mod.rs" {
        own = join(folder, name.strip_suffix(".rs").unwrap_or(name));
    }
    if let Some(explicit) = &module.path {
        let from = if module.inside.is_empty() {
            folder.to_string()
        } else {
            module.inside.iter().fold(own, |at, part| join(&at, part))
        };
        return vec![join(&from, explicit)];
    }
    let own = module.inside.iter().fold(own, |at, part| join(&at, part));
    vec![join(&own, &format!("{}.rs", module.name)), join(&own, &format!("{}/mod.rs", module.name))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.into(), text: text.into() }
    }

    #[test]
    fn a_file_that_no_module_names_is_dead() {
        let files = [
            file("a/src/lib.rs", "mod one; mod two; mod tests { mod inner; }"),
            file("a/src/one.rs", "mod below;"),
            file("a/src/one/below.rs", ""),
            file("a/src/two/mod.rs", "mod beside;"),
            file("a/src/two/beside.rs", "#[path = \"odd.rs\"] mod named;"),
            file("a/src/two/odd.rs", ""),
            file("a/src/tests/inner.rs", ""),
            file("a/src/below.rs", "// never reached"),
            file("a/src/compaction_old.rs", ""),
            file("a/tests/story.rs", ""),
        ];
        let roots = ["a/src/lib.rs".to_string(), "a/tests/story.rs".to_string()];
        let found = unreached(&files, &roots).unwrap();
        let named: Vec<_> = found.iter().map(|text| text.split(':').next().unwrap()).collect();
        assert_eq!(named, ["a/src/below.rs", "a/src/compaction_old.rs"]);
    }
}
