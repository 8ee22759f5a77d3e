//! Branches that grow from one point and are joined again: anchors, output streams, atomic blocks.
//!
//! An anchor is a point of the code. Code attached there ([`Block::branch`], [`Block::hook`]) runs each time the
//! point is reached, besides what follows it; in which order is not promised. [`Block::unify`] joins branches: what follows runs for
//! every emit of each.
//!
//! ```
//! use tantu_flow::{TestBlock, Var};
//!
//! let block = TestBlock::new(|b, n: Var<i64>| {
//!     let root = b.anchor(());
//!     let doubled = b.each(n, |n| n * 2);
//!     let left = b.anchor(doubled);
//!     b.hook(&root);
//!     let negative = b.each(n, |n| -n);
//!     let right = b.anchor(negative);
//!     b.unify([left, right])
//! });
//! let mut seen = Vec::new();
//! block.run(&5i64, |n| seen.push(n)).unwrap();
//! seen.sort();
//! assert_eq!(seen, [-5, 10]);
//! ```

use crate::block::{Block, read};
use crate::data::Data;
use crate::emit::StreamEmit;
use crate::scope::Scope;
use crate::slot::{Frame, Slot};
use crate::step::Step;
use crate::var::{Var, Vars};
use crate::ways::Ways;
use std::marker::PhantomData;
use std::rc::Rc;

/// A point of the code of a source, and the vars it hands to what is attached there.
#[derive(Clone, Debug)]
pub struct Anchor<T> {
    source: u32,
    fork: usize,
    scope: Rc<Scope>,
    values: T,
}

/// An output stream of an operation besides its default one; see [`Block::emits_streams`].
pub struct OutStream<T: ?Sized> {
    pub(crate) var: Var<T>,
}

impl<T: ?Sized> Copy for OutStream<T> {}
impl<T: ?Sized> Clone for OutStream<T> {
    fn clone(&self) -> Self {
        *self
    }
}

/// One output stream or a tuple of them.
pub trait OutStreams: Copy {
    /// An anchor for each.
    type Anchors;
    #[doc(hidden)]
    fn vars(self) -> Vec<u32>;
    #[doc(hidden)]
    fn anchors(self, make: &mut dyn FnMut(u32) -> Anchor<()>) -> Self::Anchors;
}

impl<T: Data + ?Sized> OutStreams for OutStream<T> {
    type Anchors = Anchor<Var<T>>;
    fn vars(self) -> Vec<u32> {
        vec![self.var.id]
    }
    fn anchors(self, make: &mut dyn FnMut(u32) -> Anchor<()>) -> Anchor<Var<T>> {
        let Anchor { source, fork, scope, .. } = make(self.var.id);
        Anchor { source, fork, scope, values: self.var }
    }
}

macro_rules! streams {
    ($($name:ident)+) => {
        impl<$($name: OutStreams),+> OutStreams for ($($name,)+) {
            type Anchors = ($($name::Anchors,)+);
            #[allow(non_snake_case, reason = "one name for a part and its type")]
            fn vars(self) -> Vec<u32> {
                let ($($name,)+) = self;
                [$($name.vars()),+].concat()
            }
            #[allow(non_snake_case, reason = "one name for a part and its type")]
            fn anchors(self, make: &mut dyn FnMut(u32) -> Anchor<()>) -> Self::Anchors {
                let ($($name,)+) = self;
                ($($name.anchors(make),)+)
            }
        }
    };
}

streams! { A B }
streams! { A B C }
streams! { A B C D }

impl Block {
    /// Labels this point; code attached to it sees the vars bound here and gets these.
    #[track_caller]
    pub fn anchor<T: Vars>(&mut self, values: T) -> Anchor<T> {
        self.uses(values);
        let fork = self.push(Step::Fork { branches: Vec::new() }, "anchor", Vec::new(), Vec::new());
        Anchor { source: self.source, fork, scope: Rc::new(self.scope.clone()), values }
    }

    #[track_caller]
    fn attach<T: Vars>(&mut self, anchor: &Anchor<T>) {
        if anchor.source != self.source {
            self.mistake("the anchor belongs to another source".to_string());
            return;
        }
        let at = self.at();
        if let Step::Fork { branches } = &mut self.code.steps[anchor.fork].step {
            branches.push(at);
        }
        self.scope = (*anchor.scope).clone();
    }

    /// Attaches a side branch at the anchor. The code after the call goes on from before it.
    #[track_caller]
    pub fn branch<T: Vars>(&mut self, anchor: &Anchor<T>, body: impl FnOnce(&mut Block, T)) {
        let skip = self.add(Step::Jump(0), "jump", Vec::new(), Vec::new());
        let outer = self.scope.clone();
        self.attach(anchor);
        body(self, anchor.values);
        self.add(Step::End, "end", Vec::new(), Vec::new());
        self.land(skip);
        self.scope = outer;
    }

    /// What follows is attached at the anchor; the way up to here ends.
    #[track_caller]
    pub fn hook<T: Vars>(&mut self, anchor: &Anchor<T>) -> T {
        self.add(Step::End, "end", Vec::new(), Vec::new());
        self.attach(anchor);
        anchor.values
    }

    /// What follows runs for every emit of each branch, and sees the vars that all of them see. The way up to here ends, unless
    /// it is one of the branches.
    #[track_caller]
    pub fn unify<T: Vars, const N: usize>(&mut self, branches: [Anchor<T>; N]) -> T {
        self.unify_all(&branches)
    }

    #[track_caller]
    pub(crate) fn unify_all<T: Vars>(&mut self, branches: &[Anchor<T>]) -> T {
        self.add(Step::End, "end", Vec::new(), Vec::new());
        let into = self.bind_all::<T>("unify");
        let mut ways = Ways::part(self, into);
        for anchor in branches {
            self.attach(anchor);
            ways.end(self, anchor.values);
        }
        ways.meet(self);
        into
    }

    /// What follows the block runs once, when all work in it is done that belongs to this event. Work behind a partitioner inside
    /// is not waited for. Nothing bound inside is seen after it.
    #[track_caller]
    pub fn atomic_block(&mut self, body: impl FnOnce(&mut Block)) {
        let fork = self.push(Step::Fork { branches: vec![0] }, "atomic_block", Vec::new(), Vec::new());
        let outer = self.scope.clone();
        body(self);
        self.add(Step::End, "end", Vec::new(), Vec::new());
        self.land(fork);
        self.scope = outer;
    }

    /// An output stream for an operation with several.
    #[track_caller]
    pub fn out_stream<T: Data + ?Sized>(&mut self, name: &str) -> OutStream<T> {
        let var = self.bind::<T>("out_stream");
        self.scope.visible.remove(&var.id);
        OutStream { var: self.name(var, name) }
    }

    /// Emits any number of values, each on the default stream or on one of `streams`, in the order the function
    /// emits them. The code below runs for those of the default stream; code for another is attached at its anchor.
    ///
    /// ```
    /// use tantu_flow::{StreamEmit, TestBlock, Var};
    /// let block = TestBlock::new(|b, line: Var<str>| {
    ///     let bad = b.out_stream::<str>("bad");
    ///     let (number, bad) = b.emits_streams(line, bad, move |line, out: &mut StreamEmit<'_, i64>| {
    ///         for word in line.split(' ') {
    ///             match word.parse::<i64>() {
    ///                 Ok(number) => out.owned(number),
    ///                 Err(_) => out.emit_on(bad, word),
    ///             }
    ///         }
    ///     });
    ///     let number = b.each(number, |n| format!("number {n}"));
    ///     let number = b.anchor(number);
    ///     let word = b.hook(&bad);
    ///     let word = b.each(word, |word| format!("word {word}"));
    ///     let word = b.anchor(word);
    ///     b.unify([number, word])
    /// });
    /// let mut seen = Vec::new();
    /// block.run(&"7 x 8".to_string(), |text| seen.push(text.to_string())).unwrap();
    /// assert_eq!(seen, ["number 7", "word x", "number 8"]);
    /// ```
    #[track_caller]
    pub fn emits_streams<I: Vars, S: OutStreams, O: Data + ?Sized>(
        &mut self,
        inputs: I,
        streams: S,
        function: impl for<'x> Fn(I::Refs<'x>, &mut StreamEmit<'x, O>) + Send + Sync + 'static,
    ) -> (Var<O>, S::Anchors) {
        let uses = self.uses(inputs);
        let vars = streams.vars();
        let scope = self.scope.clone();
        let out = self.bind::<O>("emits_streams");
        let known = vars.clone();
        let collect = move |frame: &Frame, arena: &mut crate::arena::Arena, column: &mut Vec<Slot>| {
            let mut emit = StreamEmit { arena, column, streams: &known, of: PhantomData };
            function(read(&inputs, frame), &mut emit);
        };
        let mut defs = vec![out.id];
        defs.extend(&vars);
        let targets = std::iter::once(out.id).chain(vars).map(|var| (var, 0)).collect();
        let step = self.push(Step::Streams { collect: Box::new(collect), targets }, "emits_streams", uses, defs);
        let mut forks = Vec::new();
        let source = self.source;
        let anchors = streams.anchors(&mut |var| {
            let fork = self.add(Step::Fork { branches: Vec::new() }, "out_stream", Vec::new(), Vec::new());
            self.add(Step::End, "end", Vec::new(), Vec::new());
            forks.push(fork);
            let mut scope = scope.clone();
            scope.visible.insert(var);
            Anchor { source, fork, scope: Rc::new(scope), values: () }
        });
        forks.insert(0, self.at());
        if let Step::Streams { targets, .. } = &mut self.code.steps[step].step {
            targets.iter_mut().zip(forks).for_each(|((_, to), fork)| *to = fork);
        }
        (out, anchors)
    }
}
