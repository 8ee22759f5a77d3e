//! Where a path ends, by the schema alone: a subindexed structure has no value that could be handed out (ERR-12).

use crate::error::PathError;
use crate::nav::{Reach, branch};
use crate::nav::{each, filter, list, map, range, set, view};
use crate::path::Nav;
use crate::reach::Chain;
use crate::schema::Schema;

/// What a path stands on, as far as the schema says.
#[derive(Clone, Copy)]
enum At<'s> {
    /// A location of this shape.
    Place(&'s Schema),
    /// A part of a map, set or list of this shape, as a value.
    Part(&'s Schema),
    /// A key with its value.
    Pair(&'s Schema),
    /// A value without structures.
    Plain,
}

/// Refuses a select path that ends on a structure, or on something that holds one.
pub(crate) fn check_ends(schema: &Schema, navs: &[Nav]) -> Result<(), PathError> {
    if !schema.has_sub() {
        return Ok(());
    }
    follow(At::Place(schema), &Chain { navs, rest: None })
}

fn follow(at: At<'_>, chain: &Chain<'_>) -> Result<(), PathError> {
    let Some((nav, rest)) = chain.split_first() else {
        let held = match at {
            At::Place(schema) | At::Pair(schema) => schema,
            At::Part(schema) => collection(schema).map_or(schema, |(_, element)| element),
            At::Plain => return Ok(()),
        };
        return if held.has_sub() { Err(PathError::Subindexed { schema: held.to_string() }) } else { Ok(()) };
    };
    if nav.is(&view::SUBSELECT) {
        follow(at, &Chain { navs: &nav.paths[0].navs, rest: None })?;
        return follow(At::Plain, &rest);
    }
    if nav.is(&branch::STOP) {
        return Ok(());
    }
    if nav.rule.reach == Reach::Branches {
        for (_, path) in nav.paths.iter().enumerate().filter(|(index, _)| (nav.rule.continues)(*index)) {
            follow(at, &Chain { navs: &path.navs, rest: Some(&rest) })?;
        }
        return Ok(());
    }
    if let (At::Place(Schema::Record(fields)), true) = (at, nav.is(&map::KEY) || nav.is(&map::MUST)) {
        let id = if let crate::arg::Arg::Const(id) = &nav.args[0] { id.as_u64() } else { None };
        for field in fields.iter().filter(|field| id.is_none_or(|id| id == u64::from(field.id))) {
            follow(At::Place(&field.schema), &rest)?;
        }
        return Ok(());
    }
    follow(next(at, nav), &rest)
}

/// The key, if it has one, and the element of a collection.
fn collection(schema: &Schema) -> Option<(bool, &Schema)> {
    match schema {
        Schema::Sub(of, _) => collection(of),
        Schema::Map(_, of) => Some((true, of)),
        Schema::List(of) | Schema::Set(of) => Some((false, of)),
        _ => None,
    }
}

fn next<'s>(at: At<'s>, nav: &Nav) -> At<'s> {
    let is = |rules: &[&crate::nav::Rule]| rules.iter().any(|rule| nav.is(rule));
    let stays =
        nav.rule.reach == Reach::Rest || (filter::EQUAL.code..=filter::NOT_SELECTED.code).contains(&nav.rule.code);
    if stays {
        return at;
    }
    if let At::Pair(schema) = at {
        return if is(&[&list::LAST]) { At::Place(schema) } else { At::Plain };
    }
    let (At::Place(schema) | At::Part(schema)) = at else { return At::Plain };
    if let Schema::Record(fields) = schema {
        // Entries of a record as of a map: any of them may be the one that holds a structure.
        return fields.iter().find(|field| field.schema.has_sub()).map_or(At::Plain, |field| match () {
            () if is(&[&each::ALL]) => At::Pair(&field.schema),
            () if is(&[&each::MAP_KEYS, &map::MAP_KEY]) => At::Plain,
            () => At::Place(&field.schema),
        });
    }
    let Some((keyed, element)) = collection(schema) else { return At::Plain };
    if is(&[&map::KEY, &map::MUST, &each::MAP_VALS, &list::NTH, &list::FIRST, &list::LAST]) {
        return At::Place(element);
    }
    if is(&[&each::ALL]) {
        return if keyed { At::Pair(element) } else { At::Place(element) };
    }
    let parts = [&map::SUBMAP, &set::SUBSET, &list::SUBLIST, &list::FILTERED_LIST];
    let is_range = (range::MAP_RANGE.code..=range::SET_RANGE_TO_END.code).contains(&nav.rule.code);
    if is(&parts) || is_range { At::Part(schema) } else { At::Plain }
}
