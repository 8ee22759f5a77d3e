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
            DepotLie::Changed { partition, offset } => {
                write!(f, "partition {partition} offset {offset} was read before and is now another record, or gone")
            }
        }
    }
}

/// One look at a depot: per partition, what was read, in the order it was read.
pub type Look = BTreeMap<u32, Vec<(u64, Vec<u8>)>>;

/// A client's view of its appends, across any number of crashes: what it sent, what was acknowledged where.
#[derive(Clone, Debug, Default)]
pub struct History {
    sent: Vec<(Vec<u8>, u64)>,
    acked: BTreeMap<AppendId, (u32, u64)>,
    seen: BTreeMap<(u32, u64), Vec<u8>>,
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
    }

    /// How many appends were acknowledged.
    pub fn acked_count(&self) -> usize {
        self.acked.len()
    }

    /// Notes what was read now, so that later looks are compared with it. Only for records that had become visible.
    pub fn looked(&mut self, look: &Look) {
        for (partition, records) in look {
            self.seen.extend(records.iter().map(|(offset, record)| ((*partition, *offset), record.clone())));
        }
    }

    /// Everything that a look at the whole depot shows to be wrong; nothing if it can be believed.
    pub fn judge(&self, look: &Look) -> Vec<DepotLie> {
        let mut lies = Vec::new();
        for (partition, records) in look {
            let expected = (0..).zip(records).find(|(expected, (found, _))| expected != found);
            lies.extend(expected.map(|(expected, (found, _))| DepotLie::Gap {
                partition: *partition,
                expected,
                found: *found,
            }));
        }
        let places: BTreeMap<(u32, u64), &[u8]> = look
            .iter()
            .flat_map(|(partition, records)| {
                records.iter().map(|(offset, record)| ((*partition, *offset), record.as_slice()))
            })
            .collect();
        self.judge_acks(&places, &mut lies);
        self.judge_copies(&places, &mut lies);
        for ((partition, offset), record) in &self.seen {
            if places.get(&(*partition, *offset)) != Some(&record.as_slice()) {
                lies.push(DepotLie::Changed { partition: *partition, offset: *offset });
            }
        }
        lies
    }

    fn judge_acks(&self, places: &BTreeMap<(u32, u64), &[u8]>, lies: &mut Vec<DepotLie>) {
        let mut owners = BTreeMap::new();
        for (append, (partition, offset)) in &self.acked {
            let (append, partition, offset) = (*append, *partition, *offset);
            let found = places.get(&(partition, offset)).copied();
            if found != Some(&self.sent[append.0].0) {
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
            records.iter().map(|(offset, text)| (*offset, text.as_bytes().to_vec())).collect()
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
