//! Finds the file system of a path in Linux's table of mounts, for error messages. This file reads
//! `/proc` itself, and no file of the lake.

use std::path::{Path, PathBuf};

const MOUNTS: &str = "/proc/self/mountinfo";

/// The type of the file system and its mount point, like `cifs at /mnt/share`. None when there is
/// no such table.
pub(super) fn file_system_of(path: &Path) -> Option<String> {
    let table = fs_err::read(MOUNTS).ok()?;
    find(&String::from_utf8_lossy(&table), &fs_err::canonicalize(path).ok()?)
}

/// Finds the mount of a path. A line of the table looks like `36 35 98:0 /root /mnt/share
/// rw,noatime shared:1 - cifs //server/share rw`.
fn find(table: &str, path: &Path) -> Option<String> {
    let mount = |line: &str| {
        let (place, source) = line.split_once(" - ")?;
        let point = PathBuf::from(unescaped(place.split(' ').nth(4)?));
        Some((point, source.split(' ').next()?.to_owned()))
    };
    let mounts = table.lines().filter_map(mount).filter(|(point, _)| path.starts_with(point));
    // When several mounts have the same mount point, the last one hides the others.
    let (point, kind) = mounts.max_by_key(|(point, _)| point.components().count())?;
    Some(format!("{kind} at {}", point.display()))
}

/// Decodes special characters of a path. The table writes them as octal numbers.
fn unescaped(point: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.into_iter().fold(point.to_owned(), |point, (from, to)| point.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/share rw shared:5 - cifs //server/share rw,vers=3.1.1
31 22 0:41 / /mnt/my\040disk rw - fuse.sshfs user@host:/ rw
32 22 0:42 / /mnt/share rw - nfs4 server:/export rw
";

    #[test]
    fn a_path_is_on_the_nearest_mount_above_it() {
        let of = |path: &str| find(TABLE, Path::new(path));
        assert_eq!(of("/srv/lake").as_deref(), Some("ext4 at /"));
        assert_eq!(of("/mnt/shared/lake").as_deref(), Some("ext4 at /"));
        assert_eq!(of("/mnt/my disk/lake").as_deref(), Some("fuse.sshfs at /mnt/my disk"));
        assert_eq!(of("/mnt/share/lake").as_deref(), Some("nfs4 at /mnt/share"));
        assert_eq!(find("", Path::new("/srv/lake")), None);
    }
}
