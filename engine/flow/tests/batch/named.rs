//! Joins by common names in the untyped layer, against nested loops over random relations.

use crate::world::{Dice, World};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use tantu_base::value::{Decode, Reader, Value};
use tantu_flow::{DefineErrors, Module, NamedBatch, QueryBlock, Setup, Topologies, define};
use tantu_path::{List, agg};

/// A relation: its names, and rows of a number for each.
#[derive(Clone, Debug)]
struct Relation {
    names: Vec<String>,
    rows: Vec<Vec<i64>>,
}

impl Relation {
    fn is_optional(&self) -> bool {
        self.names.iter().any(|name| name.starts_with("**"))
    }

    fn row(&self, at: usize) -> Row {
        self.names.iter().cloned().zip(self.rows[at].iter().map(|n| Some(*n))).collect()
    }

    fn ground(&self) -> BTreeSet<&str> {
        self.names.iter().map(String::as_str).filter(|name| !name.starts_with("**")).collect()
    }
}

type Row = BTreeMap<String, Option<i64>>;

/// The two rows as one, if what they have in common is equal.
fn merged(left: &Row, right: &Row) -> Option<Row> {
    let differs = |(name, value): (&String, &Option<i64>)| right.get(name).is_some_and(|other| other != value);
    if left.iter().any(differs) { None } else { Some(left.iter().chain(right).map(|(n, v)| (n.clone(), *v)).collect()) }
}

/// What nested loops make of relations that are all joined.
fn by_loops(relations: &[Relation]) -> Vec<Row> {
    let (optional, required): (Vec<&Relation>, Vec<&Relation>) = relations.iter().partition(|of| of.is_optional());
    let mut all = vec![Row::new()];
    if required.is_empty() {
        // All optional ones have the same keys: each that some of them has goes on.
        let keys = optional.iter().flat_map(|of| (0..of.rows.len()).map(|at| (*of, of.row(at))));
        let keys = keys.map(|(of, row)| row.into_iter().filter(|(name, _)| of.ground().contains(&name[..])).collect());
        let keys: BTreeSet<Row> = keys.collect();
        all = keys.into_iter().collect();
    }
    for relation in required {
        let pairs = |left: &Row| (0..relation.rows.len()).filter_map(|at| merged(left, &relation.row(at))).collect();
        all = all.iter().flat_map(|left| -> Vec<Row> { pairs(left) }).collect();
    }
    for relation in optional {
        let null = |name: &String| (name.clone(), None);
        let nothing: Row = relation.names.iter().filter(|name| name.starts_with("**")).map(null).collect();
        let with = |left: &Row| {
            let found: Vec<Row> = (0..relation.rows.len()).filter_map(|at| merged(left, &relation.row(at))).collect();
            if found.is_empty() { merged(left, &nothing).into_iter().collect() } else { found }
        };
        all = all.iter().flat_map(with).collect();
    }
    all
}

thread_local! {
    static RELATIONS: RefCell<Vec<Relation>> = const { RefCell::new(Vec::new()) };
}

fn record(n: &mut NamedBatch<'_>, relation: &Relation) {
    let rows = relation.rows.clone();
    let names: Vec<&str> = relation.names.iter().map(String::as_str).collect();
    n.source(|n| {
        let to_list = |row: &Vec<i64>| Value::List(row.iter().map(|n| Value::I64(*n)).collect());
        n.emits("*row", &[], move |_| rows.iter().map(to_list).collect());
        n.block().shuffle_partition();
        n.expand(&names, &["*row"], |v| v[0].elements().unwrap_or_default().to_vec());
        n.forget(&["*row"]);
    });
}

/// Rows of all names of all relations, in the order of the names.
struct Joined;

impl Module for Joined {
    fn define(_: &mut Setup, topologies: &mut Topologies) {
        let relations = RELATIONS.with_borrow(Clone::clone);
        topologies.query("joined", |q: &mut QueryBlock, ()| {
            let names: BTreeSet<String> = relations.iter().flat_map(|of| of.names.clone()).collect();
            let line = q.named_batch(|n| {
                relations.iter().for_each(|relation| record(n, relation));
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                n.each("*line", &names, |v| Value::List(v.iter().map(|v| (*v).clone()).collect()));
                n.var("*line")
            });
            q.origin_partition();
            q.agg::<List<Value>>(agg::list(line))
        });
    }
}

/// What the program gives: each row's numbers in the order of their names.
fn run(relations: &[Relation], seed: u64) -> Result<Vec<Vec<Option<i64>>>, DefineErrors> {
    RELATIONS.set(relations.to_vec());
    let module = define::<Joined>()?;
    let results = World::new(&module.queries[0].plan, 1 << (seed % 3), seed).call(&[]).expect("nothing fails");
    let lines = Vec::<Value>::decode(&mut Reader::new(&results[0].1)).expect("a list");
    let row = |line: Value| line.elements().expect("a row").iter().map(Value::as_i64).collect::<Vec<_>>();
    let mut rows: Vec<_> = lines.into_iter().map(row).collect();
    rows.sort_unstable();
    Ok(rows)
}

fn expected(relations: &[Relation]) -> Vec<Vec<Option<i64>>> {
    let mut rows: Vec<Vec<Option<i64>>> =
        by_loops(relations).into_iter().map(|row| row.into_values().collect()).collect();
    rows.sort_unstable();
    rows
}

/// Each with a name of its own, so that all are needed, and some of four in common.
fn random_relations(dice: &mut Dice) -> Vec<Relation> {
    let relation = |dice: &mut Dice, at: usize| {
        let common = ["*a", "*b", "*c", "*d"].iter().filter(|_| dice.below(2) == 0).map(|name| name.to_string());
        let mut names: Vec<String> = common.collect();
        names.push(format!("*own{at}"));
        let row = |dice: &mut Dice| (0..names.len()).map(|_| dice.below(3) as i64).collect();
        let rows = (0..dice.below(8)).map(|_| row(dice)).collect();
        Relation { names, rows }
    };
    (0..1 + dice.below(4)).map(|at| relation(dice, at)).collect()
}

/// Whether one comes to all of them by names in common.
fn hold_together(relations: &[Relation]) -> bool {
    let mut known: BTreeSet<&str> = relations[0].names.iter().map(String::as_str).collect();
    for _ in relations {
        for relation in relations {
            if relation.names.iter().any(|name| known.contains(&name[..])) {
                known.extend(relation.names.iter().map(String::as_str));
            }
        }
    }
    relations.iter().all(|relation| relation.names.iter().all(|name| known.contains(&name[..])))
}

#[test]
fn sources_are_joined_on_all_names_they_have_in_common_as_nested_loops_would() {
    let mut dice = Dice(11);
    let (mut joined, mut refused) = (0, 0);
    for seed in 0..300 {
        let relations = random_relations(&mut dice);
        match run(&relations, seed) {
            Ok(rows) => {
                assert!(hold_together(&relations), "{relations:?}");
                assert_eq!(rows, expected(&relations), "{relations:?}");
                joined += usize::from(relations.len() > 1 && !rows.is_empty());
            }
            Err(error) => {
                assert!(!hold_together(&relations), "{relations:?}: {error}");
                assert!(error.to_string().contains("no possible joins"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(joined > 30 && refused > 30, "{joined} joins that gave rows, {refused} that cannot be");
}

fn relation(names: &str, rows: &[&[i64]]) -> Relation {
    Relation {
        names: names.split(' ').map(String::from).collect(),
        rows: rows.iter().map(|row| row.to_vec()).collect(),
    }
}

#[test]
fn names_that_may_be_missing_make_their_source_the_optional_side() {
    let mut dice = Dice(5);
    for seed in 0..100 {
        let mut rows = |width: usize| {
            let row = |dice: &mut Dice| (0..width).map(|_| dice.below(4) as i64).collect::<Vec<i64>>();
            (0..dice.below(7)).map(|_| row(&mut dice)).collect::<Vec<_>>()
        };
        let mut of = |names: &str| Relation { rows: rows(names.split(' ').count()), ..relation(names, &[]) };
        for relations in [
            vec![of("*k *a"), of("*k **v")],
            vec![of("*k **v"), of("*k *a"), of("*a *k **w")],
            vec![of("*k **v"), of("*k **w")],
            vec![of("*k *j **v"), of("*k *j **w"), of("*j *k **x")],
            // The last can be joined on all of its names only when the first two are.
            vec![of("*a *k"), of("*j *k"), of("*a *j **v")],
        ] {
            assert_eq!(run(&relations, seed).expect("it can be joined"), expected(&relations), "{relations:?}");
        }
    }
}

struct Apart;

impl Module for Apart {
    fn define(_: &mut Setup, topologies: &mut Topologies) {
        topologies.query("apart", |q: &mut QueryBlock, ()| {
            let both = q.named_batch(|n| {
                record(n, &relation("*user *name", &[]));
                record(n, &relation("*order *price", &[]));
                n.each("*both", &["*name", "*price"], |v| v[0].clone());
                n.var("*both")
            });
            q.origin_partition();
            q.agg::<List<Value>>(agg::list(both))
        });
    }
}

#[test]
fn sources_with_nothing_in_common_are_refused_with_both_and_what_to_do() {
    let error = define::<Apart>().expect_err("they have no name in common").to_string();
    let line = error.lines().find(|line| line.contains("no possible joins")).expect("it is refused");
    for part in [
        "the operation that binds `*both` needs names of several sources",
        "(*name, *user) of ",
        "(*order, *price) of ",
        "bind a name in both",
        "named.rs:",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

/// What is joined first goes on, and is joined again when more is needed.
struct Stepwise;

impl Module for Stepwise {
    fn define(_: &mut Setup, topologies: &mut Topologies) {
        topologies.query("stepwise", |q: &mut QueryBlock, ()| {
            let line = q.named_batch(|n| {
                record(n, &relation("*a *b", &[&[1, 2], &[3, 4]]));
                record(n, &relation("*b *c", &[&[2, 5], &[4, 6], &[4, 7]]));
                n.each("*sum", &["*a", "*c"], |v| Value::I64(v[0].as_i64().unwrap_or(0) + v[1].as_i64().unwrap_or(0)));
                n.filter(&["*sum"], |v| v[0].as_i64() != Some(9));
                record(n, &relation("*sum *d", &[&[6, 100], &[10, 200], &[9, 300]]));
                n.each("*line", &["*c", "*d"], |v| Value::List(vec![v[0].clone(), v[1].clone()]));
                n.var("*line")
            });
            q.origin_partition();
            q.agg::<List<Value>>(agg::list(line))
        });
    }
}

#[test]
fn what_was_joined_is_joined_with_what_comes_later() {
    let module = define::<Stepwise>().expect("it can be joined");
    for seed in 0..8 {
        let results = World::new(&module.queries[0].plan, 4, seed).call(&[]).expect("nothing fails");
        let mut lines = Vec::<Value>::decode(&mut Reader::new(&results[0].1)).expect("a list");
        lines.sort();
        let line = |c: i64, d: i64| Value::List(vec![Value::I64(c), Value::I64(d)]);
        assert_eq!(lines, [line(5, 100), line(7, 200)]);
    }
}
