//! The files to count: checked whole before the first line is appended, then read line by line.
//!
//! A line is what stands before a `\n`; an empty one counts, and so does a last one without its `\n`.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use tantu_base::limit::RECORD_SIZE_MAX;
use thiserror::Error;

/// Where every Debian machine keeps licence texts.
pub(super) const LICENCES: &str = "/usr/share/common-licenses";
/// Longest line in bytes: a record, less the few bytes that say how long it is.
const LINE_SIZE_MAX: u64 = RECORD_SIZE_MAX as u64 - 16;

/// Why a file cannot be counted.
#[derive(Debug, Error)]
pub(crate) enum InputError {
    #[error("no files to count: {LICENCES} has none here; name some, as in: tantu demo FILE…")]
    NoFiles,
    #[error("{path}: no such file")]
    Missing { path: PathBuf },
    #[error("{path}: this is a directory; name the files in it")]
    Directory { path: PathBuf },
    #[error("{path}: not a plain file; it is read twice, so a pipe or a device will not do")]
    NotPlain { path: PathBuf },
    #[error("{path}: not UTF-8 at byte {offset}; convert it first, as in: iconv -t UTF-8")]
    NotUtf8 { path: PathBuf, offset: u64 },
    #[error("{path}: line {line} is longer than {LINE_SIZE_MAX} bytes, the most a record can hold")]
    LongLine { path: PathBuf, line: u64 },
    #[error("{path}: cannot be read: {source}")]
    Io { path: PathBuf, source: io::Error },
}

impl InputError {
    fn io(path: &Path, source: io::Error) -> InputError {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound => InputError::Missing { path },
            io::ErrorKind::IsADirectory => InputError::Directory { path },
            _ => InputError::Io { path, source },
        }
    }
}

/// The licence texts, without the symbolic links that name some of them twice.
pub(super) fn licences() -> Result<Vec<PathBuf>, InputError> {
    let Ok(entries) = fs::read_dir(LICENCES) else { return Err(InputError::NoFiles) };
    let plain = entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let mut files: Vec<PathBuf> = plain.map(|entry| entry.path()).collect();
    files.sort();
    if files.is_empty() { Err(InputError::NoFiles) } else { Ok(files) }
}

/// Checks every file to its end. Returns how many lines they have together.
pub(super) fn check(files: &[PathBuf]) -> Result<u64, InputError> {
    files.iter().map(|path| check_file(path)).sum()
}

fn check_file(path: &Path) -> Result<u64, InputError> {
    let kind = fs::metadata(path).map_err(|error| InputError::io(path, error))?.file_type();
    if kind.is_dir() {
        return Err(InputError::Directory { path: path.to_path_buf() });
    }
    if !kind.is_file() {
        return Err(InputError::NotPlain { path: path.to_path_buf() });
    }
    let mut lines = Lines::open(path)?;
    let (mut line_count, mut line) = (0, String::new());
    while lines.next(&mut line)? {
        line_count += 1;
    }
    Ok(line_count)
}

/// The lines of a file.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    /// Bytes of the file before the next line.
    offset: u64,
    /// Lines before it.
    line_count: u64,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Lines, InputError> {
        let file = File::open(path).map_err(|error| InputError::io(path, error))?;
        let reader = BufReader::with_capacity(256 << 10, file);
        Ok(Lines { path: path.to_path_buf(), reader, offset: 0, line_count: 0 })
    }

    /// Reads the next line without its `\n`; false at the end.
    pub(super) fn next(&mut self, line: &mut String) -> Result<bool, InputError> {
        let mut bytes = std::mem::take(line).into_bytes();
        bytes.clear();
        let mut limited = (&mut self.reader).take(LINE_SIZE_MAX + 2);
        let size = limited.read_until(b'\n', &mut bytes).map_err(|error| InputError::io(&self.path, error))? as u64;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        if bytes.len() as u64 > LINE_SIZE_MAX {
            return Err(InputError::LongLine { path: self.path.clone(), line: self.line_count + 1 });
        }
        *line = String::from_utf8(bytes).map_err(|error| InputError::NotUtf8 {
            path: self.path.clone(),
            offset: self.offset + error.utf8_error().valid_up_to() as u64,
        })?;
        self.offset += size;
        self.line_count += u64::from(size > 0);
        Ok(size > 0)
    }

    /// How many lines were read.
    pub(super) fn line_count(&self) -> u64 {
        self.line_count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn lines(bytes: &[u8]) -> Vec<String> {
        let file = file(bytes);
        let mut lines = Lines::open(file.path()).unwrap();
        let (mut found, mut line) = (Vec::new(), String::new());
        while lines.next(&mut line).unwrap() {
            found.push(line.clone());
        }
        assert_eq!(lines.line_count(), found.len() as u64);
        found
    }

    #[test]
    fn empty_lines_count_and_a_last_line_needs_no_end() {
        assert_eq!(lines(b""), Vec::<String>::new());
        assert_eq!(lines(b"\n"), [""]);
        assert_eq!(lines(b"a\n\nb"), ["a", "", "b"]);
        assert_eq!(lines(b"a\r\n"), ["a\r"]);
    }

    #[test]
    fn a_bad_byte_is_named_by_its_place_in_the_file() {
        for (bytes, at) in [(&b"ok\nno\xff\n"[..], 5), (&b"\xc5"[..], 0), (&b"caf\xc3\xa9\n\xc3\n"[..], 6)] {
            let file = file(bytes);
            let found = check(&[file.path().to_path_buf()]);
            assert!(matches!(found, Err(InputError::NotUtf8 { offset, .. }) if offset == at), "{found:?}");
        }
    }

    #[test]
    fn a_line_as_long_as_a_record_can_hold_passes_and_one_more_byte_does_not() {
        let mut bytes = vec![b'x'; LINE_SIZE_MAX as usize];
        bytes.extend_from_slice(b"\nshort");
        let fits = file(&bytes);
        assert_eq!(check(&[fits.path().to_path_buf()]).unwrap(), 2);
        bytes.insert(0, b'x');
        let long = file(&bytes);
        let found = check(&[long.path().to_path_buf()]);
        assert!(matches!(found, Err(InputError::LongLine { line: 1, .. })), "{found:?}");
    }

    #[test]
    fn a_directory_and_a_missing_file_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(check(&[dir.path().to_path_buf()]), Err(InputError::Directory { .. })));
        assert!(matches!(check(&[dir.path().join("no")]), Err(InputError::Missing { .. })));
        assert!(matches!(check(&[PathBuf::from("/dev/null")]), Err(InputError::NotPlain { .. })));
    }
}
