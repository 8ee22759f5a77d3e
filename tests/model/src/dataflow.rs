//! A small dataflow language and what its programs mean: emits run depth first, ways that part meet again, a hop ends the event
//! and the rest runs later on another task, events run one at a time in the order they were sent.
//!
//! Every var is a number; an operation names the vars it reads by their place among those bound so far. What users are
//! not promised, the order of branches that grow from one point, is fixed here: what follows first, then side branches.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// One operation. Vars are named by any number, taken modulo how many there are.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the variants say it; fields are vars, blocks, or small numbers")]
pub enum Op {
    /// Binds a function of two vars.
    Each { kind: u8, a: usize, b: usize },
    /// Goes on if the var is no multiple.
    Filter { a: usize, of: i64 },
    /// Fails the event if the var is a multiple.
    Assert { a: usize, of: i64 },
    /// Binds each of `a % most` values.
    Emits { a: usize, most: i64 },
    /// Binds the even ones of some values; for the odd ones a side block runs.
    Split { a: usize, most: i64, odd: Vec<Op> },
    /// Runs one of two blocks and binds a var of it.
    IfElse { c: usize, then: Vec<Op>, t: usize, other: Vec<Op>, o: usize },
    /// The first arm of which the var is a multiple, or the last block; binds a var of it.
    Cond { a: usize, arms: Vec<(i64, Vec<Op>, usize)>, other: (Vec<Op>, usize) },
    /// Rounds of a body with a counter and a value; emits a var of the body, if it is no multiple, and binds it outside.
    Loop { init: usize, rounds: i64, body: Vec<Op>, next: usize, emit: usize, but: i64 },
    /// A side branch from here.
    Branch { body: Vec<Op> },
    /// Two branches from here that are joined; binds a var of each.
    Unify { left: Vec<Op>, l: usize, right: Vec<Op>, r: usize },
    /// Runs the block to its end, then what follows.
    Atomic { body: Vec<Op> },
    /// Goes on on another task.
    Hop { a: usize },
    /// Goes on on every task.
    All,
    /// Goes on later, if the event takes long.
    Yield,
    /// Adds to the entry of a key on this task.
    Add { key: usize, amount: usize },
    /// Binds the entry of a key on this task, 0 if there is none.
    Get { key: usize },
}

/// What a run did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// By task and key.
    pub state: BTreeMap<(u32, i64), i64>,
    /// The value of the last var at each end of the program, with its task, in order.
    pub ends: Vec<(u32, i64)>,
    /// Calls of functions.
    pub calls: u64,
}

/// Why there is no outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stopped {
    /// An assertion failed.
    Failed,
    /// It runs too long to be worth it.
    TooLong,
}

/// Keys of the map.
pub const KEY_COUNT: i64 = 5;

/// What `Each` computes.
pub fn each(kind: u8, a: i64, b: i64) -> i64 {
    match kind % 4 {
        0 => (a + b) % 1_000,
        1 => (a * 3 + b + 1) % 1_000,
        2 => (a - b).rem_euclid(1_000),
        _ => (a * b + 7) % 1_000,
    }
}

/// The values `Emits` and `Split` emit.
pub fn emitted(a: i64, most: i64) -> Vec<i64> {
    (0..a % most).map(|n| (a * 5 + n) % 1_000).collect()
}

/// What runs next.
enum Next<'p> {
    End,
    Stop,
    Ops(&'p [Op], Rc<Next<'p>>),
    /// Of the vars, the first `keep` and one more go on.
    Pick {
        keep: usize,
        var: usize,
        then: Rc<Next<'p>>,
    },
    /// The end of a loop's body.
    Round {
        of: &'p Op,
        keep: usize,
        then: Rc<Next<'p>>,
    },
}

type Event<'p> = (u32, Vec<i64>, Rc<Next<'p>>);

struct World<'p, L> {
    tasks: u32,
    queue: VecDeque<Event<'p>>,
    late: L,
    out: Outcome,
    left: u64,
}

/// Runs a program for each record, all sent at the beginning to task 0. `late` says, call by call, whether an event takes long.
pub fn run(program: &[Op], records: &[i64], tasks: u32, late: impl FnMut() -> bool) -> Result<Outcome, Stopped> {
    let start = |record: &i64| (0, vec![*record], Rc::new(Next::Ops(program, Rc::new(Next::End))));
    let queue = records.iter().map(start).collect();
    let mut world = World { tasks, queue, late, out: Outcome::default(), left: 20_000 };
    while let Some((task, vars, next)) = world.queue.pop_front() {
        world.go(task, vars, &next)?;
    }
    Ok(world.out)
}

fn with(vars: &[i64], value: i64) -> Vec<i64> {
    let mut vars = vars.to_vec();
    vars.push(value);
    vars
}

impl<'p, L: FnMut() -> bool> World<'p, L> {
    fn go(&mut self, task: u32, vars: Vec<i64>, next: &Rc<Next<'p>>) -> Result<(), Stopped> {
        self.left = self.left.checked_sub(1).ok_or(Stopped::TooLong)?;
        match &**next {
            Next::Stop => Ok(()),
            Next::End => {
                self.out.ends.push((task, vars[vars.len() - 1]));
                Ok(())
            }
            Next::Ops([], then) => self.go(task, vars, then),
            Next::Ops([op, rest @ ..], then) => {
                let rest = Rc::new(Next::Ops(rest, Rc::clone(then)));
                self.op(op, task, vars, &rest)
            }
            Next::Pick { keep, var, then } => {
                let value = vars[var % vars.len()];
                self.go(task, with(&vars[..*keep], value), then)
            }
            Next::Round { of, keep, then } => {
                let Op::Loop { rounds, next: chosen, emit, but, .. } = of else {
                    unreachable!("only loops have rounds")
                };
                let (counter, outer) = (vars[*keep], &vars[..*keep]);
                let emitted = vars[emit % vars.len()];
                if emitted % but != 0 {
                    self.go(task, with(outer, emitted), then)?;
                }
                if counter < *rounds {
                    self.round(of, task, with(&with(outer, counter + 1), vars[chosen % vars.len()]), *keep, then)?;
                }
                Ok(())
            }
        }
    }

    fn round(
        &mut self,
        of: &'p Op,
        task: u32,
        vars: Vec<i64>,
        keep: usize,
        then: &Rc<Next<'p>>,
    ) -> Result<(), Stopped> {
        let Op::Loop { body, .. } = of else { unreachable!("only loops have rounds") };
        let end = Rc::new(Next::Round { of, keep, then: Rc::clone(then) });
        self.go(task, vars, &Rc::new(Next::Ops(body, end)))
    }

    fn block(&mut self, body: &'p [Op], task: u32, vars: &[i64], then: Rc<Next<'p>>) -> Result<(), Stopped> {
        self.go(task, vars.to_vec(), &Rc::new(Next::Ops(body, then)))
    }

    /// Runs a block of which one var goes on.
    fn arm(&mut self, body: &'p [Op], var: usize, task: u32, vars: &[i64], then: &Rc<Next<'p>>) -> Result<(), Stopped> {
        let pick = Rc::new(Next::Pick { keep: vars.len(), var, then: Rc::clone(then) });
        self.block(body, task, vars, pick)
    }

    fn op(&mut self, op: &'p Op, task: u32, vars: Vec<i64>, then: &Rc<Next<'p>>) -> Result<(), Stopped> {
        let of = |var: &usize| vars[var % vars.len()];
        match op {
            Op::Each { kind, a, b } => {
                self.out.calls += 1;
                self.go(task, with(&vars, each(*kind, of(a), of(b))), then)
            }
            Op::Filter { a, of: multiple } if of(a) % multiple == 0 => Ok(()),
            Op::Assert { a, of: multiple } if of(a) % multiple == 0 => Err(Stopped::Failed),
            Op::Filter { .. } | Op::Assert { .. } => self.go(task, vars, then),
            Op::Emits { a, most } => {
                self.out.calls += 1;
                emitted(of(a), *most).into_iter().try_for_each(|value| self.go(task, with(&vars, value), then))
            }
            Op::Split { a, most, odd } => {
                self.out.calls += 1;
                emitted(of(a), *most).into_iter().try_for_each(|value| match value % 2 {
                    0 => self.go(task, with(&vars, value), then),
                    _ => self.block(odd, task, &with(&vars, value), Rc::new(Next::Stop)),
                })
            }
            Op::IfElse { c, then: yes, t, .. } if of(c) % 2 == 0 => self.arm(yes, *t, task, &vars, then),
            Op::IfElse { other, o, .. } => self.arm(other, *o, task, &vars, then),
            Op::Cond { a, arms, other } => {
                let arm = arms.iter().find(|(multiple, ..)| of(a) % multiple == 0);
                let (body, var) = arm.map_or((&other.0, other.1), |(_, body, var)| (body, *var));
                self.arm(body, var, task, &vars, then)
            }
            Op::Loop { init, .. } => {
                let first = with(&with(&vars, 0), of(init));
                self.round(op, task, first, vars.len(), then)
            }
            _ => self.wired(op, task, vars, then),
        }
    }

    fn wired(&mut self, op: &'p Op, task: u32, vars: Vec<i64>, then: &Rc<Next<'p>>) -> Result<(), Stopped> {
        let of = |var: &usize| vars[var % vars.len()];
        let stop = || Rc::new(Next::Stop);
        match op {
            Op::Branch { body } => {
                self.go(task, vars.clone(), then)?;
                self.block(body, task, &vars, stop())
            }
            Op::Unify { left, l, right, r } => {
                self.arm(left, *l, task, &vars, then)?;
                self.arm(right, *r, task, &vars, then)
            }
            Op::Atomic { body } => {
                self.block(body, task, &vars, stop())?;
                self.go(task, vars, then)
            }
            Op::Hop { a } => {
                let to = (of(a) % i64::from(self.tasks)) as u32;
                self.queue.push_back((to, vars, Rc::clone(then)));
                Ok(())
            }
            Op::All => {
                (0..self.tasks).for_each(|to| self.queue.push_back((to, vars.clone(), Rc::clone(then))));
                Ok(())
            }
            Op::Yield if (self.late)() => {
                self.queue.push_back((task, vars, Rc::clone(then)));
                Ok(())
            }
            Op::Yield => self.go(task, vars, then),
            Op::Add { key, amount } => {
                let entry = self.out.state.entry((task, of(key) % KEY_COUNT)).or_default();
                *entry = (*entry + of(amount)) % 1_000_000;
                self.go(task, vars, then)
            }
            Op::Get { key } => {
                let held = self.out.state.get(&(task, of(key) % KEY_COUNT)).copied().unwrap_or(0);
                self.go(task, with(&vars, held), then)
            }
            _ => unreachable!("the other operations are in `op`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(program: &[Op], record: i64) -> Vec<(u32, i64)> {
        run(program, &[record], 4, || false).unwrap().ends
    }

    #[test]
    fn a_loop_emits_each_round_and_code_after_it_runs_first() {
        let body = vec![Op::Each { kind: 1, a: 2, b: 0 }];
        let program = [Op::Loop { init: 0, rounds: 2, body, next: 3, emit: 2, but: 1_000 }];
        assert_eq!(ends(&program, 5), [(0, 5), (0, 21), (0, 69)]);
    }

    #[test]
    fn an_atomic_block_ends_before_what_follows_and_a_branch_after_it() {
        let add = |amount: usize| Op::Add { key: 0, amount };
        let atomic = [Op::Atomic { body: vec![add(0)] }, Op::Get { key: 0 }];
        assert_eq!(ends(&atomic, 7), [(0, 7)]);
        let branch = [Op::Branch { body: vec![add(0)] }, Op::Get { key: 0 }];
        assert_eq!(ends(&branch, 7), [(0, 0)]);
    }

    #[test]
    fn a_hop_goes_on_on_its_task_after_the_event_and_a_failure_ends_all() {
        let program = [Op::Emits { a: 0, most: 4 }, Op::Hop { a: 1 }];
        assert_eq!(ends(&program, 3), [(3, 15), (0, 16), (1, 17)]);
        assert_eq!(run(&[Op::Assert { a: 0, of: 3 }], &[1, 3], 4, || false), Err(Stopped::Failed));
    }
}
