//! Recording a module and checking it as a whole: every problem is found, each with the author's own line.

use crate::block::Recorded;
use crate::module::{DepotDef, Module, ModuleDef, PStateDef, Setup, SourceDef, SourceOptions, StreamDef, Topologies};
use crate::plan::PlanBuilder;
use std::cell::RefCell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
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
    pub(crate) sources: Vec<SourceDef>,
    pub(crate) plan: PlanBuilder,
}

/// What has been declared so far.
#[derive(Default)]
pub(crate) struct Defining {
    pub(crate) depots: Vec<DepotDef>,
    pub(crate) pstates: Vec<PStateDef>,
    pub(crate) streams: Vec<StreamRecord>,
    pub(crate) functions: Functions,
    errors: Vec<DefineError>,
    sources: u32,
}

pub(crate) type DefiningHandle = Rc<RefCell<Defining>>;

impl Defining {
    pub(crate) fn error(&mut self, place: Place, what: String) {
        self.errors.push(DefineError { file: place.file(), line: place.line(), what });
    }

    pub(crate) fn add_stream(&mut self, name: &str) -> usize {
        self.streams.push(StreamRecord { name: name.to_string(), sources: Vec::new(), plan: PlanBuilder::new(name) });
        self.streams.len() - 1
    }

    pub(crate) fn new_source(&mut self) -> u32 {
        self.sources += 1;
        self.sources
    }

    pub(crate) fn add_source(&mut self, stream: usize, depot: usize, options: SourceOptions, recorded: Recorded) {
        let at = self.streams[stream].plan.add_source(recorded);
        let SourceOptions { start, retry } = options;
        self.streams[stream].sources.push(SourceDef { depot, start, retry, at });
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
    let Defining { depots, pstates, streams, functions, errors, .. } = defining.take();
    if !errors.is_empty() {
        return Err(DefineErrors { module: M::name(), errors });
    }
    let schemas: Vec<_> = pstates.iter().map(|pstate| (pstate.name.clone(), pstate.schema.clone())).collect();
    let streams = streams
        .into_iter()
        .map(|record| StreamDef {
            name: record.name,
            sources: record.sources,
            plan: Arc::new(record.plan.build(schemas.clone())),
        })
        .collect();
    Ok(ModuleDef { name: M::name(), depots, pstates, streams, functions })
}
