//! Conditions and failures: `if_true`, `if_else`, `cond`, `switch`, `match_enum`, `fail`, `assert`, named operations.
//!
//! ```
//! use tantu_flow::{TestBlock, Var};
//!
//! let block = TestBlock::new(|b, n: Var<i64>| {
//!     b.cond()
//!         .case(|b| b.each(n, |n| n < 0), |b| b.each((), |()| "negative"))
//!         .case(|b| b.each(n, |n| n == 0), |b| b.each((), |()| "zero"))
//!         .otherwise(|b| {
//!             let even = b.each(n, |n| n % 2 == 0);
//!             b.if_else(even, |b| b.each((), |()| "even"), |b| b.each(n, |n| format!("odd {n}")))
//!         })
//! });
//! let mut seen = Vec::new();
//! for n in [-5i64, 0, 4, 7] {
//!     block.run(&n, |text| seen.push(text.to_string())).unwrap();
//! }
//! assert_eq!(seen, ["negative", "zero", "even", "odd 7"]);
//! ```

use crate::arena::Arena;
use crate::block::{Block, read};
use crate::data::{Data, Returned};
use crate::slot::Frame;
use crate::step::Step;
use crate::var::{Var, Vars};
use crate::ways::Ways;

impl Block {
    /// Runs the inner block only if the var is true; the code after it runs in any case. Nothing bound inside is seen after it.
    #[track_caller]
    pub fn if_true(&mut self, condition: Var<bool>, then: impl FnOnce(&mut Block)) {
        self.if_else(condition, then, |_| {});
    }

    /// Runs one of two blocks, and then the code after it with the vars that the block returned.
    #[track_caller]
    pub fn if_else<T: Vars>(
        &mut self,
        condition: Var<bool>,
        then: impl FnOnce(&mut Block) -> T,
        otherwise: impl FnOnce(&mut Block) -> T,
    ) -> T {
        let uses = self.uses(condition);
        let into = self.bind_all::<T>("if_else");
        let branch = self.push(Step::If { condition: condition.id, otherwise: 0 }, "if", uses, Vec::new());
        let mut ways = Ways::part(self, into);
        let value = then(self);
        ways.end(self, value);
        self.land(branch);
        let value = otherwise(self);
        ways.end(self, value);
        ways.meet(self);
        into
    }

    /// The first case whose condition is true; conditions after it are not computed.
    #[track_caller]
    pub fn cond<T: Vars>(&mut self) -> Cond<'_, T> {
        Cond { cases: Cases::new(self, "cond") }
    }

    /// The first case whose function says yes to the values.
    ///
    /// ```
    /// use tantu_flow::{TestBlock, Var};
    /// let block = TestBlock::new(|b, n: Var<i64>| {
    ///     b.switch(n).case(|n| n == 1, |b| b.constant("one")).otherwise(|b| b.constant("many"))
    /// });
    /// let mut seen = Vec::new();
    /// block.run(&1i64, |text| seen.push(text.to_string())).unwrap();
    /// assert_eq!(seen, ["one"]);
    /// ```
    #[track_caller]
    pub fn switch<I: Vars, T: Vars>(&mut self, on: I) -> Switch<'_, I, T> {
        Switch { on, cases: Cases::new(self, "switch") }
    }

    /// The case for what a value holds: each case takes its part out of the value, and the code of the first that finds one
    /// runs with it. Without any the event fails, unless there is an `otherwise`.
    ///
    /// ```
    /// use tantu_flow::{TestBlock, Var};
    /// // Any enum that implements `Record` will do; here `Option<(i64, String)>`.
    /// let block = TestBlock::new(|b, of: Var<Option<(i64, String)>>| {
    ///     b.match_enum(of)
    ///         .case(|of| of.as_ref().filter(|of| of.0 < 10).map(|of| of.0), |b, small| b.each(small, |n| format!("small {n}")))
    ///         .part(|of| of.as_ref().map(|of| of.1.as_str()), |b, text| b.each(text, |text| format!("text {text}")))
    ///         .end()
    /// });
    /// let mut seen = Vec::new();
    /// block.run(&Some((3i64, "x".to_string())), |text| seen.push(text.to_string())).unwrap();
    /// block.run(&Some((30i64, "y".to_string())), |text| seen.push(text.to_string())).unwrap();
    /// assert_eq!(seen, ["small 3", "text y"]);
    /// assert!(block.run(&None, |_| {}).unwrap_err().to_string().contains("no case"));
    /// ```
    #[track_caller]
    pub fn match_enum<A: Data + ?Sized, T: Vars>(&mut self, of: Var<A>) -> Match<'_, A, T> {
        Match { of, cases: Cases::new(self, "match_enum") }
    }

    /// Fails the event. No code follows on this way.
    #[track_caller]
    pub fn fail<I: Vars, S: Into<String>>(
        &mut self,
        inputs: I,
        what: impl for<'x> Fn(I::Refs<'x>) -> S + Send + Sync + 'static,
    ) {
        let uses = self.uses(inputs);
        let complain = move |frame: &Frame| Some(what(read(&inputs, frame)).into());
        self.push(Step::Check(Box::new(complain)), "fail", uses, Vec::new());
        self.stop();
    }

    /// Fails the event unless the function says yes.
    #[track_caller]
    pub fn assert<I: Vars>(
        &mut self,
        inputs: I,
        holds: impl for<'x> Fn(I::Refs<'x>) -> bool + Send + Sync + 'static,
        what: &str,
    ) {
        let uses = self.uses(inputs);
        let what = what.to_string();
        let complain = move |frame: &Frame| (!holds(read(&inputs, frame))).then(|| what.clone());
        self.push(Step::Check(Box::new(complain)), "assert", uses, Vec::new());
    }

    /// Vars for a way that does not get to its end, because it failed or went on with its loop: what such a block returns.
    #[track_caller]
    pub fn never<T: Vars>(&mut self) -> T {
        if !self.scope.unreachable {
            self.mistake("`never` stands where the code goes on; it is for ways that have ended".to_string());
        }
        self.bind_all("never")
    }

    /// This way ends.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.add(Step::End, "end", Vec::new(), Vec::new());
        self.scope.unreachable = true;
    }

    /// A named operation: a function over blocks that is recorded here. It may emit any number of times, repartition and use
    /// other operations. One that uses itself is refused, since it would be recorded without end; write a loop.
    ///
    /// ```
    /// use tantu_flow::{Block, TestBlock, Var};
    /// fn half_or_fail(b: &mut Block, n: Var<i64>) -> Var<i64> {
    ///     b.operation("half", n, |b, n| {
    ///         b.assert(n, |n| n % 2 == 0, "odd");
    ///         b.each(n, |n| n / 2)
    ///     })
    /// }
    /// let quarter = TestBlock::new(|b, n: Var<i64>| {
    ///     let half = half_or_fail(b, n);
    ///     half_or_fail(b, half)
    /// });
    /// let mut seen = Vec::new();
    /// quarter.run(&12i64, |n| seen.push(n)).unwrap();
    /// assert_eq!(seen, [3]);
    ///
    /// fn factorial(b: &mut Block, n: Var<i64>) -> Var<i64> {
    ///     b.operation("factorial", n, |b, n| {
    ///         let before = b.each(n, |n| n - 1);
    ///         let rest = factorial(b, before);
    ///         b.each((n, rest), |(n, rest)| n * rest)
    ///     })
    /// }
    /// let error = TestBlock::define(|_| (), |b, (), n: Var<i64>| factorial(b, n)).unwrap_err();
    /// assert!(error.to_string().contains("`factorial` uses itself"));
    /// ```
    #[track_caller]
    pub fn operation<I: Vars, O: Vars>(&mut self, name: &str, inputs: I, body: impl FnOnce(&mut Block, I) -> O) -> O {
        self.uses(inputs);
        if self.operations.iter().any(|outer| outer == name) {
            self.mistake(format!("the operation `{name}` uses itself; write a loop (`looped`) instead"));
            return self.bind_all(name);
        }
        self.operations.push(name.to_string());
        let out = body(self, inputs);
        self.operations.pop();
        out
    }
}

/// Cases under way: shared by the constructs with several.
struct Cases<'b, T: Vars> {
    block: &'b mut Block,
    into: T,
    ways: Option<Ways>,
    what: &'static str,
}

impl<'b, T: Vars> Cases<'b, T> {
    #[track_caller]
    fn new(block: &'b mut Block, what: &'static str) -> Self {
        let into = block.bind_all::<T>(what);
        let ways = Some(Ways::part(block, into));
        Cases { block, into, ways, what }
    }

    #[track_caller]
    fn way(&mut self, branch: Option<usize>, then: impl FnOnce(&mut Block) -> T) {
        let value = then(self.block);
        if let Some(ways) = &mut self.ways {
            ways.end(self.block, value);
        }
        if let Some(branch) = branch {
            self.block.land(branch);
        }
    }

    #[track_caller]
    fn case_of<I: Vars>(
        &mut self,
        on: I,
        test: impl Fn(&mut Frame, &mut Arena) -> bool + Send + Sync + 'static,
        bound: Option<u32>,
        then: impl FnOnce(&mut Block) -> T,
    ) {
        let uses = self.block.uses(on);
        let step = Step::Case { test: Box::new(test), otherwise: 0 };
        let branch = self.block.push(step, format!("case of {}", self.what), uses, bound.into_iter().collect());
        self.way(Some(branch), then);
    }

    #[track_caller]
    fn meet(mut self) -> T {
        if let Some(mut ways) = self.ways.take() {
            ways.meet(self.block);
        }
        self.into
    }

    #[track_caller]
    fn otherwise(mut self, then: impl FnOnce(&mut Block) -> T) -> T {
        self.way(None, then);
        self.meet()
    }

    #[track_caller]
    fn otherwise_fail(mut self, what: String) -> T {
        self.block.fail((), move |()| what.clone());
        let never: T = self.block.never();
        if let Some(ways) = &mut self.ways {
            ways.end(self.block, never);
        }
        self.meet()
    }
}

impl<T: Vars> Drop for Cases<'_, T> {
    fn drop(&mut self) {
        if let Some(mut ways) = self.ways.take() {
            let what = self.what;
            self.block.mistake(format!("`{what}` is not ended: add `otherwise`, `otherwise_fail` or `end`"));
            ways.meet(self.block);
        }
    }
}

/// Cases by condition; see [`Block::cond`].
#[must_use = "end it with `otherwise`, `otherwise_fail` or `end`"]
pub struct Cond<'b, T: Vars> {
    cases: Cases<'b, T>,
}

impl<T: Vars> Cond<'_, T> {
    /// Runs the block if the condition, computed here, is true.
    #[track_caller]
    pub fn case(mut self, when: impl FnOnce(&mut Block) -> Var<bool>, then: impl FnOnce(&mut Block) -> T) -> Self {
        let block = &mut *self.cases.block;
        let condition = when(block);
        let uses = block.uses(condition);
        let step = Step::If { condition: condition.id, otherwise: 0 };
        let branch = block.push(step, "case of cond", uses, Vec::new());
        self.cases.way(Some(branch), then);
        self
    }

    /// The block for when no condition is true. One that fails need not bind what the others do: it returns [`Block::never`].
    #[track_caller]
    pub fn otherwise(self, then: impl FnOnce(&mut Block) -> T) -> T {
        self.cases.otherwise(then)
    }

    /// Fails the event when no condition is true.
    #[track_caller]
    pub fn otherwise_fail(self, what: &str) -> T {
        self.cases.otherwise_fail(what.to_string())
    }
}

impl Cond<'_, ()> {
    /// When no condition is true, the code after it runs all the same.
    #[track_caller]
    pub fn end(self) {
        self.cases.otherwise(|_| {});
    }
}

/// Cases by value; see [`Block::switch`].
#[must_use = "end it with `otherwise`, `otherwise_fail` or `end`"]
pub struct Switch<'b, I: Vars, T: Vars> {
    on: I,
    cases: Cases<'b, T>,
}

impl<I: Vars, T: Vars> Switch<'_, I, T> {
    /// Runs the block if the function says yes.
    #[track_caller]
    pub fn case(
        mut self,
        when: impl for<'x> Fn(I::Refs<'x>) -> bool + Send + Sync + 'static,
        then: impl FnOnce(&mut Block) -> T,
    ) -> Self {
        let on = self.on;
        self.cases.case_of(on, move |frame, _| when(read(&on, frame)), None, then);
        self
    }

    /// The block for when no case applies.
    #[track_caller]
    pub fn otherwise(self, then: impl FnOnce(&mut Block) -> T) -> T {
        self.cases.otherwise(then)
    }

    /// Fails the event when no case applies.
    #[track_caller]
    pub fn otherwise_fail(self, what: &str) -> T {
        self.cases.otherwise_fail(what.to_string())
    }
}

impl<I: Vars> Switch<'_, I, ()> {
    /// When no case applies, the code after it runs all the same.
    #[track_caller]
    pub fn end(self) {
        self.cases.otherwise(|_| {});
    }
}

/// Cases by content; see [`Block::match_enum`].
#[must_use = "end it with `otherwise` or `end`"]
pub struct Match<'b, A: ?Sized, T: Vars> {
    of: Var<A>,
    cases: Cases<'b, T>,
}

impl<A: Data + ?Sized, T: Vars> Match<'_, A, T> {
    /// Runs the block with what the function takes out of the value, if it finds it there.
    #[track_caller]
    pub fn case<R: Returned>(
        mut self,
        take: impl for<'x> Fn(A::Ref<'x>) -> Option<R> + Send + Sync + 'static,
        then: impl FnOnce(&mut Block, Var<R::Data>) -> T,
    ) -> Self {
        let of = self.of;
        let out = self.cases.block.bind::<R::Data>("case");
        let test = move |frame: &mut Frame, arena: &mut Arena| match take(read(&of, frame)) {
            Some(found) => {
                frame.set(out.id, found.into_slot(arena));
                true
            }
            None => false,
        };
        self.cases.case_of(of, test, Some(out.id), |b| then(b, out));
        self
    }

    /// The same with a part of the value, which is not copied.
    #[track_caller]
    pub fn part<O>(
        mut self,
        find: impl for<'x> Fn(&'x A) -> Option<&'x O> + Send + Sync + 'static,
        then: impl FnOnce(&mut Block, Var<O>) -> T,
    ) -> Self
    where
        A: for<'y> Data<Ref<'y> = &'y A>,
        O: ?Sized + for<'y> Data<Ref<'y> = &'y O>,
    {
        let of = self.of;
        let out = self.cases.block.bind::<O>("part");
        let test = move |frame: &mut Frame, _: &mut Arena| match find(read(&of, frame)).map(O::slot) {
            Some(slot) => {
                frame.set(out.id, slot);
                true
            }
            None => false,
        };
        self.cases.case_of(of, test, Some(out.id), |b| then(b, out));
        self
    }

    /// The block for when no case applies.
    #[track_caller]
    pub fn otherwise(self, then: impl FnOnce(&mut Block) -> T) -> T {
        self.cases.otherwise(then)
    }

    /// When no case applies, the event fails.
    #[track_caller]
    pub fn end(self) -> T {
        self.cases.otherwise_fail("no case of `match_enum` applies".to_string())
    }
}
