//! The files of the workspace, read from the disk.
//!
//! Build output and git's own folder are left out; every other file counts, committed or not, so
//! that a rule bites before the commit.

#![allow(clippy::disallowed_methods, reason = "a test of the yard reads the workspace; no engine code runs here")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A text file: its path relative to the workspace, with `/`, and what it says.
#[derive(Clone, Debug)]
pub struct TextFile {
    /// As in `engine/lsm/src/lib.rs`.
    pub path: String,
    /// Its whole text.
    pub text: String,
}

/// The workspace of the running test.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("invariant: this crate sits in tests/house")
}

/// Every file below `root`, relative to it, in order.
///
/// # Errors
/// A folder that cannot be read.
pub fn paths(root: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            let kind = entry.file_type()?;
            if kind.is_dir() && !is_outside(&entry.file_name().to_string_lossy()) {
                folders.push(path);
            } else if kind.is_file() {
                let relative = path.strip_prefix(root).expect("invariant: the walk starts at root");
                found.push(relative.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Every file below `root` whose name ends in one of `endings`, with its text, in order of path.
///
/// # Errors
/// A folder or a file that cannot be read, or a file that is not UTF-8.
pub fn texts(root: &Path, endings: &[&str]) -> io::Result<Vec<TextFile>> {
    let paths = paths(root)?.into_iter().filter(|path| endings.iter().any(|ending| path.ends_with(ending)));
    let read = |path: String| match fs::read_to_string(root.join(&path)) {
        Ok(text) => Ok(TextFile { path, text }),
        Err(e) => Err(io::Error::new(e.kind(), format!("{path}: {e}"))),
    };
    paths.map(read).collect()
}

/// The files of the workspace that are Rust source.
///
/// # Errors
/// As [`texts`].
pub fn sources(root: &Path) -> io::Result<Vec<TextFile>> {
    texts(root, &[".rs"])
}

/// Folders that hold nothing people wrote.
fn is_outside(name: &str) -> bool {
    name == ".git"
        || name == "target"
        || name.starts_with("target-")
        || name == "artifacts"
        || name == "proptest-regressions"
}
