//! `kefu redact` and `kefu forget`

use serde::Serialize;

use super::each_account::{Report, for_each_account};
use super::settings_for_lake;
use crate::cli::{ForgetArgs, GlobalArgs, RedactArgs};
use crate::failure::{Class, Classified, Failure, UsageError};
use crate::model::cancel::Cancel;
use crate::pipeline::{RedactReport, RedactedTable, redact};
use crate::plain_file;
use crate::printable::counted;
use crate::settings::Settings;

/// As JSON, part of kefu's contract.
#[derive(Debug, Serialize)]
struct Redaction {
    command: &'static str,
    account: String,
    lake: String,
    /// The settings that the files have afterwards.
    privacy: String,
    /// Whether what is listed was removed.
    applied: bool,
    #[serde(flatten)]
    report: RedactReport,
}

/// The file with the openids of customers cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the file with openids cannot be read: {0}")]
struct OpenidFileError(#[from] std::io::Error);

impl Classified for OpenidFileError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("check that --openid-file names a text file with one openid per line".into())
    }
}

pub(super) fn redact_lake(
    global: &GlobalArgs,
    args: &RedactArgs,
    cancel: &Cancel,
) -> Result<Option<Class>, Failure> {
    for_each(global, "redact", &[], args.yes, cancel)
}

pub(super) fn forget(
    global: &GlobalArgs,
    args: &ForgetArgs,
    cancel: &Cancel,
) -> Result<Option<Class>, Failure> {
    let mut openids = args.openids.clone();
    if let Some(path) = &args.openid_file {
        let file = plain_file::read_named(path).map_err(OpenidFileError)?;
        let text = String::from_utf8(file).map_err(|_| {
            let message = "not UTF-8; save it as UTF-8 text";
            OpenidFileError(std::io::Error::new(std::io::ErrorKind::InvalidData, message))
        })?;
        // Editors on Windows begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        openids.extend(text.lines().map(|line| line.trim().to_owned()));
    }
    openids.retain(|openid| !openid.trim().is_empty());
    if openids.is_empty() {
        let message = "no openid was given".to_owned();
        let advice = Some("name customers with --openid or --openid-file".to_owned());
        return Err(UsageError { message, advice }.into());
    }
    for_each(global, "forget", &openids, args.yes, cancel)
}

fn for_each(
    global: &GlobalArgs,
    command: &'static str,
    openids: &[String],
    is_applied: bool,
    cancel: &Cancel,
) -> Result<Option<Class>, Failure> {
    let settings = settings_for_lake(global, command)?;
    for_each_account(command, &settings, global.output, cancel, |settings| {
        of_account(settings, command, openids, is_applied, cancel)
    })
}

/// The work for one account.
fn of_account(
    settings: &Settings,
    command: &'static str,
    openids: &[String],
    is_applied: bool,
    cancel: &Cancel,
) -> Result<Redaction, Failure> {
    let lake = settings.open_lake()?;
    let account = settings.account()?;
    lake.require_folder()?;
    let privacy = settings.privacy()?;
    let lock = is_applied.then(|| lake.lock(&account)).transpose()?;
    let report = redact(&lake, &account, &privacy, openids, is_applied, cancel)?;
    drop(lock);
    let (account, lake) = (account.to_string(), lake.root().display().to_string());
    let privacy = privacy.to_string();
    Ok(Redaction { command, account, lake, privacy, applied: is_applied, report })
}

impl Report for Redaction {
    fn render(&self) -> String {
        let mut lines = vec![format!("{} · {} · {}", self.account, self.privacy, self.lake)];
        lines.extend(self.report.tables.iter().filter(|table| table.files > 0).map(render_table));
        lines.push(match (self.report.files(), self.applied) {
            (0, _) => "no file has anything to remove".to_owned(),
            (_, true) => "removed".to_owned(),
            (_, false) => {
                "nothing was removed; repeat the command with --yes to remove this permanently"
                    .to_owned()
            }
        });
        if self.report.was_pending {
            lines.push("a redaction had been interrupted; this finishes it".to_owned());
        }
        for openid in &self.report.not_found {
            lines.push(format!("not found  {openid}"));
        }
        lines.join("\n")
    }
}

fn render_table(table: &RedactedTable) -> String {
    let (files, texts) = (counted(table.files as usize, "file"), table.texts);
    match table.table {
        "messages" => format!(
            "{:<14} {files}: {} removed, {} replaced",
            table.table,
            counted(texts as usize, "text"),
            counted(table.openids as usize, "openid")
        ),
        "workers" => {
            format!("{:<14} {files}: {} removed", table.table, counted(texts as usize, "name"))
        }
        "rejects" => format!(
            "{:<14} {files}: {} withheld",
            table.table,
            counted(table.openids as usize, "raw record")
        ),
        _ => format!(
            "{:<14} {files}: {} replaced",
            table.table,
            counted(table.openids as usize, "openid")
        ),
    }
}
