//! The rest of a path on one stored value: from bytes to bytes, with a value tree only where the path really
//! goes inside.

use crate::arg::Args;
use crate::error::{EvalError, PathError};
use crate::field;
use crate::limit::STORED_SIZE_MAX;
use crate::nav::{term, view};
use crate::path::Nav;
use crate::schema::{Schema, SchemaError, Step};
use crate::show::brief;
use crate::walk::{Cx, call_encoded, check_depth, put_value_form, rebuild_terminated, walk};
use std::ops::ControlFlow;
use tantu_base::id::ObjectId;
use tantu_base::limit::KEY_SIZE_MAX;
use tantu_base::value::{Reader, Value};

/// A visitor of found values, in value form.
pub(crate) type Visit<'v> = &'v mut dyn FnMut(&[u8]) -> ControlFlow<()>;

/// Null in value form.
pub(crate) const NULL_FORM: &[u8] = &[1];

/// The PState an evaluation is on, for its errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of(pub(crate) ObjectId);

impl Of {
    pub(crate) fn path(self, source: PathError) -> EvalError {
        EvalError::Path { object: self.0, source }
    }

    pub(crate) fn stored(self, source: tantu_base::value::DecodeError) -> EvalError {
        EvalError::Stored { object: self.0, source }
    }

    pub(crate) fn decode(self, bytes: &[u8]) -> Result<Value, EvalError> {
        Value::decode(bytes).map_err(|source| self.stored(source))
    }

    pub(crate) fn decode_key(self, bytes: &[u8]) -> Result<Value, EvalError> {
        Value::decode_key(bytes).map_err(|source| self.stored(source))
    }

    pub(crate) fn schema(self, key: Option<&Value>, source: SchemaError) -> EvalError {
        let source = match key {
            Some(key) => source.below(Step::Value(brief(key))),
            None => source,
        };
        EvalError::Schema { object: self.0, source }
    }

    /// Whether a key may be written.
    pub(crate) fn check_key(self, schema: &Schema, key: &Value) -> Result<(), EvalError> {
        let misfit =
            |source: SchemaError| EvalError::Schema { object: self.0, source: source.below(Step::Key(brief(key))) };
        schema.check_key(key).map_err(misfit)
    }

    /// Whether a key form is short enough for a store.
    pub(crate) fn check_key_size(self, key: &[u8]) -> Result<(), EvalError> {
        if key.len() > KEY_SIZE_MAX {
            return Err(EvalError::KeyTooLong { object: self.0, size: key.len() });
        }
        Ok(())
    }

    /// Whether a value form is short enough for a store.
    pub(crate) fn check_value_size(self, value: &[u8]) -> Result<(), EvalError> {
        if value.len() > STORED_SIZE_MAX {
            return Err(EvalError::ValueTooLong { object: self.0, size: value.len() });
        }
        Ok(())
    }

    /// Whether new bytes may stand at a location; `key` is where, for the message.
    pub(crate) fn check_value(
        self,
        schema: &Schema,
        key: &dyn Fn() -> Result<Option<Value>, EvalError>,
        bytes: &[u8],
    ) -> Result<(), EvalError> {
        self.check_change(schema, key, None, bytes)
    }

    /// [`Of::check_value`] of what a value that stood there became.
    pub(crate) fn check_change(
        self,
        schema: &Schema,
        key: &dyn Fn() -> Result<Option<Value>, EvalError>,
        was: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<(), EvalError> {
        self.check_value_size(bytes)?;
        match field::check_change(schema, was, bytes) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(misfit)) => Err(self.schema(key()?.as_ref(), misfit)),
            Err(source) => Err(self.stored(source)),
        }
    }
}

/// Visits what the navigators lead to from a stored value; `None` is an absent one, read as null.
pub(crate) fn select_row(
    of: Of,
    navs: &[Nav],
    value: Option<&[u8]>,
    args: &dyn Args,
    out: &mut Vec<u8>,
    visit: Visit<'_>,
) -> Result<ControlFlow<()>, EvalError> {
    let value = value.unwrap_or(NULL_FORM);
    let Some((navs, value)) = field::enter(of, navs, value)? else { return Ok(ControlFlow::Continue(())) };
    match navs {
        [] => return Ok(visit(value)),
        [default] if default.is(&view::NULL_TO_VAL) => {
            if !Reader::new(value).null() {
                return Ok(visit(value));
            }
            out.clear();
            put_value_form(&default.args[0], args, out);
            return Ok(visit(out));
        }
        _ => {}
    }
    let value = of.decode(value)?;
    select_value(of, navs, &value, args, out, visit)
}

/// [`select_row`] from a value that is already decoded.
pub(crate) fn select_value(
    of: Of,
    navs: &[Nav],
    value: &Value,
    args: &dyn Args,
    out: &mut Vec<u8>,
    visit: Visit<'_>,
) -> Result<ControlFlow<()>, EvalError> {
    walk(navs, value, &mut Cx::new(args), &mut |cx, found| {
        let found = cx.result(found);
        check_depth(&found)?;
        out.clear();
        found.encode(out);
        Ok(visit(out))
    })
    .map_err(|source| of.path(source))
}

/// What a stored value becomes.
pub(crate) enum Became {
    /// It is not there any more, or still not.
    Void,
    /// The bytes that were given for it.
    Written,
}

/// Writes to `out` what a stored value becomes under transform navigators that were checked to end in term
/// navigators; `None` is an absent value.
pub(crate) fn transform_row(
    of: Of,
    navs: &[Nav],
    value: Option<&[u8]>,
    args: &dyn Args,
    out: &mut Vec<u8>,
) -> Result<Became, EvalError> {
    if navs.first().is_some_and(field::is_field) {
        return field::transform_field(of, navs, value, args, out);
    }
    if let Some(became) = transform_bytes(of, navs, value, args, out)? {
        return Ok(became);
    }
    let value = value.map(|bytes| of.decode(bytes)).transpose()?;
    let value = rebuild_terminated(navs, value, &mut Cx::new(args)).map_err(|source| of.path(source))?;
    out.clear();
    let Some(value) = value else { return Ok(Became::Void) };
    check_depth(&value).map_err(|source| of.path(source))?;
    value.encode(out);
    Ok(Became::Written)
}

/// The transforms of a whole stored value, which need no value tree.
fn transform_bytes(
    of: Of,
    navs: &[Nav],
    value: Option<&[u8]>,
    args: &dyn Args,
    out: &mut Vec<u8>,
) -> Result<Option<Became>, EvalError> {
    let (default, last) = match navs {
        [last] => (None, last),
        [default, last] if default.is(&view::NULL_TO_VAL) => (Some(default), last),
        _ => return Ok(None),
    };
    out.clear();
    if last.is(&term::TERM_VAL) {
        put_value_form(&last.args[0], args, out);
        return Ok(Some(Became::Written));
    }
    if last.is(&term::TERM_VOID) {
        return Ok(Some(Became::Void));
    }
    if !last.is(&term::TERM_FUNC) {
        return Ok(None);
    }
    let mut replaced = Vec::new();
    let at = match value {
        Some(value) if default.is_none() || !Reader::new(value).null() => value,
        _ => {
            match default {
                Some(default) => put_value_form(&default.args[0], args, &mut replaced),
                None => replaced.extend_from_slice(NULL_FORM),
            }
            &replaced
        }
    };
    call_encoded(last, args, at, out).map_err(|source| of.path(source))?;
    Ok(Some(if out.is_empty() { Became::Void } else { Became::Written }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_form_of_null_is_what_the_codec_writes() {
        let mut bytes = Vec::new();
        Value::Null.encode(&mut bytes);
        assert_eq!(bytes, NULL_FORM);
    }
}
