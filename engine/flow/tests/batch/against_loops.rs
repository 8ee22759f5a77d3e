//! Random batch programs against plain loops over the same rows.
//!
//! A program is a tree: rows, rows that are joined, united, filtered, sent about, grouped in a sub-batch. All rows are
//! three numbers, so that trees can be put together freely; an outer join's missing numbers become a number of their own.

use crate::world::{Dice, World};
use std::cell::RefCell;
use tantu_base::value::Decode;
use tantu_flow::{BatchBlock, Emit, Module, Setup, Topologies, Var, define};
use tantu_path::{List, agg};

type Row = [i64; 3];
type Vars = (Var<i64>, Var<i64>, Var<i64>);

const MISSING: i64 = -77;

#[derive(Clone, Debug)]
enum Tree {
    Rows(Vec<Row>),
    Join {
        kind: Kind,
        sides: Box<[Tree; 2]>,
        on: Vec<(usize, usize)>,
        mix: [usize; 3],
    },
    Union(Vec<Tree>),
    /// Rows whose first number has this remainder by three go.
    Filter(Box<Tree>, i64),
    Hop(Box<Tree>, Hop),
    /// For each value of a number: how many rows, and the sum of another.
    Grouped {
        of: Box<Tree>,
        by: usize,
        sum: usize,
    },
    /// All rows on one task, or on one of each: count, and the largest of a number.
    Counted {
        of: Box<Tree>,
        max: usize,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Inner,
    Left,
    Full,
}

#[derive(Clone, Copy, Debug)]
enum Hop {
    Shuffle,
    Hash(usize),
    Global,
}

fn random_tree(dice: &mut Dice, depth: usize) -> Tree {
    let column = |dice: &mut Dice| dice.below(3);
    let deeper = |dice: &mut Dice| Box::new(random_tree(dice, depth - 1));
    match if depth == 0 { 0 } else { dice.below(9) } {
        0 => {
            let most = if dice.below(20) == 0 { 40 } else { 7 };
            let number = |dice: &mut Dice| dice.below(5) as i64;
            Tree::Rows((0..dice.below(most)).map(|_| [number(dice), number(dice), number(dice)]).collect())
        }
        1..=3 => {
            let kind = [Kind::Inner, Kind::Left, Kind::Full][dice.below(3)];
            let sides = Box::new([*deeper(dice), *deeper(dice)]);
            let on = (0..1 + dice.below(2)).map(|_| (column(dice), column(dice))).collect();
            Tree::Join { kind, sides, on, mix: [dice.below(7), dice.below(7), dice.below(7)] }
        }
        4 => Tree::Union((0..1 + dice.below(3)).map(|_| *deeper(dice)).collect()),
        5 => Tree::Filter(deeper(dice), dice.below(3) as i64),
        6 => {
            let hop = [Hop::Shuffle, Hop::Hash(column(dice)), Hop::Global][dice.below(3)];
            Tree::Hop(deeper(dice), hop)
        }
        7 => Tree::Grouped { of: deeper(dice), by: column(dice), sum: column(dice) },
        _ => Tree::Counted { of: deeper(dice), max: column(dice) },
    }
}

/// What plain loops make of it.
fn by_loops(tree: &Tree) -> Vec<Row> {
    match tree {
        Tree::Rows(rows) => rows.clone(),
        Tree::Union(trees) => trees.iter().flat_map(by_loops).collect(),
        Tree::Hop(of, _) => by_loops(of),
        Tree::Filter(of, rest) => by_loops(of).into_iter().filter(|row| row[0].rem_euclid(3) != *rest).collect(),
        Tree::Grouped { of, by, sum } => {
            let rows = by_loops(of);
            let mut keys: Vec<i64> = rows.iter().map(|row| row[*by]).collect();
            keys.sort_unstable();
            keys.dedup();
            let of_key = |key: &i64| rows.iter().filter(|row| row[*by] == *key).collect::<Vec<_>>();
            let row = |key: i64| {
                let rows = of_key(&key);
                [key, rows.len() as i64, rows.iter().map(|row| row[*sum]).sum()]
            };
            keys.into_iter().map(row).collect()
        }
        Tree::Counted { of, max } => {
            let rows = by_loops(of);
            vec![[rows.len() as i64, rows.iter().map(|row| row[*max]).max().unwrap_or(MISSING), 1]]
        }
        Tree::Join { kind, sides, on, mix } => {
            let (left, right) = (by_loops(&sides[0]), by_loops(&sides[1]));
            let fits = |l: &Row, r: &Row| on.iter().all(|(i, j)| l[*i] == r[*j]);
            let none = [MISSING; 3];
            let mut joined = Vec::new();
            for l in &left {
                let partners: Vec<&Row> = right.iter().filter(|r| fits(l, r)).collect();
                joined.extend(partners.iter().map(|r| (l[on[0].0], *l, **r)));
                if partners.is_empty() && *kind != Kind::Inner {
                    joined.push((l[on[0].0], *l, none));
                }
            }
            if *kind == Kind::Full {
                let alone = right.iter().filter(|r| !left.iter().any(|l| fits(l, r)));
                joined.extend(alone.map(|r| (r[on[0].1], none, *r)));
            }
            joined.into_iter().map(|(key, l, r)| mix.map(|at| pick(at, key, &l, &r))).collect()
        }
    }
}

fn pick(at: usize, key: i64, left: &Row, right: &Row) -> i64 {
    match at {
        0..=2 => left[at],
        3..=5 => right[at - 3],
        _ => key,
    }
}

fn column(vars: Vars, at: usize) -> Var<i64> {
    [vars.0, vars.1, vars.2][at]
}

/// The same as a batch program.
fn record(b: &mut BatchBlock, tree: &Tree) -> Vars {
    match tree {
        Tree::Rows(rows) => {
            let rows = rows.clone();
            let row = b.emits((), move |(), emit: &mut Emit<'_, (i64, i64, i64)>| {
                rows.iter().for_each(|row| emit.owned((row[0], row[1], row[2])));
            });
            (b.each(row, |row| row.0), b.each(row, |row| row.1), b.each(row, |row| row.2))
        }
        Tree::Union(trees) => {
            let sources: Vec<_> = trees.iter().map(|tree| b.source(|b| record(b, tree))).collect();
            b.union(sources)
        }
        Tree::Hop(of, hop) => {
            let vars = record(b, of);
            match hop {
                Hop::Shuffle => b.shuffle_partition(),
                Hop::Hash(at) => b.hash_partition(column(vars, *at)),
                Hop::Global => b.global_partition(),
            }
            vars
        }
        Tree::Filter(of, rest) => {
            let (vars, rest) = (record(b, of), *rest);
            b.filter(vars.0, move |first| first.rem_euclid(3) != rest);
            vars
        }
        Tree::Grouped { of, by, sum } => {
            let groups = b.sub_batch(|b| {
                let vars = record(b, of);
                let sum = column(vars, *sum);
                let (key, (count, sum)) =
                    b.group_by(column(vars, *by), |g| (g.agg::<i64>(agg::count()), g.agg::<i64>(agg::sum(sum))));
                (key, count, sum)
            });
            b.rows(groups)
        }
        Tree::Counted { of, max } => {
            let counted = b.sub_batch(|b| {
                let vars = record(b, of);
                b.global_partition();
                let count = b.agg::<i64>(agg::count());
                let max = b.agg::<Option<i64>>(agg::max(column(vars, *max)));
                let (max, one) = (b.each(max, |max| max.unwrap_or(MISSING)), b.constant(1i64));
                (count, max, one)
            });
            b.rows(counted)
        }
        Tree::Join { kind, sides, on, mix } => record_join(b, *kind, sides, on, *mix),
    }
}

fn record_join(b: &mut BatchBlock, kind: Kind, sides: &[Tree; 2], on: &[(usize, usize)], mix: [usize; 3]) -> Vars {
    let left = b.source(|b| record(b, &sides[0]));
    let right = b.source(|b| record(b, &sides[1]));
    let (first, second) = (on[0], *on.last().expect("there is a key"));
    let keys =
        |l: Vars, r: Vars| ((column(l, first.0), column(l, second.0)), (column(r, first.1), column(r, second.1)));
    type OptRow = (Option<i64>, Option<i64>, Option<i64>);
    let plain = |row: OptRow| [row.0, row.1, row.2].map(|number| number.unwrap_or(MISSING));
    let mixed = match kind {
        Kind::Inner => {
            let ((a, b1, c), (d, e, f)) = b.join(left, right, keys);
            b.each((a, b1, c, d, e, f), move |(a, b, c, d, e, f)| {
                let key = [a, b, c][first.0];
                let row = mix.map(|at| pick(at, key, &[a, b, c], &[d, e, f]));
                (row[0], row[1], row[2])
            })
        }
        Kind::Left => {
            let ((a, b1, c), (d, e, f)) = b.left_join(left, right, keys);
            b.each((a, b1, c, d, e, f), move |(a, b, c, d, e, f)| {
                let key = [a, b, c][first.0];
                let row = mix.map(|at| pick(at, key, &[a, b, c], &plain((*d, *e, *f))));
                (row[0], row[1], row[2])
            })
        }
        Kind::Full => {
            let (key, (a, b1, c), (d, e, f)) = b.full_join(left, right, keys);
            b.each((key.0, a, b1, c, d, e, f), move |(key, a, b, c, d, e, f)| {
                let row = mix.map(|at| pick(at, key, &plain((*a, *b, *c)), &plain((*d, *e, *f))));
                (row[0], row[1], row[2])
            })
        }
    };
    (b.each(mixed, |row| row.0), b.each(mixed, |row| row.1), b.each(mixed, |row| row.2))
}

thread_local! {
    static TREE: RefCell<Option<Tree>> = const { RefCell::new(None) };
}

struct Program;

impl Module for Program {
    fn define(_: &mut Setup, topologies: &mut Topologies) {
        let tree = TREE.take().expect("a test set it");
        topologies.query("rows", |q, ()| {
            let (a, b, c) = record(q, &tree);
            let row = q.each((a, b, c), |(a, b, c)| (a, b, c));
            q.origin_partition();
            q.agg::<List<(i64, i64, i64)>>(agg::list(row))
        });
    }
}

#[test]
fn batch_programs_give_the_rows_that_plain_loops_give() {
    let (mut with_rows, mut joined) = (0, 0);
    for seed in 0..3_000u64 {
        let mut dice = Dice(seed);
        let depth = 1 + dice.below(4);
        let tree = random_tree(&mut dice, depth);
        let mut expected = by_loops(&tree);
        if expected.len() > 5_000 {
            continue;
        }
        TREE.set(Some(tree.clone()));
        let module = define::<Program>().unwrap_or_else(|errors| panic!("seed {seed}: {errors} {tree:?}"));
        let plan = &module.queries[0].plan;
        let tasks = 1 << dice.below(4);
        let results = World::new(plan, tasks, dice.next()).call(&[]);
        let results = results.unwrap_or_else(|error| panic!("seed {seed}: {error} {tree:?}"));
        assert_eq!(results.len(), 1, "seed {seed}: one result {tree:?}");
        let mut found = Vec::<(i64, i64, i64)>::decode(&mut tantu_base::value::Reader::new(&results[0].1))
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        found.sort_unstable();
        expected.sort_unstable();
        let expected: Vec<_> = expected.into_iter().map(|[a, b, c]| (a, b, c)).collect();
        assert_eq!(found, expected, "seed {seed} on {tasks} tasks: {tree:?}");
        with_rows += usize::from(!expected.is_empty());
        joined += usize::from(matches!(tree, Tree::Join { .. }) && !expected.is_empty());
    }
    assert!(with_rows > 1_500 && joined > 500, "{with_rows} programs with rows, {joined} joins with rows");
}
