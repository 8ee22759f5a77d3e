//! Appends of topologies: a record goes into the depot partition of the task the event stands on.
//!
//! No depot partitioner is asked: the program goes to a task first. In a stream topology the record is in the same log entry
//! as what the event writes, and goes with it if the event fails; a record that is tried again appends again, so appends of streams
//! are made at least once (DEP-23). In a microbatch topology the record is a part of the microbatch: it is appended when that is
//! published, once, whatever attempts there were. Topologies that read the depot start on it either way.

use crate::block::Block;
use crate::data::{Owned, Register, Returned};
use crate::define::{Defining, Place, here};
use crate::fault::{RunError, complaint};
use crate::micro::is_microbatch;
use crate::module::DepotRef;
use crate::named::Named;
use crate::plan::{Plan, Position};
use crate::run::{Host, Run, Then};
use crate::step::Step;
use crate::var::Var;
use tantu_base::id::{AckLevel, TaskId};
use tantu_base::limit::RECORD_SIZE_MAX;
use tantu_base::value::Value;

/// What an event waits for after an append, and how it goes on.
#[derive(Clone, Copy, Debug)]
pub struct AppendWait<'a> {
    /// Above [`AckLevel::None`].
    pub level: AckLevel,
    /// Where it goes on.
    pub at: Position,
    /// The vars that the code there needs.
    pub live: &'a [u8],
}

/// An append of a stream topology that waits for topologies: checked when the whole module is known.
pub(crate) struct Appended {
    place: Place,
    stream: usize,
    depot: usize,
}

impl Block {
    /// Appends a record to this task's partition of a depot of the module, also of one that is declared with
    /// [`disallow`](crate::disallow). A depot that is global has its one partition on task 0: elsewhere the event fails.
    ///
    /// [`AckLevel::None`]: the event goes on at once. [`AckLevel::AppendAck`]: it goes on, as a new event of this task, when the
    /// record is durable. [`AckLevel::Ack`]: when besides every stream topology that reads the depot has processed it; if one of them
    /// fails at the first try, so does this event. A topology that waits so for a depot that it reads itself is refused. In a
    /// microbatch topology records are appended when the microbatch is published, and nothing can wait for them.
    ///
    /// ```
    /// use tantu_base::id::AckLevel;
    /// use tantu_flow::{Module, Setup, Topologies, define, disallow, hash_by, random};
    ///
    /// struct Orders;
    /// impl Module for Orders {
    ///     fn define(setup: &mut Setup, topologies: &mut Topologies) {
    ///         let orders = setup.declare_depot::<(String, i64)>("*orders", random());
    ///         let large = setup.declare_depot::<String>("*large", disallow());
    ///         topologies.stream("sort").source(&orders, |b, order| {
    ///             let (customer, amount) =
    ///                 b.expand(order, |(customer, amount): &(String, i64)| (customer.clone(), *amount));
    ///             b.filter(amount, |amount| amount >= 1_000);
    ///             b.hash_partition(customer);
    ///             b.depot_partition_append(large, customer, AckLevel::None);
    ///         });
    ///     }
    /// }
    /// assert!(define::<Orders>().is_ok());
    /// ```
    #[track_caller]
    pub fn depot_partition_append<T: Owned>(
        &mut self,
        depot: DepotRef<T>,
        record: Var<<T as Returned>::Data>,
        level: AckLevel,
    ) {
        let uses = self.uses(record);
        self.append(depot.index, Register::new::<T::Data>(record.id), uses, level, true);
    }

    #[track_caller]
    fn append(&mut self, depot: usize, record: Register, uses: Vec<u32>, level: AckLevel, is_typed: bool) {
        let found = self.defining.borrow().depots.get(depot).cloned();
        let Some(def) = found else { return self.mistake("the depot belongs to another module".to_string()) };
        let name = &def.name;
        if def.tick.is_some() {
            self.mistake(format!("`{name}` is a tick depot: nothing is appended to it"));
        } else if self.stream == usize::MAX {
            self.mistake(format!("a query only reads: it appends nothing to `{name}`"));
        } else if is_microbatch(self.stream) && level != AckLevel::None {
            self.mistake(format!(
                "a microbatch appends to `{name}` when it is published: nothing in it can wait for that; use `AckLevel::None`"
            ));
        } else if level == AckLevel::Ack {
            self.defining.borrow_mut().appended.push(Appended { place: here(), stream: self.stream, depot });
        }
        let check = if is_typed { None } else { Some(def.accepts) };
        let step = Step::Append { depot, is_global: def.global, record, check, level, position: 0 };
        let word = match level {
            AckLevel::None => "",
            AckLevel::AppendAck => " append_ack",
            AckLevel::Ack => " ack",
        };
        self.push(step, format!("depot_partition_append {name}{word}"), uses, Vec::new());
    }
}

impl Named<'_> {
    /// Appends the value of a name to this task's partition of a depot, as [`Block::depot_partition_append`]. A value that is no
    /// record of the depot fails the event.
    #[track_caller]
    pub fn depot_partition_append(&mut self, depot: &str, record: &str, level: AckLevel) {
        let record = self.var(record);
        let found = self.block().defining.borrow().depots.iter().position(|def| def.name == depot);
        match found {
            Some(at) => self.block().append(at, Register::new::<Value>(record.id), vec![record.id], level, false),
            None => self.block().mistake(format!("the module has no depot `{depot}`")),
        }
    }
}

impl Defining {
    /// No topology waits for itself.
    pub(crate) fn check_appended(&mut self) {
        for Appended { place, stream, depot } in std::mem::take(&mut self.appended) {
            let record = &self.streams[stream];
            if record.sources.iter().any(|source| source.depot == depot) {
                let (name, topology) = (&self.depots[depot].name, &record.name);
                let what = format!(
                    "the topology `{topology}` reads `{name}` itself: an append to it that waits until it is processed may wait \
                     for ever; use `AckLevel::AppendAck`"
                );
                self.error(place, what);
            }
        }
    }
}

impl Run {
    /// Appends a record to this task's partition.
    pub(crate) fn append(&mut self, plan: &Plan, at: usize, host: &mut dyn Host) -> Result<Then, RunError> {
        let Step::Append { depot, is_global, record, check, level, position } = &plan.steps[at].step else {
            unreachable!("the step is an append")
        };
        if *is_global && host.task() != TaskId(0) {
            let what = format!(
                "the depot is global: its one partition is on task 0, and the event is on {}; go there first \
                 (`global_partition`)",
                host.task()
            );
            return Err(complaint(plan, at, what));
        }
        if !host.can_append() {
            return Ok(Then::Need);
        }
        self.live.clear();
        record.encode(&self.frame, &mut self.live);
        if self.live.len() > RECORD_SIZE_MAX {
            let what = format!("the record has {} bytes, the most is {RECORD_SIZE_MAX}", self.live.len());
            return Err(complaint(plan, at, what));
        }
        if let Some(Err(error)) = check.map(|accepts| accepts(&self.live)) {
            return Err(complaint(plan, at, format!("the value is not a record of the depot: {error}")));
        }
        let (appended, then) = match level {
            AckLevel::None => (host.append(*depot, &self.live, None), Then::Next),
            level => {
                let record = self.live.clone();
                self.gather_live(plan, *position, 0);
                let wait = AppendWait { level: *level, at: Position(*position), live: &self.live };
                (host.append(*depot, &record, Some(wait)), Then::Back)
            }
        };
        appended.map_err(|what| complaint(plan, at, what))?;
        Ok(then)
    }
}
