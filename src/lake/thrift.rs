//! Reads Thrift's compact protocol. Parquet uses it for its footer and the headers of its pages.

/// A reader of Thrift's compact protocol.
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    /// Offset of the next byte.
    pub(super) at: usize,
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) const I32: u8 = 5;
    pub(super) const LIST: u8 = 9;
    pub(super) const STRUCT: u8 = 12;
    const DEPTH_MAX: usize = 8;

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn unsigned(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Reads a signed number. Its lowest bit is the sign.
    pub(super) fn integer(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn forward(&mut self, bytes: u64) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(bytes).ok()?)?;
        (self.at <= self.bytes.len()).then_some(())
    }

    /// Calls `read` with the number and the wire type of each field. `read` must consume the value.
    pub(super) fn each_field(
        &mut self,
        mut read: impl FnMut(&mut Self, i64, u8) -> Option<()>,
    ) -> Option<()> {
        let mut field = 0;
        loop {
            let header = self.byte()?;
            let wire = header & 0x0f;
            if wire == 0 {
                return Some(());
            }
            field = match header >> 4 {
                0 => self.integer()?,
                step => field + i64::from(step),
            };
            read(self, field, wire)?;
        }
    }

    /// Reads the header of a list: the number of elements, and their wire type.
    pub(super) fn list(&mut self) -> Option<(u64, u8)> {
        let header = self.byte()?;
        let count = match header >> 4 {
            15 => self.unsigned()?,
            count => count.into(),
        };
        Some((count, header & 0x0f))
    }

    pub(super) fn skip(&mut self, wire: u8, depth: usize) -> Option<()> {
        if depth > Self::DEPTH_MAX {
            return None;
        }
        match wire {
            // The wire type contains the value of a boolean.
            1 | 2 => Some(()),
            3 => self.forward(1),
            4..=6 => self.unsigned().map(drop),
            7 => self.forward(8),
            8 => {
                let length = self.unsigned()?;
                self.forward(length)
            }
            Self::LIST | 10 => {
                let (count, kind) = self.list()?;
                (0..count).try_for_each(|_| match kind {
                    // In a list, a boolean is a byte.
                    1 | 2 => self.forward(1),
                    wire => self.skip(wire, depth + 1),
                })
            }
            Self::STRUCT => self.each_field(|thrift, _, wire| thrift.skip(wire, depth + 1)),
            _ => None,
        }
    }
}
