//! A file that tells which lines were acked: `FILE<TAB>LINE`, appended after each ack.
//!
//! One write per ack and no buffer: whoever kills the process may believe every whole line in it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

#[derive(Debug)]
pub(super) struct AckLog {
    file: File,
}

impl AckLog {
    pub(super) fn open(path: &Path) -> io::Result<AckLog> {
        Ok(AckLog { file: OpenOptions::new().create(true).append(true).open(path)? })
    }

    pub(super) fn push(&mut self, file: &Path, line: u64) -> io::Result<()> {
        let mut entry = file.as_os_str().as_encoded_bytes().to_vec();
        entry.extend_from_slice(format!("\t{line}\n").as_bytes());
        self.file.write_all(&entry)
    }
}
