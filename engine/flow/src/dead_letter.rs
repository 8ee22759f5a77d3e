//! Records that a topology could not process: what is kept of those it gave up, and what is told of those it still tries.
//!
//! A source with [`SourceOptions::dead_letter_after`] gives a record up after so many failed tries: the record goes to the
//! depot [`DEAD_LETTERS`] of the module, on the task where it was, in the same log entry as the progress that passes it by. So it is
//! there exactly once, whatever crashes.
//!
//! ```
//! use tantu_flow::{Module, Setup, SourceOptions, Topologies, define, random};
//!
//! struct Parser;
//! impl Module for Parser {
//!     fn define(setup: &mut Setup, topologies: &mut Topologies) {
//!         let lines = setup.declare_depot::<String>("*lines", random());
//!         let dead = setup.dead_letters();
//!         let options = SourceOptions { dead_letter_after: Some(3), ..SourceOptions::default() };
//!         topologies.stream("parser").source_with(&lines, options, |b, line| {
//!             b.assert(line, |line| line.parse::<i64>().is_ok(), "it is no number");
//!         });
//!         // What became of them may be processed like anything else.
//!         topologies.stream("undertaker").source(&dead, |b, letter| {
//!             b.each(letter, |letter| letter.record::<String>().unwrap_or_default());
//!         });
//!     }
//! }
//! assert!(define::<Parser>().is_ok());
//! ```

use crate::data::Record;
use crate::define::{Defining, here};
use crate::depot::disallow;
use crate::module::{DepotDef, DepotOptions, DepotRef, Setup, SourceOptions};
use tantu_base::id::Offset;
use tantu_base::value::{Decode, DecodeError, Encode, Reader, RecordWriter, Value, decoded, encoded};

/// The depot of records that were given up.
pub const DEAD_LETTERS: &str = "*dead-letters";

/// A record that a topology gave up.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeadLetter {
    /// The record in value form; see [`DeadLetter::record`]. Empty if it was too long to be kept twice: it is in its depot then.
    pub bytes: Vec<u8>,
    /// What its last try failed with.
    pub error: String,
    /// Which depot it is in.
    pub depot: String,
    /// In which partition.
    pub partition: u32,
    /// At which offset.
    pub offset: u64,
    /// Which topology gave it up.
    pub topology: String,
    /// After how many tries.
    pub tries: u32,
}

/// A record that a topology failed on and tries again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TroubledRecord {
    /// What its last try failed with.
    pub error: String,
    /// Which depot it is in.
    pub depot: String,
    /// In which partition.
    pub partition: u32,
    /// At which offset.
    pub offset: u64,
    /// How often it was tried.
    pub tries: u32,
    /// Whether progress stands at it: after a restart this record and all behind it are processed again.
    pub is_first: bool,
}

macro_rules! records {
    ($($name:ident { $($field:ident = $id:literal),* })*) => {$(
        impl Record for $name {}

        impl Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                let mut writer = RecordWriter::start(out, [$($id),*].len());
                $(writer.field(out, $id, &self.$field);)*
                writer.finish(out);
            }

            fn encode_key(&self, out: &mut Vec<u8>) {
                decoded::<Value>(&encoded(self)).expect("invariant: it was just encoded").encode_key(out);
            }
        }

        impl Decode for $name {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let (mut fields, mut found) = (reader.fields()?, $name::default());
                while let Some(id) = fields.next(reader)? {
                    match id {
                        $($id => found.$field = Decode::decode(reader)?,)*
                        // A later version of the engine may say more.
                        _ => drop(reader.skip()?),
                    }
                }
                Ok(found)
            }
        }
    )*};
}

records! {
    DeadLetter { bytes = 1, error = 2, depot = 3, partition = 4, offset = 5, topology = 6, tries = 7 }
    TroubledRecord { error = 1, depot = 2, partition = 3, offset = 4, tries = 5, is_first = 6 }
}

impl DeadLetter {
    /// The record, which was one of the depot's type.
    ///
    /// # Errors
    /// If it is of another type, or too long to be kept twice.
    pub fn record<T: Decode>(&self) -> Result<T, DecodeError> {
        decoded(&self.bytes)
    }

    /// Where the record is in its partition.
    pub fn offset(&self) -> Offset {
        Offset(self.offset)
    }
}

impl SourceOptions {
    /// Gives a record up after so many failed tries; see [`DeadLetter`].
    pub fn dead_letter_after(mut self, tries: u32) -> SourceOptions {
        self.dead_letter_after = Some(tries);
        self
    }
}

impl Setup {
    /// The depot of the records that topologies of the module gave up, to be processed in turn. It is there without this as
    /// soon as a source gives records up.
    #[track_caller]
    pub fn dead_letters(&mut self) -> DepotRef<DeadLetter> {
        DepotRef::at(self.defining.borrow_mut().dead_letters())
    }
}

impl Defining {
    /// The place of the depot of dead letters, which is declared if it is not yet.
    pub(crate) fn dead_letters(&mut self) -> usize {
        if let Some(at) = self.depots.iter().position(|depot| depot.name == DEAD_LETTERS) {
            return at;
        }
        self.depots.push(DepotDef {
            name: DEAD_LETTERS.to_string(),
            partitioner: disallow::<DeadLetter>().partitioner,
            global: false,
            options: DepotOptions::default(),
            record_type: std::any::type_name::<DeadLetter>(),
            accepts: crate::depot::accepts::<DeadLetter>,
            tick: None,
        });
        self.depots.len() - 1
    }

    /// The place of that depot, if the module needs it.
    pub(crate) fn find_dead_letters(&mut self) -> Option<usize> {
        let gives_up = self.streams.iter().flat_map(|stream| &stream.sources).any(|s| s.dead_letter_after.is_some());
        let declared = self.depots.iter().any(|depot| depot.name == DEAD_LETTERS);
        (gives_up || declared).then(|| self.dead_letters())
    }

    /// The name is not for the author's depots.
    #[track_caller]
    pub(crate) fn check_depot_name(&mut self, name: &str) {
        if name == DEAD_LETTERS {
            self.error(here(), format!("`{DEAD_LETTERS}` is the engine's; `Setup::dead_letters` gives it"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_is_stored_as_its_fields_by_id_and_unknown_fields_are_passed() {
        let letter = DeadLetter {
            bytes: encoded(&7i64),
            error: "no".to_string(),
            depot: "*in".to_string(),
            partition: 3,
            offset: 9,
            topology: "t".to_string(),
            tries: 2,
        };
        let text = |text: &str| Value::from(text);
        let mut fields = vec![
            (1, Value::Bytes(encoded(&7i64))),
            (2, text("no")),
            (3, text("*in")),
            (4, Value::U64(3)),
            (5, Value::U64(9)),
            (6, text("t")),
            (7, Value::U64(2)),
        ];
        assert_eq!(encoded(&letter), encoded(&Value::record(fields.clone())));
        fields.push((40, text("later")));
        let read: DeadLetter = decoded(&encoded(&Value::record(fields))).unwrap();
        assert_eq!(read, letter);
        assert_eq!(read.record::<i64>(), Ok(7));
        assert!(decoded::<TroubledRecord>(&encoded(&5i64)).is_err());
        let trouble = TroubledRecord { tries: 4, is_first: true, ..TroubledRecord::default() };
        assert_eq!(decoded(&encoded(&trouble)), Ok(trouble));
    }
}
