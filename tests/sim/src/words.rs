//! The customer of the modules of words: how its client judges the end of a story.

use crate::audit::{Search, judge_echo, read_depot};
use crate::client::Client;
use crate::customer::{Customer, Entries, Last};
use crate::module::{COUNTS, ECHO, exact_pstate};
use crate::pauser::{PAUSED, PAUSED_OVER_RESTART};
use crate::swarm::Swarm;
use tantu_base::door::Nanos;
use tantu_model::depot::Look;
use tantu_model::stream::LineId;
use tantu_model::word::{WordCounts, count};
use tantu_weather::{Marks, SimWire};

/// Virtual time a record may take before it is tried again.
const RECORD_TIMEOUT: Nanos = Nanos(60_000_000_000);
/// Times that are searched for in each partition at the end.
const SEARCH_COUNT: usize = 20;
/// A partition was searched by time.
pub const SEARCHED: &str = "search by time";
/// A record was trimmed.
pub const TRIMMED: &str = "trimmed record";
/// A page of records was read.
pub const RANGE_READ: &str = "range read";
/// A read asked for records that are not there.
pub const OUT_OF_RANGE: &str = "read out of range";
/// A record was in a microbatch.
pub const EXACT: &str = "record in a microbatch";

fn word_counts(entries: &Entries) -> WordCounts {
    entries.iter().map(|(word, count)| (word.clone(), u64::try_from(*count).unwrap_or_default())).collect()
}

impl Customer for Client {
    fn begin_life(&mut self, life: u32, swarm: &Swarm) {
        Client::begin_life(self, life, swarm);
    }

    fn step(&mut self, wires: &mut [SimWire], swarm: &Swarm, now: Nanos) -> bool {
        let mut worked = false;
        for wire in wires {
            worked |= Client::step(self, wire, swarm, now);
        }
        worked
    }

    fn finding(&self) -> Option<&String> {
        self.findings.first()
    }

    fn is_done(&self) -> bool {
        Client::is_done(self)
    }

    fn has_unsent(&self) -> bool {
        Client::has_unsent(self)
    }

    fn unanswered(&self) -> String {
        Client::unanswered(self)
    }

    fn space_returned(&mut self, now: Nanos) {
        Client::space_returned(self, now);
    }

    fn retry_at(&self) -> Option<Nanos> {
        Client::retry_at(self)
    }

    fn take_resumed(&mut self) -> bool {
        Client::take_resumed(self)
    }

    fn acked_count(&self) -> usize {
        self.history.acked_count()
    }

    fn pstates(&self, swarm: &Swarm) -> Vec<u16> {
        if swarm.exact { vec![COUNTS, exact_pstate(swarm)] } else { vec![COUNTS] }
    }

    fn ask_for_all(&mut self, pstate: u16, swarm: &Swarm) {
        Client::ask_for_all(self, pstate, swarm);
    }

    fn all(&self) -> &Entries {
        Client::all(self)
    }

    fn judge(&mut self, last: &mut Last<'_>) -> Result<(), String> {
        let look = self.judge_depot(last)?;
        self.owe_what_is_there(&look, &last.world.marks);
        if let [_, exact] = last.entries {
            self.judge_exact(last, &look, &word_counts(exact))?;
        }
        self.limit_attempts(last.life_ns_max, RECORD_TIMEOUT, last.thrown_count);
        if let Some(lie) =
            last.entries.first().and_then(|counts| self.lines.judge(&word_counts(counts)).into_iter().next())
        {
            return Err(format!("the counts lie: {lie}"));
        }
        last.world.trace.note(look.values().map(|seen| seen.records.len() as u64).sum());
        Ok(())
    }
}

impl Client {
    fn judge_depot(&self, last: &mut Last<'_>) -> Result<Look, String> {
        let times: Vec<u64> = self.history.times().collect();
        let times: Vec<u64> =
            (0..SEARCH_COUNT.min(times.len())).map(|_| *last.chance.pick(&times)).chain([0, u64::MAX]).collect();
        let (look, searches) = read_depot(last.disk, last.swarm, 0, &times, last.chance)
            .map_err(|why| format!("its depot cannot be read: {why}"))?;
        for Search { partition, start, time_ms, found } in searches {
            if let Some(lie) = self.history.judge_since(partition, start, time_ms, found) {
                return Err(format!("a search by time lies: {lie}"));
            }
            last.world.marks.hit(SEARCHED);
        }
        if last.swarm.exact {
            let (echoes, _) = read_depot(last.disk, last.swarm, ECHO, &[], last.chance)
                .map_err(|why| format!("its echo cannot be read: {why}"))?;
            judge_echo(&look, &echoes)?;
        }
        match self.history.judge(&look).first() {
            Some(lie) => Err(format!("the depot lies: {lie}")),
            None => Ok(look),
        }
    }

    /// What a microbatch topology counted is what the depot holds, exactly; records that were trimmed count too, of which the
    /// client does not know all.
    fn judge_exact(&self, last: &Last<'_>, look: &Look, exact: &WordCounts) -> Result<(), String> {
        let there = look.values().flat_map(|seen| &seen.records).map(|(_, record)| record.as_slice());
        let texts: Vec<&str> = there.filter_map(index_of).map(|index| self.lines.text(LineId(index))).collect();
        let expected = count(texts.iter().copied());
        last.world.marks.hit_many(EXACT, texts.len() as u64);
        if last.swarm.trim.is_none() && *exact != expected {
            let differs = |(word, count): &(&String, &u64)| exact.get(*word) != Some(*count);
            let first = expected.iter().find(differs);
            return Err(format!("a microbatch topology lies: {first:?} in the depot, of {} words", expected.len()));
        }
        let missing = expected.iter().find(|(word, least)| exact.get(*word).is_none_or(|found| found < *least));
        match missing {
            Some((word, least)) => Err(format!("a microbatch topology counts {word:?} less often than {least} times")),
            None => Ok(()),
        }
    }

    /// A record in the depot must have been counted, whether or not its append was answered; and one that was trimmed
    /// too.
    fn owe_what_is_there(&mut self, look: &Look, marks: &Marks) {
        let there = look.values().flat_map(|seen| &seen.records).map(|(_, record)| record.as_slice());
        let all = there.chain(self.history.trimmed(look));
        let there: Vec<usize> = all.filter_map(index_of).collect();
        marks.hit_many(TRIMMED, look.values().map(|seen| seen.start).sum());
        marks.hit_many(RANGE_READ, self.range_count);
        marks.hit_many(OUT_OF_RANGE, self.out_of_range_count);
        let [paused, over_restart] = self.held();
        marks.hit_many(PAUSED, paused);
        marks.hit_many(PAUSED_OVER_RESTART, over_restart);
        there.into_iter().for_each(|index| self.lines.owe(LineId(index)));
    }
}

/// The number of the line a record holds.
fn index_of(record: &[u8]) -> Option<usize> {
    let start = record.windows(5).position(|bytes| bytes == b"line-")? + 5;
    let digits: String =
        record[start..].iter().map(|byte| char::from(*byte)).take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
