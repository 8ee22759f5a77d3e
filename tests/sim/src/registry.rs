//! The module of the registries: names are claimed, of which each goes to one; some claims always fail; and a clock strikes.

use crate::user::{self, UserOp};
use std::time::Duration;
use tantu_base::id::AckLevel;
use tantu_flow::{Module, PStateOptions, RetryMode, Setup, SourceOptions, StartFrom, Topologies, disallow, random};
use tantu_path::{Map, Navigate, agg, path};

/// The depot of claims.
pub const CLAIMS: u16 = 0;
/// The depot of the times at which the clock struck.
pub const STRIKES: usize = 1;
/// The depot of claims that were given up.
pub const DEAD: usize = 2;
/// Whose names are: the number of a claim.
pub const OWNERS: u16 = 0;
/// How often each claim was filed, on the task of its name.
pub const FILED: u16 = 1;
/// Failed tries after which a claim is given up.
pub const TRIES: u32 = 3;
/// The topology of claims.
pub const CLERK: &str = "clerk";

/// The functions of the user that the module has.
pub const OPS: [UserOp; 4] = [UserOp::ReadClaim, UserOp::Look, UserOp::File, UserOp::Strike];

/// A claim that fails before it leaves the task where it starts.
pub const BAD: &str = "bad";
/// A claim that fails on the task of its name, when it has been filed.
pub const WORSE: &str = "worse";

/// Reads `line-7 n3 fine`: the number of the claim, the name, and how it ends.
pub fn claim_of(line: &str) -> (i64, String, String) {
    let mut words = line.split(' ');
    let number = words.next().and_then(|word| word.strip_prefix("line-")).and_then(|digits| digits.parse().ok());
    let (name, end) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    (number.unwrap_or(-1), name.to_string(), end.to_string())
}

/// Fails like a panic, but without its hook, which would print.
fn fail_if(is_bad: bool) {
    if is_bad {
        std::panic::resume_unwind(Box::new("a claim that always fails"));
    }
}

/// See the module. `ALL_AFTER`: claims behind one that failed are processed again too.
#[derive(Debug)]
pub struct Registry<const ALL_AFTER: bool>;

/// Between two strikes of the clock, until a story says otherwise.
pub const PERIOD: Duration = Duration::from_secs(1);

impl<const ALL_AFTER: bool> Module for Registry<ALL_AFTER> {
    fn name() -> String {
        "Registry".to_string()
    }

    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let claims = setup.declare_depot::<String>("*claims", random());
        let strikes = setup.declare_depot::<i64>("*strikes", disallow());
        setup.dead_letters();
        let ticks = setup.declare_tick_depot("*ticks", PERIOD);
        let mut clerk = topologies.stream(CLERK);
        let owners = clerk.pstate::<Map<String, i64>>("$$owners");
        // By claim, where its name is.
        let here = PStateOptions { unchecked: true, ..PStateOptions::default() };
        let filed = clerk.pstate_with::<Map<String, i64>>("$$filed", here);
        let retry = if ALL_AFTER { RetryMode::AllAfter } else { RetryMode::Individual };
        let all = SourceOptions { start: StartFrom::Beginning, retry, ..SourceOptions::default() };
        clerk.source_with(&claims, all.dead_letter_after(TRIES), |b, line| {
            let (number, name, end) = b.expand(line, |line| {
                user::at(UserOp::ReadClaim);
                let claim = claim_of(line);
                fail_if(claim.2 == BAD);
                claim
            });
            b.hash_partition(name);
            let had = b.local_select(owners, path().key(name).null_to_val(-1));
            let owner = b.each((number, had), |(number, had)| {
                user::at(UserOp::Look);
                if had < 0 { number } else { had }
            });
            b.compound_agg(filed, agg::key(line, agg::count()));
            let owner = b.each((owner, end), |(owner, end)| {
                user::at(UserOp::File);
                fail_if(end == WORSE);
                owner
            });
            b.local_transform(owners, path().key(name).term_val(owner));
            let is_own = b.each((owner, number), |(owner, number)| owner == number);
            b.ack_return(is_own);
        });
        topologies.stream("clock").source(&ticks, |b, tick| {
            let at = b.each(tick, |_| {
                user::at(UserOp::Strike);
                user::time_ns() as i64
            });
            b.depot_partition_append(strikes, at, AckLevel::None);
        });
    }
}
