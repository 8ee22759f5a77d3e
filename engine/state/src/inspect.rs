//! Looking at what a task holds without opening it: its depot segments, and whether its files agree with each other.
//!
//! A [`SegmentFile`] is one depot segment. A [`TaskSurvey`] is told every entry of the task's tree and then every section of the
//! log, follows both as a replay would, and keeps no more of them than where the depots' chunks are.

use crate::depot::Run;
use crate::layout::{ChunkAt, DepotMeta, depot_chunk_key, depot_meta_key, depot_start_key};
use crate::section::{Op, Section, SectionError, chunk_writes};
use crate::segment::{CHUNK_HEADER_SIZE, CHUNK_MAGIC, CHUNK_READ_SIZE_MAX, SegmentError, check_chunk, check_header};
use crate::task::StateError;
use crate::task::decode_start;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tantu_base::door::Disk;
use tantu_base::fixed::{FixedReader, Truncated};
use tantu_base::id::{ObjectId, Offset, RunId, TaskId, Version};
use tantu_base::limit::BLOCK_ALIGN;
use tantu_base::piece::Pieces;

/// What a depot segment begins with.
pub const SEGMENT_MAGIC: &[u8; 8] = b"TNTDEPOT";
/// What a document begins with.
pub const DOCUMENT_MAGIC: &[u8; 8] = b"TNTUMETA";

/// One depot segment, open.
#[derive(Debug)]
pub struct SegmentFile {
    pieces: Pieces,
    path: PathBuf,
    /// Whose.
    pub task: TaskId,
    /// Its sequence.
    pub seq: u64,
    /// Its incarnation.
    pub incarnation: u64,
}

/// A part of a segment.
#[derive(Debug)]
pub enum Part {
    /// A whole chunk.
    Chunk {
        /// Where it is.
        at: ChunkAt,
        /// Of which depot.
        depot: ObjectId,
        /// Its records.
        runs: Vec<Run>,
    },
    /// Blocks that are no whole chunk.
    Damaged {
        /// Where they begin.
        position: u64,
        /// Bytes.
        size: u64,
    },
}

impl SegmentFile {
    /// Opens a segment and checks its header: against what it must be, or against what it says itself. Blocking.
    ///
    /// # Errors
    /// [`SegmentError`] naming the file.
    pub fn open(
        disk: &mut dyn Disk,
        path: &Path,
        expected: Option<(TaskId, u64)>,
    ) -> Result<SegmentFile, SegmentError> {
        let mut pieces = Pieces::open(disk, path)?;
        let block = pieces.get(disk, 0, BLOCK_ALIGN)?;
        let claimed = || {
            let mut reader = FixedReader::new(block.get(12..)?);
            Some((TaskId(reader.u32().ok()?), reader.u64().ok()?))
        };
        let (task, seq) = expected.or_else(claimed).unwrap_or_default();
        let incarnation = check_header(path, task, seq, block)?;
        Ok(SegmentFile { pieces, path: path.to_path_buf(), task, seq, incarnation })
    }

    /// Reads a chunk where the index says it is. Blocking.
    ///
    /// # Errors
    /// [`SegmentError`] naming the file and the place.
    pub fn chunk(
        &mut self,
        disk: &mut dyn Disk,
        depot: ObjectId,
        end: Offset,
        at: ChunkAt,
    ) -> Result<Vec<Run>, SegmentError> {
        let corrupt = |what| Err(SegmentError::Corrupt { path: self.path.clone(), offset: at.position, what });
        if !at.position.is_multiple_of(BLOCK_ALIGN as u64) || at.size as usize > CHUNK_READ_SIZE_MAX {
            return corrupt("the index puts a chunk where none can be");
        }
        let bytes = self.pieces.get(disk, at.position, at.size as usize)?;
        let runs = check_chunk(&self.path, self.task, depot, at, self.incarnation, bytes)?;
        if runs.last().is_none_or(|run| run.end() != end) {
            return corrupt("a chunk ends with another record than the index says");
        }
        Ok(runs)
    }

    /// Shows the parts of the segment in order. Blocking.
    ///
    /// # Errors
    /// What the disk answers.
    pub fn walk(&mut self, disk: &mut dyn Disk, show: &mut dyn FnMut(Part)) -> Result<(), SegmentError> {
        let mut position = BLOCK_ALIGN as u64;
        let mut damaged: Option<u64> = None;
        let end_damaged = |damaged: &mut Option<u64>, at: u64, show: &mut dyn FnMut(Part)| {
            if let Some(position) = damaged.take() {
                show(Part::Damaged { position, size: at - position });
            }
        };
        while position < self.pieces.size() {
            let Some((depot, at, runs)) = self.chunk_at(disk, position)? else {
                damaged.get_or_insert(position);
                position += BLOCK_ALIGN as u64;
                continue;
            };
            end_damaged(&mut damaged, position, show);
            show(Part::Chunk { at, depot, runs });
            position += u64::from(at.size);
        }
        end_damaged(&mut damaged, self.pieces.size(), show);
        Ok(())
    }

    /// The chunk that says it begins here, if it is whole.
    fn chunk_at(
        &mut self,
        disk: &mut dyn Disk,
        position: u64,
    ) -> Result<Option<(ObjectId, ChunkAt, Vec<Run>)>, SegmentError> {
        let head = self.pieces.get(disk, position, BLOCK_ALIGN)?;
        let Some((depot, at)) = claimed_chunk(head, self.seq, position) else { return Ok(None) };
        let bytes = self.pieces.get(disk, position, at.size as usize)?;
        let checked = check_chunk(&self.path, self.task, depot, at, self.incarnation, bytes);
        Ok(checked.ok().map(|runs| {
            let time = |run: Option<&Run>| run.map_or(0, |run| run.time_ms);
            (depot, ChunkAt { first_ms: time(runs.first()), last_ms: time(runs.last()), ..at }, runs)
        }))
    }

    /// Closes the file. Blocking.
    pub fn close(self, disk: &mut dyn Disk) {
        self.pieces.close(disk);
    }
}

/// What the header of a chunk says of it, if that is possible.
fn claimed_chunk(head: &[u8], segment: u64, position: u64) -> Option<(ObjectId, ChunkAt)> {
    let mut reader = FixedReader::new(head.get(..CHUNK_HEADER_SIZE)?);
    let mut fields = || {
        let (magic, _crc, size, _body_len) = (reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?);
        let (depot, _count, first) = (reader.u32()?, reader.u32()?, reader.u64()?);
        Ok::<_, Truncated>((magic, size, ObjectId(depot), Offset(first)))
    };
    let (magic, size, depot, first) = fields().ok()?;
    let is_possible = magic == CHUNK_MAGIC
        && size >= BLOCK_ALIGN as u32
        && size.is_multiple_of(BLOCK_ALIGN as u32)
        && size as usize <= CHUNK_READ_SIZE_MAX;
    // The header says nothing of times: they are those of its runs.
    is_possible.then_some((depot, ChunkAt { first, segment, position, size, first_ms: 0, last_ms: 0 }))
}

/// A depot partition as the tree and the log tell of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct DepotSurvey {
    /// Every record below is in a chunk, and the version that says so.
    copied: (Version, Offset),
    /// The chunks by their ends, each with the version that says so.
    chunks: BTreeMap<Offset, (Version, ChunkAt)>,
    committed_end: Offset,
    /// Every record below was trimmed, and the version that says so.
    start: (Version, Offset),
}

impl DepotSurvey {
    /// The chunks that hold records which were not trimmed.
    fn kept(&self) -> impl Iterator<Item = (&Offset, &ChunkAt)> {
        self.chunks.iter().filter(|(end, _)| **end > self.start.1).map(|(end, (_, at))| (end, at))
    }
}

/// Files of one task that tell different stories.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Disagreement {
    /// A tree is flushed only up to what the log holds, or held and gave up.
    #[error("{task}: the log ends at {logged}, but the tree holds everything up to {flushed}")]
    LogBehind {
        /// Whose.
        task: TaskId,
        /// The last version in the log.
        logged: Version,
        /// The last version of the tree.
        flushed: Version,
    },
    /// Offsets are dense, so chunks follow each other.
    #[error("{task}: a chunk of {depot} ends at {end}, but the next begins at {next}")]
    Chunks {
        /// Whose.
        task: TaskId,
        /// Of which depot.
        depot: ObjectId,
        /// Where the chunk ends.
        end: Offset,
        /// Where the next begins.
        next: Offset,
    },
    /// What was copied is in chunks.
    #[error("{task}: the chunks of {depot} end at {end}, but records up to {copied} were copied to chunks")]
    Copied {
        /// Whose.
        task: TaskId,
        /// Of which depot.
        depot: ObjectId,
        /// Where the last chunk ends.
        end: Offset,
        /// How far records were copied.
        copied: Offset,
    },
    /// The log keeps a prepared run until it says what became of it.
    #[error("{task}: chunks are missing of {run}, which is prepared")]
    Run {
        /// Whose.
        task: TaskId,
        /// Which.
        run: RunId,
    },
}

/// A side run as the log tells of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct RunSurvey {
    chunk_count: u32,
    /// Whether every chunk up to here was there.
    is_broken: bool,
    is_prepared: bool,
}

/// A chunk the index names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexedChunk {
    /// Of which depot.
    pub depot: ObjectId,
    /// Offset after its last record.
    pub end: Offset,
    /// Where it is.
    pub at: ChunkAt,
}

/// What one task holds, put together from its files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskSurvey {
    task: TaskId,
    flushed: Version,
    reached: Version,
    /// The last version of it that the log holds.
    logged: Option<Version>,
    depots: BTreeMap<ObjectId, DepotSurvey>,
    runs: BTreeMap<RunId, RunSurvey>,
}

impl TaskSurvey {
    /// Begins with a tree that holds every version up to `flushed`.
    pub fn new(task: TaskId, depots: impl IntoIterator<Item = ObjectId>, flushed: Version) -> TaskSurvey {
        let depots = depots.into_iter().map(|depot| (depot, DepotSurvey::default())).collect();
        TaskSurvey { task, flushed, reached: flushed, logged: None, depots, runs: BTreeMap::new() }
    }

    /// Whose.
    pub fn task(&self) -> TaskId {
        self.task
    }

    /// The newest version that the files hold.
    pub fn reached(&self) -> Version {
        self.reached
    }

    /// Takes an entry of the tree, in any order.
    ///
    /// # Errors
    /// [`StateError::Unreadable`].
    pub fn entry(&mut self, key: &[u8], version: Version, value: Option<&[u8]>) -> Result<(), StateError> {
        let Some((object, rest)) = key.split_first_chunk::<4>() else { return Ok(()) };
        let object = ObjectId(u32::from_be_bytes(*object));
        let Some(depot) = self.depots.get_mut(&object) else { return Ok(()) };
        let unreadable = |what| StateError::Unreadable { task: self.task, object, what };
        let Some(value) = value else { return Ok(()) };
        if key == depot_meta_key(object) {
            let meta = DepotMeta::decode(value).map_err(|_| unreadable("meta"))?;
            depot.copied = depot.copied.max((version, meta.copied_end));
            depot.committed_end = depot.committed_end.max(depot.copied.1);
        } else if key == depot_start_key(object) {
            let start = decode_start(value).ok_or_else(|| unreadable("start"))?;
            depot.start = depot.start.max((version, start));
            depot.committed_end = depot.committed_end.max(start);
        } else if key.len() == depot_chunk_key(object, Offset(0)).len()
            && let Some(end) = rest.get(1..).and_then(|end| end.first_chunk::<8>())
        {
            let end = Offset(u64::from_be_bytes(*end));
            if key != depot_chunk_key(object, end) {
                return Err(unreadable("chunk"));
            }
            let at = ChunkAt::decode(value).map_err(|_| unreadable("chunk"))?;
            let newest = depot.chunks.entry(end).or_insert((version, at));
            if newest.0 <= version {
                *newest = (version, at);
            }
        }
        Ok(())
    }

    /// Takes a section of the log, in the log's order, after every entry of the tree.
    ///
    /// # Errors
    /// [`StateError`]: it does not follow what is there, or cannot be read.
    pub fn section(&mut self, section: &Section<'_>) -> Result<(), StateError> {
        let (task, version) = (self.task, section.version);
        self.logged = self.logged.max(Some(version));
        if version.0 > self.reached.0 + 1 {
            return Err(StateError::Gap { task, what: "tree", have: self.reached.0, found: version.0 });
        }
        let is_new = version > self.reached;
        self.reached = self.reached.max(version);
        for op in section.iter() {
            match op.map_err(|error| StateError::Section { task, error })? {
                Op::Append { depot, run } => {
                    let run =
                        Run::decode(run).map_err(|_| StateError::Section { task, error: SectionError::Truncated })?;
                    self.append(depot, run.first, run.end())?;
                }
                Op::AppendAt(large) => {
                    let end = Offset(large.first.0.saturating_add(u64::from(large.count)));
                    self.append(large.depot, large.first, end)?;
                }
                Op::RunAppended(appended) => self.append(appended.depot, appended.first, appended.end())?,
                Op::Put { key, value } if is_new => self.entry(key, version, Some(value))?,
                Op::Put { .. } | Op::Delete { .. } | Op::DeleteRange { .. } => {}
                op => self.run(&op, is_new)?,
            }
        }
        Ok(())
    }

    /// What a section says of side runs.
    fn run(&mut self, op: &Op<'_>, is_new: bool) -> Result<(), StateError> {
        let task = self.task;
        match op {
            Op::Chunk { run, seq, writes } => {
                if let Some(error) = chunk_writes(writes).find_map(Result::err) {
                    return Err(StateError::Section { task, error });
                }
                if *seq == 0 {
                    self.runs.remove(run);
                }
                let found = self.runs.entry(*run).or_default();
                found.is_broken |= found.chunk_count != *seq;
                found.chunk_count = seq.saturating_add(1);
            }
            Op::Prepared { run, chunk_count, .. } => {
                let found = self.runs.entry(*run).or_default();
                found.is_broken |= found.chunk_count != *chunk_count;
                found.is_prepared = true;
            }
            Op::Spilled { run, .. } => {
                self.runs.insert(*run, Default::default());
                self.runs.entry(*run).and_modify(|found| found.is_prepared = true);
            }
            Op::Publish { run } => {
                let found = self.runs.remove(run).unwrap_or_default();
                if is_new && (found.is_broken || !found.is_prepared) {
                    return Err(StateError::Run {
                        task,
                        run: *run,
                        what: "the log publishes it and has not all of it",
                    });
                }
            }
            Op::Drop { run } => drop(self.runs.remove(run)),
            _ => {}
        }
        Ok(())
    }

    /// The side runs that are prepared, and neither published nor dropped.
    pub fn prepared_runs(&self) -> impl Iterator<Item = RunId> {
        self.runs.iter().filter(|(_, found)| found.is_prepared).map(|(run, _)| *run)
    }

    fn append(&mut self, depot: ObjectId, first: Offset, end: Offset) -> Result<(), StateError> {
        let task = self.task;
        let Some(depot) = self.depots.get_mut(&depot) else { return Ok(()) };
        let have = depot.committed_end;
        if end > have && first != have {
            return Err(StateError::Gap { task, what: "depot", have: have.0, found: first.0 });
        }
        depot.committed_end = have.max(end);
        Ok(())
    }

    /// What does not fit together, when everything was taken.
    pub fn gaps(&self) -> Vec<Disagreement> {
        let task = self.task;
        let mut found = Vec::new();
        if let Some(logged) = self.logged.filter(|logged| *logged < self.flushed) {
            found.push(Disagreement::LogBehind { task, logged, flushed: self.flushed });
        }
        for (depot, survey) in &self.depots {
            let depot = *depot;
            // What was trimmed may still be in the first chunk.
            let mut next = survey.kept().next().map_or(survey.start.1, |(_, at)| at.first.min(survey.start.1));
            for (end, at) in survey.kept() {
                if at.first != next {
                    found.push(Disagreement::Chunks { task, depot, end: next, next: at.first });
                }
                next = *end;
            }
            if next != survey.copied.1 {
                found.push(Disagreement::Copied { task, depot, end: next, copied: survey.copied.1 });
            }
        }
        let broken = self.runs.iter().filter(|(_, found)| found.is_prepared && found.is_broken);
        found.extend(broken.map(|(run, _)| Disagreement::Run { task, run: *run }));
        found
    }

    /// The chunks the index names, by segment and place.
    pub fn chunks(&self) -> Vec<IndexedChunk> {
        let chunk =
            |(depot, end, at): (&ObjectId, &Offset, &ChunkAt)| IndexedChunk { depot: *depot, end: *end, at: *at };
        let all =
            self.depots.iter().flat_map(|(depot, survey)| survey.kept().map(move |(end, at)| chunk((depot, end, at))));
        let mut all: Vec<IndexedChunk> = all.collect();
        all.sort_unstable_by_key(|chunk| (chunk.at.segment, chunk.at.position));
        all
    }
}

/// The file of a task's depot segment.
pub fn segment_path(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("{seq:08}.seg"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::section::{EntryWriter, sections};
    use crate::segment::{chunk_bytes, header_bytes};
    use tantu_weather::{DiskWeather, Image, SimDisk, Weather};

    const DEPOT: ObjectId = ObjectId(3);

    fn log(survey: &mut TaskSurvey, version: u64, first: u64) -> Result<(), String> {
        let mut writer = EntryWriter::default();
        let start = writer.begin_section(TaskId(1), Version(version));
        let mut run = Run::new(Offset(first));
        run.push(b"record");
        writer.append(DEPOT, &run);
        writer.end_section(start);
        let section = sections(&writer.body).next().expect("one section").expect("whole");
        survey.section(&section).map_err(|error| error.to_string())
    }

    fn chunk(survey: &mut TaskSurvey, first: u64, end: u64) {
        let at = ChunkAt {
            first: Offset(first),
            segment: 1,
            position: 4096 * (1 + first),
            size: 4096,
            first_ms: 0,
            last_ms: 0,
        };
        survey.entry(&depot_chunk_key(DEPOT, Offset(end)), Version(2), Some(&at.encode())).expect("readable");
    }

    #[test]
    fn a_walk_goes_on_behind_a_damaged_chunk_and_the_index_is_held_against_what_is_there() {
        let task = TaskId(6);
        let run = |first: u64| {
            let mut run = Run::new(Offset(first));
            run.push(&[7; 5000]);
            run
        };
        let (header, path) = (header_bytes(task, 2, 99), segment_path(Path::new("depot"), 2));
        let mut file = header.to_vec();
        let mut places = Vec::new();
        for first in 0..3 {
            let position = file.len() as u64;
            let bytes = chunk_bytes(task, 2, 99, position, DEPOT, &[run(first)]);
            places.push(ChunkAt {
                first: Offset(first),
                segment: 2,
                position,
                size: bytes.len() as u32,
                first_ms: 0,
                last_ms: 0,
            });
            file.extend_from_slice(&bytes);
        }
        file[places[1].position as usize + 300] ^= 1;
        let mut image = Image::default();
        image.put(&path, &file);
        let mut disk = SimDisk::new(&Weather::new(1), DiskWeather::default(), image);
        let mut segment = SegmentFile::open(&mut disk, &path, None).expect("the header is whole");
        assert_eq!((segment.task, segment.seq, segment.incarnation), (task, 2, 99));
        let mut seen = Vec::new();
        let mut show = |part| match part {
            Part::Chunk { at, runs, .. } => seen.push((at.position, runs[0].first.0, true)),
            Part::Damaged { position, size } => seen.push((position, size, false)),
        };
        segment.walk(&mut disk, &mut show).expect("no faults are planned");
        let damaged = (places[1].position, u64::from(places[1].size), false);
        assert_eq!(seen, [(places[0].position, 0, true), damaged, (places[2].position, 2, true)]);

        let mut chunk = |end: u64, at: ChunkAt| segment.chunk(&mut disk, DEPOT, Offset(end), at).map(|runs| runs.len());
        assert_eq!(chunk(1, places[0]), Ok(1));
        for (end, at) in [
            (2, places[1]),
            (2, places[0]),
            (1, ChunkAt { position: 5, ..places[0] }),
            (1, ChunkAt { size: u32::MAX, ..places[0] }),
            (3, ChunkAt { first: Offset(1), ..places[2] }),
        ] {
            assert!(matches!(chunk(end, at), Err(SegmentError::Corrupt { .. })), "{at:?} to {end}");
        }
    }

    #[test]
    fn versions_and_offsets_of_the_log_go_on_where_the_tree_ends() {
        let mut survey = TaskSurvey::new(TaskId(1), [DEPOT], Version(5));
        let meta = DepotMeta { copied_end: Offset(2), last_ms: 0 };
        survey.entry(&depot_meta_key(DEPOT), Version(5), Some(&meta.encode())).expect("readable");
        assert_eq!(log(&mut survey, 5, 1), Ok(()), "the tree has it already");
        assert_eq!(log(&mut survey, 6, 2), Ok(()));
        assert!(log(&mut survey, 8, 3).is_err_and(|what| what.contains("the tree ends at 6")));
        assert!(log(&mut survey, 7, 4).is_err_and(|what| what.contains("the depot ends at 3")));
        assert_eq!(survey.reached(), Version(7));
    }

    #[test]
    fn a_prepared_run_without_all_its_chunks_is_told_unless_it_is_published_or_dropped() {
        let run = RunId { id: 4, ..RunId::default() };
        let mut survey = TaskSurvey::new(TaskId(1), [DEPOT], Version(0));
        let take = |survey: &mut TaskSurvey, fill: &dyn Fn(&mut EntryWriter)| {
            let mut writer = EntryWriter::default();
            let version = Version(survey.reached().0 + 1);
            let start = writer.begin_section(TaskId(1), version);
            fill(&mut writer);
            writer.end_section(start);
            let section = sections(&writer.body).next().expect("one section").expect("whole");
            survey.section(&section).map_err(|error| error.to_string())
        };
        let chunk = |seq: u32| {
            move |writer: &mut EntryWriter| {
                let start = writer.begin_chunk(run, seq);
                writer.put(b"key", b"value");
                writer.end_chunk(start);
            }
        };
        assert_eq!(take(&mut survey, &chunk(0)), Ok(()));
        assert_eq!(take(&mut survey, &|writer| writer.prepared(run, tantu_base::id::Epoch(1), 1)), Ok(()));
        assert_eq!((survey.prepared_runs().collect::<Vec<_>>(), survey.gaps().len()), (vec![run], 0));
        assert_eq!(take(&mut survey, &|writer| writer.publish(run)), Ok(()));
        assert!(take(&mut survey, &|writer| writer.publish(run)).is_err_and(|what| what.contains("not all of it")));
        assert_eq!(take(&mut survey, &chunk(1)), Ok(()), "the first may be given up already");
        assert_eq!(survey.gaps(), [], "it was never prepared");
        assert_eq!(take(&mut survey, &|writer| writer.prepared(run, tantu_base::id::Epoch(1), 2)), Ok(()));
        assert_eq!(survey.gaps(), [Disagreement::Run { task: TaskId(1), run }]);
        assert_eq!(take(&mut survey, &|writer| writer.drop_run(run)), Ok(()));
        assert_eq!(survey.gaps(), []);
    }

    #[test]
    fn a_hole_in_the_chunk_index_and_a_log_that_ends_too_early_are_told() {
        let mut survey = TaskSurvey::new(TaskId(1), [DEPOT], Version(5));
        chunk(&mut survey, 0, 2);
        chunk(&mut survey, 4, 7);
        let meta = DepotMeta { copied_end: Offset(7), last_ms: 0 };
        survey.entry(&depot_meta_key(DEPOT), Version(5), Some(&meta.encode())).expect("readable");
        assert_eq!(survey.gaps().len(), 1, "{:?}", survey.gaps());
        chunk(&mut survey, 2, 4);
        assert!(survey.gaps().is_empty(), "{:?}", survey.gaps());
        assert_eq!(survey.chunks().iter().map(|chunk| chunk.end.0).collect::<Vec<_>>(), [2, 4, 7]);
        log(&mut survey, 4, 6).expect("old");
        assert_eq!(survey.gaps().len(), 1, "the log ends before the tree: {:?}", survey.gaps());
    }
}
