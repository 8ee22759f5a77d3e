//! What leaves an event at a partitioner: where it goes, and the variables that go with it.
//!
//! They travel in value form, one after the other. Where nobody but a run of the same thread reads them, and all of them are
//! scalars, they travel as the bits their slots hold instead; the position says so.

use crate::entry::Entry;
use crate::fault::{RunError, complaint};
use crate::plan::{Plan, Position};
use crate::run::{Host, Run};
use crate::slot::{Frame, Slot};
use crate::step::Target;
use tantu_base::id::TaskId;
use tantu_base::value::{DecodeError, partition_of_key};

/// In a position: the live variables are bits of slots, eight bytes each.
pub(crate) const AS_BITS: u32 = 1 << 31;
const SLOT_SIZE: usize = 8;

/// Reads the live vars of an entry, all of them scalars, from their bits.
#[inline]
pub(crate) fn take_bits(entry: &Entry, bytes: &[u8], frame: &mut Frame) -> Result<(), DecodeError> {
    if !entry.is_scalar || bytes.len() != entry.into.len() * SLOT_SIZE {
        return Err(DecodeError::Truncated { offset: bytes.len() });
    }
    let mut rest = bytes;
    for register in &entry.into {
        let Some((bits, behind)) = rest.split_first_chunk::<SLOT_SIZE>() else { break };
        frame.set(register.var, Slot::scalar(u64::from_le_bytes(*bits)));
        rest = behind;
    }
    Ok(())
}

impl Run {
    /// Encodes the live vars of a position but the last `but`.
    pub(crate) fn gather_live(&mut self, plan: &Plan, position: u32, but: usize) {
        self.live.clear();
        let live = &plan.entries[position as usize].live;
        for register in &live[..live.len() - but] {
            register.encode(&self.frame, &mut self.live);
        }
    }

    /// The task a partitioner chooses of `count`, or none for all.
    pub(crate) fn target(
        &mut self,
        plan: &Plan,
        at: usize,
        target: &Target,
        count: u32,
        host: &mut dyn Host,
    ) -> Result<Option<TaskId>, RunError> {
        let index = match target {
            Target::All => return Ok(None),
            Target::Origin => return Ok(Some(host.origin())),
            Target::Here => return Ok(Some(host.task())),
            Target::Keys(keys) => {
                self.live.clear();
                keys.iter().for_each(|key| key.encode_key(&self.frame, &mut self.live));
                i64::from(partition_of_key(&self.live, count))
            }
            Target::Global => 0,
            Target::Shuffle => i64::from(host.shuffle().0),
            Target::Hash(register) => {
                self.live.clear();
                register.encode_key(&self.frame, &mut self.live);
                i64::from(partition_of_key(&self.live, count))
            }
            Target::Key { key, by, .. } => {
                self.put_key(plan, key);
                let index = by.partition(&self.live, count).map_err(|what| complaint(plan, at, what))?;
                i64::from(index)
            }
            Target::Direct(task) => self.frame.get(*task).bits() as i64,
            Target::Chosen(choose) => choose(&self.frame, count),
        };
        let record = &plan.steps[at];
        match u32::try_from(index).ok().filter(|index| *index < count) {
            Some(task) => Ok(Some(TaskId(task))),
            None => Err(RunError::OutOfRange {
                topology: plan.name.clone(),
                partitioner: record.label.clone(),
                file: record.place.file(),
                line: record.place.line(),
                index,
                last: count - 1,
            }),
        }
    }

    /// The task, if it takes no more than a look.
    #[inline]
    fn plain_target(&self, target: &Target, count: u32) -> Option<TaskId> {
        match target {
            Target::Direct(task) => {
                let index = self.frame.get(*task).bits();
                (index < u64::from(count)).then_some(TaskId(index as u32))
            }
            Target::Global => Some(TaskId(0)),
            // There is one choice.
            Target::Shuffle | Target::Keys(_) | Target::Hash(_) if count == 1 => Some(TaskId(0)),
            _ => None,
        }
    }

    /// Sends the event on to wherever its partitioner says.
    #[inline]
    pub(crate) fn hop(
        &mut self,
        plan: &Plan,
        at: usize,
        target: &Target,
        (one_partition, position): (bool, u32),
        host: &mut dyn Host,
    ) -> Result<(), RunError> {
        let count = if one_partition { 1 } else { host.task_count() };
        let to = match self.plain_target(target, count) {
            None => self.target(plan, at, target, count, host)?,
            plain => plain,
        };
        let entry = &plan.entries[position as usize];
        if entry.is_scalar
            && let Some(to) = to
            && let Some(live) = host.hop_near(to, Position(position | AS_BITS), entry.live.len() * SLOT_SIZE)
        {
            for register in &entry.live {
                live.extend_from_slice(&self.frame.get(register.var).bits().to_le_bytes());
            }
            return Ok(());
        }
        self.gather_live(plan, position, 0);
        match to {
            None => (0..count).for_each(|task| host.hop(TaskId(task), Position(position), &self.live)),
            Some(task) => host.hop(task, Position(position), &self.live),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Register;
    use crate::define::define;
    use crate::depot::random;
    use crate::module::{Module, Setup, Topologies};

    struct Numbers;

    impl Module for Numbers {
        fn define(setup: &mut Setup, topologies: &mut Topologies) {
            let depot = setup.declare_depot::<(i64, String)>("*in", random());
            topologies.stream("s").source(&depot, |b, pair| {
                let (n, text) = b.expand(pair, |(n, text)| (*n, text.clone()));
                let big = b.each(n, |n| n > 7);
                b.hash_partition(n);
                b.each((n, big), |(n, big)| n + i64::from(big));
                b.hash_partition(text);
                b.each((n, text), |(n, text)| n + text.len() as i64);
            });
        }
    }

    #[test]
    fn only_scalars_travel_as_bits_and_other_bytes_are_refused() {
        let module = define::<Numbers>().unwrap();
        let plan = &module.streams[0].plan;
        let of_text: Vec<bool> = plan.entries.iter().map(|entry| entry.is_scalar).collect();
        assert_eq!(of_text, [false, false, false], "the text is needed until the end");
        let live = vec![Register::new::<i64>(0), Register::new::<bool>(1), Register::new::<f64>(2)];
        let entry = Entry::new(0, live, 0);
        let mut frame = Frame::new();
        frame.grow_to(3);
        let mut bytes = Vec::new();
        [(-5i64) as u64, 1, 0.5f64.to_bits()].iter().for_each(|bits| bytes.extend_from_slice(&bits.to_le_bytes()));
        take_bits(&entry, &bytes, &mut frame).unwrap();
        let seen = [0, 1, 2].map(|var| frame.get(var).bits());
        assert_eq!((seen[0] as i64, seen[1] != 0, f64::from_bits(seen[2])), (-5, true, 0.5));
        for cut in 0..bytes.len() {
            take_bits(&entry, &bytes[..cut], &mut frame).unwrap_err();
        }
        let mut run = Run::new();
        run.begin(plan, Position(1 | AS_BITS), &bytes).unwrap_err();
    }
}
