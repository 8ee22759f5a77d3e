//! Simulated jobs: each runs whole, on the one thread there is, and its answer comes after a seeded delay.

use crate::chance::SimEntropy;
use crate::{Weather, mark};
use std::collections::BTreeMap;
use std::ops::Range;
use tantu_base::caught::caught;
use tantu_base::door::{Job, JobDone, Jobs, Nanos, Token};

/// One core's door to work elsewhere.
#[derive(Debug)]
pub struct SimJobs {
    world: Weather,
    chance: SimEntropy,
    delay_ns: Range<u64>,
    count_max: usize,
    running: BTreeMap<(Nanos, u64), JobDone>,
    started: u64,
}

impl SimJobs {
    /// At most `count_max` jobs at a time, each taking a time of the range.
    pub fn new(world: &Weather, delay_ns: Range<u64>, count_max: usize) -> Self {
        Self {
            chance: world.entropy(),
            world: world.clone(),
            delay_ns,
            count_max,
            running: BTreeMap::new(),
            started: 0,
        }
    }

    /// When the next answer can be reaped, if a job is running.
    pub fn next_due(&self) -> Option<Nanos> {
        self.running.keys().next().map(|(due, _)| *due)
    }
}

impl Jobs for SimJobs {
    fn start(&mut self, token: Token, job: Job) -> Result<(), Job> {
        if self.running.len() >= self.count_max {
            self.world.marks.hit(mark::REFUSED_JOB);
            return Err(job);
        }
        let result = caught(job).unwrap_or_else(|text| {
            self.world.marks.hit(mark::PANICKED_JOB);
            Err(format!("user code panicked: {text}"))
        });
        self.started += 1;
        let due = Nanos(self.world.clock.time().0 + self.chance.within(self.delay_ns.clone()));
        self.world.trace.note(u64::from(token.owner) << 32 | u64::from(token.tag));
        self.running.insert((due, self.started), JobDone { token, result });
        Ok(())
    }

    fn reap(&mut self, done: &mut Vec<JobDone>) {
        let now = self.world.clock.time();
        while let Some(entry) = self.running.first_entry()
            && entry.key().0 <= now
        {
            let answer = entry.remove();
            self.world.trace.note(u64::from(answer.token.tag));
            done.push(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_answer_later_in_any_order_and_a_panic_is_an_answer() {
        let world = Weather::new(1);
        let mut jobs = SimJobs::new(&world, 1_000..1_000_000, 20);
        for tag in 0..20 {
            let job: Job =
                if tag == 7 { Box::new(|| panic!("planned")) } else { Box::new(move || Ok(vec![tag as u8])) };
            assert!(jobs.start(Token { owner: 1, tag }, job).is_ok());
        }
        assert!(jobs.start(Token { owner: 1, tag: 99 }, Box::new(|| Ok(Vec::new()))).is_err());
        let mut done = Vec::new();
        jobs.reap(&mut done);
        assert!(done.is_empty(), "no answer before its time");
        while let Some(due) = jobs.next_due() {
            world.clock.advance_to(due);
            jobs.reap(&mut done);
        }
        let tags: Vec<u32> = done.iter().map(|done| done.token.tag).collect();
        assert!(tags.len() == 20 && !tags.is_sorted());
        for done in done {
            let planned = Err("user code panicked: planned".to_string());
            let expected = if done.token.tag == 7 { planned } else { Ok(vec![done.token.tag as u8]) };
            assert_eq!(done.result, expected);
        }
        world.marks.assert_all_hit(&[mark::REFUSED_JOB, mark::PANICKED_JOB]);
    }
}
