//! Running a block directly, in the calling thread, on plain inputs: for tests and for trying things out.
//!
//! There is one task, PStates are in memory and stay from one run to the next. Partitioners are refused, since there is
//! nowhere to go.
//!
//! ```
//! use tantu_flow::{TestBlock, Var};
//! use tantu_path::{Map, agg, path, Navigate};
//!
//! let words = TestBlock::define(
//!     |topology| topology.pstate::<Map<String, i64>>("$$counts"),
//!     |b, counts, line: Var<str>| {
//!         let word = b.explode(line, |line| line.split(' ').map(String::from).collect::<Vec<_>>());
//!         b.compound_agg(counts, agg::key(word, agg::count()));
//!         word
//!     },
//! )?;
//! let mut seen = Vec::new();
//! words.run(&"to be or not to be".to_string(), |word| seen.push(word.to_string()))?;
//! assert_eq!(seen, ["to", "be", "or", "not", "to", "be"]);
//! assert_eq!(words.select("$$counts", path::<Map<String, i64>>().must("be"))?, [2]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::block::{Block, read};
use crate::data::{Data, Owned, Register};
use crate::define::{DefineErrors, Defining, DefiningHandle};
use crate::depot::random;
use crate::fault::RunError;
use crate::module::{ModuleDef, PStateDef, Setup, StreamTopology, Topologies};
use crate::plan::Position;
use crate::run::{Host, Outcome, Run};
use crate::slot::Frame;
use crate::step::Step;
use crate::var::{Var, Vars};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::ops::{Bound, ControlFlow};
use std::rc::Rc;
use tantu_base::door::Job;
use tantu_base::id::{ObjectId, TaskId};
use tantu_base::value::{DecodeError, encoded};
use tantu_path::{
    EvalError, NoArgs, PStateSchema, PathTo, Scratch, Stop, Store, TransformTo, VisitEntry, select_store,
    transform_store,
};

/// Why a block that was run directly failed.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// The block failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The block goes to another task.
    #[error("a block that is run directly has one task; it cannot use partitioners")]
    Partitioner,
    /// A job failed.
    #[error("a job failed: {0}")]
    Job(String),
    /// There is no PState of this name.
    #[error("the block has no PState `{0}`")]
    NoPState(String),
    /// A path failed.
    #[error(transparent)]
    Path(#[from] EvalError),
    /// `select_one` needs exactly one value.
    #[error("the path leads to {count} values, not to exactly one")]
    NotOne {
        /// To how many.
        count: usize,
    },
    /// A value is not of the type asked for.
    #[error(transparent)]
    Type(#[from] DecodeError),
}

type Entries = BTreeMap<(ObjectId, Vec<u8>), Vec<u8>>;

/// A block with inputs `I`, ready to be run. What it emits are vars `O`.
pub struct TestBlock<I: ?Sized, O> {
    pub(crate) module: ModuleDef,
    emitted: O,
    input: PhantomData<fn(&I)>,
    state: RefCell<Entries>,
    random: Cell<u64>,
}

impl<I: ?Sized, O> std::fmt::Debug for TestBlock<I, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TestBlock({:?})", self.module.streams[0].plan)
    }
}

/// The host of one run.
struct TestHost<'a> {
    pstates: &'a [PStateDef],
    state: &'a mut Entries,
    random: &'a Cell<u64>,
    last: Position,
    emitted: Vec<Vec<u8>>,
    jobs: VecDeque<(Position, Vec<u8>, Job)>,
    hopped: bool,
}

impl Store for TestHost<'_> {
    fn get(&mut self, object: ObjectId, key: &[u8], out: &mut Vec<u8>) -> Result<bool, Stop> {
        out.clear();
        let found = self.state.get(&(object, key.to_vec()));
        let initial = || self.pstates[object.index()].initial.as_ref().filter(|_| key.is_empty());
        let found = found.or_else(initial);
        found.into_iter().for_each(|value| out.extend_from_slice(value));
        Ok(found.is_some())
    }

    fn put(&mut self, object: ObjectId, key: &[u8], value: &[u8]) -> Result<(), Stop> {
        self.state.insert((object, key.to_vec()), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, object: ObjectId, key: &[u8]) -> Result<(), Stop> {
        self.state.remove(&(object, key.to_vec()));
        Ok(())
    }

    fn delete_range(&mut self, object: ObjectId, from: &[u8], to: &[u8]) -> Result<(), Stop> {
        self.state.retain(|(of, key), _| *of != object || !(from <= &key[..] && &key[..] < to));
        Ok(())
    }

    fn scan_back(
        &mut self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: VisitEntry<'_>,
    ) -> Result<(), Stop> {
        let mut all = Vec::new();
        self.scan(object, from, to, &mut |key, value| {
            all.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })?;
        let _ = all.iter().rev().try_for_each(|(key, value)| visit(key, value));
        Ok(())
    }

    fn scan(
        &mut self,
        object: ObjectId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: VisitEntry<'_>,
    ) -> Result<(), Stop> {
        let inside = |key: &[u8]| {
            let after = match from {
                Bound::Included(from) => key >= from,
                Bound::Excluded(from) => key > from,
                Bound::Unbounded => true,
            };
            let before = match to {
                Bound::Included(to) => key <= to,
                Bound::Excluded(to) => key < to,
                Bound::Unbounded => true,
            };
            after && before
        };
        for ((of, key), value) in &*self.state {
            if *of == object && inside(key) && visit(key, value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }
}

impl Host for TestHost<'_> {
    fn store(&mut self, _: ObjectId) -> Result<&mut dyn Store, Stop> {
        Ok(self)
    }

    fn task(&self) -> TaskId {
        TaskId(0)
    }

    fn task_count(&self) -> u32 {
        1
    }

    fn random(&mut self) -> u64 {
        let next = self.random.get().wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.random.set(next);
        next ^ (next >> 33)
    }

    fn shuffle(&mut self) -> TaskId {
        TaskId(0)
    }

    fn wall_ms(&self) -> u64 {
        0
    }

    fn is_overtime(&self) -> bool {
        false
    }

    fn hop(&mut self, _: TaskId, at: Position, live: &[u8]) {
        if at == self.last {
            self.emitted.push(live.to_vec());
        } else {
            self.hopped = true;
        }
    }

    /// Nobody appended the input.
    fn ack_return(&mut self, _: &[u8]) {}

    fn start_job(&mut self, at: Position, live: &[u8], job: Job) {
        self.jobs.push_back((at, live.to_vec(), job));
    }
}

impl<I: Data + ?Sized, O: Vars> TestBlock<I, O> {
    /// Records a block without PStates.
    ///
    /// # Panics
    /// If there are mistakes in it: with all of them.
    pub fn new(body: impl FnOnce(&mut Block, Var<I>) -> O) -> TestBlock<I, O> {
        match TestBlock::define(|_| (), |b, (), input| body(b, input)) {
            Ok(block) => block,
            Err(errors) => panic!("{errors}"),
        }
    }

    /// Records a block; the first function declares its PStates.
    ///
    /// # Errors
    /// Every mistake found in it.
    pub fn define<P>(
        declare: impl FnOnce(&mut StreamTopology) -> P,
        body: impl FnOnce(&mut Block, P, Var<I>) -> O,
    ) -> Result<TestBlock<I, O>, DefineErrors> {
        let defining: DefiningHandle = Rc::default();
        let depot = Setup { defining: Rc::clone(&defining) }.declare_global_depot::<()>("*inputs", random());
        let mut topology = Topologies { defining: Rc::clone(&defining) }.stream("block");
        let declared = declare(&mut topology);
        let source = defining.borrow_mut().new_source();
        let mut block = Block::source(Rc::clone(&defining), topology.index, source);
        let input = block.source_var::<I>();
        let emitted = body(&mut block, declared, input);
        if !block.scope.unreachable {
            let uses = block.uses(emitted);
            block.add(
                Step::Hop { target: crate::step::Target::All, one_partition: true, position: 0 },
                "emitted",
                Vec::new(),
                Vec::new(),
            );
            block.add(Step::Call(Box::new(|_, _| {})), "emitted", uses, Vec::new());
        }
        let recorded = block.finish();
        let at = (topology.index, crate::define::here());
        Defining::add_source(&mut defining.borrow_mut(), at, depot.index, Default::default(), recorded);
        drop(topology);
        let module = defining.take().finish("block".to_string())?;
        Ok(TestBlock { module, emitted, input: PhantomData, state: RefCell::default(), random: Cell::new(0x5eed) })
    }

    /// Runs the block on an input; `visit` gets every emit.
    ///
    /// # Errors
    /// What the block fails with; its PStates are then as before.
    pub fn run<R: Owned<Data = I>>(
        &self,
        input: &R,
        mut visit: impl for<'x> FnMut(O::Refs<'x>),
    ) -> Result<(), TestError> {
        let plan = &self.module.streams[0].plan;
        let mut state = self.state.borrow().clone();
        let mut host = TestHost {
            pstates: &self.module.pstates,
            state: &mut state,
            random: &self.random,
            last: Position(plan.entries.len() as u32 - 1),
            emitted: Vec::new(),
            jobs: VecDeque::new(),
            hopped: false,
        };
        let mut run = Run::new();
        run.begin(plan, self.module.streams[0].sources[0].at, &encoded(input))?;
        loop {
            let mut fuel = u32::MAX;
            match run.resume(plan, &mut host, &mut fuel) {
                Outcome::Yield => {}
                Outcome::Failed(error) => return Err(error.into()),
                Outcome::Need => unreachable!("a map in memory has everything at hand"),
                Outcome::Done if host.hopped => return Err(TestError::Partitioner),
                Outcome::Done => match host.jobs.pop_front() {
                    None => break,
                    Some((at, mut live, job)) => {
                        live.extend(job().map_err(TestError::Job)?);
                        run.begin(plan, at, &live)?;
                    }
                },
            }
        }
        let emitted = std::mem::take(&mut host.emitted);
        let last = host.last;
        *self.state.borrow_mut() = state;
        let mut frame = Frame::new();
        frame.grow_to(plan.frame_size);
        for live in emitted {
            let mut arena = crate::arena::Arena::new();
            Register::decode_all(&plan.entries[last.0 as usize].live, &live, &mut frame, &mut arena)?;
            visit(read(&self.emitted, &frame));
        }
        Ok(())
    }

    /// Changes a PState of the block along a path, as an event of its topology would.
    ///
    /// # Errors
    /// [`TestError`] if there is none of this name, or the path fails; nothing is changed then.
    pub fn transform<S: PStateSchema>(&self, pstate: &str, path: &TransformTo<S>) -> Result<(), TestError> {
        let index = self.pstate(pstate)?;
        let mut state = self.state.borrow().clone();
        let (schema, object) = (&self.module.pstates[index].schema, ObjectId(index as u32));
        transform_store(schema, object, path.path(), &mut self.host(&mut state), &NoArgs, &mut Scratch::new())?;
        *self.state.borrow_mut() = state;
        Ok(())
    }

    fn pstate(&self, name: &str) -> Result<usize, TestError> {
        let index = self.module.pstates.iter().position(|def| def.name == name);
        index.ok_or_else(|| TestError::NoPState(name.to_string()))
    }

    /// A host of paths alone.
    fn host<'a>(&'a self, state: &'a mut Entries) -> TestHost<'a> {
        TestHost {
            pstates: &self.module.pstates,
            state,
            random: &self.random,
            last: Position(0),
            emitted: Vec::new(),
            jobs: VecDeque::new(),
            hopped: false,
        }
    }

    /// What a path selects in a PState of the block.
    ///
    /// # Errors
    /// [`TestError`] if there is none of this name, or the path fails.
    pub fn select<S: PStateSchema, T: PStateSchema>(
        &self,
        pstate: &str,
        path: PathTo<S, T>,
    ) -> Result<Vec<T::Value>, TestError> {
        let index = self.pstate(pstate)?;
        let mut state = self.state.borrow().clone();
        let mut host = self.host(&mut state);
        let mut found = Vec::new();
        let mut collect = |value: &[u8]| {
            found.push(value.to_vec());
            ControlFlow::Continue(())
        };
        let (schema, object) = (&self.module.pstates[index].schema, ObjectId(index as u32));
        select_store(schema, object, path.path(), &mut host, &NoArgs, &mut Scratch::new(), &mut collect)?;
        found.iter().map(|value| Ok(path.read_next(&mut tantu_base::value::Reader::new(value))?)).collect()
    }
}
