//! Files that a command writes to a path of its user, and what they must not replace: files of the
//! lake, and files that the settings need.

use std::path::{Component, Path, PathBuf};

use crate::cli::GlobalArgs;
use crate::failure::UsageError;
use crate::settings::{self, Settings};

/// What a command must not write to.
#[derive(Debug)]
pub(super) struct Guarded {
    /// None for a lake in a bucket.
    lake: Option<PathBuf>,
    /// The settings file and what it names: secrets, keys, lists and programs.
    files: Vec<PathBuf>,
}

impl Guarded {
    pub(super) fn of(settings: &Settings) -> Self {
        let files = settings.needed_files().iter().map(|path| resolved(path)).collect();
        Self { files, ..Self::in_lake(&settings.lake.value) }
    }

    /// The files of a lake.
    pub(super) fn in_lake(lake: &Path) -> Self {
        Self { lake: (!settings::is_bucket(lake)).then(|| resolved(lake)), files: Vec::new() }
    }

    /// What is known without settings that can be used.
    pub(super) fn without_settings(global: &GlobalArgs) -> Self {
        let (config, lake) = settings::named_places(&global.flags(), &settings::environment);
        Self { files: vec![resolved(&config)], ..Self::in_lake(&lake) }
    }

    /// Checks a path before any work.
    ///
    /// # Errors
    /// When a file there would be in the lake, or would replace a file that the settings need.
    pub(super) fn require_free(&self, flag: &str, path: &Path) -> Result<(), UsageError> {
        let place = resolved(path);
        let is_in_lake = self.lake.as_ref().is_some_and(|lake| place.starts_with(lake));
        let message = if is_in_lake {
            format!("{} is in the lake, which may contain only its tables", path.display())
        } else if self.files.iter().any(|file| is_same(file, &place)) {
            format!("{} is a file that the settings of kefu need", path.display())
        } else {
            return Ok(());
        };
        Err(UsageError { message, advice: Some(format!("name a file elsewhere with {flag}")) })
    }
}

/// The absolute path without symbolic links, `.` and `..`. What does not exist yet is taken as it
/// is written.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(there) = fs_err::canonicalize(path) {
        return there;
    }
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let Some(above) = path.parent() else { return path };
    let mut place = resolved(above);
    match path.components().next_back() {
        Some(Component::Normal(name)) => place.push(name),
        Some(Component::ParentDir) => drop(place.pop()),
        _ => {}
    }
    place
}

/// Whether two paths name one file. It may have two names.
fn is_same(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &Path| fs_err::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    one == other || identity(one).is_some_and(|file| identity(other) == Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_same_however_it_is_written_and_whether_it_exists_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs_err::create_dir_all(at("lake/messages")).unwrap();
        fs_err::create_dir(at("other")).unwrap();
        fs_err::write(at("kefu.toml"), "").unwrap();
        fs_err::hard_link(at("kefu.toml"), at("hard")).unwrap();
        std::os::unix::fs::symlink(at("kefu.toml"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("lake"), at("linked")).unwrap();
        let guarded = Guarded {
            lake: Some(resolved(&at("lake"))),
            files: vec![resolved(&at("kefu.toml")), resolved(&at("kefu.secret"))],
        };
        let refused = |name: &str| guarded.require_free("--out", &at(name)).is_err();
        for name in [
            "kefu.toml",
            "./kefu.toml",
            "other/../kefu.toml",
            "link",
            "hard",
            "kefu.secret",
            "other/../kefu.secret",
            "nowhere/../kefu.secret",
            "lake/page.html",
            "lake/messages/x/page.html",
            "linked/page.html",
            "other/../lake/./page.html",
        ] {
            assert!(refused(name), "{name}");
        }
        for name in ["page.html", "other/kefu.toml", "lake.html", "lake/../page.html", "nowhere/x"]
        {
            assert!(!refused(name), "{name}");
        }
    }
}
