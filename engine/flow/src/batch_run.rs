//! The steps of batch blocks: rows that go into tables, rows that come out of them, and results.

use crate::data::Register;
use crate::fault::{RunError, batch_error, complaint};
use crate::plan::{Plan, Position};
use crate::run::{Host, Run, Then};
use crate::slot::Slot;
use crate::step::{Step, Target};
use crate::table::{RowsOf, TableDef};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use tantu_base::id::{ObjectId, TaskId};
use tantu_base::value::{DecodeError, partition_of_key};
use tantu_path::{Arg, ShapedFold};

impl Run {
    /// Steps of batch blocks, calls of queries, and appends.
    pub(crate) fn batch_step(&mut self, plan: &Plan, at: usize, host: &mut dyn Host) -> Result<Then, RunError> {
        match &plan.steps[at].step {
            Step::Row { target, table, keys, rest } => {
                self.row(plan, at, (target, *table), (keys, rest), host)?;
                return Ok(Then::Next);
            }
            Step::AckReturn(value) => {
                self.ack_return(plan, at, value, host)?;
                return Ok(Then::Next);
            }
            Step::Fold { target, table } | Step::Combine { target, table, .. } => {
                self.fold(plan, at, (target, *table), host)?
            }
            Step::Gathered { of, outs } => self.gathered(plan, at, (*of, outs), host)?,
            Step::Enter { block, position, .. } => {
                self.gather_live(plan, *position, 0);
                host.enter(*block, &self.live).map_err(|what| complaint(plan, at, what))?;
            }
            Step::Invoke { query, arguments, position } => {
                let mut values = Vec::new();
                arguments.iter().for_each(|argument| argument.encode(&self.frame, &mut values));
                self.gather_live(plan, *position, 1);
                let invoked = host.invoke(Position(*position), &self.live, query, &values);
                invoked.map_err(|what| complaint(plan, at, what))?;
            }
            Step::Append { .. } => return self.append(plan, at, host),
            _ => unreachable!("the other steps are run where they are common"),
        }
        Ok(Then::Back)
    }

    /// A row ends at aggregators.
    fn fold(
        &mut self,
        plan: &Plan,
        at: usize,
        (target, table): (&Target, usize),
        host: &mut dyn Host,
    ) -> Result<(), RunError> {
        let TableDef::Fold(def) = &plan.tables()[table] else { unreachable!("the table is one of aggregators") };
        if matches!(target, Target::Keys(_))
            && def.is_combiner()
            && let Some(args) = def.args()
        {
            self.live.clear();
            def.keys.iter().for_each(|key| key.encode(&self.frame, &mut self.live));
            let keys = self.live.len();
            args.for_each(|arg| self.put_arg(plan, arg));
            let (keys, args) = self.live.split_at(keys);
            if host.fold_group(table, keys, args).map_err(|error| batch_error(plan, at, error))? {
                return Ok(());
            }
        }
        let count = host.task_count();
        let to = self.target(plan, at, target, count, host)?;
        self.live.clear();
        def.keys.iter().for_each(|key| key.encode(&self.frame, &mut self.live));
        let keys = self.live.len();
        let registers = &plan.registers[self.source];
        let frame = &self.frame;
        let put = |arg: &Arg, out: &mut Vec<u8>| match arg {
            Arg::Const(value) => value.encode(out),
            Arg::Slot(slot) => registers[*slot as usize].encode(frame, out),
        };
        let mut send = |keys: &[u8], args: &[u8]| {
            let folded = match to {
                None => (0..count).try_for_each(|task| host.fold(TaskId(task), table, keys, args)),
                Some(task) => host.fold(task, table, keys, args),
            };
            folded.map_err(|error| batch_error(plan, at, error))
        };
        if let Some(args) = def.args() {
            args.for_each(|arg| put(arg, &mut self.live));
            let (keys, args) = self.live.split_at(keys);
            return send(keys, args);
        }
        for (number, part) in def.parts().iter().enumerate() {
            self.live.truncate(keys);
            ShapedFold::put_part(number, &mut self.live);
            part.keys.iter().for_each(|key| put(key, &mut self.live));
            let split = self.live.len();
            part.leaf.args().iter().for_each(|arg| put(arg, &mut self.live));
            let (keys, args) = self.live.split_at(split);
            send(keys, args)?;
        }
        Ok(())
    }

    /// Records of a page that end at aggregators right away, grouped by themselves, are taken in one after the other here: nothing
    /// else happens to them. False if they go another way.
    #[allow(unsafe_code, reason = "slots that were decoded are read again")]
    pub(crate) fn group_records(
        &mut self,
        plan: &Plan,
        at: usize,
        record: &Register,
        start: usize,
        host: &mut dyn Host,
    ) -> Result<bool, RunError> {
        let Some(Step::Fold { target: Target::Keys(_), table }) = plan.steps.get(at).map(|record| &record.step) else {
            return Ok(false);
        };
        let TableDef::Fold(def) = &plan.tables()[*table] else { unreachable!("the table is one of aggregators") };
        let ([key], Some(args)) = (&def.keys[..], def.args()) else { return Ok(false) };
        let mut consts = Vec::new();
        for arg in args {
            let Arg::Const(value) = arg else { return Ok(false) };
            value.encode(&mut consts);
        }
        if key.var != record.var || !def.is_combiner() {
            return Ok(false);
        }
        self.place.store(at as u32, Ordering::Relaxed);
        for (number, slot) in self.cursors.column[start..].iter().enumerate() {
            self.live.clear();
            // SAFETY: this register decoded the slot for this page, and nothing was taken from the arena since.
            unsafe { record.encode_of(*slot, &mut self.live) };
            let folded = host.fold_group(*table, &self.live, &consts).map_err(|error| batch_error(plan, at, error))?;
            if !folded {
                assert_eq!(number, 0, "a host groups all rows or none");
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Appends an argument of an aggregator.
    #[inline]
    fn put_arg(&mut self, plan: &Plan, arg: &Arg) {
        match arg {
            Arg::Const(value) => value.encode(&mut self.live),
            Arg::Slot(slot) => {
                plan.registers[self.source][*slot as usize].encode(&self.frame, &mut self.live);
            }
        }
    }

    /// A row goes into a table.
    fn row(
        &mut self,
        plan: &Plan,
        at: usize,
        (target, table): (&Target, usize),
        (keys, rest): (&[Register], &[Register]),
        host: &mut dyn Host,
    ) -> Result<(), RunError> {
        let to = self.target(plan, at, target, host.task_count(), host)?;
        let to = to.expect("invariant: a row goes to one task");
        self.live.clear();
        keys.iter().for_each(|key| key.encode(&self.frame, &mut self.live));
        let split = self.live.len();
        rest.iter().for_each(|part| part.encode(&self.frame, &mut self.live));
        let (keys, rest) = self.live.split_at(split);
        host.row(to, table, keys, rest).map_err(|error| batch_error(plan, at, error))
    }

    /// A page of rows goes on, one by one; the next page when they are through.
    fn gathered(
        &mut self,
        plan: &Plan,
        at: usize,
        (of, outs): (RowsOf, &[Register]),
        host: &mut dyn Host,
    ) -> Result<(), RunError> {
        let from = self.cursors.page;
        self.cursors.push_page(plan, at, &self.frame, &self.arena);
        let start = self.cursors.column.len();
        let (arena, column) = (&mut self.arena, &mut self.cursors.column);
        let mut misfit: Option<DecodeError> = None;
        let next = host.page(of, from, &mut |row| {
            if outs.is_empty() {
                column.push(Slot::EMPTY);
            }
            match Register::decode_row(outs, row, column, arena) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    misfit = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        let next = next.map_err(|error| batch_error(plan, at, error))?;
        if let Some(source) = misfit {
            return Err(RunError::Live { topology: plan.name.clone(), source });
        }
        self.expect_keys(plan, at, outs, start, host);
        self.cursors.set_page(next);
        self.cursors.push_rows(plan, at, start, &self.frame, &self.arena);
        Ok(())
    }

    /// Where the rows of a page go to keys of a PState one after the other, all of these keys are known before the first goes there.
    #[allow(unsafe_code, reason = "slots that were decoded are read again")]
    fn expect_keys(&mut self, plan: &Plan, at: usize, outs: &[Register], start: usize, host: &mut dyn Host) {
        let Some(Step::Aggregate { pstate, shape }) = plan.steps.get(at + 1).map(|record| &record.step) else { return };
        let Some(Arg::Slot(key)) = shape.leading_key() else { return };
        let Some(place) = outs.iter().position(|out| out.var == *key) else { return };
        let (mut keys, mut ends) = (std::mem::take(&mut self.live), Vec::with_capacity(outs.len()));
        keys.clear();
        for row in self.cursors.column[start..].chunks_exact(outs.len()) {
            // SAFETY: this register decoded the slot for this page, and nothing was taken from the arena since.
            unsafe { outs[place].encode_key_of(row[place], &mut keys) };
            ends.push(keys.len());
        }
        host.expect(ObjectId(*pstate as u32), &keys, &ends);
        self.live = keys;
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
            Target::Here | Target::Keys(_) => unreachable!("rows go there, not events"),
        };
        self.reset();
        Ok(index.filter(|index| *index < task_count).map(TaskId))
    }
}
