//! The canonical value codec: every record, letter, PState value and key of Tantu is one of these values.
//!
//! One set of values, two forms of bytes. The **value form** is compact: a tag byte, then lengths and
//! counts as varints. The **key form** is ordered: comparing two keys byte by byte compares the values
//! ([`Ord`] of [`Value`]), no key is a prefix of another, and keys put one after the other sort element by
//! element and split again. Scalars other than text and bytes are the same in both forms.
//!
//! Both forms are canonical: a value has exactly one encoding in each, and a decoder refuses every other.
//! So bytes can be hashed, compared and deduplicated instead of values. Decoders never panic, never nest
//! deeper than [`crate::limit::VALUE_DEPTH_MAX`], and never allocate more than a small multiple of what
//! they were given. Typed Rust data ([`Encode`], [`Decode`]) has the very bytes of the [`Value`] it stands for.
//!
//! ```
//! use tantu_base::value::{Value, decoded, encoded, encoded_key};
//!
//! let bytes = encoded(&("cagney", 3i64));
//! assert_eq!(Value::decode(&bytes), Ok(Value::List(vec![Value::from("cagney"), Value::from(3i64)])));
//! assert_eq!(decoded::<(String, i64)>(&bytes), Ok(("cagney".to_string(), 3)));
//! assert!(encoded_key(&-1i64) < encoded_key(&300i64), "keys sort like what they stand for");
//! ```
//!
//! The byte tables are in `docs/formats/value.md`.

mod data;
mod error;
mod key;
mod order;
mod partition;
mod read;
mod record;
mod show;
mod tag;
mod typed;
mod typed_set;
mod write;

pub use data::Value;
pub use error::DecodeError;
pub use key::{KeyReader, key_to_value, value_to_key};
pub use order::{compare_encoded, validate, validate_below};
pub use partition::{partition_hash, partition_of, partition_of_key};
pub use read::Reader;
pub use record::{FieldName, Fields, RecordWriter, WIDE_COUNT_MIN, find_field, put_key_field, put_record_with};
pub use tag::Kind;
pub use typed::{Decode, Encode, Uuid, decoded, decoded_key, encoded, encoded_key};
pub use write::{
    put_bool, put_bytes, put_f64, put_i64, put_key_bytes, put_key_end, put_key_field_id, put_key_list_start,
    put_key_map_start, put_key_record_start, put_key_set_start, put_key_str, put_list_header, put_map_header, put_null,
    put_set_header, put_str, put_u64, put_uuid,
};

/// Version of both forms, for the headers of files and connections that carry them.
pub const FORMAT_VERSION: u16 = 2;
