//! A depot partition is a list, and what a client knows about the appends it made.

use std::collections::BTreeMap;
use std::fmt;

/// What a depot partition holds: records at offsets 0, 1, 2, and so on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Partition {
    records: Vec<Vec<u8>>,
}

impl Partition {
    /// Adds a record; its offset.
    pub fn append(&mut self, record: &[u8]) -> u64 {
        self.records.push(record.to_vec());
        self.records.len() as u64 - 1
    }

    /// The offset the next record gets.
    pub fn end(&self) -> u64 {
        self.records.len() as u64
    }

    /// The record at an offset.
    pub fn get(&self, offset: u64) -> Option<&[u8]> {
        self.records.get(usize::try_from(offset).ok()?).map(Vec::as_slice)
    }

    /// All records, in order.
    pub fn records(&self) -> &[Vec<u8>] {
        &self.records
    }
}

/// Names one append of the history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AppendId(pub usize);

/// What is wrong with a depot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DepotLie {
    /// Offsets are not 0, 1, 2, and so on.
    Gap {
        /// Partition.
        partition: u32,
        /// The offset that should have come.
        expected: u64,
        /// The one that came.
        found: u64,
    },
    /// An acknowledged record is not where the ack said, or is another one.
    Lost {
        /// Which append.
        append: AppendId,
        /// Partition.
        partition: u32,
        /// Offset in the ack.
        offset: u64,
        /// What is there.
        found: Option<Vec<u8>>,
    },
    /// More copies of a record than there were attempts to append it: none, if nobody ever sent it.
    Invented {
        /// The record.
        record: Vec<u8>,
        /// How often the depot holds it.
        found: u64,
        /// How often it was sent.
        sent: u64,
    },
    /// Two acks named one place.
    SharedOffset {
        /// The two appends.
        appends: (AppendId, AppendId),
        /// Partition.
        partition: u32,
        /// Offset.
        offset: u64,
    },
    /// A partition lost records that it has to keep.
    OverTrimmed {
        /// Partition.
        partition: u32,
        /// Where it starts.
        start: u64,
        /// Where it ends.
        end: u64,
    },
    /// What a partition says about its ends is not what it said before, or hides an acknowledged record.
    Ends {
        /// Partition.
        partition: u32,
        /// What it says.
        said: (u64, u64),
        /// The first start and the first end that would have been true.
        known: (u64, u64),
    },
    /// A search by time skips a record that is young enough, or finds one that is too old.
    Since {
        /// Partition.
        partition: u32,
        /// The time that was searched for, in milliseconds.
        time_ms: u64,
        /// What was found.
        found: u64,
        /// The record that shows it.
        offset: u64,
    },
    /// A place held another record at an earlier look, or has vanished since.
    Changed {
        /// Partition.
        partition: u32,
        /// Offset.
        offset: u64,
    },
}

impl fmt::Display for DepotLie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy;
        match self {
            DepotLie::Gap { partition, expected, found } => {
                write!(f, "partition {partition}: offset {found} came where {expected} should")
            }
            DepotLie::Lost { append, partition, offset, found: None } => {
                write!(
                    f,
                    "append {} was acknowledged at partition {partition} offset {offset}, which is gone",
                    append.0
                )
            }
            DepotLie::Lost { append, partition, offset, found: Some(found) } => write!(
                f,
                "append {} was acknowledged at partition {partition} offset {offset}, which holds {:?}",
                append.0,
                text(found)
            ),
            DepotLie::Invented { record, found, sent } => {
                write!(f, "the record {:?} was sent {sent} times and is there {found} times", text(record))
            }
            DepotLie::SharedOffset { appends: (one, two), partition, offset } => {
                write!(
                    f,
                    "appends {} and {} were both acknowledged at partition {partition} offset {offset}",
                    one.0, two.0
                )
            }
            DepotLie::OverTrimmed { partition, start, end } => {
                write!(f, "partition {partition} has only the offsets {start}..{end} left: it was trimmed too far")
            }
            DepotLie::Ends { partition, said, known } => {
                write!(f, "partition {partition} says it has {said:?}; its ends were at {known:?} already")
            }
            DepotLie::Since { partition, time_ms, found, offset } => write!(
                f,
                "partition {partition}: offset {found} was found to be the first since {time_ms} ms, but what is known of \
                 offset {offset} says otherwise"
            ),
            DepotLie::Changed { partition, offset } => {
                write!(f, "partition {partition} offset {offset} was read before and is now another record, or gone")
            }
        }
    }
}

/// What a look at a partition showed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// The first offset that was not trimmed.
    pub start: u64,
    /// Offsets and records, in the order they were read.
    pub records: Vec<(u64, Vec<u8>)>,
}

/// One look at a depot, by partition.
pub type Look = BTreeMap<u32, Seen>;

/// A client's view of its appends, across any number of crashes: what it sent, what was acknowledged where.
#[derive(Clone, Debug, Default)]
pub struct History {
    sent: Vec<(Vec<u8>, u64)>,
    acked: BTreeMap<AppendId, (u32, u64)>,
    /// The append of each place that was ever acknowledged.
    places: BTreeMap<(u32, u64), AppendId>,
    seen: BTreeMap<(u32, u64), Vec<u8>>,
    /// When an acknowledged record was sent and when its acknowledgement came: it was appended in between.
    times: BTreeMap<(u32, u64), (u64, u64)>,
    /// Start and end of each partition, as it said: neither goes back.
    ends: BTreeMap<u32, (u64, u64)>,
    /// The offset after the last acknowledged record of each partition.
    acked_ends: BTreeMap<u32, u64>,
    /// Records a partition keeps when it is trimmed; without it nothing is.
    kept_count: Option<u64>,
}

impl History {
    /// Notes that a record was sent for the first time.
    pub fn sent(&mut self, record: &[u8]) -> AppendId {
        self.sent.push((record.to_vec(), 1));
        AppendId(self.sent.len() - 1)
    }

    /// Notes that the same append was sent once more, since its outcome was not known.
    pub fn sent_again(&mut self, append: AppendId) {
        self.sent[append.0].1 += 1;
    }

    /// Notes an acknowledgement. The latest one stands if there are several attempts.
    pub fn acked(&mut self, append: AppendId, partition: u32, offset: u64) {
        self.acked.insert(append, (partition, offset));
        self.places.insert((partition, offset), append);
        let end = self.acked_ends.entry(partition).or_default();
        *end = (*end).max(offset + 1);
    }

    /// Notes when an acknowledged append was sent, and when its answer came, in milliseconds of the wall clock.
    pub fn timed(&mut self, partition: u32, offset: u64, sent_ms: u64, acked_ms: u64) {
        self.times.insert((partition, offset), (sent_ms, acked_ms));
    }

    /// Times worth searching for: when appends were sent, and just after they were acknowledged.
    pub fn times(&self) -> impl Iterator<Item = u64> {
        self.times.values().flat_map(|(sent_ms, acked_ms)| [*sent_ms, *acked_ms + 1])
    }

    /// Judges a search for the first record of a partition since a time.
    pub fn judge_since(&self, partition: u32, start: u64, time_ms: u64, found: u64) -> Option<DepotLie> {
        let here = self.times.range((partition, start)..=(partition, u64::MAX));
        let wrong = |((_, offset), (sent_ms, acked_ms)): &(&(u32, u64), &(u64, u64))| {
            if *offset < found { *sent_ms >= time_ms } else { *acked_ms < time_ms }
        };
        let mut wrong = here.filter(wrong);
        wrong.next().map(|((_, offset), _)| DepotLie::Since { partition, time_ms, found, offset: *offset })
    }

    /// Notes how many records a trimmed partition keeps.
    pub fn keeps(&mut self, count: Option<u64>) {
        self.kept_count = count;
    }

    /// Start and end of a partition, as far as they are known now. Later answers may not fall back behind them.
    pub fn ends(&self, partition: u32) -> (u64, u64) {
        let (start, end) = self.ends.get(&partition).copied().unwrap_or_default();
        (start, end.max(self.acked_ends.get(&partition).copied().unwrap_or_default()))
    }

    /// Judges what a partition said about its ends. `known` is what was known when it was asked.
    pub fn said(&mut self, partition: u32, said: (u64, u64), known: (u64, u64)) -> Option<DepotLie> {
        let ends = self.ends.entry(partition).or_default();
        *ends = (ends.0.max(said.0), ends.1.max(said.1));
        if said.0 < known.0 || said.1 < known.1 || said.0 > said.1 {
            return Some(DepotLie::Ends { partition, said, known });
        }
        self.over_trimmed(partition, said)
    }

    fn over_trimmed(&self, partition: u32, (start, end): (u64, u64)) -> Option<DepotLie> {
        let may_start = self.kept_count.map_or(0, |kept| end.saturating_sub(kept));
        (start > may_start).then_some(DepotLie::OverTrimmed { partition, start, end })
    }

    /// Judges a record that was read at a place, and remembers it.
    pub fn read(&mut self, partition: u32, offset: u64, record: &[u8]) -> Option<DepotLie> {
        let place = (partition, offset);
        if let Some(append) = self.places.get(&place)
            && self.sent[append.0].0 != record
        {
            return Some(DepotLie::Lost { append: *append, partition, offset, found: Some(record.to_vec()) });
        }
        let before = self.seen.insert(place, record.to_vec());
        before.is_some_and(|before| before != record).then_some(DepotLie::Changed { partition, offset })
    }

    /// The records that are known to have been there and were trimmed: whoever trimmed them had processed them.
    pub fn trimmed<'h>(&'h self, look: &'h Look) -> impl Iterator<Item = &'h [u8]> {
        let gone = |place: &(u32, u64)| look.get(&place.0).is_some_and(|seen| place.1 < seen.start);
        let acked = self.places.iter().filter(move |(place, _)| gone(place));
        let acked = acked.map(|(_, append)| self.sent[append.0].0.as_slice());
        let seen = self.seen.iter().filter(move |(place, _)| gone(place));
        acked.chain(seen.map(|(_, record)| record.as_slice()))
    }

    /// How many appends were acknowledged.
    pub fn acked_count(&self) -> usize {
        self.acked.len()
    }

    /// Notes what was read now, so that later looks are compared with it. Only for records that had become visible.
    pub fn looked(&mut self, look: &Look) {
        for (partition, seen) in look {
            self.seen.extend(seen.records.iter().map(|(offset, record)| ((*partition, *offset), record.clone())));
        }
    }

    /// Everything that a look at the whole depot shows to be wrong; nothing if it can be believed.
    pub fn judge(&self, look: &Look) -> Vec<DepotLie> {
        let mut lies = Vec::new();
        for (partition, seen) in look {
            let expected = (seen.start..).zip(&seen.records).find(|(expected, (found, _))| expected != found);
            lies.extend(expected.map(|(expected, (found, _))| DepotLie::Gap {
                partition: *partition,
                expected,
                found: *found,
            }));
            let end = seen.start + seen.records.len() as u64;
            lies.extend(self.over_trimmed(*partition, (seen.start, end)));
            let known = self.ends.get(partition).copied().unwrap_or_default();
            if seen.start < known.0 || end < known.1 {
                lies.push(DepotLie::Ends { partition: *partition, said: (seen.start, end), known });
            }
        }
        let places: BTreeMap<(u32, u64), &[u8]> = look
            .iter()
            .flat_map(|(partition, seen)| {
                seen.records.iter().map(|(offset, record)| ((*partition, *offset), record.as_slice()))
            })
            .collect();
        let trimmed = |partition: u32, offset: u64| look.get(&partition).is_some_and(|seen| offset < seen.start);
        self.judge_acks(&places, &trimmed, &mut lies);
        self.judge_copies(&places, &mut lies);
        for ((partition, offset), record) in &self.seen {
            if !trimmed(*partition, *offset) && places.get(&(*partition, *offset)) != Some(&record.as_slice()) {
                lies.push(DepotLie::Changed { partition: *partition, offset: *offset });
            }
        }
        lies
    }

    fn judge_acks(
        &self,
        places: &BTreeMap<(u32, u64), &[u8]>,
        trimmed: &dyn Fn(u32, u64) -> bool,
        lies: &mut Vec<DepotLie>,
    ) {
        let mut owners = BTreeMap::new();
        for (append, (partition, offset)) in &self.acked {
            let (append, partition, offset) = (*append, *partition, *offset);
            let found = places.get(&(partition, offset)).copied();
            if !trimmed(partition, offset) && found != Some(&self.sent[append.0].0) {
                lies.push(DepotLie::Lost { append, partition, offset, found: found.map(<[u8]>::to_vec) });
            }
            if let Some(other) = owners.insert((partition, offset), append) {
                lies.push(DepotLie::SharedOffset { appends: (other, append), partition, offset });
            }
        }
    }

    fn judge_copies(&self, places: &BTreeMap<(u32, u64), &[u8]>, lies: &mut Vec<DepotLie>) {
        let mut sent: BTreeMap<&[u8], u64> = BTreeMap::new();
        for (record, attempts) in &self.sent {
            *sent.entry(record).or_default() += attempts;
        }
        let mut found: BTreeMap<&[u8], u64> = BTreeMap::new();
        for record in places.values() {
            *found.entry(record).or_default() += 1;
        }
        for (record, found) in found {
            let sent = sent.get(record).copied().unwrap_or_default();
            if found > sent {
                lies.push(DepotLie::Invented { record: record.to_vec(), found, sent });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(partitions: &[&[(u64, &str)]]) -> Look {
        let one = |records: &&[(u64, &str)]| {
            let records = records.iter().map(|(offset, text)| (*offset, text.as_bytes().to_vec())).collect();
            Seen { start: 0, records }
        };
        (0..).zip(partitions.iter().map(one)).collect()
    }

    /// `a` and `b` acknowledged, `c` sent twice without an answer.
    fn history() -> History {
        let mut history = History::default();
        let (a, b, c) = (history.sent(b"a"), history.sent(b"b"), history.sent(b"c"));
        history.sent_again(c);
        history.acked(a, 0, 0);
        history.acked(b, 1, 0);
        history
    }

    #[test]
    fn a_partition_is_a_list_with_offsets_from_0() {
        let mut partition = Partition::default();
        assert_eq!((partition.append(b"x"), partition.append(b""), partition.end()), (0, 1, 2));
        assert_eq!((partition.get(0), partition.get(1), partition.get(2)), (Some(&b"x"[..]), Some(&b""[..]), None));
        assert_eq!(partition.records().len(), 2);
    }

    #[test]
    fn an_append_without_an_answer_may_be_there_or_not_as_often_as_it_was_sent() {
        let history = history();
        assert_eq!(history.acked_count(), 2);
        for honest in [
            look(&[&[(0, "a")], &[(0, "b")]]),
            look(&[&[(0, "a"), (1, "c")], &[(0, "b"), (1, "c")]]),
            look(&[&[(0, "a")], &[(0, "b"), (1, "c")]]),
        ] {
            assert_eq!(history.judge(&honest), []);
        }
    }

    #[test]
    fn what_a_rule_lets_go_may_be_gone_and_nothing_else() {
        let mut history = history();
        let mut trimmed = look(&[&[(1, "c"), (2, "c")], &[(0, "b")]]);
        trimmed.entry(0).or_default().start = 1;
        let too_far = DepotLie::OverTrimmed { partition: 0, start: 1, end: 3 };
        assert_eq!(history.judge(&trimmed), std::slice::from_ref(&too_far), "it is never trimmed");
        history.keeps(Some(3));
        assert_eq!(history.judge(&trimmed), [too_far]);
        history.keeps(Some(2));
        assert_eq!(history.judge(&trimmed), []);
        assert_eq!(history.trimmed(&trimmed).collect::<Vec<_>>(), [b"a"]);
    }

    #[test]
    fn ends_that_go_back_and_records_that_differ_from_what_was_acknowledged_are_caught() {
        let mut history = history();
        history.keeps(Some(1));
        assert_eq!(history.ends(0), (0, 1), "an ack says that much");
        assert_eq!(history.said(0, (3, 4), (0, 1)), None);
        let back = DepotLie::Ends { partition: 0, said: (2, 4), known: (3, 4) };
        assert_eq!(history.said(0, (2, 4), history.ends(0)), Some(back));
        assert_eq!(history.said(0, (3, 3), (3, 3)), Some(DepotLie::OverTrimmed { partition: 0, start: 3, end: 3 }));
        let gone_back = history.judge(&look(&[&[(0, "a")], &[(0, "b")]]));
        assert_eq!(gone_back, [DepotLie::Ends { partition: 0, said: (0, 1), known: (3, 4) }]);
        assert_eq!((history.read(1, 0, b"b"), history.read(1, 1, b"c")), (None, None));
        assert!(matches!(history.read(1, 0, b"c"), Some(DepotLie::Lost { .. })));
        assert_eq!(history.read(1, 1, b"d"), Some(DepotLie::Changed { partition: 1, offset: 1 }));
    }

    #[test]
    fn a_search_by_time_that_skips_a_young_record_or_finds_an_old_one_is_caught() {
        let mut history = history();
        history.timed(0, 4, 100, 110);
        history.timed(0, 6, 120, 150);
        assert_eq!(history.times().collect::<Vec<_>>(), [100, 111, 120, 151]);
        for (time_ms, honest) in [(100, 0..5), (111, 5..7), (120, 5..7), (151, 7..9)] {
            for found in 0..9 {
                let lie = history.judge_since(0, 0, time_ms, found);
                assert_eq!(lie.is_none(), honest.contains(&found), "{found} since {time_ms}: {lie:?}");
            }
        }
        assert_eq!(history.judge_since(0, 5, 100, 5), None, "the younger one before it was trimmed");
        assert_eq!(history.judge_since(1, 0, 100, 9), None, "nothing is known of that partition");
    }

    #[test]
    fn a_lost_or_moved_record_is_caught() {
        let lost = history().judge(&look(&[&[(0, "a")], &[]]));
        assert_eq!(lost, [DepotLie::Lost { append: AppendId(1), partition: 1, offset: 0, found: None }]);
        let moved = history().judge(&look(&[&[(0, "c"), (1, "a")], &[(0, "b")]]));
        assert_eq!(
            moved,
            [DepotLie::Lost { append: AppendId(0), partition: 0, offset: 0, found: Some(b"c".to_vec()) }]
        );
        assert!(moved[0].to_string().contains("acknowledged at partition 0 offset 0"), "{}", moved[0]);
    }

    #[test]
    fn an_invented_or_duplicated_record_is_caught() {
        let invented = history().judge(&look(&[&[(0, "a"), (1, "zzz")], &[(0, "b")]]));
        assert_eq!(invented, [DepotLie::Invented { record: b"zzz".to_vec(), found: 1, sent: 0 }]);
        let thrice = history().judge(&look(&[&[(0, "a"), (1, "c"), (2, "c"), (3, "c")], &[(0, "b")]]));
        assert_eq!(thrice, [DepotLie::Invented { record: b"c".to_vec(), found: 3, sent: 2 }]);
    }

    #[test]
    fn a_gap_a_shared_offset_and_a_changed_record_are_caught() {
        let gap = history().judge(&look(&[&[(0, "a"), (2, "c")], &[(0, "b")]]));
        assert_eq!(gap, [DepotLie::Gap { partition: 0, expected: 1, found: 2 }]);
        let mut shared = history();
        shared.acked(AppendId(2), 0, 0);
        let lies = shared.judge(&look(&[&[(0, "a")], &[(0, "b")]]));
        assert!(
            lies.contains(&DepotLie::SharedOffset { appends: (AppendId(0), AppendId(2)), partition: 0, offset: 0 }),
            "{lies:?}"
        );
        let mut watched = history();
        watched.looked(&look(&[&[(0, "a"), (1, "c")]]));
        let lies = watched.judge(&look(&[&[(0, "a")], &[(0, "b")]]));
        assert_eq!(lies, [DepotLie::Changed { partition: 0, offset: 1 }]);
        assert!(lies[0].to_string().contains("read before"));
    }
}
