//! What a task has of a microbatch topology: its sources' progress, and the attempt under way.

use crate::event::{Event, EventQueue};
use crate::jobs::Starting;
use crate::limit::{ROWS_HELD_SIZE_MAX, THIN_LOOK_COUNT};
use crate::micro::calls::CallQueue;
use crate::micro::record::Ranges;
use crate::slot::Hold;
use crate::tables::RowsOut;
use tantu_base::id::{Epoch, ObjectId, Offset, RunId, TaskId};
use tantu_flow::{RowsOf, Run};
use tantu_net::letter::Root;

/// A source on a task.
#[derive(Debug)]
pub(crate) struct PartSource {
    /// Place of the depot in the module.
    pub(crate) depot: usize,
    /// Durable id of its progress.
    pub(crate) object: ObjectId,
    /// Whether the depot has a partition here.
    pub(crate) is_here: bool,
    /// Records below are in published microbatches.
    pub(crate) progress: Offset,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) topology: ObjectId,
    /// In the order of the definition.
    pub(crate) sources: Vec<PartSource>,
    /// What was last told of the partitions' ends, and of their progress.
    pub(crate) told: Vec<(Offset, Offset)>,
    pub(crate) paused: bool,
    pub(crate) attempt: Option<Try>,
    /// Tables whose rows were hardly ever of the same group in the microbatch that was published last.
    thin: Vec<usize>,
}

/// How far an attempt is on a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TryPhase {
    /// Events that come wait.
    Primed,
    /// Events run.
    Running,
    /// It failed, or was given up: events are dropped.
    Over,
    /// Its writes are on their way to the log.
    Preparing,
    /// They are durable; from here on they may become visible.
    Prepared,
}

/// An attempt on a task.
#[derive(Debug)]
pub(crate) struct Try {
    pub(crate) run: RunId,
    pub(crate) phase: TryPhase,
    /// Of the task threads.
    pub(crate) epochs: Vec<Epoch>,
    pub(crate) ranges: Ranges,
    pub(crate) events: EventQueue,
    /// The registers of its event.
    pub(crate) registers: Run,
    pub(crate) hold: Hold,
    pub(crate) current: Option<Event>,
    /// Its number, and those of the events it has sent.
    pub(crate) current_bits: u64,
    /// Numbers of the events that ended, and of those they sent.
    pub(crate) bits: u64,
    /// What they sent, encoded.
    pub(crate) letters: Vec<u8>,
    /// Calls of queries that have not started, and how many have and are not answered.
    pub(crate) calls: CallQueue,
    pub(crate) jobs: Vec<Starting>,
    /// Rows of its events on their way to tables.
    pub(crate) rows: RowsOut,
    /// Tables its event has read to their end.
    pub(crate) read: Vec<RowsOf>,
    /// Batch blocks that were entered, and with which vars.
    pub(crate) entered: Vec<(usize, Vec<u8>)>,
}

impl Try {
    /// An attempt whose events run with these registers, and gather rows so.
    pub(crate) fn new(run: RunId, registers: Run, rows: RowsOut) -> Self {
        Self {
            run,
            phase: TryPhase::Primed,
            epochs: Vec::new(),
            ranges: Ranges::default(),
            events: EventQueue::default(),
            registers,
            hold: Hold::Free,
            current: None,
            current_bits: 0,
            bits: 0,
            letters: Vec::new(),
            calls: CallQueue::default(),
            jobs: Vec::new(),
            rows,
            read: Vec::new(),
            entered: Vec::new(),
        }
    }

    /// Whether it has an event that can run.
    pub(crate) fn is_runnable(&self) -> bool {
        self.phase == TryPhase::Running
            && match self.hold {
                Hold::Blocks => false,
                Hold::Yielded => true,
                Hold::Free => !self.events.is_empty(),
            }
    }

    /// Whether letters of the attempt are taken.
    pub(crate) fn takes_events(&self) -> bool {
        matches!(self.phase, TryPhase::Primed | TryPhase::Running)
    }

    /// The root that its events belong to.
    pub(crate) fn root(&self, source: u16) -> Root {
        Root { task: TaskId(0), source, offset: Offset(self.run.id), attempt: self.run.attempt.counter }
    }

    /// Whether what it has of rows leaves: there is no more for them to be combined with, or too much of them.
    pub(crate) fn rows_are_due(&self) -> bool {
        let rests = self.current.is_none() && self.events.is_empty();
        !self.rows.is_empty() && (rests || self.rows.size() > ROWS_HELD_SIZE_MAX)
    }

    /// The current event ran to its end. It is reported only now: until then the root waits for it, whatever it has sent.
    pub(crate) fn end_event(&mut self) {
        self.current = None;
        self.read.clear();
        self.bits ^= self.current_bits;
    }

    /// Nothing of it runs any more.
    pub(crate) fn end(&mut self) {
        self.phase = TryPhase::Over;
        self.events = EventQueue::default();
        self.registers.reset();
        self.current = None;
        self.hold = Hold::Free;
        self.letters.clear();
        self.calls = CallQueue::default();
        self.jobs.clear();
        self.rows = RowsOut::default();
        self.read.clear();
        self.entered.clear();
    }
}

impl Part {
    /// Without an attempt.
    pub(crate) fn new(topology: ObjectId, sources: Vec<PartSource>) -> Self {
        Self { topology, sources, told: Vec::new(), paused: false, attempt: None, thin: Vec::new() }
    }

    /// An attempt begins. Where rows were hardly ever of the same group they are not gathered to be combined, but now and then
    /// they are, since that may change.
    pub(crate) fn begin(&mut self, run: RunId, registers: Run) {
        let looks = run.id.is_multiple_of(THIN_LOOK_COUNT);
        let thin = if looks { Vec::new() } else { self.thin.clone() };
        self.attempt = Some(Try::new(run, registers, RowsOut::of_thin(thin)));
    }

    /// The attempt is published.
    pub(crate) fn end(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            self.thin = attempt.rows.thin().collect();
        }
    }

    /// Bytes of events and letters.
    pub(crate) fn size(&self) -> usize {
        let of =
            |attempt: &Try| attempt.events.size() + attempt.letters.len() + attempt.calls.size() + attempt.rows.size();
        self.attempt.as_ref().map_or(0, of)
    }

    /// Where the partitions are now, by source: what was published, and what is committed.
    pub(crate) fn ends(&self, committed: impl Fn(usize) -> Offset) -> impl Iterator<Item = (Offset, Offset)> {
        self.sources.iter().map(move |source| match source.is_here {
            true => (source.progress, committed(source.depot)),
            false => (Offset(0), Offset(0)),
        })
    }

    /// Whether they are others than were told last.
    pub(crate) fn has_news(&self, committed: impl Fn(usize) -> Offset) -> bool {
        !self.ends(committed).eq(self.told.iter().copied())
    }

    /// Whether every record is in a published microbatch, or none is taken.
    pub(crate) fn is_quiet(&self, committed: impl Fn(usize) -> Offset) -> bool {
        self.paused || self.ends(committed).all(|(progress, end)| progress >= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::EventRandom;
    use crate::limit::{BATCH_ROWS_SIZE, GROUPS_HELD_SIZE_MAX};
    use crate::tables::Sender;
    use std::collections::BTreeSet;
    use tantu_base::fixed::FixedReader;
    use tantu_base::value::{decoded, encoded, partition_of};
    use tantu_flow::{MicrobatchOptions, Module, Position, Setup, Topologies, define, random};
    use tantu_net::letter::Letter;
    use tantu_path::{List, Map, agg};

    struct Words;

    impl Module for Words {
        fn define(setup: &mut Setup, topologies: &mut Topologies) {
            let words = setup.declare_depot::<String>("*words", random());
            topologies.microbatch("words").source(&words, |m, batch| {
                m.batch_block(|b| {
                    let word = b.explode_microbatch(batch);
                    b.group_by(word, |g| g.agg::<i64>(agg::count()));
                });
            });
        }
    }

    fn attempt() -> Try {
        Try::new(RunId { id: 1, ..RunId::default() }, Run::new(), RowsOut::default())
    }

    /// What letters of rows brought: to which task, whether combined, keys and the rest.
    fn rows_in(letters: &[u8]) -> Vec<(TaskId, bool, Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        let mut reader = FixedReader::new(letters);
        while let Some(letter) = Letter::decode_next(&mut reader) {
            let Ok(Letter::Fold { task, is_partial, rows, .. }) = letter else { panic!("only rows were sent") };
            let mut rows = FixedReader::new(rows);
            while !rows.is_empty() {
                let mut part = || rows.sized().expect("there is more").to_vec();
                found.push((task, is_partial, part(), part()));
            }
        }
        found
    }

    /// What is sent of words, and the most it took on the way.
    fn sent(words: impl Iterator<Item = String>) -> (Vec<(TaskId, bool, String, i64)>, usize) {
        let def = define::<Words>().expect("it is right");
        let plan = &*def.microbatches[0].plan;
        let mut attempt = attempt();
        let root = attempt.root(0);
        let (mut random, mut bits, mut letters, mut most) = (EventRandom(5), 0, Vec::new(), 0);
        let mut sender =
            Sender { plan, topology: 0, root, random: &mut random, bits: &mut bits, letters: &mut letters };
        for word in words {
            attempt.rows.put_group(&mut sender, (0, 4), &encoded(&word), &[]).expect("it fits");
            most = most.max(attempt.rows.size());
        }
        attempt.rows.send_all(&mut sender).expect("they fit");
        assert!(attempt.rows.is_empty() && attempt.rows.size() == 0);
        let row = |(task, is_partial, keys, rest): (_, bool, Vec<u8>, Vec<u8>)| {
            let count = if is_partial { decoded(&rest).expect("a count") } else { 1 };
            (task, is_partial, decoded::<String>(&keys).expect("a word"), count)
        };
        (rows_in(&letters).into_iter().map(row).collect(), most)
    }

    #[test]
    fn groups_leave_combined_for_the_task_that_the_hash_of_their_keys_says() {
        let (rows, _) = sent((0..10_000).map(|n| format!("word {}", n % 61)));
        assert_eq!(rows.len(), 61);
        for (task, is_partial, word, count) in rows {
            assert_eq!((task, is_partial), (TaskId(partition_of(&word, 4)), true), "{word}");
            let number: i64 = word["word ".len()..].parse().expect("a number");
            assert_eq!(count, 10_000 / 61 + i64::from(number < 10_000 % 61), "{word}");
        }
    }

    #[test]
    fn rows_that_are_hardly_ever_of_one_group_leave_as_they_are_and_none_is_held_for_long() {
        let (rows, most) = sent((0..100_000).map(|n| format!("word {n}")));
        assert!(most <= GROUPS_HELD_SIZE_MAX + 4 * BATCH_ROWS_SIZE, "{most}");
        assert!(rows.iter().any(|(_, is_partial, ..)| *is_partial), "nobody knows at first");
        assert!(rows.iter().filter(|(_, is_partial, ..)| *is_partial).count() < 50_000);
        assert!(rows.iter().all(|(task, _, word, _)| *task == TaskId(partition_of(word, 4))));
        let words: BTreeSet<&str> = rows.iter().map(|(_, _, word, _)| &word[..]).collect();
        assert!(words.len() == 100_000 && rows.iter().all(|(.., count)| *count == 1));
    }

    #[test]
    fn what_is_hardly_ever_of_one_group_is_not_gathered_in_the_next_microbatches_until_it_is_looked_at_again() {
        let def = define::<Words>().expect("it is right");
        let plan = &*def.microbatches[0].plan;
        let mut part = Part::new(ObjectId(1), Vec::new());
        let mut combined = Vec::new();
        for id in 1..=2 * THIN_LOOK_COUNT {
            part.begin(RunId { id, ..RunId::default() }, Run::new());
            let attempt = part.attempt.as_mut().expect("it has begun");
            let (root, rows) = (attempt.root(0), &mut attempt.rows);
            let (mut random, mut bits, mut letters) = (EventRandom(5), 0, Vec::new());
            let mut sender =
                Sender { plan, topology: 0, root, random: &mut random, bits: &mut bits, letters: &mut letters };
            // Once there are many, and all of them are of groups of their own.
            for n in 0..if id == 1 { 50_000 } else { 3 } {
                rows.put_group(&mut sender, (0, 4), &encoded(&format!("word {n}")), &[]).expect("it fits");
            }
            rows.send_all(&mut sender).expect("they fit");
            if rows_in(&letters).iter().any(|(_, is_partial, ..)| *is_partial) {
                combined.push(id);
            }
            part.end();
        }
        assert_eq!(combined[..2], [1, THIN_LOOK_COUNT], "then nobody knows any more");
        assert_eq!(combined.len() as u64, 2 + THIN_LOOK_COUNT);
    }

    #[test]
    fn rows_of_a_microbatch_wait_for_those_of_events_that_wait_and_leave_combined() {
        let def = define::<Words>().expect("it is right");
        let plan = &*def.microbatches[0].plan;
        let mut attempt = attempt();
        let root = attempt.root(0);
        attempt.events.push(0, Position(0), root, 1, &[]);
        let (mut random, mut bits, mut letters) = (EventRandom(5), 0, Vec::new());
        let mut sender =
            Sender { plan, topology: 0, root, random: &mut random, bits: &mut bits, letters: &mut letters };
        assert!(!attempt.rows_are_due(), "there are none");
        for word in ["a", "b", "a", "a"] {
            attempt.rows.put(&mut sender, (TaskId(1), 0), &encoded(word), &[]).expect("it fits");
        }
        assert!(!attempt.rows_are_due(), "an event waits whose rows may be of the same groups");
        attempt.events.pop(0).expect("it waits");
        assert!(attempt.rows_are_due());
        attempt.rows.send_all(&mut sender).expect("they fit");
        assert!(attempt.rows.is_empty());
        let mut reader = FixedReader::new(&letters);
        let Some(Ok(Letter::Fold { task: TaskId(1), is_partial: true, rows, event, .. })) =
            Letter::decode_next(&mut reader)
        else {
            panic!("rows leave in a letter to the task of their table");
        };
        assert_eq!((event, Letter::decode_next(&mut reader).is_none()), (bits, true));
        let mut reader = FixedReader::new(rows);
        let mut part = || reader.sized().expect("there is more").to_vec();
        let groups: Vec<_> = (0..2).map(|_| (part(), part())).collect();
        assert_eq!(groups, [(encoded("a"), encoded(&3i64)), (encoded("b"), encoded(&1i64))]);
        assert!(reader.is_empty());
    }

    /// The same words, counted in a PState and listed there.
    struct Noted;

    impl Module for Noted {
        fn define(setup: &mut Setup, topologies: &mut Topologies) {
            let depot = setup.declare_depot::<String>("*words", random());
            let options = MicrobatchOptions { combiner_limit: 2, ..MicrobatchOptions::default() };
            let mut topology = topologies.microbatch_with("noted", options);
            let counts = topology.pstate::<Map<String, i64>>("$$counts");
            let lists = topology.pstate::<Map<String, List<i64>>>("$$lists");
            topology.source(&depot, |m, batch| {
                m.batch_block(|b| {
                    let word = b.explode_microbatch(batch);
                    let length = b.each(word, |word| word.len() as i64);
                    b.hash_partition(word);
                    b.compound_agg(counts, agg::key(word, agg::count()));
                    b.compound_agg(lists, agg::key(word, agg::list(length)));
                });
            });
        }
    }

    #[test]
    fn rows_for_a_pstate_leave_combined_and_lists_of_them_before_they_are_long() {
        let def = define::<Noted>().expect("it is right");
        let plan = &*def.microbatches[0].plan;
        let root = attempt().root(0);
        let (mut random, mut bits, mut letters) = (EventRandom(5), 0, Vec::new());
        let mut rows = RowsOut::default();
        let mut sender =
            Sender { plan, topology: 0, root, random: &mut random, bits: &mut bits, letters: &mut letters };
        for (word, length) in [("a", 1i64), ("b", 2), ("a", 3), ("a", 4), ("a", 5)] {
            rows.put(&mut sender, (TaskId(1), 0), &encoded(word), &encoded(&length)).expect("it fits");
        }
        rows.send_all(&mut sender).expect("they fit");
        let mut reader = FixedReader::new(&letters);
        let mut sent = Vec::new();
        let mut all = 0;
        while let Some(letter) = Letter::decode_next(&mut reader) {
            let Ok(Letter::Continue { task: TaskId(1), event, live, .. }) = letter else {
                panic!("an event: {letter:?}")
            };
            all ^= event;
            sent.push(live.to_vec());
        }
        assert_eq!(all, bits, "the root waits for each of them");
        let row =
            |word: &str, count: i64, list: &[i64]| [encoded(word), encoded(&count), encoded(&list.to_vec())].concat();
        // Two rows at a time.
        assert_eq!(sent, [row("a", 1, &[1]), row("b", 1, &[2]), row("a", 2, &[3, 4]), row("a", 1, &[5])]);
    }
}
