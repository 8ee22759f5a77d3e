//! Sorted collections of Rust data as sets and maps.
//!
//! Their order is the order of the type, which for a user's own type need not be the order of its keys. So
//! the order is checked while writing, and put right in the rare case that it differs.

use super::error::DecodeError;
use super::key::Ascending;
use super::order::compare_encoded;
use super::read::Reader;
use super::typed::{Decode, Encode};
use super::write::*;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

impl<T: Encode> Encode for BTreeSet<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        let parts = self.iter().map(|element| (element, None::<&()>));
        put_parts(out, self.len(), parts, put_set_header);
    }

    fn encode_key(&self, out: &mut Vec<u8>) {
        put_key_set_start(out);
        put_key_parts(out, self.iter().map(|element| (element, None::<&()>)));
        put_key_end(out);
    }
}

impl<T: Decode + Ord> Decode for BTreeSet<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.enter()?;
        let count = reader.set()?;
        let mut set = BTreeSet::new();
        let mut last = None;
        for _ in 0..count {
            set.insert(ascending_part(reader, &mut last)?);
        }
        reader.leave();
        Ok(set)
    }
}

impl<K: Encode, V: Encode> Encode for BTreeMap<K, V> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_parts(out, self.len(), self.iter().map(|(key, value)| (key, Some(value))), put_map_header);
    }

    fn encode_key(&self, out: &mut Vec<u8>) {
        put_key_map_start(out);
        put_key_parts(out, self.iter().map(|(key, value)| (key, Some(value))));
        put_key_end(out);
    }
}

impl<K: Decode + Ord, V: Decode> Decode for BTreeMap<K, V> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.enter()?;
        let count = reader.map()?;
        let mut map = BTreeMap::new();
        let mut last = None;
        for _ in 0..count {
            let key = ascending_part(reader, &mut last)?;
            map.insert(key, V::decode(reader)?);
        }
        reader.leave();
        Ok(map)
    }
}

/// Reads an element or a key and checks that it is above the last one.
fn ascending_part<'a, T: Decode>(reader: &mut Reader<'a>, last: &mut Option<&'a [u8]>) -> Result<T, DecodeError> {
    let offset = reader.position();
    let data = T::decode(reader)?;
    let bytes = reader.since(offset);
    match last.replace(bytes) {
        Some(last) if compare_encoded(last, bytes)? != Ordering::Less => Err(DecodeError::NotAscending { offset }),
        _ => Ok(data),
    }
}

/// Where a part was written: its start, the end of its element or key, its end.
type Part = (usize, usize, usize);

fn put_parts<'a, K: Encode + 'a, V: Encode + 'a>(
    out: &mut Vec<u8>,
    count: usize,
    parts: impl Iterator<Item = (&'a K, Option<&'a V>)> + Clone,
    put_header: fn(&mut Vec<u8>, usize),
) {
    let start = out.len();
    put_header(out, count);
    let mut last: Option<(usize, usize)> = None;
    for (key, value) in parts.clone() {
        let from = out.len();
        key.encode(out);
        let to = out.len();
        if let Some((last_from, last_to)) = last
            && order(&out[last_from..last_to], &out[from..to]) != Ordering::Less
        {
            return put_parts_sorted(out, start, parts, put_header);
        }
        last = Some((from, to));
        if let Some(value) = value {
            value.encode(out);
        }
    }
}

/// Writes the parts anew from `start`, in the order of their keys; of parts with one key the last.
#[cold]
fn put_parts_sorted<'a, K: Encode + 'a, V: Encode + 'a>(
    out: &mut Vec<u8>,
    start: usize,
    parts: impl Iterator<Item = (&'a K, Option<&'a V>)>,
    put_header: fn(&mut Vec<u8>, usize),
) {
    let mut bytes = Vec::new();
    let mut places = write_unsorted(&mut bytes, parts, K::encode, V::encode);
    sort_last_wins(&mut places, |a, b| order(&bytes[a.0..a.1], &bytes[b.0..b.1]));
    out.truncate(start);
    put_header(out, places.len());
    places.iter().for_each(|(from, _, to)| out.extend_from_slice(&bytes[*from..*to]));
}

fn put_key_parts<'a, K: Encode + 'a, V: Encode + 'a>(
    out: &mut Vec<u8>,
    parts: impl Iterator<Item = (&'a K, Option<&'a V>)> + Clone,
) {
    let start = out.len();
    let mut ascending = Ascending::default();
    for (key, value) in parts.clone() {
        let from = out.len();
        key.encode_key(out);
        if !ascending.admits(out, from, out.len()) {
            let mut bytes = Vec::new();
            let mut places = write_unsorted(&mut bytes, parts, K::encode_key, V::encode_key);
            sort_last_wins(&mut places, |a, b| bytes[a.0..a.1].cmp(&bytes[b.0..b.1]));
            out.truncate(start);
            places.iter().for_each(|(from, _, to)| out.extend_from_slice(&bytes[*from..*to]));
            return;
        }
        if let Some(value) = value {
            value.encode_key(out);
        }
    }
}

fn write_unsorted<'a, K: 'a, V: 'a>(
    bytes: &mut Vec<u8>,
    parts: impl Iterator<Item = (&'a K, Option<&'a V>)>,
    put_key: fn(&K, &mut Vec<u8>),
    put_value: fn(&V, &mut Vec<u8>),
) -> Vec<Part> {
    parts
        .map(|(key, value)| {
            let from = bytes.len();
            put_key(key, bytes);
            let key_end = bytes.len();
            if let Some(value) = value {
                put_value(value, bytes);
            }
            (from, key_end, bytes.len())
        })
        .collect()
}

fn sort_last_wins(places: &mut Vec<Part>, order: impl Fn(&Part, &Part) -> Ordering) {
    places.sort_by(&order);
    places.dedup_by(|later, earlier| {
        let is_same = order(earlier, later).is_eq();
        if is_same {
            std::mem::swap(later, earlier);
        }
        is_same
    });
}

fn order(a: &[u8], b: &[u8]) -> Ordering {
    compare_encoded(a, b).expect("invariant: both were just written by `Encode`")
}
