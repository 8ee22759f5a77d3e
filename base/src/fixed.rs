//! Fixed-width little-endian fields: how letters, log sections and depot chunks are laid out.
//!
//! Reading never panics and never allocates: a length is checked against what is there before it is used.

/// A cursor over bytes that came from a disk or a wire.
#[derive(Clone, Copy, Debug)]
pub struct FixedReader<'a> {
    rest: &'a [u8],
}

/// The bytes ended before the field did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Truncated;

impl std::fmt::Display for Truncated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the bytes end inside a field")
    }
}

impl std::error::Error for Truncated {}

impl<'a> FixedReader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not yet read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`Truncated`] if there are fewer.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Truncated> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`Truncated`] at the end.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Truncated> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes.
    ///
    /// # Errors
    /// [`Truncated`] at the end.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, Truncated> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes.
    ///
    /// # Errors
    /// [`Truncated`] at the end.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Truncated> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// [`Truncated`] at the end.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, Truncated> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Bytes behind their own four-byte length.
    ///
    /// # Errors
    /// [`Truncated`] if there are fewer than the length says.
    #[inline]
    pub fn sized(&mut self) -> Result<&'a [u8], Truncated> {
        let len = self.u32()? as usize;
        self.take(len)
    }
}

/// Appends bytes behind their four-byte length.
///
/// # Panics
/// If there are 4 GiB or more: every caller's limit is far below.
#[inline]
pub fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("invariant: limits are far below 4 GiB");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_larger_than_what_is_there_is_refused() {
        let mut out = Vec::new();
        put_sized(&mut out, b"abc");
        let mut reader = FixedReader::new(&out);
        assert_eq!(reader.sized(), Ok(&b"abc"[..]));
        assert!(reader.is_empty());
        out[0] = 200;
        assert_eq!(FixedReader::new(&out).sized(), Err(Truncated));
        assert_eq!(FixedReader::new(&[1, 2]).u32(), Err(Truncated));
    }
}
