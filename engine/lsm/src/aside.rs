//! A tree for what is kept aside for a while: it begins without a file, and everything in it goes at once.

use crate::error::OpenError;
use crate::job::JobOutput;
use crate::manifest::Manifest;
use crate::option::TreeOptions;
use crate::tree::Tree;
use std::path::Path;
use std::rc::Rc;
use tantu_base::door::{Disk, DiskOp, DiskReply, call};
use tantu_base::id::Version;

impl Tree {
    /// As [`Tree::open`], but a tree that has no tables yet gets no manifest either: the first one comes with its first tables.
    /// `identity` goes into the checksums of a new tree's tables, whose numbers begin at `first_table`. Blocking.
    ///
    /// # Errors
    /// [`OpenError`] naming the file.
    pub fn open_aside(
        disk: &mut dyn Disk,
        dir: &Path,
        owner: u32,
        (identity, first_table): (u64, u64),
        options: TreeOptions,
    ) -> Result<Tree, OpenError> {
        options.check();
        call(disk, DiskOp::MakeDir { path: dir.to_path_buf() })?;
        let DiskReply::Names(names) = call(disk, DiskOp::List { path: dir.to_path_buf() })? else {
            unreachable!("a list answers with names")
        };
        // A crash may have kept the first manifest from being written whole: then nothing counts that it names.
        let new = Manifest { seq: 0, identity, flushed: Version(0), next_table: first_table, levels: Vec::new() };
        let manifest = Manifest::read(disk, dir, &names)?.unwrap_or(new);
        Tree::of_manifest(disk, dir, owner, (manifest, &names), options)
    }

    /// Has everything in it go over the next steps, unless something is applied before: files and memory.
    pub fn clear(&mut self) {
        self.clearing = true;
    }

    /// Whether it has nothing, in memory or on the disk.
    pub fn is_clear(&self) -> bool {
        self.tables().next().is_none() && self.memtable.version == Version(0) && self.frozen.is_empty()
    }

    /// Whether it has nothing, and nothing of it is under way.
    pub fn is_idle(&self) -> bool {
        self.is_clear() && !self.clearing && !self.is_busy() && self.shedding.is_empty()
    }

    /// Its options.
    pub fn options(&self) -> &TreeOptions {
        &self.options
    }

    /// What goes into the checksums of its tables.
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// Lets everything go when no job works on it.
    pub(crate) fn step_clear(&mut self, disk: &mut dyn Disk) {
        let is_idle = self.flush.is_none() && self.merge.is_none() && self.ingest.is_none() && self.may_install();
        if !self.clearing || !is_idle {
            return;
        }
        self.clearing = false;
        let frozen = std::mem::take(&mut self.frozen).into_iter().filter_map(Rc::into_inner);
        self.shedding.extend(frozen);
        self.shedding.push_back(std::mem::take(&mut self.memtable));
        let tables: Vec<u64> = self.tables().map(|table| table.number).collect();
        if !tables.is_empty() {
            self.begin_install(JobOutput::cleared(self.applied, tables), disk);
        }
    }
}
