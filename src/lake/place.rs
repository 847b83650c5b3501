//! Refuses places where other readers misread a lake. DuckDB, Spark and pyarrow interpret every
//! folder named `key=value` on the path of a file as a partition. They add its key as a column to
//! all rows.

use std::ffi::OsStr;
use std::path::{Component, Path};

use super::{Lake, LakeError};

impl Lake {
    /// Checks that no folder on the path of the lake has a `=` in its name. Checks both the given
    /// path, starting at the current folder, and the path after symbolic links are resolved.
    ///
    /// # Errors
    /// Fails with [`LakeError::Misread`], which names the folder.
    pub fn require_place(&self) -> Result<(), LakeError> {
        let paths = self.store.paths()?;
        match paths.iter().find_map(|path| key_value_folder(path)) {
            Some(folder) => Err(LakeError::Misread {
                root: self.root().to_owned(),
                folder: folder.to_string_lossy().into_owned(),
            }),
            None => Ok(()),
        }
    }
}

/// The first folder of an absolute path that readers interpret as a partition.
fn key_value_folder(path: &Path) -> Option<&OsStr> {
    let mut folders = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(folder) => folders.push(folder),
            Component::ParentDir => drop(folders.pop()),
            _ => {}
        }
    }
    folders.into_iter().find(|folder| folder.as_encoded_bytes().contains(&b'='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_an_equals_sign_is_misread_wherever_it_is_on_the_way() {
        let found = |path: &'static str| key_value_folder(Path::new(path)).and_then(OsStr::to_str);
        assert_eq!(found("/srv/region=cn/data/lake"), Some("region=cn"));
        assert_eq!(found("/srv/lake=1"), Some("lake=1"));
        assert_eq!(found("/srv/region=/lake"), Some("region="));
        assert_eq!(found("/srv/region=cn/../lake"), None);
        assert_eq!(found("/srv/data/lake"), None);
    }
}
