//! What an evaluation of an aggregation changed: the keys that led there and the new values (AGG-12).

/// The key path an evaluation touched and what is there now. Reused from one evaluation to the next.
///
/// ```
/// use tantu_base::value::{Decode, KeyReader, Reader, Value};
/// # use std::{collections::BTreeMap, ops::Bound};
/// # use tantu_base::id::ObjectId;
/// # use tantu_path::{Stop, Store, VisitEntry};
/// use tantu_path::agg::{self, AggOn, Captured};
/// use tantu_path::{Map, NoArgs, PStateSchema, Scratch, aggregate_capturing};
/// # #[derive(Default)]
/// # struct Memory(BTreeMap<Vec<u8>, Vec<u8>>);
/// # impl Store for Memory {
/// #     fn get(&mut self, _: ObjectId, key: &[u8], out: &mut Vec<u8>) -> Result<bool, Stop> {
/// #         out.clear();
/// #         out.extend(self.0.get(key).into_iter().flatten());
/// #         Ok(self.0.contains_key(key))
/// #     }
/// #     fn put(&mut self, _: ObjectId, key: &[u8], value: &[u8]) -> Result<(), Stop> {
/// #         self.0.insert(key.to_vec(), value.to_vec());
/// #         Ok(())
/// #     }
/// #     fn delete(&mut self, _: ObjectId, key: &[u8]) -> Result<(), Stop> {
/// #         self.0.remove(key);
/// #         Ok(())
/// #     }
/// #     fn delete_range(&mut self, _: ObjectId, _: &[u8], _: &[u8]) -> Result<(), Stop> {
/// #         Ok(())
/// #     }
/// #     fn scan_back(&mut self, _: ObjectId, _: Bound<&[u8]>, _: Bound<&[u8]>, _: VisitEntry<'_>) -> Result<(), Stop> {
/// #         Ok(())
/// #     }
/// #     fn scan(&mut self, _: ObjectId, _: Bound<&[u8]>, _: Bound<&[u8]>, _: VisitEntry<'_>) -> Result<(), Stop> {
/// #         Ok(())
/// #     }
/// # }
/// # let mut store = Memory::default();
///
/// let visits: AggOn<Map<String, Map<i64, i64>>> = agg::key("ann", agg::key(7, agg::count()));
/// let schema = <Map<String, Map<i64, i64>>>::schema();
/// visits.shape().check_capture()?;
/// let mut captured = Captured::default();
/// for _ in 0..2 {
///     aggregate_capturing(&schema, ObjectId(0), visits.shape(), &mut store, &NoArgs, &mut Scratch::new(), &mut captured)?;
/// }
/// let mut path = KeyReader::new(captured.key());
/// assert_eq!((path.value()?, path.value()?), (Value::from("ann"), Value::from(7)));
/// assert_eq!(i64::decode(&mut Reader::new(captured.values()))?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, Debug)]
pub struct Captured {
    pub(super) key: Vec<u8>,
    pub(super) values: Vec<u8>,
}

impl Captured {
    /// The key forms from the top-level key inwards, one after the other: as they are, a key of a
    /// [`Fold`](crate::Fold)'s group.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The value forms of what the aggregators of the shape left, in its order, one after the other; null where one
    /// removed.
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    pub(super) fn clear(&mut self) {
        self.key.clear();
        self.values.clear();
    }
}
