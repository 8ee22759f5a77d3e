//! Lines on stdout, written as they come: a file may hold more than fits memory.

use std::fmt::Arguments;
use std::io::{self, BufWriter, Write};

/// See the module.
#[derive(Debug)]
pub(super) struct Out {
    stdout: BufWriter<io::Stdout>,
    /// The first failure; nothing is written after it.
    failed: Option<io::Error>,
    left: Option<u64>,
    damaged_count: u64,
    is_cut: bool,
}

impl Out {
    pub(super) fn new(limit: Option<u64>) -> Out {
        Out { stdout: BufWriter::new(io::stdout()), failed: None, left: limit, damaged_count: 0, is_cut: false }
    }

    /// A line that is always shown.
    pub(super) fn line(&mut self, text: Arguments<'_>) {
        if self.failed.is_none() {
            self.failed = writeln!(self.stdout, "{text}").err();
        }
    }

    /// Whether one more unit may be shown.
    pub(super) fn has_room(&mut self) -> bool {
        if self.left == Some(0) {
            self.is_cut = true;
            return false;
        }
        self.failed.is_none()
    }

    /// A unit, unless the limit was reached.
    pub(super) fn unit(&mut self, text: Arguments<'_>) {
        if self.has_room() {
            self.left = self.left.map(|left| left - 1);
            self.line(text);
        }
    }

    /// Something that is not what was written.
    pub(super) fn damaged(&mut self, text: Arguments<'_>) {
        self.damaged_count += 1;
        self.line(format_args!("DAMAGED {text}"));
    }

    /// Writes what is gathered and says how it ended; whether nothing was damaged. A reader that has seen enough and closed the
    /// pipe is no error.
    pub(super) fn end(mut self) -> io::Result<bool> {
        if self.is_cut {
            self.line(format_args!("… there is more: --limit was reached"));
        }
        let count = self.damaged_count;
        if count > 0 {
            self.line(format_args!("{count} damaged"));
        }
        match self.failed.map_or_else(|| self.stdout.flush(), Err) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(io::Error::new(error.kind(), format!("cannot write to stdout: {error}")))
            }
            _ => Ok(count == 0),
        }
    }
}
