//! What a task holds of a batch is bounded.

use crate::world::World;
use tantu_base::value::encoded;
use tantu_flow::{BatchError, Module, Setup, Tables, Topologies, Var, define, put_row};
use tantu_path::agg;

struct Joined;

impl Module for Joined {
    fn define(_: &mut Setup, topologies: &mut Topologies) {
        topologies.query("pairs", |q, (n,): (Var<i64>,)| {
            let left = q.source(|b| b.explode(n, |n| 0..n));
            let right = q.source(|b| b.explode(n, |n| 0..n));
            let (left, _) = q.join(left, right, |left, right| (left, right));
            q.origin_partition();
            q.agg::<i64>(agg::sum(left))
        });
        // Every pair of numbers.
        topologies.query("all pairs", |q, (n,): (Var<i64>,)| {
            let of = |n: i64| (0..n).map(|n| (0i64, n)).collect::<Vec<_>>();
            let left = q.source(|b| {
                let pair = b.explode(n, of);
                (b.each(pair, |pair| pair.0), b.each(pair, |pair| pair.1))
            });
            let right = q.source(|b| {
                let pair = b.explode(n, of);
                (b.each(pair, |pair| pair.0), b.each(pair, |pair| pair.1))
            });
            let ((_, left), (_, right)) = q.join(left, right, |left, right| (left.0, right.0));
            let product = q.each((left, right), |(left, right)| left * right);
            q.origin_partition();
            q.agg::<i64>(agg::sum(product))
        });
    }
}

#[test]
fn rows_beyond_the_limit_are_refused() {
    let module = define::<Joined>().unwrap();
    let plan = &module.queries[0].plan;
    let mut tables = Tables::new(1_000);
    let mut taken = 0;
    let refused = loop {
        let mut rows = Vec::new();
        put_row(&mut rows, &encoded(&taken), &encoded(&taken));
        match tables.take(plan, 0, false, &rows) {
            Ok(()) => taken += 1i64,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, BatchError::Memory { limit: 1_000 });
    assert!((20..100).contains(&taken), "{taken} rows");
}

#[test]
fn a_join_of_many_pairs_is_read_page_by_page() {
    let module = define::<Joined>().unwrap();
    let plan = &module.queries[1].plan;
    let results = World::new(plan, 2, 7).call(&encoded(&150i64)).unwrap();
    let sum = (0..150i64).sum::<i64>();
    assert_eq!(results[0].1, encoded(&(sum * sum)), "22,500 rows with one key, on one task");
}
