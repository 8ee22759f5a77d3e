//! The rules of the house, turned on the workspace itself.

use tantu_house::{features, floors, formats, manifests, pages, ratchet, reach, signs, tree};

/// Fails with every violation on a line of its own.
fn expect_none(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

fn text_of(path: &str) -> Option<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let name = path.rsplit('/').next()?;
    let files = tree::texts(&tree::root().join(folder), &[name]).ok()?;
    files.into_iter().find(|file| file.path == name).map(|file| file.text)
}

#[test]
fn no_dependency_climbs() {
    let packages = manifests::packages(&tree::root()).unwrap();
    assert!(packages.len() > 10, "only {} packages were read", packages.len());
    let fuzz = manifests::packages_in(&tree::root(), &tree::root().join("fuzz")).unwrap();
    expect_none("fuzz targets live in the yard", floors::violations(&fuzz));
    expect_none("a dependency goes to a lower floor", floors::violations(&packages));
}

#[test]
fn every_source_file_opens_with_a_sign() {
    expect_none("a file says what it is", signs::without_sign(&tree::sources(&tree::root()).unwrap()));
}

#[test]
fn no_file_has_a_name_that_admits_defeat() {
    let files = tree::texts(&tree::root(), &[".rs", ".md", ".toml", ".sh"]).unwrap();
    expect_none("a file has a noun for its name", signs::names_refused(&files));
}

#[test]
fn no_text_holds_a_refused_word() {
    let files = tree::texts(&tree::root(), &[".rs", ".md", ".toml", ".sh", "test", "run"]).unwrap();
    expect_none("no unfinished part, no path of one machine", signs::words_refused(&files));
}

#[test]
fn every_planted_bug_is_planted_by_a_test_and_has_a_row_in_the_table() {
    let list = text_of("base/src/planted.rs").unwrap();
    let all = list.split("pub const ALL").nth(1).and_then(|rest| rest.split("];").next()).unwrap();
    let bugs: Vec<&str> = all.split("Bug::").skip(1).filter_map(|rest| rest.split(',').next()).collect();
    assert!(bugs.len() > 10, "only {} bugs were read", bugs.len());
    let tests = ["tests/sim/tests/planted.rs", "bin/local/tests/panic.rs"].map(|path| text_of(path).unwrap()).concat();
    let unused = bugs.iter().filter(|bug| !tests.contains(&format!("Bug::{bug}")));
    expect_none("a bug that no test plants proves nothing", unused.map(ToString::to_string).collect());
    let page = text_of("docs/testing.md").unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with("Planted bugs")).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ")).count() - 1;
    assert_eq!(rows, bugs.len(), "rows of the table of planted bugs, without its head");
    assert!(page.contains(&format!("| {} bugs |", bugs.len())), "the list of proofs has another number of bugs");
}

#[test]
fn files_and_functions_stay_small() {
    let known = ratchet::parse(&text_of("tests/house/ratchet.txt").unwrap()).unwrap();
    let now = ratchet::offenders(&tree::sources(&tree::root()).unwrap()).unwrap();
    expect_none("sizes only shrink", ratchet::violations(&now, &known));
}

#[test]
fn every_source_file_is_reached_by_a_target() {
    let root = tree::root();
    let mut packages = manifests::packages(&root).unwrap();
    packages.extend(manifests::packages_in(&root, &root.join("fuzz")).unwrap());
    let roots: Vec<String> = packages.into_iter().flat_map(|package| package.roots).collect();
    // What must not compile is compiled by a test that names the folder, and is in no target.
    let refused = ["base/derive/tests/refused/", "engine/flow/tests/refused/"];
    let mut sources = tree::sources(&root).unwrap();
    sources.retain(|file| !refused.iter().any(|folder| file.path.starts_with(folder)));
    expect_none("no dead file", reach::unreached(&sources, &roots).unwrap());
}

#[test]
fn every_feature_row_names_a_test_that_exists() {
    let rows =
        features::parse(&text_of("docs/features.md").unwrap()).unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")));
    assert!(!rows.is_empty(), "docs/features.md has no rows");
    expect_none("a feature is shown by a test", features::violations(&rows, &tree::sources(&tree::root()).unwrap()));
}

#[test]
fn every_kind_of_file_has_its_page_and_its_golden_file() {
    let kinds = formats::kinds(&text_of("base/src/checksum.rs").unwrap()).unwrap();
    expect_none("a format has a byte table", formats::without_page(&kinds, text_of));
    expect_none("a format has a golden file", formats::without_golden(&kinds, &golden_names()));
}

#[test]
fn every_relative_link_of_a_page_leads_somewhere() {
    let paths = tree::paths(&tree::root()).unwrap();
    let all = tree::texts(&tree::root(), &[".md"]).unwrap();
    expect_none("a link leads to a file and a heading", pages::broken_links(&all, &paths));
}

#[test]
fn every_listing_of_the_guide_is_run() {
    let mut guide = tree::texts(&tree::root(), &[".md"]).unwrap();
    guide.retain(|page| page.path.starts_with("docs/guide/"));
    assert!(guide.len() > 1, "only {} pages were read", guide.len());
    let module = text_of("bin/tantu/src/guide.rs").unwrap();
    expect_none("a page with code is a doc test", pages::untested(&guide, &module));
}

/// The names of everything in a folder called `golden`, anywhere in the workspace.
fn golden_names() -> Vec<String> {
    let paths = tree::paths(&tree::root()).expect("the workspace can be read");
    let golden = paths.iter().filter(|path| path.split('/').any(|part| part == "golden"));
    golden.filter_map(|path| path.rsplit('/').next().map(str::to_string)).collect()
}
