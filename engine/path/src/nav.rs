//! The navigators, one rule each: how it is written, what it takes, what it does in a select and in a
//! transform, and which entries of a stored top-level map it can touch.
//!
//! A new navigator is one new rule in its family's file, one line in [`RULES`] and one builder method; the
//! codec, the description, slot handling and every evaluation read the rule. Codes are in stored and sent
//! bytes: never reuse one.

use crate::error::PathError;
use crate::path::Nav;
use crate::show::type_name;
use crate::walk::{Cx, Next, Rebuilt, Swap, Visited};
use tantu_base::value::Value;

pub(crate) mod branch;
pub(crate) mod collect;
pub(crate) mod custom;
pub(crate) mod each;
pub(crate) mod entries;
pub(crate) mod filter;
pub(crate) mod index;
pub(crate) mod list;
pub(crate) mod map;
pub(crate) mod range;
pub(crate) mod set;
pub(crate) mod term;
pub(crate) mod view;

/// What a navigator is.
pub(crate) struct Rule {
    /// Its number in encoded paths.
    pub(crate) code: u64,
    /// The builder's word for it.
    pub(crate) name: &'static str,
    /// Fewest and most arguments.
    pub(crate) args: (usize, usize),
    /// Fewest and most sub-paths.
    pub(crate) paths: (usize, usize),
    /// Whether it holds a closure, and so cannot be sent.
    pub(crate) func: bool,
    /// Whether it ends a transform path.
    pub(crate) terminal: bool,
    /// Whether navigation goes on along the sub-path of this index, rather than only asking it.
    pub(crate) continues: fn(usize) -> bool,
    /// Its part in a select.
    pub(crate) select: for<'n, 'v, 'c, 'x> fn(&'n Nav, &'v Value, &'c mut Cx<'x>, Next<'_>) -> Visited,
    /// Its part in a transform.
    pub(crate) transform: for<'n, 'c, 'x> fn(&'n Nav, Option<Value>, &'c mut Cx<'x>, Swap<'_>) -> Rebuilt,
    /// What it can touch of a stored top-level map.
    pub(crate) reach: Reach,
}

/// Which entries of a stored top-level map decide what a navigator standing on it does. Reading more than
/// these is never wrong, only slower.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// All of them.
    Whole,
    /// None: it fails on a map, or goes nowhere.
    Nothing,
    /// The one under the first argument.
    Key,
    /// Those in the list or set that is the first argument.
    Keys,
    /// Those in the span its arguments describe.
    Span,
    /// Whatever follows decides.
    Rest,
    /// Whatever its sub-paths, and what follows those it continues along, decide.
    Branches,
    /// Whatever its sub-paths decide, and whatever follows the navigator.
    Aside,
}

/// The parts most rules share.
pub(crate) const PLAIN: Rule = Rule {
    code: u64::MAX,
    name: "",
    args: (0, 0),
    paths: (0, 0),
    func: false,
    terminal: false,
    continues: |_| false,
    select: |_, _, _, _| Ok(std::ops::ControlFlow::Continue(())),
    transform: |_, at, _, _| Ok(at),
    reach: Reach::Whole,
};

/// Every navigator, ascending by code.
pub(crate) static RULES: &[&Rule] = &[
    &map::KEY,
    &map::MUST,
    &map::MAP_KEY,
    &map::SUBMAP,
    &each::ALL,
    &each::MAP_VALS,
    &each::MAP_KEYS,
    &crate::field::FIELD,
    &crate::field::MUST_FIELD,
    &list::NTH,
    &list::FIRST,
    &list::LAST,
    &list::BEFORE_ELEM,
    &list::AFTER_ELEM,
    &list::BEFORE_INDEX,
    &list::BEGINNING,
    &list::END,
    &list::SUBLIST,
    &list::FILTERED_LIST,
    &list::SUBLIST_BY,
    &index::INDEX_NAV,
    &index::INDEXED_VALS,
    &index::CONTINUOUS_SUBSEQS,
    &set::SET_ELEM,
    &set::VOID_SET_ELEM,
    &set::SUBSET,
    &range::MAP_RANGE,
    &range::MAP_RANGE_FROM,
    &range::MAP_RANGE_TO,
    &range::MAP_RANGE_FROM_START,
    &range::MAP_RANGE_TO_END,
    &range::SET_RANGE,
    &range::SET_RANGE_FROM,
    &range::SET_RANGE_TO,
    &range::SET_RANGE_FROM_START,
    &range::SET_RANGE_TO_END,
    &filter::EQUAL,
    &filter::NOT_EQUAL,
    &filter::LESS_THAN,
    &filter::LESS_THAN_OR_EQUAL,
    &filter::GREATER_THAN,
    &filter::GREATER_THAN_OR_EQUAL,
    &filter::PRED,
    &filter::SELECTED,
    &filter::NOT_SELECTED,
    &view::VIEW,
    &view::NULL_TO_VAL,
    &view::VOID_TO_VAL,
    &view::TRANSFORMED,
    &view::SUBSELECT,
    &view::SIZE,
    &branch::STAY,
    &branch::STOP,
    &branch::IF_PATH,
    &branch::COND_PATH,
    &branch::MULTI_PATH,
    &branch::WITH_PAGE_SIZE,
    &term::TERM_VAL,
    &term::TERM_FUNC,
    &term::TERM_VOID,
    &collect::COLLECT_ONE,
    &collect::COLLECT,
    &collect::PUT_COLLECTED,
    &collect::VAL,
    &collect::DISPENSE_COLLECTED,
    &collect::IS_COLLECTED,
    &collect::WITH_FRESH_COLLECTED,
    &collect::COLLECTED,
    &custom::CUSTOM_NAV,
];

/// The rule with this code.
pub(crate) fn rule(code: u64) -> Option<&'static Rule> {
    let index = RULES.binary_search_by_key(&code, |rule| rule.code).ok()?;
    Some(RULES[index])
}

impl Nav {
    pub(crate) fn type_error(&self, wanted: &'static str, found: &Value) -> PathError {
        PathError::Type { navigator: self.rule.name, wanted, found: type_name(found).to_owned() }
    }

    pub(crate) fn argument(&self, what: String) -> PathError {
        PathError::Argument { navigator: self.rule.name, what }
    }

    pub(crate) fn replacement(&self, wanted: &'static str, found: &Value) -> PathError {
        PathError::Replacement { navigator: self.rule.name, wanted, found: type_name(found).to_owned() }
    }
}

/// What a place reads as: void as null.
pub(crate) fn read_place(at: &Option<Value>) -> &Value {
    at.as_ref().unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_ascend_by_code_and_have_distinct_names() {
        assert!(RULES.is_sorted_by(|a, b| a.code < b.code));
        let mut names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RULES.len());
        assert!(RULES.iter().all(|known| rule(known.code).is_some_and(|found| found.name == known.name)));
        assert!(rule(u64::MAX).is_none());
    }
}
