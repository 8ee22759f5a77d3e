//! Batch blocks of the untyped layer: sources of named vars, joined by the names that what comes next needs (DFL-35).
//!
//! Sources are written one after the other, and nobody says how they are joined. An operation that needs names of several of
//! them joins these on *all* names they have in common, and over further sources if they have none: as few sources
//! as lead from each to each. What no way of joining gives is refused when the module is defined.
//!
//! A source that binds a name beginning with `**` is the optional side of its join (DFL-36): where it has no row for the others'
//! keys, these names are null. It is joined on all of its other names, but for those that begin with `*___`, which are
//! null along with the `**` names. If every source of a join is optional, each row of each goes on: a full join.
//!
//! ```
//! use tantu_base::value::Value;
//! use tantu_flow::{Module, Setup, Topologies, define};
//! use tantu_path::{List, Path, Schema, agg};
//!
//! struct Shop;
//! impl Module for Shop {
//!     fn define(_: &mut Setup, topologies: &mut Topologies) {
//!         let mut s = topologies.stream("shop");
//!         s.pstate_untyped("$$names", Schema::map(Schema::I64, Schema::Str), Default::default());
//!         s.pstate_untyped("$$orders", Schema::map(Schema::I64, Schema::I64), Default::default());
//!         topologies.query("names of orders", |q, ()| {
//!             let part = |at: usize| move |v: &[&Value]| v[0].elements().map_or(Value::Null, |pair| pair[at].clone());
//!             let line = q.named_batch(|n| {
//!                 n.source(|n| {
//!                     n.block().all_partition();
//!                     n.local_select("$$orders", Path::new().all(), "*entry");
//!                     n.each("*order", &["*entry"], part(0));
//!                     n.each("*customer", &["*entry"], part(1));
//!                     n.forget(&["*entry"]);
//!                 });
//!                 n.source(|n| {
//!                     n.block().all_partition();
//!                     n.local_select("$$names", Path::new().all(), "*___entry");
//!                     n.each("*customer", &["*___entry"], part(0));
//!                     n.each("**name", &["*___entry"], part(1));
//!                 });
//!                 // Joined on `*customer`; an order of somebody unknown has a null for a name.
//!                 n.each("*line", &["*order", "**name"], |v| Value::List(vec![v[0].clone(), v[1].clone()]));
//!                 n.var("*line")
//!             });
//!             q.origin_partition();
//!             q.agg::<List<Value>>(agg::list(line))
//!         });
//!     }
//! }
//! assert!(define::<Shop>().is_ok());
//! ```

use crate::batch::{BatchBlock, Source};
use crate::data::Register;
use crate::define::{Place, here};
use crate::named::Named;
use crate::named_order::{Side, join_order};
use crate::stage::Where;
use crate::table::{JoinDef, JoinKind, RowsOf};
use crate::var::Var;
use std::collections::BTreeMap;
use tantu_base::value::Value;
use tantu_path::Arg;

/// Most sources that wait at once to be joined.
const SOURCE_COUNT_MAX: usize = 12;

/// The sources of a batch block whose vars have names. See the module.
pub struct NamedBatch<'b> {
    batch: &'b mut BatchBlock,
    waiting: Vec<Waiting>,
    /// Rows that go on here: where they are from.
    going_on: Option<Place>,
}

/// A source that nobody has taken.
struct Waiting {
    source: Source<()>,
    place: Place,
    /// Those it binds, not those that every row of the block knows.
    names: BTreeMap<String, u32>,
    /// Its rows are of joins: nothing in them is missing any more.
    is_joined: bool,
}

impl Waiting {
    fn side(&self) -> Side {
        let is_optional = !self.is_joined && self.names.keys().any(|name| name.starts_with("**"));
        let is_missable = |name: &str| name.starts_with("**") || is_optional && name.starts_with("*___");
        let names = self.names.keys().cloned();
        let (missable, ground) = names.partition(|name: &String| is_missable(name));
        Side { ground, missable, is_optional }
    }
}

impl BatchBlock {
    /// Records sources in the untyped layer; see [`NamedBatch`]. What is joined at the end goes on below, with its names.
    #[track_caller]
    pub fn named_batch<R>(&mut self, body: impl FnOnce(&mut NamedBatch<'_>) -> R) -> R {
        let mut named = NamedBatch { batch: self, waiting: Vec::new(), going_on: None };
        let answer = body(&mut named);
        if let [_] = named.waiting[..] {
            named.need(&[], "what follows");
        }
        answer
    }
}

impl NamedBatch<'_> {
    /// A source of rows: what runs by itself, on the task where the block began. Each of its emits is a row of the names
    /// that are bound at its end.
    #[track_caller]
    pub fn source(&mut self, body: impl FnOnce(&mut Named<'_>)) {
        self.pause();
        let source = self.batch.source(|b| b.named(body));
        self.wait(source, here(), false);
    }

    /// A source that is a batch of its own, with aggregators; what it gives is imported into names behind them.
    #[track_caller]
    pub fn sub_batch(&mut self, body: impl FnOnce(&mut BatchBlock)) {
        self.pause();
        let source = self.batch.sub_batch(body);
        self.wait(source, here(), false);
    }

    fn wait(&mut self, source: Source<()>, place: Place, is_joined: bool) {
        let waiting = self.waiting_of(source, place, is_joined);
        self.waiting.push(waiting);
    }

    fn waiting_of(&self, source: Source<()>, place: Place, is_joined: bool) -> Waiting {
        let bound = source.scope.names.iter().filter(|(name, var)| self.batch.entry.names.get(*name) != Some(*var));
        let names = bound.map(|(name, var)| (name.clone(), *var)).collect();
        Waiting { source, place, names, is_joined }
    }

    /// Rows that went on here wait to be joined.
    #[track_caller]
    fn pause(&mut self) {
        if let Some(place) = self.going_on.take() {
            let source = self.batch.end_source(());
            self.wait(source, place, true);
        }
    }

    /// The layer over rows that know all of these names, joined if they are those of several sources.
    #[track_caller]
    pub fn rows(&mut self, names: &[&str]) -> Named<'_> {
        self.need(names, "what follows");
        Named::over(self.batch)
    }

    /// The vars that names are bound to, in rows that know them all.
    #[track_caller]
    pub fn vars(&mut self, names: &[&str]) -> Vec<Var<Value>> {
        let mut rows = self.rows(names);
        let mut vars = Vec::new();
        for name in names {
            vars.push(rows.var(name));
        }
        vars
    }

    /// The var that a name is bound to. For several, see [`NamedBatch::vars`].
    #[track_caller]
    pub fn var(&mut self, name: &str) -> Var<Value> {
        self.rows(&[name]).var(name)
    }

    /// A var as an argument of a path or an aggregation.
    #[track_caller]
    pub fn arg(&mut self, name: &str) -> Arg {
        self.rows(&[name]).arg(name)
    }

    /// Calls a function of the named values.
    #[track_caller]
    pub fn each(&mut self, out: &str, inputs: &[&str], function: impl Fn(&[&Value]) -> Value + Send + Sync + 'static) {
        self.need(inputs, &format!("the operation that binds `{out}`"));
        Named::over(self.batch).each(out, inputs, function);
    }

    /// Emits each value that the function returns; the code below runs once for each.
    #[track_caller]
    pub fn emits(
        &mut self,
        out: &str,
        inputs: &[&str],
        function: impl Fn(&[&Value]) -> Vec<Value> + Send + Sync + 'static,
    ) {
        self.need(inputs, &format!("the operation that binds `{out}`"));
        Named::over(self.batch).emits(out, inputs, function);
    }

    /// Continues only where the function of the named values says so.
    #[track_caller]
    pub fn filter(&mut self, inputs: &[&str], function: impl Fn(&[&Value]) -> bool + Send + Sync + 'static) {
        self.need(inputs, "the filter");
        let mut rows = Named::over(self.batch);
        let keep = rows.call("filter", inputs, move |inputs| Value::Bool(function(inputs)));
        rows.block().filter(keep, |keep| *keep == Value::Bool(true));
    }

    /// Goes on where the hash of the value says.
    #[track_caller]
    pub fn hash_partition(&mut self, name: &str) {
        self.need(&[name], "the partitioner");
        Named::over(self.batch).hash_partition(name);
    }

    /// Goes on with rows that know all of these names; `what` needs them.
    #[track_caller]
    fn need(&mut self, names: &[&str], what: &str) {
        let everywhere = &self.batch.entry.names;
        let names: Vec<&str> = names.iter().copied().filter(|name| !everywhere.contains_key(*name)).collect();
        let here_knows = |name: &&str| self.batch.scope.names.contains_key(*name);
        if self.going_on.is_some() && names.iter().all(here_knows) {
            return;
        }
        self.pause();
        if let Some(unknown) = names.iter().find(|name| !self.waiting.iter().any(|of| of.names.contains_key(**name))) {
            let all = self.describe(|_| true);
            self.batch.mistake(format!("{what} needs `{unknown}`, which no source binds; there are {all}"));
            return self.give_up(&names);
        }
        if self.waiting.len() > SOURCE_COUNT_MAX {
            let count = self.waiting.len();
            let what = format!(
                "{count} sources wait to be joined, at most {SOURCE_COUNT_MAX} may; need some of their names before"
            );
            self.batch.mistake(what);
            return self.give_up(&names);
        }
        // Without names it goes on with what came last.
        let sides: Vec<Side> = self.waiting.iter().map(Waiting::side).collect();
        let order = match names[..] {
            [] => self.waiting.len().checked_sub(1).map(|last| vec![last]),
            _ => join_order(&sides, &names),
        };
        match order {
            Some(order) => self.join_all(&order),
            None => {
                let of = self.describe(|of| names.iter().any(|name| of.names.contains_key(*name)));
                self.batch.mistake(format!(
                    "no possible joins: {what} needs names of several sources, which have none in common that they \
                     could be joined on: {of}; bind a name in both, or add a source that has names of both (a source \
                     with `**` names is joined on all of its other names, and not gone on with before)"
                ));
                self.give_up(&names);
            }
        }
    }

    /// Goes on somehow after a mistake, so that it is the only one that is told.
    #[track_caller]
    fn give_up(&mut self, names: &[&str]) {
        for waiting in std::mem::take(&mut self.waiting) {
            self.batch.drop_source(waiting.source);
        }
        for name in names {
            let var = self.batch.bind::<Value>(name);
            Named::over(self.batch).bind(name, var);
        }
        self.going_on = Some(here());
    }

    /// Some sources with their lines and names.
    fn describe(&self, which: impl Fn(&Waiting) -> bool) -> String {
        let text = |of: &Waiting| {
            let names: Vec<&str> = of.names.keys().map(String::as_str).collect();
            format!("({}) of {}:{}", names.join(", "), of.place.file(), of.place.line())
        };
        let all: Vec<String> = self.waiting.iter().filter(|of| which(of)).map(text).collect();
        if all.is_empty() { "no sources".to_string() } else { all.join(" and ") }
    }

    /// Joins sources one after the other, and goes on with the rows of the last join.
    #[track_caller]
    fn join_all(&mut self, order: &[usize]) {
        let mut taken: BTreeMap<usize, Waiting> = BTreeMap::new();
        for (at, waiting) in std::mem::take(&mut self.waiting).into_iter().enumerate() {
            if order.contains(&at) { drop(taken.insert(at, waiting)) } else { self.waiting.push(waiting) }
        }
        let mut take = |at: &usize| taken.remove(at).expect("invariant: an order names each source once");
        let mut all = take(&order[0]);
        let mut is_optional = all.side().is_optional;
        if order.len() == 1 {
            self.batch.rows(all.source);
            self.going_on = Some(all.place);
            return;
        }
        for (nth, at) in order[1..].iter().enumerate() {
            let next = take(at);
            let next_is_optional = next.side().is_optional;
            let kind = match (is_optional, next_is_optional) {
                (true, true) => JoinKind::Full,
                (false, true) => JoinKind::Left,
                _ => JoinKind::Inner,
            };
            is_optional &= next_is_optional;
            self.join(kind, all, next);
            if nth + 2 == order.len() {
                break;
            }
            let source = self.batch.end_source(());
            all = self.waiting_of(source, here(), true);
        }
        self.going_on = Some(here());
    }

    /// Joins two sources on the names they have in common.
    #[track_caller]
    fn join(&mut self, kind: JoinKind, left: Waiting, right: Waiting) {
        let keys: Vec<String> = left.names.keys().filter(|name| right.names.contains_key(*name)).cloned().collect();
        let rest = |of: &Waiting| of.names.keys().filter(|name| !keys.contains(name)).cloned().collect::<Vec<String>>();
        let (left_rest, right_rest) = (rest(&left), rest(&right));
        self.batch.begin_root("join", Where::Everywhere);
        let widths = (left_rest.len(), right_rest.len());
        let left = self.keep(left, &keys, &left_rest);
        let right = self.keep(right, &keys, &right_rest);
        self.batch.code.joins.push(JoinDef { left, right, kind, widths });
        let join = self.batch.code.joins.len() - 1;
        let mut outs = Vec::new();
        let mut bound = Vec::new();
        for name in keys.iter().chain(&left_rest).chain(&right_rest) {
            let var = self.batch.bind::<Value>("join");
            outs.push(Register::new::<Value>(var.id));
            bound.push((name, var));
        }
        let label = format!("join on {}", keys.join(", "));
        self.batch.gather_into(RowsOf::Join(join), &label, outs);
        for (name, var) in bound {
            Named::over(self.batch).bind(name, var);
        }
    }

    #[track_caller]
    fn keep(&mut self, of: Waiting, keys: &[String], rest: &[String]) -> usize {
        let registers =
            |names: &[String]| names.iter().map(|name| Register::new::<Value>(of.names[name])).collect::<Vec<_>>();
        self.batch.keep_parts(of.source, registers(keys), registers(rest))
    }
}
