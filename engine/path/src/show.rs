//! Short names and short renderings of values, for error messages.

use tantu_base::value::Value;

/// Longest rendering of a string inside a message, in characters.
const SHOWN_COUNT_MAX: usize = 40;

/// The name of a value's kind.
pub(crate) fn type_name(value: &Value) -> &'static str {
    value.kind().name()
}

/// A value in a few words: scalars as they are, strings cut, collections by their size.
pub(crate) fn brief(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(v) => v.to_string(),
        Value::I64(v) => v.to_string(),
        Value::U64(v) => v.to_string(),
        Value::F64(v) => v.to_string(),
        Value::Str(v) if v.chars().count() > SHOWN_COUNT_MAX => {
            let cut: String = v.chars().take(SHOWN_COUNT_MAX).collect();
            format!("{cut:?}…")
        }
        Value::Str(v) => format!("{v:?}"),
        Value::Bytes(v) => format!("{} bytes", v.len()),
        Value::Uuid(v) => format!("uuid {:032x}", u128::from_be_bytes(*v)),
        Value::List(v) => format!("list of {}", v.len()),
        Value::Set(v) => format!("set of {}", v.len()),
        Value::Map(v) => format!("map of {}", v.len()),
        Value::Record(v) => format!("record of {}", v.len()),
    }
}
