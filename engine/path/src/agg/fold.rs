//! Aggregating rows without a PState: what batch blocks and queries do, in one phase or in two.

use super::aggregator::Aggregator;
use super::group::Groups;
use super::leaf::Leaf;
use super::live::Form;
use super::number::Mean;
use crate::arg::{Arg, Args};
use crate::error::AggError;
use crate::schema::Schema;
use crate::store::VisitEntry;
use crate::walk::put_key_form;
use tantu_base::value::{Reader, validate};

/// Groups ahead of the one that is read of which it is looked up where they lie,
const AHEAD_FAR: usize = 16;
/// and of which keys and states are fetched: in the order of keys they are all over the memory.
const AHEAD_NEAR: usize = 8;
/// Bytes a fold holds at most if nobody says.
const SIZE_MAX: usize = 256 << 20;

/// Where a group's partial states go: its key, and the value forms one after the other.
pub type TakePartials<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> Result<(), AggError>;

/// Whether a fold can take more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// It can.
    Left,
    /// Its partial states should be drained first ([`Fold::drain`]).
    Full,
}

/// Some aggregators over rows, for all rows together or by group.
///
/// A group is named by the key forms of its keys, one after the other, and groups come out in that order: it does not
/// depend on how the rows came. Steps on scalars allocate nothing once the buffers have grown. After an error what the
/// fold holds means nothing.
///
/// ```
/// use tantu_base::value::{Value, encoded, encoded_key};
/// use tantu_path::{AggShape, Fold, Schema};
/// use std::ops::ControlFlow;
///
/// let AggShape::Leaf(sum) = AggShape::sum(Value::Null) else { unreachable!() };
/// // Two tasks aggregate their rows, a third combines what they have.
/// let mut tasks = [Fold::by_group(vec![(sum.clone(), Schema::I64)]), Fold::by_group(vec![(sum.clone(), Schema::I64)])];
/// for (task, word, n) in [(0, "a", 1i64), (1, "a", 2), (1, "b", 3), (0, "a", 4)] {
///     tasks[task].step_encoded(&encoded_key(word), &encoded(&n))?;
/// }
/// let mut all = Fold::by_group(vec![(sum, Schema::I64)]);
/// for task in &mut tasks {
///     task.drain(&mut |key, partials| all.combine(key, partials).map(drop))?;
/// }
/// let mut found = Vec::new();
/// all.finish(&mut |key, results| {
///     found.push((Value::decode_key(key).unwrap(), Value::decode(results).unwrap()));
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!(found, [("a".into(), 7i64.into()), ("b".into(), 3i64.into())]);
/// # Ok::<(), tantu_path::AggError>(())
/// ```
#[derive(Debug)]
pub struct Fold {
    parts: Vec<Part>,
    is_grouped: bool,
    /// Rows may wait: there are groups to look up, and no code of a user that somebody watches while it runs.
    waits: bool,
    groups: Groups,
    size_max: usize,
    steps: u64,
    order: Vec<u32>,
    queue: Queue,
    key: Vec<u8>,
    arg: Vec<u8>,
    out: Vec<u8>,
}

/// Rows, and partial states, that wait until they are a few: then the memory of all of their groups is waited for at once.
#[derive(Debug, Default)]
struct Queue {
    /// Keys and arguments.
    bytes: Vec<u8>,
    rows: Vec<Queued>,
}

#[derive(Clone, Copy, Debug)]
struct Queued {
    hash: u64,
    key_end: usize,
    end: usize,
    is_partial: bool,
}

/// Rows that wait, at most.
const QUEUE_COUNT_MAX: usize = 16;

/// One aggregator and what its result is to be.
#[derive(Debug)]
struct Part {
    leaf: Leaf,
    /// The schema of the result.
    schema: Schema,
    /// The schema of the state: what is checked of a 32-bit number at the end only, since its parts may be larger.
    wide: Schema,
}

impl Fold {
    /// Over all rows together. Without a row, each result is what its aggregator starts from.
    pub fn of_all(leaves: Vec<(Leaf, Schema)>) -> Fold {
        Fold::new(leaves, false)
    }

    /// By group. Without a row there is no group.
    pub fn by_group(leaves: Vec<(Leaf, Schema)>) -> Fold {
        Fold::new(leaves, true)
    }

    fn new(leaves: Vec<(Leaf, Schema)>, is_grouped: bool) -> Fold {
        let part = |(leaf, schema): (Leaf, Schema)| Part { leaf, wide: widened(&schema), schema };
        let parts: Vec<Part> = leaves.into_iter().map(part).collect();
        let groups = Groups::new(parts.iter().map(|part| part.leaf.aggregator().form_in_fold()).collect());
        let is_custom = |part: &Part| matches!(part.leaf.aggregator(), Aggregator::Custom(_));
        let waits = is_grouped && !parts.iter().any(is_custom);
        Fold {
            parts,
            is_grouped,
            waits,
            groups,
            size_max: SIZE_MAX,
            steps: 0,
            order: Vec::new(),
            queue: Queue::default(),
            key: Vec::new(),
            arg: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Sets how many bytes it may hold.
    pub fn limit(mut self, size_max: usize) -> Fold {
        self.size_max = size_max;
        self
    }

    pub(super) fn set_limit(&mut self, size_max: usize) {
        self.size_max = size_max;
    }

    /// Whether rows may be aggregated in two phases: every aggregator is a combiner.
    pub fn is_combiner(&self) -> bool {
        self.parts.iter().all(|part| part.leaf.aggregator().is_combiner())
    }

    /// Whether what it holds grows with every row.
    pub fn is_flush_required(&self) -> bool {
        self.parts.iter().any(|part| part.leaf.aggregator().is_flush_required())
    }

    /// Rows and partial states taken in since it was made or drained.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Bytes it holds, without what its buffers keep in reserve.
    pub fn size(&self) -> usize {
        self.groups.size() + self.queue.bytes.len()
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there was no row.
    pub fn is_empty(&self) -> bool {
        self.groups.len() == 0 && self.queue.rows.is_empty()
    }

    /// Forgets everything and keeps the buffers.
    pub fn clear(&mut self) {
        self.groups.clear();
        self.order.clear();
        self.queue.bytes.clear();
        self.queue.rows.clear();
        self.steps = 0;
    }

    /// Takes in one row: the keys of its group, and the arguments of the aggregators as they were given to them.
    pub fn step<A: Args + ?Sized>(&mut self, keys: &[Arg], args: &A) -> Result<Room, AggError> {
        self.flush()?;
        self.key.clear();
        for key in keys {
            put_key_form(key, args, &mut self.key);
        }
        let key = std::mem::take(&mut self.key);
        let group = self.group(&key);
        self.key = key;
        for at in 0..self.parts.len() {
            self.parts[at].leaf.read_args(args, &mut self.arg);
            let arg = std::mem::take(&mut self.arg);
            let stepped = self.take(group, at, &arg, self.parts[at].leaf.takes_partial());
            self.arg = arg;
            stepped?;
        }
        self.stepped()
    }

    /// Takes in one row as bytes: the key of its group, and the arguments of all aggregators in value form, one after
    /// the other.
    pub fn step_encoded(&mut self, key: &[u8], args: &[u8]) -> Result<Room, AggError> {
        self.flush()?;
        let group = self.group(key);
        self.step_group(group, args)?;
        self.stepped()
    }

    fn step_group(&mut self, group: usize, args: &[u8]) -> Result<(), AggError> {
        let mut reader = Reader::new(args);
        for at in 0..self.parts.len() {
            let aggregator = self.parts[at].leaf.aggregator();
            let start = reader.position();
            for _ in 0..aggregator.arg_count() {
                reader.skip().map_err(|source| aggregator.broken(source))?;
            }
            self.take(group, at, reader.since(start), false)?;
        }
        Ok(())
    }

    /// Takes in the partial states of a group of another fold of the same combiners, as [`Fold::drain`] gives them.
    pub fn combine(&mut self, key: &[u8], partials: &[u8]) -> Result<Room, AggError> {
        self.flush()?;
        let group = self.group(key);
        self.combine_group(group, partials)?;
        self.stepped()
    }

    fn combine_group(&mut self, group: usize, partials: &[u8]) -> Result<(), AggError> {
        let mut reader = Reader::new(partials);
        for at in 0..self.parts.len() {
            let aggregator = self.parts[at].leaf.aggregator();
            aggregator.check_combines()?;
            let partial = reader.skip().map_err(|source| aggregator.broken(source))?;
            self.take(group, at, partial, true)?;
        }
        Ok(())
    }

    /// Takes in a row as [`Fold::step_encoded`] does, or partial states as [`Fold::combine`] does, when a few of them are there or at
    /// [`Fold::flush`]. What is wrong with one of them may be said when a later one comes.
    pub fn queue(&mut self, key: &[u8], args: &[u8], is_partial: bool) -> Result<Room, AggError> {
        if !self.waits {
            return if is_partial { self.combine(key, args) } else { self.step_encoded(key, args) };
        }
        let hash = self.groups.hash(key);
        self.groups.expect_hash(hash);
        let Queue { bytes, rows } = &mut self.queue;
        bytes.extend_from_slice(key);
        let key_end = bytes.len();
        bytes.extend_from_slice(args);
        rows.push(Queued { hash, key_end, end: bytes.len(), is_partial });
        if rows.len() < QUEUE_COUNT_MAX { Ok(Room::Left) } else { self.flush() }
    }

    /// Takes in the rows that wait.
    pub fn flush(&mut self) -> Result<Room, AggError> {
        if self.queue.rows.is_empty() {
            return Ok(Room::Left);
        }
        let mut queue = std::mem::take(&mut self.queue);
        let mut candidates = [None; QUEUE_COUNT_MAX];
        for (candidate, row) in candidates.iter_mut().zip(&queue.rows) {
            *candidate = self.groups.candidate(row.hash);
            candidate.iter().for_each(|group| self.groups.expect(*group));
        }
        candidates.iter().flatten().for_each(|group| self.groups.expect_bytes(*group));
        let taken = self.take_queued(&queue);
        queue.bytes.clear();
        queue.rows.clear();
        self.queue = queue;
        taken
    }

    fn take_queued(&mut self, queue: &Queue) -> Result<Room, AggError> {
        let (mut start, mut room) = (0, Room::Left);
        for Queued { hash, key_end, end, is_partial } in queue.rows.iter().copied() {
            let (key, args) = (&queue.bytes[start..key_end], &queue.bytes[key_end..end]);
            let group = self.groups.at_hashed(hash, key);
            match is_partial {
                true => self.combine_group(group, args)?,
                false => self.step_group(group, args)?,
            }
            room = self.stepped()?;
            start = end;
        }
        Ok(room)
    }

    #[inline]
    fn group(&mut self, key: &[u8]) -> usize {
        // A fold over all rows has one group: nothing to look up.
        if !self.is_grouped && self.groups.len() == 1 { 0 } else { self.groups.at(key) }
    }

    #[inline]
    fn take(&mut self, group: usize, at: usize, arg: &[u8], is_partial: bool) -> Result<(), AggError> {
        let Part { leaf, wide, .. } = &self.parts[at];
        let aggregator = leaf.aggregator();
        let (groups, out) = (&mut self.groups, &mut self.out);
        if aggregator.is_numeric() {
            let number = aggregator.add(wide, groups.number(group, at), arg, is_partial)?;
            groups.set_number(group, at, number);
            return Ok(());
        }
        out.clear();
        if matches!(aggregator, Aggregator::Void) {
            return Err(aggregator.misplaced("can only stand in a compound shape"));
        }
        if aggregator.form() == Form::Plain {
            aggregator.plain_step(wide, groups.plain(group, at), arg, is_partial, out)?;
            groups.set_plain(group, at, out);
            return Ok(());
        }
        groups.with_live(group, at, |live| {
            if is_partial { live.combine(aggregator, wide, arg) } else { live.step(aggregator, wide, arg, out) }
        })
    }

    #[inline]
    fn stepped(&mut self) -> Result<Room, AggError> {
        self.steps += 1;
        if self.groups.size() <= self.size_max {
            return Ok(Room::Left);
        }
        if self.is_combiner() { Ok(Room::Full) } else { Err(AggError::Memory { limit: self.size_max }) }
    }

    /// Gives out every group with its partial states, in the order in which their first rows came, and forgets them.
    /// Nothing comes out without a row.
    ///
    /// # Errors
    /// What `visit` answers, and if an aggregator is no combiner.
    pub fn drain(&mut self, visit: TakePartials<'_>) -> Result<(), AggError> {
        self.flush()?;
        let mut partials = Vec::new();
        self.order = (0..self.groups.len() as u32).collect();
        for index in 0..self.groups.len() {
            partials.clear();
            self.partials(index, &mut partials)?;
            visit(self.key(index), &partials)?;
        }
        self.clear();
        Ok(())
    }

    /// Gives out every group with its results, in the order of the keys, until the visitor breaks.
    pub fn finish(&mut self, visit: VisitEntry<'_>) -> Result<(), AggError> {
        let mut results = Vec::new();
        self.flush()?;
        for index in 0..self.seal() {
            results.clear();
            self.results(index, &mut results)?;
            if visit(self.key(index), &results).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Ends the steps: from here on groups are numbered in the order of their keys. Answers how many there are; a fold
    /// of all rows has one even without a row.
    ///
    /// # Panics
    /// If rows wait: see [`Fold::flush`].
    pub fn seal(&mut self) -> usize {
        assert!(self.queue.rows.is_empty(), "rows are flushed before the steps end");
        self.order = self.groups.sorted();
        if self.is_grouped { self.order.len() } else { self.order.len().max(1) }
    }

    /// The key of a group of a sealed fold.
    pub fn key(&self, index: usize) -> &[u8] {
        self.order.get(index).map_or(&[], |group| self.groups.key(*group as usize))
    }

    /// Appends the results of a group of a sealed fold, one value form after the other.
    pub fn results(&mut self, index: usize, out: &mut Vec<u8>) -> Result<(), AggError> {
        self.expect(index);
        for at in 0..self.parts.len() {
            let start = out.len();
            match self.order.get(index) {
                Some(group) => self.result(*group as usize, at, out)?,
                None => self.empty_result(at, out)?,
            }
            let aggregator = self.parts[at].leaf.aggregator();
            validate(&out[start..]).map_err(|source| aggregator.broken(source))?;
        }
        Ok(())
    }

    /// Has fetched what the groups behind one will be asked for.
    #[inline]
    fn expect(&self, index: usize) {
        if let Some(group) = self.order.get(index + AHEAD_FAR) {
            self.groups.expect(*group as usize);
        }
        if let Some(group) = self.order.get(index + AHEAD_NEAR) {
            self.groups.expect_bytes(*group as usize);
        }
    }

    fn result(&mut self, group: usize, at: usize, out: &mut Vec<u8>) -> Result<(), AggError> {
        let Part { leaf, schema, .. } = &self.parts[at];
        let aggregator = leaf.aggregator();
        match aggregator {
            Aggregator::Average => {
                Mean::finish(self.groups.plain(group, at).expect("invariant: a group has a row"), out);
            }
            Aggregator::Count | Aggregator::Sum => {
                let state = self.groups.number(group, at).expect("invariant: a group has a row");
                state.zero().add(state, aggregator.name(), schema)?.put(out);
            }
            // Nothing was there to remove from.
            Aggregator::SetRemove => aggregator.init(schema, out),
            Aggregator::Limit(limit) => {
                self.groups.with_live(group, at, |live| live.cut(aggregator))?;
                let super::live::Live::List { count, bytes } = self.groups.live(group, at) else {
                    unreachable!("a limit keeps a list")
                };
                limit.finish(bytes, *count, out).map_err(|source| aggregator.broken(source))?;
            }
            _ if aggregator.form() == Form::Plain => {
                out.extend_from_slice(self.groups.plain(group, at).expect("invariant: a group has a row"));
            }
            _ => {
                self.groups.with_live(group, at, |live| live.cut(aggregator))?;
                self.groups.live(group, at).put_value(out);
            }
        }
        Ok(())
    }

    fn empty_result(&self, at: usize, out: &mut Vec<u8>) -> Result<(), AggError> {
        let Part { leaf, schema, .. } = &self.parts[at];
        if *leaf.aggregator() == Aggregator::Void {
            return Err(leaf.aggregator().misplaced("can only stand in a compound shape"));
        }
        leaf.aggregator().init(schema, out);
        Ok(())
    }

    /// Appends the partial states of a group of a sealed fold, one value form after the other.
    pub fn partials(&self, index: usize, out: &mut Vec<u8>) -> Result<(), AggError> {
        let Some(group) = self.order.get(index) else { return Ok(()) };
        for (at, part) in self.parts.iter().enumerate() {
            part.leaf.aggregator().check_combines()?;
            let group = *group as usize;
            match part.leaf.aggregator().form_in_fold() {
                Form::Plain => {
                    out.extend_from_slice(self.groups.plain(group, at).expect("invariant: a group has a row"))
                }
                Form::Number => self.groups.number(group, at).expect("invariant: a group has a row").put(out),
                Form::List | Form::Set | Form::Map => self.groups.live(group, at).put_value(out),
            }
        }
        Ok(())
    }
}

fn widened(schema: &Schema) -> Schema {
    match schema {
        Schema::I32 => Schema::I64,
        Schema::U32 => Schema::U64,
        Schema::Map(key, value) => Schema::Map(key.clone(), Box::new(widened(value))),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agg::AggShape;
    use tantu_base::value::{Value, encoded, encoded_key};

    fn fold() -> Fold {
        let leaf = |aggregator, args| match AggShape::leaf(aggregator, args) {
            AggShape::Leaf(leaf) => leaf,
            _ => unreachable!("it is one"),
        };
        let one = || vec![Arg::Const(Value::Null)];
        Fold::by_group(vec![
            (leaf(Aggregator::Count, vec![]), Schema::I64),
            (leaf(Aggregator::Sum, one()), Schema::I64),
            (leaf(Aggregator::Last, one()), Schema::I64),
            (leaf(Aggregator::List, one()), Schema::list(Schema::I64)),
        ])
    }

    fn finished(mut fold: Fold) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = Vec::new();
        let mut visit = |key: &[u8], results: &[u8]| {
            all.push((key.to_vec(), results.to_vec()));
            std::ops::ControlFlow::Continue(())
        };
        fold.finish(&mut visit).expect("it fits");
        all
    }

    #[test]
    fn rows_that_wait_are_taken_in_as_they_came_among_others() {
        for count in [0i64, 1, 15, 16, 17, 700] {
            let (mut plain, mut waiting, mut partial) = (fold(), fold(), fold());
            for n in 0..count {
                let (key, arg) = (encoded_key(&(n * n % 37)), encoded(&n));
                let args = [&arg[..], &arg, &arg].concat();
                plain.step_encoded(&key, &args).expect("it fits");
                // Every so often one does not wait: those before it do not either.
                match n % 100 {
                    99 => waiting.step_encoded(&key, &args),
                    _ => waiting.queue(&key, &args, false),
                }
                .expect("it fits");
            }
            assert_eq!((waiting.is_empty(), waiting.len() > 36), (count == 0, false));
            let expected = finished(plain);
            waiting.drain(&mut |key, partials| partial.queue(key, partials, true).map(drop)).expect("it fits");
            assert_eq!(waiting.steps(), 0);
            assert_eq!(finished(partial), expected, "{count} rows");
        }
    }

    #[test]
    fn a_row_that_cannot_be_taken_in_is_told_when_those_that_wait_are() {
        let mut fold = fold();
        let (key, most) = (encoded_key(&1i64), encoded(&i64::MAX));
        let args = [&most[..], &most, &most].concat();
        assert_eq!((fold.queue(&key, &args, false), fold.queue(&key, &args, false)), (Ok(Room::Left), Ok(Room::Left)));
        assert!(fold.flush().is_err(), "the sum is too large");
    }
}
