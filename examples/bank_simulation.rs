//! A bank in bad weather: two modules that move money, and a story that finds out which of them may be trusted.
//!
//! `Bank` moves money in a microbatch topology, both accounts or none. `HastyBank` does it in a stream topology: when the
//! process ends between the two accounts, the record is processed again, and the first account pays twice. Code that is
//! tested in good weather only shows no difference. The simulator tells the same story of both, from many seeds:
//! `cargo run --example bank_simulation -- sim --seed 7` tells one of them again.

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;
use tantu::prelude::*;
use tantu::sim::{self, Sim, Simulation, Told};
use tantu_examples::Result;

/// To whom, how much.
type Deposit = (String, i64);
/// From whom, to whom, how much.
type Transfer = (String, String, i64);

const ACCOUNTS: [&str; 4] = ["Ann", "Bob", "Cleo", "Dan"];
const TRANSFER_COUNT: usize = 30;

fn depots(setup: &mut Setup) -> (DepotRef<Deposit>, DepotRef<Transfer>) {
    let deposits = setup.declare_depot::<Deposit>("*deposits", hash_by(|deposit: &Deposit| deposit.0.clone()));
    let transfers = setup.declare_depot::<Transfer>("*transfers", hash_by(|transfer: &Transfer| transfer.0.clone()));
    (deposits, transfers)
}

struct Bank;

impl Module for Bank {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let (deposits, transfers) = depots(setup);
        let mut bank = topologies.microbatch("bank");
        let funds = bank.pstate::<Map<String, i64>>("$$funds");
        bank.source_from(&deposits, StartFrom::Beginning, |m, batch| {
            let deposit = m.explode_microbatch(batch);
            let (to, amount) = m.expand(deposit, |deposit| deposit.clone());
            m.compound_agg(funds, agg::key(to, agg::sum(amount)));
        });
        bank.source_from(&transfers, StartFrom::Beginning, |m, batch| {
            let transfer = m.explode_microbatch(batch);
            let (from, to, amount) = m.expand(transfer, |transfer| transfer.clone());
            let there = m.local_select(funds, path().key(from).null_to_val(0));
            m.filter((there, amount), |(there, amount)| there >= amount);
            let less = m.each(amount, |amount| -amount);
            m.compound_agg(funds, agg::key(from, agg::sum(less)));
            m.hash_partition(to);
            m.compound_agg(funds, agg::key(to, agg::sum(amount)));
        });
    }
}

struct HastyBank;

impl Module for HastyBank {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let (deposits, transfers) = depots(setup);
        let mut bank = topologies.stream("bank");
        let funds = bank.pstate::<Map<String, i64>>("$$funds");
        let all = SourceOptions { start: StartFrom::Beginning, ..SourceOptions::default() };
        bank.source_with(&deposits, all.clone(), |b, deposit| {
            let (to, amount) = b.expand(deposit, |deposit| deposit.clone());
            b.compound_agg(funds, agg::key(to, agg::sum(amount)));
        });
        bank.source_with(&transfers, all, |b, transfer| {
            let (from, to, amount) = b.expand(transfer, |transfer| transfer.clone());
            let there = b.local_select(funds, path().key(from).null_to_val(0));
            b.filter((there, amount), |(there, amount)| there >= amount);
            let less = b.each(amount, |amount| -amount);
            b.compound_agg(funds, agg::key(from, agg::sum(less)));
            b.hash_partition(to);
            b.compound_agg(funds, agg::key(to, agg::sum(amount)));
        });
    }
}

/// Everybody deposits, money moves, and in the end there is as much as was deposited.
fn money_moves(sim: &Sim) -> Told {
    let deposits = sim.depot::<Deposit>("*deposits")?;
    let transfers = sim.depot::<Transfer>("*transfers")?;
    for account in ACCOUNTS {
        // Whether it was deposited is seen in the depot: an error may mean that it was.
        let _ = deposits.append(&(account.to_string(), 100));
    }
    for _ in 0..TRANSFER_COUNT {
        let (from, to) = (*sim.pick(&ACCOUNTS), *sim.pick(&ACCOUNTS));
        let _ = transfers.append(&(from.to_string(), to.to_string(), 1 + sim.below(60) as i64));
    }
    sim.settle();
    let funds = funds(sim)?;
    let (there, deposited) = (funds.values().sum::<i64>(), deposited(sim, &deposits)?);
    assert_eq!(there, deposited, "the sum of all accounts is what was deposited: {funds:?}");
    assert!(funds.values().all(|amount| *amount >= 0), "nobody owes anything: {funds:?}");
    Ok(())
}

fn funds(sim: &Sim) -> Result<BTreeMap<String, i64>> {
    let funds = sim.pstate::<Map<String, i64>>("$$funds")?;
    Ok(funds.select_all(path().all())?.into_iter().collect())
}

fn deposited(sim: &Sim, deposits: &Depot<Deposit>) -> Result<i64> {
    let mut sum = 0;
    for task in 0..sim.task_count() {
        let PartitionOffsets { start, end } = deposits.offsets(task)?;
        sum += deposits.read(task, start, end)?.iter().map(|deposit| deposit.1).sum::<i64>();
    }
    Ok(sum)
}

fn story_of<M: Module>() -> Simulation {
    sim::seeds(100).of::<M>(money_moves)
}

fn show() -> Result<()> {
    println!("Bank moves money in a microbatch topology.");
    println!("{}\n", story_of::<Bank>().tell(0, 20)?);
    println!("HastyBank moves money in a stream topology.");
    match story_of::<HastyBank>().tell(0, 100) {
        Ok(_) => println!("No seed found anything."),
        Err(failure) => println!("{failure}"),
    }
    Ok(())
}

tantu::main!(Bank, HastyBank; run = show; sim = story_of::<Bank>);

#[test]
fn money_moves_whole_in_all_weather() {
    sim::seeds(100).run::<Bank>(money_moves);
}

#[test]
fn a_bank_that_may_move_money_twice_is_found_out() {
    let failure = story_of::<HastyBank>().tell(0, 100).expect_err("a record is processed again");
    assert!(failure.what.contains("is what was deposited") || failure.what.contains("nobody owes"), "{failure}");
    assert!(!failure.happened.is_empty());
}
