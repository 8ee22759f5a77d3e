//! A walk over a memtable from the last key to the first.

use super::art::Art;
use super::{Memtable, Revision, Walk};
use tantu_base::id::Version;

/// As [`Walk`], backwards.
#[derive(Debug, Default)]
pub(crate) struct BackWalk(Walk);

impl BackWalk {
    /// Stands at the last key below `to`.
    pub(crate) fn seek_before(&mut self, memtable: &Memtable, to: &[u8]) {
        memtable.art.seek_before(to, &memtable.keys(), &mut self.0.ahead);
        self.0.begin(memtable, Art::prev);
    }

    /// The key it stands at; none before the first.
    pub(crate) fn key<'a>(&self, memtable: &'a Memtable) -> Option<&'a [u8]> {
        self.0.key(memtable)
    }

    /// The newest revision of its key a reader at `at` sees.
    pub(crate) fn revision<'a>(&self, memtable: &'a Memtable, at: Version) -> Option<Revision<'a>> {
        self.0.revision(memtable, at)
    }

    /// Moves to the key before.
    pub(crate) fn prev(&mut self, memtable: &Memtable) {
        self.0.step(memtable, Art::prev);
    }
}
