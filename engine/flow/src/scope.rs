//! Which vars a place in the code of a source sees, and what is left of them where several ways meet.

use crate::data::Register;
use crate::define::Place;
use crate::table::{JoinDef, TableDef};
use std::collections::{BTreeMap, BTreeSet};

/// What is bound at a place.
#[derive(Clone, Default, Debug)]
pub(crate) struct Scope {
    pub(crate) visible: BTreeSet<u32>,
    /// Vars that were bound by name, in the untyped layer.
    pub(crate) names: BTreeMap<String, u32>,
    /// The loops whose body this is in.
    pub(crate) loops: BTreeSet<u32>,
    /// Nothing comes here: every way before ended or went elsewhere.
    pub(crate) unreachable: bool,
}

impl Scope {
    /// What both see. A place that nothing reaches has no say.
    pub(crate) fn meet(self, other: &Scope) -> Scope {
        if self.unreachable {
            return other.clone();
        }
        if other.unreachable {
            return self;
        }
        let visible: BTreeSet<u32> = &self.visible & &other.visible;
        let same = |name: &String, var: &mut u32| other.names.get(name) == Some(var) && visible.contains(var);
        let names = self.names.into_iter().filter_map(|(name, mut var)| same(&name, &mut var).then_some((name, var)));
        let names = names.collect();
        Scope { visible, names, loops: &self.loops & &other.loops, unreachable: false }
    }
}

/// The end of one of several ways that meet: what is bound there, and the copy step that hands its values on.
#[derive(Clone, Debug)]
pub(crate) struct WayEnd {
    pub(crate) scope: Scope,
    pub(crate) copy: usize,
}

/// Where and how a var was bound, for messages.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) place: Place,
    pub(crate) label: String,
    pub(crate) name: Option<String>,
}

/// A loop while its body is recorded.
#[derive(Debug)]
pub(crate) struct LoopRecord {
    pub(crate) head: usize,
    /// Jumps to the code after the loop.
    pub(crate) exits: Vec<usize>,
    /// What is bound at all of them.
    pub(crate) after: Option<Scope>,
}

/// The recorded code of one source.
#[derive(Default)]
pub(crate) struct Recorded {
    pub(crate) steps: Vec<crate::step::StepRecord>,
    pub(crate) registers: Vec<Register>,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) record: u32,
    /// Where rows of batch blocks wait for the next stage.
    pub(crate) tables: Vec<TableDef>,
    /// Joins of tables.
    pub(crate) joins: Vec<JoinDef>,
    /// Values for whoever appended the record: where, and their type.
    pub(crate) ack_returns: Vec<(Place, &'static str)>,
}
