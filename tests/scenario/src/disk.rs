//! What a process left on the disk, and what can happen to it there.

use std::fs;
use std::path::{Path, PathBuf};

/// Every plain file below a folder, in order.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder can be listed") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Copies a folder and all that is in it.
pub fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("invariant: listed below it"));
        fs::create_dir_all(target.parent().expect("invariant: a file has a folder")).expect("a folder can be made");
        fs::copy(&file, &target).expect("a file can be copied");
    }
}

/// Turns over one bit of a file.
pub fn flip(file: &Path, at: usize, bit: u8) {
    let mut bytes = fs::read(file).expect("a file can be read");
    bytes[at] ^= 1 << (bit % 8);
    fs::write(file, bytes).expect("a file can be written");
}

/// Bytes of a file up to the last one that is not zero: what was ever written, without what was only reserved.
pub fn written_size(file: &Path) -> usize {
    let bytes = fs::read(file).expect("a file can be read");
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
}
