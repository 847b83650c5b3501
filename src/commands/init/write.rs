//! Writes the settings file and the file of the secret.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err::OpenOptions;
use fs_err::os::unix::fs::OpenOptionsExt as _;

use super::ask::Answers;
use crate::cli::GlobalArgs;
use crate::failure::{Classified, ErrorKind, Failure};

const TEMPLATE: &str = include_str!("kefu.toml");

/// The schedule of the template, and the same as comments.
const HOURS: &str = include_str!("hours.toml");

/// A file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
struct InitError {
    path: PathBuf,
    source: io::Error,
}

impl Classified for InitError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Lake
    }

    fn hint(&self) -> Option<String> {
        Some("check that the folder exists and that this user can write to it".into())
    }
}

/// Creates both files. When the second one cannot be written, the first one is removed.
///
/// # Errors
/// When the disk refuses it.
pub(super) fn write(
    answers: &Answers,
    global: &GlobalArgs,
    config: &Path,
    secret: &Path,
) -> Result<(), Failure> {
    let content = zeroize::Zeroizing::new(format!("{}\n", answers.secret.expose()));
    create(secret, content.as_bytes(), 0o600)?;
    create(config, settings(answers, global, secret).as_bytes(), 0o644).inspect_err(|_| {
        let _ = fs_err::remove_file(secret);
    })?;
    Ok(())
}

fn create(path: &Path, content: &[u8], mode: u32) -> Result<(), InitError> {
    let failed = |source| InitError { path: path.to_owned(), source };
    // Does not follow a link that another user created.
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = opened.map_err(failed)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        // A part of a file must not stay. The error of the disk says more than one of this.
        let _ = fs_err::remove_file(path);
    }
    written.map_err(failed)
}

/// The content of the settings file.
fn settings(answers: &Answers, global: &GlobalArgs, secret: &Path) -> String {
    let lake = global
        .lake
        .as_ref()
        .map_or_else(|| crate::settings::LAKE.to_owned(), |lake| absolute(lake));
    let secret = secret.file_name().unwrap_or_default().to_string_lossy();
    let hours = match answers.has_hours {
        true => HOURS.to_owned(),
        false => HOURS.lines().map(|line| format!("# {line}\n")).collect(),
    };
    let base_url = global.base_url.as_ref().map_or_else(String::new, |base_url| {
        format!("\n# Address of the API.\nbase_url = {}\n", quoted(base_url))
    });
    TEMPLATE
        .replace("{appid}", &quoted(&answers.appid))
        .replace("{account}", &quoted(answers.account.as_str()))
        .replace("{secret}", &quoted(&secret))
        .replace("{lake}", &quoted(&lake))
        .replace("{timezone}", &quoted(answers.zone.name()))
        .replace("{base_url}", &base_url)
        .replace("{hours}", &hours)
}

/// A folder as the settings file must name it: its relative paths start at its own folder.
fn absolute(lake: &Path) -> String {
    match crate::settings::is_bucket(lake) {
        true => lake.display().to_string(),
        false => {
            std::path::absolute(lake).unwrap_or_else(|_| lake.to_owned()).display().to_string()
        }
    }
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    // The escapes of JSON are also those of TOML. TOML also forbids the character DEL.
    serde_json::Value::from(text).to_string().replace('\u{7f}', r"\u007f")
}
