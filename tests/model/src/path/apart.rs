//! A value taken apart: the places a navigator leads to, and how the whole is put together from what became of
//! them. A select looks at the places; a transform changes them and puts the whole together again.

use super::data::{Data, Fault, Place, list_at, map_at, read, set_at, unless_nothing};
use super::follow::leads_somewhere;
use super::step::{Compare, Range, Step};
use std::collections::{BTreeMap, BTreeSet};

type Together = Box<dyn FnOnce(Vec<Place>) -> Result<Place, Fault>>;

/// A value taken apart.
pub(crate) struct Apart {
    pub(crate) places: Vec<Place>,
    pub(crate) together: Together,
}

impl Apart {
    fn new(
        places: Vec<Place>,
        together: impl FnOnce(Vec<Place>) -> Result<Place, Fault> + 'static,
    ) -> Result<Apart, Fault> {
        Ok(Apart { places, together: Box::new(together) })
    }

    /// One place that is the whole.
    fn itself(at: Place) -> Result<Apart, Fault> {
        Apart::new(vec![at], |became| Ok(became.into_iter().next().flatten()))
    }

    /// The whole, as it is, and no place in it.
    fn nowhere(at: Place) -> Result<Apart, Fault> {
        Apart::new(vec![], |_| Ok(at))
    }

    fn itself_if(at: Place, goes_on: bool) -> Result<Apart, Fault> {
        if goes_on { Apart::itself(at) } else { Apart::nowhere(at) }
    }

    /// A list in which each of these places is replaced; the rest stays.
    fn of_list(at: Place, elements: Vec<Data>, indexes: Vec<usize>) -> Result<Apart, Fault> {
        let places = indexes.iter().map(|index| Some(elements[*index].clone())).collect();
        Apart::new(places, move |became| {
            let mut slots: Vec<Place> = elements.into_iter().map(Some).collect();
            indexes.into_iter().zip(became).for_each(|(index, new)| slots[index] = new);
            Ok(unless_nothing(at, Data::List(slots.into_iter().flatten().collect())))
        })
    }

    /// A part of a list as one place, which a list of any length replaces.
    fn of_part(at: Place, elements: Vec<Data>, from: usize, to: usize) -> Result<Apart, Fault> {
        let part = Data::List(elements[from..to].to_vec());
        Apart::new(vec![Some(part)], move |became| {
            let new = list_at(&became[0])?;
            Ok(unless_nothing(at, Data::List([&elements[..from], &new[..], &elements[to..]].concat())))
        })
    }

    /// A part of a map as one place, which another map replaces.
    fn of_submap(at: Place, mut others: BTreeMap<Data, Data>, keys: &BTreeSet<Data>) -> Result<Apart, Fault> {
        let part: BTreeMap<Data, Data> = keys.iter().filter_map(|key| others.remove_entry(key)).collect();
        Apart::new(vec![Some(Data::Map(part))], move |became| {
            others.extend(map_at(&became[0])?);
            Ok(unless_nothing(at, Data::Map(others)))
        })
    }

    /// A part of a set as one place, which another set replaces.
    fn of_subset(at: Place, whole: &BTreeSet<Data>, wanted: &BTreeSet<Data>) -> Result<Apart, Fault> {
        let mut others: BTreeSet<Data> = whole.difference(wanted).cloned().collect();
        let part = whole.intersection(wanted).cloned().collect();
        Apart::new(vec![Some(Data::Set(part))], move |became| {
            others.extend(set_at(&became[0])?);
            Ok(unless_nothing(at, Data::Set(others)))
        })
    }
}

/// Takes a place apart as a navigator sees it.
pub(crate) fn apart(step: &Step, at: Place) -> Result<Apart, Fault> {
    match step {
        Step::Key(_) | Step::Must(_) | Step::MapKey(_) | Step::MapVals | Step::MapKeys => of_entries(step, at),
        Step::Submap(keys) => Apart::of_submap(at.clone(), map_at(&at)?, &keys.iter().cloned().collect()),
        Step::Subset(elements) => Apart::of_subset(at.clone(), &set_at(&at)?, &elements.iter().cloned().collect()),
        Step::MapRange(range) => {
            let map = map_at(&at)?;
            let keys = within(range, map.keys());
            Apart::of_submap(at, map, &keys)
        }
        Step::SetRange(range) => {
            let set = set_at(&at)?;
            Apart::of_subset(at, &set, &within(range, set.iter()))
        }
        Step::All => of_all(at),
        Step::SetElem(_) | Step::VoidSetElem => of_set(step, at),
        Step::Pred(test) => {
            let goes_on = (test.call)(&[read(&at)]).is_some_and(|answer| answer.truthy());
            Apart::itself_if(at, goes_on)
        }
        Step::Filter(compare, other) => {
            let goes_on = holds(*compare, &read(&at), other)?;
            Apart::itself_if(at, goes_on)
        }
        Step::Selected(path) => {
            let goes_on = leads_somewhere(path, &read(&at))?;
            Apart::itself_if(at, goes_on)
        }
        Step::NotSelected(path) => {
            let goes_on = !leads_somewhere(path, &read(&at))?;
            Apart::itself_if(at, goes_on)
        }
        Step::View(function, extra) => {
            let given: Vec<Data> = [read(&at)].into_iter().chain(extra.iter().cloned()).collect();
            Apart::itself((function.call)(&given))
        }
        Step::NullTo(default) => Apart::itself(match at {
            None | Some(Data::Null) => Some(default.clone()),
            there => there,
        }),
        Step::VoidTo(default) => Apart::itself(at.or_else(|| Some(default.clone()))),
        Step::Stay => Apart::itself(at),
        Step::Stop => Apart::nowhere(at),
        _ => of_elements(step, at),
    }
}

fn of_entries(step: &Step, at: Place) -> Result<Apart, Fault> {
    let mut map = map_at(&at)?;
    match step {
        Step::Key(key) => {
            let (place, key) = (map.remove(key), key.clone());
            Apart::new(vec![place], move |became| {
                map.extend(became.into_iter().next().flatten().map(|value| (key, value)));
                Ok(unless_nothing(at, Data::Map(map)))
            })
        }
        Step::Must(key) if map.contains_key(key) => of_entries(&Step::Key(key.clone()), at),
        Step::MapKey(key) if map.contains_key(key) => {
            let value = map.remove(key).unwrap_or(Data::Null);
            Apart::new(vec![Some(key.clone())], move |became| {
                map.extend(became.into_iter().next().flatten().map(|renamed| (renamed, value)));
                Ok(Some(Data::Map(map)))
            })
        }
        Step::MapVals => {
            let (keys, values): (Vec<Data>, Vec<Data>) = map.into_iter().unzip();
            Apart::new(values.into_iter().map(Some).collect(), move |became| {
                let entries = keys.into_iter().zip(became).filter_map(|(key, value)| Some((key, value?)));
                Ok(unless_nothing(at, Data::map(entries)))
            })
        }
        Step::MapKeys => {
            let (keys, values): (Vec<Data>, Vec<Data>) = map.into_iter().unzip();
            Apart::new(keys.into_iter().map(Some).collect(), move |became| {
                let entries = became.into_iter().zip(values).filter_map(|(key, value)| Some((key?, value)));
                Ok(unless_nothing(at, Data::map(entries)))
            })
        }
        _ => Apart::nowhere(at),
    }
}

fn of_all(at: Place) -> Result<Apart, Fault> {
    match at.clone() {
        None | Some(Data::Null) => Apart::nowhere(at),
        Some(Data::List(elements)) => {
            let indexes = (0..elements.len()).collect();
            Apart::of_list(at, elements, indexes)
        }
        Some(Data::Set(elements)) => Apart::new(elements.into_iter().map(Some).collect(), |became| {
            Ok(Some(Data::set(became.into_iter().flatten())))
        }),
        Some(Data::Map(entries)) => {
            let pairs = entries.into_iter().map(|(key, value)| Some(Data::pair(key, value))).collect();
            Apart::new(pairs, |became| {
                let mut map = BTreeMap::new();
                for pair in became.into_iter().flatten() {
                    match pair {
                        Data::List(parts) if parts.len() == 2 => map.insert(parts[0].clone(), parts[1].clone()),
                        other => return Err(Fault(format!("{other:?} is no pair"))),
                    };
                }
                Ok(Some(Data::Map(map)))
            })
        }
        Some(other) => Err(Fault(format!("{other:?} is no collection"))),
    }
}

fn of_set(step: &Step, at: Place) -> Result<Apart, Fault> {
    let mut set = set_at(&at)?;
    let place = match step {
        Step::SetElem(element) if set.remove(element) => Some(element.clone()),
        Step::VoidSetElem => None,
        _ => return Apart::nowhere(at),
    };
    Apart::new(vec![place], move |became| {
        set.extend(became.into_iter().flatten());
        Ok(unless_nothing(at, Data::Set(set)))
    })
}

fn of_elements(step: &Step, at: Place) -> Result<Apart, Fault> {
    let elements = list_at(&at)?;
    let count = elements.len();
    let outside = |index: i64| Fault(format!("{index} is outside a list of {count}"));
    let up_to_count = |index: i64| usize::try_from(index).ok().filter(|index| *index <= count).ok_or(outside(index));
    match step {
        Step::Nth(index) => match up_to_count(*index)? {
            end if end == count => Err(outside(*index)),
            there => Apart::of_list(at, elements, vec![there]),
        },
        Step::First => Apart::of_list(at, elements, (0..count).take(1).collect()),
        Step::Last => Apart::of_list(at, elements, (0..count).rev().take(1).collect()),
        Step::BeforeElem => insertion(at, elements, 0),
        Step::AfterElem => insertion(at, elements, count),
        Step::BeforeIndex(index) => insertion(at, elements, up_to_count(*index)?),
        Step::Beginning => Apart::of_part(at, elements, 0, 0),
        Step::End => Apart::of_part(at, elements, count, count),
        Step::Sublist(from, to) => match (up_to_count(*from)?, up_to_count(*to)?) {
            (from, to) if from <= to => Apart::of_part(at, elements, from, to),
            _ => Err(Fault(format!("a part from {from} to {to}"))),
        },
        Step::SublistBy(bounds) => match (bounds.call)(&[Data::List(elements.clone())]) {
            Some(Data::List(made)) => match made[..] {
                [Data::Int(from), Data::Int(to)] => of_elements(&Step::Sublist(from, to), at),
                _ => Err(Fault(format!("{made:?} are no bounds"))),
            },
            other => Err(Fault(format!("{other:?} are no bounds"))),
        },
        Step::FilteredList(path) => filtered(at, elements, path),
        Step::IndexNav(index) => match usize::try_from(*index) {
            Ok(index) if index < count => moved(elements, index),
            _ => Apart::nowhere(at),
        },
        Step::IndexedVals => indexed(at, elements),
        Step::ContinuousSubseqs(path) => runs(at, elements, path),
        other => unreachable!("{other:?} is no navigator of elements"),
    }
}

/// A place between elements, in which there is nothing yet.
fn insertion(at: Place, elements: Vec<Data>, before: usize) -> Result<Apart, Fault> {
    Apart::new(vec![None], move |became| {
        let new: Vec<Data> = became.into_iter().flatten().collect();
        Ok(unless_nothing(at, Data::List([&elements[..before], &new[..], &elements[before..]].concat())))
    })
}

fn filtered(at: Place, elements: Vec<Data>, path: &[Step]) -> Result<Apart, Fault> {
    let mut chosen = Vec::new();
    for element in &elements {
        chosen.push(leads_somewhere(path, element)?);
    }
    let part = elements.iter().zip(&chosen).filter(|(_, chosen)| **chosen).map(|(element, _)| element.clone());
    let part = Data::List(part.collect());
    Apart::new(vec![Some(part)], move |became| {
        let new = list_at(&became[0])?;
        let places: Vec<usize> = (0..elements.len()).filter(|index| chosen[*index]).collect();
        let mut whole = Vec::new();
        for (index, element) in elements.iter().enumerate() {
            match places.iter().position(|place| *place == index) {
                None => whole.push(element.clone()),
                // The last place takes all that is left.
                Some(nth) if nth + 1 == places.len() => whole.extend(new.iter().skip(nth).cloned()),
                Some(nth) => whole.extend(new.get(nth).cloned()),
            }
        }
        if places.is_empty() {
            whole.extend(new);
        }
        Ok(unless_nothing(at, Data::List(whole)))
    })
}

fn as_index(data: &Data) -> Result<usize, Fault> {
    match data {
        Data::Nat(index) => usize::try_from(*index).ok(),
        Data::Int(index) => usize::try_from(*index).ok(),
        _ => None,
    }
    .ok_or_else(|| Fault(format!("{data:?} is no index")))
}

fn moved(mut elements: Vec<Data>, index: usize) -> Result<Apart, Fault> {
    Apart::new(vec![Some(Data::Nat(index as u64))], move |became| {
        let element = elements.remove(index);
        for new in became.iter().flatten() {
            let new = as_index(new)?;
            if new > elements.len() {
                return Err(Fault(format!("nothing can be moved to {new}")));
            }
            elements.insert(new, element.clone());
        }
        Ok(Some(Data::List(elements)))
    })
}

fn indexed(at: Place, elements: Vec<Data>) -> Result<Apart, Fault> {
    let pairs =
        elements.into_iter().enumerate().map(|(index, element)| Some(Data::pair(Data::Nat(index as u64), element)));
    Apart::new(pairs.collect(), move |became| {
        let mut by_index: BTreeMap<usize, Vec<Data>> = BTreeMap::new();
        for pair in became.into_iter().flatten() {
            match pair {
                Data::List(parts) if parts.len() == 2 => {
                    by_index.entry(as_index(&parts[0])?).or_default().push(parts[1].clone());
                }
                other => return Err(Fault(format!("{other:?} is no pair"))),
            }
        }
        Ok(unless_nothing(at, Data::List(by_index.into_values().flatten().collect())))
    })
}

fn runs(at: Place, elements: Vec<Data>, path: &[Step]) -> Result<Apart, Fault> {
    // The list as stretches of neighbours that are all chosen, or all not.
    let mut stretches: Vec<(bool, Vec<Data>)> = Vec::new();
    for element in elements {
        let chosen = leads_somewhere(path, &element)?;
        match stretches.last_mut() {
            Some((same, stretch)) if *same == chosen => stretch.push(element),
            _ => stretches.push((chosen, vec![element])),
        }
    }
    let places = stretches.iter().filter(|(chosen, _)| *chosen).map(|(_, run)| Some(Data::List(run.clone())));
    Apart::new(places.collect(), move |became| {
        let mut became = became.into_iter();
        let mut whole = Vec::new();
        for (chosen, stretch) in stretches {
            whole.extend(if chosen { list_at(&became.next().flatten())? } else { stretch });
        }
        Ok(unless_nothing(at, Data::List(whole)))
    })
}

fn within<'d>(range: &Range, keys: impl Iterator<Item = &'d Data>) -> BTreeSet<Data> {
    let after =
        |key: &Data| range.from.as_ref().is_none_or(|(from, included)| key > from || (*included && key == from));
    let before = |key: &Data| range.to.as_ref().is_none_or(|(to, included)| key < to || (*included && key == to));
    let mut keys: Vec<&Data> = keys.filter(|key| after(key) && before(key)).collect();
    if let Some(first) = range.first {
        keys.truncate(first as usize);
    }
    if let Some(last) = range.last {
        keys.drain(..keys.len().saturating_sub(last as usize));
    }
    keys.into_iter().cloned().collect()
}

fn holds(compare: Compare, value: &Data, other: &Data) -> Result<bool, Fault> {
    match compare {
        Compare::Equal => return Ok(value == other),
        Compare::NotEqual => return Ok(value != other),
        _ if *value == Data::Null || *other == Data::Null => return Ok(false),
        _ if value.kind() != other.kind() => return Err(Fault(format!("{value:?} and {other:?} have no order"))),
        _ => {}
    }
    Ok(match compare {
        Compare::Less => value < other,
        Compare::LessOrEqual => value <= other,
        Compare::Greater => value > other,
        _ => value >= other,
    })
}
