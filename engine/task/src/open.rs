//! Opening a task thread: files, replay of the log, checks that nothing is missing, where sources go on.

use crate::micro::Micro;
use crate::micro::start::open_parts;
use crate::pipeline::{LOG_OWNER, Pipeline};
use crate::progress::SavedProgress;
use crate::slot::{Effects, Hold, TaskSlot};
use crate::source::{Source, SourceSetup};
use crate::stream_limits::StreamLimits;
use crate::thread::{StopReason, TaskThread, ThreadConfig};
use crate::trimming::tell_lost;
use crate::waiters::Waiters;
use std::path::PathBuf;
use tantu_base::door::{Disk, Doors};
use tantu_base::id::{Epoch, ObjectId, Offset, TaskId, Version};
use tantu_flow::{DepotDef, Run, StartFrom};
use tantu_lsm::BlockCache;
use tantu_net::letter::Root;
use tantu_replog::seglog::{Entry, LogIdentity, SegLog, VisitError};
use tantu_state::TaskState;
use tantu_state::depot::Keeping;
use tantu_state::layout::object_key;
use tantu_state::meta::{self, Checkpoint};
use tantu_state::section::sections;
use tantu_state::task::{Owners, StateError};

const _: () = assert!(size_of::<Root>() <= 32);

fn checkpoint_path(config: &ThreadConfig) -> PathBuf {
    thread_dir(config).join("checkpoint")
}

fn thread_dir(config: &ThreadConfig) -> PathBuf {
    config.dir.join("threads").join(config.thread.0.to_string())
}

/// Notes, at a clean close, which version every task reached.
pub(crate) fn write_checkpoint(
    config: &ThreadConfig,
    reached: Vec<(TaskId, Version)>,
    doors: &mut Doors<'_>,
) -> Result<(), StopReason> {
    let checkpoint = Checkpoint { thread: config.thread, reached };
    Ok(meta::write_checkpoint(doors.disk, &checkpoint_path(config), &checkpoint)?)
}

impl TaskThread {
    /// Opens the thread's tasks and replays its log. Blocking.
    ///
    /// # Errors
    /// [`StopReason`]: a file is damaged, missing or cannot be read; it is named, and nothing was changed that
    /// another attempt would miss.
    pub fn open(config: ThreadConfig, doors: &mut Doors<'_>) -> Result<TaskThread, StopReason> {
        let module = &*config.module;
        let mut cache = BlockCache::new(config.memory.cache());
        let mut states = Vec::new();
        let dir_of = |task: TaskId| config.dir.join("tasks").join(task.0.to_string());
        TaskState::make_all(doors.disk, module.tasks_of(config.thread).map(dir_of), doors.entropy)?;
        for (at, task) in module.tasks_of(config.thread).enumerate() {
            let dir = dir_of(task);
            let owners = Owners { tree: 1 + 2 * at as u32, segments: 2 + 2 * at as u32 };
            let mut state = TaskState::open(
                doors.disk,
                doors.entropy,
                &mut cache,
                &dir,
                owners,
                task,
                &module.depots,
                &config.state,
            )?;
            // Of those that the module has no more there may still be runs, on the disk and in the log.
            let removed = module.removed_microbatches.iter().copied();
            let topologies: Vec<_> = module.microbatches.iter().map(|ids| ids.topology).chain(removed).collect();
            state.know_topologies(doors.disk, &mut cache, &topologies)?;
            states.push(state);
        }
        let log = replay(&config, &mut states, doors)?;
        check_reached(&config, &states, doors.disk)?;
        for state in &mut states {
            state.verify(doors.disk, &mut cache, config.state.open_verify_size_max)?;
        }
        let epoch = Epoch(log.opened().epoch.0 + 1);
        let micro = Micro::open(&config, states.first_mut(), epoch, &mut cache, doors)?;
        let mut slots = Vec::with_capacity(states.len());
        for state in states {
            slots.push(open_slot(&config, state, &mut cache, doors)?);
        }
        let seed = doors.entropy.next_u64();
        let mut thread = TaskThread::assemble(config, slots, Pipeline::new(log, epoch), cache, seed);
        thread.micro = micro;
        thread.set_tickers(doors.clock.now());
        if thread.config.at_rest {
            thread.hold_microbatches();
        }
        thread.abandon_removed(doors)?;
        Ok(thread)
    }
}

fn replay(config: &ThreadConfig, states: &mut [TaskState], doors: &mut Doors<'_>) -> Result<SegLog, StopReason> {
    let module = &*config.module;
    let mut refused: Option<StateError> = None;
    let mut visit = |entry: Entry<'_>| {
        for section in sections(entry.body) {
            let section = section.map_err(|error| VisitError(error.to_string()))?;
            let at = (section.task.0 / module.thread_count) as usize;
            let own = section.task.0 % module.thread_count == config.thread.0;
            let Some(state) = states.get_mut(at).filter(|_| own) else {
                return Err(VisitError(format!(
                    "the entry changes {}, which is not of {}",
                    section.task, config.thread
                )));
            };
            if let Err(error) = state.replay(&section, entry.lsn) {
                let text = error.to_string();
                refused = Some(error);
                return Err(VisitError(text));
            }
        }
        Ok(())
    };
    let identity = LogIdentity { group: config.thread.0 };
    let dir = thread_dir(config).join("log");
    let log = SegLog::open(doors.disk, &dir, LOG_OWNER, identity, doors.entropy, config.log, &mut visit);
    match (log, refused) {
        (Err(_), Some(error)) => Err(error.into()),
        (Err(error), None) => Err(error.into()),
        (Ok(log), _) => {
            let opened = log.opened();
            if opened.torn_size > 0 {
                tracing::info!(
                    thread = config.thread.0,
                    bytes = opened.torn_size,
                    "cut a torn tail that was never acknowledged"
                );
            }
            Ok(log)
        }
    }
}

/// No task may be behind what the last clean close noted: then files are missing, or are old copies.
fn check_reached(config: &ThreadConfig, states: &[TaskState], disk: &mut dyn Disk) -> Result<(), StopReason> {
    let path = checkpoint_path(config);
    let Some(checkpoint) = meta::read_checkpoint(disk, &path, config.thread)? else { return Ok(()) };
    for (task, expected) in checkpoint.reached {
        // A task that moved to another thread since then is checked there.
        let Some(have) = states.iter().find(|state| state.task == task).map(TaskState::visible) else { continue };
        if have < expected {
            return Err(StopReason::Behind { task, have: have.0, expected: expected.0, path });
        }
    }
    Ok(())
}

fn open_slot(
    config: &ThreadConfig,
    mut state: TaskState,
    cache: &mut BlockCache,
    doors: &mut Doors<'_>,
) -> Result<TaskSlot, StopReason> {
    let module = &*config.module;
    for (def, object) in module.def.pstates.iter().zip(&module.pstates) {
        def.initial.iter().for_each(|value| state.set_initial(*object, value.clone()));
    }
    let mut sources = Vec::new();
    for ((stream, index), progress) in module.all_sources().zip(&module.sources) {
        let def = &module.def.streams[stream].sources[index];
        let global = module.def.depots[def.depot].global;
        if global && state.task != TaskId(0) {
            continue;
        }
        let topology = &module.def.streams[stream].name;
        let meeting = Meeting { topology, depot: (def.depot, &module.def.depots[def.depot]), start: def.start };
        let from = first_progress(&mut state, *progress, &meeting, cache, doors)?;
        let limits = StreamLimits::of(&module.def.streams[stream], &config.stream);
        let setup = SourceSetup {
            stream: stream as u16,
            depot: def.depot,
            at: def.at,
            progress: *progress,
            retry: def.retry,
            ack_return: def.ack_return.clone(),
            dead_letter_after: def.dead_letter_after,
            timeout_ms: limits.timeout_ms,
            executing_max: limits.executing_max,
            waits_beyond: limits.waits_beyond,
            live_from: state.depots()[def.depot].durable_end(),
            // Ticks are no records that others have too.
            has_kin: module.def.depots[def.depot].tick.is_none()
                && module.def.streams[stream].sources.iter().filter(|other| other.depot == def.depot).count() > 1,
        };
        sources.push(Source::new(setup, from));
    }
    for (at, def) in module.def.depots.iter().enumerate() {
        let keeping = Keeping { recent_size: def.options.cached_size, ahead_size: def.options.catch_up_size };
        state.depot_mut(at).keeping = keeping;
    }
    let parts = open_parts(config, &mut state, cache, doors)?;
    let waiters = module.depots.iter().map(|_| Waiters::default()).collect();
    let mut slot = TaskSlot {
        task: state.task,
        state,
        events: Default::default(),
        calls: Default::default(),
        sources,
        parts,
        waiters,
        run: Run::watched(config.pulse.step()),
        batch: None,
        hold: Hold::Free,
        gathering: Effects::default(),
        spare_effects: Vec::new(),
        shuffle: tantu_flow::Shuffle::default(),
        hops_pending: 0,
        loading: false,
    };
    slot.want_records();
    Ok(slot)
}

/// A topology that meets a partition, for the first time or again.
pub(crate) struct Meeting<'a> {
    pub(crate) topology: &'a str,
    /// Its place in the module.
    pub(crate) depot: (usize, &'a DepotDef),
    pub(crate) start: StartFrom,
}

/// Saved progress wins; a topology that meets the partition for the first time starts where its author said, and
/// that is saved with the first entry, so that a restart does not decide again.
pub(crate) fn first_offset(
    state: &mut TaskState,
    progress: ObjectId,
    meeting: &Meeting<'_>,
    cache: &mut BlockCache,
    doors: &mut Doors<'_>,
) -> Result<Offset, StopReason> {
    Ok(first_progress(state, progress, meeting, cache, doors)?.base())
}

/// [`first_offset`] with what was given up behind it.
fn first_progress(
    state: &mut TaskState,
    progress: ObjectId,
    meeting: &Meeting<'_>,
    cache: &mut BlockCache,
    doors: &mut Doors<'_>,
) -> Result<SavedProgress, StopReason> {
    let Meeting { topology, depot: (depot, def), start } = *meeting;
    let mut key = Vec::new();
    object_key(progress, &[], &mut key);
    if let Some(bytes) = state.system_now(doors.disk, cache, &key)? {
        let unreadable = StateError::Unreadable { task: state.task, object: progress, what: "progress" };
        let saved = SavedProgress::decode(&bytes).ok_or(unreadable)?;
        let first = state.depots()[depot].start();
        // Trimming may not wait for it, or it was taken out of the module for a while.
        if saved.base() < first {
            tell_lost(topology, def, state.task, saved.base().0..first.0);
        }
        return Ok(saved.not_before(first));
    }
    let (first, end) = (state.depots()[depot].start(), state.depots()[depot].durable_end());
    let from = match start {
        StartFrom::Beginning => {
            def.options.max_entries.map_or(first, |max| Offset(end.0.saturating_sub(max)).max(first))
        }
        StartFrom::End => end,
        StartFrom::RecordsAgo(count) => Offset(end.0.saturating_sub(count)).max(first),
        StartFrom::Since(time_ms) => state.first_since_now(doors.disk, cache, depot, time_ms)?,
        StartFrom::TimeAgo(ago) => {
            let ago_ms = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
            let time_ms = doors.clock.wall_ms().saturating_sub(ago_ms);
            state.first_since_now(doors.disk, cache, depot, time_ms)?
        }
    };
    let from = SavedProgress::at(from);
    state.put_system(key, from.encode());
    Ok(from)
}
