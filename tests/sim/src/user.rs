//! What the user code of the stories' modules does besides its work: it throws when a story says so, dawdles, and is counted.
//!
//! A story runs on one OS thread, so what it plans is that thread's.

use std::cell::RefCell;
use tantu_base::door::{Clock, Nanos};
use tantu_weather::{SimClock, SimEntropy};

/// What a thrown op says.
pub const THROWN: &str = "thrown by the story";

/// A function of the user in one of the modules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserOp {
    /// Splits a line for the stream.
    Split,
    /// Splits a line for the microbatch.
    SplitExact,
    /// Has what a query that the microbatch called answers.
    Called,
    /// Adds up counts of the microbatch.
    Combine,
    /// Answers the query for a count.
    AnswerCount,
    /// Reads a write of a register.
    ReadWrite,
    /// Has the value of a register, on its task.
    Keep,
    /// Reads a transfer.
    ReadTransfer,
    /// Has the amount, just before a read that may wait.
    Debit,
    /// Has what was read.
    Had,
    /// Has the amount, on the task of the other account.
    Credit,
    /// Answers a query.
    Answer,
    /// Reads a claim.
    ReadClaim,
    /// Has looked who has a name.
    Look,
    /// Has filed a claim.
    File,
    /// Has a tick.
    Strike,
    /// Makes a future.
    Ask,
    /// Is the future.
    Promise,
    /// Has a line on every task, or on one that was chosen.
    Everywhere,
    /// Chooses a task.
    Choose,
    /// Has a note on any task.
    Deliver,
    /// Has a note where it came from.
    Return,
    /// Makes a future in a microbatch.
    AskExact,
    /// Is the future of a microbatch.
    PromiseExact,
    /// Has a line of a microbatch, wherever it is.
    Visit,
    /// Chooses a task for a line of a microbatch.
    ChooseExact,
}

impl UserOp {
    /// All of them.
    pub const ALL: [UserOp; 26] = [
        UserOp::Split,
        UserOp::SplitExact,
        UserOp::Called,
        UserOp::Combine,
        UserOp::AnswerCount,
        UserOp::ReadWrite,
        UserOp::Keep,
        UserOp::ReadTransfer,
        UserOp::Debit,
        UserOp::Had,
        UserOp::Credit,
        UserOp::Answer,
        UserOp::ReadClaim,
        UserOp::Look,
        UserOp::File,
        UserOp::Strike,
        UserOp::Ask,
        UserOp::Promise,
        UserOp::Everywhere,
        UserOp::Choose,
        UserOp::Deliver,
        UserOp::Return,
        UserOp::AskExact,
        UserOp::PromiseExact,
        UserOp::Visit,
        UserOp::ChooseExact,
    ];
}

/// What happens to user code in one life.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Moods {
    /// The calls that throw: of which op, the first of them, how many.
    pub throws: Vec<(UserOp, u64, u64)>,
    /// Of a million calls, those that take a while, and how long.
    pub slow: (u32, u64),
}

impl Moods {
    /// What a life has of this: some ops that throw in most, at once or later on, slow calls in some.
    pub fn draw(chance: &mut SimEntropy, ops: &[UserOp]) -> Self {
        let mut throws = Vec::new();
        for op in ops {
            let most = *chance.pick(&[2, 10, 60]);
            let (first, count) = (chance.below(most), *chance.pick(&[1, 2, 5, 20]));
            throws.extend(Some((*op, first, count)).filter(|_| chance.percent(40)));
        }
        if !chance.percent(60) {
            throws.clear();
        }
        Self { throws, slow: *chance.pick(&[(0, 0), (0, 0), (2_000, 20_000_000), (200_000, 300_000)]) }
    }
}

#[derive(Debug, Default)]
struct Life {
    moods: Moods,
    runs: [u64; UserOp::ALL.len()],
    thrown: [u64; UserOp::ALL.len()],
    slowed: u64,
    /// The clock, and the chances of slow calls.
    world: Option<(SimClock, SimEntropy)>,
}

thread_local! {
    static LIFE: RefCell<Life> = RefCell::new(Life::default());
}

/// A life begins: nothing was run yet.
pub fn begin_life(moods: Moods, clock: &SimClock, chance: SimEntropy) {
    let world = Some((clock.clone(), chance));
    LIFE.with_borrow_mut(|life| *life = Life { moods, world, ..Life::default() });
}

/// How often an op ran in this life.
pub fn runs(op: UserOp) -> u64 {
    LIFE.with_borrow(|life| life.runs[op as usize])
}

/// The virtual time.
pub fn time_ns() -> u64 {
    LIFE.with_borrow(|life| life.world.as_ref().map_or(0, |(clock, _)| clock.time().0))
}

/// The mark of an op that threw.
pub fn thrown_mark(op: UserOp) -> &'static str {
    match op {
        UserOp::Split => "thrown split",
        UserOp::SplitExact => "thrown split of a microbatch",
        UserOp::Called => "thrown after a call",
        UserOp::Combine => "thrown combiner",
        UserOp::AnswerCount => "thrown count",
        UserOp::ReadWrite => "thrown read of a write",
        UserOp::Keep => "thrown keep",
        UserOp::ReadTransfer => "thrown read of a transfer",
        UserOp::Debit => "thrown debit",
        UserOp::Had => "thrown had",
        UserOp::Credit => "thrown credit",
        UserOp::Answer => "thrown answer",
        UserOp::ReadClaim => "thrown read of a claim",
        UserOp::Look => "thrown look",
        UserOp::File => "thrown file",
        UserOp::Strike => "thrown strike",
        UserOp::Ask => "thrown making of a future",
        UserOp::Promise => "thrown future",
        UserOp::Everywhere => "thrown everywhere",
        UserOp::Choose => "thrown choice of a task",
        UserOp::Deliver => "thrown delivery",
        UserOp::Return => "thrown return",
        UserOp::AskExact => "thrown making of a future of a microbatch",
        UserOp::PromiseExact => "thrown future of a microbatch",
        UserOp::Visit => "thrown visit",
        UserOp::ChooseExact => "thrown choice of a microbatch",
    }
}

/// How often an op threw in this life.
pub fn thrown(op: UserOp) -> u64 {
    LIFE.with_borrow(|life| life.thrown[op as usize])
}

/// How many calls threw in this life, and how many took a while.
pub fn moods_shown() -> (u64, u64) {
    LIFE.with_borrow(|life| (life.thrown.iter().sum(), life.slowed))
}

/// User code calls this where it works.
///
/// # Panics
/// If the story says so.
pub fn at(op: UserOp) {
    let throws = LIFE.with_borrow_mut(|life| {
        let before = life.runs[op as usize];
        life.runs[op as usize] += 1;
        if let Some((clock, chance)) = &mut life.world
            && chance.chance_ppm(life.moods.slow.0)
        {
            clock.advance_to(Nanos(clock.now().0 + life.moods.slow.1));
            life.slowed += 1;
        }
        let throws = life
            .moods
            .throws
            .iter()
            .any(|(which, first, count)| *which == op && (*first..first + count).contains(&before));
        life.thrown[op as usize] += u64::from(throws);
        throws
    });
    if throws {
        // Not through the panic hook: it would print.
        std::panic::resume_unwind(Box::new(THROWN));
    }
}
