//! A word before each of the author's closures: where tests make user code fail.
//!
//! It is put into a definition before the module is launched, so a module that was not interposed has no trace of it:
//! nothing is looked up while events run.

use crate::alignment::Guard;
use crate::module::ModuleDef;
use crate::plan::Plan;
use crate::step::{Step, StepRecord, Target, Unfold};
use crate::table::TableDef;
use std::sync::Arc;
use tantu_base::door::Job;
use tantu_path::Before;

/// What a closure of the author is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum OpKind {
    /// Computes vars.
    Function,
    /// A case of a switch.
    Case,
    /// Emits rows.
    Emit,
    /// Gives the next value of an iterator.
    Iterator,
    /// Checks that something holds.
    Check,
    /// Chooses a task.
    Partitioner,
    /// Says where a key of a PState lives.
    KeyPartitioner,
    /// Makes a future.
    Async,
    /// The future itself, where it is waited for.
    Future,
    /// A function or a navigator in a path.
    Path,
    /// A combiner or an accumulator.
    Aggregator,
    /// A function that clients' paths may name.
    Declared,
}

impl OpKind {
    /// All of them.
    pub const ALL: [OpKind; 12] = [
        OpKind::Function,
        OpKind::Case,
        OpKind::Emit,
        OpKind::Iterator,
        OpKind::Check,
        OpKind::Partitioner,
        OpKind::KeyPartitioner,
        OpKind::Async,
        OpKind::Future,
        OpKind::Path,
        OpKind::Aggregator,
        OpKind::Declared,
    ];
}

/// One of the author's closures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpAt<'a> {
    /// What it is for.
    pub kind: OpKind,
    /// What the step does, or what has the closure if no step does.
    pub label: &'a str,
    /// The author's file; empty if no step has the closure.
    pub file: &'static str,
    /// The line in it.
    pub line: u32,
}

/// Called before each of the author's closures, on the thread that runs it. It may panic, as the closure might.
pub type BeforeOp = fn(OpAt<'_>);

impl ModuleDef {
    /// Calls `before` ahead of each of the author's closures in all topologies, whichever [`OpKind`] they are of, and of those
    /// that clients' reads call. Partitioners of depots are the clients' own.
    ///
    /// # Panics
    /// If a plan of the definition is in use already.
    pub fn interpose(&mut self, before: BeforeOp) {
        for source in self.streams.iter_mut().flat_map(|stream| &mut stream.sources) {
            source.ack_return.interpose(&word(before, OpKind::Aggregator, "ack_return"));
        }
        self.functions.interpose(&word(before, OpKind::Declared, "declare_function"));
        for pstate in &mut self.pstates {
            pstate.key_partitioner.interpose(&word(before, OpKind::KeyPartitioner, &pstate.name));
        }
        let streams = self.streams.iter_mut().map(|stream| &mut stream.plan);
        let queries = self.queries.iter_mut().map(|query| &mut query.plan);
        let microbatches = self.microbatches.iter_mut().map(|microbatch| &mut microbatch.plan);
        for plan in streams.chain(queries).chain(microbatches) {
            Arc::get_mut(plan).expect("a definition that nobody uses yet").interpose(before);
        }
    }
}

/// What is called ahead of a closure that is of no step, or of several.
fn word(before: BeforeOp, kind: OpKind, label: &str) -> Before {
    let label = label.to_string();
    Arc::new(move || before(OpAt { kind, label: &label, file: "", line: 0 }))
}

impl Plan {
    fn interpose(&mut self, before: BeforeOp) {
        for record in &mut self.steps {
            record.interpose(before);
        }
        for guard in &mut self.guards {
            if let Guard::Keys(_, by) = guard {
                by.interpose(&word(before, OpKind::KeyPartitioner, "where a key lives"));
            }
        }
        let name = self.topology().to_string();
        for table in self.tables_mut() {
            if let TableDef::Fold(def) = table {
                def.interpose(&word(before, OpKind::Aggregator, &name));
            }
        }
    }
}

impl StepRecord {
    fn interpose(&mut self, before: BeforeOp) {
        let (label, place) = (self.label.clone(), self.place);
        let of_kind = |kind| -> Before {
            let label = label.clone();
            Arc::new(move || before(OpAt { kind, label: &label, file: place.file(), line: place.line() }))
        };
        match &mut self.step {
            Step::Select { path, .. } | Step::Pages { path, .. } | Step::Transform { path, .. } => {
                path.interpose(&of_kind(OpKind::Path));
            }
            Step::Aggregate { shape, .. } => shape.interpose(&of_kind(OpKind::Aggregator)),
            Step::Hop { target, .. }
            | Step::Fold { target, .. }
            | Step::Combine { target, .. }
            | Step::Row { target, .. } => target.interpose(&of_kind),
            step => *step = with(std::mem::replace(step, Step::End), &of_kind),
        }
    }
}

impl Target {
    fn interpose(&mut self, of_kind: &dyn Fn(OpKind) -> Before) {
        match self {
            Target::Chosen(choose) => {
                let before = of_kind(OpKind::Partitioner);
                let chosen = std::mem::replace(choose, Box::new(|_, _| 0));
                *choose = Box::new(move |frame, count| {
                    before();
                    chosen(frame, count)
                });
            }
            Target::Key { by, .. } => by.interpose(&of_kind(OpKind::KeyPartitioner)),
            _ => {}
        }
    }
}

/// The step, with a call ahead of its closure if it has one.
fn with(step: Step, of_kind: &dyn Fn(OpKind) -> Before) -> Step {
    match step {
        Step::Call(call) => {
            let before = of_kind(OpKind::Function);
            Step::Call(Box::new(move |frame, arena| {
                before();
                call(frame, arena);
            }))
        }
        Step::Case { test, otherwise } => {
            let before = of_kind(OpKind::Case);
            let test = Box::new(move |frame: &mut _, arena: &mut _| {
                before();
                test(frame, arena)
            });
            Step::Case { test, otherwise }
        }
        Step::Emits { collect, out } => {
            let before = of_kind(OpKind::Emit);
            let collect = Box::new(move |frame: &_, arena: &mut _, column: &mut _| {
                before();
                collect(frame, arena, column);
            });
            Step::Emits { collect, out }
        }
        Step::Streams { collect, targets } => {
            let before = of_kind(OpKind::Emit);
            let collect = Box::new(move |frame: &_, arena: &mut _, column: &mut _| {
                before();
                collect(frame, arena, column);
            });
            Step::Streams { collect, targets }
        }
        Step::Unfold(Unfold { begin, next }) => {
            let before = of_kind(OpKind::Iterator);
            let next = Box::new(move |frame: &mut _, state| {
                before();
                next(frame, state)
            });
            Step::Unfold(Unfold { begin, next })
        }
        Step::Check(complain) => {
            let before = of_kind(OpKind::Check);
            Step::Check(Box::new(move |frame| {
                before();
                complain(frame)
            }))
        }
        Step::Await { job, position } => {
            let (made, waited) = (of_kind(OpKind::Async), of_kind(OpKind::Future));
            let job = Box::new(move |frame: &_| -> Job {
                made();
                let (job, waited) = (job(frame), Arc::clone(&waited));
                Box::new(move || {
                    waited();
                    job()
                })
            });
            Step::Await { job, position }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Module, PStateOptions, Setup, SourceOptions, TestBlock, Topologies, Var, define, random};
    use std::cell::RefCell;
    use std::collections::BTreeSet;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use tantu_base::value::{Value, encoded, encoded_key};
    use tantu_path::{List, Map, NamedFn, Navigate, NoArgs, Path, agg, path, select, transform};

    thread_local! {
        static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    fn noted(op: OpAt<'_>) {
        let file = op.file.rsplit('/').next().unwrap_or_default();
        SEEN.with_borrow_mut(|seen| seen.push(format!("{} in {file}", op.label)));
        // An explode is one of the ways to emit.
        assert!(!op.label.contains("emits"), "planned");
    }

    #[test]
    fn each_closure_of_the_author_is_announced_and_may_be_made_to_panic() {
        let mut block = TestBlock::<i64, _>::new(|b, number| {
            let double = b.each(number, |number| number * 2);
            b.filter(double, |double| double > 2);
            b.explode(double, |double| vec![double; 2])
        });
        let before = block.module.streams[0].plan.fingerprint();
        block.module.interpose(noted);
        assert_eq!(block.module.streams[0].plan.fingerprint(), before, "it is the same plan");
        for (number, ops, panics) in [(1i64, ["each", "each"].as_slice(), false), (2, &["each", "each", "emits"], true)]
        {
            SEEN.take();
            let ended = catch_unwind(AssertUnwindSafe(|| block.run(&number, |_| ()).is_ok()));
            assert_eq!(ended.is_err(), panics, "the closure that was announced is what panics");
            let mut seen = SEEN.take();
            seen.retain(|op| op != "emitted in interpose.rs");
            assert_eq!(seen.len(), ops.len(), "{seen:?}");
            let all = seen.iter().zip(ops).all(|(seen, op)| seen.starts_with(op) && seen.ends_with("in interpose.rs"));
            assert!(all, "{seen:?}");
        }
    }

    thread_local! {
        static KINDS: RefCell<BTreeSet<OpKind>> = const { RefCell::new(BTreeSet::new()) };
    }

    fn note(op: OpAt<'_>) {
        KINDS.with_borrow_mut(|kinds| kinds.insert(op.kind));
    }

    #[test]
    fn what_a_top_list_is_sorted_by_and_whose_its_values_are_is_announced() {
        let top = |topology: &mut crate::StreamTopology| topology.pstate::<Map<String, List<i64>>>("$$top");
        let mut block = TestBlock::<i64, _>::define(top, |b, top, n| {
            let best = agg::top_monotonic::<i64>(1).id(|n: i64| n % 2).sort_val(|n: i64| n);
            b.compound_agg(top, agg::key("top", best.of(n)));
        })
        .expect("it is right");
        block.module.interpose(count);
        COUNT.set(0);
        // Twice what is kept is there with the second: both are looked at, and who is the best.
        (0..2i64).for_each(|n| block.run(&n, |_| ()).expect("it is right"));
        assert_eq!(COUNT.get(), 3);
    }

    thread_local! {
        static COUNT: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    }

    fn count(op: OpAt<'_>) {
        assert_eq!(op.kind, OpKind::Aggregator);
        COUNT.set(COUNT.get() + 1);
    }

    struct Everything;

    impl Module for Everything {
        fn define(setup: &mut Setup, topologies: &mut Topologies) {
            setup.declare_function(&NamedFn::new("is_high", |n: i64| n > 5));
            let numbers = setup.declare_depot::<i64>("*numbers", random());
            let mut s = topologies.stream("s");
            let by_parity = |key: &i64, _: u32| key % 2;
            let kept = s.pstate_partitioned::<Map<i64, i64>>("$$kept", PStateOptions::default(), by_parity);
            let returns = SourceOptions::default()
                .aggregate_returns(|n: Var<i64>| agg::combiner(0i64, |a: i64, b: i64| a.max(b)).of::<i64, _>(n));
            s.source_with(&numbers, returns, |b, n| {
                let answer = b.each_async(n, |n| async move { Ok::<_, &str>(n + 1) });
                b.assert(answer, |answer| answer > i64::MIN, "it is");
                b.path_partition(kept, &path().key(answer));
                b.compound_agg(kept, agg::key(answer, agg::combiner(0i64, |a, b| a + b).of(n)));
                b.ack_return(answer);
            });
        }
    }

    #[test]
    fn closures_of_aggregators_paths_and_keys_are_announced_too() {
        let mut def = define::<Everything>().expect("it is right");
        def.interpose(note);
        let mut returns = def.streams[0].sources[0].ack_return.begin();
        returns.take(&encoded(&3i64)).expect("it fits");
        assert_eq!(def.pstates[0].key_partitioner.partition(&encoded_key(&3i64), 4), Ok(1));
        let is_high = NamedFn::new("is_high", |n: i64| n > 5);
        let mut bytes = Vec::new();
        path::<i64>().filter_named(&is_high).path().encode(&mut bytes).expect("it has a name");
        let sent = Path::decode_with(&bytes, &def.functions).expect("it is declared");
        assert_eq!(select(&sent, &Value::I64(7), &NoArgs), Ok(vec![Value::I64(7)]));
        let mut own = path::<i64>().term(|n: i64| n + 1).path().clone();
        let before: Before = word(note, OpKind::Path, "own");
        own.interpose(&before);
        assert_eq!(transform(&own, Value::I64(7), &NoArgs), Ok(Value::I64(8)));
        let expected = [OpKind::KeyPartitioner, OpKind::Path, OpKind::Aggregator, OpKind::Declared];
        assert_eq!(KINDS.take(), BTreeSet::from(expected));
    }
}
