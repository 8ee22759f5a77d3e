//! A PState that stands alone, in memory: for tests of paths, and for trying paths out.

use crate::module::PStateOptions;
use crate::test_block::{TestBlock, TestError};
use crate::var::Var;
use std::marker::PhantomData;
use tantu_path::{OneValue, PStateSchema, PathTo, TransformTo};

const NAME: &str = "$$pstate";

/// One partition of a PState of schema `S` (TST-06). A block that is run directly has PStates of its own, see [`TestBlock`].
///
/// ```
/// use tantu_flow::TestPState;
/// use tantu_path::{Map, Navigate, path};
///
/// let visits = TestPState::<Map<String, Map<i64, i64>>>::new();
/// visits.transform(&path().key("ann").key(7).null_to_val(0).term(|n| n + 1))?;
/// assert_eq!(visits.select_one(path().key("ann").key(7))?, Some(1));
/// assert_eq!(visits.select(path().map_vals().map_keys())?, [7]);
/// assert!(visits.select_one(path().must("bob")).is_err());
/// # Ok::<(), tantu_flow::TestError>(())
/// ```
#[derive(Debug)]
pub struct TestPState<S> {
    block: TestBlock<(), ()>,
    of: PhantomData<fn() -> S>,
}

impl<S: PStateSchema> TestPState<S> {
    /// An empty one.
    ///
    /// # Panics
    /// If a PState cannot have the schema.
    #[allow(clippy::new_without_default, reason = "a default would say nothing of the schema")]
    pub fn new() -> TestPState<S> {
        Self::holding(TestBlock::define(|t| t.pstate::<S>(NAME), |_, _, _: Var<()>| ()))
    }

    /// One that starts with a value.
    ///
    /// # Panics
    /// If a PState cannot have the schema.
    pub fn starting_with(initial: S::Plain) -> TestPState<S>
    where
        S: OneValue,
    {
        let declare = |t: &mut crate::module::StreamTopology| t.pstate_initial(NAME, PStateOptions::default(), initial);
        Self::holding(TestBlock::define(declare, |_, _: crate::module::PState<S>, _: Var<()>| ()))
    }

    fn holding(block: Result<TestBlock<(), ()>, crate::define::DefineErrors>) -> TestPState<S> {
        match block {
            Ok(block) => TestPState { block, of: PhantomData },
            Err(errors) => panic!("{errors}"),
        }
    }

    /// Every value the path leads to.
    ///
    /// # Errors
    /// [`TestError`] if the path fails.
    pub fn select<T: PStateSchema>(&self, path: PathTo<S, T>) -> Result<Vec<T::Value>, TestError> {
        self.block.select(NAME, path)
    }

    /// The one value the path leads to.
    ///
    /// # Errors
    /// [`TestError::NotOne`] if it leads to none or several.
    pub fn select_one<T: PStateSchema>(&self, path: PathTo<S, T>) -> Result<T::Value, TestError> {
        let mut found = self.select(path)?;
        match (found.pop(), found.len()) {
            (Some(one), 0) => Ok(one),
            (one, more) => Err(TestError::NotOne { count: more + usize::from(one.is_some()) }),
        }
    }

    /// Changes it along a path that ends in a term navigator.
    ///
    /// # Errors
    /// [`TestError`] if the path fails, or what it makes does not fit; nothing is changed then.
    pub fn transform(&self, path: &TransformTo<S>) -> Result<(), TestError> {
        self.block.transform(NAME, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_path::{Map, Navigate, path};

    #[test]
    fn a_pstate_that_stands_alone_is_read_and_changed_and_a_failed_change_leaves_it_as_it_was() {
        let pstate = TestPState::<Map<String, i64>>::new();
        assert_eq!(pstate.select(path().map_vals()).expect("a path"), [0i64; 0]);
        for (key, value) in [("a", 3), ("b", 5)] {
            pstate.transform(&path().key(key).term_val(value)).expect("a change");
        }
        assert_eq!(pstate.select(path().map_vals()).expect("a path"), [3, 5]);
        assert_eq!(pstate.select_one(path().size()).expect("one"), 2);
        assert!(matches!(pstate.select_one(path().map_vals()), Err(TestError::NotOne { count: 2 })));
        assert!(matches!(pstate.select_one(path().must("c")), Err(TestError::NotOne { count: 0 })));
        let half = path::<Map<String, i64>>().term_void();
        assert!(matches!(pstate.transform(&half), Err(TestError::Path(_))));
        assert_eq!(pstate.select_one(path().size()).expect("one"), 2);
        let total = TestPState::<i64>::starting_with(9);
        total.transform(&path::<i64>().term(|n| n * n)).expect("a change");
        assert_eq!(total.select_one(path()).expect("one"), 81);
    }
}
