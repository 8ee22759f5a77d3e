//! What one operation costs: the difference between events with many and with one, and an event by itself.

use super::module::{ManyOps, NoStore, OP_COUNT, OneOp, Records, Source, add};
use super::{FlowArgs, timed};
use crate::Common;
use crate::error::BenchError;
use crate::report::Figures;
use crate::suite::flow::rmw::failed;
use tantu_base::value::decoded;

fn records(args: &FlowArgs, common: &Common) -> Records {
    Records::of((0..args.events(common)).map(|n| n as i64))
}

fn all(source: &mut Source, records: &Records) -> Result<(), BenchError> {
    records.iter().try_for_each(|record| source.event(record, &mut NoStore))
}

fn by_hand(records: &Records, ops: u64) -> Result<(), BenchError> {
    for record in records.iter() {
        let n = decoded::<i64>(record).map_err(|error| failed("reading a record", error))?;
        std::hint::black_box((0..ops).fold(n, |n, _| add(n)));
    }
    Ok(())
}

/// The figures of events with one operation, and what each of those that others have more costs.
fn figures(
    args: &FlowArgs,
    common: &Common,
    mut run: impl FnMut(u64) -> Result<(), BenchError>,
) -> Result<Figures, BenchError> {
    let events = args.events(common);
    run(OP_COUNT)?;
    let many = timed(events, || run(OP_COUNT))?;
    run(1)?;
    let one = timed(events, || run(1))?;
    let mut figures = one.figures();
    figures.push(("ns_per_op", (many.ns - one.ns) / (one.events * (OP_COUNT - 1) as f64)));
    Ok(figures)
}

pub(super) fn tantu(args: &FlowArgs, common: &Common) -> Result<Figures, BenchError> {
    let records = records(args, common);
    let (mut one, mut many) = (Source::of::<OneOp>()?, Source::of::<ManyOps>()?);
    figures(args, common, |ops| all(if ops == 1 { &mut one } else { &mut many }, &records))
}

pub(super) fn bound(args: &FlowArgs, common: &Common) -> Result<Figures, BenchError> {
    let records = records(args, common);
    figures(args, common, |ops| by_hand(&records, ops))
}
