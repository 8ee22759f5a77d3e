//! Tick depots: sources that time makes instead of clients.
//!
//! A tick depot has no records on the disk, and nobody appends to it. On task 0 a source of it gets the one value [`Tick`] each time
//! a period has passed. A stream topology starts an event tree then, which is tried again like that of a record if it fails,
//! until the process ends. A microbatch topology gets at most one tick in a microbatch, at its start, if a period has passed since
//! the one before, however many have; a microbatch without records runs for it.

use crate::data::Record;
use crate::define::here;
use crate::depot::disallow;
use crate::module::{DepotOptions, DepotRef, Setup};
use std::time::Duration;
use tantu_base::value::{Decode, DecodeError, Encode, Reader};

/// The record of a tick depot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tick;

impl Encode for Tick {
    const MAY_BE_NULL: bool = true;

    fn is_null(&self) -> bool {
        true
    }

    fn encode(&self, out: &mut Vec<u8>) {
        ().encode(out);
    }
}

impl Decode for Tick {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        <()>::decode(reader).map(|()| Tick)
    }
}

impl Record for Tick {}

impl Setup {
    /// Declares a tick depot. Its name starts with `*`, its period is at least a millisecond. Code that is tested with ticks of the
    /// test's own declares a global depot of [`Tick`]s instead, to which the test appends:
    ///
    /// ```
    /// use std::time::Duration;
    /// use tantu_flow::{DepotRef, Module, Setup, Tick, Topologies, define, random};
    /// use tantu_path::{Map, agg};
    ///
    /// fn topology(ticks: DepotRef<Tick>, topologies: &mut Topologies) {
    ///     let mut minutes = topologies.stream("minutes");
    ///     let count = minutes.pstate::<Map<i64, i64>>("$$count");
    ///     minutes.source(&ticks, |b, _| {
    ///         let task = b.current_task_id();
    ///         b.hash_partition(task);
    ///         b.compound_agg(count, agg::key(task, agg::count()));
    ///     });
    /// }
    ///
    /// struct Minutes;
    /// impl Module for Minutes {
    ///     fn define(setup: &mut Setup, topologies: &mut Topologies) {
    ///         topology(setup.declare_tick_depot("*minutes", Duration::from_secs(60)), topologies);
    ///     }
    /// }
    ///
    /// struct Tested;
    /// impl Module for Tested {
    ///     fn define(setup: &mut Setup, topologies: &mut Topologies) {
    ///         topology(setup.declare_global_depot("*minutes", random()), topologies);
    ///     }
    /// }
    /// assert!(define::<Minutes>().is_ok() && define::<Tested>().is_ok());
    /// ```
    #[track_caller]
    pub fn declare_tick_depot(&mut self, name: &str, period: Duration) -> DepotRef<Tick> {
        if period < Duration::from_millis(1) {
            let what = format!("the tick depot `{name}` has a period of {period:?}; it is at least a millisecond");
            self.defining.borrow_mut().error(here(), what);
        }
        let depot = self.depot(name, disallow(), true, DepotOptions::default());
        if let Some(def) = self.defining.borrow_mut().depots.get_mut(depot.index) {
            def.tick = Some(period);
        }
        depot
    }
}
