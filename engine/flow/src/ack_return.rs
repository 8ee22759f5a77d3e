//! What the processing of a record gives back to the client that appended it.
//!
//! Any event of a record's tree, on any task, may return values ([`Block::ack_return`]). They travel to the task where the
//! record started with the reports of the events that returned them, and are aggregated there by the source's aggregator: the last value,
//! unless the source says otherwise. When the whole tree is done, an append at level ACK gets the result.
//!
//! A client gets one value from a topology. Where several of its sources on the depot return values, all have the same aggregator,
//! which then gets what all of them returned: each source keeps its values as they are until the last has processed the record.
//!
//! ```
//! use tantu_flow::{Module, Setup, SourceOptions, Topologies, Var, define, random};
//! use tantu_path::agg;
//!
//! struct Lengths;
//! impl Module for Lengths {
//!     fn define(setup: &mut Setup, topologies: &mut Topologies) {
//!         let lines = setup.declare_depot::<String>("*lines", random());
//!         let total = SourceOptions::default().aggregate_returns(|n: Var<i64>| agg::sum::<i64, _>(n));
//!         topologies.stream("lengths").source_with(&lines, total, |b, line| {
//!             let word = b.explode(line, |line| line.split(' ').map(String::from).collect::<Vec<_>>());
//!             b.hash_partition(word);
//!             let length = b.each(word, |word| word.len() as i64);
//!             b.ack_return(length);
//!         });
//!     }
//! }
//! assert!(define::<Lengths>().is_ok());
//! ```

use crate::block::Block;
use crate::data::{Data, Register};
use crate::define::{Place, here};
use crate::fault::{RunError, complaint};
use crate::micro::microbatch_of;
use crate::module::SourceOptions;
use crate::plan::Plan;
use crate::query::NO_OWNER;
use crate::run::{Host, Run};
use crate::step::Step;
use crate::var::Var;
use tantu_base::fixed::{FixedReader, put_sized};
use tantu_base::value::{Value, encoded};
use tantu_path::{AggError, AggOut, Aggregator, Arg, Args, Before, Fold, Leaf, PStateSchema, Room, Schema};

/// Most bytes that the values returned for one record may hold, and each of them.
pub const ACK_RETURN_SIZE_MAX: usize = 1 << 20;

/// The slot that stands for the returned value in the aggregator's arguments.
const RETURNED: u32 = 0;

/// How the values that a record's processing returns become one: by default the last of them that is not null.
#[derive(Clone, PartialEq, Debug)]
pub struct AckReturn {
    leaf: Leaf,
    schema: Schema,
    /// The type of what is returned, and where that was said.
    takes: Option<(&'static str, Place)>,
    /// Whether the code of the source returns something.
    is_used: bool,
    /// Whether that of another source of the topology on the depot does too.
    is_shared: bool,
}

impl Default for AckReturn {
    fn default() -> Self {
        let leaf = Leaf::new(Aggregator::Last, vec![Arg::Slot(RETURNED)]);
        Self { leaf, schema: Schema::Any, takes: None, is_used: false, is_shared: false }
    }
}

impl SourceOptions {
    /// Aggregates the values that the processing of a record returns, instead of keeping the last: any aggregator of the
    /// value, those with a start of their own and the author's included.
    #[track_caller]
    pub fn aggregate_returns<D: Data + ?Sized, S: PStateSchema, A: Into<AggOut<S>>>(
        mut self,
        aggregator: impl FnOnce(Var<D>) -> A,
    ) -> SourceOptions {
        let out: AggOut<S> = aggregator(Var::new(u32::MAX, RETURNED)).into();
        let takes = (Register::new::<D>(RETURNED).type_name(), here());
        let (leaf, schema) = (out.leaf().clone(), S::schema());
        self.ack_return = AckReturn { leaf, schema, takes: Some(takes), ..AckReturn::default() };
        self
    }
}

impl AckReturn {
    /// Has `before` called ahead of its aggregator's closure, if it has one.
    pub(crate) fn interpose(&mut self, before: &Before) {
        self.leaf.interpose(before);
    }

    /// The aggregation of the values of one record.
    pub fn begin(&self) -> Returns {
        let fold = Fold::of_all(vec![(self.leaf.clone(), self.schema.clone())]).limit(ACK_RETURN_SIZE_MAX);
        Returns { fold, kept: self.is_shared.then(Vec::new) }
    }

    /// Whether what the source returned for a record is aggregated with what others did: see [`AckReturn::of_all`].
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// What the sources that share the aggregator returned for a record, each as [`Returns::finish`] has it, as one value;
    /// `None` if that is null.
    ///
    /// # Errors
    /// What the aggregator answers, or that they are too many.
    pub fn of_all<'a>(&self, kept: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<Vec<u8>>, AggError> {
        let mut returns = Returns { kept: None, ..self.begin() };
        for bytes in kept {
            let mut reader = FixedReader::new(bytes);
            while let Ok(value) = reader.sized() {
                returns.take(value)?;
            }
        }
        returns.finish()
    }

    /// Notes whether the code of the source returns something.
    pub(crate) fn used(mut self, is_used: bool) -> AckReturn {
        self.is_used = is_used;
        self
    }

    /// Notes that another source returns something too; false if they cannot be aggregated together.
    pub(crate) fn share(&mut self, other: &mut AckReturn) -> bool {
        if !(self.is_used && other.is_used) {
            return true;
        }
        let type_of = |one: &AckReturn| one.takes.map(|(name, _)| name);
        (self.is_shared, other.is_shared) = (true, true);
        self.takes.is_some()
            && (&self.leaf, &self.schema, type_of(self)) == (&other.leaf, &other.schema, type_of(other))
    }

    /// What is wrong with it, given where values are returned and their types.
    pub(crate) fn mistakes(&self, returned: &[(Place, &'static str)]) -> Vec<(Place, String)> {
        let Some((takes, place)) = self.takes else { return Vec::new() };
        let mut mistakes = Vec::new();
        if self.leaf.args().iter().any(|arg| matches!(arg, Arg::Slot(slot) if *slot != RETURNED)) {
            let what = "the aggregator of returned values takes no other vars than the returned value";
            mistakes.push((place, what.to_string()));
        }
        let name = self.leaf.name();
        let other = returned.iter().filter(|(_, found)| *found != takes);
        mistakes.extend(other.map(|(place, found)| {
            (*place, format!("`ack_return` of a `{found}`: the source's aggregator `{name}` takes `{takes}`"))
        }));
        mistakes
    }
}

/// Values returned for one record so far.
#[derive(Debug)]
pub struct Returns {
    fold: Fold,
    /// Of one of several sources: each value as it came, its length before it.
    kept: Option<Vec<u8>>,
}

/// A returned value in value form, where the aggregator has its slot.
struct Returned<'a>(&'a [u8]);

impl Args for Returned<'_> {
    fn value(&self, _: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }

    fn key(&self, _: u32, out: &mut Vec<u8>) {
        Value::decode(self.0).unwrap_or(Value::Null).encode_key(out);
    }
}

impl Returns {
    /// Takes in one more, in value form.
    ///
    /// # Errors
    /// What the aggregator answers, or that they are too many; what it holds then means nothing.
    pub fn take(&mut self, value: &[u8]) -> Result<(), AggError> {
        let room = match &mut self.kept {
            None => self.fold.step(&[], &Returned(value))?,
            Some(values) if values.len() + value.len() > ACK_RETURN_SIZE_MAX => Room::Full,
            Some(values) => {
                put_sized(values, value);
                Room::Left
            }
        };
        match room {
            Room::Left => Ok(()),
            Room::Full => Err(AggError::Memory { limit: ACK_RETURN_SIZE_MAX }),
        }
    }

    /// The result in value form, or the values that go into it with those of others; `None` if it is null.
    ///
    /// # Errors
    /// What the aggregator answers.
    pub fn finish(mut self) -> Result<Option<Vec<u8>>, AggError> {
        if self.kept.is_some() {
            return Ok(self.kept);
        }
        let mut out = Vec::new();
        self.fold.seal();
        self.fold.results(0, &mut out)?;
        Ok((out != encoded(&Value::Null)).then_some(out))
    }
}

impl Block {
    /// Returns a value to the client that appended the record, if it appended at level ACK: it gets, when the record's whole
    /// event tree is done, what the source's aggregator made of all values returned (the last one, unless
    /// [`SourceOptions::aggregate_returns`] says otherwise). What a try returned that failed is forgotten. Only in stream topologies.
    #[track_caller]
    pub fn ack_return<T: Data + ?Sized>(&mut self, value: Var<T>) {
        let uses = self.uses(value);
        if self.stream == NO_OWNER || microbatch_of(self.stream).is_some() {
            self.mistake("`ack_return` has nobody to return to here: only stream topologies have it".to_string());
        }
        let register = Register::new::<T>(value.id);
        self.code.ack_returns.push((here(), register.type_name()));
        self.push(Step::AckReturn(register), "ack_return", uses, Vec::new());
    }
}

impl Run {
    pub(crate) fn ack_return(
        &mut self,
        plan: &Plan,
        at: usize,
        value: &Register,
        host: &mut dyn Host,
    ) -> Result<(), RunError> {
        self.live.clear();
        value.encode(&self.frame, &mut self.live);
        if self.live.len() > ACK_RETURN_SIZE_MAX {
            let what = format!("the value has {} bytes, the most is {ACK_RETURN_SIZE_MAX}", self.live.len());
            return Err(complaint(plan, at, what));
        }
        host.ack_return(&self.live);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_path::agg;

    fn result(of: &SourceOptions, values: &[i64]) -> Option<Value> {
        let mut returns = of.ack_return.begin();
        values.iter().for_each(|value| returns.take(&encoded(value)).unwrap());
        returns.finish().unwrap().map(|bytes| Value::decode(&bytes).unwrap())
    }

    #[test]
    fn returned_values_become_what_the_sources_aggregator_makes_of_them() {
        let last = SourceOptions::default();
        assert_eq!(result(&last, &[3, 9, 4]), Some(Value::I64(4)));
        let sum = SourceOptions::default().aggregate_returns(|n: Var<i64>| agg::sum::<i64, _>(n));
        assert_eq!(result(&sum, &[3, 9, 4]), Some(Value::I64(16)));
        let count = SourceOptions::default().aggregate_returns(|_: Var<i64>| agg::count::<i64>());
        assert_eq!(result(&count, &[3, 9, 4]), Some(Value::I64(3)));
        let by_value = SourceOptions::default().aggregate_returns(|n: Var<i64>| agg::map::<i64, i64, _, _>(n, n));
        assert_eq!(
            result(&by_value, &[3, 9]),
            Some(Value::map([(3i64.into(), 3i64.into()), (9i64.into(), 9i64.into())]))
        );
        let product = agg::combiner(1i64, |a, b| a * b);
        let product = SourceOptions::default().aggregate_returns(|n: Var<i64>| product.of::<i64, _>(n));
        assert_eq!(result(&product, &[3, 9]), Some(Value::I64(27)));
        let digits = agg::accumulator(7i64, |text: i64, (n,): (i64,)| text * 10 + n);
        let digits = SourceOptions::default().aggregate_returns(|n: Var<i64>| digits.of::<i64, _>((n,)));
        assert_eq!(result(&digits, &[3, 9]), Some(Value::I64(739)), "in the order they came");
    }

    #[test]
    fn values_of_several_sources_become_what_their_aggregator_makes_of_all_of_them() {
        let longest = agg::combiner(String::new(), |a: String, b: String| if b.len() > a.len() { b } else { a });
        let of = |options: SourceOptions| options.ack_return.used(true);
        let options = SourceOptions::default().aggregate_returns(|word: Var<str>| longest.of::<String, _>(word));
        let new = || of(options.clone());
        let (mut one, mut other) = (new(), new());
        assert!(one.share(&mut other) && one.is_shared() && other.is_shared());
        let returned = |of: &AckReturn, words: &[&str]| {
            let mut returns = of.begin();
            words.iter().for_each(|word| returns.take(&encoded(*word)).unwrap());
            returns.finish().unwrap().unwrap()
        };
        let kept = [returned(&one, &["a", "bb"]), returned(&other, &[]), returned(&other, &["ccc", "d"])];
        let all = one.of_all(kept.iter().map(Vec::as_slice)).unwrap().unwrap();
        assert_eq!(Value::decode(&all).unwrap(), Value::Str("ccc".into()));
        let last = SourceOptions::default;
        assert!(!of(last()).share(&mut of(last())), "nobody knows which is the last");
        let sum = || SourceOptions::default().aggregate_returns(|n: Var<i64>| agg::sum::<i64, _>(n));
        assert!(!one.share(&mut of(sum())));
        assert!(of(sum()).share(&mut of(sum())));
        let mut silent = last().ack_return;
        assert!(silent.share(&mut of(sum())) && !silent.is_shared());
    }

    #[test]
    fn null_is_no_result_and_too_much_is_an_error() {
        let mut returns = AckReturn::default().begin();
        returns.take(&encoded(&Value::Null)).unwrap();
        assert_eq!(returns.finish().unwrap(), None);
        let text = encoded(&"x".repeat(1000));
        let list = SourceOptions::default().aggregate_returns(|text: Var<str>| agg::list::<String, _>(text));
        let mut returns = list.ack_return.begin();
        let taken = (0..2_000).take_while(|_| returns.take(&text).is_ok()).count();
        assert!((1_000..=ACK_RETURN_SIZE_MAX / 1_000).contains(&taken), "{taken}");
    }
}
