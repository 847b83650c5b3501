//! Limits the memory that a file can claim, before any of the file is decoded.
//!
//! A Parquet reader allocates what a file claims: rows, sizes of pages, and the length of a value
//! times the rows that refer to it. A damaged or malicious file of some kilobytes can claim
//! gigabytes. Therefore the claims are compared with each other, with the length of the file and
//! with what kefu writes.

use std::os::unix::fs::FileExt;
use std::path::Path;

use parquet::basic::{Compression, Type};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::LakeError;
use super::store::File;
use super::thrift::Thrift;

/// Largest footer in bytes. A day of ten million messages has 100 KiB.
const FOOTER_BYTES_MAX: u32 = 4 << 20;

/// Largest size in bytes of all page indexes and bloom filters of a file. A day of ten million
/// messages has 20 MiB.
const INDEX_BYTES_MAX: u64 = 256 << 20;

/// Largest number of rows in a row group. kefu writes 122,880.
const GROUP_ROWS_MAX: i64 = 1 << 20;

/// Largest page in bytes, decompressed. kefu closes a page at 1 MiB, after at most 8,192 more rows.
const PAGE_BYTES_MAX: u64 = 256 << 20;

/// Largest column in a row group in bytes, decompressed.
const CHUNK_BYTES_MAX: u64 = 1 << 30;

/// Largest dictionary in bytes, decompressed. kefu stops using a dictionary at 4 MiB.
const DICTIONARY_BYTES_MAX: u64 = 64 << 20;

/// Largest column of a batch in bytes.
const BATCH_BYTES_MAX: u64 = 256 << 20;

/// Largest average size of a record in bytes. An answer of the API has at most 128 MiB for 10,000
/// records.
const ROW_BYTES_MAX: usize = 16 << 10;

/// Bytes of a page header that are read first. Few headers are longer.
const HEADER_BYTES: usize = 512;
const HEADER_BYTES_MAX: usize = 1 << 20;

/// Length of the end of a file: the length of its footer, in 4 bytes, and "PAR1".
const FOOTER_END_BYTES: usize = 8;

/// Checks the claimed length of a file's footer. Call it before the footer is read.
///
/// # Errors
/// Fails when the claim cannot be true, or the file cannot be read.
pub(super) fn check_footer_of(file: &File) -> Result<(), LakeError> {
    let length = file.metadata()?.len();
    let Some(start) = length.checked_sub(FOOTER_END_BYTES as u64) else { return Ok(()) };
    let mut end = [0; FOOTER_END_BYTES];
    file.file().read_exact_at(&mut end, start)?;
    check_footer(file.path(), &end)
}

/// The same of the last bytes of the file at a path.
///
/// # Errors
/// Fails when the claim cannot be true.
pub(super) fn check_footer(path: &Path, tail: &[u8]) -> Result<(), LakeError> {
    let Some([a, b, c, d, ..]) = tail.last_chunk::<FOOTER_END_BYTES>() else { return Ok(()) };
    match u32::from_le_bytes([*a, *b, *c, *d]) {
        0..=FOOTER_BYTES_MAX => Ok(()),
        claimed => {
            Err(LakeError::damaged(path, format!("it declares a footer of {claimed} bytes")))
        }
    }
}

/// Checks the claimed length of a file's page indexes and bloom filters.
///
/// # Errors
/// Returns the claim that cannot be true.
pub(super) fn check_indexes(metadata: &ParquetMetaData) -> Result<(), String> {
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    let lengths = columns.flat_map(|column| {
        let filter = column.bloom_filter_offset().map(|_| column.bloom_filter_length());
        // Without a length here, the reader would trust the length in the filter's header. Refuse
        // that.
        let filter = filter.map(|length| length.unwrap_or(i32::MAX));
        [column.column_index_length(), column.offset_index_length(), filter]
    });
    let claimed = lengths.flatten().map(|length| u64::from(length.unsigned_abs())).sum::<u64>();
    match claimed {
        0..=INDEX_BYTES_MAX => Ok(()),
        _ => Err(format!("it declares indexes of {claimed} bytes")),
    }
}

/// Checks the claims of a file about the columns at the given indexes. Returns the number of rows
/// to read at once: `batch_rows`, or fewer when long values repeat.
///
/// `are_expanded` returns whether a column's repeated values are copied for each row.
///
/// # Errors
/// Returns the claim that cannot be true.
pub(super) fn check(
    file: &File,
    metadata: &ParquetMetaData,
    places: &[usize],
    are_expanded: impl Fn(usize) -> bool,
    batch_rows: usize,
) -> Result<usize, String> {
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let rows: i64 = metadata.row_groups().iter().map(|group| group.num_rows()).sum();
    if rows != metadata.file_metadata().num_rows() {
        return Err("its row counts differ".to_owned());
    }
    let mut longest = 0;
    for group in metadata.row_groups() {
        if !(0..=GROUP_ROWS_MAX).contains(&group.num_rows()) {
            return Err(format!("it declares a row group of {} rows", group.num_rows()));
        }
        for place in places {
            let Some(column) = group.columns().get(*place) else { continue };
            if column.num_values() != group.num_rows() {
                return Err("a column does not have a value for each row".to_owned());
            }
            let dictionary = check_pages(file, length, column)?;
            if let Some(dictionary) = dictionary.filter(|_| are_expanded(*place)) {
                longest = longest.max(dictionary.longest_value(file, column)?);
            }
        }
    }
    let mut batch_rows = batch_rows;
    // Halve, so that batches still end where row groups end.
    while batch_rows > 1 && batch_rows as u64 * longest > BATCH_BYTES_MAX {
        batch_rows /= 2;
    }
    Ok(batch_rows)
}

/// Largest size in bytes of a file's decoded rows.
pub(super) fn decoded_bytes_max(metadata: &ParquetMetaData) -> usize {
    let rows = usize::try_from(metadata.file_metadata().num_rows()).unwrap_or_default();
    rows.saturating_mul(ROW_BYTES_MAX).saturating_add(BATCH_BYTES_MAX as usize)
}

/// A dictionary page: the offset of its content, and its claimed sizes in bytes.
struct Dictionary {
    start: u64,
    compressed: u64,
    uncompressed: u64,
}

/// Checks the headers of a column's pages. Returns the dictionary page, if there is one.
fn check_pages(
    file: &File,
    length: u64,
    column: &ColumnChunkMetaData,
) -> Result<Option<Dictionary>, String> {
    let (first, data) = (column.dictionary_page_offset(), column.data_page_offset());
    let start = first.filter(|first| *first > 0).unwrap_or(data).min(data);
    let sizes = (u64::try_from(start), u64::try_from(column.compressed_size()));
    let (Ok(start), Ok(size)) = sizes else {
        return Err("a column has no valid offset".to_owned());
    };
    let end = start.checked_add(size).filter(|end| *end <= length);
    let end = end.ok_or("a column reaches beyond the end of the file")?;
    let (mut at, mut values, mut bytes, mut dictionary) = (start, 0u64, 0u64, None);
    while at < end {
        let header = PageHeader::read(file, at)?;
        let larger = header.uncompressed.max(header.compressed);
        if larger > PAGE_BYTES_MAX {
            return Err(format!("it declares a page of {larger} bytes"));
        }
        bytes += header.uncompressed + header.length;
        let content = at + header.length;
        match header.kind {
            PageKind::Dictionary if header.uncompressed > DICTIONARY_BYTES_MAX => {
                return Err(format!("it declares a dictionary of {} bytes", header.uncompressed));
            }
            PageKind::Dictionary => {
                dictionary = Some(Dictionary {
                    start: content,
                    compressed: header.compressed,
                    uncompressed: header.uncompressed,
                });
            }
            PageKind::Data => values += header.values,
            PageKind::Other => {}
        }
        at = content + header.compressed;
    }
    if at != end || values != u64::try_from(column.num_values()).unwrap_or_default() {
        return Err("the pages of a column differ from what the column declares".to_owned());
    }
    if bytes > CHUNK_BYTES_MAX {
        return Err(format!("it declares a column of {bytes} bytes in a row group"));
    }
    Ok(dictionary)
}

impl Dictionary {
    /// The length in bytes of the longest text.
    fn longest_value(&self, file: &File, column: &ColumnChunkMetaData) -> Result<u64, String> {
        if column.column_type() != Type::BYTE_ARRAY {
            return Ok(0);
        }
        // `check_pages` has checked that the page lies within the file.
        let mut stored = vec![0; usize::try_from(self.compressed).unwrap_or_default()];
        file.file().read_exact_at(&mut stored, self.start).map_err(|error| error.to_string())?;
        let size = usize::try_from(self.uncompressed).unwrap_or_default();
        let plain = match column.compression() {
            Compression::UNCOMPRESSED => stored,
            Compression::ZSTD(_) => {
                zstd::bulk::decompress(&stored, size).map_err(|error| error.to_string())?
            }
            other => return Err(format!("it is compressed with {other}")),
        };
        let (mut rest, mut longest) = (plain.as_slice(), 0);
        while let Some((prefix, values)) = rest.split_first_chunk() {
            let length = u32::from_le_bytes(*prefix);
            longest = longest.max(length);
            rest = values.get(length as usize..).ok_or("a text ends beyond its dictionary")?;
        }
        Ok(longest.into())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageKind {
    Data,
    Dictionary,
    Other,
}

/// The fields of a page header, in bytes and values. Source: `PageHeader` in parquet.thrift.
#[derive(Debug)]
struct PageHeader {
    kind: PageKind,
    uncompressed: u64,
    compressed: u64,
    values: u64,
    /// Length of the header itself.
    length: u64,
}

impl PageHeader {
    fn read(file: &File, at: u64) -> Result<Self, String> {
        let mut size = HEADER_BYTES;
        loop {
            let mut bytes = vec![0; size];
            let mut filled = 0;
            while filled < size {
                let buffer = bytes.get_mut(filled..).unwrap_or_default();
                match file.file().read_at(buffer, at + filled as u64) {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.to_string()),
                }
            }
            let is_all = filled < size || size >= HEADER_BYTES_MAX;
            match Self::parse(bytes.get(..filled).unwrap_or_default()) {
                Some(header) => return Ok(header),
                None if is_all => return Err("a page has no header".to_owned()),
                None => size *= 8,
            }
        }
    }

    /// None when the bytes end before the header does, or are not a header.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut thrift = Thrift::new(bytes);
        let (mut kind, mut uncompressed, mut compressed, mut values) = (None, None, None, 0);
        thrift.each_field(|thrift, field, wire| {
            match (field, wire) {
                (1, Thrift::I32) => {
                    kind = Some(match thrift.integer()? {
                        0 | 3 => PageKind::Data,
                        2 => PageKind::Dictionary,
                        _ => PageKind::Other,
                    });
                }
                (2, Thrift::I32) => uncompressed = u64::try_from(thrift.integer()?).ok(),
                (3, Thrift::I32) => compressed = u64::try_from(thrift.integer()?).ok(),
                // The headers of data pages and of dictionary pages begin with the number of
                // values.
                (5 | 7 | 8, Thrift::STRUCT) => thrift.each_field(|thrift, field, wire| {
                    match (field, wire) {
                        (1, Thrift::I32) => values = u64::try_from(thrift.integer()?).ok()?,
                        _ => thrift.skip(wire, 0)?,
                    }
                    Some(())
                })?,
                _ => thrift.skip(wire, 0)?,
            }
            Some(())
        })?;
        let length = thrift.at as u64;
        Some(Self {
            kind: kind?,
            uncompressed: uncompressed?,
            compressed: compressed?,
            values,
            length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_says_its_sizes() {
        // type = data page, uncompressed = 10, compressed = 20, data page header { values = 3 }.
        let bytes = [0x15, 0x00, 0x15, 0x14, 0x15, 0x28, 0x2c, 0x15, 0x06, 0x00, 0x00, 0xff];
        let header = PageHeader::parse(&bytes).unwrap();
        assert_eq!((header.kind, header.uncompressed, header.compressed), (PageKind::Data, 10, 20));
        assert_eq!((header.values, header.length), (3, 11));
        assert!((0..11).all(|end| PageHeader::parse(&bytes[..end]).is_none()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = PageHeader::parse(&bytes);
        }
    }
}
