//! Replaces files outside the lake atomically. A reader sees the previous file or the complete new
//! one.

use std::path::Path;

use crate::lake::replace_file;

/// Replaces the file at `path` with `contents`, or creates it. Follows a symbolic link at `path`.
/// The folder must exist.
///
/// # Errors
/// When writing fails, or `path` is not a plain file but a pipe, a device or a folder. The previous
/// file is then unchanged.
pub fn replace(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    let followed = if path.exists() { fs_err::canonicalize(path)? } else { path.to_owned() };
    let path = followed.as_path();
    if path.exists() && !path.is_file() {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "what is there is not a plain file",
        ));
    }
    // A rename works only within one file system, so the temporary file is in the same folder. No
    // reader looks for its name.
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    // Never write through the leftover of a killed process, or a link that another user created.
    let _ = fs_err::remove_file(&beside);
    replace_file(path, &beside, contents)
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
