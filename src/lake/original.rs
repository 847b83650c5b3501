//! Checks whether encoding the rows of a file again gives the same bytes.

use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use super::store::File;

/// A writer that compares the written bytes with those of a file.
#[derive(Debug)]
pub(super) struct Original {
    file: File,
    differs: bool,
    /// Number of bytes written so far.
    bytes: u64,
    read: Vec<u8>,
}

impl Original {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        Ok(Self { file: file.try_clone()?, differs: false, bytes: 0, read: Vec::new() })
    }

    /// Whether the bytes so far are all of the file's, and the same.
    pub(super) fn is_repeated(&self) -> bool {
        let written = || self.file.metadata().map(|facts| facts.len());
        !self.differs && written().is_ok_and(|length| length == self.bytes)
    }
}

impl Write for Original {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.differs {
            self.read.resize(bytes.len(), 0);
            // A file that ends before the bytes do differs as well. Others read the same open file,
            // so its position says nothing.
            let read = self.file.file().read_exact_at(&mut self.read, self.bytes);
            self.differs = read.is_err() || self.read != bytes;
        }
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
