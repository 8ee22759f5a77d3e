//! Pages: what a page links to is there, and a page that shows code is a doc test.

use crate::tree::TextFile;
use std::collections::{BTreeMap, BTreeSet};

/// Relative links of Markdown pages that lead to no file, no folder or no heading. `paths` are all files there are.
pub fn broken_links(pages: &[TextFile], paths: &[String]) -> Vec<String> {
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        pages.iter().map(|page| (page.path.as_str(), anchors(&page.text))).collect();
    let mut found = Vec::new();
    for page in pages {
        for (line, target) in links(&page.text) {
            if let Some(what) = broken(&page.path, &target, paths, &anchors) {
                found.push(format!("{}:{line}: the link `{target}` leads to {what}", page.path));
            }
        }
    }
    found
}

fn broken(
    from: &str,
    target: &str,
    paths: &[String],
    anchors: &BTreeMap<&str, BTreeSet<String>>,
) -> Option<&'static str> {
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let to = if file.is_empty() { Some(from.to_string()) } else { resolved(from, file) };
    let Some(to) = to else { return Some("a place outside the workspace") };
    let is_folder = || paths.iter().any(|path| path.strip_prefix(&to).is_some_and(|rest| rest.starts_with('/')));
    if !paths.contains(&to) && !is_folder() {
        return Some("no file");
    }
    let anchor = anchor?;
    let known = anchors.get(to.as_str()).is_some_and(|known| known.contains(anchor));
    (!known).then_some("no heading")
}

/// A link's path from the root of the workspace.
fn resolved(from: &str, file: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The lines of a page that are no code, numbered from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!in_code && !is_fence).then_some((index + 1, line))
    })
}

/// The relative links of a page, each with its line.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let mut at = 0;
        while let Some(open) = line[at..].find("](").map(|open| at + open) {
            at = open + 2;
            let in_code = line[..open].matches('`').count() % 2 == 1;
            let Some(close) = line[at..].find(')').map(|close| at + close) else { break };
            let target = &line[at..close];
            if !in_code && !target.contains("://") && !target.starts_with("mailto:") {
                found.push((number, target.to_string()));
            }
        }
    }
    found
}

/// What links may name on a page: its headings in lower case, without punctuation, hyphens for spaces.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, line) in prose(text) {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
        let slug: String = title.trim().to_lowercase().chars().filter(kept).collect();
        let slug = slug.replace(' ', "-");
        let mut name = slug.clone();
        let mut again = 0;
        while !found.insert(name.clone()) {
            again += 1;
            name = format!("{slug}-{again}");
        }
    }
    found
}

/// Pages with Rust in them that `module`, the text of the module of doc tests, does not include, and listings that would
/// not be run.
pub fn untested(pages: &[TextFile], module: &str) -> Vec<String> {
    let mut found = Vec::new();
    for page in pages {
        let mut has_code = false;
        let mut in_code = false;
        for (index, line) in page.text.lines().enumerate() {
            let Some(info) = line.trim_start().strip_prefix("```") else { continue };
            in_code = !in_code;
            if !in_code {
                continue;
            }
            has_code |= info.starts_with("rust");
            if info.is_empty() || info.contains("ignore") || info.contains("no_run") {
                found.push(format!("{}:{}: a listing says its language, and is run", page.path, index + 1));
            }
        }
        if has_code && !module.contains(&format!("/{}\")", page.path)) {
            found.push(format!("{}: its listings are in no doc test", page.path));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str, text: &str) -> TextFile {
        TextFile { path: path.into(), text: text.into() }
    }

    #[test]
    fn a_link_to_no_file_no_folder_or_no_heading_is_named_with_its_line() {
        let text = "# Über `all` of it, twice\n\n## Over rows\n## Over rows\n\
                    [a](b.md) [b](../x/b.md#two-words) [c](../src/) [d](#über-all-of-it-twice) [e](#over-rows-1)\n\
                    [f](c.md) [g](b.md#none)\n[h](#over-rows-2) [i](../../../z) `[j](none.md)` [k](https://a.b/c)\n\
                    [`l`](d/)\n```rust\n[m](none.md)\n# two words\n```\n";
        let pages = [page("x/a.md", text), page("x/b.md", "## Two words\n")];
        let paths = ["x/a.md", "x/b.md", "src/lib.rs"].map(String::from);
        let broken = broken_links(&pages, &paths);
        let named: Vec<_> = broken.iter().map(|text| text.split(' ').take(4).collect::<Vec<_>>().join(" ")).collect();
        let expected = [(6, "c.md"), (6, "b.md#none"), (7, "#over-rows-2"), (7, "../../../z"), (8, "d/")];
        assert_eq!(named, expected.map(|(line, link)| format!("x/a.md:{line}: the link `{link}`")), "{broken:?}");
    }

    #[test]
    fn a_page_with_code_that_nobody_runs_is_named() {
        let module = "#[doc = include_str!(\"../../docs/a.md\")]";
        let pages = [
            page("docs/a.md", "```rust\nlet a = 1;\n```\n```rust,no_run\nlet a = 1;\n```\n```\nlet a = 1;\n```\n"),
            page("docs/b.md", "```rust\nlet a = 1;\n```\n"),
            page("docs/c.md", "```sh\ncargo run\n```\n"),
        ];
        let found = untested(&pages, module);
        let places: Vec<_> = found.iter().map(|text| text.split(' ').next().unwrap_or_default()).collect();
        assert_eq!(places, ["docs/a.md:4:", "docs/a.md:7:", "docs/b.md:"], "{found:?}");
    }
}
