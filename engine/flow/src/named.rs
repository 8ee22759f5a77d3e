//! The untyped layer: vars by name, holding [`Value`]s. For modules that are made from data, and for code ported from
//! dataflow languages that name their vars.
//!
//! It records the same steps as the typed calls, and the two mix: [`Named::import`] takes a typed var in, [`Named::var`]
//! hands one out, [`Named::block`] is the typed block. A name may be bound again; code below sees the newer value. Where ways
//! meet, the names bound on all of them go on. A name that is not bound is refused when the module is defined. Null and
//! false are false, everything else is true.
//!
//! ```
//! use tantu_base::value::Value;
//! use tantu_flow::{TestBlock, Var};
//!
//! let block = TestBlock::new(|b, line: Var<str>| {
//!     b.named(|n| {
//!         n.import("*line", line);
//!         n.emits("*word", &["*line"], |v| {
//!             v[0].as_str().unwrap_or_default().split(' ').map(|word| Value::Str(word.to_string())).collect()
//!         });
//!         n.each("*size", &["*word"], |v| Value::I64(v[0].as_str().unwrap_or_default().len() as i64));
//!         n.each("*long", &["*size"], |v| Value::Bool(v[0].as_i64() > Some(3)));
//!         n.if_else("*long", |n| n.each("*kind", &[], |_| "long".into()), |n| n.each("*kind", &[], |_| "short".into()));
//!         n.each("*out", &["*word", "*kind"], |v| Value::List(vec![v[0].clone(), v[1].clone()]));
//!         n.var("*out")
//!     })
//! });
//! let mut seen = Vec::new();
//! block.run(&"to longer".to_string(), |out| seen.push(format!("{out:?}"))).unwrap();
//! assert_eq!(seen, [r#"List([Str("to"), Str("short")])"#, r#"List([Str("longer"), Str("long")])"#]);
//! ```

use crate::arena::Arena;
use crate::block::Block;
use crate::data::{Data, Register, Returned};
use crate::define::here;
use crate::looped::Loop;
use crate::slot::{Frame, Slot};
use crate::step::{Step, Target};
use crate::var::Var;
use crate::wiring::Anchor;
use std::collections::BTreeMap;
use tantu_base::value::Value;
use tantu_path::{AggShape, Arg, Path};

/// Neither null nor false.
fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

#[allow(unsafe_code, reason = "reads the slots of vars that the builder checked")]
fn values<'x>(ids: &[u32], frame: &'x Frame) -> Vec<&'x Value> {
    // SAFETY: each id was looked up among the names in scope, which are bound to vars of `Value`s before this step.
    ids.iter().map(|id| unsafe { <Value as Data>::read(frame.get(*id)) }).collect()
}

/// A loop of the untyped layer, seen from its body.
#[derive(Clone, Copy, Debug)]
pub struct NamedLoop {
    of: Loop<Var<Value>, Var<Value>>,
}

/// A block whose vars have names. See the module.
pub struct Named<'b> {
    block: &'b mut Block,
    anchors: BTreeMap<String, Anchor<()>>,
}

impl Block {
    /// Records code in the untyped layer. Names stay bound in the code below.
    pub fn named<R>(&mut self, body: impl FnOnce(&mut Named<'_>) -> R) -> R {
        body(&mut Named { block: self, anchors: BTreeMap::new() })
    }
}

impl<'b> Named<'b> {
    /// The layer over a block.
    pub(crate) fn over(block: &'b mut Block) -> Named<'b> {
        Named { block, anchors: BTreeMap::new() }
    }
}

impl Named<'_> {
    /// The typed block.
    pub fn block(&mut self) -> &mut Block {
        self.block
    }

    /// The var that a name is bound to.
    #[track_caller]
    pub fn var(&mut self, name: &str) -> Var<Value> {
        match self.block.scope.names.get(name) {
            Some(id) => Var::new(self.block.source, *id),
            None => {
                self.block
                    .mistake(format!("attach point missing needed var `{name}`: it is not bound on every way to here"));
                self.block.bind::<Value>(name)
            }
        }
    }

    /// A var as an argument of a path or an aggregation.
    #[track_caller]
    pub fn arg(&mut self, name: &str) -> Arg {
        Arg::Slot(self.var(name).id)
    }

    #[track_caller]
    fn ids(&mut self, names: &[&str]) -> Vec<u32> {
        let mut ids = Vec::new();
        for name in names {
            ids.push(self.var(name).id);
        }
        ids
    }

    /// Binds a name to a var.
    #[track_caller]
    pub fn bind(&mut self, name: &str, var: Var<Value>) {
        if self.block.binds_once && self.block.scope.names.contains_key(name) {
            let what =
                format!("`{name}` is bound already: before the aggregators of a batch block no name is bound twice");
            self.block.mistake(what);
        }
        self.block.name(var, name);
        self.block.scope.names.insert(name.to_string(), var.id);
    }

    #[track_caller]
    fn fresh(&mut self, name: &str) -> u32 {
        let var = self.block.bind::<Value>(name);
        self.bind(name, var);
        var.id
    }

    /// Returns a value to the client that appended the record, as [`Block::ack_return`].
    #[track_caller]
    pub fn ack_return(&mut self, name: &str) {
        let value = self.var(name);
        self.block.ack_return(value);
    }

    /// Binds a name to the value of a typed var.
    #[track_caller]
    pub fn import<T: Data + ?Sized>(&mut self, name: &str, var: Var<T>) {
        let uses = self.block.uses(var);
        let out = self.fresh(name);
        let register = Register::new::<T>(var.id);
        let call = move |frame: &mut Frame, arena: &mut Arena| {
            let mut bytes = Vec::new();
            register.encode(frame, &mut bytes);
            let value = Value::decode(&bytes).expect("invariant: what Encode writes, decode reads");
            frame.set(out, value.into_slot(arena));
        };
        self.block.push(Step::Call(Box::new(call)), format!("import {name}"), uses, vec![out]);
    }

    /// Unbinds names: rows of a [source](crate::NamedBatch::source) do not carry them, and nothing is joined on them.
    #[track_caller]
    pub fn forget(&mut self, names: &[&str]) {
        for name in names {
            self.var(name);
            self.block.scope.names.remove(*name);
        }
    }

    /// The result of a function of the named values, without a name.
    #[track_caller]
    pub(crate) fn call(
        &mut self,
        label: &str,
        inputs: &[&str],
        function: impl Fn(&[&Value]) -> Value + Send + Sync + 'static,
    ) -> Var<Value> {
        let ids = self.ids(inputs);
        let uses = ids.clone();
        let out = self.block.bind::<Value>(label);
        let call = move |frame: &mut Frame, arena: &mut Arena| {
            let result = function(&values(&ids, frame));
            frame.set(out.id, result.into_slot(arena));
        };
        self.block.push(Step::Call(Box::new(call)), label, uses, vec![out.id]);
        out
    }

    /// Calls a function of the named values.
    #[track_caller]
    pub fn each(&mut self, out: &str, inputs: &[&str], function: impl Fn(&[&Value]) -> Value + Send + Sync + 'static) {
        self.expand(&[out], inputs, move |inputs| vec![function(inputs)]);
    }

    /// Calls a function that returns a value for each of several names. Another number of values panics, which fails the event.
    #[track_caller]
    pub fn expand(
        &mut self,
        outs: &[&str],
        inputs: &[&str],
        function: impl Fn(&[&Value]) -> Vec<Value> + Send + Sync + 'static,
    ) {
        let ids = self.ids(inputs);
        let uses = ids.clone();
        let mut bound = Vec::new();
        for name in outs {
            bound.push(self.fresh(name));
        }
        let outs = bound;
        let defs = outs.clone();
        let call = move |frame: &mut Frame, arena: &mut Arena| {
            let results = function(&values(&ids, frame));
            assert_eq!(results.len(), outs.len(), "a function returned another number of values than there are names");
            for (out, result) in outs.iter().zip(results) {
                frame.set(*out, result.into_slot(arena));
            }
        };
        self.block.push(Step::Call(Box::new(call)), "each", uses, defs);
    }

    /// Emits each value that the function returns; the code below runs once for each.
    #[track_caller]
    pub fn emits(
        &mut self,
        out: &str,
        inputs: &[&str],
        function: impl Fn(&[&Value]) -> Vec<Value> + Send + Sync + 'static,
    ) {
        let ids = self.ids(inputs);
        let uses = ids.clone();
        let out = self.fresh(out);
        let collect = move |frame: &Frame, arena: &mut Arena, column: &mut Vec<Slot>| {
            for value in function(&values(&ids, frame)) {
                column.push(value.into_slot(arena));
            }
        };
        self.block.push(Step::Emits { collect: Box::new(collect), out }, "emits", uses, vec![out]);
    }

    /// Continues only if the value is true.
    #[track_caller]
    pub fn keep_true(&mut self, name: &str) {
        let var = self.var(name);
        self.block.filter(var, is_true);
    }

    /// Runs one of two blocks; names bound in both go on.
    #[track_caller]
    pub fn if_else(
        &mut self,
        condition: &str,
        then: impl FnOnce(&mut Named<'_>),
        otherwise: impl FnOnce(&mut Named<'_>),
    ) {
        let var = self.var(condition);
        let condition = self.block.each(var, is_true);
        self.block.if_else(condition, |b| b.named(then), |b| b.named(otherwise));
    }

    /// Runs the block if the value is true. A name that was bound before and is bound again inside has the newer value then.
    #[track_caller]
    pub fn if_true(&mut self, condition: &str, then: impl FnOnce(&mut Named<'_>)) {
        self.if_else(condition, then, |_| {});
    }

    #[track_caller]
    fn pack(&mut self, names: &[&str]) -> Var<Value> {
        let ids = self.ids(names);
        let uses = ids.clone();
        let out = self.block.bind::<Value>("loop vars");
        let call = move |frame: &mut Frame, arena: &mut Arena| {
            let list = values(&ids, frame).into_iter().cloned().collect();
            frame.set(out.id, Value::List(list).into_slot(arena));
        };
        self.block.push(Step::Call(Box::new(call)), "loop vars", uses, vec![out.id]);
        out
    }

    #[track_caller]
    fn unpack(&mut self, names: &[&str], list: Var<Value>) {
        for (at, name) in names.iter().enumerate() {
            let missing = Value::Null;
            let part = move |list: &Value| list.elements().and_then(|list| list.get(at)).unwrap_or(&missing).clone();
            let var = self.block.each(list, part);
            self.bind(name, var);
        }
    }

    /// A loop: each of `vars` is a name bound in the body and the name of its first value; the values it emits are bound
    /// to `outs`.
    #[track_caller]
    pub fn looped(&mut self, vars: &[(&str, &str)], outs: &[&str], body: impl FnOnce(&mut Named<'_>, NamedLoop)) {
        let (names, firsts): (Vec<&str>, Vec<&str>) = vars.iter().copied().unzip();
        let first = self.pack(&firsts);
        let emitted = self.block.looped(first, |b, of, round| {
            let mut inner = Named { block: b, anchors: BTreeMap::new() };
            inner.unpack(&names, round);
            body(&mut inner, NamedLoop { of });
        });
        self.unpack(outs, emitted);
    }

    /// The next round, with the values of these names.
    #[track_caller]
    pub fn continue_loop(&mut self, of: NamedLoop, next: &[&str]) {
        let next = self.pack(next);
        self.block.continue_loop(of.of, next);
    }

    /// Runs the code after the loop with the values of these names; then the body goes on.
    #[track_caller]
    pub fn emit_loop(&mut self, of: NamedLoop, values: &[&str]) {
        let values = self.pack(values);
        self.block.emit_loop(of.of, values);
    }

    /// Labels this point.
    #[track_caller]
    pub fn anchor(&mut self, name: &str) {
        let anchor = self.block.anchor(());
        self.anchors.insert(name.to_string(), anchor);
    }

    #[track_caller]
    fn anchor_of(&mut self, name: &str) -> Option<Anchor<()>> {
        let found = self.anchors.get(name).cloned();
        if found.is_none() {
            self.block.mistake(format!("there is no anchor `{name}` here"));
        }
        found
    }

    /// What follows is attached at the anchor.
    #[track_caller]
    pub fn hook(&mut self, name: &str) {
        if let Some(anchor) = self.anchor_of(name) {
            self.block.hook(&anchor);
        }
    }

    /// Attaches a side branch at the anchor.
    #[track_caller]
    pub fn branch(&mut self, name: &str, body: impl FnOnce(&mut Named<'_>)) {
        if let Some(anchor) = self.anchor_of(name) {
            self.block.branch(&anchor, |b, ()| b.named(body));
        }
    }

    /// What follows runs for every emit of each branch; names bound on all of them go on.
    #[track_caller]
    pub fn unify(&mut self, names: &[&str]) {
        let mut branches = Vec::new();
        for name in names {
            branches.extend(self.anchor_of(name));
        }
        self.block.unify_all(&branches);
    }

    /// Goes on where the hash of the value says.
    #[track_caller]
    pub fn hash_partition(&mut self, name: &str) {
        let var = self.var(name);
        self.block.hop(Target::Hash(Register::new::<Value>(var.id)), "hash_partition", vec![var.id]);
    }

    #[track_caller]
    fn pstate(&mut self, name: &str) -> usize {
        let found = self.block.defining.borrow().pstates.iter().position(|def| def.name == name);
        if found.is_none() {
            self.block.defining.borrow_mut().error(here(), format!("the module has no PState `{name}`"));
        }
        // Some place that no PState has: the module is refused anyway.
        found.unwrap_or(usize::MAX)
    }

    /// Goes on where the path's key lives.
    #[track_caller]
    pub fn path_partition(&mut self, pstate: &str, path: &Path) {
        let pstate = self.pstate(pstate);
        self.block.path_partition_untyped(pstate, path);
    }

    /// Reads this task's partition; the code below runs once for each value.
    #[track_caller]
    pub fn local_select(&mut self, pstate: &str, path: Path, out: &str) {
        let pstate = self.pstate(pstate);
        let var = self.block.select_untyped::<Value>(pstate, path);
        self.bind(out, var);
    }

    /// As [`Named::local_select`], in pages, with other events of the task between them.
    #[track_caller]
    pub fn local_select_yielding(&mut self, pstate: &str, path: Path, out: &str) {
        let pstate = self.pstate(pstate);
        let var = self.block.select_yielding_untyped::<Value>(pstate, path);
        self.bind(out, var);
    }

    /// Goes where the path's key lives and reads there.
    #[track_caller]
    pub fn select(&mut self, pstate: &str, path: Path, out: &str) {
        self.path_partition(pstate, &path);
        self.local_select(pstate, path, out);
    }

    /// Changes this task's partition along a path that ends in a term navigator.
    #[track_caller]
    pub fn local_transform(&mut self, pstate: &str, path: Path) {
        let pstate = self.pstate(pstate);
        if let Err(error) = path.check_transform() {
            self.block.mistake(error.to_string());
        }
        self.block.transform_untyped(pstate, path);
    }

    /// Aggregates into this task's partition.
    #[track_caller]
    pub fn compound_agg(&mut self, pstate: &str, shape: AggShape) {
        let pstate = self.pstate(pstate);
        self.block.aggregate_untyped(pstate, "compound_agg", shape);
    }
}
