//! Orders and their answers: a microbatch topology takes stock, exactly once, and appends its answers to a depot; a stream topology goes
//! on with them.
//!
//! An order takes pieces from the stock of its article if there are enough. That, and the answer, are one transaction: whatever fails
//! in between, no piece leaves the stock without an answer, and no order has two.

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]
#![allow(clippy::disallowed_methods, reason = "a client waits on the real clock for what a stream has seen")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tantu::prelude::*;
use tantu_examples::Result;

const TASK_COUNT: u32 = 4;
const LONG: Duration = Duration::from_secs(30);

/// Who, which article, how many.
type Order = (String, String, i64);
/// To whom, which article, whether it is on its way.
type Answer = (String, String, bool);
/// Of whom, how many answers of each kind.
type Inboxes = Map<String, Map<bool, i64>>;

struct Shop;

impl Module for Shop {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let orders = setup.declare_depot::<Order>("*orders", hash_by(|order: &Order| order.1.clone()));
        // Only the shop answers.
        let answers = setup.declare_depot::<Answer>("*answers", disallow());

        let mut shop = topologies.microbatch("shop");
        let taken = shop.pstate::<Map<String, i64>>("$$taken");
        shop.source(&orders, |m, batch| {
            let order = m.explode_microbatch(batch);
            let (who, article, count) = m.expand(order, |order| order.clone());
            // Orders of one article are processed one after the other on its task, so each sees what is left.
            let before = m.local_select(taken, path().key(article).null_to_val(0));
            let is_there = m.each((before, count), |(before, count)| before + count <= 10);
            m.if_true(is_there, |m| m.compound_agg(taken, agg::key(article, agg::sum(count))));
            let answer = m.each((who, article, is_there), |(who, article, is_there)| {
                (who.to_string(), article.to_string(), is_there)
            });
            m.hash_partition(who);
            m.depot_partition_append(answers, answer, AckLevel::None);
        });

        let mut mail = topologies.stream("mail");
        let inboxes = mail.pstate::<Inboxes>("$$inboxes");
        mail.source(&answers, |b, answer| {
            let (who, is_there) = b.expand(answer, |(who, _, is_there)| (who.clone(), *is_there));
            b.compound_agg(inboxes, agg::key(who, agg::key(is_there, agg::count())));
        });
    }
}

/// The answers that each customer has, when all have been seen.
fn answers(orders: &[(&str, &str, i64)]) -> Result<BTreeMap<String, BTreeMap<bool, i64>>> {
    let cluster = InProcessCluster::create()?;
    cluster.launch::<Shop>(LaunchConfig { tasks: TASK_COUNT, threads: 2, ..LaunchConfig::default() })?;
    let name = Shop::name();
    let depot = cluster.depot::<Order>(&name, "*orders")?;
    for (who, article, count) in orders {
        depot.append(&((*who).to_string(), (*article).to_string(), *count))?;
    }
    cluster.wait_for_microbatch_processed_count(&name, "shop", orders.len() as u64, LONG)?;
    let inboxes = cluster.pstate::<Inboxes>(&name, "$$inboxes")?;
    let late = Instant::now() + LONG;
    loop {
        let found: BTreeMap<_, _> = inboxes.select_all(path().all())?.into_iter().collect();
        let count: i64 = found.values().flat_map(BTreeMap::values).sum();
        if count >= orders.len() as i64 || Instant::now() > late {
            cluster.close()?;
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn show() -> Result<()> {
    for (who, answers) in answers(&[("ann", "tea", 4), ("bob", "tea", 5), ("ann", "tea", 2), ("cid", "cup", 1)])? {
        let of = |is_there| answers.get(&is_there).copied().unwrap_or_default();
        println!("{who}: {} on the way, {} sold out", of(true), of(false));
    }
    Ok(())
}

tantu::main!(Shop; run = show);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_answered_once_and_every_answer_is_seen() -> Result<()> {
        let mut orders = Vec::new();
        for (who, article, count) in [("ann", "tea", 4), ("bob", "tea", 5), ("ann", "tea", 2), ("cid", "cup", 1)] {
            orders.push((who, article, count));
        }
        (0..40).for_each(|_| orders.push(("dan", "pot", 1)));
        let found = answers(&orders)?;
        let expected = [
            ("ann", BTreeMap::from([(true, 1), (false, 1)])),
            ("bob", BTreeMap::from([(true, 1)])),
            ("cid", BTreeMap::from([(true, 1)])),
            ("dan", BTreeMap::from([(true, 10), (false, 30)])),
        ];
        assert_eq!(found, expected.map(|(who, answers)| (who.to_string(), answers)).into());
        Ok(())
    }
}
