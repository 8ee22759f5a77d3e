//! The tables of a batch block on one task: rows that wait for the barrier behind which they are read.
//!
//! A table is what aggregators made of rows, one side of a join, or rows that were materialized. Rows come as bytes: keys
//! and the rest, each with its length before it. They are read in pages, so that an event that goes through many holds
//! few at a time; a page is named by the number of its first row, so a run that parks between two pages goes on.

use crate::fold::{FoldDef, RowFold};
use crate::plan::Plan;
use crate::row_table::{JoinedRows, RowTable};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use tantu_base::fixed::{FixedReader, put_sized};
use tantu_base::id::TaskId;
use tantu_base::value::{Reader, partition_of_key};
use tantu_path::{AggError, Room};

/// Rows of one page, at most.
const PAGE_ROW_COUNT: u64 = 256;
/// A page that has so many bytes ends.
const PAGE_SIZE: usize = 64 << 10;

/// What a table of a plan holds.
#[derive(Clone, Debug)]
pub enum TableDef {
    /// What aggregators make of rows.
    Fold(FoldDef),
    /// Rows as they are.
    Rows {
        /// They stay when they have been read: later blocks read them again.
        keep: bool,
    },
}

/// Which rows of two tables go together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JoinKind {
    /// Those with equal keys.
    Inner,
    /// The same, and those of the left table whose key the right one does not have.
    Left,
    /// The same, and those of the right table whose key the left one does not have.
    Full,
}

/// A join of two tables of a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JoinDef {
    /// The left table.
    pub left: usize,
    /// The right table.
    pub right: usize,
    /// What to do with rows that find no partner.
    pub kind: JoinKind,
    /// How many values the rest of a row has on either side: as many nulls stand in for a missing one.
    pub widths: (usize, usize),
}

/// What a stage reads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RowsOf {
    /// The groups of a table of aggregators: keys, then results.
    Fold(usize),
    /// A join: the keys, the rest of the left row, the rest of the right row.
    Join(usize),
    /// The rows of a table: the rest of each.
    Table(usize),
}

/// Why rows cannot be taken in or read.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum BatchError {
    /// An aggregator failed.
    #[error(transparent)]
    Agg(#[from] AggError),
    /// There are more than a task holds.
    #[error(
        "the rows of a batch block take more than {limit} bytes on a task: group or filter earlier (a lower \
         `max_records` makes later microbatches smaller, not one that has begun)"
    )]
    Memory {
        /// The limit in bytes.
        limit: usize,
    },
}

/// A visitor of rows in value form.
pub type VisitRow<'v> = &'v mut dyn FnMut(&[u8]) -> ControlFlow<()>;

#[derive(Debug)]
enum Table {
    Fold {
        fold: Box<RowFold>,
        /// How many groups there are, once the first page is read.
        sealed: Option<usize>,
    },
    Rows(RowTable),
}

/// See the module: the tables of one root.
#[derive(Debug)]
pub struct Tables {
    tables: BTreeMap<usize, Table>,
    joined: BTreeMap<usize, JoinedRows>,
    size_max: usize,
}

/// Appends a row to others, as [`Tables::take`] reads them.
pub fn put_row(rows: &mut Vec<u8>, keys: &[u8], rest: &[u8]) {
    put_sized(rows, keys);
    put_sized(rows, rest);
}

/// The task, of `count`, that the keys of a group lead to: value forms, one after the other. `key` is a buffer.
///
/// # Panics
/// If they are not what a run encoded.
pub fn task_of_keys(keys: &[u8], count: u32, key: &mut Vec<u8>) -> TaskId {
    key.clear();
    let mut reader = Reader::new(keys);
    while !reader.is_empty() {
        reader.to_key_form(key).expect("invariant: a run encoded them");
    }
    TaskId(partition_of_key(key, count))
}

impl Tables {
    /// None yet; together they hold at most so many bytes.
    pub fn new(size_max: usize) -> Tables {
        Tables { tables: BTreeMap::new(), joined: BTreeMap::new(), size_max }
    }

    /// Bytes they hold.
    pub fn size(&self) -> usize {
        let of_table = |table: &Table| match table {
            Table::Fold { fold, .. } => fold.size(),
            Table::Rows(rows) => rows.size(),
        };
        let joined: usize = self.joined.values().map(JoinedRows::size).sum();
        self.tables.values().map(of_table).sum::<usize>() + joined
    }

    /// Takes rows into a table: partial states of aggregators, or what [`crate::Host::fold`] and
    /// [`crate::Host::row`] were given.
    ///
    /// # Errors
    /// [`BatchError`]: what the tables hold means nothing then.
    pub fn take(&mut self, plan: &Plan, table: usize, is_partial: bool, rows: &[u8]) -> Result<(), BatchError> {
        let limit = self.size_max;
        let mut reader = FixedReader::new(rows);
        let into = self.tables.entry(table).or_insert_with(|| empty(plan, table, limit));
        while !reader.is_empty() {
            let mut part = || reader.sized().expect("invariant: a task thread encoded it");
            let (keys, rest) = (part(), part());
            let is_full = match into {
                Table::Fold { fold, .. } => fold.queue(keys, rest, is_partial)? == Room::Full,
                Table::Rows(into) => {
                    into.push(keys, rest);
                    into.size() > limit
                }
            };
            if is_full {
                return Err(BatchError::Memory { limit });
            }
        }
        if let Table::Fold { fold, .. } = into
            && fold.flush()? == Room::Full
        {
            return Err(BatchError::Memory { limit });
        }
        if self.tables.len() > 1 && self.size() > limit {
            return Err(BatchError::Memory { limit });
        }
        Ok(())
    }

    /// Visits a page of rows from the one of this number on; answers where the next page starts, if there is one. Rows
    /// come in the order of their keys.
    ///
    /// # Errors
    /// What an aggregator answers.
    pub fn page(&mut self, plan: &Plan, of: RowsOf, from: u64, visit: VisitRow<'_>) -> Result<Option<u64>, BatchError> {
        let mut row = Vec::new();
        let (mut at, mut size) = (from, 0);
        let count = self.count(plan, of)?;
        while at < count {
            if at - from == PAGE_ROW_COUNT || size > PAGE_SIZE {
                return Ok(Some(at));
            }
            row.clear();
            self.put(plan, of, at, &mut row)?;
            size += row.len();
            at += 1;
            if visit(&row).is_break() {
                break;
            }
        }
        Ok(None)
    }

    /// How many rows there are to read. From here on none are taken in.
    fn count(&mut self, plan: &Plan, of: RowsOf) -> Result<u64, BatchError> {
        Ok(match of {
            RowsOf::Fold(table) => {
                let limit = self.size_max;
                match self.tables.entry(table).or_insert_with(|| empty(plan, table, limit)) {
                    Table::Fold { sealed: Some(count), .. } => *count as u64,
                    Table::Fold { fold, sealed } => *sealed.insert(fold.seal()?) as u64,
                    Table::Rows(_) => 0,
                }
            }
            RowsOf::Table(table) => self.rows(table).map_or(0, |rows| rows.len() as u64),
            RowsOf::Join(join) => {
                if !self.joined.contains_key(&join) {
                    let def = plan.joins()[join];
                    for table in [def.left, def.right] {
                        match self.tables.entry(table).or_insert_with(|| Table::Rows(RowTable::default())) {
                            Table::Rows(rows) => rows.sort(),
                            Table::Fold { .. } => unreachable!("the sides of a join are rows"),
                        }
                    }
                    let joined = JoinedRows::of(def.kind, self.side(def.left), self.side(def.right));
                    self.joined.insert(join, joined);
                }
                self.joined[&join].len()
            }
        })
    }

    fn rows(&self, table: usize) -> Option<&RowTable> {
        match self.tables.get(&table)? {
            Table::Rows(rows) => Some(rows),
            Table::Fold { .. } => None,
        }
    }

    fn side(&self, table: usize) -> &RowTable {
        self.rows(table).expect("invariant: both sides are there when a join is read")
    }

    /// Appends the row of this number.
    fn put(&mut self, plan: &Plan, of: RowsOf, at: u64, row: &mut Vec<u8>) -> Result<(), BatchError> {
        match of {
            RowsOf::Fold(table) => {
                if let Some(Table::Fold { fold, .. }) = self.tables.get_mut(&table) {
                    fold.put_row(at as usize, row)?;
                }
            }
            RowsOf::Table(table) => row.extend_from_slice(self.side(table).rest(at as usize)),
            RowsOf::Join(join) => {
                let def = plan.joins()[join];
                let (left, right) = (self.side(def.left), self.side(def.right));
                self.joined[&join].put(at, (left, def.widths.0), (right, def.widths.1), row);
            }
        }
        Ok(())
    }

    /// What has been read to its end goes, unless it is to be read again.
    pub fn forget(&mut self, plan: &Plan, of: RowsOf) {
        let mut drop_table = |table: usize| {
            if !matches!(plan.tables()[table], TableDef::Rows { keep: true }) {
                self.tables.remove(&table);
            }
        };
        match of {
            RowsOf::Fold(table) | RowsOf::Table(table) => drop_table(table),
            RowsOf::Join(join) => {
                let JoinDef { left, right, .. } = plan.joins()[join];
                [left, right].into_iter().for_each(drop_table);
                self.joined.remove(&join);
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }
}

fn empty(plan: &Plan, table: usize, limit: usize) -> Table {
    match &plan.tables()[table] {
        TableDef::Fold(def) => Table::Fold { fold: Box::new(def.fold(limit)), sealed: None },
        TableDef::Rows { .. } => Table::Rows(RowTable::default()),
    }
}
