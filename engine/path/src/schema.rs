//! What may stand where in a PState: the untyped schema.
//!
//! Guarantees: [`Schema::check`] accepts exactly the values of the declared shape, with null allowed at every
//! location (but not as a typed key or set element), numeric types strict, and names the first location that
//! does not fit. Two schemas are equal when they accept the same declarations, field names included.

use crate::limit::SUB_COUNT_MAX;
use crate::show::{brief, type_name};
use std::fmt;
use tantu_base::value::{DecodeError, Reader, Value};

/// The shape of a location.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Schema {
    /// Any value.
    Any,
    /// True or false.
    Bool,
    /// 64-bit signed.
    I64,
    /// 64-bit unsigned.
    U64,
    /// Signed, stored as i64; only what fits 32 bits.
    I32,
    /// Unsigned, stored as u64; only what fits 32 bits.
    U32,
    /// Double.
    F64,
    /// Text.
    Str,
    /// Bytes.
    Bytes,
    /// UUID.
    Uuid,
    /// Elements in the order written.
    List(Box<Schema>),
    /// Sorted distinct elements.
    Set(Box<Schema>),
    /// Sorted keys with values.
    Map(Box<Schema>, Box<Schema>),
    /// A list of exactly these.
    Tuple(Vec<Schema>),
    /// Known fields by id, ascending; each may be absent.
    Record(Vec<FieldSchema>),
    /// A map, set or list whose elements are stored one by one.
    Sub(Box<Schema>, Tracking),
}

/// Whether a subindexed structure knows its size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tracking {
    /// It does: asking is one read, and each write of an element reads whether the element is new.
    Size,
    /// It does not: asking counts, and an element can be written blindly. (A list knows its size in any case.)
    Nothing,
}

/// One field of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldSchema {
    /// Its id in stored bytes.
    pub id: u32,
    /// Its name for people.
    pub name: String,
    /// What it holds.
    pub schema: Schema,
}

/// Why a PState cannot be declared with a schema.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeclareError {
    /// A list or a set has no keys to index by.
    #[error("a PState cannot be a {schema}: use a map, or a record with it as a field")]
    TopCollection {
        /// The schema.
        schema: String,
    },
    /// The top is indexed as it is.
    #[error("a PState cannot be a {schema}: a top-level map is indexed as it is, and no other top can be subindexed")]
    TopSub {
        /// The schema.
        schema: String,
    },
    /// Only collections have elements.
    #[error("{schema}: only a map, a set or a list can be subindexed")]
    NoStructure {
        /// The schema.
        schema: String,
    },
    /// What is within a stored value that has no address of its own cannot be subindexed.
    #[error("{schema}: a subindexed structure cannot stand within {within} that is not subindexed itself")]
    MisplacedSub {
        /// In what.
        within: &'static str,
        /// The schema.
        schema: String,
    },
    /// Entries have no value to start from.
    #[error("a PState of {schema} cannot have an initial value: its partition is not one value")]
    InitialEntries {
        /// The schema.
        schema: String,
    },
    /// The initial value does not fit.
    #[error("the initial value does not fit: {0}")]
    Initial(SchemaError),
    /// More structures than locations have numbers.
    #[error("the schema names {count} subindexed structures; the limit is {}", SUB_COUNT_MAX)]
    TooManySubs {
        /// How many.
        count: usize,
    },
}

/// One step from the top of a PState towards a location.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// The value under this key.
    Value(String),
    /// This key itself.
    Key(String),
    /// A list element, from 0.
    Index(usize),
    /// A set element.
    Element(String),
    /// A record field by name.
    Field(String),
}

/// A value that does not fit, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("at {}: expected {wanted}, found {found}", self.location())]
pub struct SchemaError {
    /// Steps from the location that stands nearest the misfit up to the top.
    steps: Vec<Step>,
    /// What the schema says.
    pub wanted: String,
    /// What the value is.
    pub found: String,
}

impl SchemaError {
    fn new(schema: &Schema, value: &Value) -> SchemaError {
        let found = match value {
            Value::Bool(_) | Value::I64(_) | Value::U64(_) | Value::F64(_) | Value::Str(_) => {
                format!("{} {}", type_name(value), brief(value))
            }
            _ => brief(value),
        };
        SchemaError { steps: Vec::new(), wanted: schema.to_string(), found }
    }

    pub(crate) fn unknown_field(fields: &[FieldSchema], id: u32) -> SchemaError {
        let wanted = Schema::Record(fields.to_vec()).to_string();
        SchemaError { steps: Vec::new(), wanted, found: format!("unknown field {id}") }
    }

    /// The same misfit, seen from one step further up.
    pub fn below(mut self, step: Step) -> SchemaError {
        self.steps.push(step);
        self
    }

    /// The location, written as one would navigate to it.
    pub fn location(&self) -> String {
        if self.steps.is_empty() {
            return "the top".to_owned();
        }
        self.steps.iter().rev().map(Step::to_string).collect()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Value(key) => write!(f, "[{key}]"),
            Step::Key(key) => write!(f, "[key {key}]"),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Element(element) => write!(f, "[element {element}]"),
            Step::Field(name) => write!(f, ".{name}"),
        }
    }
}

impl Schema {
    /// A map schema.
    pub fn map(key: Schema, value: Schema) -> Schema {
        Schema::Map(Box::new(key), Box::new(value))
    }

    /// A list schema.
    pub fn list(element: Schema) -> Schema {
        Schema::List(Box::new(element))
    }

    /// A set schema.
    pub fn set(element: Schema) -> Schema {
        Schema::Set(Box::new(element))
    }

    /// A subindexed structure of this shape, which is a map, a set or a list.
    pub fn sub(of: Schema) -> Schema {
        Schema::Sub(Box::new(of), Tracking::Size)
    }

    /// A subindexed structure of this shape that does not know its size.
    pub fn untracked(of: Schema) -> Schema {
        Schema::Sub(Box::new(of), Tracking::Nothing)
    }

    /// How many subindexed structures the shape names, at any level.
    pub(crate) fn sub_count(&self) -> usize {
        match self {
            Schema::Sub(of, _) => 1 + of.sub_count(),
            Schema::List(of) | Schema::Set(of) => of.sub_count(),
            Schema::Map(key, of) => key.sub_count() + of.sub_count(),
            Schema::Tuple(of) => of.iter().map(Schema::sub_count).sum(),
            Schema::Record(fields) => fields.iter().map(|field| field.schema.sub_count()).sum(),
            _ => 0,
        }
    }

    /// Whether the shape names a subindexed structure.
    pub(crate) fn has_sub(&self) -> bool {
        match self {
            Schema::Sub(..) => true,
            Schema::List(of) | Schema::Set(of) => of.has_sub(),
            Schema::Map(key, of) => key.has_sub() || of.has_sub(),
            Schema::Tuple(of) => of.iter().any(Schema::has_sub),
            Schema::Record(fields) => fields.iter().any(|field| field.schema.has_sub()),
            _ => false,
        }
    }

    /// The same shape with no structure subindexed.
    pub fn unwrapped(&self) -> Schema {
        match self {
            Schema::Sub(of, _) => of.unwrapped(),
            Schema::List(of) => Schema::list(of.unwrapped()),
            Schema::Set(of) => Schema::set(of.unwrapped()),
            Schema::Map(key, of) => Schema::map(key.unwrapped(), of.unwrapped()),
            Schema::Tuple(of) => Schema::Tuple(of.iter().map(Schema::unwrapped).collect()),
            Schema::Record(fields) => {
                let field = |of: &FieldSchema| FieldSchema { schema: of.schema.unwrapped(), ..of.clone() };
                Schema::Record(fields.iter().map(field).collect())
            }
            leaf => leaf.clone(),
        }
    }

    /// Whether a PState may be declared with this schema: at the top a map, a record or a leaf, and subindexed
    /// structures only where their elements have an address.
    pub fn check_declared(&self) -> Result<(), DeclareError> {
        match self {
            Schema::List(_) | Schema::Set(_) => Err(DeclareError::TopCollection { schema: self.to_string() }),
            Schema::Sub(..) => Err(DeclareError::TopSub { schema: self.to_string() }),
            _ => {
                self.check_subs()?;
                match self.sub_count() {
                    count if count > SUB_COUNT_MAX => Err(DeclareError::TooManySubs { count }),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Whether every partition of a PState of this schema may start with the value (PST-16).
    ///
    /// # Errors
    /// [`DeclareError`]: the partition is not one value, or this one does not fit.
    pub fn check_initial(&self, value: &Value) -> Result<(), DeclareError> {
        if matches!(self, Schema::Map(..)) || self.has_sub() {
            return Err(DeclareError::InitialEntries { schema: self.to_string() });
        }
        self.check(value).map_err(DeclareError::Initial)
    }

    fn check_subs(&self) -> Result<(), DeclareError> {
        let refuse = |within: &'static str| {
            if self.has_sub() { Err(DeclareError::MisplacedSub { within, schema: self.to_string() }) } else { Ok(()) }
        };
        match self {
            Schema::List(_) => refuse("a list"),
            Schema::Set(_) => refuse("a set"),
            Schema::Tuple(_) => refuse("a tuple"),
            Schema::Map(key, _) if key.has_sub() => refuse("a key"),
            Schema::Map(_, of) => of.check_subs(),
            Schema::Record(fields) => fields.iter().try_for_each(|field| field.schema.check_subs()),
            Schema::Sub(of, _) => match &**of {
                Schema::Map(..) => of.check_subs(),
                Schema::List(element) => element.check_subs(),
                Schema::Set(element) if !element.has_sub() => Ok(()),
                Schema::Set(_) => refuse("a set"),
                _ => Err(DeclareError::NoStructure { schema: self.to_string() }),
            },
            _ => Ok(()),
        }
    }

    /// Whether the value may stand at a location of this shape.
    pub fn check(&self, value: &Value) -> Result<(), SchemaError> {
        let fits = match (self, value) {
            (Schema::Any, _) | (_, Value::Null) => true,
            (Schema::Bool, Value::Bool(_)) => true,
            (Schema::I64, Value::I64(_)) | (Schema::U64, Value::U64(_)) => true,
            (Schema::I32, Value::I64(v)) => i32::try_from(*v).is_ok(),
            (Schema::U32, Value::U64(v)) => u32::try_from(*v).is_ok(),
            (Schema::F64, Value::F64(_)) | (Schema::Str, Value::Str(_)) => true,
            (Schema::Bytes, Value::Bytes(_)) | (Schema::Uuid, Value::Uuid(_)) => true,
            (Schema::List(of), Value::List(elements)) => return check_list(of, elements),
            (Schema::Set(of), Value::Set(elements)) => return check_set(of, elements),
            (Schema::Map(key, of), Value::Map(entries)) => return check_map(key, of, entries),
            (Schema::Tuple(of), Value::List(elements)) if of.len() == elements.len() => {
                return check_tuple(of, elements);
            }
            (Schema::Record(fields), Value::Record(entries)) => return check_record(fields, entries),
            (Schema::Sub(of, _), _) => return of.check(value),
            _ => false,
        };
        if fits { Ok(()) } else { Err(SchemaError::new(self, value)) }
    }

    /// Whether the value may be a key or a set element: as [`Schema::check`], but null is no key.
    pub fn check_key(&self, key: &Value) -> Result<(), SchemaError> {
        match (self, key) {
            (Schema::Any, _) => Ok(()),
            (_, Value::Null) => Err(SchemaError::new(self, key)),
            _ => self.check(key),
        }
    }

    /// As [`Schema::check`], on a value form; scalars are checked without building a value.
    pub fn check_encoded(&self, bytes: &[u8]) -> Result<Result<(), SchemaError>, DecodeError> {
        if self.fits_scalar(bytes) {
            return Ok(Ok(()));
        }
        Ok(self.check(&Value::decode(bytes)?))
    }

    /// As [`Schema::check_key`], on a value form.
    pub fn check_key_encoded(&self, bytes: &[u8]) -> Result<Result<(), SchemaError>, DecodeError> {
        if self.fits_scalar(bytes) {
            return Ok(Ok(()));
        }
        Ok(self.check_key(&Value::decode(bytes)?))
    }

    /// True if this is a scalar schema and the bytes are one whole value of it. False proves nothing.
    fn fits_scalar(&self, bytes: &[u8]) -> bool {
        let mut reader = Reader::new(bytes);
        let fits = match self {
            Schema::I64 => reader.i64().is_ok(),
            Schema::U64 => reader.u64().is_ok(),
            Schema::F64 => reader.f64().is_ok(),
            Schema::Str => reader.str().is_ok(),
            Schema::Bool => reader.bool().is_ok(),
            Schema::Bytes => reader.bytes().is_ok(),
            Schema::I32 => reader.i64().is_ok_and(|v| i32::try_from(v).is_ok()),
            Schema::U32 => reader.u64().is_ok_and(|v| u32::try_from(v).is_ok()),
            _ => false,
        };
        fits && reader.is_empty()
    }
}

fn check_list(of: &Schema, elements: &[Value]) -> Result<(), SchemaError> {
    for (index, element) in elements.iter().enumerate() {
        of.check(element).map_err(|e| e.below(Step::Index(index)))?;
    }
    Ok(())
}

fn check_set(of: &Schema, elements: &[Value]) -> Result<(), SchemaError> {
    for element in elements {
        of.check_key(element).map_err(|e| e.below(Step::Element(brief(element))))?;
    }
    Ok(())
}

fn check_map(key: &Schema, of: &Schema, entries: &[(Value, Value)]) -> Result<(), SchemaError> {
    for (k, v) in entries {
        key.check_key(k).map_err(|e| e.below(Step::Key(brief(k))))?;
        of.check(v).map_err(|e| e.below(Step::Value(brief(k))))?;
    }
    Ok(())
}

fn check_tuple(of: &[Schema], elements: &[Value]) -> Result<(), SchemaError> {
    for (index, (schema, element)) in of.iter().zip(elements).enumerate() {
        schema.check(element).map_err(|e| e.below(Step::Index(index)))?;
    }
    Ok(())
}

fn check_record(fields: &[FieldSchema], entries: &[(u32, Value)]) -> Result<(), SchemaError> {
    for (id, value) in entries {
        let Some(field) = fields.iter().find(|field| field.id == *id) else {
            return Err(SchemaError::unknown_field(fields, *id));
        };
        field.schema.check(value).map_err(|e| e.below(Step::Field(field.name.clone())))?;
    }
    Ok(())
}

/// Written as the marker types are: `Map<String, List<i64>>`.
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schema::Any => f.write_str("any"),
            Schema::Bool => f.write_str("bool"),
            Schema::I64 => f.write_str("i64"),
            Schema::U64 => f.write_str("u64"),
            Schema::I32 => f.write_str("i32"),
            Schema::U32 => f.write_str("u32"),
            Schema::F64 => f.write_str("f64"),
            Schema::Str => f.write_str("String"),
            Schema::Bytes => f.write_str("bytes"),
            Schema::Uuid => f.write_str("uuid"),
            Schema::List(of) => write!(f, "List<{of}>"),
            Schema::Set(of) => write!(f, "Set<{of}>"),
            Schema::Map(key, of) => write!(f, "Map<{key}, {of}>"),
            Schema::Sub(of, Tracking::Size) => write!(f, "Sub<{of}>"),
            Schema::Sub(of, Tracking::Nothing) => write!(f, "Untracked<{of}>"),
            Schema::Tuple(of) => {
                f.write_str("(")?;
                for (index, schema) in of.iter().enumerate() {
                    write!(f, "{}{schema}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            Schema::Record(fields) => {
                f.write_str("{")?;
                for (index, field) in fields.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{}: {}", field.name, field.schema)?;
                }
                f.write_str("}")
            }
        }
    }
}
