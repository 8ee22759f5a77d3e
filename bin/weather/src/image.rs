//! All files of a simulated machine: names, content, and what of both is not durable yet.
//!
//! An image is what a power cut or a kill leaves behind and what a disk starts from. A clone shares its pages, so
//! trying every cut of a run is cheap.

use crate::chance::SimEntropy;
use crate::file::{Content, CutBias, SimFile};
use crate::mark::{self, Marks};
use crate::trace::digest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use tantu_base::limit::BLOCK_ALIGN;

/// A change of names that its directory has not been flushed after.
#[derive(Clone, Debug)]
struct NameChange {
    seq: u64,
    /// The directory whose flush makes it durable.
    dir: PathBuf,
    change: Change,
}

#[derive(Clone, Debug)]
enum Change {
    Link { path: PathBuf, inode: u64 },
    Move { from: PathBuf, to: PathBuf, inode: u64 },
    Unlink { path: PathBuf, inode: u64 },
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Change::Link { path, inode } => {
                names.insert(path.clone(), *inode);
            }
            Change::Move { from, to, inode } => {
                names.retain(|name, known| name != from || known != inode);
                names.insert(to.clone(), *inode);
            }
            Change::Unlink { path, inode } => names.retain(|name, known| name != path || known != inode),
        }
    }

    fn inode(&self) -> u64 {
        match self {
            Change::Link { inode, .. } | Change::Move { inode, .. } | Change::Unlink { inode, .. } => *inode,
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Image {
    inodes: BTreeMap<u64, SimFile>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    changes: Vec<NameChange>,
    dirs: BTreeSet<PathBuf>,
    next_inode: u64,
    /// Rises with every change, so that a flush knows what came before it.
    seq: u64,
}

/// A path without `.` parts. `..` has no meaning on a disk without links.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    let clean: PathBuf = parts.collect();
    assert!(!clean.components().any(|part| part == Component::ParentDir), "a path with `..`: {}", path.display());
    clean
}

fn parent(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

impl Image {
    /// The names of all files, sorted, with their lengths.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.names.iter().map(|(path, inode)| (path.clone(), self.inodes[inode].live().len())).collect()
    }

    /// All bytes of a file, if there is one.
    pub fn read(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let file = &self.inodes[self.names.get(&clean(path.as_ref()))?];
        let mut bytes = vec![0; file.live().len() as usize];
        file.live().read_at(0, &mut bytes);
        Some(bytes)
    }

    /// Replaces or makes a file, durably; its directory too.
    pub fn put(&mut self, path: impl AsRef<Path>, bytes: &[u8]) {
        let path = clean(path.as_ref());
        self.make_dir(&parent(&path));
        self.remove(&path);
        let inode = self.add_inode();
        self.inodes.get_mut(&inode).expect("invariant: just added").tamper(|content| content.write_at(0, bytes));
        self.names.insert(path.clone(), inode);
        self.durable_names.insert(path, inode);
    }

    /// Takes a file away, durably. Whether there was one.
    pub fn remove(&mut self, path: impl AsRef<Path>) -> bool {
        let path = clean(path.as_ref());
        self.durable_names.remove(&path);
        self.changes.retain(|change| !matches!(&change.change, Change::Link { path: at, .. } | Change::Move { to: at, .. } if *at == path));
        let found = self.names.remove(&path).is_some();
        self.collect(&BTreeSet::new());
        found
    }

    /// Cuts a file, durably.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn truncate(&mut self, path: impl AsRef<Path>, len: u64) {
        self.tamper(path.as_ref(), |content| content.set_len(len));
    }

    /// Flips one bit of a file, on the medium.
    ///
    /// # Panics
    /// If there is no such file or bit.
    pub fn flip_bit(&mut self, path: impl AsRef<Path>, offset: u64, bit: u8) {
        self.tamper(path.as_ref(), |content| {
            let mut byte = [0];
            assert_eq!(content.read_at(offset, &mut byte), 1, "no byte {offset} in the file");
            content.write_at(offset, &[byte[0] ^ (1 << bit)]);
        });
    }

    /// Overwrites bytes of a file, on the medium.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn overwrite(&mut self, path: impl AsRef<Path>, offset: u64, bytes: &[u8]) {
        self.tamper(path.as_ref(), |content| content.write_at(offset, bytes));
    }

    /// A hash of names, content and lengths as they are read.
    pub fn digest(&self) -> u64 {
        let one = |(path, _): &(PathBuf, u64)| {
            let bytes = self.read(path).unwrap_or_default();
            digest(path.as_os_str().as_encoded_bytes()).wrapping_add(digest(&bytes).rotate_left(17))
        };
        self.files().iter().map(one).fold(0, |hash, file| hash.rotate_left(9) ^ file)
    }

    /// Bytes of all files, in whole blocks.
    pub fn size(&self) -> u64 {
        self.inodes.values().map(|file| file.live().len().next_multiple_of(BLOCK_ALIGN as u64)).sum()
    }

    /// Whether a power cut could take anything away.
    pub fn is_settled(&self) -> bool {
        self.changes.is_empty() && self.inodes.values().all(SimFile::is_settled)
    }

    /// What a power cut leaves, when nothing is in flight.
    pub fn cut(&self, bias: CutBias, chance: &mut SimEntropy, marks: &Marks) -> Image {
        let mut left = self.clone();
        left.cut_names(bias, chance, marks);
        for file in left.inodes.values_mut() {
            file.cut(bias, chance, marks);
        }
        left.collect(&BTreeSet::new());
        left
    }

    /// Journals keep the order of changes of names, but nothing promises it: half of the cuts leave a prefix,
    /// the others any subset, each change whole.
    fn cut_names(&mut self, bias: CutBias, chance: &mut SimEntropy, marks: &Marks) {
        let ordered = chance.percent(50);
        let (mut names, mut lost) = (self.durable_names.clone(), 0u32);
        for change in std::mem::take(&mut self.changes) {
            let survives = chance.percent(bias.name_percent);
            if !survives || (ordered && lost > 0) {
                marks.hit(mark::LOST_NAME);
                lost += 1;
                continue;
            }
            if lost > 0 {
                marks.hit(mark::REORDERED_NAME);
            }
            change.change.apply(&mut names);
        }
        self.durable_names.clone_from(&names);
        self.names = names;
    }

    fn tamper(&mut self, path: &Path, change: impl FnOnce(&mut Content)) {
        let inode = self.names.get(&clean(path)).unwrap_or_else(|| panic!("no file {}", path.display()));
        self.inodes.get_mut(inode).expect("invariant: a name has a file").tamper(change);
    }

    fn add_inode(&mut self) -> u64 {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(inode, SimFile::default());
        inode
    }

    /// Drops files without any name, unless they are open.
    pub(crate) fn collect(&mut self, open: &BTreeSet<u64>) {
        let pending: BTreeSet<u64> = self.changes.iter().map(|change| change.change.inode()).collect();
        let named: BTreeSet<u64> = self.names.values().chain(self.durable_names.values()).copied().collect();
        self.inodes.retain(|inode, _| named.contains(inode) || pending.contains(inode) || open.contains(inode));
    }

    pub(crate) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    pub(crate) fn file(&self, inode: u64) -> &SimFile {
        &self.inodes[&inode]
    }

    pub(crate) fn file_mut(&mut self, inode: u64) -> &mut SimFile {
        self.inodes.get_mut(&inode).expect("invariant: an open file is kept")
    }

    pub(crate) fn inode(&self, path: &Path) -> Option<u64> {
        self.names.get(path).copied()
    }

    pub(crate) fn has_dir(&self, path: &Path) -> bool {
        path.as_os_str().is_empty() || path == Path::new("/") || self.dirs.contains(path)
    }

    pub(crate) fn has_parent(&self, path: &Path) -> bool {
        self.has_dir(&parent(path))
    }

    pub(crate) fn make_dir(&mut self, path: &Path) {
        let parts = path.ancestors().filter(|part| !part.as_os_str().is_empty());
        self.dirs.extend(parts.map(Path::to_path_buf));
    }

    pub(crate) fn create(&mut self, path: PathBuf) -> u64 {
        let inode = self.add_inode();
        self.change(parent(&path), Change::Link { path, inode });
        inode
    }

    pub(crate) fn rename(&mut self, from: PathBuf, to: PathBuf, inode: u64) {
        self.change(parent(&to), Change::Move { from, to, inode });
    }

    pub(crate) fn unlink(&mut self, path: PathBuf, inode: u64) {
        self.change(parent(&path), Change::Unlink { path, inode });
    }

    fn change(&mut self, dir: PathBuf, change: Change) {
        change.apply(&mut self.names);
        let seq = self.next_seq();
        self.changes.push(NameChange { seq, dir, change });
    }

    /// Makes the changes of names in a directory durable that came before `upto`.
    pub(crate) fn flush_dir(&mut self, dir: &Path, upto: u64) {
        let durable = &mut self.durable_names;
        self.changes.retain(|change| {
            let settled = change.dir == dir && change.seq < upto;
            if settled {
                change.change.apply(durable);
            }
            !settled
        });
    }

    pub(crate) fn list(&self, dir: &Path) -> Vec<(String, u64)> {
        let inside = self.names.iter().filter(|(path, _)| parent(path) == dir);
        let named = inside.filter_map(|(path, inode)| {
            Some((path.file_name()?.to_str()?.to_string(), self.inodes[inode].live().len()))
        });
        let mut names: Vec<(String, u64)> = named.collect();
        names.sort_unstable();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unflushed_name_may_vanish_and_a_flushed_one_stays() {
        let mut image = Image::default();
        image.make_dir(Path::new("d"));
        image.create("d/a".into());
        let upto = image.next_seq();
        image.create("d/b".into());
        image.flush_dir(Path::new("d"), upto);
        let mut seen = BTreeSet::new();
        for seed in 0..40 {
            let mut chance = SimEntropy::new(seed);
            let left = image.cut(CutBias::draw(&mut chance, 0), &mut chance, &Marks::default());
            assert!(left.is_settled());
            seen.insert(left.files().into_iter().map(|(path, _)| path.display().to_string()).collect::<Vec<_>>());
        }
        assert_eq!(seen, BTreeSet::from([vec!["d/a".to_string()], vec!["d/a".to_string(), "d/b".to_string()]]));
    }

    #[test]
    fn a_rename_leaves_the_old_or_the_new_file_never_none() {
        let mut image = Image::default();
        image.put("current", b"old");
        let fresh = image.create("fresh".into());
        image.file_mut(fresh).tamper(|content| content.write_at(0, b"new"));
        image.rename("fresh".into(), "current".into(), fresh);
        let mut seen = BTreeSet::new();
        for seed in 0..60 {
            let mut chance = SimEntropy::new(seed);
            let left = image.cut(CutBias::draw(&mut chance, 0), &mut chance, &Marks::default());
            seen.insert((left.read("current").unwrap(), left.read("fresh")));
        }
        assert!(seen.contains(&(b"old".to_vec(), None)) && seen.contains(&(b"new".to_vec(), None)), "{seen:?}");
        assert!(seen.iter().all(|(current, _)| current == b"old" || current == b"new"), "{seen:?}");
    }

    #[test]
    fn damage_is_done_to_one_file_of_one_copy() {
        let mut image = Image::default();
        image.put("d/a", &[1; 600]);
        image.put("d/b", &[2; 10]);
        let before = image.clone();
        image.flip_bit("d/a", 599, 7);
        image.truncate("d/b", 4);
        assert_eq!(image.read("d/a").unwrap()[599], 129);
        assert_eq!(image.files(), [("d/a".into(), 600), ("d/b".into(), 4)]);
        assert_ne!(image.digest(), before.digest());
        assert_eq!(before.read("d/a").unwrap(), [1; 600]);
        assert!(image.remove("d/a") && !image.remove("d/a"));
        assert_eq!(image.size(), 4096);
    }
}
