//! The untyped path: a list of navigators, built by chaining.
//!
//! A path is data until it meets a value. It may hold closures (inside a dataflow) and slots; one that holds
//! neither can be sent ([`Path::encode`]). What each navigator does stands once, in its rule under `nav/`.

use crate::arg::{Arg, Args};
use crate::error::PathError;
use crate::func::Func;
use crate::nav::custom::Custom;
use crate::nav::{self, Rule};
use std::borrow::Cow;
use std::fmt;
use tantu_base::value::Value;

/// One navigator with its arguments.
#[derive(Clone)]
pub struct Nav {
    pub(crate) rule: &'static Rule,
    pub(crate) args: Vec<Arg>,
    pub(crate) paths: Vec<Path>,
    pub(crate) func: Option<Func>,
    pub(crate) custom: Option<Custom>,
}

impl Nav {
    pub(crate) fn is(&self, rule: &Rule) -> bool {
        self.rule.code == rule.code
    }
}

impl PartialEq for Nav {
    fn eq(&self, other: &Nav) -> bool {
        self.is(other.rule)
            && (&self.args, &self.paths, &self.func, &self.custom)
                == (&other.args, &other.paths, &other.func, &other.custom)
    }
}

/// A sequence of navigators.
#[derive(Clone, PartialEq, Default)]
pub struct Path {
    pub(crate) navs: Vec<Nav>,
}

macro_rules! navigators {
    ($($(#[$doc:meta])* $name:ident($($arg:ident),*) => $rule:path;)*) => {$(
        $(#[$doc])*
        pub fn $name(self, $($arg: impl Into<Arg>),*) -> Path {
            self.push(&$rule, vec![$($arg.into()),*], vec![], None)
        }
    )*};
}

impl Path {
    /// The path that stays where it is.
    pub fn new() -> Path {
        Path::default()
    }

    pub(crate) fn push(mut self, rule: &'static Rule, args: Vec<Arg>, paths: Vec<Path>, func: Option<Func>) -> Path {
        self.navs.push(Nav { rule, args, paths, func, custom: None });
        self
    }

    navigators! {
        /// The value under a key; null if there is none (PTH-01).
        key(key) => nav::map::KEY;
        /// The value under a key, or nowhere (PTH-02).
        must(key) => nav::map::MUST;
        /// The key itself, if present; replacing it renames (PTH-07).
        map_key(key) => nav::map::MAP_KEY;
        /// Every element, or every `[key, value]` pair (PTH-05).
        all() => nav::each::ALL;
        /// Every value of a map (PTH-06).
        map_vals() => nav::each::MAP_VALS;
        /// Every key of a map (PTH-06).
        map_keys() => nav::each::MAP_KEYS;
        /// The sub-map of the keys in a list or set (PTH-15).
        submap(keys) => nav::map::SUBMAP;
        /// The subset of the elements in a list or set (PTH-15).
        subset(elements) => nav::set::SUBSET;
        /// The element at an index; an error outside (PTH-03).
        nth(index) => nav::list::NTH;
        /// The first element, or nowhere (PTH-04).
        first() => nav::list::FIRST;
        /// The last element, or nowhere (PTH-04).
        last() => nav::list::LAST;
        /// The virtual place before the first element (PTH-10).
        before_elem() => nav::list::BEFORE_ELEM;
        /// The virtual place after the last element (PTH-10).
        after_elem() => nav::list::AFTER_ELEM;
        /// The virtual place before an index (PTH-11).
        before_index(index) => nav::list::BEFORE_INDEX;
        /// The empty sub-list at the start (PTH-12).
        beginning() => nav::list::BEGINNING;
        /// The empty sub-list at the end (PTH-12).
        end() => nav::list::END;
        /// The sub-list `[from, to)` as one value (PTH-13).
        sublist(from, to) => nav::list::SUBLIST;
        /// A set element, if present (PTH-08).
        set_elem(element) => nav::set::SET_ELEM;
        /// The virtual place of a new set element (PTH-09).
        void_set_elem() => nav::set::VOID_SET_ELEM;
        /// Continues if the value equals the argument (PTH-22).
        filter_equal(other) => nav::filter::EQUAL;
        /// Continues if the value differs from the argument (PTH-22).
        filter_not_equal(other) => nav::filter::NOT_EQUAL;
        /// Continues if the value is less (PTH-22).
        filter_less_than(other) => nav::filter::LESS_THAN;
        /// Continues if the value is less or equal (PTH-22).
        filter_less_than_or_equal(other) => nav::filter::LESS_THAN_OR_EQUAL;
        /// Continues if the value is greater (PTH-22).
        filter_greater_than(other) => nav::filter::GREATER_THAN;
        /// Continues if the value is greater or equal (PTH-22).
        filter_greater_than_or_equal(other) => nav::filter::GREATER_THAN_OR_EQUAL;
        /// Reads null as this value (PTH-26).
        null_to_val(default) => nav::view::NULL_TO_VAL;
        /// Reads void as this value, in transforms (PTH-27).
        void_to_val(default) => nav::view::VOID_TO_VAL;
        /// The index itself, if there is an element; replacing it moves the element (PTH-34).
        index_nav(index) => nav::index::INDEX_NAV;
        /// Every `[index, element]` pair (PTH-34).
        indexed_vals() => nav::index::INDEXED_VALS;
        /// Sets a value aside (PTH-35).
        put_collected(value) => nav::collect::PUT_COLLECTED;
        /// Sets the value it stands on aside (PTH-35).
        val() => nav::collect::VAL;
        /// Forgets what was set aside (PTH-36).
        dispense_collected() => nav::collect::DISPENSE_COLLECTED;
        /// The list of what was set aside and the value, as one value (PTH-35).
        collected() => nav::collect::COLLECTED;
        /// How many elements there are; null has none (PTH-24).
        size() => nav::view::SIZE;
        /// Where it is (PTH-28).
        stay() => nav::branch::STAY;
        /// Nowhere (PTH-28).
        stop() => nav::branch::STOP;
        /// Replaces by a value (PTH-38).
        term_val(value) => nav::term::TERM_VAL;
        /// Removes (PTH-40).
        term_void() => nav::term::TERM_VOID;
        /// The first `count` entries (PTH-19).
        sorted_map_range_from_start(count) => nav::range::MAP_RANGE_FROM_START;
        /// The last `count` entries (PTH-19).
        sorted_map_range_to_end(count) => nav::range::MAP_RANGE_TO_END;
        /// The first `count` elements (PTH-20).
        sorted_set_range_from_start(count) => nav::range::SET_RANGE_FROM_START;
        /// The last `count` elements (PTH-20).
        sorted_set_range_to_end(count) => nav::range::SET_RANGE_TO_END;
    }

    /// [`Path::key`] for several keys, each inside the value of the one before (PTH-01).
    pub fn keys(self, keys: impl IntoIterator<Item = Arg>) -> Path {
        keys.into_iter().fold(self, Path::key)
    }

    /// [`Path::must`] for several keys, each inside the value of the one before (PTH-02).
    pub fn must_keys(self, keys: impl IntoIterator<Item = Arg>) -> Path {
        keys.into_iter().fold(self, Path::must)
    }

    /// [`Path::nth`] for several indexes, each inside the element of the one before (PTH-03).
    pub fn nth_path(self, indexes: impl IntoIterator<Item = Arg>) -> Path {
        indexes.into_iter().fold(self, Path::nth)
    }

    /// Reads null as an empty list (PTH-26).
    pub fn null_to_list(self) -> Path {
        self.null_to_val(Value::List(vec![]))
    }

    /// Reads null as an empty set (PTH-26).
    pub fn null_to_set(self) -> Path {
        self.null_to_val(Value::Set(vec![]))
    }

    /// Reads null as an empty map (PTH-26).
    pub fn null_to_map(self) -> Path {
        self.null_to_val(Value::Map(vec![]))
    }

    /// The sub-map of keys in `[from, to)` (PTH-16).
    pub fn sorted_map_range(self, from: impl Into<Arg>, to: impl Into<Arg>) -> Path {
        self.sorted_map_range_with(from, true, to, false)
    }

    /// The subset of elements in `[from, to)` (PTH-20).
    pub fn sorted_set_range(self, from: impl Into<Arg>, to: impl Into<Arg>) -> Path {
        self.sorted_set_range_with(from, true, to, false)
    }

    /// [`Path::sorted_map_range`] that says for each end whether it is part of the range.
    pub fn sorted_map_range_with(
        self,
        from: impl Into<Arg>,
        from_included: bool,
        to: impl Into<Arg>,
        to_included: bool,
    ) -> Path {
        let args = vec![from.into(), to.into(), flag(from_included), flag(to_included)];
        self.push(&nav::range::MAP_RANGE, args, vec![], None)
    }

    /// [`Path::sorted_set_range`] that says for each end whether it is part of the range.
    pub fn sorted_set_range_with(
        self,
        from: impl Into<Arg>,
        from_included: bool,
        to: impl Into<Arg>,
        to_included: bool,
    ) -> Path {
        let args = vec![from.into(), to.into(), flag(from_included), flag(to_included)];
        self.push(&nav::range::SET_RANGE, args, vec![], None)
    }

    /// From a key on, ascending; at most `count_max` entries (PTH-17).
    pub fn sorted_map_range_from(self, from: impl Into<Arg>, from_included: bool, count_max: Option<u64>) -> Path {
        let args = vec![from.into(), flag(from_included), count(count_max)];
        self.push(&nav::range::MAP_RANGE_FROM, args, vec![], None)
    }

    /// Up to a key; at most the `count_max` entries nearest to it, still ascending (PTH-18).
    pub fn sorted_map_range_to(self, to: impl Into<Arg>, to_included: bool, count_max: Option<u64>) -> Path {
        let args = vec![to.into(), flag(to_included), count(count_max)];
        self.push(&nav::range::MAP_RANGE_TO, args, vec![], None)
    }

    /// From an element on, ascending; at most `count_max` elements (PTH-20).
    pub fn sorted_set_range_from(self, from: impl Into<Arg>, from_included: bool, count_max: Option<u64>) -> Path {
        let args = vec![from.into(), flag(from_included), count(count_max)];
        self.push(&nav::range::SET_RANGE_FROM, args, vec![], None)
    }

    /// Up to an element; at most the `count_max` elements nearest to it, still ascending (PTH-20).
    pub fn sorted_set_range_to(self, to: impl Into<Arg>, to_included: bool, count_max: Option<u64>) -> Path {
        let args = vec![to.into(), flag(to_included), count(count_max)];
        self.push(&nav::range::SET_RANGE_TO, args, vec![], None)
    }

    /// Continues if the closure's answer is neither null nor false (PTH-21).
    pub fn filter_pred(self, test: Func) -> Path {
        self.filter_pred_extra(test, vec![])
    }

    /// [`Path::filter_pred`] with more arguments for the closure (PTH-21).
    pub fn filter_pred_extra(self, test: Func, extra: Vec<Arg>) -> Path {
        self.push(&nav::filter::PRED, extra, vec![], Some(test))
    }

    /// Continues if the path selects something from here (PTH-23).
    pub fn filter_selected(self, path: Path) -> Path {
        self.push(&nav::filter::SELECTED, vec![], vec![path], None)
    }

    /// Continues if the path selects nothing from here (PTH-23).
    pub fn filter_not_selected(self, path: Path) -> Path {
        self.push(&nav::filter::NOT_SELECTED, vec![], vec![path], None)
    }

    /// Continues at the closure's answer (PTH-24).
    pub fn view(self, view: Func, extra: Vec<Arg>) -> Path {
        self.push(&nav::view::VIEW, extra, vec![], Some(view))
    }

    /// Continues at what a transform path makes of the value; writes nothing (PTH-25).
    pub fn transformed(self, path: Path) -> Path {
        self.push(&nav::view::TRANSFORMED, vec![], vec![path], None)
    }

    /// If `cond` selects something, along `then`, else along `otherwise` or nowhere (PTH-29).
    pub fn if_path(self, cond: Path, then: Path, otherwise: Option<Path>) -> Path {
        let mut paths = vec![cond, then];
        paths.extend(otherwise);
        self.push(&nav::branch::IF_PATH, vec![], paths, None)
    }

    /// Along the path of the first condition that selects something (PTH-30).
    pub fn cond_path(self, arms: impl IntoIterator<Item = (Path, Path)>) -> Path {
        let paths = arms.into_iter().flat_map(|(cond, then)| [cond, then]).collect();
        self.push(&nav::branch::COND_PATH, vec![], paths, None)
    }

    /// Along each path in turn; in a transform each sees what the ones before it made (PTH-31).
    pub fn multi_path(self, paths: impl IntoIterator<Item = Path>) -> Path {
        self.push(&nav::branch::MULTI_PATH, vec![], paths.into_iter().collect(), None)
    }

    /// The list of everything the path selects, as one value (PTH-32).
    pub fn subselect(self, path: Path) -> Path {
        self.push(&nav::view::SUBSELECT, vec![], vec![path], None)
    }

    /// The list of the elements from which the path selects something, as one value (PTH-14).
    pub fn filtered_list(self, path: Path) -> Path {
        self.push(&nav::list::FILTERED_LIST, vec![], vec![path], None)
    }

    /// Each longest run of neighbours from which the path selects something, as a list of its own (PTH-34).
    pub fn continuous_subseqs(self, path: Path) -> Path {
        self.push(&nav::index::CONTINUOUS_SUBSEQS, vec![], vec![path], None)
    }

    /// The sub-list between bounds that closures make of the list; the second also gets the first bound (PTH-13).
    pub fn sublist_by(self, from: Func, to: Func) -> Path {
        self.sublist_between(Func::both(from, to))
    }

    /// The sub-list between the bounds `[from, to]` that a closure makes of the list (PTH-13).
    pub fn sublist_between(self, bounds: Func) -> Path {
        self.push(&nav::list::SUBLIST_BY, vec![], vec![], Some(bounds))
    }

    /// Sets the one value of the path aside (PTH-35).
    pub fn collect_one(self, path: Path) -> Path {
        self.push(&nav::collect::COLLECT_ONE, vec![], vec![path], None)
    }

    /// Sets the list of everything the path selects aside (PTH-35).
    pub fn collect(self, path: Path) -> Path {
        self.push(&nav::collect::COLLECT, vec![], vec![path], None)
    }

    /// Continues if the closure says so of the list of what was set aside (PTH-36).
    pub fn is_collected(self, test: Func) -> Path {
        self.push(&nav::collect::IS_COLLECTED, vec![], vec![], Some(test))
    }

    /// Along the path with nothing set aside; after it, with what there was before (PTH-36).
    pub fn with_fresh_collected(self, path: Path) -> Path {
        self.push(&nav::collect::WITH_FRESH_COLLECTED, vec![], vec![path], None)
    }

    /// Along the path; a select that comes in pages reads so many entries at a time (PTH-37).
    pub fn with_page_size(self, entry_count: u64, path: Path) -> Path {
        self.push(&nav::branch::WITH_PAGE_SIZE, vec![Arg::Const(Value::U64(entry_count))], vec![path], None)
    }

    /// Along the path, then where it is (PTH-33).
    pub fn continue_then_stay(self, path: Path) -> Path {
        self.multi_path([path, Path::new()])
    }

    /// Where it is, then along the path (PTH-33).
    pub fn stay_then_continue(self, path: Path) -> Path {
        self.multi_path([Path::new(), path])
    }

    /// A navigator of the author's own (PTH-43).
    pub fn custom_nav(self, custom: Custom) -> Path {
        self.custom_nav_with(custom, vec![])
    }

    /// A navigator of the author's own that is built from arguments (PTH-43).
    pub fn custom_nav_with(self, custom: Custom, args: Vec<Arg>) -> Path {
        let mut path = self.push(&nav::custom::CUSTOM_NAV, args, vec![], None);
        path.navs.last_mut().expect("invariant: just pushed").custom = Some(custom);
        path
    }

    /// Replaces by the closure's answer (PTH-39).
    pub fn term(self, func: Func, extra: Vec<Arg>) -> Path {
        self.push(&nav::term::TERM_FUNC, extra, vec![], Some(func))
    }

    /// This path, then another.
    pub fn then(mut self, next: Path) -> Path {
        self.navs.extend(next.navs);
        self
    }

    /// True if there is no navigator.
    pub fn is_empty(&self) -> bool {
        self.navs.is_empty()
    }

    /// The key the path starts with, if it starts with `key` or `must`: what a key partitioner needs (PTH-47).
    pub fn leading_key(&self) -> Option<&Arg> {
        let first = self.navs.first()?;
        if first.is(&nav::branch::WITH_PAGE_SIZE) {
            return first.paths[0].leading_key();
        }
        (first.is(&nav::map::KEY) || first.is(&nav::map::MUST)).then(|| &first.args[0])
    }

    /// The path without a `with_page_size` at its start, and that page size.
    pub(crate) fn unpaged(&self) -> (Cow<'_, Path>, Option<usize>) {
        match self.navs.split_first() {
            Some((paged, rest)) if paged.is(&nav::branch::WITH_PAGE_SIZE) => {
                let mut path = paged.paths[0].clone();
                path.navs.extend_from_slice(rest);
                let Arg::Const(size) = &paged.args[0] else { return (Cow::Owned(path), None) };
                (Cow::Owned(path), size.as_u64().and_then(|size| usize::try_from(size).ok()))
            }
            _ => (Cow::Borrowed(self), None),
        }
    }

    /// Whether the path, as a transform path, ends in a term navigator wherever it ends (PTH-41).
    pub fn check_transform(&self) -> Result<(), PathError> {
        self.check_size().map_err(|()| PathError::TooLarge)?;
        self.check_terminated()
    }

    fn check_terminated(&self) -> Result<(), PathError> {
        let Some((last, before)) = self.navs.split_last() else { return Err(PathError::NoTerminal) };
        for nav in before {
            nav.check_passage()?;
        }
        if last.rule.terminal || last.is(&nav::branch::STOP) {
            return Ok(());
        }
        let mut continues = false;
        for (index, path) in last.paths.iter().enumerate() {
            if (last.rule.continues)(index) {
                continues = true;
                path.check_terminated()?;
            } else {
                path.check_unterminated()?;
            }
        }
        if continues { Ok(()) } else { Err(PathError::NoTerminal) }
    }

    /// Whether the path, as a select path, holds no term navigator but inside `transformed`.
    pub fn check_select(&self) -> Result<(), PathError> {
        self.check_size().map_err(|()| PathError::TooLarge)?;
        self.check_unterminated()
    }

    fn check_unterminated(&self) -> Result<(), PathError> {
        self.navs.iter().try_for_each(Nav::check_passage)
    }

    /// Calls `visit` with every slot the path reads, sub-paths included.
    pub fn each_slot(&self, visit: &mut dyn FnMut(u32)) {
        for nav in &self.navs {
            for arg in &nav.args {
                if let Arg::Slot(slot) = arg {
                    visit(*slot);
                }
            }
            nav.paths.iter().for_each(|path| path.each_slot(visit));
        }
    }

    /// The same path with its slots renumbered.
    pub fn map_slots(&self, rename: &mut dyn FnMut(u32) -> u32) -> Path {
        self.map_args(&mut |arg| match arg {
            Arg::Slot(slot) => Arg::Slot(rename(*slot)),
            Arg::Const(value) => Arg::Const(value.clone()),
        })
    }

    /// The same path with every slot replaced by its present value, fit to be sent.
    pub fn bind(&self, args: &dyn Args) -> Path {
        self.map_args(&mut |arg| match arg {
            Arg::Const(value) => Arg::Const(value.clone()),
            Arg::Slot(slot) => {
                let mut bytes = Vec::new();
                args.value(*slot, &mut bytes);
                Arg::Const(Value::decode(&bytes).expect("invariant: a slot writes one value form"))
            }
        })
    }

    fn map_args(&self, change: &mut dyn FnMut(&Arg) -> Arg) -> Path {
        let navs = self.navs.iter().map(|nav| Nav {
            rule: nav.rule,
            args: nav.args.iter().map(&mut *change).collect(),
            paths: nav.paths.iter().map(|path| path.map_args(change)).collect(),
            func: nav.func.clone(),
            custom: nav.custom.clone(),
        });
        Path { navs: navs.collect() }
    }

    /// Whether any navigator holds a user closure, or is the user's own.
    pub fn has_closure(&self) -> bool {
        let held = |nav: &Nav| nav.func.is_some() || nav.custom.is_some();
        self.navs.iter().any(|nav| held(nav) || nav.paths.iter().any(Path::has_closure))
    }
}

impl Nav {
    /// As a navigator that is not the last of a transform path, or is in a select path: no terminal here or
    /// at the end of a branch.
    fn check_passage(&self) -> Result<(), PathError> {
        if self.rule.terminal {
            return Err(PathError::MisplacedTerminal { navigator: self.rule.name });
        }
        if self.is(&nav::view::TRANSFORMED) {
            return self.paths.iter().try_for_each(Path::check_terminated);
        }
        self.paths.iter().try_for_each(Path::check_unterminated)
    }
}

fn flag(value: bool) -> Arg {
    Arg::Const(Value::Bool(value))
}

fn count(value: Option<u64>) -> Arg {
    Arg::Const(value.map_or(Value::Null, Value::U64))
}

impl Path {
    /// Written as it is built, its slots under the names that `name` gives them.
    pub fn show(&self, name: &dyn Fn(u32) -> String) -> String {
        if self.navs.is_empty() {
            return "stay".to_owned();
        }
        self.navs.iter().map(|nav| nav.show(name)).collect::<Vec<_>>().join(".")
    }
}

impl Nav {
    fn show(&self, name: &dyn Fn(u32) -> String) -> String {
        let args = self.args.iter().map(|arg| arg.show(name));
        let func = self.func.iter().map(Func::name).chain(self.custom.iter().map(Custom::name)).map(str::to_owned);
        let parts: Vec<String> = func.chain(args).chain(self.paths.iter().map(|path| path.show(name))).collect();
        if parts.is_empty() { self.rule.name.to_owned() } else { format!("{}({})", self.rule.name, parts.join(", ")) }
    }
}

impl Arg {
    /// A constant in a few words, or the name that `name` gives the slot.
    pub(crate) fn show(&self, name: &dyn Fn(u32) -> String) -> String {
        match self {
            Arg::Const(value) => crate::show::brief(value),
            Arg::Slot(slot) => name(*slot),
        }
    }
}

fn numbered(slot: u32) -> String {
    format!("slot {slot}")
}

/// Written as it is built: `key("a").all.term_val(1)`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show(&numbered))
    }
}

impl fmt::Display for Nav {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show(&numbered))
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({self})")
    }
}

impl fmt::Debug for Nav {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
