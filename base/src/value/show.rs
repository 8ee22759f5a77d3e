//! Values as text for people: JSON where JSON can say it, and unmistakable where it cannot.

use super::Value;
use std::fmt::{self, Display, Formatter, Write};

impl Display for Value {
    /// `null`, `true`, `-5`, `5u`, `1.5`, `"text"`, `0x0a0b`, a hyphened uuid, `[1, 2]`, `#{1, 2}`, `{"key": 1}`, `<1: "field">`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::I64(value) => write!(f, "{value}"),
            Value::U64(value) => write!(f, "{value}u"),
            Value::F64(value) => write!(f, "{value:?}"),
            Value::Str(value) => write!(f, "{value:?}"),
            Value::Bytes(value) => {
                f.write_str("0x")?;
                value.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Value::Uuid(value) => value.iter().enumerate().try_for_each(|(index, byte)| {
                if matches!(index, 4 | 6 | 8 | 10) {
                    f.write_char('-')?;
                }
                write!(f, "{byte:02x}")
            }),
            Value::List(values) => separated(f, "[", values, |f, v| v.fmt(f), "]"),
            Value::Set(values) => separated(f, "#{", values, |f, v| v.fmt(f), "}"),
            Value::Map(entries) => separated(f, "{", entries, |f, (k, v)| write!(f, "{k}: {v}"), "}"),
            Value::Record(fields) => separated(f, "<", fields, |f, (id, v)| write!(f, "{id}: {v}"), ">"),
        }
    }
}

fn separated<T>(
    f: &mut Formatter<'_>,
    open: &str,
    items: &[T],
    mut show: impl FnMut(&mut Formatter<'_>, &T) -> fmt::Result,
    close: &str,
) -> fmt::Result {
    f.write_str(open)?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        show(f, item)?;
    }
    f.write_str(close)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_shows_itself_differently() {
        let value = Value::record([
            (1, Value::List(vec![Value::I64(-5), Value::U64(5), Value::F64(5.0), Value::Null, Value::Bool(true)])),
            (2, Value::set([Value::from("b\n"), Value::from(&b"\x0a\xff"[..])])),
            (3, Value::map([(Value::from("k"), Value::Uuid([0xab; 16]))])),
        ]);
        assert_eq!(
            value.to_string(),
            r#"<1: [-5, 5u, 5.0, null, true], 2: #{"b\n", 0x0aff}, 3: {"k": abababab-abab-abab-abab-abababababab}>"#
        );
    }
}
