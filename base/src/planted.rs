//! Bugs that tests plant into the engine on purpose, to show that their judges can say no.
//!
//! Each is one line at the place where such a mistake would be made, and does nothing until a test plants it, on its own
//! thread, for as long as it holds what [`plant`] returned. Only builds with debug assertions know of them: in a release
//! build [`has`] is `false` where it is compiled, and nothing is left of it.

use std::cell::Cell;

/// A mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// Groups of the log are written and not flushed.
    SkipFlush,
    /// An append is acknowledged when it is staged.
    AckBeforeDurable,
    /// Progress of a stream is saved as far as records have begun, not with what they did.
    ProgressOutsideEntry,
    /// Clients' reads see what is not committed.
    VisibleBeforeCommit,
    /// The writes of a microbatch are published before the decision is durable.
    PublishBeforeDecide,
    /// What is tried again is the record after the one that failed.
    RetryFromWrongOffset,
    /// A microbatch has the number of the one before.
    ReusedMicrobatchId,
    /// A continuation has the variables of the one before it.
    LostLiveVar,
    /// An event that waited begins again.
    ClosureRunTwice,
    /// Every event of a microbatch that reaches a task runs twice.
    HopTwice,
    /// Which microbatch is finished is known in memory only.
    FinishedInMemoryOnly,
    /// A prepared run is forgotten by a restart.
    PreparedRunDropped,
    /// A record becomes a dead letter, and progress does not say so.
    DeadLetterOutsideEntry,
    /// A numbered append that was made is made again.
    NumberForgotten,
    /// A snapshot keeps what is there when each thread hears of it.
    SnapshotOfNow,
    /// A tick comes after half of its period.
    TickTooSoon,
    /// What the processing of a record returned is not told.
    ReturnLost,
    /// A record that is not retried begins before progress has passed it.
    BegunTwice,
    /// A task thread panics outside of the author's code.
    ThreadPanics,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 19] = [
        Bug::SkipFlush,
        Bug::AckBeforeDurable,
        Bug::ProgressOutsideEntry,
        Bug::VisibleBeforeCommit,
        Bug::PublishBeforeDecide,
        Bug::RetryFromWrongOffset,
        Bug::ReusedMicrobatchId,
        Bug::LostLiveVar,
        Bug::ClosureRunTwice,
        Bug::HopTwice,
        Bug::FinishedInMemoryOnly,
        Bug::PreparedRunDropped,
        Bug::DeadLetterOutsideEntry,
        Bug::NumberForgotten,
        Bug::SnapshotOfNow,
        Bug::TickTooSoon,
        Bug::ReturnLost,
        Bug::BegunTwice,
        Bug::ThreadPanics,
    ];
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Whether this bug is planted on this thread.
#[inline(always)]
pub fn has(bug: Bug) -> bool {
    cfg!(debug_assertions) && PLANTED.get() == Some(bug)
}

/// A bug that is planted as long as this lives.
#[derive(Debug)]
#[must_use = "the bug is gone when this is dropped"]
pub struct Planted(());

/// Plants a bug on this thread.
///
/// # Panics
/// If one is planted already, or the build knows of none.
pub fn plant(bug: Bug) -> Planted {
    if !cfg!(debug_assertions) {
        panic!("a release build has no bugs to plant");
    }
    let before = PLANTED.replace(Some(bug));
    assert!(before.is_none(), "{before:?} is planted already");
    Planted(())
}

impl Drop for Planted {
    fn drop(&mut self) {
        PLANTED.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_there_while_it_is_planted_and_on_no_other_thread() {
        assert!(Bug::ALL.iter().all(|bug| !has(*bug)));
        if cfg!(debug_assertions) {
            let planted = plant(Bug::HopTwice);
            assert!(has(Bug::HopTwice) && !has(Bug::SkipFlush));
            let elsewhere = std::thread::scope(|scope| scope.spawn(|| has(Bug::HopTwice)).join());
            assert_eq!(elsewhere.ok(), Some(false));
            drop(planted);
        }
        assert!(!has(Bug::HopTwice));
    }
}
