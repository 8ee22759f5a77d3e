//! How the keys of a PState are spread over its partitions.

use std::fmt;
use std::sync::Arc;
use tantu_base::value::{Decode, DecodeError, Reader, decoded, key_to_value, partition_of_key};
use tantu_path::Before;

/// A function of a key in value form and the number of partitions.
pub(crate) type Route = Arc<dyn Fn(&[u8], u32) -> Result<i64, DecodeError> + Send + Sync>;

/// A PState's key partitioner: by the hash of the key, like the hash partitioner, unless the PState was declared with one
/// of its own.
#[derive(Clone, Default)]
pub struct KeyPartitioner {
    pub(crate) route: Option<Route>,
}

impl fmt::Debug for KeyPartitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.route.is_some() { "KeyPartitioner(custom)" } else { "KeyPartitioner(hash)" })
    }
}

impl KeyPartitioner {
    pub(crate) fn custom<K: Decode>(choose: impl Fn(&K, u32) -> i64 + Send + Sync + 'static) -> KeyPartitioner {
        let route = move |key: &[u8], count: u32| {
            let mut reader = Reader::new(key);
            let key = K::decode(&mut reader)?;
            reader.finish()?;
            Ok(choose(&key, count))
        };
        KeyPartitioner { route: Some(Arc::new(route)) }
    }

    /// Has `before` called ahead of its function, if it has one.
    pub(crate) fn interpose(&mut self, before: &Before) {
        if let Some(route) = self.route.take() {
            let before = Arc::clone(before);
            self.route = Some(Arc::new(move |key, count| {
                before();
                route(key, count)
            }));
        }
    }

    /// The partition, of `count`, of a key in key form.
    ///
    /// # Errors
    /// A sentence: the key is not of the PState's key type, or the function names a partition that does not exist.
    pub fn partition(&self, key_form: &[u8], count: u32) -> Result<u32, String> {
        let Some(route) = &self.route else { return Ok(partition_of_key(key_form, count)) };
        let mut value = Vec::new();
        key_to_value(key_form, &mut value).map_err(|error| error.to_string())?;
        let index = route(&value, count).map_err(|error| format!("the key is not one of the PState's: {error}"))?;
        let found = u32::try_from(index).ok().filter(|index| *index < count);
        found.ok_or_else(|| format!("the key partitioner chose partition {index} of {count}"))
    }
}

/// The key as a reader of messages understands it.
pub(crate) fn show_key(key_form: &[u8]) -> String {
    decoded::<tantu_base::value::Value>(&{
        let mut value = Vec::new();
        let _ = key_to_value(key_form, &mut value);
        value
    })
    .map_or_else(|_| format!("{key_form:?}"), |value| format!("{value:?}"))
}
