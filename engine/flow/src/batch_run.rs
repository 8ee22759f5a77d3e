//! The steps of batch blocks: rows that end at aggregators, what these became, and results.

use crate::data::Register;
use crate::fault::{RunError, agg_error};
use crate::plan::{Plan, Position};
use crate::run::{Host, Run};
use crate::step::{Step, Target};
use std::ops::ControlFlow;
use tantu_base::id::TaskId;
use tantu_base::value::{DecodeError, partition_of_key};
use tantu_path::Arg;

impl Run {
    /// A row ends at aggregators.
    pub(crate) fn fold(
        &mut self,
        plan: &Plan,
        at: usize,
        target: &Target,
        fold: usize,
        host: &mut dyn Host,
    ) -> Result<(), RunError> {
        let count = host.task_count();
        let to = self.target(plan, at, target, count, host)?;
        let def = &plan.folds[fold];
        self.live.clear();
        def.keys.iter().for_each(|key| key.encode(&self.frame, &mut self.live));
        let keys = self.live.len();
        let registers = &plan.registers[self.source];
        for arg in def.args() {
            match arg {
                Arg::Const(value) => value.encode(&mut self.live),
                Arg::Slot(slot) => registers[*slot as usize].encode(&self.frame, &mut self.live),
            }
        }
        let (keys, args) = self.live.split_at(keys);
        let folded = match to {
            None => (0..count).try_for_each(|task| host.fold(TaskId(task), fold, keys, args)),
            Some(task) => host.fold(task, fold, keys, args),
        };
        folded.map_err(|error| agg_error(plan, at, error))
    }

    /// What aggregators made goes on, a row per group.
    pub(crate) fn drain(&mut self, plan: &Plan, at: usize, fold: usize, host: &mut dyn Host) -> Result<(), RunError> {
        let outs = &plan.folds[fold].outs;
        let start = self.cursors.column.len();
        let (arena, column, row) = (&mut self.arena, &mut self.cursors.column, &mut self.live);
        let mut misfit: Option<DecodeError> = None;
        let drained = host.drain(fold, &mut |keys, results| {
            row.clear();
            row.extend_from_slice(keys);
            row.extend_from_slice(results);
            match Register::decode_row(outs, row, column, arena) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    misfit = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        drained.map_err(|error| agg_error(plan, at, error))?;
        if let Some(source) = misfit {
            return Err(RunError::Live { topology: plan.name.clone(), source });
        }
        self.cursors.push_rows(plan, at, start, &self.frame, &self.arena);
        Ok(())
    }

    /// The query has its result.
    pub(crate) fn result(&mut self, plan: &Plan, value: &Register, host: &mut dyn Host) -> Result<(), RunError> {
        self.live.clear();
        value.encode(&self.frame, &mut self.live);
        host.result(&self.live).map_err(|what| RunError::Result { topology: plan.name.clone(), what })
    }

    /// Where a call of a query with these arguments starts, if its first step says so: a partitioner whose target
    /// depends on nothing but arguments and is one task (QRY-06).
    ///
    /// # Errors
    /// [`RunError`] if the arguments are not what the plan expects.
    pub fn leading_task(
        &mut self,
        plan: &Plan,
        at: Position,
        arguments: &[u8],
        task_count: u32,
    ) -> Result<Option<TaskId>, RunError> {
        self.begin(plan, at, arguments)?;
        let Step::Hop { target, one_partition, .. } = &plan.steps[self.step].step else { return Ok(None) };
        let count = if *one_partition { 1 } else { task_count };
        let index = match target {
            Target::Global => Some(0),
            Target::Direct(task) => u32::try_from(self.frame.get(*task).bits()).ok(),
            Target::Hash(register) => {
                self.live.clear();
                register.encode_key(&self.frame, &mut self.live);
                Some(partition_of_key(&self.live, count))
            }
            Target::Key { key, by, .. } => {
                self.put_key(plan, key);
                by.partition(&self.live, count).ok()
            }
            Target::All | Target::Shuffle | Target::Origin | Target::Chosen(_) => None,
        };
        self.reset();
        Ok(index.filter(|index| *index < task_count).map(TaskId))
    }
}
