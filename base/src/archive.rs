//! Sealed documents: the footers, indexes, manifests and checkpoints of the disk, as `rkyv` archives behind
//! a header.
//!
//! `rkyv` reads a document where it lies, but its own checks prove only that reading is safe, not that the
//! bytes are the ones that were written: most flipped bits pass them. And unless told otherwise it recurses
//! as deep as the bytes say. So every document is sealed with its length and a checksum that knows its
//! [`Place`], and [`open`] is the only way in: length cap, magic, length, checksum and schema first, then
//! validation no deeper than [`VALUE_DEPTH_MAX`].
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | magic `TnDo` |
//! | 4 | 4 | schema: [`Document::SCHEMA`] |
//! | 8 | 4 | bytes of the body |
//! | 12 | 4 | checksum of bytes 0 to 12 and the body, at the place |
//! | 16 | … | body: the archive, its root last |
//!
//! Numbers are little-endian. Archives are little-endian, unaligned, with 32-bit offsets. An archive has no
//! room for change: a type that changes takes a new schema number, and the old type stays for as long as old
//! files do.

use crate::checksum::Place;
use crate::limit::VALUE_DEPTH_MAX;
use rkyv::api::high::{HighSerializer, to_bytes_in};
use rkyv::api::low::LowValidator;
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::validation::Validator;
use rkyv::validation::archive::ArchiveValidator;
use rkyv::{Archive, Archived, Serialize};
use std::num::NonZeroUsize;

/// Bytes in front of the body.
pub const HEADER_SIZE: usize = 16;

const MAGIC: [u8; 4] = *b"TnDo";

/// A type that is stored as a document.
pub trait Document: Archive {
    /// Names the exact layout, and is never reused: any change of the type takes a new number.
    const SCHEMA: u32;
}

/// Bytes are not the document that was looked for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("document at byte {} of {:?} file {} of owner {}: {fault}", .place.offset, .place.kind, .place.file, .place.owner)]
pub struct ArchiveError {
    /// Where it should have been.
    pub place: Place,
    /// What is wrong.
    pub fault: ArchiveFault,
}

/// What is wrong with a document.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ArchiveFault {
    /// Not even a header.
    #[error("{size} bytes are too few for a header")]
    TooShort {
        /// Bytes there.
        size: usize,
    },
    /// It does not start like a document.
    #[error("no document starts here")]
    NotADocument,
    /// The header announces more than the caller's limit.
    #[error("{size} bytes are more than the limit of {size_max}")]
    TooLarge {
        /// Bytes of the body, as announced.
        size: usize,
        /// The caller's limit.
        size_max: usize,
    },
    /// The header announces another length than there is.
    #[error("{announced} bytes are announced and {size} are there")]
    WrongLength {
        /// Bytes of the body, as announced.
        announced: usize,
        /// Bytes of the body, as given.
        size: usize,
    },
    /// The bytes are not those that were written here.
    #[error("its checksum is {found:08x} and should be {expected:08x}")]
    Checksum {
        /// The checksum of what is there.
        expected: u32,
        /// The checksum in the header.
        found: u32,
    },
    /// A sound document of another type or version.
    #[error("its schema is {found} and should be {expected}")]
    WrongSchema {
        /// The schema asked for.
        expected: u32,
        /// The schema in the header.
        found: u32,
    },
    /// The checksum is right, and yet the body is no archive of the type: whoever wrote it had a bug.
    #[error("its checksum is right but its body is not valid: {reason}")]
    Invalid {
        /// The first thing found wrong.
        reason: String,
    },
}

/// Appends a sealed document.
///
/// # Panics
/// If it does not fit the 2 GiB of an archive; every caller's limit is far below.
pub fn seal<T>(document: &T, place: &Place, out: &mut Vec<u8>)
where
    T: Document + for<'a> Serialize<HighSerializer<Vec<u8>, ArenaHandle<'a>, rancor::Error>>,
{
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_SIZE]);
    // The serializer owns its output; lend it the buffer.
    *out = to_bytes_in::<_, rancor::Error>(document, std::mem::take(out))
        .expect("invariant: only what exceeds 2 GiB cannot be archived");
    put_header(T::SCHEMA, place, &mut out[start..]);
}

/// Fills in the header of a document whose body is in place.
fn put_header(schema: u32, place: &Place, document: &mut [u8]) {
    let (header, body) = document.split_at_mut(HEADER_SIZE);
    let len = u32::try_from(body.len()).expect("invariant: only what exceeds 2 GiB cannot be archived");
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&schema.to_le_bytes());
    header[8..12].copy_from_slice(&len.to_le_bytes());
    let crc = place.crc_parts(&[&header[..12], body]);
    header[12..].copy_from_slice(&crc.to_le_bytes());
}

/// How many bytes the document at the start of `bytes` has, header included, as its header says: for whoever
/// reads documents from a larger region. Nothing but the header is looked at; [`open`] checks the rest.
///
/// # Errors
/// If no document starts here or its body is larger than `size_max`.
pub fn sealed_size(bytes: &[u8], place: &Place, size_max: usize) -> Result<usize, ArchiveError> {
    let error = |fault| Err(ArchiveError { place: *place, fault });
    let Some(header) = bytes.first_chunk::<HEADER_SIZE>() else {
        return error(ArchiveFault::TooShort { size: bytes.len() });
    };
    if header[..4] != MAGIC {
        return error(ArchiveFault::NotADocument);
    }
    let size = field(header, 8) as usize;
    if size > size_max {
        return error(ArchiveFault::TooLarge { size, size_max });
    }
    Ok(HEADER_SIZE + size)
}

/// Opens a sealed document where it lies. `bytes` are exactly the document; `size_max` caps its body.
///
/// # Errors
/// If it is not a document of this type, written at this place and unchanged since.
pub fn open<'a, T>(bytes: &'a [u8], place: &Place, size_max: usize) -> Result<&'a Archived<T>, ArchiveError>
where
    T: Document,
    Archived<T>: for<'c> CheckBytes<LowValidator<'c, rancor::Error>>,
{
    let error = |fault| ArchiveError { place: *place, fault };
    let announced = sealed_size(bytes, place, size_max)? - HEADER_SIZE;
    let (header, body) = bytes.split_at(HEADER_SIZE);
    if announced != body.len() {
        return Err(error(ArchiveFault::WrongLength { announced, size: body.len() }));
    }
    let (found, expected) = (field(header, 12), place.crc_parts(&[&header[..12], body]));
    if found != expected {
        return Err(error(ArchiveFault::Checksum { expected, found }));
    }
    let schema = field(header, 4);
    if schema != T::SCHEMA {
        return Err(error(ArchiveFault::WrongSchema { expected: T::SCHEMA, found: schema }));
    }
    let nesting = ArchiveValidator::with_max_depth(body, NonZeroUsize::new(VALUE_DEPTH_MAX));
    let mut validator = Validator::new(nesting, ());
    rkyv::api::access_with_context::<Archived<T>, _, rancor::Error>(body, &mut validator)
        .map_err(|reason| error(ArchiveFault::Invalid { reason: reason.to_string() }))
}

fn field(header: &[u8], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&header[at..at + 4]);
    u32::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::FileKind;
    use rkyv::{Archive, Serialize};

    #[derive(Archive, Serialize)]
    struct Footer {
        name: String,
        blocks: Vec<(u64, u32)>,
        newest: Option<u64>,
    }

    impl Document for Footer {
        const SCHEMA: u32 = 7;
    }

    /// The same layout under another schema.
    #[derive(Archive, Serialize)]
    struct OtherFooter {
        name: String,
        blocks: Vec<(u64, u32)>,
        newest: Option<u64>,
    }

    impl Document for OtherFooter {
        const SCHEMA: u32 = 8;
    }

    #[derive(Archive, Serialize)]
    #[rkyv(serialize_bounds(__S: rkyv::ser::Writer + rkyv::ser::Allocator, __S::Error: rancor::Source))]
    #[rkyv(bytecheck(bounds(__C: rkyv::validation::ArchiveContext, __C::Error: rancor::Source)))]
    struct Nest {
        #[rkyv(omit_bounds)]
        inner: Vec<Nest>,
    }

    impl Document for Nest {
        const SCHEMA: u32 = 9;
    }

    const SIZE_MAX: usize = 1 << 20;

    fn place() -> Place {
        Place { owner: 3, kind: FileKind::Table, incarnation: 0xFEED, file: 12, offset: 8192 }
    }

    fn sealed_footer() -> Vec<u8> {
        let footer = Footer { name: "words, counted".to_owned(), blocks: vec![(1, 2), (3, 4)], newest: Some(9) };
        let mut out = Vec::new();
        seal(&footer, &place(), &mut out);
        out
    }

    fn fault(bytes: &[u8], place: &Place) -> ArchiveFault {
        let error = open::<Footer>(bytes, place, SIZE_MAX).err().expect("the document should be refused");
        assert_eq!(error.place, *place);
        error.fault
    }

    #[test]
    fn a_sealed_document_opens_where_it_lies_at_any_alignment() {
        for shift in 0..9 {
            let mut bytes = vec![0xEE; shift];
            let footer = Footer { name: "n".to_owned(), blocks: vec![(1, 2)], newest: None };
            seal(&footer, &place(), &mut bytes);
            assert_eq!(sealed_size(&bytes[shift..], &place(), SIZE_MAX), Ok(bytes.len() - shift));
            let opened = open::<Footer>(&bytes[shift..], &place(), SIZE_MAX).unwrap();
            assert_eq!(opened.name.as_str(), "n");
            assert_eq!(opened.blocks.as_slice()[0].0, 1);
            assert!(opened.newest.is_none());
        }
    }

    #[test]
    fn every_flipped_bit_of_a_sealed_document_is_refused() {
        let bytes = sealed_footer();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fault(&flipped, &place());
        }
    }

    #[test]
    fn every_cut_and_every_longer_document_is_refused() {
        let bytes = sealed_footer();
        for len in 0..bytes.len() {
            fault(&bytes[..len], &place());
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(matches!(fault(&longer, &place()), ArchiveFault::WrongLength { .. }));
    }

    #[test]
    fn a_document_is_refused_at_another_place_or_as_another_type() {
        let bytes = sealed_footer();
        let elsewhere = Place { offset: 4096, ..place() };
        assert!(matches!(fault(&bytes, &elsewhere), ArchiveFault::Checksum { .. }));
        let error = open::<OtherFooter>(&bytes, &place(), SIZE_MAX).err().unwrap();
        assert_eq!(error.fault, ArchiveFault::WrongSchema { expected: 8, found: 7 });
        assert_eq!(
            error.to_string(),
            "document at byte 8192 of Table file 12 of owner 3: its schema is 7 and should be 8"
        );
    }

    #[test]
    fn a_document_larger_than_the_limit_is_refused_by_its_header_alone() {
        let bytes = sealed_footer();
        let size = bytes.len() - HEADER_SIZE;
        let error = open::<Footer>(&bytes, &place(), size - 1).err().unwrap();
        assert_eq!(error.fault, ArchiveFault::TooLarge { size, size_max: size - 1 });
        assert!(sealed_size(&bytes[..HEADER_SIZE], &place(), size).is_ok());
    }

    /// A document of nested lists, its checksum right, as no honest writer could write it.
    fn nest(depth: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        seal(&Nest { inner: Vec::new() }, &place(), &mut bytes);
        let size = size_of::<ArchivedNest>() as i32;
        for _ in 1..depth {
            // An archived list: where its elements are from here, and how many.
            bytes.extend_from_slice(&(-size).to_le_bytes());
            bytes.extend_from_slice(&1u32.to_le_bytes());
        }
        put_header(Nest::SCHEMA, &place(), &mut bytes);
        bytes
    }

    #[test]
    fn a_deep_document_is_refused_without_overflowing_the_stack() {
        let shallow = nest(VALUE_DEPTH_MAX / 2);
        let mut levels = 1;
        let mut at = open::<Nest>(&shallow, &place(), SIZE_MAX).unwrap();
        while let Some(inner) = at.inner.first() {
            at = inner;
            levels += 1;
        }
        assert_eq!(levels, VALUE_DEPTH_MAX / 2, "the forged documents are built rightly");

        let deep = nest(100_000);
        let error = open::<Nest>(&deep, &place(), SIZE_MAX).err().unwrap();
        assert!(matches!(error.fault, ArchiveFault::Invalid { .. }), "{error}");
    }
}
