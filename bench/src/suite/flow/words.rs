//! Words counted per second of one core, lines in memory before it starts.
//!
//! A real task thread, with its own log: each line is appended to a depot, written to the log, started, split, hopped by
//! the word and counted, all on that thread. Its files are in memory. Lines are fed in epochs of 10,000 words: the next when all
//! of the one before it is counted and durable. Within an epoch commits are told as soon as the thread has nothing else to do,
//! and there are some, since a line starts only when it is durable: `events_per_commit` says how many words a commit has.
//! Timely's worker makes nothing durable, and ends an epoch every 10,000 words too.

use super::FlowArgs;
use super::feed::Feed;
use super::threads::{Threads, Watch};
use crate::Common;
use crate::error::BenchError;
use crate::report::Figures;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tantu::demo::{COUNTS, WordCount};
use tantu::prelude::{Map, Navigate, PState, path};

/// Bytes of text for an event.
const SIZE_PER_EVENT: usize = 12;

/// Words between two commits, or of an epoch.
const COMMIT_WORD_COUNT: u64 = 10_000;

/// Lines of a commit.
pub(super) fn commit_line_count(lines: &[String], words: u64) -> usize {
    (COMMIT_WORD_COUNT * lines.len() as u64 / words).max(1) as usize
}

/// Lines, and how many words they hold.
pub(super) fn lines(args: &FlowArgs, common: &Common) -> (Arc<Vec<String>>, u64) {
    let (lines, words) = crate::text::zipf(args.events(common) as usize * SIZE_PER_EVENT, args.seed);
    (Arc::new(lines), words)
}

pub(super) fn figures(words: u64, took: Duration) -> Figures {
    let ns = took.as_nanos() as f64;
    vec![("ns_per_event", ns / words as f64), ("events_per_s", words as f64 * 1e9 / ns)]
}

pub(super) fn check(counted: u64, words: u64) -> Result<(), BenchError> {
    let wrong = || Err(BenchError::Wrong(format!("{counted} words were counted of {words}")));
    if counted == words { Ok(()) } else { wrong() }
}

pub(super) fn tantu(args: &FlowArgs, common: &Common) -> Result<Figures, BenchError> {
    let (lines, words) = lines(args, common);
    let running = Threads::start::<WordCount>(common, 1, 1, Watch::Nothing)?;
    let commit = commit_line_count(&lines, words);
    running.feed(Feed::new(&lines, commit))?;
    let before = (running.allocation_count(), running.sum(|counters| &counters.commits));
    let took = running.feed(Feed::new(&lines, commit))?;
    let counts = PState::<Map<String, i64>>::new(&running.connection, COUNTS)?;
    let counted = counts.select_on(0, path().all())?.iter().map(|(_, count)| count.unsigned_abs()).sum();
    check(counted, 2 * words)?;
    let mut figures = figures(words, took);
    figures.push(("allocations_per_event", (running.allocation_count() - before.0) as f64 / words as f64));
    let commits = running.sum(|counters| &counters.commits) - before.1;
    figures.push(("events_per_commit", words as f64 / commits as f64));
    Ok(figures)
}

pub(super) fn bound(args: &FlowArgs, common: &Common) -> Result<Figures, BenchError> {
    let (lines, words) = lines(args, common);
    let mut counts: HashMap<String, u64> = HashMap::new();
    let mut all = || {
        for word in lines.iter().flat_map(|line| line.split_ascii_whitespace()) {
            match counts.get_mut(word) {
                Some(count) => *count += 1,
                None => drop(counts.insert(word.to_string(), 1)),
            }
        }
    };
    all();
    let began = Instant::now();
    all();
    let took = began.elapsed();
    check(counts.values().sum(), 2 * words)?;
    Ok(figures(words, took))
}
