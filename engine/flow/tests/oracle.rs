//! Random programs mean what the sequential interpreter of `tantu-model` says, however often their runs park and yield, and
//! no function is called twice for it. Vars are texts, so that what they point to is tested too.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use support::{World, plan_of};
use tantu_base::value::{Value, encoded};
use tantu_flow::{Block, Module, PState, PStateOptions, RunError, Setup, StreamEmit, Topologies, Var, random};
use tantu_model::dataflow::{self, KEY_COUNT, Op, Outcome, Stopped};
use tantu_path::{Map, Navigate, path};

type Text = Var<str>;
type Held = PState<Map<i64, i64>>;

/// Long texts fill the arena, so that loops move what they need together.
fn text(number: i64) -> String {
    format!("{number:03000}")
}

fn number(text: &str) -> i64 {
    text.parse().expect("vars are numbers")
}

/// A program, how often its closures ran, and where it ended with what.
type Written = (Vec<Op>, Arc<AtomicU64>, Arc<Mutex<Vec<(u32, i64)>>>);

thread_local! {
    /// The program that [`Random`] is made of, and the counter of its calls.
    static PROGRAM: RefCell<Written> = RefCell::default();
}

struct Random;

impl Module for Random {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_global_depot::<String>("*in", random());
        let mut s = topologies.stream("random");
        let options = PStateOptions { unchecked: true, ..PStateOptions::default() };
        let held = s.pstate_with::<Map<i64, i64>>("$$held", options);
        let (program, calls, ends) = PROGRAM.with(|program| program.borrow().clone());
        s.source(&depot, |b, record| {
            let mut vars = vec![record];
            let recorder = Recorder { held, calls };
            recorder.block(b, &program, &mut vars);
            let (task, last) = (b.current_task_id(), vars[vars.len() - 1]);
            b.each((task, last), move |(task, last)| {
                ends.lock().unwrap().push((task as u32, number(last)));
                true
            });
        });
    }
}

struct Recorder {
    held: Held,
    calls: Arc<AtomicU64>,
}

fn pick(vars: &[Text], var: usize) -> Text {
    vars[var % vars.len()]
}

impl Recorder {
    fn block(&self, b: &mut Block, ops: &[Op], vars: &mut Vec<Text>) {
        ops.iter().for_each(|op| self.op(b, op, vars));
    }

    /// A block of which one var goes on.
    fn arm(&self, b: &mut Block, ops: &[Op], var: usize, vars: &[Text]) -> Text {
        let mut inner = vars.to_vec();
        self.block(b, ops, &mut inner);
        pick(&inner, var)
    }

    fn op(&self, b: &mut Block, op: &Op, vars: &mut Vec<Text>) {
        let of = |var: usize| pick(vars, var);
        let calls = Arc::clone(&self.calls);
        match op.clone() {
            Op::Each { kind, a, b: second } => {
                let out = b.each((of(a), of(second)), move |(a, b)| {
                    calls.fetch_add(1, Ordering::Relaxed);
                    text(dataflow::each(kind, number(a), number(b)))
                });
                vars.push(out);
            }
            Op::Filter { a, of: multiple } => b.filter(of(a), move |a| number(a) % multiple != 0),
            Op::Assert { a, of: multiple } => b.assert(of(a), move |a| number(a) % multiple != 0, "a multiple"),
            Op::Emits { a, most } => {
                let out = b.explode(of(a), move |a| {
                    calls.fetch_add(1, Ordering::Relaxed);
                    dataflow::emitted(number(a), most).into_iter().map(text).collect::<Vec<_>>()
                });
                vars.push(out);
            }
            Op::Split { a, most, odd } => {
                let stream = b.out_stream::<str>("odd");
                let (even, anchor) = b.emits_streams(of(a), stream, move |a, out: &mut StreamEmit<'_, str>| {
                    calls.fetch_add(1, Ordering::Relaxed);
                    for value in dataflow::emitted(number(a), most) {
                        match value % 2 {
                            0 => out.owned(text(value)),
                            _ => out.owned_on(stream, text(value)),
                        }
                    }
                });
                b.branch(&anchor, |b, value| {
                    let mut inner = vars.clone();
                    inner.push(value);
                    self.block(b, &odd, &mut inner);
                });
                vars.push(even);
            }
            Op::IfElse { c, then, t, other, o } => {
                let even = b.each(of(c), |c| number(c) % 2 == 0);
                let out = b.if_else(even, |b| self.arm(b, &then, t, vars), |b| self.arm(b, &other, o, vars));
                vars.push(out);
            }
            Op::Cond { a, arms, other } => {
                let a = of(a);
                let mut cond = b.cond();
                for (multiple, body, var) in &arms {
                    let multiple = *multiple;
                    cond =
                        cond.case(|b| b.each(a, move |a| number(a) % multiple == 0), |b| self.arm(b, body, *var, vars));
                }
                let out = cond.otherwise(|b| self.arm(b, &other.0, other.1, vars));
                vars.push(out);
            }
            _ => self.wired(b, op, vars),
        }
    }

    fn wired(&self, b: &mut Block, op: &Op, vars: &mut Vec<Text>) {
        let of = |var: usize| pick(vars, var);
        match op.clone() {
            Op::Loop { init, rounds, body, next, emit, but } => {
                let zero = b.constant("0");
                let out = b.looped((zero, of(init)), |b, looped, (counter, value)| {
                    let mut inner = vars.clone();
                    inner.extend([counter, value]);
                    self.block(b, &body, &mut inner);
                    let (emit, next) = (pick(&inner, emit), pick(&inner, next));
                    let leaves = b.each(emit, move |emit| number(emit) % but != 0);
                    b.if_true(leaves, |b| b.emit_loop(looped, emit));
                    let more = b.each(counter, move |counter| number(counter) < rounds);
                    b.if_true(more, |b| {
                        let counter = b.each(counter, |counter| text(number(counter) + 1));
                        b.continue_loop(looped, (counter, next));
                    });
                });
                vars.push(out);
            }
            Op::Branch { body } => {
                let here = b.anchor(());
                b.branch(&here, |b, ()| self.block(b, &body, &mut vars.clone()));
            }
            Op::Unify { left, l, right, r } => {
                let root = b.anchor(());
                let left = self.arm(b, &left, l, vars);
                let left = b.anchor(left);
                b.hook(&root);
                let right = self.arm(b, &right, r, vars);
                let right = b.anchor(right);
                let out = b.unify([left, right]);
                vars.push(out);
            }
            Op::Atomic { body } => b.atomic_block(|b| self.block(b, &body, &mut vars.clone())),
            Op::Hop { a } => b.custom_partition(of(a), |count, a| number(a) % i64::from(count)),
            Op::All => b.all_partition(),
            Op::Yield => b.yield_if_overtime(),
            Op::Add { key, amount } => {
                let (key, amount) = b.expand((of(key), of(amount)), |(k, n)| (number(k) % KEY_COUNT, number(n)));
                let more = path().key(key).null_to_val(0).term_with(amount, |held, n: i64| (held + n) % 1_000_000);
                b.local_transform(self.held, more);
            }
            Op::Get { key } => {
                let key = b.each(of(key), |key| number(key) % KEY_COUNT);
                let held = b.local_select(self.held, path().key(key).null_to_val(0));
                let held = b.each(held, text);
                vars.push(held);
            }
            other => unreachable!("{other:?} is recorded elsewhere"),
        }
    }
}

fn ops(depth: u32) -> impl Strategy<Value = Vec<Op>> {
    let var = 0..8usize;
    let leaf = prop_oneof![
        4 => (0..4u8, var.clone(), var.clone()).prop_map(|(kind, a, b)| Op::Each { kind, a, b }),
        1 => (var.clone(), 3..9i64).prop_map(|(a, of)| Op::Filter { a, of }),
        1 => (var.clone(), 40..400i64).prop_map(|(a, of)| Op::Assert { a, of }),
        2 => (var.clone(), 2..4i64).prop_map(|(a, most)| Op::Emits { a, most }),
        2 => var.clone().prop_map(|a| Op::Hop { a }),
        1 => Just(Op::All),
        1 => Just(Op::Yield),
        3 => (var.clone(), var.clone()).prop_map(|(key, amount)| Op::Add { key, amount }),
        2 => var.clone().prop_map(|key| Op::Get { key }),
    ];
    let one = leaf.prop_recursive(depth, 40, 4, move |inner| {
        let var = 0..8usize;
        let block = || prop::collection::vec(inner.clone(), 0..4);
        let arm = || (block(), 0..8usize);
        prop_oneof![
            (var.clone(), 2..5i64, block()).prop_map(|(a, most, odd)| Op::Split { a, most, odd }),
            (var.clone(), arm(), arm()).prop_map(|(c, (then, t), (other, o))| Op::IfElse { c, then, t, other, o }),
            (var.clone(), prop::collection::vec((2..5i64, block(), 0..8usize), 0..3), arm())
                .prop_map(|(a, arms, other)| Op::Cond { a, arms, other }),
            (var.clone(), 0..4i64, block(), var.clone(), var.clone(), 2..6i64)
                .prop_map(|(init, rounds, body, next, emit, but)| Op::Loop { init, rounds, body, next, emit, but }),
            block().prop_map(|body| Op::Branch { body }),
            (arm(), arm()).prop_map(|((left, l), (right, r))| Op::Unify { left, l, right, r }),
            block().prop_map(|body| Op::Atomic { body }),
        ]
    });
    prop::collection::vec(one, 1..7)
}

/// How a run is disturbed.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    park_every: u32,
    late_every: u32,
    fuel: u32,
    crowded_from: Option<usize>,
}

fn engine(program: &[Op], records: &[i64], trouble: Trouble) -> Result<Outcome, RunError> {
    let (calls, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
    PROGRAM.with(|slot| *slot.borrow_mut() = (program.to_vec(), Arc::clone(&calls), Arc::clone(&ends)));
    let (plan, at) = plan_of::<Random>();
    let mut world = World::new(4);
    world.crowded_from = trouble.crowded_from;
    (world.park_every, world.late_every) = (trouble.park_every, trouble.late_every);
    for record in records {
        world.queue.push_back((0, at, encoded(&record.to_string())));
    }
    world.run(&plan, trouble.fuel)?;
    let mut state = BTreeMap::new();
    for ((task, _, key), value) in &world.state {
        let key = Value::decode_key(key).unwrap().as_i64().unwrap();
        state.insert((*task, key), Value::decode(value).unwrap().as_i64().unwrap());
    }
    let ends = ends.lock().unwrap().clone();
    Ok(Outcome { state, ends, calls: calls.load(Ordering::Relaxed) })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn a_program_does_what_the_interpreter_says_whatever_parks_or_yields(
        program in ops(4),
        records in prop::collection::vec(0..200i64, 1..4),
        park_every in prop_oneof![Just(0u32), 2..5u32],
        late_every in prop_oneof![Just(0u32), 1..4u32],
        fuel in prop_oneof![Just(u32::MAX), 1..6u32],
        crowded_from in prop_oneof![Just(None), Just(Some(0))],
    ) {
        let mut looks = 0;
        let late = || {
            looks += 1;
            late_every > 0 && looks % late_every == 0
        };
        let expected = dataflow::run(&program, &records, 4, late);
        prop_assume!(expected != Err(Stopped::TooLong));
        let found = engine(&program, &records, Trouble { park_every, late_every, fuel, crowded_from });
        match (expected, found) {
            (Ok(expected), Ok(found)) => prop_assert_eq!(expected, found),
            (Err(Stopped::Failed), Err(RunError::Refused { .. })) => {}
            (expected, found) => prop_assert!(false, "expected {expected:?}, found {found:?}"),
        }
    }
}
