//! `tantu storage`: the files of a data directory, for people.
//!
//! `verify` checks every file and what files say of each other; `dump` shows what one file holds. Both read through a disk that
//! refuses to write. What the bytes mean is said by the crates that own the formats.

mod disk;
mod dump;
mod render;
mod verify;

use clap::{Args, Subcommand};
use std::io;
use std::path::PathBuf;
use tantu_base::door::DiskError;
use tantu_doors::LockError;
use thiserror::Error;

/// Look at the files of a data directory, without changing any.
#[derive(Debug, Args)]
pub(super) struct StorageArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check every file of a data directory that no process uses, and what files say of each other
    Verify(VerifyArgs),
    /// Show what one file holds, unit by unit, damaged ones too
    Dump(DumpArgs),
}

/// Ends with `healthy` (0), or with what is wrong (1). Notes are no findings: a start takes care of what they tell.
#[derive(Debug, Args)]
struct VerifyArgs {
    /// The data directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Print one JSON object for each finding and note, then one with the summary
    #[arg(long)]
    json: bool,
}

/// Ends well (0), or after everything was shown because a unit is damaged (1).
#[derive(Debug, Args)]
struct DumpArgs {
    /// A log segment, depot segment, table, manifest, module.meta or checkpoint
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Show at most so many units: log sections, records, entries
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Show where each block of a table is and how it begins
    #[arg(long)]
    blocks: bool,
}

/// Why the files could not be looked at.
#[derive(Debug, Error)]
pub(super) enum StorageError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("{dir} is no data directory: it has neither a lock nor modules", dir = dir.display())]
    NoDirectory { dir: PathBuf },
    #[error("cannot list {dir}: {source}", dir = dir.display())]
    List { dir: PathBuf, source: io::Error },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{file} is no file of a data directory: neither its first nor its last bytes are those of a known kind", file = file.display())]
    UnknownKind { file: PathBuf },
    #[error("{0}")]
    Output(io::Error),
}

/// Does what was asked; false if something was found to be wrong.
pub(super) fn run(args: &StorageArgs) -> Result<bool, StorageError> {
    match &args.what {
        What::Verify(args) => verify::run(&args.dir, args.json),
        What::Dump(args) => dump::run(args),
    }
}
