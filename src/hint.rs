//! Commands in hints, as the user must type them.
//!
//! A hint that names a command means the lake of the process. If the flag `--lake` names that lake,
//! the command in the hint needs the flag, too. A lake of the environment or of `kefu.toml` is also
//! that of the next command.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::printable::printable;
use crate::secret::hide_likely;

/// The commands that work on a lake.
const OF_A_LAKE: [&str; 12] = [
    "run", "fetch", "metrics", "accounts", "status", "doctor", "prune", "redact", "forget",
    "verify", "report", "sql",
];

static LAKE: OnceLock<PathBuf> = OnceLock::new();

/// Sets the lake that `--lake` names. Only the first call counts.
pub fn set_lake(lake: &Path) {
    LAKE.get_or_init(|| lake.to_owned());
}

/// Adds the flag `--lake` to the commands in a text, if this process was started with it.
pub fn complete(text: impl Into<String>) -> String {
    let text = text.into();
    match LAKE.get() {
        Some(lake) => with_lake(&text, lake),
        None => text,
    }
}

/// Adds `--lake` to each command between backticks that works on a lake and does not name one.
fn with_lake(text: &str, lake: &Path) -> String {
    // A secret in the wrong place is not shown.
    let lake = hide_likely(&printable(&lake.to_string_lossy())).into_owned();
    let lake = quoted(&lake);
    let mut completed = String::new();
    for (place, part) in text.split('`').enumerate() {
        if place > 0 {
            completed.push('`');
        }
        completed.push_str(part);
        let mut words = part.split(' ');
        let is_command = place % 2 == 1
            && words.next() == Some("kefu")
            && words.next().is_some_and(|word| OF_A_LAKE.contains(&word));
        if is_command && words.all(|word| word != "--lake") {
            completed.push_str(" --lake ");
            completed.push_str(&lake);
        }
    }
    completed
}

/// A word of a shell command.
pub fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |character: char| character.is_alphanumeric() || "/._-:+@%,".contains(character);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => Cow::Borrowed(word),
        false => Cow::Owned(in_quotes(word)),
    }
}

/// A word of a shell command, in quotes even if it needs none.
pub fn in_quotes(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_a_lake_names_it_once() {
        let completed = |text: &str, lake: &str| with_lake(text, Path::new(lake));
        assert_eq!(
            completed("run `kefu run --date 2024-05-13 --force`, then `kefu metrics`", "data/demo"),
            "run `kefu run --date 2024-05-13 --force --lake data/demo`, then `kefu metrics --lake \
             data/demo`"
        );
        assert_eq!(completed("`kefu redact --yes`", "a b"), "`kefu redact --yes --lake 'a b'`");
        for text in ["`kefu help run`", "`kefu status --lake x` and `seq`", "the kefu run `x"] {
            assert_eq!(completed(text, "y"), text);
        }
    }
}
