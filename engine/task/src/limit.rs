//! Every limit of the task thread, with its unit.

use tantu_base::limit::{FRAME_SIZE_MAX, RECORD_SIZE_MAX};

/// Longest an event may run before it yields, in milliseconds (`worker.event.target.max.millis`).
pub const EVENT_MS_MAX: u64 = 5;
/// What one turn aims at, in nanoseconds.
pub const TURN_NS_TARGET: u64 = 200_000;
/// How long turns follow each other without a look at the disk while entries are being made durable, in nanoseconds.
pub const TURN_NS_WHILE_WRITING: u64 = 50_000;
/// How long what became durable may be processed before the next group leaves, if somebody waits for that: it goes with that
/// group then instead of waiting for it, in nanoseconds.
pub const AWAITED_NS_MAX: u64 = 100_000;
/// Batches of clients' letters a turn takes.
pub const CLIENT_BATCH_COUNT_PER_TURN: usize = 16;
/// Steps of a plan between two looks at the clock.
pub const FUEL_PER_CHECK: u32 = 4_096;
/// Most events one streaming batch runs (`topology.stream.max.events.per.batch`).
pub const BATCH_EVENT_COUNT_MAX: usize = 1_024;
/// Events to other threads after which a streaming batch that wrote nothing ends, so that those threads go on meanwhile.
pub const BATCH_FAR_COUNT_MAX: usize = 64;
/// Bytes of letters that leave after a turn, before the step ends.
pub const OUTBOX_FLUSH_SIZE: usize = 256;
/// Steps without work after which a thread sleeps when events of another thread came: what it sent back mostly brings
/// more of them sooner than a sleep takes.
pub const LINGER_STEP_COUNT: u32 = 32;
/// Most records of one source a task has in flight (`topology.stream.max.executing.per.task`).
pub const EXECUTING_COUNT_MAX: usize = 8_192;
/// Records of a source on a task between the first that is not done and the last that started: a record that fails for ever stops it
/// when so many behind it are done.
pub const WINDOW_COUNT_MAX: usize = 1 << 20;
/// Clients that wait on a core until a stream topology has processed more records.
pub const PROCESSED_WAIT_COUNT_MAX: usize = 1_024;
/// Milliseconds between looks at whether it has.
pub const PROCESSED_LOOK_MS: u64 = 1;
/// A source waits for another of its topology on the same depot that is at most so many records behind it.
pub const SOURCES_CLOSE_COUNT: u64 = 1_024;
/// A core starts no more records while this many of its events wait until what they appended is processed.
pub const EVENT_APPEND_COUNT_MAX: usize = 4_096;
/// A core starts no more records while this many events of its records wait for jobs.
pub const EVENT_JOB_COUNT_MAX: usize = 4_096;
/// Milliseconds a write of a PState may take before it is logged (`pstate.excessive.write.time.warning.millis`).
pub const SLOW_WRITE_MS: u64 = 50;
/// Milliseconds an op may take before it is logged.
pub const SLOW_OP_MS: u64 = 50;
/// Milliseconds for which ops are timed after a turn that took as long as an op may.
pub const OVERRUN_WATCH_MS: u64 = 60_000;
/// Milliseconds a turn may take before it is told what it stands in while it still runs.
pub const STALL_MS: u64 = 1_000;
/// A core starts no more records while this many yielding selects are under way,
pub const PAGED_SELECT_COUNT_MAX: usize = 1_024;
/// or while they hold so many bytes of variables and of writes that were not committed when they began.
pub const PAGED_SELECT_SIZE_MAX: usize = 64 << 20;
/// Most bytes of events a task holds before it starts no more records.
pub const EVENT_QUEUE_SIZE_MAX: usize = 16 << 20;
/// Admission closes while this many bytes are staged or sealed and not durable.
pub const UNCOMMITTED_SIZE_MAX: usize = 32 << 20;
/// A staged area is sealed at once when it is this large, in bytes, whatever is in flight.
pub const SEAL_SIZE: usize = 1 << 20;
/// Entries sealed and not durable, at most, before more writes gather instead.
pub const PENDING_COUNT_MAX: usize = 2;
/// Most bytes of letters one event may send, however much memory a core has: less where it has less than four times that.
pub const EVENT_HOP_SIZE_MAX: usize = 1 << 30;
/// Admission closes while this many bytes of letters wait for room in a ring.
pub const OUTBOX_SIZE_MAX: usize = 64 << 20;
/// Milliseconds after which letters are offered again to a ring that was full: nobody rings when it has room.
pub const OUTBOX_RETRY_MS: u64 = 1;
/// A batch of letters is handed to the wire when it is this long, in bytes.
pub const LETTER_BATCH_SIZE: usize = 32 << 10;
/// Log kept per core before memtables are flushed and records copied to shorten it, in bytes.
pub const LOG_RETAINED_SIZE_MAX: u64 = 256 << 20;
/// Runs of records that a source has given up behind one that is still to be done: they are in every entry that adds to them. Those
/// that would make more leave when it is done.
pub const GIVEN_UP_RUN_COUNT_MAX: usize = 1_024;
/// Runs of records that a source dropped, of which it tells who appends them once more.
pub const DROPPED_RUN_COUNT_MAX: usize = 4_096;
/// Bytes of old records a core has read back before topologies that catch up read no further ahead.
pub const LOADED_SIZE_MAX: usize = 64 << 20;
/// Seconds after which an event tree that is not complete fails (`topology.stream.timeout.seconds`).
pub const STREAM_TIMEOUT_S: u64 = 60;
/// Milliseconds between looks at time-outs, at most.
pub const TIMEOUT_CHECK_MS: u64 = 1_000;
/// Milliseconds after which progress alone is worth an entry.
pub const PROGRESS_CHECKPOINT_MS: u64 = 200;
/// Milliseconds of quiet after which the log notes its durable end.
pub const LOG_MARK_MS: u64 = 50;
/// Milliseconds a failed record waits before it is tried again; twice as many after each further failure of its own,
pub const RETRY_DELAY_MS: u64 = 20;
/// but no more than these.
pub const RETRY_DELAY_MS_MAX: u64 = 1_000;
/// Tries after which a record is given up that a close still waits for: a few seconds, at the longest wait between them.
pub const DRAINED_TRY_COUNT_MAX: u32 = 5;
/// Milliseconds for which the log is told of no other failing record of a source.
pub const TROUBLE_WARN_MS: u64 = 1_000;
/// Longest error text that is kept of a failing record, in bytes.
pub const TROUBLE_TEXT_SIZE_MAX: usize = 1 << 10;
/// Most records in trouble that a task tells a client of.
pub const TROUBLE_TOLD_COUNT_MAX: usize = 1_024;
/// Longest record that is kept with its dead letter, in bytes: the letter is a record itself.
pub const DEAD_RECORD_SIZE_MAX: usize = RECORD_SIZE_MAX - (64 << 10);
/// Milliseconds between two tries of what a full disk refused.
pub const SPACE_RETRY_MS: u64 = 1_000;
/// Milliseconds between two counts of the memory in use.
pub const MEMORY_LOOK_MS: u64 = 1;
/// Milliseconds between two looks at how much room there is.
pub const ROOM_LOOK_MS: u64 = 100;
/// Appends are refused while less than this part of the file system is free,
pub const RESERVE_PART: u64 = 20;
/// but more than so many bytes are never kept free.
pub const RESERVE_SIZE_MAX: u64 = 1 << 30;
/// Selects a turn runs,
pub const SELECT_COUNT_PER_TURN: usize = 256;
/// and between two looks at the clock.
pub const SELECT_COUNT_PER_LOOK: usize = 8;
/// Selects whose reads are fetched side by side before they run: as many as a memtable looks for at a time.
pub const SELECT_COUNT_TOGETHER: usize = 16;
/// Rows of one reply to a select, in bytes, before the rest goes into another.
pub const ROWS_SIZE: usize = 256 << 10;
/// Reads of depots under way on a core; clients' requests wait in their rings while there are as many.
pub const DEPOT_READ_COUNT_MAX: usize = 4_096;
/// Milliseconds after which a query that has no result fails (`topology.query.timeout.millis`).
pub const QUERY_TIMEOUT_MS: u64 = 30_000;
/// Snapshots of microbatches that clients and calls have on a core.
pub const HOLD_COUNT_MAX: usize = 4_096;
/// Milliseconds for which a client may keep a snapshot.
pub const HOLD_LEASE_MS_MAX: u64 = 600_000;
/// Milliseconds after which a microbatch that was not kept is asked for again.
pub const HOLD_RETRY_MS: u64 = 2;
/// Calls that ended early whose events are dropped when they come.
pub const OVER_COUNT_MAX: usize = 4_096;
/// Milliseconds between two looks for producers that were silent for long.
pub const PRODUCER_LOOK_MS: u64 = 60_000;
/// Calls of queries by clients that started on a core and have no answer yet; more are refused.
pub const QUERY_CALL_COUNT_MAX: usize = 4_096;
/// Most bytes that the tables of a root's batch blocks hold on a task: what aggregators took in, sides of joins,
/// materialized rows.
pub const TABLES_SIZE_MAX: usize = 64 << 20;
/// Milliseconds after their last row that tables nobody ended are dropped.
pub const TABLES_KEPT_MS: u64 = 2 * QUERY_TIMEOUT_MS;
/// Bytes of rows that the events of a microbatch gather on a task for tables, beyond which they leave although more events
/// wait.
pub const ROWS_HELD_SIZE_MAX: usize = 4 << 20;
/// Queries that are called from within each other, at most.
pub const QUERY_DEPTH_MAX: u32 = 1_000;
/// Calls of queries on a core within those of clients, beyond which an event that calls one more fails.
pub const QUERY_NESTED_COUNT_MAX: usize = 256 << 10;
/// Calls of queries on a core by events of topologies, and within those, beyond which an event that calls one more fails: clients'
/// calls take nothing of it.
pub const TOPOLOGY_CALL_COUNT_MAX: usize = 256 << 10;
/// Bytes of groups that the events of a microbatch gather on a task for one table, wherever they go, at most.
pub const GROUPS_HELD_SIZE_MAX: usize = 2 << 20;
/// Rows of which less than one in so many was of a group that was there leave as they are from then on.
pub const COMBINED_PART_MIN: usize = 8;
/// Of so many microbatches one looks again whether rows are of groups that are there.
pub const THIN_LOOK_COUNT: u64 = 16;
/// Bytes of rows after which an event sends those it gathered for a table.
pub const BATCH_ROWS_SIZE: usize = 256 << 10;
/// Events of clients' calls that have begun and not ended, and as many of topologies'; more wait in their queues, without registers of
/// their own.
pub const QUERY_RUN_COUNT_MAX: usize = 1_024;
/// Events of queries a turn runs.
pub const QUERY_EVENTS_PER_TURN: usize = 256;
/// Milliseconds between two letters of a task thread to the coordinators of microbatches about what its depots have.
pub const MICROBATCH_TELL_MS: u64 = 1;
/// Milliseconds before the attempt after a failed one; twice as many after each more,
pub const MICROBATCH_RETRY_MS: u64 = 20;
/// but no more than these.
pub const MICROBATCH_RETRY_MS_MAX: u64 = 5_000;
/// Milliseconds after which the publish of a decided microbatch is asked for again.
pub const MICROBATCH_AGAIN_MS: u64 = 1_000;
/// Events of microbatches between two looks at the clock: one may be a page of records, or one that yields and waits on its task
/// again.
pub const MICROBATCH_EVENT_COUNT_PER_LOOK: usize = 4;
/// Calls of queries by events of microbatches that run on a core at a time; the others wait. Clients' calls have room beside them.
pub const MICROBATCH_CALL_COUNT_MAX: usize = 1_024;
/// Clients that may wait for one microbatch topology.
pub const MICROBATCH_WAITER_COUNT_MAX: usize = 1_024;
/// Longest error text that travels, in bytes.
pub const ERROR_TEXT_SIZE_MAX: usize = 4 << 10;

const _: () = assert!(TURN_NS_TARGET <= EVENT_MS_MAX * 1_000_000);
const _: () = assert!(RETRY_DELAY_MS <= RETRY_DELAY_MS_MAX);
const _: () = assert!(TROUBLE_TOLD_COUNT_MAX * 2 * TROUBLE_TEXT_SIZE_MAX <= FRAME_SIZE_MAX);
const _: () = assert!(QUERY_CALL_COUNT_MAX < QUERY_NESTED_COUNT_MAX);
const _: () = assert!(MICROBATCH_CALL_COUNT_MAX < TOPOLOGY_CALL_COUNT_MAX);
const _: () = assert!(MICROBATCH_RETRY_MS <= MICROBATCH_RETRY_MS_MAX);
const _: () = assert!(GROUPS_HELD_SIZE_MAX < ROWS_HELD_SIZE_MAX && BATCH_ROWS_SIZE <= GROUPS_HELD_SIZE_MAX);
const _: () = assert!(SEAL_SIZE <= UNCOMMITTED_SIZE_MAX);
const _: () = assert!(SEAL_SIZE + RECORD_SIZE_MAX <= FRAME_SIZE_MAX);
const _: () = assert!(LETTER_BATCH_SIZE <= FRAME_SIZE_MAX);
