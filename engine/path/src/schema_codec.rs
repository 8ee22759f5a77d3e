//! Schemas as bytes, for manifests, `describe` and comparison across releases.
//!
//! A schema is one value form: `[version, shape]`, where a shape is a list whose first element is the code of
//! the kind and whose rest are its parts. Canonical: one schema, one encoding.
//!
//! | code | kind | parts |
//! |---|---|---|
//! | 0 any, 1 bool, 2 i64, 3 u64, 4 i32, 5 u32, 6 f64, 7 string, 8 bytes, 9 uuid | leaf | none |
//! | 10 list, 11 set | | element shape |
//! | 12 map | | key shape, value shape |
//! | 13 tuple | | element shapes |
//! | 14 record | | `[id u64, name string, shape]` per field, ids ascending |
//! | 15 subindexed, 16 subindexed without size | | shape of a map, a set or a list |

use crate::limit::SCHEMA_SIZE_MAX;
use crate::schema::{FieldSchema, Schema, Tracking};
use tantu_base::value::{DecodeError, Value};

const VERSION: u64 = 1;

/// Why bytes are no schema.
#[derive(Debug, thiserror::Error)]
pub enum SchemaDecodeError {
    /// Longer than any schema may be.
    #[error("schema of {size} bytes; the limit is {}", SCHEMA_SIZE_MAX)]
    TooLong {
        /// Its length in bytes.
        size: usize,
    },
    /// Not one value form.
    #[error("schema is not a value: {0}")]
    Value(#[from] DecodeError),
    /// Written by a release this one does not know.
    #[error("schema format version {0} is unknown")]
    Version(u64),
    /// A value, but not a schema's.
    #[error("schema is malformed: {0}")]
    Shape(&'static str),
}

impl Schema {
    /// Appends the encoded schema.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Value::List(vec![Value::U64(VERSION), self.to_value()]).encode(out);
    }

    /// Reads what [`Schema::encode`] wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Schema, SchemaDecodeError> {
        if bytes.len() > SCHEMA_SIZE_MAX {
            return Err(SchemaDecodeError::TooLong { size: bytes.len() });
        }
        let Value::List(parts) = Value::decode(bytes)? else {
            return Err(SchemaDecodeError::Shape("the top is not a list"));
        };
        match &parts[..] {
            [Value::U64(VERSION), shape] => Schema::from_value(shape),
            [Value::U64(version), ..] if *version != VERSION => Err(SchemaDecodeError::Version(*version)),
            _ => Err(SchemaDecodeError::Shape("the top is not a version and a shape")),
        }
    }

    fn to_value(&self) -> Value {
        let node = |code: u64, parts: Vec<Value>| {
            let mut list = vec![Value::U64(code)];
            list.extend(parts);
            Value::List(list)
        };
        match self {
            Schema::Any => node(0, vec![]),
            Schema::Bool => node(1, vec![]),
            Schema::I64 => node(2, vec![]),
            Schema::U64 => node(3, vec![]),
            Schema::I32 => node(4, vec![]),
            Schema::U32 => node(5, vec![]),
            Schema::F64 => node(6, vec![]),
            Schema::Str => node(7, vec![]),
            Schema::Bytes => node(8, vec![]),
            Schema::Uuid => node(9, vec![]),
            Schema::List(of) => node(10, vec![of.to_value()]),
            Schema::Set(of) => node(11, vec![of.to_value()]),
            Schema::Map(key, of) => node(12, vec![key.to_value(), of.to_value()]),
            Schema::Tuple(of) => node(13, of.iter().map(Schema::to_value).collect()),
            Schema::Record(fields) => node(14, fields.iter().map(FieldSchema::to_value).collect()),
            Schema::Sub(of, Tracking::Size) => node(15, vec![of.to_value()]),
            Schema::Sub(of, Tracking::Nothing) => node(16, vec![of.to_value()]),
        }
    }

    fn from_value(value: &Value) -> Result<Schema, SchemaDecodeError> {
        let Value::List(parts) = value else {
            return Err(SchemaDecodeError::Shape("a shape is not a list"));
        };
        let Some((Value::U64(code), parts)) = parts.split_first() else {
            return Err(SchemaDecodeError::Shape("a shape has no code"));
        };
        Ok(match (code, parts) {
            (0, []) => Schema::Any,
            (1, []) => Schema::Bool,
            (2, []) => Schema::I64,
            (3, []) => Schema::U64,
            (4, []) => Schema::I32,
            (5, []) => Schema::U32,
            (6, []) => Schema::F64,
            (7, []) => Schema::Str,
            (8, []) => Schema::Bytes,
            (9, []) => Schema::Uuid,
            (10, [of]) => Schema::list(Schema::from_value(of)?),
            (11, [of]) => Schema::set(Schema::from_value(of)?),
            (12, [key, of]) => Schema::map(Schema::from_value(key)?, Schema::from_value(of)?),
            (13, of) => Schema::Tuple(of.iter().map(Schema::from_value).collect::<Result<_, _>>()?),
            (14, fields) => Schema::record_from(fields)?,
            (15, [of]) => Schema::sub(Schema::from_value(of)?),
            (16, [of]) => Schema::untracked(Schema::from_value(of)?),
            _ => return Err(SchemaDecodeError::Shape("unknown code or wrong number of parts")),
        })
    }

    fn record_from(parts: &[Value]) -> Result<Schema, SchemaDecodeError> {
        let fields = parts.iter().map(FieldSchema::from_value).collect::<Result<Vec<_>, _>>()?;
        if !fields.is_sorted_by(|a, b| a.id < b.id) {
            return Err(SchemaDecodeError::Shape("field ids do not ascend"));
        }
        Ok(Schema::Record(fields))
    }
}

impl FieldSchema {
    fn to_value(&self) -> Value {
        Value::List(vec![Value::U64(u64::from(self.id)), Value::Str(self.name.clone()), self.schema.to_value()])
    }

    fn from_value(value: &Value) -> Result<FieldSchema, SchemaDecodeError> {
        let Value::List(parts) = value else {
            return Err(SchemaDecodeError::Shape("a field is not a list"));
        };
        let [Value::U64(id), Value::Str(name), shape] = &parts[..] else {
            return Err(SchemaDecodeError::Shape("a field is not id, name and shape"));
        };
        let id = u32::try_from(*id).map_err(|_| SchemaDecodeError::Shape("a field id exceeds 32 bits"))?;
        Ok(FieldSchema { id, name: name.clone(), schema: Schema::from_value(shape)? })
    }
}
