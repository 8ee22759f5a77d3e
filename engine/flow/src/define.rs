//! Recording a module and checking it as a whole: every problem is found, each with the author's own line.

use crate::append::Appended;
use crate::data::Register;
use crate::invoke::{Invoked, Temporary};
use crate::micro::MicrobatchRecord;
use crate::module::{DepotDef, Module, ModuleDef, PStateDef, Setup, SourceDef, SourceOptions, StreamDef, Topologies};
use crate::plan::{PlanBuilder, Position, Surroundings};
use crate::query::{QueryDef, QueryOptions};
use crate::scope::Recorded;
use crate::stream_options::StreamOptions;
use std::cell::RefCell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use tantu_base::value::Value;
use tantu_path::Functions;

/// Where the author's call is.
pub(crate) type Place = &'static Location<'static>;

/// The place of the author's call; every function on the way is `#[track_caller]`.
#[track_caller]
pub(crate) fn here() -> Place {
    Location::caller()
}

/// One mistake in a module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DefineError {
    /// The author's file.
    pub file: &'static str,
    /// The line in it.
    pub line: u32,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for DefineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// Every mistake in a module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DefineErrors {
    /// The module.
    pub module: String,
    /// Its mistakes, in the order they were made.
    pub errors: Vec<DefineError>,
}

impl fmt::Display for DefineErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the module {} cannot be launched:", self.module)?;
        self.errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl std::error::Error for DefineErrors {}

pub(crate) struct StreamRecord {
    pub(crate) name: String,
    pub(crate) options: StreamOptions,
    pub(crate) sources: Vec<SourceDef>,
    pub(crate) plan: PlanBuilder,
}

pub(crate) struct QueryRecord {
    name: String,
    inputs: Vec<Register>,
    output: &'static str,
    at: Position,
    plan: PlanBuilder,
    options: QueryOptions,
}

/// What has been declared so far.
#[derive(Default)]
pub(crate) struct Defining {
    pub(crate) depots: Vec<DepotDef>,
    pub(crate) pstates: Vec<PStateDef>,
    pub(crate) streams: Vec<StreamRecord>,
    pub(crate) queries: Vec<QueryRecord>,
    pub(crate) temporaries: Vec<Temporary>,
    /// Queries that code of the module calls.
    pub(crate) invoked: Vec<Invoked>,
    pub(crate) microbatches: Vec<MicrobatchRecord>,
    /// Appends that wait for topologies.
    pub(crate) appended: Vec<Appended>,
    /// Local accesses are not checked to be on the key's task.
    pub(crate) unchecked: bool,
    /// The functions that clients' paths may name.
    pub(crate) functions: Functions,
    errors: Vec<DefineError>,
    one_task: Vec<DefineError>,
    sources: u32,
}

pub(crate) type DefiningHandle = Rc<RefCell<Defining>>;

impl Defining {
    pub(crate) fn error(&mut self, place: Place, what: String) {
        self.errors.push(DefineError { file: place.file(), line: place.line(), what });
    }

    /// A mistake unless the module has one task only.
    pub(crate) fn needs_one_task(&mut self, place: Place, what: String) {
        self.one_task.push(DefineError { file: place.file(), line: place.line(), what });
    }

    /// Partitions of a PState start with a value.
    pub(crate) fn start_with(&mut self, pstate: usize, initial: Vec<u8>, place: Place) {
        let def = &mut self.pstates[pstate];
        let name = def.name.clone();
        let value = Value::decode(&initial).expect("invariant: it was just encoded");
        match def.schema.check_initial(&value) {
            Ok(()) => def.initial = Some(initial),
            Err(error) => self.error(place, format!("the PState `{name}`: {error}")),
        }
    }

    /// Topologies of all kinds share one space of names.
    pub(crate) fn check_topology_name(&mut self, name: &str, place: Place) {
        if name.is_empty() {
            self.error(place, "a topology needs a name".to_string());
        }
        let names = self.streams.iter().map(|stream| &stream.name);
        let names = names.chain(self.queries.iter().map(|query| &query.name));
        if names.chain(self.microbatches.iter().map(|record| &record.name)).any(|other| other == name) {
            self.error(place, format!("the module has a topology `{name}` already"));
        }
    }

    pub(crate) fn add_query(
        &mut self,
        (name, options): (&str, QueryOptions),
        code: Recorded,
        inputs: Vec<Register>,
        output: &'static str,
    ) {
        let mut plan = PlanBuilder::new(name);
        let around = Surroundings { pstates: &self.pstates, starts_on_zero: false, unchecked: self.unchecked };
        let (begin, mistakes) = plan.add(code, inputs.clone(), around);
        let at = plan.first_stage().unwrap_or(begin);
        mistakes.into_iter().for_each(|(place, what)| self.error(place, what));
        self.queries.push(QueryRecord { name: name.to_string(), inputs, output, at, plan, options });
    }

    /// What a query takes and returns.
    pub(crate) fn signature(&self, query: &str) -> Option<(Vec<&'static str>, &'static str)> {
        let found = self.queries.iter().find(|record| record.name == query)?;
        Some((found.inputs.iter().map(Register::type_name).collect(), found.output))
    }

    pub(crate) fn add_stream(&mut self, name: &str) -> usize {
        let (name, plan) = (name.to_string(), PlanBuilder::new(name));
        self.streams.push(StreamRecord { name, options: StreamOptions::default(), sources: Vec::new(), plan });
        self.streams.len() - 1
    }

    pub(crate) fn new_source(&mut self) -> u32 {
        self.sources += 1;
        self.sources
    }

    pub(crate) fn add_source(
        &mut self,
        (stream, place): (usize, Place),
        depot: usize,
        options: SourceOptions,
        recorded: Recorded,
    ) {
        let starts_on_zero = self.depots[depot].global;
        let around = Surroundings { pstates: &self.pstates, starts_on_zero, unchecked: self.unchecked };
        let mut mistakes = options.ack_return.mistakes(&recorded.ack_returns);
        let returns = !recorded.ack_returns.is_empty();
        let (at, mut others) = self.streams[stream].plan.add_source(recorded, around);
        mistakes.append(&mut others);
        mistakes.into_iter().for_each(|(place, what)| self.error(place, what));
        let SourceOptions { start, retry, ack_return, id, dead_letter_after } = options;
        let ack_return = ack_return.used(returns);
        let mut source = SourceDef { depot, start, retry, ack_return, id, dead_letter_after, at };
        self.check_source(stream, place, &source);
        self.share_returns(stream, place, &mut source);
        self.streams[stream].sources.push(source);
    }
}

/// Runs a module's definition and checks it.
///
/// # Errors
/// Every mistake found, each with the author's file and line.
pub fn define<M: Module>() -> Result<ModuleDef, DefineErrors> {
    let defining: DefiningHandle = Rc::default();
    let mut setup = Setup { defining: Rc::clone(&defining) };
    let mut topologies = Topologies { defining: Rc::clone(&defining) };
    M::define(&mut setup, &mut topologies);
    drop((setup, topologies));
    defining.take().finish(M::name())
}

impl Defining {
    /// The whole, if nothing is wrong with it.
    pub(crate) fn finish(mut self, name: String) -> Result<ModuleDef, DefineErrors> {
        self.check_invoked();
        self.check_appended();
        let dead_letters = self.find_dead_letters();
        let Defining {
            depots, pstates, streams, queries, microbatches, temporaries, functions, errors, one_task, ..
        } = self;
        if !errors.is_empty() {
            return Err(DefineErrors { module: name, errors });
        }
        let schemas: Vec<_> = pstates.iter().map(|pstate| (pstate.name.clone(), pstate.schema.clone())).collect();
        let streams = streams
            .into_iter()
            .map(|record| StreamDef {
                name: record.name,
                options: record.options,
                sources: record.sources,
                plan: Arc::new(record.plan.build(&name, schemas.clone())),
            })
            .collect();
        let queries = queries
            .into_iter()
            .map(|record| QueryDef {
                name: record.name,
                at: record.at,
                inputs: record.inputs.iter().map(Register::type_name).collect(),
                output: record.output,
                options: record.options,
                plan: Arc::new(record.plan.build(&name, schemas.clone()).with_temporaries(&temporaries)),
            })
            .collect();
        let microbatches = microbatches.into_iter().map(|record| record.build(&name, &schemas)).collect();
        Ok(ModuleDef { name, depots, pstates, streams, queries, microbatches, functions, dead_letters, one_task })
    }
}
