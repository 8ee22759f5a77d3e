//! Rows in one piece of memory, and which of two such tables go together by their keys.
//!
//! Joins sort: both sides by key, then one walk finds the groups. The rows of a group are all pairs of its left and right
//! rows; they are numbered without being made, so that any page can be read at any time.

use crate::table::JoinKind;
use std::cmp::Ordering;
use std::ops::Range;
use tantu_base::value::Value;

#[derive(Clone, Copy, Debug)]
struct Row {
    start: usize,
    key_len: u32,
    len: u32,
}

/// Rows of keys and the rest, both in value form.
#[derive(Debug, Default)]
pub(crate) struct RowTable {
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

impl RowTable {
    pub(crate) fn push(&mut self, keys: &[u8], rest: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(keys);
        self.bytes.extend_from_slice(rest);
        let len = |len: usize| u32::try_from(len).expect("invariant: a letter is shorter than 4 GiB");
        self.rows.push(Row { start, key_len: len(keys.len()), len: len(keys.len() + rest.len()) });
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes it holds.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.rows.len() * size_of::<Row>()
    }

    fn key(&self, at: usize) -> &[u8] {
        key_of(&self.bytes, &self.rows[at])
    }

    /// A row without its keys.
    pub(crate) fn rest(&self, at: usize) -> &[u8] {
        let Row { start, key_len, len } = self.rows[at];
        &self.bytes[start..][key_len as usize..len as usize]
    }

    /// Puts the rows in the order of their keys; those with equal keys stay as they came.
    pub(crate) fn sort(&mut self) {
        let bytes = &self.bytes;
        self.rows.sort_by(|a, b| key_of(bytes, a).cmp(key_of(bytes, b)));
    }

    /// The rows from here on that have the key of the first of them.
    fn group(&self, from: usize) -> Range<usize> {
        let more = (from..self.len()).take_while(|at| self.key(*at) == self.key(from));
        from..from + more.count()
    }
}

fn key_of<'b>(bytes: &'b [u8], row: &Row) -> &'b [u8] {
    &bytes[row.start..][..row.key_len as usize]
}

/// Rows with one key: those of either side, and how many joined rows there are up to their end.
#[derive(Clone, Debug)]
struct Group {
    left: Range<usize>,
    right: Range<usize>,
    end: u64,
}

/// The joined rows of two sorted tables.
#[derive(Debug)]
pub(crate) struct JoinedRows {
    groups: Vec<Group>,
}

impl JoinedRows {
    pub(crate) fn of(kind: JoinKind, left: &RowTable, right: &RowTable) -> JoinedRows {
        let mut groups = Vec::new();
        let (mut l, mut r, mut end) = (0, 0, 0);
        while l < left.len() || r < right.len() {
            let order = match (l < left.len(), r < right.len()) {
                (true, true) => left.key(l).cmp(right.key(r)),
                (true, false) => Ordering::Less,
                (false, _) => Ordering::Greater,
            };
            let lefts = if order == Ordering::Greater { l..l } else { left.group(l) };
            let rights = if order == Ordering::Less { r..r } else { right.group(r) };
            (l, r) = (lefts.end, rights.end);
            let wanted = match order {
                Ordering::Equal => true,
                Ordering::Less => kind != JoinKind::Inner,
                Ordering::Greater => kind == JoinKind::Full,
            };
            if wanted {
                end += lefts.len().max(1) as u64 * rights.len().max(1) as u64;
                groups.push(Group { left: lefts, right: rights, end });
            }
        }
        JoinedRows { groups }
    }

    pub(crate) fn len(&self) -> u64 {
        self.groups.last().map_or(0, |group| group.end)
    }

    pub(crate) fn size(&self) -> usize {
        self.groups.len() * size_of::<Group>()
    }

    /// Appends the row of this number: the keys, then the rest of either side, or nulls in its place.
    pub(crate) fn put(&self, at: u64, left: (&RowTable, usize), right: (&RowTable, usize), row: &mut Vec<u8>) {
        let index = self.groups.partition_point(|group| group.end <= at);
        let group = &self.groups[index];
        let begin = index.checked_sub(1).map_or(0, |before| self.groups[before].end);
        let width = group.right.len().max(1) as u64;
        let (l, r) = ((at - begin) / width, (at - begin) % width);
        let key = match group.left.is_empty() {
            false => left.0.key(group.left.start),
            true => right.0.key(group.right.start),
        };
        row.extend_from_slice(key);
        for ((table, width), rows, at) in [(left, &group.left, l), (right, &group.right, r)] {
            match rows.is_empty() {
                false => row.extend_from_slice(table.rest(rows.start + at as usize)),
                true => (0..width).for_each(|_| Value::Null.encode(row)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_base::value::encoded;

    fn table(rows: &[(i64, i64)]) -> RowTable {
        let mut table = RowTable::default();
        rows.iter().for_each(|(key, rest)| table.push(&encoded(key), &encoded(rest)));
        table.sort();
        table
    }

    fn joined(kind: JoinKind, left: &RowTable, right: &RowTable) -> Vec<Vec<u8>> {
        let joined = JoinedRows::of(kind, left, right);
        let row = |at| {
            let mut row = Vec::new();
            joined.put(at, (left, 1), (right, 1), &mut row);
            row
        };
        (0..joined.len()).map(row).collect()
    }

    #[test]
    fn rows_with_equal_keys_are_paired_and_a_missing_side_is_null() {
        let (left, right) = (table(&[(2, 20), (1, 10), (2, 21)]), table(&[(3, 300), (2, 200), (2, 201)]));
        let null = Value::Null;
        let row = |key: i64, left: Value, right: Value| [encoded(&key), encoded(&left), encoded(&right)].concat();
        let pairs: Vec<_> = [(20, 200), (20, 201), (21, 200), (21, 201)]
            .into_iter()
            .map(|(left, right)| row(2, Value::I64(left), Value::I64(right)))
            .collect();
        assert_eq!(joined(JoinKind::Inner, &left, &right), pairs);
        let mut with_left = vec![row(1, Value::I64(10), null.clone())];
        with_left.extend(pairs);
        assert_eq!(joined(JoinKind::Left, &left, &right), with_left);
        with_left.push(row(3, null, Value::I64(300)));
        assert_eq!(joined(JoinKind::Full, &left, &right), with_left);
        assert!(joined(JoinKind::Inner, &left, &table(&[])).is_empty());
    }
}
