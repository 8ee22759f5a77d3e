//! Keys, values and bytes as a person can read them: on one line, without control letters, cut where they are long.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use tantu_base::door::Disk;
use tantu_base::id::{ObjectId, Offset};
use tantu_base::value::{KeyReader, Value};
use tantu_state::layout::{ChunkAt, DepotMeta, depot_chunk_key, depot_meta_key, published_key};
use tantu_state::meta::{ModuleMeta, ObjectKind, read_module};
use tantu_state::side::Published;
use tantu_task::ProgressSeen;

/// Longest text of one key or value, in letters.
const SHOWN_LETTERS_MAX: usize = 160;
/// Bytes shown of what is no value.
const SHOWN_BYTES_MAX: usize = 48;
/// Folders above a file that may hold its module's description.
const FOLDERS_ABOVE_MAX: usize = 6;

/// What a microbatch topology keeps, by the byte behind its object.
const MICROBATCH_RECORDS: [&str; 5] = ["published", "records", "decided", "finished", "paused"];

/// The objects of the module that a file belongs to, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Names {
    objects: BTreeMap<ObjectId, (ObjectKind, String)>,
}

impl Names {
    /// From a module's description.
    pub(super) fn of(meta: &ModuleMeta) -> Names {
        let objects = meta.objects.iter().map(|object| (object.id, (object.kind, object.name.clone())));
        Names { objects: objects.collect() }
    }

    /// Looks for the module's description above a file. Without one objects are shown by their numbers.
    pub(super) fn above(disk: &mut dyn Disk, file: &Path) -> Names {
        let folders = file.ancestors().skip(1).take(FOLDERS_ABOVE_MAX);
        let mut metas = folders.filter_map(|folder| read_module(disk, &folder.join("module.meta")).ok().flatten());
        metas.next().map(|meta| Names::of(&meta)).unwrap_or_default()
    }

    /// An object's name.
    pub(super) fn object(&self, id: ObjectId) -> String {
        self.objects.get(&id).map_or_else(|| id.to_string(), |(_, name)| name.clone())
    }

    fn kind(&self, id: ObjectId) -> Option<ObjectKind> {
        self.objects.get(&id).map(|(kind, _)| *kind)
    }

    /// A tree key.
    pub(super) fn key(&self, key: &[u8]) -> String {
        let Some((object, rest)) = key.split_first_chunk::<4>() else { return bytes(key) };
        let object = ObjectId(u32::from_be_bytes(*object));
        let name = self.object(object);
        if let (Some(ObjectKind::Microbatch), [record]) = (self.kind(object), rest) {
            let known = usize::from(*record);
            return format!("{name} {}", MICROBATCH_RECORDS.get(known).copied().unwrap_or("unknown record"));
        }
        if self.may_be(object, ObjectKind::Depot) && key == depot_meta_key(object) {
            return format!("{name} meta");
        }
        if let (true, Some(end)) = (self.may_be(object, ObjectKind::Depot), chunk_end(key, object)) {
            return format!("{name} chunk to {end}");
        }
        match key_forms(rest) {
            Some(text) if text.is_empty() => name,
            Some(text) => format!("{name} {text}"),
            None => format!("{name} {}", bytes(rest)),
        }
    }

    /// The value of a tree key.
    pub(super) fn value(&self, key: &[u8], value: &[u8]) -> String {
        let object = key.first_chunk::<4>().map(|object| ObjectId(u32::from_be_bytes(*object)));
        let Some(object) = object else { return self::value(value) };
        let is_microbatch = self.kind(object) == Some(ObjectKind::Microbatch) && key == published_key(object);
        if let (true, Ok(Published { run, version })) = (is_microbatch, Published::decode(object, value)) {
            let (id, attempt) = (run.id, run.attempt);
            return format!("microbatch {id}, attempt {}.{}, {version}", attempt.epoch.0, attempt.counter);
        }
        let is_meta = self.may_be(object, ObjectKind::Depot) && key == depot_meta_key(object);
        if let (true, Ok(meta)) = (is_meta, DepotMeta::decode(value)) {
            return format!("copied to {}", meta.copied_end);
        }
        let is_chunk = self.may_be(object, ObjectKind::Depot) && chunk_end(key, object).is_some();
        if let (true, Ok(at)) = (is_chunk, ChunkAt::decode(value)) {
            return format!("from {}, segment {} at byte {}, {} bytes", at.first, at.segment, at.position, at.size);
        }
        let is_progress = key.len() == 4 && self.kind(object) == Some(ObjectKind::Source);
        if let (true, Some(ProgressSeen { next, given_up, processed })) = (is_progress, ProgressSeen::decode(value)) {
            return match given_up {
                0 => format!("next {next}, {processed} processed"),
                given_up => format!("next {next}, {processed} processed, {given_up} given up behind it"),
            };
        }
        self::value(value)
    }

    fn may_be(&self, object: ObjectId, kind: ObjectKind) -> bool {
        self.kind(object).is_none_or(|known| known == kind)
    }
}

fn chunk_end(key: &[u8], depot: ObjectId) -> Option<Offset> {
    let end = Offset(u64::from_be_bytes(*key.last_chunk::<8>()?));
    (key == depot_chunk_key(depot, end)).then_some(end)
}

/// Values in key form, one after the other; `None` if they are none.
fn key_forms(key: &[u8]) -> Option<String> {
    let mut reader = KeyReader::new(key);
    let mut parts = Vec::new();
    while !reader.is_empty() {
        parts.push(shown(&reader.value().ok()?));
    }
    Some(parts.join(" / "))
}

/// Bytes in value form, or as they are.
pub(super) fn value(encoded: &[u8]) -> String {
    Value::decode(encoded).map_or_else(|_| bytes(encoded), |value| shown(&value))
}

/// The first bytes, escaped.
pub(super) fn bytes(all: &[u8]) -> String {
    let first = &all[..all.len().min(SHOWN_BYTES_MAX)];
    let more = if first.len() < all.len() { format!("… ({} bytes)", all.len()) } else { String::new() };
    format!("b\"{}\"{more}", first.escape_ascii())
}

fn shown(value: &Value) -> String {
    let mut text = String::new();
    write_value(value, &mut text);
    if text.chars().count() > SHOWN_LETTERS_MAX {
        text = text.chars().take(SHOWN_LETTERS_MAX).collect();
        text.push('…');
    }
    text
}

/// What is cut anyway is not written.
fn write_value(value: &Value, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = match value {
        Value::Null => write!(out, "null"),
        Value::Bool(is) => write!(out, "{is}"),
        Value::I64(number) => write!(out, "{number}"),
        Value::U64(number) => write!(out, "{number}u"),
        Value::F64(number) => write!(out, "{number:?}"),
        Value::Str(text) => write!(out, "{:?}", text.chars().take(2 * SHOWN_LETTERS_MAX).collect::<String>()),
        Value::Bytes(all) => write!(out, "{}", bytes(all)),
        Value::Uuid(id) => write!(out, "uuid {:032x}", u128::from_be_bytes(*id)),
        Value::List(all) => return write_all(all, ["[", "]"], out, write_value),
        Value::Set(all) => return write_all(all, ["#{", "}"], out, write_value),
        Value::Map(all) => {
            return write_all(all, ["{", "}"], out, |(key, value), out| {
                write_value(key, out);
                out.push_str(": ");
                write_value(value, out);
            });
        }
        Value::Record(all) => {
            return write_all(all, ["<", ">"], out, |(id, value), out| {
                let _ = write!(out, "{id}: ");
                write_value(value, out);
            });
        }
    };
}

fn write_all<T>(all: &[T], ends: [&str; 2], out: &mut String, write_one: impl Fn(&T, &mut String)) {
    out.push_str(ends[0]);
    for (index, one) in all.iter().enumerate() {
        if out.len() > 4 * SHOWN_LETTERS_MAX {
            out.push('…');
            break;
        }
        if index > 0 {
            out.push_str(", ");
        }
        write_one(one, out);
    }
    out.push_str(ends[1]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tantu_base::id::{Attempt, Epoch, RunId, Version};
    use tantu_base::value::{encoded, encoded_key};

    #[test]
    fn values_are_written_so_that_kinds_can_be_told_apart() {
        let map = Value::map([(Value::Str("a\n".into()), Value::I64(-1)), (Value::U64(7), Value::Null)]);
        let mut bytes = Vec::new();
        map.encode(&mut bytes);
        assert_eq!(value(&bytes), r#"{7u: null, "a\n": -1}"#);
        assert_eq!(value(b"\xff\x00plain"), r#"b"\xff\x00plain""#);
        let long = value(&encoded(&"x".repeat(1 << 20)));
        assert!(long.chars().count() <= SHOWN_LETTERS_MAX + 1 && long.ends_with('…'), "{long}");
    }

    #[test]
    fn keys_are_shown_with_the_names_of_their_objects() {
        let mut meta = ModuleMeta::default();
        let depot = meta.object(ObjectKind::Depot, "*lines", &[]);
        let pstate = meta.object(ObjectKind::PState, "$$counts", &[]);
        let source = meta.object(ObjectKind::Source, "counter/*lines", &[]);
        let names = Names::of(&meta);
        assert_eq!(names.key(&depot_meta_key(depot)), "*lines meta");
        assert_eq!(names.key(&depot_chunk_key(depot, Offset(9))), "*lines chunk to offset 9");
        let key = [&pstate.0.to_be_bytes()[..], &encoded_key("word")].concat();
        assert_eq!(names.key(&key), r#"$$counts "word""#);
        assert_eq!(Names::default().key(&key), r#"object 2 "word""#);
        assert_eq!(names.value(&key, &encoded(&5i64)), "5");
        let progress = source.0.to_be_bytes();
        assert_eq!(names.key(&progress), "counter/*lines");
        let saved = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        assert_eq!(names.value(&progress, &saved(&[3])), "next offset 3, 0 processed");
        let counted_from = |first: u64| first | 1 << 62;
        assert_eq!(names.value(&progress, &saved(&[3, counted_from(1)])), "next offset 3, 2 processed");
        let given_up = saved(&[3, 5, counted_from(0)]);
        assert_eq!(names.value(&progress, &given_up), "next offset 3, 3 processed, 1 given up behind it");
    }

    #[test]
    fn what_a_microbatch_topology_published_is_not_taken_for_a_depots_meta_entry() {
        let mut meta = ModuleMeta::default();
        let topology = meta.object(ObjectKind::Microbatch, "transfers", &[]);
        let names = Names::of(&meta);
        let run = RunId { topology, id: 7, attempt: Attempt { epoch: Epoch(3), counter: 2 } };
        let (key, value) = (published_key(topology), Published { run, version: Version(40) }.encode());
        assert_eq!(names.key(&key), "transfers published");
        assert_eq!(names.value(&key, &value), "microbatch 7, attempt 3.2, version 40");
        assert_eq!(names.key(&[&topology.0.to_be_bytes()[..], &[2]].concat()), "transfers decided");
        assert_eq!(names.key(&[&topology.0.to_be_bytes()[..], &[9]].concat()), "transfers unknown record");
    }
}
