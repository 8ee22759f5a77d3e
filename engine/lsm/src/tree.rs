//! The tree: what callers see.

use crate::{BlockCache, Budget, Fault, Need, OpenError, Stop, TreeOptions};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use tantu_base::door::{Disk, DiskDone, DiskError, DiskOp, Entropy, call};
use tantu_base::id::Version;

/// One change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Write<'a> {
    /// The key has this value from now on.
    Put {
        /// The key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// The key has no value from now on.
    Delete {
        /// The key.
        key: &'a [u8],
    },
    /// No key in the range has a value from now on.
    DeleteRange {
        /// First key.
        from: &'a [u8],
        /// End, exclusive.
        to: &'a [u8],
    },
}

/// What a disk completion meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Completed {
    /// Blocks that readers wait for arrived: let them read again.
    BlocksArrived,
    /// Background work can go on: call [`Tree::step`].
    Progress,
}

/// Ordered bytes with versions, one tree per task.
#[derive(Debug)]
pub struct Tree {
    owner: u32,
    dir: PathBuf,
    applied: Version,
    points: BTreeMap<(Vec<u8>, Reverse<Version>), Option<Vec<u8>>>,
    size: usize,
}

impl Tree {
    /// Opens the tree in a directory, which is made if it is missing. Blocking.
    ///
    /// # Errors
    /// The disk's refusal, or what is damaged.
    pub fn open(
        disk: &mut dyn Disk,
        dir: &Path,
        owner: u32,
        entropy: &mut dyn Entropy,
        options: TreeOptions,
    ) -> Result<Tree, OpenError> {
        options.check();
        let _seed = entropy.next_u64();
        call(
            disk,
            DiskOp::MakeDir {
                path: dir.to_path_buf(),
            },
        )?;
        Ok(Tree {
            owner,
            dir: dir.to_path_buf(),
            applied: Version(0),
            points: BTreeMap::new(),
            size: 0,
        })
    }

    /// The directory of its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Everything up to and including this version is in durable tables; 0 if nothing is.
    pub fn flushed(&self) -> Version {
        Version(0)
    }

    /// The newest version applied.
    pub fn applied(&self) -> Version {
        self.applied
    }

    /// Applies the committed writes of one version, in order. The only way in.
    ///
    /// # Panics
    /// If the version is not above every version applied before, or a key or value is longer than its limit.
    pub fn apply<'a>(&mut self, version: Version, writes: impl IntoIterator<Item = Write<'a>>) {
        assert!(version > self.applied, "versions ascend");
        self.applied = version;
        for write in writes {
            match write {
                Write::Put { key, value } => {
                    self.size += key.len() + value.len() + 64;
                    self.points
                        .insert((key.to_vec(), Reverse(version)), Some(value.to_vec()));
                }
                Write::Delete { key } => {
                    self.points.insert((key.to_vec(), Reverse(version)), None);
                }
                Write::DeleteRange { from, to } => {
                    let mut hidden: Vec<Vec<u8>> = Vec::new();
                    for (key, _) in self
                        .points
                        .range((from.to_vec(), Reverse(Version(u64::MAX)))..)
                        .map(|(k, v)| (&k.0, v))
                    {
                        if key.as_slice() >= to {
                            break;
                        }
                        hidden.push(key.clone());
                    }
                    for key in hidden {
                        self.points.insert((key, Reverse(version)), None);
                    }
                }
            }
        }
    }

    /// Reads a key at a version: `true` and its value in `out` (which is cleared first), or `false`.
    ///
    /// # Errors
    /// [`Stop`] when a block is missing or damaged.
    pub fn get(
        &self,
        _cache: &BlockCache,
        key: &[u8],
        at: Version,
        out: &mut Vec<u8>,
    ) -> Result<bool, Stop> {
        out.clear();
        let found = self.points.range((key.to_vec(), Reverse(at))..).next();
        match found {
            Some((found, Some(value))) if found.0 == key => {
                out.extend_from_slice(value);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Visits the pairs of `from..to` at a version, in key order, until the visitor breaks.
    ///
    /// # Errors
    /// [`Stop`] when a block is missing or damaged. The visitor has then seen a prefix: fetch, and scan again
    /// from where it got.
    pub fn scan(
        &self,
        _cache: &BlockCache,
        from: &[u8],
        to: &[u8],
        at: Version,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Stop> {
        let mut last: Option<&[u8]> = None;
        for ((key, version), value) in self
            .points
            .range((from.to_vec(), Reverse(Version(u64::MAX)))..)
        {
            if key.as_slice() >= to {
                break;
            }
            if version.0 > at || last == Some(key) {
                continue;
            }
            last = Some(key);
            if let Some(value) = value
                && visit(key, value).is_break()
            {
                break;
            }
        }
        Ok(())
    }

    /// Starts reading blocks, those not under way already. `true`: something arrives later, wait for
    /// [`Completed::BlocksArrived`]. `false`: the tables changed meanwhile, read again at once.
    #[must_use]
    pub fn fetch(&mut self, _need: &Need, _disk: &mut dyn Disk) -> bool {
        false
    }

    /// Takes a completion of one of this tree's requests.
    ///
    /// # Errors
    /// What the disk refused, or what arrived damaged.
    pub fn complete(
        &mut self,
        done: DiskDone,
        _cache: &mut BlockCache,
        _disk: &mut dyn Disk,
    ) -> Result<Completed, Fault> {
        assert_eq!(
            done.token.owner, self.owner,
            "a completion of somebody else"
        );
        Ok(Completed::Progress)
    }

    /// Bytes of memory it holds, blocks in the cache not counted.
    pub fn memory_size(&self) -> usize {
        self.size
    }

    /// Freezes what was applied so far, to be flushed by the next steps.
    pub fn seal(&mut self) {}

    /// Advances flush and compaction by one slice. `true`: there is more to do now; `false`: nothing to do
    /// before the next completion or [`Tree::seal`].
    pub fn step(&mut self, _cache: &mut BlockCache, _disk: &mut dyn Disk, _budget: Budget) -> bool {
        false
    }

    /// The oldest version a reader may still ask for; it never falls. Older versions are forgotten as tables
    /// and memtables are rewritten.
    pub fn retain_from(&mut self, _floor: Version) {}

    /// Why background work halted, if it did.
    pub fn halted(&self) -> Option<&DiskError> {
        None
    }

    /// Lets halted background work try again.
    pub fn resume(&mut self) {}

    /// Flushes everything and closes the files. Blocking; nothing else may be outstanding on the disk.
    ///
    /// # Errors
    /// What the disk refused.
    pub fn close(self, _cache: &mut BlockCache, _disk: &mut dyn Disk) -> Result<(), Fault> {
        Ok(())
    }
}
