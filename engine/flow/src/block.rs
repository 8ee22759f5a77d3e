//! The code of a source, as the author writes it: each call records a step.

use crate::arena::Arena;
use crate::data::{Data, Register, Returned};
use crate::define::{DefiningHandle, Place, here};
use crate::emit::Emit;
use crate::module::PState;
use crate::slot::{Frame, Slot};
use crate::step::{Step, StepRecord, Target, Unfold};
use crate::var::{AnyVar, Var, Vars};
use std::marker::PhantomData;
use std::rc::Rc;
use tantu_path::agg::AggOn;
use tantu_path::{AggShape, PStateSchema, Path, PathTo, TransformTo};

/// The recorded code of one source.
pub(crate) struct Recorded {
    pub(crate) steps: Vec<StepRecord>,
    pub(crate) registers: Vec<Register>,
    pub(crate) record: u32,
}

/// A place in the code of a source to which steps are added.
pub struct Block {
    defining: DefiningHandle,
    stream: usize,
    source: u32,
    code: Rc<std::cell::RefCell<Recorded>>,
    visible: Vec<u32>,
}

impl Block {
    pub(crate) fn source(defining: DefiningHandle, stream: usize, source: u32) -> Block {
        let code = Recorded { steps: Vec::new(), registers: Vec::new(), record: 0 };
        Block { defining, stream, source, code: Rc::new(std::cell::RefCell::new(code)), visible: Vec::new() }
    }

    pub(crate) fn source_var<T: Data + ?Sized>(&mut self) -> Var<T> {
        self.fresh::<T>()
    }

    #[track_caller]
    pub(crate) fn finish(mut self) -> Recorded {
        self.push(here(), Step::End, "end".to_string(), Vec::new(), Vec::new());
        Rc::into_inner(self.code).expect("invariant: inner blocks are gone").into_inner()
    }

    fn fresh<T: Data + ?Sized>(&mut self) -> Var<T> {
        let mut code = self.code.borrow_mut();
        let id = code.registers.len() as u32;
        code.registers.push(Register::new::<T>(id));
        self.visible.push(id);
        Var::new(self.source, id)
    }

    fn push(&mut self, place: Place, step: Step, label: String, uses: Vec<u32>, defs: Vec<u32>) -> usize {
        let mut code = self.code.borrow_mut();
        code.steps.push(StepRecord { step, label, uses, defs, place });
        code.steps.len() - 1
    }

    /// The ids of vars that are used, each checked to be visible here.
    #[track_caller]
    fn uses<V: Vars>(&self, vars: V) -> Vec<u32> {
        let mut ids = Vec::new();
        vars.list(&mut |var: AnyVar| ids.push((var.source, var.register.var)));
        self.check(ids.iter().copied());
        ids.into_iter().map(|(_, id)| id).collect()
    }

    #[track_caller]
    fn check(&self, vars: impl Iterator<Item = (u32, u32)>) {
        for (source, id) in vars {
            let what = if source != self.source {
                "a var of another source is used here"
            } else if !self.visible.contains(&id) {
                "a var is used outside the block that bound it"
            } else {
                continue;
            };
            self.defining.borrow_mut().error(here(), format!("attach point missing needed var: {what}"));
        }
    }

    /// Calls a function; its result is a new var.
    #[track_caller]
    pub fn each<I: Vars, R: Returned>(
        &mut self,
        inputs: I,
        function: impl for<'x> Fn(I::Refs<'x>) -> R + Send + Sync + 'static,
    ) -> Var<R::Data> {
        let uses = self.uses(inputs);
        let out = self.fresh::<R::Data>();
        let call = move |frame: &mut Frame, arena: &mut Arena| {
            let result = function(read(&inputs, frame));
            frame.set(out.id, result.into_slot(arena));
        };
        self.push(here(), Step::Call(Box::new(call)), "each".to_string(), uses, vec![out.id]);
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
        let out = self.fresh::<O>();
        let call = move |frame: &mut Frame, _: &mut Arena| {
            let part = O::slot(function(read(&of, frame)));
            frame.set(out.id, part);
        };
        self.push(here(), Step::Call(Box::new(call)), "view".to_string(), uses, vec![out.id]);
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
        self.push(here(), Step::Filter(keep.id), "filter".to_string(), vec![keep.id], Vec::new());
    }

    /// Runs the inner block only if the var is true; the code after it runs in any case.
    #[track_caller]
    pub fn if_true(&mut self, condition: Var<bool>, then: impl FnOnce(&mut Block)) {
        let uses = self.uses(condition);
        let branch = Step::If { condition: condition.id, otherwise: 0 };
        let at = self.push(here(), branch, "if".to_string(), uses, Vec::new());
        let outer = self.visible.len();
        then(self);
        self.visible.truncate(outer);
        let mut code = self.code.borrow_mut();
        let after = code.steps.len();
        code.steps[at].step = Step::If { condition: condition.id, otherwise: after };
    }

    /// Emits any number of values; the code below runs once for each, depth first.
    #[track_caller]
    pub fn emits<I: Vars, O: Data + ?Sized>(
        &mut self,
        inputs: I,
        function: impl for<'x> Fn(I::Refs<'x>, &mut Emit<'x, O>) + Send + Sync + 'static,
    ) -> Var<O> {
        let uses = self.uses(inputs);
        let out = self.fresh::<O>();
        let collect = move |frame: &Frame, arena: &mut Arena, column: &mut Vec<Slot>| {
            let mut emit = Emit { arena, column, of: PhantomData };
            function(read(&inputs, frame), &mut emit);
        };
        self.push(
            here(),
            Step::Emits { collect: Box::new(collect), out: out.id },
            "emits".to_string(),
            uses,
            vec![out.id],
        );
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
        let out = self.fresh::<O>();
        let unfold = Unfold {
            begin: Box::new(move |arena| arena.put(start.clone()).cast()),
            next: crate::run::unfold_next(of, out, function),
        };
        self.push(here(), Step::Unfold(unfold), "unfold".to_string(), uses, vec![out.id]);
        out
    }

    /// The id of the task the event runs on.
    #[track_caller]
    pub fn current_task_id(&mut self) -> Var<i64> {
        let out = self.fresh::<i64>();
        self.push(here(), Step::TaskId(out.id), "current_task_id".to_string(), Vec::new(), vec![out.id]);
        out
    }

    #[track_caller]
    fn hop(&mut self, target: Target, label: &str, uses: Vec<u32>) {
        self.push(here(), Step::Hop { target, position: 0 }, label.to_string(), uses, Vec::new());
    }

    /// Goes on where the hash of the var says: equal values, one task.
    #[track_caller]
    pub fn hash_partition<T: Data + ?Sized>(&mut self, key: Var<T>) {
        let uses = self.uses(key);
        self.hop(Target::Hash(Register::new::<T>(key.id)), "hash_partition", uses);
    }

    /// Goes on on every task of the module.
    #[track_caller]
    pub fn all_partition(&mut self) {
        self.hop(Target::All, "all_partition", Vec::new());
    }

    /// Goes on on task 0.
    #[track_caller]
    pub fn global_partition(&mut self) {
        self.hop(Target::Global, "global_partition", Vec::new());
    }

    /// Goes on on a task that nothing but chance and evenness choose.
    #[track_caller]
    pub fn shuffle_partition(&mut self) {
        self.hop(Target::Shuffle, "shuffle_partition", Vec::new());
    }

    /// Goes on on the task of this id. An id that is none fails the event.
    #[track_caller]
    pub fn direct_partition(&mut self, task: Var<i64>) {
        let uses = self.uses(task);
        let choose = move |frame: &Frame, _: u32| read(&task, frame);
        self.hop(Target::Chosen(Box::new(choose)), "direct_partition", uses);
    }

    /// Goes on where the function of the number of tasks and the inputs says. An index out of range fails the event.
    #[track_caller]
    pub fn custom_partition<I: Vars>(
        &mut self,
        inputs: I,
        function: impl for<'x> Fn(u32, I::Refs<'x>) -> i64 + Send + Sync + 'static,
    ) {
        let uses = self.uses(inputs);
        let choose = move |frame: &Frame, count: u32| function(count, read(&inputs, frame));
        self.hop(Target::Chosen(Box::new(choose)), "custom_partition", uses);
    }

    #[track_caller]
    fn pstate_name(&self, index: usize, writes: bool) -> String {
        let mut defining = self.defining.borrow_mut();
        let Some(def) = defining.pstates.get(index) else {
            defining.error(here(), "the PState belongs to another module".to_string());
            return String::new();
        };
        let (name, owner) = (def.name.clone(), def.owner);
        if writes && owner != self.stream {
            let owner = defining.streams[owner].name.clone();
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
        let name = self.pstate_name(pstate.index, false);
        let path = path.into_untyped();
        let uses = self.path_uses(&path);
        let out = self.fresh::<<T::Value as Returned>::Data>();
        let register = Register::new::<<T::Value as Returned>::Data>(out.id);
        let label = format!("local_select {name} {path}");
        self.push(here(), Step::Select { pstate: pstate.index, path, out: register }, label, uses, vec![out.id]);
        out
    }

    /// Changes this task's partition along a path that ends in a term navigator.
    #[track_caller]
    pub fn local_transform<S: PStateSchema>(&mut self, pstate: PState<S>, path: TransformTo<S>) {
        let name = self.pstate_name(pstate.index, true);
        let path = path.into_untyped();
        let uses = self.path_uses(&path);
        let label = format!("local_transform {name} {path}");
        self.push(here(), Step::Transform { pstate: pstate.index, path }, label, uses, Vec::new());
    }

    /// Resets this task's partition: as if nothing had been written to it (PST-22).
    #[track_caller]
    pub fn local_clear<S: PStateSchema>(&mut self, pstate: PState<S>) {
        let name = self.pstate_name(pstate.index, true);
        self.push(here(), Step::Clear { pstate: pstate.index }, format!("local_clear {name}"), Vec::new(), Vec::new());
    }

    /// Aggregates into this task's partition; missing keys are created.
    #[track_caller]
    pub fn compound_agg<S: PStateSchema>(&mut self, pstate: PState<S>, shape: AggOn<S>) {
        let name = self.pstate_name(pstate.index, true);
        let shape: AggShape = shape.into_untyped();
        let mut uses = Vec::new();
        shape.each_slot(&mut |slot| uses.push(slot));
        self.check(uses.iter().map(|id| (self.source, *id)));
        self.push(
            here(),
            Step::Aggregate { pstate: pstate.index, shape },
            format!("compound_agg {name}"),
            uses,
            Vec::new(),
        );
    }

    #[track_caller]
    fn path_uses(&self, path: &Path) -> Vec<u32> {
        let mut uses = Vec::new();
        path.each_slot(&mut |slot| uses.push(slot));
        self.check(uses.iter().map(|id| (self.source, *id)));
        uses
    }
}

/// The inputs of an operation. The builder checked that they were bound on every way here.
#[allow(unsafe_code, reason = "the one place where the steps of a plan read its frame")]
fn read<'x, I: Vars>(inputs: &I, frame: &'x Frame) -> I::Refs<'x> {
    // SAFETY: the builder checked that each var is of this source and bound before this step on every way to it; what
    // its slot points to lies in the run's arena, which gives memory back only behind steps that come later.
    unsafe { inputs.read(frame) }
}
