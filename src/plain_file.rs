//! Opens files that must be plain files. Opening a named pipe without a writer, or a device, could
//! block kefu forever.

use std::fs::FileType;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use fs_err::{File, OpenOptions};
use rustix::fs::OFlags;

/// The error for a path that is not a plain file.
#[derive(Debug, thiserror::Error)]
#[error("{} is not a plain file but {found}", path.display())]
pub(crate) struct NotPlain {
    path: PathBuf,
    found: &'static str,
}

/// Whether an error says that there is nothing at the path.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Opens a plain file for reading.
///
/// # Errors
/// [`NotPlain`] as the cause of an I/O error, when the path is not a plain file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    open_with(OpenOptions::new().read(true), path)
}

/// Opens a plain file without blocking. Checks the opened file itself, so that it cannot be
/// replaced between the check and the opening.
///
/// # Errors
/// Those of [`open`].
pub(crate) fn open_with(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // This flag has no effect on reads and writes of plain files.
    let file =
        options.custom_flags(OFlags::NONBLOCK.bits() as i32).open(path).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                return error;
            }
            // A pipe without a reader, a socket, or a device without its driver cannot be opened.
            match fs_err::metadata(path).map(|facts| facts.file_type()) {
                Ok(found) if !found.is_file() && !found.is_dir() => not_plain(path, found),
                _ => error,
            }
        })?;
    require(path, file.metadata()?.file_type())?;
    Ok(file)
}

/// Checks that what was found at a path is a plain file.
///
/// # Errors
/// [`NotPlain`] as the cause of an I/O error.
pub(crate) fn require(path: &Path, found: FileType) -> io::Result<()> {
    if found.is_file() { Ok(()) } else { Err(not_plain(path, found)) }
}

/// Reads a plain file.
///
/// # Errors
/// Those of [`open`], and of reading.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file that the user named. Besides a plain file, it may be `/dev/null`, or a descriptor
/// that a shell opened for kefu, as in `kefu run --config <(gpg -d kefu.toml.gpg)`.
///
/// # Errors
/// Those of [`open`].
pub(crate) fn open_named(path: &Path) -> io::Result<File> {
    let is_descriptor = path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd");
    let is_stream = [Path::new("/dev/null"), Path::new("/dev/stdin")].contains(&path);
    if is_descriptor || is_stream { File::open(path) } else { open(path) }
}

/// Reads a file that the user named.
///
/// # Errors
/// Those of [`open_named`], and of reading.
pub(crate) fn read_named(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_named(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn not_plain(path: &Path, found: FileType) -> io::Error {
    let (kind, found) = match found {
        found if found.is_dir() => (io::ErrorKind::IsADirectory, "a folder"),
        found if found.is_fifo() => (io::ErrorKind::InvalidInput, "a named pipe"),
        found if found.is_socket() => (io::ErrorKind::InvalidInput, "a socket"),
        _ => (io::ErrorKind::InvalidInput, "a device"),
    };
    io::Error::new(kind, NotPlain { path: path.to_owned(), found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plain_file_is_refused_at_once_whether_read_or_written() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, plain) = (folder.path().join("pipe"), folder.path().join("plain"));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        fs_err::write(&plain, "x").unwrap();
        let said = |path: &Path| read(path).unwrap_err().to_string();
        assert_eq!(read(&plain).unwrap(), b"x");
        assert_eq!(said(&pipe), format!("{} is not a plain file but a named pipe", pipe.display()));
        assert_eq!(said(Path::new("/dev/zero")), "/dev/zero is not a plain file but a device");
        assert!(said(folder.path()).ends_with("is not a plain file but a folder"));
        let written = open_with(OpenOptions::new().write(true).create(true), &pipe).unwrap_err();
        assert!(written.to_string().ends_with("but a named pipe"), "{written}");
        assert!(read_named(&pipe).is_err());
        assert_eq!(read_named(Path::new("/dev/null")).unwrap(), b"");
    }
}
