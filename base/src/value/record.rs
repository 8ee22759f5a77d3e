//! Records in value form: narrow ones field by field, wide ones behind a table of where each field is.
//!
//! A reader of one field of a narrow record passes the ids and lengths of those before it. From
//! [`WIDE_COUNT_MIN`] fields on that is more than a few fields' worth of bytes, so the ids and the ends of the
//! fields stand in front, in fixed widths: a field is found by binary search, and the rest is not looked at.

use super::data::Value;
use super::error::DecodeError;
use super::read::Reader;
use super::tag;
use super::typed::Encode;
use super::write::{put_field_id, put_key_field_id, put_varint};
use std::ops::Range;

/// From this many fields on a record has a table.
pub const WIDE_COUNT_MIN: usize = 16;

/// Writes a record in value form: the number of fields first, then each field, ids ascending.
///
/// ```
/// use tantu_base::value::{RecordWriter, Value};
///
/// let mut bytes = Vec::new();
/// let mut record = RecordWriter::start(&mut bytes, 2);
/// record.field(&mut bytes, 1, "ann");
/// record.field(&mut bytes, 4, &7i64);
/// record.finish(&mut bytes);
/// assert_eq!(Value::decode(&bytes), Ok(Value::record([(1, Value::from("ann")), (4, Value::from(7i64))])));
/// ```
#[derive(Debug)]
pub struct RecordWriter {
    start: usize,
    left: usize,
    /// Of a wide record: the ids so far, and where the value of each starts in the output.
    places: Option<Vec<(u32, usize)>>,
}

impl RecordWriter {
    /// Starts a record of `count` fields.
    #[inline]
    pub fn start(out: &mut Vec<u8>, count: usize) -> RecordWriter {
        let start = out.len();
        let is_wide = count >= WIDE_COUNT_MIN;
        if !is_wide {
            out.push(tag::RECORD);
            put_varint(out, count as u64);
        }
        RecordWriter { start, left: count, places: is_wide.then(|| Vec::with_capacity(count)) }
    }

    /// Appends a field, unless it is null: a Rust type's record does not have its null fields, nor counts them.
    #[inline]
    pub fn field<T: Encode + ?Sized>(&mut self, out: &mut Vec<u8>, id: u32, data: &T) {
        if !data.is_null() {
            self.id(out, id);
            data.encode(out);
        }
    }

    /// Appends a field whose value is given in value form.
    pub fn encoded(&mut self, out: &mut Vec<u8>, id: u32, value: &[u8]) {
        self.id(out, id);
        out.extend_from_slice(value);
    }

    /// Starts a field: whoever calls it writes one value next.
    #[inline]
    pub fn id(&mut self, out: &mut Vec<u8>, id: u32) {
        debug_assert!(self.left > 0, "more fields than the record was started with");
        self.left -= 1;
        match &mut self.places {
            None => put_field_id(out, id),
            Some(places) => places.push((id, out.len())),
        }
    }

    /// Ends the record.
    #[inline]
    pub fn finish(self, out: &mut Vec<u8>) {
        debug_assert_eq!(self.left, 0, "fewer fields than the record was started with");
        if let Some(places) = self.places {
            insert_table(out, self.start, &places);
        }
    }
}

/// Puts the head and the table of a wide record in front of its values, which start at `start`.
#[cold]
fn insert_table(out: &mut Vec<u8>, start: usize, places: &[(u32, usize)]) {
    let size = out.len() - start;
    let id_width = width_of(places.last().map_or(0, |(id, _)| u64::from(*id)));
    let end_width = width_of(size as u64);
    let mut head = vec![tag::RECORD];
    put_varint(&mut head, places.len() as u64);
    head.push((id_width << 4 | end_width) as u8);
    for (id, _) in places {
        head.extend_from_slice(&u64::from(*id).to_be_bytes()[8 - id_width..]);
    }
    let ends = places.iter().skip(1).map(|(_, place)| place - start).chain([size]);
    for end in ends {
        head.extend_from_slice(&(end as u64).to_be_bytes()[8 - end_width..]);
    }
    out.splice(start..start, head);
}

/// Turns values that were written one after the other from `start` on into a record; `places` are their ids and
/// where each starts. For whoever learns their number only at the end.
pub(super) fn finish_record(out: &mut Vec<u8>, start: usize, places: &[(u32, usize)]) {
    if places.len() >= WIDE_COUNT_MIN {
        return insert_table(out, start, places);
    }
    let values = out.split_off(start);
    out.push(tag::RECORD);
    put_varint(out, places.len() as u64);
    let ends = places.iter().skip(1).map(|(_, place)| place - start).chain([values.len()]);
    for ((id, place), end) in places.iter().zip(ends) {
        put_field_id(out, *id);
        out.extend_from_slice(&values[place - start..end]);
    }
}

/// Bytes of a table's numbers: the least power of two that holds the largest.
fn width_of(largest: u64) -> usize {
    match largest {
        0..=0xFF => 1,
        0x100..=0xFFFF => 2,
        0x1_0000..=0xFFFF_FFFF => 4,
        _ => 8,
    }
}

/// Appends a field of a record in key form, unless it is null.
#[inline]
pub fn put_key_field<T: Encode + ?Sized>(out: &mut Vec<u8>, id: u32, data: &T) {
    if !data.is_null() {
        put_key_field_id(out, id);
        data.encode_key(out);
    }
}

/// The table in front of a wide record.
#[derive(Clone, Copy, Debug)]
struct Table<'a> {
    ids: &'a [u8],
    ends: &'a [u8],
    id_width: usize,
    end_width: usize,
}

impl Table<'_> {
    fn id(&self, index: usize) -> u64 {
        number(&self.ids[index * self.id_width..][..self.id_width])
    }

    fn end(&self, index: usize) -> u64 {
        number(&self.ends[index * self.end_width..][..self.end_width])
    }

    /// Where a field's value is, from where the values start.
    fn place(&self, index: usize) -> (u64, u64) {
        (if index == 0 { 0 } else { self.end(index - 1) }, self.end(index))
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The fields of a record being read: [`Fields::next`] gives an id, then its value is read or skipped.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    count: usize,
    next: usize,
    last_id: Option<u32>,
    /// Of a wide record: its table, and where its values start.
    wide: Option<(Table<'a>, usize)>,
}

impl<'a> Reader<'a> {
    /// Reads the start of a record and goes one level deeper.
    ///
    /// # Errors
    /// If there is no record, if it is too deep, or if its table is not canonical.
    #[inline]
    pub fn fields(&mut self) -> Result<Fields<'a>, DecodeError> {
        if self.peek_tag() != Some(tag::RECORD) {
            return Err(self.unexpected("record"));
        }
        self.enter()?;
        let count = self.container_count(2)?;
        let wide = if count < WIDE_COUNT_MIN { None } else { Some(self.table(count)?) };
        Ok(Fields { count, next: 0, last_id: None, wide })
    }

    /// Reads a table. Its ends are checked as far as each is used.
    #[cold]
    fn table(&mut self, count: usize) -> Result<(Table<'a>, usize), DecodeError> {
        let offset = self.position();
        let widths = usize::from(self.take(1)?[0]);
        let (id_width, end_width) = (widths >> 4, widths & 15);
        if !matches!(id_width, 1 | 2 | 4) || !matches!(end_width, 1 | 2 | 4 | 8) {
            return Err(DecodeError::BadTable { offset });
        }
        let ids = self.take(count * id_width)?;
        let ends = self.take(count * end_width)?;
        let table = Table { ids, ends, id_width, end_width };
        let size = table.end(count - 1);
        if width_of(table.id(count - 1)) != id_width || width_of(size) != end_width {
            return Err(DecodeError::BadTable { offset });
        }
        match usize::try_from(size) {
            Ok(size) if (count..=self.available()).contains(&size) => Ok((table, self.position())),
            _ => Err(DecodeError::CountTooLarge { offset, count: size }),
        }
    }

    /// Reads a field's value, which may be null or not there.
    ///
    /// # Errors
    /// If it is something else; the error names the field.
    #[inline]
    pub fn field<T: super::Decode>(&mut self, of: &'static FieldName) -> Result<T, DecodeError> {
        let (offset, found) = (self.position(), self.peek_kind());
        T::decode(self).map_err(|error| match (error, found) {
            (DecodeError::WrongKind { offset: at, .. }, Ok(found)) if at == offset => {
                DecodeError::WrongField { offset, field: of, found }
            }
            (error, _) => error,
        })
    }
}

impl Fields<'_> {
    /// Fields in the record.
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Fields whose id has not come yet.
    #[inline]
    pub fn left(&self) -> usize {
        self.count - self.next
    }

    /// The id of the next field, whose value is next in the reader; `None` at the end.
    ///
    /// # Errors
    /// If ids do not ascend, or if the values so far do not end where the table says.
    #[inline]
    pub fn next(&mut self, reader: &mut Reader<'_>) -> Result<Option<u32>, DecodeError> {
        let offset = reader.position();
        if let Some((table, start)) = &self.wide
            && self.next > 0
            && table.end(self.next - 1) != (offset - start) as u64
        {
            return Err(DecodeError::BadTable { offset });
        }
        if self.next == self.count {
            reader.leave();
            return Ok(None);
        }
        let id = match &self.wide {
            None => reader.field_id()?,
            // A table's ids have at most four bytes.
            Some((table, _)) => table.id(self.next) as u32,
        };
        if self.last_id.replace(id).is_some_and(|last| last >= id) {
            return Err(DecodeError::NotAscending { offset });
        }
        self.next += 1;
        Ok(Some(id))
    }

    /// Skips the value of the field whose id came last. In a wide record nothing of it is looked at.
    ///
    /// # Errors
    /// If the bytes end first, or nothing starts so.
    #[inline]
    pub fn skip(&self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        match &self.wide {
            None => reader.skip().map(drop),
            Some((table, start)) => reader.go_to(*start, table.end(self.next - 1)),
        }
    }

    /// Goes behind the record. In a wide record nothing of the fields left is looked at.
    ///
    /// # Errors
    /// If the bytes end first, or are no fields.
    pub(super) fn skip_rest(mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        if let Some((table, start)) = &self.wide {
            reader.go_to(*start, table.end(self.count - 1))?;
            reader.leave();
            return Ok(());
        }
        while self.next(reader)?.is_some() {
            reader.skip()?;
        }
        Ok(())
    }
}

/// Where in `record`, a record in value form, the value of a field is; `None` if it has no such field. Of a wide
/// record only what a binary search touches is read, of a narrow one nothing behind the field.
///
/// # Errors
/// If it is no record, or if what was read of it is not canonical.
pub fn find_field(record: &[u8], id: u32) -> Result<Option<Range<usize>>, DecodeError> {
    let mut reader = Reader::new(record);
    let mut fields = reader.fields()?;
    let Some((table, start)) = fields.wide else {
        while let Some(next) = fields.next(&mut reader)? {
            let from = reader.position();
            if next > id {
                return Ok(None);
            }
            reader.skip()?;
            if next == id {
                return Ok(Some(from..reader.position()));
            }
        }
        return Ok(None);
    };
    let (mut low, mut high) = (0, fields.count);
    while low < high {
        let middle = low + (high - low) / 2;
        match table.id(middle).cmp(&u64::from(id)) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => {
                let (from, to) = table.place(middle);
                reader.go_to(start, from)?;
                let from = reader.position();
                reader.go_to(start, to)?;
                let place = from..reader.position();
                return if place.is_empty() { Err(DecodeError::BadTable { offset: from }) } else { Ok(Some(place)) };
            }
        }
    }
    Ok(None)
}

/// Appends `record` with one field replaced, added, or (where `value` is `None`) removed. The values of the other
/// fields are copied as they are, and not looked at where a table says how long they are.
///
/// # Errors
/// If `record` is no record, or if what was read of it is not canonical; `out` may have grown.
pub fn put_record_with(record: &[u8], id: u32, value: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut reader = Reader::new(record);
    let mut fields = reader.fields()?;
    let mut parts: Vec<(u32, &[u8])> = Vec::with_capacity(fields.count + 1);
    let mut value = value.map(|bytes| (id, bytes));
    while let Some(next) = fields.next(&mut reader)? {
        let from = reader.position();
        fields.skip(&mut reader)?;
        if next >= id {
            parts.extend(value.take());
        }
        if next != id {
            parts.push((next, reader.since(from)));
        }
    }
    reader.finish()?;
    parts.extend(value);
    let mut writer = RecordWriter::start(out, parts.len());
    for (id, value) in parts {
        writer.encoded(out, id, value);
    }
    writer.finish(out);
    Ok(())
}

/// A field of a record type, for messages.
#[derive(PartialEq, Eq, Debug)]
pub struct FieldName {
    /// The type's name, for an enum's variant `Type::Variant`.
    pub record: &'static str,
    /// The field's.
    pub name: &'static str,
    /// Its id in stored bytes.
    pub id: u32,
    /// Its type, as the author wrote it.
    pub rust_type: &'static str,
}

impl std::fmt::Display for FieldName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}::{} (field {}, {})", self.record, self.name, self.id, self.rust_type)
    }
}

impl FieldName {
    /// What the field is where a record does not have it: what null reads as.
    ///
    /// # Errors
    /// If null is none of its type; the error names the field.
    pub fn missing<T: super::Decode>(&'static self, offset: usize) -> Result<T, DecodeError> {
        T::decode(&mut Reader::new(&[tag::NULL])).map_err(|_| DecodeError::MissingField { offset, field: self })
    }
}

/// Reads a record as a value.
pub(super) fn record_value(reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    let mut fields = reader.fields()?;
    let is_wide = fields.wide.is_some();
    let per_field = if is_wide { 1 } else { 2 };
    reader.promise(per_field * fields.count);
    let mut values: Vec<(u32, Value)> = Vec::with_capacity(fields.count);
    while let Some(id) = fields.next(reader)? {
        reader.fulfil(per_field);
        values.push((id, reader.value()?));
    }
    Ok(Value::Record(values))
}
