//! Judges that can say no: each bug that is planted into the engine is noticed within some stories, and the same stories
//! without it hold.
#![cfg(debug_assertions)]
#![allow(clippy::print_stdout, reason = "how soon a bug was noticed is told to whoever looks")]

use tantu_base::planted::{Bug, plant};
use tantu_sim::{EngineCluster, Failure, Kind, Report, Swarm, run, run_swarm};
use tantu_weather::SimEntropy;

/// Tells stories until one notices the bug, and tells that one once more without it.
fn noticed(bug: Bug, seeds_max: u64) {
    noticed_by(bug, seeds_max, |seed| run::<EngineCluster>(seed, None));
}

/// The same with stories of one kind only: a crash has to meet a moment that the others hardly have, or never.
fn noticed_in(kind: Kind, bug: Bug, seeds_max: u64) {
    noticed_by(bug, seeds_max, |seed| {
        let swarm = Swarm { kind, trim: None, ..Swarm::draw(&mut SimEntropy::new(seed), None) };
        run_swarm::<EngineCluster>(seed, &swarm)
    });
}

fn noticed_by(bug: Bug, seeds_max: u64, tell: impl Fn(u64) -> Result<Report, Failure>) {
    let planted = plant(bug);
    let found = (0..seeds_max).find_map(|seed| tell(seed).err());
    drop(planted);
    let found = found.unwrap_or_else(|| panic!("{bug:?} was not noticed in {seeds_max} stories"));
    println!("{bug:?} noticed after {} stories: {}", found.seed + 1, found.what);
    // Those before it are told without a bug, too: they are of the first hundreds.
    if let Err(failure) = tell(found.seed) {
        panic!("without a bug: {failure}");
    }
}

#[test]
fn a_log_that_is_not_flushed_is_noticed() {
    noticed(Bug::SkipFlush, 40);
}

#[test]
fn an_acknowledgement_before_the_record_is_durable_is_noticed() {
    noticed(Bug::AckBeforeDurable, 60);
}

#[test]
fn progress_that_is_ahead_of_what_records_did_is_noticed() {
    noticed(Bug::ProgressOutsideEntry, 40);
}

#[test]
fn reads_of_what_is_not_committed_are_noticed() {
    noticed_in(Kind::Bank, Bug::VisibleBeforeCommit, 1_200);
}

#[test]
fn a_publish_before_the_decision_is_durable_is_noticed() {
    noticed_in(Kind::Bank, Bug::PublishBeforeDecide, 1_200);
}

#[test]
fn a_retry_of_another_record_is_noticed() {
    noticed(Bug::RetryFromWrongOffset, 40);
}

#[test]
fn a_microbatch_with_the_number_of_the_one_before_is_noticed() {
    noticed(Bug::ReusedMicrobatchId, 10);
}

#[test]
fn a_continuation_with_the_variables_of_another_is_noticed() {
    noticed(Bug::LostLiveVar, 10);
}

#[test]
fn user_code_that_runs_twice_in_an_event_that_waited_is_noticed() {
    noticed(Bug::ClosureRunTwice, 60);
}

#[test]
fn an_event_of_a_microbatch_that_runs_twice_is_noticed() {
    noticed(Bug::HopTwice, 10);
}

#[test]
fn a_finished_microbatch_that_only_memory_knows_is_noticed() {
    noticed(Bug::FinishedInMemoryOnly, 40);
}

#[test]
fn a_prepared_run_that_a_restart_forgets_is_noticed() {
    noticed(Bug::PreparedRunDropped, 150);
}

#[test]
fn a_dead_letter_that_progress_does_not_know_of_is_noticed() {
    noticed(Bug::DeadLetterOutsideEntry, 300);
}

#[test]
fn a_numbered_append_that_is_made_twice_is_noticed() {
    noticed(Bug::NumberForgotten, 60);
}

#[test]
fn a_snapshot_whose_parts_are_of_several_microbatches_is_noticed() {
    noticed(Bug::SnapshotOfNow, 200);
}

#[test]
fn a_tick_that_comes_too_soon_is_noticed() {
    noticed(Bug::TickTooSoon, 40);
}

#[test]
fn an_answer_without_what_was_returned_is_noticed() {
    noticed(Bug::ReturnLost, 40);
}

#[test]
fn a_record_that_is_not_retried_and_begins_again_after_a_crash_is_noticed() {
    noticed_in(Kind::Errands, Bug::BegunTwice, 100);
}
