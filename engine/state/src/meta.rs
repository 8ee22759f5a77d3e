//! The small documents of a data directory: what module lives here, and what every thread reached.
//!
//! A document is replaced as a whole: written under another name, flushed, renamed, the directory flushed. So a crash leaves
//! the old or the new one, and whatever else is found is damage. Format version 1; byte tables in
//! `docs/formats/module-meta.md`.

use std::path::{Path, PathBuf};
use tantu_base::buf::Buf;
use tantu_base::checksum::{FileKind, Place};
use tantu_base::door::{Disk, DiskError, DiskFault, DiskOp, DiskReply, OpenMode, call};
use tantu_base::fixed::{FixedReader, Truncated, put_sized};
use tantu_base::id::{ObjectId, TaskId, ThreadId, Version};
use tantu_base::limit::BLOCK_ALIGN;

#[doc(hidden)]
pub mod fuzzing;

const MAGIC: u64 = u64::from_le_bytes(*b"TNTUMETA");
const FORMAT_VERSION: u32 = 1;
const HEADER_SIZE: usize = 8 + 4 + 4 + 4;
/// Longest document, in bytes.
pub const DOCUMENT_SIZE_MAX: u64 = 64 << 20;
const MODULE_DOCUMENT: u64 = 1;
const CHECKPOINT_DOCUMENT: u64 = 2;

/// Why a document could not be read or written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DocumentError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It is not what was written.
    #[error("{} is damaged at byte {offset}: {what}", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A newer program wrote it.
    #[error("{} has format version {found}; this program reads version {FORMAT_VERSION}", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// What kind of thing an object is: names are unique within a kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ObjectKind {
    /// A depot.
    Depot = 1,
    /// A PState.
    PState = 2,
    /// The progress of a topology's source; its name is `topology/depot`.
    Source = 3,
    /// A microbatch topology: what it keeps about itself.
    Microbatch = 4,
}

/// A durable object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectMeta {
    /// What it is.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: ObjectId,
    /// For a PState its encoded schema; otherwise empty.
    pub schema: Vec<u8>,
}

/// What module lives in a directory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ModuleMeta {
    /// Its name.
    pub module: String,
    /// How many tasks it has, for ever.
    pub task_count: u32,
    /// How many threads ran it last: the logs are laid out for these.
    pub thread_count: u32,
    /// Its objects.
    pub objects: Vec<ObjectMeta>,
}

impl ModuleMeta {
    /// The id of an object; a new one is given to a new name.
    pub fn object(&mut self, kind: ObjectKind, name: &str, schema: &[u8]) -> ObjectId {
        if let Some(known) = self.objects.iter().find(|o| o.kind == kind && o.name == name) {
            return known.id;
        }
        let id = ObjectId(self.objects.iter().map(|o| o.id.0).max().unwrap_or(0) + 1);
        self.objects.push(ObjectMeta { kind, name: name.to_string(), id, schema: schema.to_vec() });
        id
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_sized(&mut out, self.module.as_bytes());
        out.extend_from_slice(&self.task_count.to_le_bytes());
        out.extend_from_slice(&self.thread_count.to_le_bytes());
        out.extend_from_slice(&(self.objects.len() as u32).to_le_bytes());
        for object in &self.objects {
            out.push(object.kind as u8);
            out.extend_from_slice(&object.id.0.to_le_bytes());
            put_sized(&mut out, object.name.as_bytes());
            put_sized(&mut out, &object.schema);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, Truncated> {
        let mut reader = FixedReader::new(bytes);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| Truncated);
        let module = text(reader.sized()?)?;
        let (task_count, thread_count, count) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let mut objects = Vec::new();
        for _ in 0..count {
            let kind = match reader.u8()? {
                1 => ObjectKind::Depot,
                2 => ObjectKind::PState,
                3 => ObjectKind::Source,
                4 => ObjectKind::Microbatch,
                _ => return Err(Truncated),
            };
            let id = ObjectId(reader.u32()?);
            objects.push(ObjectMeta { kind, name: text(reader.sized()?)?, id, schema: reader.sized()?.to_vec() });
        }
        if reader.is_empty() { Ok(Self { module, task_count, thread_count, objects }) } else { Err(Truncated) }
    }
}

/// What a thread's tasks had reached at a clean close: a lower bound for ever after.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Which thread.
    pub thread: ThreadId,
    /// The version of each of its tasks.
    pub reached: Vec<(TaskId, Version)>,
}

/// Reads what module lives in a directory; `None` if none does.
///
/// # Errors
/// [`DocumentError`] naming the file.
pub fn read_module(disk: &mut dyn Disk, path: &Path) -> Result<Option<ModuleMeta>, DocumentError> {
    let Some(body) = read(disk, path, MODULE_DOCUMENT, 0)? else { return Ok(None) };
    ModuleMeta::decode(&body).map(Some).map_err(|_| corrupt(path, "its fields have wrong lengths"))
}

/// Writes what module lives in a directory.
///
/// # Errors
/// [`DocumentError`] naming the file.
pub fn write_module(disk: &mut dyn Disk, path: &Path, meta: &ModuleMeta) -> Result<(), DocumentError> {
    write(disk, path, MODULE_DOCUMENT, 0, &meta.encode())
}

/// Reads what a thread had reached; `None` if it never closed cleanly.
///
/// # Errors
/// [`DocumentError`] naming the file.
pub fn read_checkpoint(
    disk: &mut dyn Disk,
    path: &Path,
    thread: ThreadId,
) -> Result<Option<Checkpoint>, DocumentError> {
    let Some(body) = read(disk, path, CHECKPOINT_DOCUMENT, thread.0)? else { return Ok(None) };
    let reached = decode_reached(&body).map_err(|_| corrupt(path, "its fields have wrong lengths"))?;
    Ok(Some(Checkpoint { thread, reached }))
}

fn decode_reached(body: &[u8]) -> Result<Vec<(TaskId, Version)>, Truncated> {
    let mut reader = FixedReader::new(body);
    let mut reached = Vec::new();
    while !reader.is_empty() {
        reached.push((TaskId(reader.u32()?), Version(reader.u64()?)));
    }
    Ok(reached)
}

fn encode_reached(reached: &[(TaskId, Version)]) -> Vec<u8> {
    let encoded = reached.iter().map(|(task, version)| (task.0.to_le_bytes(), version.0.to_le_bytes()));
    encoded.flat_map(|(task, version)| task.into_iter().chain(version)).collect()
}

/// Writes what a thread has reached.
///
/// # Errors
/// [`DocumentError`] naming the file.
pub fn write_checkpoint(disk: &mut dyn Disk, path: &Path, checkpoint: &Checkpoint) -> Result<(), DocumentError> {
    write(disk, path, CHECKPOINT_DOCUMENT, checkpoint.thread.0, &encode_reached(&checkpoint.reached))
}

fn corrupt(path: &Path, what: &'static str) -> DocumentError {
    DocumentError::Corrupt { path: path.to_path_buf(), offset: 0, what }
}

fn place(document: u64, owner: u32) -> Place {
    Place { owner, kind: FileKind::ModuleMeta, incarnation: 0, file: document, offset: 0 }
}

fn write(disk: &mut dyn Disk, path: &Path, document_kind: u64, owner: u32, body: &[u8]) -> Result<(), DocumentError> {
    let dir = path.parent().expect("invariant: a document lies in a directory").to_path_buf();
    call(disk, DiskOp::MakeDir { path: dir.clone() })?;
    let fresh = path.with_extension("new");
    match call(disk, DiskOp::Remove { path: fresh.clone() }) {
        Ok(_) => {}
        Err(error) if error.fault == DiskFault::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let buf = document(document_kind, owner, body);
    let DiskReply::Opened { file, .. } = call(disk, DiskOp::Open { path: fresh.clone(), mode: OpenMode::Create })?
    else {
        unreachable!("an open answers with a file")
    };
    call(disk, DiskOp::Write { file, offset: 0, buf, durable: false })?;
    call(disk, DiskOp::Sync { file })?;
    call(disk, DiskOp::Close { file })?;
    call(disk, DiskOp::Rename { from: fresh, to: path.to_path_buf() })?;
    call(disk, DiskOp::SyncDir { path: dir })?;
    Ok(())
}

/// The file of a document.
fn document(kind: u64, owner: u32, body: &[u8]) -> Buf {
    let mut buf = Buf::with_capacity(HEADER_SIZE + body.len());
    buf.extend(&MAGIC.to_le_bytes());
    buf.extend(&FORMAT_VERSION.to_le_bytes());
    buf.extend(&(body.len() as u32).to_le_bytes());
    buf.extend(&[0; 4]);
    buf.extend(body);
    buf.pad_to(BLOCK_ALIGN);
    let crc = place(kind, owner).crc(&buf);
    buf[HEADER_SIZE - 4..HEADER_SIZE].copy_from_slice(&crc.to_le_bytes());
    buf
}

/// The file of a module's document.
#[cfg(test)]
pub(crate) fn encode_document(meta: &ModuleMeta) -> Vec<u8> {
    document(MODULE_DOCUMENT, 0, &meta.encode()).to_vec()
}

fn read(disk: &mut dyn Disk, path: &Path, document: u64, owner: u32) -> Result<Option<Vec<u8>>, DocumentError> {
    let (file, len) = match call(disk, DiskOp::Open { path: path.to_path_buf(), mode: OpenMode::Read }) {
        Ok(DiskReply::Opened { file, len }) => (file, len),
        Ok(other) => unreachable!("an open answered {other:?}"),
        Err(error) if error.fault == DiskFault::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if len == 0 || len > DOCUMENT_SIZE_MAX || len % BLOCK_ALIGN as u64 != 0 {
        return Err(corrupt(path, "its length is not one a document has"));
    }
    let reply = call(disk, DiskOp::Read { file, offset: 0, buf: Buf::zeroed(len as usize) })?;
    call(disk, DiskOp::Close { file })?;
    let DiskReply::Read { mut buf, len: got } = reply else { unreachable!("a read answers with bytes") };
    if got as u64 != len {
        return Err(corrupt(path, "it is cut short"));
    }
    body_of(path, document, owner, &mut buf).map(|body| Some(body.to_vec()))
}

/// The body of a document's file, whose checksum is taken out of it.
fn body_of<'a>(path: &Path, document: u64, owner: u32, buf: &'a mut [u8]) -> Result<&'a [u8], DocumentError> {
    if buf[..8] != MAGIC.to_le_bytes() {
        return Err(corrupt(path, "it does not start like a document"));
    }
    let crc = u32::from_le_bytes([buf[16], buf[17], buf[18], buf[19]]);
    buf[HEADER_SIZE - 4..HEADER_SIZE].fill(0);
    if crc != place(document, owner).crc(buf) {
        return Err(corrupt(path, "it has a wrong checksum"));
    }
    let version = u32::from_le_bytes([buf[8], buf[9], buf[10], buf[11]]);
    if version != FORMAT_VERSION {
        return Err(DocumentError::Version { path: path.to_path_buf(), found: version });
    }
    let body_len = u32::from_le_bytes([buf[12], buf[13], buf[14], buf[15]]) as usize;
    let body =
        buf.get(HEADER_SIZE..HEADER_SIZE + body_len).ok_or_else(|| corrupt(path, "its length field is too large"))?;
    if buf[HEADER_SIZE + body_len..].iter().any(|byte| *byte != 0) || buf.len() - HEADER_SIZE - body_len >= BLOCK_ALIGN
    {
        return Err(corrupt(path, "it is longer than its length field says"));
    }
    Ok(body)
}
