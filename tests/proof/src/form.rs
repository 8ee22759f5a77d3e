//! How much of a proof runs, and what it says of itself.

#![allow(clippy::disallowed_methods, reason = "how long a proof has run is told by the real clock")]

use std::fmt::Display;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

/// How much runs: the short form, the long one, or one state.
#[derive(Clone, Debug)]
pub struct Form {
    name: &'static str,
    replay: &'static str,
    begun: Instant,
    time: Option<Duration>,
    state: Option<Vec<u64>>,
}

impl Form {
    /// The form that the environment asks for. `name` says what is proved, `replay` are cargo's arguments that run it.
    ///
    /// # Panics
    /// If the environment asks for something that is not understood.
    pub fn from_env(name: &'static str, replay: &'static str) -> Self {
        let time = std::env::var("TANTU_PROOF_SECONDS")
            .ok()
            .map(|text| text.parse().unwrap_or_else(|_| panic!("TANTU_PROOF_SECONDS={text} is not a number")));
        let number = |part: &str| part.parse().unwrap_or_else(|_| panic!("TANTU_PROOF_STATE: {part} is not a number"));
        let state = std::env::var("TANTU_PROOF_STATE").ok().map(|text| text.split('.').map(number).collect());
        Self { name, replay, begun: Instant::now(), time: time.map(Duration::from_secs), state }
    }

    /// A form that runs nothing by itself and names no state: for what is meant to fail.
    pub fn silent() -> Self {
        Self { name: "", replay: "", begun: Instant::now(), time: None, state: None }
    }

    /// Whether the long form was asked for.
    pub fn is_long(&self) -> bool {
        self.time.is_some()
    }

    /// Whether the long form has used up its time. The short form ends when its work is done.
    pub fn is_over(&self) -> bool {
        self.time.is_some_and(|time| self.begun.elapsed() >= time)
    }

    /// The one state that was asked for.
    pub fn state(&self) -> Option<&[u64]> {
        self.state.as_deref()
    }

    /// The seeds to run: the one asked for, the first `short` ones, or for the long form fresh ones until its time is
    /// over.
    pub fn seeds(&self, short: u64) -> Box<dyn Iterator<Item = u64> + '_> {
        match (&self.state, self.time) {
            (Some(state), _) => Box::new(state.first().copied().into_iter()),
            (None, None) => Box::new(0..short),
            (None, Some(_)) => {
                // Small enough to be read and typed.
                let fresh = RandomState::new().build_hasher().finish() % 1_000_000_000;
                Box::new((fresh..).take_while(|_| !self.is_over()))
            }
        }
    }

    /// Names a state, should a panic come before what this returns is dropped.
    pub fn at(&self, state: impl Display) -> Place {
        let Self { name, replay, .. } = self;
        let text = format!("finding: {name} at {state}\n  replay: TANTU_PROOF_STATE={state} cargo test {replay}");
        Place { text: if name.is_empty() { String::new() } else { text } }
    }

    /// Says one thing more of a state, should a panic come.
    pub fn also(&self, what: impl Display) -> Place {
        Place { text: format!("  in {what}") }
    }

    /// Says what was done.
    pub fn report(&self, counts: &[(&str, u64)]) {
        self.report_of("all", counts);
    }

    /// Says what was done to a part.
    pub fn report_of(&self, part: impl Display, counts: &[(&str, u64)]) {
        let counts: Vec<String> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
        let form = if self.is_long() { "long" } else { "short" };
        let seconds = self.begun.elapsed().as_secs_f64();
        println!("proof: {} ({form}), {part}: {}, {seconds:.1} s", self.name, counts.join(", "));
    }
}

/// A state under proof.
#[derive(Debug)]
pub struct Place {
    text: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.text.is_empty() {
            eprintln!("{}", self.text);
        }
    }
}
