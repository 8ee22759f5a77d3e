//! The module of the errands: parcels and notes that go to all tasks, to any, to one that code chooses, and back; after a wait
//! for work elsewhere; once, at least once or at most once.

use crate::user::{self, UserOp};
use tantu_flow::{
    Block, DepotOptions, DepotRef, MicrobatchOptions, Module, PStateOptions, RetryMode, Setup, SourceOptions,
    StartFrom, Topologies, Var, random,
};
use tantu_path::{Map, agg};

/// The depot of parcels: their appends wait until a try of theirs succeeds.
pub const PARCELS: u16 = 0;
/// The depot of notes, which the stream does not try again.
pub const NOTES: u16 = 1;
/// What the stream did, where it did it.
pub const DONE: u16 = 0;
/// What the microbatches did, where they did it.
pub const EXACT: u16 = 1;

/// The functions of the user that the module has.
pub const OPS: [UserOp; 10] = [
    UserOp::Ask,
    UserOp::Promise,
    UserOp::Everywhere,
    UserOp::Choose,
    UserOp::Deliver,
    UserOp::Return,
    UserOp::AskExact,
    UserOp::PromiseExact,
    UserOp::Visit,
    UserOp::ChooseExact,
];

/// See the module. `ALL_AFTER`: parcels behind one that failed are processed again too. `FURTHER`: each topology has a second source
/// of parcels.
#[derive(Debug)]
pub struct Errands<const ALL_AFTER: bool, const FURTHER: bool>;

/// Which of `count` tasks a line is taken to.
pub fn choice(line: &str, count: u32) -> i64 {
    line.bytes().map(i64::from).sum::<i64>() % i64::from(count)
}

/// What was done for a line, and on which task.
fn done(b: &mut Block, what: &'static str, line: Var<str>, op: UserOp) -> Var<str> {
    let task = b.current_task_id();
    b.each((line, task), move |(line, task)| {
        user::at(op);
        format!("{what} {line} {task}")
    })
}

/// Waits for somebody who says how long the line is.
fn ask(b: &mut Block, line: Var<str>, ask: UserOp, promise: UserOp) -> Var<i64> {
    b.each_async(line, move |line| {
        user::at(ask);
        let len = line.len() as i64;
        async move {
            user::at(promise);
            Ok::<_, &str>(len)
        }
    })
}

/// The line, if that was its length.
fn checked(b: &mut Block, line: Var<str>, len: Var<i64>) -> Var<str> {
    b.each((line, len), |(line, len)| if line.len() as i64 == len { line.to_string() } else { format!("not-{line}") })
}

/// The microbatches: what they do for each line, they do once.
fn declare_census<const FURTHER: bool>(
    parcels: &DepotRef<String>,
    notes: &DepotRef<String>,
    topologies: &mut Topologies,
) {
    let options = MicrobatchOptions { max_records: 6, ..MicrobatchOptions::default() };
    let mut census = topologies.microbatch_with("census", options);
    let here = PStateOptions::unchecked();
    let exact = census.pstate_with::<Map<String, i64>>("$$exact", here);
    census.source_from(parcels, StartFrom::Beginning, |m, batch| {
        let line = m.explode_microbatch(batch);
        let len = ask(m, line, UserOp::AskExact, UserOp::PromiseExact);
        m.all_partition();
        let line = checked(m, line, len);
        let key = done(m, "all", line, UserOp::Visit);
        m.compound_agg(exact, agg::key(key, agg::count()));
    });
    if FURTHER {
        census.further_source("further", parcels, StartFrom::Beginning, |m, batch| {
            let line = m.explode_microbatch(batch);
            m.custom_partition(line, |count, line| {
                user::at(UserOp::ChooseExact);
                choice(line, count)
            });
            let key = done(m, "further", line, UserOp::Visit);
            m.compound_agg(exact, agg::key(key, agg::count()));
        });
    }
    census.source_from(notes, StartFrom::Beginning, |m, batch| {
        let line = m.explode_microbatch(batch);
        let from = m.current_task_id();
        m.shuffle_partition();
        let key = done(m, "any", line, UserOp::Visit);
        m.compound_agg(exact, agg::key(key, agg::count()));
        m.direct_partition(from);
        let key = done(m, "back", line, UserOp::Visit);
        m.compound_agg(exact, agg::key(key, agg::count()));
    });
}

impl<const ALL_AFTER: bool, const FURTHER: bool> Module for Errands<ALL_AFTER, FURTHER> {
    fn name() -> String {
        "Errands".to_string()
    }

    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let patient = DepotOptions { fail_ack_on_any_failure: false, ..DepotOptions::default() };
        let parcels = setup.declare_depot_with::<String>("*parcels", random(), patient);
        let notes = setup.declare_depot::<String>("*notes", random());
        let mut courier = topologies.stream("courier");
        let here = PStateOptions::unchecked();
        let all = courier.pstate_with::<Map<String, i64>>("$$done", here);
        let retry = if ALL_AFTER { RetryMode::AllAfter } else { RetryMode::Individual };
        let start = StartFrom::Beginning;
        let options = SourceOptions { start, retry, ..SourceOptions::default() };
        courier.source_with(&parcels, options.clone(), |b, line| {
            let len = ask(b, line, UserOp::Ask, UserOp::Promise);
            b.all_partition();
            let line = checked(b, line, len);
            let key = done(b, "all", line, UserOp::Everywhere);
            b.compound_agg(all, agg::key(key, agg::count()));
        });
        if FURTHER {
            let further = SourceOptions { id: Some("further".to_string()), ..options };
            courier.source_with(&parcels, further, |b, line| {
                b.custom_partition(line, |count, line| {
                    user::at(UserOp::Choose);
                    choice(line, count)
                });
                let key = done(b, "further", line, UserOp::Everywhere);
                b.compound_agg(all, agg::key(key, agg::count()));
            });
        }
        let once = SourceOptions { start, retry: RetryMode::None, ..SourceOptions::default() };
        courier.source_with(&notes, once, |b, line| {
            let from = b.current_task_id();
            b.shuffle_partition();
            let key = done(b, "any", line, UserOp::Deliver);
            b.compound_agg(all, agg::key(key, agg::count()));
            b.direct_partition(from);
            let key = done(b, "back", line, UserOp::Return);
            b.compound_agg(all, agg::key(key, agg::count()));
        });
        declare_census::<FURTHER>(&parcels, &notes, topologies);
    }
}
