//! `kefu redact` and `kefu forget`

use serde::Serialize;

use super::each_account::{Report, for_each_account};
use super::stage_observer::StageObserver;
use super::{account_job, settings_among};
use crate::cli::{ForgetArgs, GlobalArgs, RedactArgs};
use crate::failure::{Classified, ErrorKind, Failure, UsageError};
use crate::hint;
use crate::lake::{Account, Lake, LakeError};
use crate::model::cancel::Cancel;
use crate::pipeline::{AccountJob, RedactReport, RedactedTable, Request, redact, run_account};
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
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("check that --openid-file names a text file with one openid per line".into())
    }
}

pub(super) fn redact_lake(
    global: &GlobalArgs,
    args: &RedactArgs,
    cancel: &Cancel,
) -> Result<Option<ErrorKind>, Failure> {
    for_each(global, &Request::Redact, args.yes, cancel)
}

pub(super) fn forget(
    global: &GlobalArgs,
    args: &ForgetArgs,
    cancel: &Cancel,
) -> Result<Option<ErrorKind>, Failure> {
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
    for_each(global, &Request::Forget(openids), args.yes, cancel)
}

fn for_each(
    global: &GlobalArgs,
    request: &Request,
    is_applied: bool,
    cancel: &Cancel,
) -> Result<Option<ErrorKind>, Failure> {
    let settings = settings_among(&global.flags(), request.name(), finder(request))?;
    for_each_account(request.name(), &settings, global.output, cancel, |settings| {
        of_account(settings, request, is_applied, cancel)
    })
}

/// How the accounts of a request are found in the lake. Lists of workers have no customer.
fn finder(request: &Request) -> fn(&Lake, &[String]) -> Result<Vec<Account>, LakeError> {
    match request {
        Request::Redact => Lake::accounts_to_redact,
        _ => Lake::accounts_named,
    }
}

/// The work for one account.
fn of_account(
    settings: &Settings,
    request: &Request,
    is_applied: bool,
    cancel: &Cancel,
) -> Result<Redaction, Failure> {
    let privacy = settings.privacy()?;
    let job = AccountJob { privacy: Some(privacy.clone()), ..account_job(settings)? };
    let AccountJob { lake, account, .. } = &job;
    lake.require_folder()?;
    // The record of an account without files would apply to records that nobody has seen.
    if lake.privacy(account)?.is_none() {
        finder(request)(lake, &[account.to_string()])?;
    }
    // It names the account, because there may be others.
    let observer = StageObserver::new(account, false);
    let report = if is_applied {
        let run = run_account(&job, request, &observer, cancel);
        match run.failure {
            Some(failure) => return Err(failure),
            None => run.redaction.unwrap_or_default(),
        }
    } else {
        let openids = match request {
            Request::Forget(openids) => openids.as_slice(),
            _ => &[],
        };
        redact(lake, account, &privacy, openids, false, &observer, cancel)?
    };
    Ok(Redaction {
        command: request.name(),
        account: account.to_string(),
        lake: lake.root().display().to_string(),
        privacy: privacy.to_string(),
        applied: is_applied,
        report,
    })
}

/// The warning that a redaction of an account was interrupted.
pub(super) fn pending_redaction(account: &str) -> String {
    hint::complete(format!(
        "files of {account} may hold personal data that is to be removed: `kefu redact --account \
         {account} --yes` finishes the removal"
    ))
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
