//! Records inside PStates: the place of a field, the navigators to it, and the ways that look at nothing else.
//!
//! A record type declares its fields as constants ([`Field`]), and `path().key(k).field(Visit::USER)` is checked by
//! rustc like any path. On stored bytes a path along a field reads that field alone, and a transform of a field copies the
//! others as they are, fields that this program does not know included.
//!
//! ```
//! use tantu_base::value::{Uuid, Value};
//! use tantu_path::{Field, FieldSchema, Map, Navigate, NoArgs, PStateSchema, PathTo, RecordLocation, Schema, path, select};
//! # use tantu_base::value::{Decode, DecodeError, Encode, Reader};
//! # struct Visit;
//! # impl Encode for Visit { fn encode(&self, out: &mut Vec<u8>) { Value::record([]).encode(out) } }
//! # impl Decode for Visit { fn decode(reader: &mut Reader<'_>) -> Result<Visit, DecodeError> { reader.skip().map(|_| Visit) } }
//! # impl PStateSchema for Visit {
//! #     type Value = Visit; type Plain = Visit; type Nullable = Option<Visit>;
//! #     fn schema() -> Schema { Schema::Record(vec![FieldSchema { id: 1, name: "user".into(), schema: Schema::Str }]) }
//! # }
//! # impl RecordLocation for Visit { type Record = Visit; type At<F: PStateSchema> = F; }
//! // What `#[derive(Record)]` writes for `struct Visit { user: String }`:
//! impl Visit {
//!     const USER: Field<Visit, String> = Field::new(1, "user");
//! }
//!
//! let user: PathTo<Map<Uuid, Visit>, Option<String>> = path().key(Uuid([7; 16])).field(Visit::USER);
//! let there: PathTo<Map<Uuid, Visit>, String> = path().must(Uuid([7; 16])).field(Visit::USER);
//!
//! let visit = Value::record([(1, Value::from("ann"))]);
//! let visits = Value::map([(Value::Uuid([7; 16]), visit)]);
//! assert_eq!(there.read(&select(there.path(), &visits, &NoArgs)?[0])?, "ann");
//! assert_eq!(user.read(&select(user.path(), &Value::Null, &NoArgs)?[0])?, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::arg::{Arg, Args};
use crate::error::{EvalError, PathError};
use crate::marker::PStateSchema;
use crate::nav::{PLAIN, Reach, Rule, read_place};
use crate::path::{Nav, Path};
use crate::row::{Became, NULL_FORM, Of, transform_row};
use crate::schema::{FieldSchema, Schema, SchemaError, Step};
use crate::walk::Rebuilt;
use std::any::TypeId;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use tantu_base::value::{
    DecodeError, Fields, Kind, Reader, Value, encoded, find_field, put_record_with, validate_below,
};

/// The place of a field of shape `F` in a record `R`. `#[derive(Record)]` makes one for each field.
pub struct Field<R, F> {
    id: u32,
    name: &'static str,
    types: PhantomData<fn() -> (R, F)>,
}

impl<R, F> Field<R, F> {
    /// The place of a field; that the record has it is the caller's word.
    pub const fn new(id: u32, name: &'static str) -> Field<R, F> {
        Field { id, name, types: PhantomData }
    }

    /// Its id in stored bytes.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Its name for people.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<R, F> Copy for Field<R, F> {}
impl<R, F> Clone for Field<R, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, F> fmt::Debug for Field<R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({} {})", self.id, self.name)
    }
}

/// A location that holds a record, or null.
#[diagnostic::on_unimplemented(message = "this navigator needs a record, but the path stands on `{Self}`")]
pub trait RecordLocation: PStateSchema {
    /// Whose fields there are.
    type Record;
    /// The shape of one of shape `F`, seen from here: where the record may be null, so may its fields.
    type At<F: PStateSchema>: PStateSchema;
}

impl<R: RecordLocation> RecordLocation for Option<R> {
    type Record = R::Record;
    type At<F: PStateSchema> = F::Nullable;
}

impl<R: RecordLocation> RecordLocation for Box<R> {
    type Record = R::Record;
    type At<F: PStateSchema> = R::At<F>;
}

thread_local! {
    /// The record types whose schemas are being made.
    static MAKING: RefCell<Vec<TypeId>> = const { RefCell::new(Vec::new()) };
}

/// The schema of a record type. A type that contains itself is checked down to where it comes again; from there on
/// anything fits.
pub fn record_schema<T: 'static>(fields: impl FnOnce() -> Vec<FieldSchema>) -> Schema {
    let of = TypeId::of::<T>();
    if MAKING.with_borrow(|making| making.contains(&of)) {
        return Schema::Any;
    }
    MAKING.with_borrow_mut(|making| making.push(of));
    let fields = fields();
    MAKING.with_borrow_mut(Vec::pop);
    Schema::Record(fields)
}

impl Path {
    /// A field of a record by id; null if there is none (PST-04).
    pub fn field(self, id: u32) -> Path {
        self.push(&FIELD, vec![Arg::Const(Value::U64(u64::from(id)))], vec![], None)
    }

    /// A field of a record by id, or nowhere (PST-04).
    pub fn must_field(self, id: u32) -> Path {
        self.push(&MUST_FIELD, vec![Arg::Const(Value::U64(u64::from(id)))], vec![], None)
    }
}

/// One place per field, also when it, or the record, is absent.
pub(crate) static FIELD: Rule = Rule {
    code: 15,
    name: "field",
    args: (1, 1),
    select: |nav, at, cx, next| match at {
        Value::Null => next(cx, &Value::Null),
        Value::Record(_) => next(cx, at.field(id_of(nav)?).unwrap_or(&Value::Null)),
        _ => Err(nav.type_error("record", at)),
    },
    transform: |nav, at, cx, swap| change(nav, at, &mut |place| swap(cx, place)),
    reach: Reach::Nothing,
    ..PLAIN
};

/// As [`FIELD`], but nowhere when the field is absent.
pub(crate) static MUST_FIELD: Rule = Rule {
    code: 16,
    name: "must_field",
    args: (1, 1),
    select: |nav, at, cx, next| match at {
        Value::Null => Ok(ControlFlow::Continue(())),
        Value::Record(_) => match at.field(id_of(nav)?) {
            Some(value) => next(cx, value),
            None => Ok(ControlFlow::Continue(())),
        },
        _ => Err(nav.type_error("record", at)),
    },
    transform: |nav, at, cx, swap| {
        change(nav, at, &mut |place| if place.is_none() { Ok(None) } else { swap(cx, place) })
    },
    reach: Reach::Nothing,
    ..PLAIN
};

fn id_of(nav: &Nav) -> Result<u32, PathError> {
    match nav.args[0] {
        Arg::Const(Value::U64(id)) => u32::try_from(id).ok(),
        _ => None,
    }
    .ok_or_else(|| nav.argument("needs the id of a field".to_owned()))
}

/// What a record becomes when one field of it does.
fn change(nav: &Nav, at: Option<Value>, swap: &mut dyn FnMut(Option<Value>) -> Rebuilt) -> Rebuilt {
    let id = id_of(nav)?;
    let (mut fields, was) = match at {
        None => (vec![], None),
        Some(Value::Null) => (vec![], Some(Value::Null)),
        Some(Value::Record(fields)) => (fields, Some(Value::Record(vec![]))),
        other => return Err(nav.type_error("record", read_place(&other))),
    };
    let index = fields.binary_search_by_key(&id, |(id, _)| *id);
    let place = index.ok().map(|index| std::mem::take(&mut fields[index].1));
    match (index, swap(place)?) {
        (Ok(index), Some(value)) => fields[index].1 = value,
        (Ok(index), None) => {
            fields.remove(index);
        }
        (Err(index), Some(value)) => fields.insert(index, (id, value)),
        // Nothing came to be where nothing was.
        (Err(_), None) if fields.is_empty() => return Ok(was),
        (Err(_), None) => {}
    }
    Ok(Some(Value::Record(fields)))
}

/// Whether a navigator goes to a field.
pub(crate) fn is_field(nav: &Nav) -> bool {
    nav.is(&FIELD) || nav.is(&MUST_FIELD)
}

/// What is left of navigators and of a stored value behind the fields the navigators began with; `None` if they lead
/// nowhere.
type Entered<'n, 'v> = Option<(&'n [Nav], &'v [u8])>;

/// Follows the fields that navigators begin with into a stored value.
pub(crate) fn enter<'n, 'v>(of: Of, mut navs: &'n [Nav], mut value: &'v [u8]) -> Result<Entered<'n, 'v>, EvalError> {
    while let Some((nav, rest)) = navs.split_first()
        && is_field(nav)
    {
        value = match place_of(of, nav, Some(value))? {
            Some(field) => field,
            None if nav.is(&MUST_FIELD) => return Ok(None),
            None => NULL_FORM,
        };
        navs = rest;
    }
    Ok(Some((navs, value)))
}

/// The stored value of the field a navigator goes to.
fn place_of<'v>(of: Of, nav: &Nav, record: Option<&'v [u8]>) -> Result<Option<&'v [u8]>, EvalError> {
    let id = id_of(nav).map_err(|source| of.path(source))?;
    let Some(record) = record else { return Ok(None) };
    match Reader::new(record).peek_kind() {
        Ok(Kind::Null) => Ok(None),
        Ok(Kind::Record) => {
            let place = find_field(record, id).map_err(|source| of.stored(source))?;
            Ok(place.map(|place| &record[place]))
        }
        Ok(_) => Err(of.path(nav.type_error("record", &of.decode(record)?))),
        Err(source) => Err(of.stored(source)),
    }
}

/// Writes to `out` what a stored value becomes under transform navigators that begin with a field.
pub(crate) fn transform_field(
    of: Of,
    navs: &[Nav],
    value: Option<&[u8]>,
    args: &dyn Args,
    out: &mut Vec<u8>,
) -> Result<Became, EvalError> {
    transform_at(of, navs, value, args, out, 0)
}

/// [`transform_field`] of a value that stands so many records deep.
fn transform_at(
    of: Of,
    navs: &[Nav],
    value: Option<&[u8]>,
    args: &dyn Args,
    out: &mut Vec<u8>,
    level: usize,
) -> Result<Became, EvalError> {
    let Some((nav, rest)) = navs.split_first().filter(|(nav, _)| is_field(nav)) else {
        let became = transform_row(of, navs, value, args, out)?;
        let is_container = Reader::new(out).peek_kind().is_ok_and(|kind| kind >= Kind::List);
        if matches!(became, Became::Written) && is_container && validate_below(out, level).is_err() {
            return Err(of.path(PathError::TooDeep));
        }
        return Ok(became);
    };
    let place = place_of(of, nav, value)?;
    let mut part = Vec::new();
    let became = match place {
        None if nav.is(&MUST_FIELD) => Became::Void,
        place => transform_at(of, rest, place, args, &mut part, level + 1)?,
    };
    out.clear();
    let new = match became {
        Became::Void if place.is_none() => {
            out.extend_from_slice(value.unwrap_or_default());
            return Ok(if value.is_none() { Became::Void } else { Became::Written });
        }
        Became::Void => None,
        Became::Written => Some(&part[..]),
    };
    let empty = encoded(&Value::Record(vec![]));
    let record = value.filter(|value| *value != NULL_FORM).unwrap_or(&empty);
    let id = id_of(nav).map_err(|source| of.path(source))?;
    put_record_with(record, id, new, out).map_err(|source| of.stored(source))?;
    Ok(Became::Written)
}

/// As [`Schema::check_encoded`], of what a stored value became. What of a record stayed as it was is not looked at: it
/// fitted when it was written, or was written by a program that knows more fields.
pub(crate) fn check_change(
    schema: &Schema,
    was: Option<&[u8]>,
    bytes: &[u8],
) -> Result<Result<(), SchemaError>, DecodeError> {
    let (Schema::Record(of), Ok(Kind::Record)) = (schema, Reader::new(bytes).peek_kind()) else {
        return schema.check_encoded(bytes);
    };
    let was = was.filter(|was| Reader::new(was).peek_kind() == Ok(Kind::Record));
    let mut before = was.map(Walk::start).transpose()?;
    let mut after = Walk::start(bytes)?;
    while let Some((id, value)) = after.next()? {
        let old = match &mut before {
            Some(before) => before.up_to(id)?,
            None => None,
        };
        if old == Some(value) {
            continue;
        }
        let Some(field) = of.iter().find(|field| field.id == id) else {
            return Ok(Err(SchemaError::unknown_field(of, id)));
        };
        if let Err(misfit) = check_change(&field.schema, old, value)? {
            return Ok(Err(misfit.below(Step::Field(field.name.clone()))));
        }
    }
    Ok(Ok(()))
}

/// The fields of a stored record, one after the other.
struct Walk<'v> {
    reader: Reader<'v>,
    fields: Fields<'v>,
    /// The field read last.
    last: Option<(u32, &'v [u8])>,
}

impl<'v> Walk<'v> {
    fn start(record: &'v [u8]) -> Result<Walk<'v>, DecodeError> {
        let mut reader = Reader::new(record);
        let fields = reader.fields()?;
        Ok(Walk { reader, fields, last: None })
    }

    fn next(&mut self) -> Result<Option<(u32, &'v [u8])>, DecodeError> {
        self.last = match self.fields.next(&mut self.reader)? {
            Some(id) => {
                let from = self.reader.position();
                self.fields.skip(&mut self.reader)?;
                Some((id, self.reader.since(from)))
            }
            None => None,
        };
        Ok(self.last)
    }

    /// The value under an id above all that were asked for.
    fn up_to(&mut self, id: u32) -> Result<Option<&'v [u8]>, DecodeError> {
        while self.fields.left() > 0 && self.last.is_none_or(|(last, _)| last < id) {
            self.next()?;
        }
        Ok(self.last.filter(|(last, _)| *last == id).map(|(_, value)| value))
    }
}
