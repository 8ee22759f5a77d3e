//! Events on their way to another thread, packed into one letter: little more than their live variables.
//!
//! Events that follow each other mostly differ in little: one position of one topology, the same root or the next one,
//! variables of about the same length. So each is written as what differs from those before it in the letter. What a row
//! names in common with others is a *context*; the writer and the reader number contexts alike.
//!
//! A row: `head u8`, then what the head asks for, then the live variables.
//!
//! | bits of the head | meaning |
//! |---|---|
//! | 0-1 | the root: 0 that of the row before, 1 the record after it, 2 `varint` zigzag to its record, 3 another context: `u8`, its number, or 255 and a new one (`stream u16 · fingerprint u32 · position u32 · task u32 · source u16 · attempt u32`), then `varint` zigzag from the record it had last, 0 if it is new |
//! | 2 | another task than the row before: `varint` |
//! | 3 | the event's place does not follow that of the row before: `u64` |
//! | 4-7 | 0-14: bytes of live variables, less those the context had last, and 7; 15: `varint`, the bytes themselves |

use crate::letter::{LetterError, Root};
use tantu_base::fixed::{FixedReader, Truncated};
use tantu_base::id::{Offset, TaskId};

/// Contexts that are known at a time; a new one takes the place of the oldest.
const CONTEXT_COUNT_MAX: usize = 32;
/// What stands for the number of a new context.
const NEW: u8 = 255;
const OTHER_TASK: u8 = 1 << 2;
const OTHER_PLACE: u8 = 1 << 3;
/// The length of live variables that is as long as before.
const SAME_LEN: i64 = 7;
const ANY_LEN: u8 = 15;

const _: () = assert!(CONTEXT_COUNT_MAX < NEW as usize);

/// How far the places of events that follow each other are apart.
const PLACE_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The place of the event after the one at this place.
#[inline]
pub fn next_place(place: u64) -> u64 {
    place.wrapping_add(PLACE_STEP)
}

/// The random number, in its root's ack value, of the event at a place: splitmix64, so that a sequence of numbers is
/// told by where it begins.
#[inline]
pub fn number_at(place: u64) -> u64 {
    let mut z = place;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Where in a sequence a number stands: the other way round than [`number_at`].
#[inline]
pub fn place_of(number: u64) -> u64 {
    // A product is undone by the inverse of its factor modulo 2^64, a shifted XOR by XORs shifted as far and twice as far.
    let mut z = number;
    z = (z ^ (z >> 31) ^ (z >> 62)).wrapping_mul(0x3196_42b2_d24d_8ec3);
    z = (z ^ (z >> 27) ^ (z >> 54)).wrapping_mul(0x96de_1b17_3f11_9089);
    z ^ (z >> 30) ^ (z >> 60)
}

/// An event that goes on at another thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event<'a> {
    /// Where.
    pub task: TaskId,
    /// Which topology of the module: its streams, then its queries.
    pub stream: u16,
    /// Low half of the plan's fingerprint.
    pub fingerprint: u32,
    /// Where in the plan.
    pub position: u32,
    /// What it descends from.
    pub root: Root,
    /// Where its number stands in its sender's sequence: see [`number_at`].
    pub place: u64,
    /// Encoded live variables.
    pub live: &'a [u8],
}

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Context {
    stream: u16,
    fingerprint: u32,
    position: u32,
    /// With the record it had last.
    root: Root,
    len: u32,
}

const NO_CONTEXT: Context = Context {
    stream: 0,
    fingerprint: 0,
    position: 0,
    root: Root { task: TaskId(0), source: 0, offset: Offset(0), attempt: 0 },
    len: 0,
};

impl Context {
    #[inline]
    fn is_of(&self, event: &Event<'_>) -> bool {
        let of_plan =
            (self.stream, self.fingerprint, self.position) == (event.stream, event.fingerprint, event.position);
        let (one, other) = (&self.root, &event.root);
        of_plan && (one.task, one.source, one.attempt) == (other.task, other.source, other.attempt)
    }
}

/// What rows written or read so far left behind.
#[derive(Clone, Debug)]
struct Rows {
    contexts: [Context; CONTEXT_COUNT_MAX],
    /// Contexts met so far, forgotten ones included.
    met: usize,
    last: usize,
    task: TaskId,
    /// Where the next event is expected.
    place: u64,
}

impl Rows {
    const NONE: Rows = Rows { contexts: [NO_CONTEXT; CONTEXT_COUNT_MAX], met: 0, last: 0, task: TaskId(0), place: 0 };

    fn add(&mut self, context: Context) {
        self.last = self.met % CONTEXT_COUNT_MAX;
        self.met += 1;
        self.contexts[self.last] = context;
    }

    fn known(&self) -> &[Context] {
        &self.contexts[..self.met.min(CONTEXT_COUNT_MAX)]
    }
}

/// Writes the rows of one letter.
#[derive(Clone, Debug)]
pub struct EventWriter(Rows);

impl Default for EventWriter {
    fn default() -> Self {
        EventWriter(Rows::NONE)
    }
}

impl EventWriter {
    /// Forgets the rows: what comes next is the first one of a letter.
    pub fn begin(&mut self) {
        (self.0.met, self.0.last, self.0.task, self.0.place) = (0, 0, TaskId(0), 0);
    }

    /// Appends an event.
    #[inline]
    pub fn push(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        let rows = &mut self.0;
        let at = out.len();
        out.push(0);
        let offset = event.root.offset.0;
        let last = &rows.contexts[rows.last];
        let mut head = if rows.met > 0 && last.is_of(event) {
            match offset.wrapping_sub(last.root.offset.0) {
                same_or_next @ (0 | 1) => same_or_next as u8,
                distance => {
                    put_varint(out, zigzag(distance as i64));
                    2
                }
            }
        } else {
            Self::other_context(rows, event, out);
            3
        };
        if event.task != rows.task {
            head |= OTHER_TASK;
            put_varint(out, u64::from(event.task.0));
        }
        if event.place != rows.place {
            head |= OTHER_PLACE;
            out.extend_from_slice(&event.place.to_le_bytes());
        }
        let context = &mut rows.contexts[rows.last];
        let len = event.live.len() as u32;
        let longer = i64::from(len) - i64::from(context.len) + SAME_LEN;
        if (0..i64::from(ANY_LEN)).contains(&longer) {
            head |= (longer as u8) << 4;
        } else {
            head |= ANY_LEN << 4;
            put_varint(out, u64::from(len));
        }
        (context.root.offset, context.len) = (event.root.offset, len);
        (rows.task, rows.place) = (event.task, next_place(event.place));
        out[at] = head;
        out.extend_from_slice(event.live);
    }

    fn other_context(rows: &mut Rows, event: &Event<'_>, out: &mut Vec<u8>) {
        let before = match rows.known().iter().position(|context| context.is_of(event)) {
            Some(known) => {
                out.push(known as u8);
                rows.last = known;
                rows.contexts[known].root.offset.0
            }
            None => {
                let Event { stream, fingerprint, position, root, .. } = *event;
                out.push(NEW);
                out.extend_from_slice(&stream.to_le_bytes());
                out.extend_from_slice(&fingerprint.to_le_bytes());
                out.extend_from_slice(&position.to_le_bytes());
                out.extend_from_slice(&root.task.0.to_le_bytes());
                out.extend_from_slice(&root.source.to_le_bytes());
                out.extend_from_slice(&root.attempt.to_le_bytes());
                rows.add(Context { stream, fingerprint, position, root, len: 0 });
                0
            }
        };
        put_varint(out, zigzag(event.root.offset.0.wrapping_sub(before) as i64));
    }
}

/// Reads the rows of one letter.
#[derive(Clone, Debug)]
pub struct Events<'a> {
    reader: FixedReader<'a>,
    rows: Rows,
}

impl<'a> Events<'a> {
    /// Of the letter's rows.
    pub fn new(rows: &'a [u8]) -> Events<'a> {
        Events { reader: FixedReader::new(rows), rows: Rows::NONE }
    }

    #[inline]
    fn row(&mut self) -> Result<Event<'a>, LetterError> {
        let Events { reader, rows } = self;
        let head = reader.u8()?;
        let distance = match head & 3 {
            same_or_next @ (0 | 1) => u64::from(same_or_next),
            2 => unzigzag(varint(reader)?) as u64,
            _ => other_context(reader, rows)?,
        };
        if rows.met == 0 {
            return Err(LetterError::Unknown { what: "context", value: head });
        }
        if head & OTHER_TASK != 0 {
            let task = varint(reader)?;
            rows.task = TaskId(u32::try_from(task).map_err(|_| LetterError::Truncated)?);
        }
        if head & OTHER_PLACE != 0 {
            rows.place = reader.u64()?;
        }
        let context = &mut rows.contexts[rows.last];
        let len = match head >> 4 {
            ANY_LEN => varint(reader)?,
            longer => (u64::from(context.len) + u64::from(longer)).wrapping_sub(SAME_LEN as u64),
        };
        let live = reader.take(usize::try_from(len).map_err(|_| LetterError::Truncated)?)?;
        context.len = live.len() as u32;
        context.root.offset.0 = context.root.offset.0.wrapping_add(distance);
        let Context { stream, fingerprint, position, root, .. } = *context;
        let place = rows.place;
        rows.place = next_place(place);
        Ok(Event { task: rows.task, stream, fingerprint, position, root, place, live })
    }
}

/// Goes to another context, and returns how far its record is from the one it had last.
fn other_context(reader: &mut FixedReader<'_>, rows: &mut Rows) -> Result<u64, LetterError> {
    match reader.u8()? {
        NEW => {
            let (stream, fingerprint, position) = (reader.u16()?, reader.u32()?, reader.u32()?);
            let (task, source, attempt) = (TaskId(reader.u32()?), reader.u16()?, reader.u32()?);
            let root = Root { task, source, offset: Offset(0), attempt };
            rows.add(Context { stream, fingerprint, position, root, len: 0 });
        }
        known if usize::from(known) < rows.known().len() => rows.last = usize::from(known),
        value => return Err(LetterError::Unknown { what: "context", value }),
    }
    Ok(unzigzag(varint(reader)?) as u64)
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<Event<'a>, LetterError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let row = self.row();
        if row.is_err() {
            // Nothing behind a row that is not one can be told apart.
            self.reader = FixedReader::new(&[]);
        }
        Some(row)
    }
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

/// Seven bits a byte, the low ones first; the highest bit of a byte says that more follow.
#[inline]
fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

#[inline]
fn varint(reader: &mut FixedReader<'_>) -> Result<u64, LetterError> {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let byte = reader.u8()?;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(n);
        }
    }
    Err(Truncated.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(events: &[Event<'_>]) -> Vec<u8> {
        let (mut writer, mut out) = (EventWriter::default(), Vec::new());
        events.iter().for_each(|event| writer.push(event, &mut out));
        out
    }

    fn event<'a>(n: u64, live: &'a [u8]) -> Event<'a> {
        let root = Root { task: TaskId(3), source: 1, offset: Offset(n), attempt: 0 };
        Event {
            task: TaskId(5),
            stream: 2,
            fingerprint: 77,
            position: 4,
            root,
            place: n.wrapping_mul(PLACE_STEP),
            live,
        }
    }

    #[test]
    fn events_that_differ_in_every_way_come_back_as_they_were() {
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = next_place(seed);
            number_at(seed) % below
        };
        let texts: Vec<Vec<u8>> = (0..300).map(|n| vec![n as u8; n * n / 50]).collect();
        for _ in 0..200 {
            let mut place = 0;
            let events: Vec<Event<'_>> = (0..random(200))
                .map(|n| {
                    place = if random(4) == 0 { random(u64::MAX) } else { next_place(place) };
                    // More contexts than are kept, and some that come again.
                    let root = Root {
                        task: TaskId(random(4) as u32),
                        source: random(3) as u16,
                        offset: Offset([n, u64::MAX - n, random(1 << 40)][random(3) as usize]),
                        attempt: random(3) as u32,
                    };
                    let most = [8, 300][random(2) as usize];
                    let live = &texts[random(most) as usize];
                    let (stream, position, fingerprint) = (random(2) as u16, random(3) as u32, 9);
                    Event { task: TaskId(random(3) as u32 * 100), stream, fingerprint, position, root, place, live }
                })
                .collect();
            let rows = packed(&events);
            let back: Result<Vec<_>, _> = Events::new(&rows).collect();
            assert_eq!(back.expect("they are whole"), events);
        }
    }

    #[test]
    fn an_event_after_one_like_it_takes_a_byte_besides_its_variables() {
        let events = [event(10, b"0123456789"), event(11, b"012345678"), event(11 + 1, b"0123456789abcde")];
        assert_eq!(packed(&events).len() - packed(&events[..1]).len(), 2 + 9 + 15);
    }

    #[test]
    fn rows_that_are_cut_or_name_what_is_not_there_are_refused_and_the_last_thing_read() {
        let whole = packed(&[event(10, b"0123456789"), event(999, b"live")]);
        for len in 1..whole.len() {
            let read: Vec<_> = Events::new(&whole[..len]).collect();
            let whole_rows = read.iter().filter(|row| row.is_ok()).count();
            assert!(read.len() - whole_rows <= 1 && whole_rows < 2, "{len}: {read:?}");
            assert!(read.last().is_some_and(|last| last.is_err()) || whole_rows == 1, "{len}: {read:?}");
        }
        for rows in [&[0x70][..], &[3, 0, 0], &[3, 31, 0], &[3, 200, 0]] {
            assert!(Events::new(rows).next().expect("not empty").is_err(), "{rows:?}");
        }
    }

    #[test]
    fn numbers_that_follow_each_other_are_those_of_the_published_generator() {
        // The first outputs of splitmix64 from the seed 1234567.
        let mut place = 1_234_567;
        let numbers: Vec<u64> = (0..3)
            .map(|_| {
                place = next_place(place);
                number_at(place)
            })
            .collect();
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
        let places = [0, 1, u64::MAX, 1 << 63].into_iter().chain((0..1_000).map(|n| next_place(n * n)));
        places.for_each(|place| assert_eq!(place_of(number_at(place)), place));
    }
}
