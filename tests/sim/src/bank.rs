//! The module of the banks: transfers between accounts in microbatches, and registers that keep the largest value written.

use crate::user::{self, UserOp};
use tantu_flow::{MicrobatchOptions, Module, QueryOptions, Setup, SourceOptions, StartFrom, Topologies, Var, random};
use tantu_model::bank::Transfer;
use tantu_path::{Map, Navigate, agg, path};

/// The depot of transfers.
pub const TRANSFERS: u16 = 0;
/// The depot of writes to registers.
pub const WRITES: u16 = 1;
/// The registers.
pub const REGISTERS: u16 = 0;
/// What accounts have.
pub const FUNDS: u16 = 1;
/// The query for a register.
pub const REGISTER: u16 = 0;
/// The query for what all accounts have together, at one microbatch.
pub const TOTAL: u16 = 1;

/// The functions of the user that the module has.
pub const OPS: [UserOp; 7] =
    [UserOp::ReadWrite, UserOp::Keep, UserOp::ReadTransfer, UserOp::Debit, UserOp::Had, UserOp::Credit, UserOp::Answer];

/// Reads `line-7 a1 a2 30`: from, to, how much. A line of another shape moves nothing.
pub fn transfer_of(line: &str) -> Transfer {
    let mut words = line.split(' ').skip(1).map(str::to_string);
    let (from, to) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let amount = words.next().and_then(|amount| amount.parse().ok()).unwrap_or_default();
    Transfer { from, to, amount }
}

/// Reads `line-7 r1 8`: a register, and what is written to it.
pub fn write_of(line: &str) -> (String, i64) {
    let mut words = line.split(' ').skip(1);
    let register = words.next().unwrap_or_default().to_string();
    (register, words.next().and_then(|value| value.parse().ok()).unwrap_or_default())
}

/// See the module.
#[derive(Debug)]
pub struct Bank;

impl Module for Bank {
    fn name() -> String {
        "Bank".to_string()
    }

    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let transfers = setup.declare_depot::<String>("*transfers", random());
        let writes = setup.declare_depot::<String>("*writes", random());
        let mut keeper = topologies.stream("keeper");
        let registers = keeper.pstate::<Map<String, i64>>("$$registers");
        let all = SourceOptions { start: StartFrom::Beginning, ..SourceOptions::default() };
        keeper.source_with(&writes, all, |b, line| {
            let (register, value) = b.expand(line, |line| {
                user::at(UserOp::ReadWrite);
                write_of(line)
            });
            b.hash_partition(register);
            let value = b.each(value, |value| {
                user::at(UserOp::Keep);
                value
            });
            b.compound_agg(registers, agg::key(register, agg::max(value)));
        });
        topologies.query("register", |q, (register,): (Var<str>,)| {
            q.hash_partition(register);
            let value = q.local_select(registers, path().key(register).null_to_val(0));
            let value = q.each(value, |value| {
                user::at(UserOp::Answer);
                value
            });
            q.origin_partition();
            value
        });
        let options = MicrobatchOptions { max_records: 7, ..MicrobatchOptions::default() };
        let mut bank = topologies.microbatch_with("bank", options);
        let funds = bank.pstate::<Map<String, i64>>("$$funds");
        bank.source_from(&transfers, StartFrom::Beginning, |m, batch| {
            let line = m.explode_microbatch(batch);
            let (from, to, amount) = m.expand(line, |line| {
                user::at(UserOp::ReadTransfer);
                let Transfer { from, to, amount } = transfer_of(line);
                (from, to, amount)
            });
            m.hash_partition(from);
            let less = m.each(amount, |amount| {
                user::at(UserOp::Debit);
                -amount
            });
            let had = m.local_select(funds, path().key(from).null_to_val(0));
            let more = m.each((less, had), |(less, _)| {
                user::at(UserOp::Had);
                -less
            });
            m.compound_agg(funds, agg::key(from, agg::sum(less)));
            m.hash_partition(to);
            let more = m.each(more, |more| {
                user::at(UserOp::Credit);
                more
            });
            m.compound_agg(funds, agg::key(to, agg::sum(more)));
        });
        let whole = QueryOptions::default().consistent_with(&bank);
        topologies.query_with("total", whole, |q, (): ()| {
            q.all_partition();
            let amount: Var<i64> = q.local_select(funds, path().map_vals());
            q.origin_partition();
            q.agg::<i64>(agg::sum(amount))
        });
    }
}
