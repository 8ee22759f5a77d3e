//! Following a path, step by step: a way with branches is followed by putting the branch before the rest.

use super::apart::apart;
use super::data::{Data, Fault, Place, list_at, read};
use super::step::{Path, Step};
use std::collections::VecDeque;

/// What a select found before it came to its end, or to a fault.
#[derive(Default)]
struct Found {
    results: Vec<Data>,
    fault: Option<Fault>,
}

/// A step of a path that is being followed: the user's, or one that belongs to the following.
#[derive(Clone)]
enum Going {
    User(Step),
    /// After `with_fresh_collected`: what was set aside before is set aside again.
    Restore(Vec<Data>),
    /// At the end of a `subselect` in a transform: the next element of its list, or void.
    Next,
}

type Way = VecDeque<Going>;

fn way(path: &[Step]) -> Way {
    path.iter().cloned().map(Going::User).collect()
}

fn before(path: &[Step], rest: &Way) -> Way {
    way(path).into_iter().chain(rest.iter().cloned()).collect()
}

/// Everything a path selects, in order.
///
/// # Errors
/// The path does not fit the value.
pub fn select(path: &[Step], value: &Data) -> Result<Vec<Data>, Fault> {
    let mut found = Found::default();
    look(way(path), value, &[], &mut found);
    match found.fault {
        None => Ok(found.results),
        Some(fault) => Err(fault),
    }
}

/// Whether a path selects something. Nothing is asked of the value after the first result.
pub(crate) fn leads_somewhere(path: &[Step], value: &Data) -> Result<bool, Fault> {
    let mut found = Found::default();
    look(way(path), value, &[], &mut found);
    match found.fault {
        _ if !found.results.is_empty() => Ok(true),
        None => Ok(false),
        Some(fault) => Err(fault),
    }
}

/// What was set aside, and then the value.
fn result(aside: &[Data], value: &Data) -> Data {
    if aside.is_empty() { value.clone() } else { Data::List(aside.iter().chain([value]).cloned().collect()) }
}

fn with(aside: &[Data], more: Data) -> Vec<Data> {
    aside.iter().cloned().chain([more]).collect()
}

fn look(mut way: Way, value: &Data, aside: &[Data], found: &mut Found) {
    if found.fault.is_some() {
        return;
    }
    let Some(going) = way.pop_front() else { return found.results.push(result(aside, value)) };
    if let Err(fault) = look_further(going, way, value, aside, found) {
        found.fault = Some(fault);
    }
}

fn look_further(going: Going, rest: Way, value: &Data, aside: &[Data], found: &mut Found) -> Result<(), Fault> {
    let step = match going {
        Going::User(step) => step,
        Going::Restore(aside) => {
            look(rest, value, &aside, found);
            return Ok(());
        }
        Going::Next => unreachable!("only a transform gives elements back"),
    };
    if let Some(aside) = set_aside(&step, value, aside)? {
        look(rest, value, &aside, found);
        return Ok(());
    }
    match &step {
        Step::AfterElem | Step::BeforeElem | Step::BeforeIndex(_) | Step::VoidSetElem => {}
        Step::Transformed(path) => {
            if let Some(made) = change(way(path), Some(value.clone()), &[], &mut VecDeque::new())? {
                look(rest, &made, aside, found);
            }
        }
        Step::Size => look(rest, &Data::Nat(size(value)?), aside, found),
        Step::Subselect(path) => look(rest, &Data::List(select(path, value)?), aside, found),
        Step::Multi(paths) => paths.iter().for_each(|path| look(before(path, &rest), value, aside, found)),
        Step::If(..) | Step::Cond(_) => {
            if let Some(path) = chosen(&step, value)? {
                look(before(path, &rest), value, aside, found);
            }
        }
        Step::WithPageSize(_, path) => look(before(path, &rest), value, aside, found),
        Step::WithFreshCollected(path) => look(fresh(path, aside, &rest), value, &[], found),
        Step::Collected => look(rest, &result(aside, value), &[], found),
        Step::IsCollected(test) if is_collected(*test, aside) => look(rest, value, aside, found),
        Step::IsCollected(_) => {}
        Step::TermVal(_) | Step::Term(..) | Step::TermVoid => return Err(Fault("a select changes nothing".to_owned())),
        _ => {
            for place in apart(&step, Some(value.clone()))?.places {
                match (place, &step) {
                    // A key that is absent is a place all the same; it reads as null.
                    (None, Step::Key(_)) => look(rest.clone(), &Data::Null, aside, found),
                    (None, _) => {}
                    (Some(value), _) => look(rest.clone(), &value, aside, found),
                }
            }
        }
    }
    Ok(())
}

/// Null is nothing, and what has no elements has no size.
fn size(value: &Data) -> Result<u64, Fault> {
    match value {
        Data::Null => Ok(0),
        Data::List(of) => Ok(of.len() as u64),
        Data::Set(of) => Ok(of.len() as u64),
        Data::Map(of) => Ok(of.len() as u64),
        other => Err(Fault(format!("{other:?} has no elements"))),
    }
}

fn fresh(path: &[Step], aside: &[Data], rest: &Way) -> Way {
    let restored: Way = [Going::Restore(aside.to_vec())].into_iter().chain(rest.iter().cloned()).collect();
    before(path, &restored)
}

/// What is set aside after a step that only does that, if it is one and goes on.
fn set_aside(step: &Step, value: &Data, aside: &[Data]) -> Result<Option<Vec<Data>>, Fault> {
    Ok(Some(match step {
        Step::CollectOne(path) => match &select(path, value)?[..] {
            [one] => with(aside, one.clone()),
            other => return Err(Fault(format!("{} values instead of one", other.len()))),
        },
        Step::Collect(path) => with(aside, Data::List(select(path, value)?)),
        Step::PutCollected(put) => with(aside, put.clone()),
        Step::Val => with(aside, value.clone()),
        Step::DispenseCollected => vec![],
        _ => return Ok(None),
    }))
}

/// The way of the first condition that leads somewhere.
fn chosen<'s>(step: &'s Step, value: &Data) -> Result<Option<&'s Path>, Fault> {
    match step {
        Step::If(cond, then, otherwise) => {
            Ok(if leads_somewhere(cond, value)? { Some(then) } else { otherwise.as_ref() })
        }
        Step::Cond(arms) => {
            for (cond, then) in arms {
                if leads_somewhere(cond, value)? {
                    return Ok(Some(then));
                }
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// What a transform path makes of a value.
///
/// # Errors
/// The path does not fit the value, or nothing would be left at the top.
pub fn transform(path: &[Step], value: Data) -> Result<Data, Fault> {
    let became = change(way(path), Some(value), &[], &mut VecDeque::new())?;
    became.ok_or_else(|| Fault("nothing to remove the top from".to_owned()))
}

/// What a place becomes. `given` are the elements that a `subselect` gives back.
fn change(mut way: Way, at: Place, aside: &[Data], given: &mut VecDeque<Data>) -> Result<Place, Fault> {
    let step = match way.pop_front() {
        None => return Err(Fault("no terminal".to_owned())),
        Some(Going::Restore(aside)) => return change(way, at, &aside, given),
        Some(Going::Next) => return Ok(given.pop_front()),
        Some(Going::User(step)) => step,
    };
    let rest = way;
    if let Some(aside) = set_aside(&step, &read(&at), aside)? {
        return change(rest, at, &aside, given);
    }
    match &step {
        Step::TermVal(value) => Ok(Some(value.clone())),
        Step::TermVoid => Ok(None),
        Step::Term(function, extra) => {
            let values: Vec<Data> = aside.iter().cloned().chain([read(&at)]).chain(extra.iter().cloned()).collect();
            Ok((function.call)(&values))
        }
        Step::IsCollected(test) if is_collected(*test, aside) => change(rest, at, aside, given),
        Step::IsCollected(_) => Ok(at),
        Step::Size => Err(Fault("a size is not changed".to_owned())),
        Step::Transformed(path) => {
            let made = change(self::way(path), at, &[], &mut VecDeque::new())?;
            change(rest, made, aside, given)
        }
        Step::Subselect(path) => {
            let found = Data::List(select(path, &read(&at))?);
            let mut new = VecDeque::from(list_at(&change(rest, Some(found), aside, given)?)?);
            change(before(path, &Way::from([Going::Next])), at, &[], &mut new)
        }
        Step::Multi(paths) => paths.iter().try_fold(at, |at, path| change(before(path, &rest), at, aside, given)),
        Step::If(..) | Step::Cond(_) => match chosen(&step, &read(&at))? {
            Some(path) => change(before(path, &rest), at, aside, given),
            None => Ok(at),
        },
        Step::WithPageSize(_, path) => change(before(path, &rest), at, aside, given),
        Step::WithFreshCollected(path) => change(fresh(path, aside, &rest), at, &[], given),
        Step::Collected if aside.is_empty() => change(rest, at, &[], given),
        Step::Collected => match change(rest, Some(result(aside, &read(&at))), &[], given)? {
            None => Ok(None),
            Some(Data::List(parts)) if !parts.is_empty() => Ok(parts.last().cloned()),
            Some(other) => Err(Fault(format!("{other:?} has no last part"))),
        },
        _ => {
            let taken = apart(&step, at)?;
            let became = taken.places.into_iter().map(|place| change(rest.clone(), place, aside, given));
            (taken.together)(became.collect::<Result<_, _>>()?)
        }
    }
}

fn is_collected(test: super::step::Function, aside: &[Data]) -> bool {
    (test.call)(&[Data::List(aside.to_vec())]).is_some_and(|answer| answer.truthy())
}
