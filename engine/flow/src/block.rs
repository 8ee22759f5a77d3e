//! The code of a source, as the author writes it: each call records a step.
//!
//! Steps lie one after the other; control flow is jumps between them ([`crate::control`], [`crate::wiring`]). Where ways
//! meet, the values that go on are copied into vars of their own, so each var has one slot in the frame.

use crate::arena::Arena;
use crate::data::{Data, Register, Returned};
use crate::define::{DefiningHandle, Place, here};
use crate::emit::Emit;
use crate::invoke::FIRST_TEMPORARY;
use crate::module::PState;
use crate::scope::{Binding, LoopRecord, Recorded, Scope};
use crate::slot::{Frame, Slot};
use crate::step::{Step, StepRecord, Unfold};
use crate::var::{AnyVar, MakeRegister, Var, Vars};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use tantu_path::agg::AggOn;
use tantu_path::{AggShape, PStateSchema, Path, PathTo, TransformTo};

/// A place in the code of a source to which steps are added.
pub struct Block {
    pub(crate) defining: DefiningHandle,
    pub(crate) stream: usize,
    pub(crate) source: u32,
    pub(crate) code: Recorded,
    pub(crate) scope: Scope,
    pub(crate) loops: BTreeMap<u32, LoopRecord>,
    /// Named operations around this place, outermost first.
    pub(crate) operations: Vec<String>,
    /// It is code of a microbatch topology, outside its batch blocks.
    pub(crate) has_batches: bool,
    /// Where it is pre-agg of a batch block, a name is bound once.
    pub(crate) binds_once: bool,
}

impl Block {
    pub(crate) fn source(defining: DefiningHandle, stream: usize, source: u32) -> Block {
        let (code, scope) = (Recorded::default(), Scope::default());
        let (loops, operations) = (BTreeMap::new(), Vec::new());
        Block { defining, stream, source, code, scope, loops, operations, has_batches: false, binds_once: false }
    }

    #[track_caller]
    pub(crate) fn source_var<T: Data + ?Sized>(&mut self) -> Var<T> {
        self.bind::<T>("the source")
    }

    #[track_caller]
    pub(crate) fn finish(mut self) -> Recorded {
        self.add(Step::End, "end", Vec::new(), Vec::new());
        self.code
    }

    /// A new var, visible from here on.
    #[track_caller]
    pub(crate) fn bind<T: Data + ?Sized>(&mut self, label: &str) -> Var<T> {
        let (source, id) = self.bind_register(Register::new::<T>, label, here());
        Var::new(source, id)
    }

    pub(crate) fn bind_register(&mut self, register: MakeRegister, label: &str, place: Place) -> (u32, u32) {
        let id = self.code.registers.len() as u32;
        self.code.registers.push(register(id));
        self.code.bindings.push(Binding { place, label: label.to_string(), name: None });
        self.scope.visible.insert(id);
        (self.source, id)
    }

    /// Vars of the types of `V`, visible from here on.
    #[track_caller]
    pub(crate) fn bind_all<V: Vars>(&mut self, label: &str) -> V {
        let place = here();
        V::fresh(&mut |register| self.bind_register(register, label, place))
    }

    pub(crate) fn at(&self) -> usize {
        self.code.steps.len()
    }

    /// Adds a step of the lowering's own.
    #[track_caller]
    pub(crate) fn add(&mut self, step: Step, label: &str, uses: Vec<u32>, defs: Vec<u32>) -> usize {
        self.code.steps.push(StepRecord { step, label: label.to_string(), uses, defs, place: here() });
        self.at() - 1
    }

    /// Adds a step of the author's.
    #[track_caller]
    pub(crate) fn push(&mut self, step: Step, label: impl Into<String>, uses: Vec<u32>, defs: Vec<u32>) -> usize {
        let label = label.into();
        self.reached(&label);
        self.code.steps.push(StepRecord { step, label, uses, defs, place: here() });
        self.at() - 1
    }

    /// Code that nothing leads to is a mistake.
    #[track_caller]
    pub(crate) fn reached(&mut self, label: &str) {
        if self.scope.unreachable {
            self.mistake(format!("`{label}` is never reached: every way here has ended or gone elsewhere"));
            self.scope.unreachable = false;
        }
    }

    #[track_caller]
    pub(crate) fn mistake(&self, what: String) {
        self.defining.borrow_mut().error(here(), what);
    }

    /// The ids of vars that are used, each checked to be visible here.
    #[track_caller]
    pub(crate) fn uses<V: Vars>(&self, vars: V) -> Vec<u32> {
        let mut ids = Vec::new();
        vars.list(&mut |var: AnyVar| ids.push((var.source, var.register.var)));
        self.check(ids.iter().copied());
        ids.into_iter().map(|(_, id)| id).collect()
    }

    #[track_caller]
    pub(crate) fn check(&self, vars: impl Iterator<Item = (u32, u32)>) {
        for (source, id) in vars {
            if source != self.source {
                self.mistake(
                    "attach point missing needed var: it belongs to another source, and vars do not leave theirs"
                        .to_string(),
                );
            } else if !self.scope.visible.contains(&id) {
                let Binding { place, label, name } = &self.code.bindings[id as usize];
                let name = name.as_ref().map_or_else(|| format!("the result of `{label}`"), |name| format!("`{name}`"));
                let bound = format!("bound at {}:{}", place.file(), place.line());
                self.mistake(format!(
                    "attach point missing needed var {name}, {bound}: it is not bound on every way to here; let the \
                     branches that bind it return it"
                ));
            }
        }
    }

    /// Gives a var a name, which messages about it use.
    pub fn name<T: Data + ?Sized>(&mut self, var: Var<T>, name: &str) -> Var<T> {
        if let Some(binding) = self.code.bindings.get_mut(var.id as usize).filter(|_| var.source == self.source) {
            binding.name = Some(name.to_string());
        }
        var
    }

    /// Calls a function; its result is a new var.
    #[track_caller]
    pub fn each<I: Vars, R: Returned>(
        &mut self,
        inputs: I,
        function: impl for<'x> Fn(I::Refs<'x>) -> R + Send + Sync + 'static,
    ) -> Var<R::Data> {
        let uses = self.uses(inputs);
        let out = self.bind::<R::Data>("each");
        let call = move |frame: &mut Frame, arena: &mut Arena| {
            let result = function(read(&inputs, frame));
            frame.set(out.id, result.into_slot(arena));
        };
        self.push(Step::Call(Box::new(call)), "each", uses, vec![out.id]);
        out
    }

    /// Continues with a part of a value, without copying it.
    #[track_caller]
    pub fn view<A, O>(
        &mut self,
        of: Var<A>,
        function: impl for<'x> Fn(&'x A) -> &'x O + Send + Sync + 'static,
    ) -> Var<O>
    where
        A: ?Sized + for<'y> Data<Ref<'y> = &'y A>,
        O: ?Sized + for<'y> Data<Ref<'y> = &'y O>,
    {
        let uses = self.uses(of);
        let out = self.bind::<O>("view");
        let call = move |frame: &mut Frame, _: &mut Arena| {
            let part = O::slot(function(read(&of, frame)));
            frame.set(out.id, part);
        };
        self.push(Step::Call(Box::new(call)), "view", uses, vec![out.id]);
        out
    }

    /// A value known now, as a var.
    #[track_caller]
    pub fn constant<R: Returned + Clone + Send + Sync>(&mut self, value: R) -> Var<R::Data> {
        self.each((), move |()| value.clone())
    }

    /// Continues only where the function says so.
    #[track_caller]
    pub fn filter<I: Vars>(
        &mut self,
        inputs: I,
        function: impl for<'x> Fn(I::Refs<'x>) -> bool + Send + Sync + 'static,
    ) {
        let keep = self.each(inputs, function);
        self.push(Step::Filter(keep.id), "filter", vec![keep.id], Vec::new());
    }

    /// Emits any number of values; the code below runs once for each, depth first.
    #[track_caller]
    pub fn emits<I: Vars, O: Data + ?Sized>(
        &mut self,
        inputs: I,
        function: impl for<'x> Fn(I::Refs<'x>, &mut Emit<'x, O>) + Send + Sync + 'static,
    ) -> Var<O> {
        let uses = self.uses(inputs);
        let out = self.bind::<O>("emits");
        let collect = move |frame: &Frame, arena: &mut Arena, column: &mut Vec<Slot>| {
            let mut emit = Emit { arena, column, of: PhantomData };
            function(read(&inputs, frame), &mut emit);
        };
        self.push(Step::Emits { collect: Box::new(collect), out: out.id }, "emits", uses, vec![out.id]);
        out
    }

    /// Emits each element of what the function returns.
    #[track_caller]
    pub fn explode<I: Vars, C>(
        &mut self,
        inputs: I,
        function: impl for<'x> Fn(I::Refs<'x>) -> C + Send + Sync + 'static,
    ) -> Var<<C::Item as Returned>::Data>
    where
        C: IntoIterator,
        C::Item: Returned,
    {
        self.emits(inputs, move |refs, emit: &mut Emit<'_, <C::Item as Returned>::Data>| {
            for item in function(refs) {
                emit.owned(item);
            }
        })
    }

    /// Emits parts of a value one after the other, without copying them: the function gets the value and a state
    /// that starts as `start`, and returns the next part until there is none.
    #[track_caller]
    pub fn unfold<A, S, O>(
        &mut self,
        of: Var<A>,
        start: S,
        function: impl for<'x> Fn(&'x A, &mut S) -> Option<&'x O> + Send + Sync + 'static,
    ) -> Var<O>
    where
        A: ?Sized + for<'y> Data<Ref<'y> = &'y A>,
        O: ?Sized + for<'y> Data<Ref<'y> = &'y O>,
        S: Clone + Send + Sync + 'static,
    {
        let uses = self.uses(of);
        let out = self.bind::<O>("unfold");
        let unfold = Unfold {
            begin: Box::new(move |arena| arena.put(start.clone()).cast()),
            next: crate::run::unfold_next(of, out, function),
        };
        self.push(Step::Unfold(unfold), "unfold", uses, vec![out.id]);
        out
    }

    /// The var that the whole code computes.
    #[track_caller]
    pub(crate) fn result<T: Data + ?Sized>(&mut self, value: Var<T>) {
        let uses = self.uses(value);
        self.push(Step::Result(Register::new::<T>(value.id)), "result", uses, Vec::new());
    }

    #[track_caller]
    pub(crate) fn pstate_name(&self, index: usize, writes: bool) -> String {
        let mut defining = self.defining.borrow_mut();
        if let Some(temporary) = index.checked_sub(FIRST_TEMPORARY).and_then(|at| defining.temporaries.get(at)) {
            let (name, source) = (temporary.name.clone(), temporary.source);
            if source != self.source {
                defining.error(here(), "the temporary state belongs to another query".to_string());
            }
            return name;
        }
        let Some(def) = defining.pstates.get(index) else {
            defining.error(here(), "the PState belongs to another module".to_string());
            return String::new();
        };
        let (name, owner) = (def.name.clone(), def.owner);
        if writes && owner != self.stream {
            let owner = defining.owner_name(owner);
            defining.error(here(), format!("`{name}` belongs to the topology `{owner}`, which alone may write it"));
        }
        name
    }

    /// Reads this task's partition; the code below runs once for each value the path leads to.
    #[track_caller]
    pub fn local_select<S: PStateSchema, T: PStateSchema>(
        &mut self,
        pstate: PState<S>,
        path: PathTo<S, T>,
    ) -> Var<<T::Value as Returned>::Data>
    where
        T::Value: Returned,
    {
        self.select_untyped(pstate.index, path.into_untyped())
    }

    #[track_caller]
    pub(crate) fn select_untyped<D: Data + ?Sized>(&mut self, pstate: usize, path: Path) -> Var<D> {
        let name = self.pstate_name(pstate, false);
        let uses = self.path_uses(&path);
        let out = self.bind::<D>("local_select");
        let register = Register::new::<D>(out.id);
        let label = format!("local_select {name} {path}");
        self.push(Step::Select { pstate, path, out: register }, label, uses, vec![out.id]);
        out
    }

    /// Changes this task's partition along a path that ends in a term navigator.
    #[track_caller]
    pub fn local_transform<S: PStateSchema>(&mut self, pstate: PState<S>, path: TransformTo<S>) {
        self.transform_untyped(pstate.index, path.into_untyped());
    }

    #[track_caller]
    pub(crate) fn transform_untyped(&mut self, pstate: usize, path: Path) {
        let name = self.pstate_name(pstate, true);
        let uses = self.path_uses(&path);
        let label = format!("local_transform {name} {path}");
        self.push(Step::Transform { pstate, path }, label, uses, Vec::new());
    }

    /// Resets this task's partition: as if nothing had been written to it (PST-22).
    #[track_caller]
    pub fn local_clear<S: PStateSchema>(&mut self, pstate: PState<S>) {
        let name = self.pstate_name(pstate.index, true);
        self.push(Step::Clear { pstate: pstate.index }, format!("local_clear {name}"), Vec::new(), Vec::new());
    }

    /// Aggregates into this task's partition; missing keys are created.
    #[track_caller]
    pub fn compound_agg<S: PStateSchema>(&mut self, pstate: PState<S>, shape: AggOn<S>) {
        self.aggregate_untyped(pstate.index, "compound_agg", shape.into_untyped());
    }

    /// Aggregates into this task's partition as a whole. A count or a sum needs a value to start from
    /// ([`pstate_initial`](crate::StreamTopology::pstate_initial)), other aggregators do not.
    ///
    /// ```
    /// use tantu_flow::{Module, Setup, Topologies, define, random};
    /// use tantu_path::agg;
    ///
    /// struct Highest;
    /// impl Module for Highest {
    ///     fn define(setup: &mut Setup, topologies: &mut Topologies) {
    ///         let bids = setup.declare_depot::<i64>("*bids", random());
    ///         let mut topology = topologies.stream("highest");
    ///         let highest = topology.pstate::<i64>("$$highest");
    ///         topology.source(&bids, |b, bid| b.agg(highest, agg::max(bid)));
    ///     }
    /// }
    /// assert!(define::<Highest>().is_ok());
    /// ```
    #[track_caller]
    pub fn agg<S: PStateSchema>(&mut self, pstate: PState<S>, aggregator: AggOn<S>) {
        self.aggregate_untyped(pstate.index, "agg", aggregator.into_untyped().into_value());
    }

    #[track_caller]
    pub(crate) fn aggregate_untyped(&mut self, pstate: usize, what: &str, shape: AggShape) {
        let name = self.pstate_name(pstate, true);
        let mut uses = Vec::new();
        shape.each_slot(&mut |slot| uses.push(slot));
        self.check(uses.iter().map(|id| (self.source, *id)));
        self.push(Step::Aggregate { pstate, shape }, format!("{what} {name}"), uses, Vec::new());
    }

    #[track_caller]
    pub(crate) fn path_uses(&self, path: &Path) -> Vec<u32> {
        let mut uses = Vec::new();
        path.each_slot(&mut |slot| uses.push(slot));
        self.check(uses.iter().map(|id| (self.source, *id)));
        uses
    }
}

/// The inputs of an operation. The builder checked that they were bound on every way here.
#[allow(unsafe_code, reason = "the one place where the steps of a plan read its frame")]
pub(crate) fn read<'x, I: Vars>(inputs: &I, frame: &'x Frame) -> I::Refs<'x> {
    // SAFETY: the builder checked that each var is of this source and bound before this step on every way to it; what
    // its slot points to lies in the run's arena, which gives memory back only behind steps that come later.
    unsafe { inputs.read(frame) }
}
