//! Reading and writing of fixed layouts. A reader never looks beyond its end, reads a length together
//! with its maximum, and says which field was wrong and where.

use alloc::vec::Vec;

use bytes::Bytes;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: malformed at byte {at}")]
pub struct Malformed {
    /// The field's name in the spec.
    pub field: &'static str,
    /// Where the field starts, in bytes from the start of the message.
    pub at: usize,
}

/// Reads fields one after the other; large ones are shared with the source, not copied.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    /// Starts at the first byte.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// Takes the next `count` bytes, sharing the source's memory.
    ///
    /// # Errors
    /// [`Malformed`] if fewer are left.
    pub fn take(&mut self, field: &'static str, count: usize) -> Result<Bytes, Malformed> {
        let end = self
            .at
            .checked_add(count)
            .filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(Malformed { field, at: self.at })?;
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(taken)
    }

    /// Takes the next `N` bytes as an array.
    ///
    /// # Errors
    /// [`Malformed`] if fewer are left.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let at = self.at;
        let taken = self.take(field, N)?;
        <[u8; N]>::try_from(taken.as_ref()).map_err(|_| Malformed { field, at })
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`Malformed`] at the end.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, Malformed> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// Takes two bytes.
    ///
    /// # Errors
    /// [`Malformed`] if fewer are left.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, Malformed> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Takes four bytes.
    ///
    /// # Errors
    /// [`Malformed`] if fewer are left.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, Malformed> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// Takes eight bytes.
    ///
    /// # Errors
    /// [`Malformed`] if fewer are left.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, Malformed> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// Takes a byte that must be 0 or 1.
    ///
    /// # Errors
    /// [`Malformed`] for any other byte, or at the end.
    pub fn flag(&mut self, field: &'static str) -> Result<bool, Malformed> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.wrong(field)),
        }
    }

    /// Takes a two-byte count of at most `most`.
    ///
    /// # Errors
    /// [`Malformed`] if it is more, or at the end.
    pub fn count(&mut self, field: &'static str, most: usize) -> Result<usize, Malformed> {
        let count = usize::from(self.u16(field)?);
        if count <= most {
            Ok(count)
        } else {
            Err(self.wrong(field))
        }
    }

    /// Takes all that is left.
    pub fn rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.at.min(self.bytes.len())..);
        self.at = self.bytes.len();
        rest
    }

    /// Bytes not read yet.
    pub fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// Insists that everything was read.
    ///
    /// # Errors
    /// [`Malformed`] if bytes are left.
    pub fn end(self) -> Result<(), Malformed> {
        if self.left() == 0 {
            Ok(())
        } else {
            Err(self.wrong("end"))
        }
    }

    /// The fault to return when the value of `field`, just read, is not allowed.
    pub fn wrong(&self, field: &'static str) -> Malformed {
        Malformed { field, at: self.at }
    }
}

/// Writes fields one after the other.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Starts with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity),
        }
    }

    /// Appends bytes.
    pub fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.put(&[value])
    }

    /// Appends two bytes.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    /// Appends four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    /// Appends eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    /// Appends a two-byte count; saturates, so a list must be bounded before.
    pub fn count(&mut self, value: usize) -> &mut Self {
        self.u16(u16::try_from(value).unwrap_or(u16::MAX))
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_names_the_field_and_the_place() {
        let mut reader = Reader::new(Bytes::from_static(&[0, 1, 2]));
        assert_eq!(reader.u16("number"), Ok(1));
        assert_eq!(
            reader.u32("epoch"),
            Err(Malformed {
                field: "epoch",
                at: 2
            })
        );
        assert_eq!(
            reader.clone().end(),
            Err(Malformed {
                field: "end",
                at: 2
            })
        );
        assert_eq!(reader.rest().as_ref(), [2]);
        assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn a_count_beyond_its_maximum_is_refused_before_anything_is_read() {
        let mut reader = Reader::new(Bytes::from_static(&[1, 0]));
        assert_eq!(
            reader.count("ids", 255),
            Err(Malformed {
                field: "ids",
                at: 2
            })
        );
    }

    #[test]
    fn a_length_near_the_largest_number_does_not_wrap() {
        let mut reader = Reader::new(Bytes::from_static(&[1, 2, 3]));
        assert!(reader.u8("first").is_ok());
        assert!(reader.take("body", usize::MAX).is_err());
    }
}
