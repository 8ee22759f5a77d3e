//! A word before each of the author's closures: where tests make user code fail.
//!
//! It is put into a definition before the module is launched, so a module that was not interposed has no trace of it:
//! nothing is looked up while events run.

use crate::module::ModuleDef;
use crate::plan::Plan;
use crate::step::{Step, Target, Unfold};
use std::sync::Arc;

/// One of the author's closures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpAt<'a> {
    /// What the step does.
    pub label: &'a str,
    /// The author's file.
    pub file: &'static str,
    /// The line in it.
    pub line: u32,
}

/// Called before each of the author's closures, on the thread that runs it. It may panic, as the closure might.
pub type BeforeOp = fn(OpAt<'_>);

impl ModuleDef {
    /// Calls `before` ahead of each of the author's closures in all topologies: operations, cases, emits, iterators, checks
    /// and partitioners of their own.
    ///
    /// # Panics
    /// If a plan of the definition is in use already.
    pub fn interpose(&mut self, before: BeforeOp) {
        let streams = self.streams.iter_mut().map(|stream| &mut stream.plan);
        let queries = self.queries.iter_mut().map(|query| &mut query.plan);
        let microbatches = self.microbatches.iter_mut().map(|microbatch| &mut microbatch.plan);
        for plan in streams.chain(queries).chain(microbatches) {
            Arc::get_mut(plan).expect("a definition that nobody uses yet").interpose(before);
        }
    }
}

impl Plan {
    fn interpose(&mut self, before: BeforeOp) {
        for record in &mut self.steps {
            let (label, place) = (record.label.clone(), record.place);
            let call = move || before(OpAt { label: &label, file: place.file(), line: place.line() });
            record.step = with(std::mem::replace(&mut record.step, Step::End), call);
        }
    }
}

/// The step, with a call ahead of its closure if it has one.
fn with(step: Step, before: impl Fn() + Send + Sync + 'static) -> Step {
    match step {
        Step::Call(call) => Step::Call(Box::new(move |frame, arena| {
            before();
            call(frame, arena);
        })),
        Step::Case { test, otherwise } => {
            let test = Box::new(move |frame: &mut _, arena: &mut _| {
                before();
                test(frame, arena)
            });
            Step::Case { test, otherwise }
        }
        Step::Emits { collect, out } => {
            let collect = Box::new(move |frame: &_, arena: &mut _, column: &mut _| {
                before();
                collect(frame, arena, column);
            });
            Step::Emits { collect, out }
        }
        Step::Streams { collect, targets } => {
            let collect = Box::new(move |frame: &_, arena: &mut _, column: &mut _| {
                before();
                collect(frame, arena, column);
            });
            Step::Streams { collect, targets }
        }
        Step::Unfold(Unfold { begin, next }) => {
            let next = Box::new(move |frame: &mut _, state| {
                before();
                next(frame, state)
            });
            Step::Unfold(Unfold { begin, next })
        }
        Step::Check(complain) => Step::Check(Box::new(move |frame| {
            before();
            complain(frame)
        })),
        Step::Hop { target: Target::Chosen(choose), one_partition, position } => {
            let choose = Box::new(move |frame: &_, count| {
                before();
                choose(frame, count)
            });
            Step::Hop { target: Target::Chosen(choose), one_partition, position }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TestBlock;
    use std::cell::RefCell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    thread_local! {
        static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    fn noted(op: OpAt<'_>) {
        let file = op.file.rsplit('/').next().unwrap_or_default();
        SEEN.with_borrow_mut(|seen| seen.push(format!("{} in {file}", op.label)));
        assert!(!op.label.contains("explode"), "planned");
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
        for (number, ops, panics) in
            [(1i64, ["each", "each"].as_slice(), false), (2, &["each", "each", "explode"], true)]
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
}
