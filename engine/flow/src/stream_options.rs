//! How a stream topology runs: what its author leaves open, the launch says, and what that leaves open the engine.

use crate::define::{Defining, Place};
use crate::module::{RetryMode, SourceDef};
use std::time::Duration;

/// Limits of a stream topology. `None` is what the launch says, or the engine's default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StreamOptions {
    /// How long the events of a record may take together before the record fails (`topology.stream.timeout.seconds`; 60 s).
    pub timeout: Option<Duration>,
    /// Most records of a source that a task has under way (`topology.stream.max.executing.per.task`). More wait in the depot; those of
    /// a source that does not retry are passed by, if they are appended meanwhile. If it is said, appends at level ACK do not wait for
    /// records beyond it: they fail at once with `ClientError::Throttled`, though the record is appended. Unless it is
    /// said, 8,192 are under way, and appends wait for the others too.
    pub executing_max: Option<usize>,
    /// Most events of a streaming batch (`topology.stream.max.events.per.batch`; 1,024).
    pub batch_event_max: Option<usize>,
    /// Progress travels for free with every log entry of its task. Without one it gets an entry of its own as soon as so many records
    /// are done (`topology.stream.checkpoint.progress.threshold`; no number),
    pub checkpoint_threshold: Option<u64>,
    /// and in any case after this time (`topology.stream.periodic.checkpoint.seconds`; 200 ms).
    pub checkpoint_period: Option<Duration>,
}

impl StreamOptions {
    /// What these say, and else the others.
    pub fn or(self, others: StreamOptions) -> StreamOptions {
        StreamOptions {
            timeout: self.timeout.or(others.timeout),
            executing_max: self.executing_max.or(others.executing_max),
            batch_event_max: self.batch_event_max.or(others.batch_event_max),
            checkpoint_threshold: self.checkpoint_threshold.or(others.checkpoint_threshold),
            checkpoint_period: self.checkpoint_period.or(others.checkpoint_period),
        }
    }

    /// What is wrong with them: no limit may be 0.
    pub fn mistake(&self) -> Option<&'static str> {
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            Some("the time-out is 0: every record would fail")
        } else if self.executing_max == Some(0) {
            Some("`executing_max` is 0: no record would start")
        } else if self.batch_event_max == Some(0) {
            Some("`batch_event_max` is 0: no event would run")
        } else {
            None
        }
    }
}

impl Defining {
    /// What is wrong with a further source of a topology, beside those it has.
    pub(crate) fn check_source(&mut self, stream: usize, place: Place, source: &SourceDef) {
        let depot = self.depots[source.depot].name.clone();
        let same = |other: &&SourceDef| other.depot == source.depot;
        let others: Vec<_> = self.streams[stream].sources.iter().filter(same).cloned().collect();
        if others.iter().any(|other| other.id == source.id) {
            self.error(place, source_twice(&depot, source.id.as_deref()));
        }
        if others.iter().chain([source]).any(|source| source.retry == RetryMode::None) && !others.is_empty() {
            let what = format!("several sources on `{depot}` need a retry mode other than `RetryMode::None`");
            self.error(place, what);
        }
        let is_alike =
            |other: &SourceDef| (other.retry, other.dead_letter_after) == (source.retry, source.dead_letter_after);
        if !others.iter().all(is_alike) {
            let what = format!(
                "several sources on `{depot}` need the same retry mode and `dead_letter_after`: once they meet they process \
                 records together"
            );
            self.error(place, what);
        }
        self.check_source_id(place, source.id.as_deref());
        if source.dead_letter_after == Some(0) {
            self.error(place, "`dead_letter_after` is 0: a record is tried at least once".to_string());
        }
        if let (RetryMode::None, Some(most @ 2..)) = (source.retry, source.dead_letter_after) {
            let topology = &self.streams[stream].name;
            let what = format!(
                "the source of `{topology}` on `{depot}` tries no record again (`RetryMode::None`), so none fails {most} times: \
                 `dead_letter_after` is 1, or the retry mode another"
            );
            self.error(place, what);
        }
    }

    /// A client gets one value from a topology: sources of one depot that return some have the same aggregator.
    pub(crate) fn share_returns(&mut self, stream: usize, place: Place, source: &mut SourceDef) {
        let (place_of, depot) = (source.depot, self.depots[source.depot].name.clone());
        let mut apart = Vec::new();
        for other in self.streams[stream].sources.iter_mut().filter(|other| other.depot == place_of) {
            if !source.ack_return.share(&mut other.ack_return) {
                apart.push(other.id.clone());
            }
        }
        let name =
            |id: &Option<String>| id.as_ref().map_or("the source without an `id`".into(), |id| format!("`{id}`"));
        for other in apart {
            let what = format!(
                "{} and {} return values for records of `{depot}`, and a client gets one from a topology: give both the same \
                 aggregator with `aggregate_returns`, or return in one of them alone",
                name(&other),
                name(&source.id)
            );
            self.error(place, what);
        }
    }

    /// A durable name is made of it.
    pub(crate) fn check_source_id(&mut self, place: Place, id: Option<&str>) {
        if id.is_some_and(|id| id.is_empty() || id.contains('/')) {
            self.error(place, "the `id` of a source is not empty and has no `/` in it".to_string());
        }
    }
}

/// Sources of a topology on one depot are told apart by their ids.
pub(crate) fn source_twice(depot: &str, id: Option<&str>) -> String {
    match id {
        Some(id) => format!("the topology has a source `{id}` on `{depot}` already"),
        None => format!("the topology has a source on `{depot}` already; a further one needs an `id`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_topology_leaves_open_the_launch_says() {
        let second = Some(Duration::from_secs(1));
        let own = StreamOptions { timeout: second, ..StreamOptions::default() };
        let launch = StreamOptions { timeout: Some(Duration::from_secs(9)), executing_max: Some(5), ..own };
        let both = StreamOptions { executing_max: Some(5), ..own };
        assert_eq!(own.or(launch), both);
        assert_eq!(both.mistake(), None);
        assert!(StreamOptions { timeout: Some(Duration::ZERO), ..both }.mistake().is_some());
        assert!(StreamOptions { executing_max: Some(0), ..own }.mistake().is_some());
        assert!(StreamOptions { batch_event_max: Some(0), ..own }.mistake().is_some());
    }
}
