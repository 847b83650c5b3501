//! Files outside the lake that others read: whole, or as they were before.

use std::io::Write;
use std::path::Path;

use fs_err::{File, OpenOptions};

/// Puts a file with these contents at `path`, in the place of the one before, which a link may lead to. The folder must be there.
///
/// # Errors
/// When the disk refuses it, or what is there is no file: a pipe, a device, a folder. Then nothing has changed.
pub fn replace(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    let followed = if path.exists() { fs_err::canonicalize(path)? } else { path.to_owned() };
    let path = followed.as_path();
    if path.exists() && !path.is_file() {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "what is there is not a plain file",
        ));
    }
    // In the same folder, or it could not be renamed; and under a name that nobody looks for.
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    // What a killed process left, or a link that somebody put there, is not written through.
    let _ = fs_err::remove_file(&beside);
    let create = || OpenOptions::new().write(true).create_new(true).open(&beside);
    let write = |mut file: File| file.write_all(contents).and_then(|()| file.sync_all());
    let written = create().and_then(write).and_then(|()| fs_err::rename(&beside, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs_err::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_place_of_the_temporary_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("kefu.prom"), folder.path().join("victim"));
        fs_err::write(&victim, "untouched").unwrap();
        let beside = path.with_extension(format!("{}.tmp", std::process::id()));
        std::os::unix::fs::symlink(&victim, &beside).unwrap();
        replace(&path, b"figures").unwrap();
        assert_eq!(fs_err::read_to_string(&victim).unwrap(), "untouched");
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "figures");
        assert!(path.symlink_metadata().unwrap().is_file() && !beside.exists());
    }
}
