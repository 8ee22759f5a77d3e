//! Who uses a cluster in a story, across all its lives: what it asks, what it believes, and how it judges the end.

use crate::swarm::Swarm;
use std::collections::BTreeMap;
use tantu_base::door::{Nanos, Wire};
use tantu_base::fixed::FixedReader;
use tantu_base::id::Category;
use tantu_net::letter::Letter;
use tantu_weather::{SimDisk, SimEntropy, SimWire, Weather};

/// Hands over the letters that came to a client, or says that one cannot be read; whether any came.
pub(crate) fn each_letter(wire: &mut SimWire, mut take: impl FnMut(Result<Letter<'_>, String>)) -> bool {
    let mut worked = false;
    while let Some((_, batch)) = wire.receive(Category::Client) {
        worked = true;
        let mut reader = FixedReader::new(&batch.bytes);
        while let Some(letter) = Letter::decode_next(&mut reader) {
            take(letter.map_err(|error| format!("a batch for the client is unreadable: {error}")));
        }
    }
    worked
}

/// All entries of a PState of the stories.
pub type Entries = BTreeMap<String, i64>;

/// What is left when everything has come to rest and the cluster is closed.
#[derive(Debug)]
pub struct Last<'a> {
    /// The files.
    pub disk: &'a SimDisk,
    /// How the cluster is laid out.
    pub swarm: &'a Swarm,
    /// Clock and marks.
    pub world: &'a Weather,
    /// Chance.
    pub chance: &'a mut SimEntropy,
    /// The PStates of [`Customer::pstates`], as they were read before the close.
    pub entries: &'a [Entries],
    /// Virtual time of the longest life.
    pub life_ns_max: u64,
    /// Calls of user code that threw, in all lives.
    pub thrown_count: u64,
}

/// See the module.
pub trait Customer {
    /// How many clients it is.
    fn client_count(&self) -> usize {
        1
    }

    /// The cluster lives again: whatever was under way has an unknown outcome.
    fn begin_life(&mut self, life: u32, swarm: &Swarm);

    /// Takes answers and asks more. Whether anything happened.
    fn step(&mut self, wires: &mut [SimWire], swarm: &Swarm, now: Nanos) -> bool;

    /// The first thing that is wrong.
    fn finding(&self) -> Option<&String>;

    /// Whether everything was asked and answered that this life has to see.
    fn is_done(&self) -> bool;

    /// Whether it has letters that a ring gave back.
    fn has_unsent(&self) -> bool;

    /// How many requests wait for an answer, and some of them.
    fn unanswered(&self) -> String;

    /// There is space again: appends must be taken before long.
    fn space_returned(&mut self, now: Nanos);

    /// When appends must be taken again that a full disk refused.
    fn retry_at(&self) -> Option<Nanos>;

    /// Whether appends that a full disk refused were sent again and taken, since the last call.
    fn take_resumed(&mut self) -> bool;

    /// Appends acknowledged.
    fn acked_count(&self) -> usize;

    /// The PStates that are judged in the end, and must be the same after another start.
    fn pstates(&self, swarm: &Swarm) -> Vec<u16>;

    /// Asks for every entry of a PState; they are in [`Customer::all`] when it is done.
    fn ask_for_all(&mut self, pstate: u16, swarm: &Swarm);

    /// What was asked for.
    fn all(&self) -> &Entries;

    /// Lets the oracles speak.
    ///
    /// # Errors
    /// The first lie.
    fn judge(&mut self, last: &mut Last<'_>) -> Result<(), String>;
}
