//! Partitioners: the event ends and the code below goes on as a new event on the tasks they choose.
//!
//! Exactly the vars that the code below still needs travel. Those ending in `_of` choose among the partitions of an object:
//! all tasks, or task 0 for a global one.

use crate::block::{Block, read};
use crate::data::{Data, Register, Returned};
use crate::module::{DepotRef, PState};
use crate::slot::Frame;
use crate::step::{Step, Target};
use crate::var::{Var, Vars};
use tantu_path::{Arg, PStateSchema, Path, PathTo};

/// An object of the module with partitions: a depot or a PState.
pub trait Partitioned: Copy {
    #[doc(hidden)]
    fn object(self) -> Object;
}

/// Which object of the module.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Object {
    Depot(usize),
    PState(usize),
}

impl<T> Partitioned for DepotRef<T> {
    fn object(self) -> Object {
        Object::Depot(self.index)
    }
}

impl<S> Partitioned for PState<S> {
    fn object(self) -> Object {
        Object::PState(self.index)
    }
}

impl Block {
    #[track_caller]
    pub(crate) fn hop(&mut self, target: Target, label: impl Into<String>, uses: Vec<u32>) {
        self.push(Step::Hop { target, one_partition: false, position: 0 }, label, uses, Vec::new());
    }

    #[track_caller]
    fn hop_of(&mut self, of: Object, target: Target, partitioner: &str, uses: Vec<u32>) {
        let defining = self.defining.borrow();
        let found = match of {
            Object::Depot(index) => defining.depots.get(index).map(|def| (def.name.clone(), def.global)),
            Object::PState(index) => defining.pstates.get(index).map(|def| (def.name.clone(), def.global)),
        };
        drop(defining);
        let Some((name, one_partition)) = found else {
            self.mistake("the object belongs to another module".to_string());
            return;
        };
        let label = format!("{partitioner} {name}");
        self.push(Step::Hop { target, one_partition, position: 0 }, label, uses, Vec::new());
    }

    /// Goes on where the hash of the var says: equal values, one task.
    #[track_caller]
    pub fn hash_partition<T: Data + ?Sized>(&mut self, key: Var<T>) {
        let uses = self.uses(key);
        self.hop(Target::Hash(Register::new::<T>(key.id)), "hash_partition", uses);
    }

    /// Goes on where the hash of the var says, among the partitions of the object.
    #[track_caller]
    pub fn hash_partition_of<T: Data + ?Sized>(&mut self, of: impl Partitioned, key: Var<T>) {
        let uses = self.uses(key);
        self.hop_of(of.object(), Target::Hash(Register::new::<T>(key.id)), "hash_partition", uses);
    }

    /// Goes on on every task of the module.
    #[track_caller]
    pub fn all_partition(&mut self) {
        self.hop(Target::All, "all_partition", Vec::new());
    }

    /// Goes on on every task that has a partition of the object.
    #[track_caller]
    pub fn all_partition_of(&mut self, of: impl Partitioned) {
        self.hop_of(of.object(), Target::All, "all_partition", Vec::new());
    }

    /// Goes on on task 0.
    #[track_caller]
    pub fn global_partition(&mut self) {
        self.hop(Target::Global, "global_partition", Vec::new());
    }

    /// Goes on at the first partition of the object.
    #[track_caller]
    pub fn global_partition_of(&mut self, of: impl Partitioned) {
        self.hop_of(of.object(), Target::Global, "global_partition", Vec::new());
    }

    /// Goes on on the tasks in turn: in a random order of all of them, then in another.
    #[track_caller]
    pub fn shuffle_partition(&mut self) {
        self.hop(Target::Shuffle, "shuffle_partition", Vec::new());
    }

    /// Goes on at the partitions of the object in turn, in random orders.
    #[track_caller]
    pub fn shuffle_partition_of(&mut self, of: impl Partitioned) {
        self.hop_of(of.object(), Target::Shuffle, "shuffle_partition", Vec::new());
    }

    /// Goes on on the task of this id. An id that is none fails the event.
    #[track_caller]
    pub fn direct_partition(&mut self, task: Var<i64>) {
        let uses = self.uses(task);
        self.hop(Target::Direct(task.id), "direct_partition", uses);
    }

    /// Goes on at this partition of the object. An index that is none fails the event.
    #[track_caller]
    pub fn direct_partition_of(&mut self, of: impl Partitioned, partition: Var<i64>) {
        let uses = self.uses(partition);
        self.hop_of(of.object(), Target::Direct(partition.id), "direct_partition", uses);
    }

    /// Goes on where the function of the number of tasks and the inputs says. An index out of range fails the event.
    #[track_caller]
    pub fn custom_partition<I: Vars>(
        &mut self,
        inputs: I,
        function: impl for<'x> Fn(u32, I::Refs<'x>) -> i64 + Send + Sync + 'static,
    ) {
        let uses = self.uses(inputs);
        let choose = move |frame: &Frame, count: u32| function(count, read(&inputs, frame));
        self.hop(Target::Chosen(Box::new(choose)), "custom_partition", uses);
    }

    /// Goes on where the function of the object's number of partitions and the inputs says. An index out of range fails the event.
    #[track_caller]
    pub fn custom_partition_of<I: Vars>(
        &mut self,
        of: impl Partitioned,
        inputs: I,
        function: impl for<'x> Fn(u32, I::Refs<'x>) -> i64 + Send + Sync + 'static,
    ) {
        let uses = self.uses(inputs);
        let choose = move |frame: &Frame, count: u32| function(count, read(&inputs, frame));
        self.hop_of(of.object(), Target::Chosen(Box::new(choose)), "custom_partition", uses);
    }

    /// Goes on where the key lives with which the path starts, by the PState's key partitioner.
    #[track_caller]
    pub fn path_partition<S: PStateSchema, T>(&mut self, pstate: PState<S>, path: &PathTo<S, T>) {
        self.path_partition_untyped(pstate.index, path.path());
    }

    #[track_caller]
    pub(crate) fn path_partition_untyped(&mut self, pstate: usize, path: &Path) {
        let name = self.pstate_name(pstate, false);
        let def = self.defining.borrow().pstates.get(pstate).map(|def| (def.global, def.key_partitioner.clone()));
        let Some((global, by)) = def else {
            return self.mistake(format!("`{name}` has no partitioner: say where to go with `hash_partition`"));
        };
        let key = path.leading_key().cloned();
        match key {
            _ if global => self.hop(Target::Global, format!("path_partition {name}"), Vec::new()),
            Some(key) => {
                let mut uses = Vec::new();
                if let Arg::Slot(slot) = key {
                    self.check([(self.source, slot)].into_iter());
                    uses.push(slot);
                }
                let object = Object::PState(pstate);
                self.hop_of(object, Target::Key { key, by, pstate }, "path_partition", uses);
            }
            // With one task any path will do; with more the launch is refused.
            None => {
                self.needs_one_task(format!(
                    "the path `{path}` into `{name}` does not start with a key, so nothing says which partition to \
                     go to; start it with `key`, use `local_select` after a partitioner, or declare `{name}` global"
                ));
                self.hop(Target::Global, format!("path_partition {name}"), Vec::new());
            }
        }
    }

    /// Goes where the key lives with which the path starts, and reads there; the code below goes on there, once for each
    /// value.
    #[track_caller]
    pub fn select<S: PStateSchema, T: PStateSchema>(
        &mut self,
        pstate: PState<S>,
        path: PathTo<S, T>,
    ) -> Var<<T::Value as Returned>::Data>
    where
        T::Value: Returned,
    {
        self.path_partition(pstate, &path);
        self.local_select(pstate, path)
    }

    #[track_caller]
    fn needs_one_task(&self, what: String) {
        self.defining.borrow_mut().needs_one_task(crate::define::here(), what);
    }
}
