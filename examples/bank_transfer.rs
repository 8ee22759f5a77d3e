//! Bank transfers: money leaves one account and reaches another, on two partitions, as one transaction.
//!
//! A microbatch topology does both or neither, whatever fails in between, so the sum of all accounts is always what was
//! deposited. A transfer of more than there is does not happen.

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;
use std::time::Duration;
use tantu::prelude::*;
use tantu_examples::Result;

const TASK_COUNT: u32 = 4;
const LONG: Duration = Duration::from_secs(30);

/// To whom, how much.
type Deposit = (String, i64);
/// From whom, to whom, how much.
type Transfer = (String, String, i64);

struct Bank;

impl Module for Bank {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let deposits = setup.declare_depot::<Deposit>("*deposits", hash_by(|deposit: &Deposit| deposit.0.clone()));
        let transfers =
            setup.declare_depot::<Transfer>("*transfers", hash_by(|transfer: &Transfer| transfer.0.clone()));
        let mut bank = topologies.microbatch("bank");
        let funds = bank.pstate::<Map<String, i64>>("$$funds");
        bank.source(&deposits, |m, batch| {
            let deposit = m.explode_microbatch(batch);
            let (to, amount) = m.expand(deposit, |deposit| deposit.clone());
            m.compound_agg(funds, agg::key(to, agg::sum(amount)));
        });
        bank.source(&transfers, |m, batch| {
            let transfer = m.explode_microbatch(batch);
            let (from, to, amount) = m.expand(transfer, |transfer| transfer.clone());
            // Transfers from one account are processed one after the other on its task, so each sees what is left.
            let there = m.local_select(funds, path().key(from).null_to_val(0));
            m.filter((there, amount), |(there, amount)| there >= amount);
            let less = m.each(amount, |amount| -amount);
            m.compound_agg(funds, agg::key(from, agg::sum(less)));
            m.hash_partition(to);
            m.compound_agg(funds, agg::key(to, agg::sum(amount)));
        });
    }
}

fn funds(deposits: &[(&str, i64)], transfers: &[(&str, &str, i64)]) -> Result<BTreeMap<String, i64>> {
    let cluster = InProcessCluster::create()?;
    cluster.launch::<Bank>(LaunchConfig { tasks: TASK_COUNT, threads: 2, ..LaunchConfig::default() })?;
    let name = Bank::name();
    let depot = cluster.depot::<Deposit>(&name, "*deposits")?;
    for (to, amount) in deposits {
        depot.append(&((*to).to_string(), *amount))?;
    }
    let mut count = deposits.len() as u64;
    cluster.wait_for_microbatch_processed_count(&name, "bank", count, LONG)?;
    let depot = cluster.depot::<Transfer>(&name, "*transfers")?;
    for (from, to, amount) in transfers {
        depot.append(&((*from).to_string(), (*to).to_string(), *amount))?;
        count += 1;
        cluster.wait_for_microbatch_processed_count(&name, "bank", count, LONG)?;
    }
    let funds = cluster.pstate::<Map<String, i64>>(&name, "$$funds")?;
    let all = funds.select_all(path().all())?.into_iter().collect();
    cluster.close()?;
    Ok(all)
}

fn show() -> Result<()> {
    let deposits = [("Ann", 100), ("Bob", 50)];
    let transfers = [("Ann", "Cleo", 70), ("Bob", "Ann", 20), ("Cleo", "Bob", 500)];
    for (to, amount) in deposits {
        println!("{to} deposits {amount}");
    }
    for (from, to, amount) in transfers {
        println!("{from} sends {amount} to {to}");
    }
    println!();
    let funds = funds(&deposits, &transfers)?;
    for (account, amount) in &funds {
        println!("{account} has {amount}");
    }
    println!("All have {}: Cleo did not have the 500.", funds.values().sum::<i64>());
    Ok(())
}

tantu::main!(Bank; run = show);

#[test]
fn money_moves_whole_or_not_at_all() {
    let funds = funds(&[("a", 10), ("b", 5)], &[("a", "b", 4), ("b", "c", 9), ("a", "c", 7)]).unwrap();
    let expected = [("a", 6), ("b", 0), ("c", 9)].map(|(account, amount)| (account.to_string(), amount));
    assert_eq!(funds, BTreeMap::from(expected), "the last would take more than is left");
}
