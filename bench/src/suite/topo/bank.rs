//! Transfers between accounts: money leaves one and reaches another, on two partitions, as one transaction.
//!
//! As pgbench's transactions do, a transfer takes whatever is asked for: accounts may be overdrawn.

use super::{Appending, TopoArgs, keyed, mixed, processed};
use crate::Common;
use crate::error::BenchError;
use crate::measure::Stretch;
use crate::report::Measured;
use std::sync::atomic::Ordering;
use tantu::prelude::*;

const DEPOSITS: &str = "*deposits";
const TRANSFERS: &str = "*transfers";
const FUNDS: &str = "$$funds";
const TOPOLOGY: &str = "bank";
/// What every account begins with.
const DEPOSIT: i64 = 1_000;

/// From whom, to whom, how much.
type Transfer = (i64, i64, i64);

struct Bank;

impl Module for Bank {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let deposits = setup.declare_depot::<i64>(DEPOSITS, hash_by(|account: &i64| *account));
        let transfers = setup.declare_depot::<Transfer>(TRANSFERS, hash_by(|transfer: &Transfer| transfer.0));
        let mut bank = topologies.microbatch_with(TOPOLOGY, keyed::options());
        let funds = bank.pstate::<Map<i64, i64>>(FUNDS);
        bank.source(&deposits, |m, batch| {
            let to = m.explode_microbatch(batch);
            let amount = m.constant(DEPOSIT);
            m.compound_agg(funds, agg::key(to, agg::sum(amount)));
        });
        bank.source(&transfers, |m, batch| {
            let transfer = m.explode_microbatch(batch);
            let (from, to, amount) = m.expand(transfer, |transfer| *transfer);
            let less = m.each(amount, |amount| -amount);
            m.compound_agg(funds, agg::key(from, agg::sum(less)));
            m.hash_partition(to);
            m.compound_agg(funds, agg::key(to, agg::sum(amount)));
        });
    }
}

/// The transfer of a number: between two different accounts.
fn transfer(number: u64, accounts: u64) -> Transfer {
    let random = mixed(number);
    let from = random % accounts;
    let to = (from + 1 + (random >> 32) % (accounts - 1)) % accounts;
    (from as i64, to as i64, (random >> 56) as i64)
}

/// Records of a microbatch from one partition: fewer than those of a count, since there are fewer records.
pub(super) fn batch(args: &TopoArgs, common: &Common) -> u64 {
    (args.batch(common) / 4).max(1)
}

pub(super) fn tantu(args: &TopoArgs, common: &Common) -> Result<Measured, BenchError> {
    keyed::BATCH.store(batch(args, common), Ordering::Relaxed);
    let dir = common.fresh_dir()?;
    let cluster = InProcessCluster::open(dir.path())?;
    cluster.launch::<Bank>(LaunchConfig::new(args.tasks, args.threads))?;
    let module = Bank::name();
    let deposits = cluster.depot::<i64>(&module, DEPOSITS)?;
    let transfers = cluster.depot::<Transfer>(&module, TRANSFERS)?;
    let topology = cluster.microbatch(&module, TOPOLOGY)?;
    let (accounts, count) = (args.account_count(common), args.transfer_count(common));
    let mut appending = Appending::new();
    for account in 0..accounts {
        appending.push(deposits.append_async(&(account as i64), AckLevel::AppendAck))?;
    }
    appending.end()?;
    processed(&topology, accounts)?;
    topology.pause()?;
    let warm_up = count / 4;
    let mut funds = vec![DEPOSIT; accounts as usize];
    let mut appending = Appending::new();
    for number in 0..warm_up + count {
        let transfer = transfer(number, accounts);
        funds[transfer.0 as usize] -= transfer.2;
        funds[transfer.1 as usize] += transfer.2;
        appending.push(transfers.append_async(&transfer, AckLevel::AppendAck))?;
    }
    appending.end()?;
    topology.resume()?;
    let before = processed(&topology, accounts + warm_up)?;
    let stretch = Stretch::begin();
    let after = processed(&topology, accounts + warm_up + count)?;
    let took = stretch.end();
    check(&cluster, &module, &funds, args.tasks)?;
    cluster.close()?;
    let count = (after.processed - before.processed) as f64;
    let batches = (after.finished - before.finished) as f64;
    Ok(vec![
        ("transfers_per_s", count / took.wall_s),
        ("transfers_per_cpu_s", count / took.cpu_s),
        ("transfers", count),
        ("microbatches_per_s", batches / took.wall_s),
        ("elapsed_s", took.wall_s),
        ("cpu_s", took.cpu_s),
    ]
    .into())
}

/// Every account has what a plain list of them has.
fn check(cluster: &InProcessCluster, module: &str, expected: &[i64], tasks: u32) -> Result<(), BenchError> {
    let funds = cluster.pstate::<Map<i64, i64>>(module, FUNDS)?;
    let mut seen = 0;
    for partition in 0..tasks {
        for (account, amount) in funds.select_on(partition, path().all())? {
            seen += 1;
            let wanted = usize::try_from(account).ok().and_then(|at| expected.get(at));
            if wanted != Some(&amount) {
                return Err(BenchError::Wrong(format!("account {account} has {amount}, not {wanted:?}")));
            }
        }
    }
    if seen == expected.len() { Ok(()) } else { Err(BenchError::Wrong(format!("there are {seen} accounts"))) }
}
