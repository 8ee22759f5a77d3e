//! The library of operations that are more than a closure. What reads better as one is one: arithmetic, comparisons,
//! `size`, `get`, `first`, null checks, `println!`; `&&` and `||` stop as soon as they are decided.
//!
//! ```
//! use std::collections::BTreeMap;
//! use tantu_flow::{TestBlock, Var};
//!
//! let block = TestBlock::new(|b, prices: Var<BTreeMap<String, i64>>| {
//!     let (name, price) = b.explode_map(prices);
//!     let (at, letter) = b.explode_indexed(name, |name| name.chars().map(String::from).collect::<Vec<_>>());
//!     let (cheap, double) = b.expand(price, |price| (price < 10, price * 2));
//!     let (from, to) = (b.constant(0i64), b.constant(2i64));
//!     let n = b.range(from, to);
//!     b.each((at, letter, cheap, double, n), |(at, letter, cheap, double, n)| {
//!         format!("{at}{letter} {cheap} {double} {n}")
//!     })
//! });
//! let mut seen = Vec::new();
//! block.run(&BTreeMap::from([("ab".to_string(), 20i64)]), |text| seen.push(text.to_string())).unwrap();
//! assert_eq!(seen, ["0a false 40 0", "0a false 40 1", "1b false 40 0", "1b false 40 1"]);
//! ```

use crate::arena::Arena;
use crate::block::{Block, read};
use crate::data::{Data, Owned, Record, Returned};
use crate::micro::is_microbatch;
use crate::query::NO_OWNER;
use crate::runtime::{tasks_of, thread_of};
use crate::slot::Frame;
use crate::step::Step;
use crate::var::{Var, Vars};
use std::collections::BTreeMap;
use tantu_base::door::Entropy;
use tantu_base::uid::UuidV7;
use tantu_base::value::{Decode, DecodeError, Encode, Reader, Uuid};

/// The kinds of topologies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TopologyKind {
    /// Records one by one, as they come.
    Stream,
    /// Many records as one transaction.
    Microbatch,
    /// A call of a client or of another topology.
    Query,
}

/// What an event can know of the module it runs in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModuleInfo {
    /// The module's name.
    pub module: String,
    /// How many tasks it has.
    pub task_count: u32,
    /// How many task threads they are spread over.
    pub thread_count: u32,
}

impl Record for ModuleInfo {}

impl ModuleInfo {
    /// The number of the thread that runs a task; none if there is no such task. Threads have as many tasks as each other, or
    /// one more.
    pub fn thread_of(&self, task: u32) -> Option<u32> {
        (task < self.task_count).then(|| thread_of(task, self.thread_count))
    }

    /// The tasks of a thread, in order.
    pub fn tasks_of(&self, thread: u32) -> impl Iterator<Item = u32> + use<> {
        tasks_of(thread, self.thread_count, self.task_count)
    }
}

impl Encode for ModuleInfo {
    fn encode(&self, out: &mut Vec<u8>) {
        (self.module.clone(), self.task_count, self.thread_count).encode(out);
    }
    fn encode_key(&self, out: &mut Vec<u8>) {
        (self.module.clone(), self.task_count, self.thread_count).encode_key(out);
    }
}

impl Decode for ModuleInfo {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (module, task_count, thread_count) = Decode::decode(reader)?;
        Ok(ModuleInfo { module, task_count, thread_count })
    }
}

/// A tuple that a closure returns to bind several vars.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be expanded into vars",
    note = "return a tuple of values that a closure may return"
)]
pub trait Expanded: 'static {
    /// A var for each part.
    type Vars: Vars;
    #[doc(hidden)]
    fn put(self, vars: Self::Vars, frame: &mut Frame, arena: &mut Arena);
}

macro_rules! expanded {
    ($($name:ident $at:tt)+) => {
        impl<$($name: Returned),+> Expanded for ($($name,)+) {
            type Vars = ($(Var<$name::Data>,)+);
            fn put(self, vars: Self::Vars, frame: &mut Frame, arena: &mut Arena) {
                $(frame.set(vars.$at.id, self.$at.into_slot(arena));)+
            }
        }
    };
}

expanded! { A 0 B 1 }
expanded! { A 0 B 1 C 2 }
expanded! { A 0 B 1 C 2 D 3 }
expanded! { A 0 B 1 C 2 D 3 E 4 }
expanded! { A 0 B 1 C 2 D 3 E 4 F 5 }
expanded! { A 0 B 1 C 2 D 3 E 4 F 5 G 6 }
expanded! { A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 }

impl Block {
    /// Calls a function that returns a tuple; each part is a var of its own.
    #[track_caller]
    pub fn expand<I: Vars, R: Expanded>(
        &mut self,
        inputs: I,
        function: impl for<'x> Fn(I::Refs<'x>) -> R + Send + Sync + 'static,
    ) -> R::Vars {
        let uses = self.uses(inputs);
        let outs = self.bind_all::<R::Vars>("expand");
        let call = move |frame: &mut Frame, arena: &mut Arena| {
            let result = function(read(&inputs, frame));
            result.put(outs, frame, arena);
        };
        self.push(Step::Call(Box::new(call)), "expand", uses, crate::ways::ids_of(outs));
        outs
    }

    /// The same value, as a var of its own.
    #[track_caller]
    pub fn identity<T: Data + ?Sized>(&mut self, of: Var<T>) -> Var<T> {
        self.uses(of);
        let out = self.bind::<T>("identity");
        self.copy(vec![(of.id, out.id)]);
        out
    }

    /// Another value where the function says so, else the same: an `if` in one line.
    #[track_caller]
    pub fn replace_if<T: Data + ?Sized, R: Returned<Data = T>>(
        &mut self,
        of: Var<T>,
        test: impl for<'x> Fn(T::Ref<'x>) -> bool + Send + Sync + 'static,
        with: impl for<'x> Fn(T::Ref<'x>) -> R + Send + Sync + 'static,
    ) -> Var<T> {
        let found = self.each(of, test);
        self.if_else(found, |b| b.each(of, with), |_| of)
    }

    /// Emits the numbers from the first, below the second.
    #[track_caller]
    pub fn range(&mut self, from: Var<i64>, to: Var<i64>) -> Var<i64> {
        self.explode((from, to), |(from, to)| from..to)
    }

    /// Emits each element of a list.
    #[track_caller]
    pub fn explode_list<T: Owned + Clone>(&mut self, list: Var<Vec<T>>) -> Var<<T as Returned>::Data> {
        self.explode(list, |list| list.clone())
    }

    /// Emits each element of what the function returns, with its index.
    #[track_caller]
    pub fn explode_indexed<I: Vars, C>(
        &mut self,
        inputs: I,
        function: impl for<'x> Fn(I::Refs<'x>) -> C + Send + Sync + 'static,
    ) -> (Var<i64>, Var<<C::Item as Returned>::Data>)
    where
        C: IntoIterator,
        C::Item: Owned + Clone,
    {
        let pair = self.explode(inputs, move |refs| {
            function(refs).into_iter().enumerate().map(|(at, item)| (at as i64, item)).collect::<Vec<_>>()
        });
        self.expand(pair, |pair| pair.clone())
    }

    /// Emits each key of a map with its value.
    #[track_caller]
    pub fn explode_map<K: Owned + Ord + Clone, V: Owned + Clone>(
        &mut self,
        map: Var<BTreeMap<K, V>>,
    ) -> (Var<<K as Returned>::Data>, Var<<V as Returned>::Data>) {
        let entry = self.explode(map, |map| map.clone());
        self.expand(entry, |entry| entry.clone())
    }

    /// The id of the task the event runs on.
    #[track_caller]
    pub fn current_task_id(&mut self) -> Var<i64> {
        let out = self.bind::<i64>("current_task_id");
        self.push(Step::TaskId(out.id), "current_task_id", Vec::new(), vec![out.id]);
        out
    }

    /// The module the event runs in.
    #[track_caller]
    pub fn module_instance_info(&mut self) -> Var<ModuleInfo> {
        let out = self.bind::<ModuleInfo>("module_instance_info");
        self.push(Step::ModuleInfo(out.id), "module_instance_info", Vec::new(), vec![out.id]);
        out
    }

    /// A random UUID of version 7 (it starts with the time) in its usual text form.
    #[track_caller]
    pub fn random_uuid(&mut self) -> Var<str> {
        let out = self.bind::<str>("random_uuid");
        self.push(Step::Uuid(out.id), "random_uuid", Vec::new(), vec![out.id]);
        out
    }

    /// A random number of 64 bits, from the source of randomness of the task: a run that is replayed from a seed makes the same
    /// one again.
    #[track_caller]
    pub fn random_number(&mut self) -> Var<i64> {
        let out = self.bind::<i64>("random_number");
        self.push(Step::Random(out.id), "random_number", Vec::new(), vec![out.id]);
        out
    }

    /// Milliseconds since the Unix epoch, by the clock of the thread: in a simulation the simulated one, so that a run
    /// that is replayed from a seed sees the same time again. A closure that asks the machine itself does not.
    #[track_caller]
    pub fn now_ms(&mut self) -> Var<i64> {
        let out = self.bind::<i64>("now_ms");
        self.push(Step::NowMs(out.id), "now_ms", Vec::new(), vec![out.id]);
        out
    }

    /// A UUID of version 7: it starts with the time, so that ids sort by the millisecond they were made in. Time and randomness are
    /// those of the task, as with [`Block::now_ms`] and [`Block::random_number`].
    ///
    /// ```
    /// use tantu_flow::{TestBlock, Var};
    ///
    /// let block = TestBlock::new(|b, _: Var<i64>| b.uuid_v7());
    /// let mut ids = Vec::new();
    /// block.run(&0i64, |id| ids.push(*id)).unwrap();
    /// block.run(&0i64, |id| ids.push(*id)).unwrap();
    /// assert_ne!(ids[0], ids[1]);
    /// ```
    #[track_caller]
    pub fn uuid_v7(&mut self) -> Var<Uuid> {
        let parts = (self.now_ms(), self.random_number(), self.random_number());
        self.each(parts, |(ms, high, low)| UuidV7::default().next(ms as u64, &mut Drawn([high as u64, low as u64])))
    }

    /// What kind of topology this code is of: for operations that are used in several.
    ///
    /// ```
    /// use tantu_flow::{Block, TestBlock, TopologyKind, Var};
    ///
    /// // A retry of a stream topology makes its effects once more, a microbatch never.
    /// fn effects(b: &mut Block) -> &'static str {
    ///     if b.topology_kind() == TopologyKind::Microbatch { "once" } else { "at least once" }
    /// }
    /// let block = TestBlock::new(|b, _: Var<i64>| {
    ///     let word = effects(b);
    ///     b.constant(word.to_string())
    /// });
    /// block.run(&0i64, |word| assert_eq!(word, "at least once")).unwrap();
    /// ```
    pub fn topology_kind(&self) -> TopologyKind {
        if self.stream == NO_OWNER {
            TopologyKind::Query
        } else if is_microbatch(self.stream) {
            TopologyKind::Microbatch
        } else {
            TopologyKind::Stream
        }
    }

    /// If the event has taken longer than it should, the code below goes on as a new event of this task, behind those
    /// that wait. Otherwise nothing happens.
    #[track_caller]
    pub fn yield_if_overtime(&mut self) {
        self.push(Step::Overtime { position: 0 }, "yield_if_overtime", Vec::new(), Vec::new());
    }
}

/// Random numbers that are drawn already.
struct Drawn([u64; 2]);

impl Entropy for Drawn {
    fn next_u64(&mut self) -> u64 {
        self.0.reverse();
        self.0[1]
    }
}

/// The text of a UUID of version 7.
pub(crate) fn uuid_v7(wall_ms: u64, random: [u64; 2]) -> String {
    let time = wall_ms & 0xffff_ffff_ffff;
    let (a, b) = (random[0] & 0xfff, random[1] & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000);
    format!("{:08x}-{:04x}-7{a:03x}-{:04x}-{:012x}", time >> 16, time & 0xffff, b >> 48, b & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_its_version_its_variant_and_sorts_by_time() {
        let text = uuid_v7(0x0123_4567_89ab, [u64::MAX, u64::MAX]);
        assert_eq!(text, "01234567-89ab-7fff-bfff-ffffffffffff");
        assert!(uuid_v7(5, [u64::MAX; 2]) < uuid_v7(6, [0; 2]));
        assert_eq!(uuid_v7(0, [0; 2]), "00000000-0000-7000-8000-000000000000");
    }
}
