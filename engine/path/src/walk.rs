//! Following a path on a plain value: the meaning every other evaluation must agree with.
//!
//! Navigators are continuations: each gets a place and calls on with the places it leads to. A select passes
//! values down. A transform passes them down and gives back what they became, with *void* (`None`) for a
//! place that is not there: an absent key comes in as void and is read as null, and what comes back void is
//! removed or stays absent. So a transform that changes nothing also creates nothing.

use crate::arg::{Arg, Args};
use crate::error::PathError;
use crate::func::Func;
use crate::limit::STEP_COUNT_MAX;
use crate::path::{Nav, Path};
use crate::show::brief;
use std::borrow::Cow;
use std::ops::ControlFlow;
use tantu_base::limit::VALUE_DEPTH_MAX;
use tantu_base::value::Value;

/// Whether to go on visiting, or why not.
pub type Visited = Result<ControlFlow<()>, PathError>;
/// Where a select goes on.
pub(crate) type Next<'n> = &'n mut dyn FnMut(&mut Cx<'_>, &Value) -> Visited;
/// What a place becomes; void is `None`.
pub type Rebuilt = Result<Option<Value>, PathError>;
/// Where a transform goes on.
pub(crate) type Swap<'n> = &'n mut dyn FnMut(&mut Cx<'_>, Option<Value>) -> Rebuilt;

/// What all navigators of one evaluation share.
pub(crate) struct Cx<'a> {
    pub(crate) args: &'a dyn Args,
    /// What the collecting navigators on the way here set aside (PTH-35).
    pub(crate) collected: Vec<Value>,
    steps_left: u64,
}

impl<'a> Cx<'a> {
    pub(crate) fn new(args: &'a dyn Args) -> Cx<'a> {
        Cx { args, collected: Vec::new(), steps_left: STEP_COUNT_MAX }
    }

    /// Goes on with one more value set aside.
    pub(crate) fn with_collected<R>(&mut self, value: Value, on: impl FnOnce(&mut Self) -> R) -> R {
        self.collected.push(value);
        let outcome = on(self);
        self.collected.pop();
        outcome
    }

    /// Goes on with these values set aside instead of those there are.
    pub(crate) fn instead_collected<R>(&mut self, values: Vec<Value>, on: impl FnOnce(&mut Self) -> R) -> R {
        let before = std::mem::replace(&mut self.collected, values);
        let outcome = on(self);
        self.collected = before;
        outcome
    }

    /// What a select gives for a found value: the value, after whatever was collected for it.
    pub(crate) fn result<'v>(&self, found: &'v Value) -> Cow<'v, Value> {
        if self.collected.is_empty() {
            return Cow::Borrowed(found);
        }
        Cow::Owned(Value::List(self.collected.iter().chain([found]).cloned().collect()))
    }

    fn step(&mut self) -> Result<(), PathError> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or(PathError::TooManySteps)?;
        Ok(())
    }

    /// The value of an argument.
    pub(crate) fn arg<'n>(&self, nav: &'n Nav, index: usize) -> Result<Cow<'n, Value>, PathError> {
        match &nav.args[index] {
            Arg::Const(value) => Ok(Cow::Borrowed(value)),
            Arg::Slot(slot) => {
                let mut bytes = Vec::new();
                self.args.value(*slot, &mut bytes);
                Ok(Cow::Owned(decode(nav, &bytes)?))
            }
        }
    }

    /// An argument that is a place or an amount.
    pub(crate) fn arg_int(&self, nav: &Nav, index: usize) -> Result<i64, PathError> {
        let value = self.arg(nav, index)?;
        match *value {
            Value::I64(v) => Ok(v),
            Value::U64(v) => Ok(i64::try_from(v).unwrap_or(i64::MAX)),
            _ => Err(nav.argument(format!("needs an integer, not {}", brief(&value)))),
        }
    }

    /// The answer of the navigator's closure for a value; `None` is void.
    pub(crate) fn call(&self, nav: &Nav, at: &Value) -> Rebuilt {
        check_depth(at)?;
        let mut bytes = Vec::new();
        at.encode(&mut bytes);
        let mut answer = Vec::new();
        call_encoded(nav, self.args, &bytes, &mut answer)?;
        if answer.is_empty() {
            return Ok(None);
        }
        decode(nav, &answer).map(Some)
    }

    /// [`Cx::call`] of a term navigator: what was collected comes before the value (PTH-36).
    pub(crate) fn call_collected(&self, nav: &Nav, at: &Value) -> Rebuilt {
        if self.collected.is_empty() {
            return self.call(nav, at);
        }
        let mut forms = Vec::with_capacity(self.collected.len() + 1 + nav.args.len());
        for value in self.collected.iter().chain([at]) {
            check_depth(value)?;
            let mut form = Vec::new();
            value.encode(&mut form);
            forms.push(form);
        }
        forms.extend(nav.args.iter().map(|arg| value_form(arg, self.args)));
        let mut answer = Vec::new();
        call_forms(nav, &forms[0], &forms[1..], &mut answer)?;
        if answer.is_empty() { Ok(None) } else { decode(nav, &answer).map(Some) }
    }
}

/// Calls the navigator's closure on a value form.
pub(crate) fn call_encoded(nav: &Nav, args: &dyn Args, at: &[u8], out: &mut Vec<u8>) -> Result<(), PathError> {
    let extra: Vec<Vec<u8>> = nav.args.iter().map(|arg| value_form(arg, args)).collect();
    call_forms(nav, at, &extra, out)
}

fn call_forms(nav: &Nav, at: &[u8], extra: &[Vec<u8>], out: &mut Vec<u8>) -> Result<(), PathError> {
    let func: &Func = nav.func.as_ref().expect("invariant: the rule of this navigator wants a closure");
    out.clear();
    func.call(at, extra, out).map_err(|source| PathError::Closure {
        navigator: nav.rule.name,
        name: func.name(),
        source,
    })
}

fn value_form(arg: &Arg, args: &dyn Args) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_value_form(arg, args, &mut bytes);
    bytes
}

/// Appends the value form of an argument.
pub(crate) fn put_value_form<A: Args + ?Sized>(arg: &Arg, args: &A, out: &mut Vec<u8>) {
    match arg {
        Arg::Const(value) => value.encode(out),
        Arg::Slot(slot) => args.value(*slot, out),
    }
}

/// Appends the key form of an argument.
pub(crate) fn put_key_form<A: Args + ?Sized>(arg: &Arg, args: &A, out: &mut Vec<u8>) {
    match arg {
        Arg::Const(value) => value.encode_key(out),
        Arg::Slot(slot) => args.key(*slot, out),
    }
}

fn decode(nav: &Nav, bytes: &[u8]) -> Result<Value, PathError> {
    Value::decode(bytes).map_err(|source| PathError::Bytes { navigator: nav.rule.name, source })
}

/// Whether the value can be encoded at all.
pub(crate) fn check_depth(value: &Value) -> Result<(), PathError> {
    fn within(value: &Value, levels: usize) -> bool {
        let below = |v: &Value| levels > 0 && within(v, levels - 1);
        match value {
            Value::List(of) | Value::Set(of) => levels > 0 && of.iter().all(below),
            Value::Map(of) => levels > 0 && of.iter().all(|(k, v)| below(k) && below(v)),
            Value::Record(of) => levels > 0 && of.iter().all(|(_, v)| below(v)),
            _ => true,
        }
    }
    if within(value, VALUE_DEPTH_MAX) { Ok(()) } else { Err(PathError::TooDeep) }
}

/// Follows the navigators from a value and goes on with whatever they lead to.
pub(crate) fn walk(navs: &[Nav], at: &Value, cx: &mut Cx<'_>, next: Next<'_>) -> Visited {
    cx.step()?;
    match navs.split_first() {
        None => next(cx, at),
        Some((nav, rest)) => (nav.rule.select)(nav, at, cx, &mut |cx, value| walk(rest, value, cx, next)),
    }
}

/// Whether the navigators lead anywhere from a value, with nothing collected yet.
pub(crate) fn leads_anywhere(navs: &[Nav], at: &Value, cx: &mut Cx<'_>) -> Result<bool, PathError> {
    cx.instead_collected(vec![], |cx| Ok(walk(navs, at, cx, &mut |_, _| Ok(ControlFlow::Break(())))?.is_break()))
}

/// Every result of the navigators from a value, with nothing collected yet.
pub(crate) fn results(navs: &[Nav], at: &Value, cx: &mut Cx<'_>) -> Result<Vec<Value>, PathError> {
    let mut found = Vec::new();
    let visited = cx.instead_collected(vec![], |cx| {
        walk(navs, at, cx, &mut |cx, value| {
            found.push(cx.result(value).into_owned());
            Ok(ControlFlow::Continue(()))
        })
    });
    visited.map(|_| found)
}

/// Follows the navigators from a place, lets `swap` replace what they lead to, and gives back what the place
/// became.
pub(crate) fn rebuild(navs: &[Nav], at: Option<Value>, cx: &mut Cx<'_>, swap: Swap<'_>) -> Rebuilt {
    cx.step()?;
    match navs.split_first() {
        None => swap(cx, at),
        Some((nav, rest)) => (nav.rule.transform)(nav, at, cx, &mut |cx, place| rebuild(rest, place, cx, swap)),
    }
}

/// [`rebuild`] of a path that was checked to end in term navigators.
pub(crate) fn rebuild_terminated(navs: &[Nav], at: Option<Value>, cx: &mut Cx<'_>) -> Rebuilt {
    rebuild(navs, at, cx, &mut |_, _| Err(PathError::NoTerminal))
}

/// Visits every value the path navigates to, in order, until the visitor breaks.
pub fn select_each(
    path: &Path,
    value: &Value,
    args: &dyn Args,
    visit: &mut dyn FnMut(&Value) -> ControlFlow<()>,
) -> Result<(), PathError> {
    path.check_select()?;
    walk(&path.navs, value, &mut Cx::new(args), &mut |cx, found| Ok(visit(&cx.result(found)))).map(drop)
}

/// Every value the path navigates to, in order.
///
/// ```
/// use tantu_base::value::Value;
/// use tantu_path::{NoArgs, Path, select};
///
/// let ages = Value::map([(Value::Str("ann".into()), Value::I64(41)), (Value::Str("bob".into()), Value::I64(7))]);
/// let adults = Path::new().map_vals().filter_greater_than(Value::I64(17));
/// assert_eq!(select(&adults, &ages, &NoArgs)?, [Value::I64(41)]);
/// # Ok::<(), tantu_path::PathError>(())
/// ```
pub fn select(path: &Path, value: &Value, args: &dyn Args) -> Result<Vec<Value>, PathError> {
    let mut found = Vec::new();
    select_each(path, value, args, &mut |value| {
        found.push(value.clone());
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// What the value becomes when the transform path is applied. At the top there is nothing to remove from, so
/// an outcome of void is an error.
///
/// ```
/// use tantu_base::value::Value;
/// use tantu_path::{NoArgs, Path, transform};
///
/// let key = || Value::Str("visits".into());
/// let bump = Path::new().key(key()).null_to_val(Value::I64(0)).term(tantu_path::Func::unary(|n: i64| n + 1), vec![]);
/// assert_eq!(transform(&bump, Value::Null, &NoArgs)?, Value::map([(key(), Value::I64(1))]));
/// # Ok::<(), tantu_path::PathError>(())
/// ```
pub fn transform(path: &Path, value: Value, args: &dyn Args) -> Result<Value, PathError> {
    path.check_transform()?;
    let value = rebuild_terminated(&path.navs, Some(value), &mut Cx::new(args))?.ok_or(PathError::VoidAtTop)?;
    check_depth(&value)?;
    Ok(value)
}
