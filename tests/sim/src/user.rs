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
}

impl UserOp {
    /// All of them.
    pub const ALL: [UserOp; 13] = [
        UserOp::Split,
        UserOp::SplitExact,
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
    ];
}

/// What happens to user code in one life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moods {
    /// The calls of an op that throw: which op, the first of them, how many.
    pub throws: Option<(UserOp, u64, u64)>,
    /// Of a million calls, those that take a while, and how long.
    pub slow: (u32, u64),
}

impl Moods {
    /// What a life has of this: an op that throws in most, slow calls in some.
    pub fn draw(chance: &mut SimEntropy, ops: &[UserOp]) -> Self {
        let throws = (*chance.pick(ops), chance.below(60), *chance.pick(&[1, 2, 5, 20]));
        Self {
            throws: Some(throws).filter(|_| chance.percent(60)),
            slow: *chance.pick(&[(0, 0), (0, 0), (2_000, 20_000_000), (200_000, 300_000)]),
        }
    }
}

#[derive(Debug, Default)]
struct Life {
    moods: Moods,
    runs: [u64; UserOp::ALL.len()],
    thrown: u64,
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

/// How many calls threw in this life, and how many took a while.
pub fn moods_shown() -> (u64, u64) {
    LIFE.with_borrow(|life| (life.thrown, life.slowed))
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
            .is_some_and(|(which, first, count)| which == op && (first..first + count).contains(&before));
        life.thrown += u64::from(throws);
        throws
    });
    if throws {
        // Not through the panic hook: it would print.
        std::panic::resume_unwind(Box::new(THROWN));
    }
}
