//! Removes personal data from the files of an account: data that its privacy settings no longer
//! keep, and data of forgotten customers. Numbers do not change.
//!
//! Each file is replaced atomically, so the work can be interrupted at any time. The privacy record
//! of the account is written first: it contains what to remove, and that this is pending. The next
//! command that writes to the account finishes a pending redaction. Metrics stay up to date,
//! because a redacted file records the content hashes that its rows had before.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;

use super::Observer;
use crate::calendar::Day;
use crate::failure::{Classified, ErrorKind, Failure};
use crate::hint;
use crate::lake::{Account, AccountPrivacy, Lake, LakeError, PartitionKey, Table};
use crate::model::cancel::Cancel;
use crate::model::privacy::{AppliedPrivacy, Change, Privacy};
use crate::model::redaction::{Forgotten, Redacted, Redaction};

/// Why the privacy settings do not match the lake.
#[derive(Debug, thiserror::Error)]
pub enum PrivacyError {
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(
        "the settings under [privacy] ({asked}) are stricter than those of {account} in the lake ({lake})"
    )]
    Stricter { account: Account, root: PathBuf, lake: AppliedPrivacy, asked: AppliedPrivacy },
    #[error(
        "the settings under [privacy] ({asked}) cannot replace those of {account} in the lake ({lake}): what they need is gone, or was hashed with another key"
    )]
    Impossible { account: Account, lake: AppliedPrivacy, asked: AppliedPrivacy },
    #[error(
        "the file with {key} was written with other privacy settings ({applied}) than those of the account ({asked}), and cannot be changed to them"
    )]
    OtherFile { key: PartitionKey, applied: AppliedPrivacy, asked: AppliedPrivacy },
    #[error(
        "the openids of {account} were written with different privacy settings on {first} and {second}, and one customer would count as two"
    )]
    Mixed { account: Account, root: PathBuf, first: Day, second: Day },
    #[error("the privacy settings of {account} cannot be read here, and are needed")]
    Unknown { account: Account },
}

impl Classified for PrivacyError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Lake(error) => error.kind(),
            _ => ErrorKind::Settings,
        }
    }

    fn hint(&self) -> Option<String> {
        // It removes data, so it names the lake.
        let redact = |account: &Account, root: &Path| {
            format!(
                "`kefu redact --account {account} --lake {}` lists what is to be removed, and with --yes removes it for good",
                hint::quoted(&root.to_string_lossy())
            )
        };
        Some(match self {
            Self::Lake(error) => return error.hint(),
            Self::Stricter { account, root, lake, .. } => {
                format!("{}; or set [privacy] back to {lake}", redact(account, root))
            }
            Self::Impossible { lake, .. } => {
                format!("set [privacy] back to {lake}, with the key that the openids were hashed with")
            }
            Self::OtherFile { key, .. } if Table::METRICS.contains(&key.table) => {
                "move it out of the lake: `kefu metrics` computes it again while its messages are there".into()
            }
            Self::OtherFile { key, .. } => format!(
                "while WeChat has the day's records, `kefu fetch --date {} --force` fetches it again",
                key.date
            ),
            Self::Mixed { account, root, .. } => redact(account, root),
            Self::Unknown { .. } => {
                "`kefu doctor` shows the settings under [privacy], and why they cannot be read".into()
            }
        })
    }
}

/// What was removed, or would be removed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RedactReport {
    /// Whether this finishes, or would finish, a redaction that was interrupted.
    pub was_pending: bool,
    /// Of the customers to forget: those that are in no file, neither by their openid nor by the
    /// random name that replaced it.
    pub not_found: Vec<String>,
    pub tables: Vec<RedactedTable>,
}

#[derive(Clone, Debug, Serialize)]
pub struct RedactedTable {
    pub table: &'static str,
    /// Number of files to write again.
    pub files: u64,
    /// Number of texts, or of names of workers, that become null.
    pub texts: u64,
    /// Number of rows whose openid is replaced, or whose raw record is withheld.
    pub openids: u64,
}

impl RedactReport {
    pub fn files(&self) -> u64 {
        self.tables.iter().map(|table| table.files).sum()
    }
}

/// Returns the redaction for records that are fetched for an account. The privacy settings must
/// match those of the lake.
///
/// # Errors
/// [`PrivacyError`] when the settings do not match, or when the lake cannot be read.
pub fn redaction(
    lake: &Lake,
    account: &Account,
    privacy: &Privacy,
) -> Result<Redaction, PrivacyError> {
    let Some(there) = lake.privacy(account)? else {
        return Ok(Redaction { privacy: privacy.clone(), ..Redaction::default() });
    };
    let root = lake.root().to_owned();
    let (account, lake, asked) = (account.clone(), there.applied, privacy.applied());
    match lake.change_to(&asked) {
        Change::None => Ok(Redaction { privacy: privacy.clone(), forgotten: there.forgotten }),
        Change::Stricter => Err(PrivacyError::Stricter { account, root, lake, asked }),
        Change::Impossible => Err(PrivacyError::Impossible { account, lake, asked }),
    }
}

/// Finishes an interrupted redaction. The account must be [locked](Lake::lock).
///
/// # Errors
/// The same as [`redact`].
pub fn finish_redaction(
    lake: &Lake,
    account: &Account,
    redaction: &Redaction,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<(), Failure> {
    if !lake.privacy(account)?.is_some_and(|privacy| privacy.is_pending) {
        return Ok(());
    }
    match sweep(lake, account, redaction, true, observer, cancel) {
        Ok((report, _)) => {
            tracing::info!(event = "redaction_finished", account = %account, files = report.files());
            Ok(())
        }
        Err(failure) => match damaged_file(&failure) {
            // It stays as it is until a fetch or `kefu metrics` replaces it.
            Some(path) => {
                tracing::warn!(
                    event = "redaction_pending",
                    account = %account,
                    path = %path.display(),
                    "cannot remove personal data from a damaged file"
                );
                Ok(())
            }
            None => Err(failure),
        },
    }
}

/// The damaged file, if that is what a failure is about.
fn damaged_file(failure: &Failure) -> Option<&Path> {
    match failure.error_ref::<PrivacyError>()? {
        PrivacyError::Lake(LakeError::Damaged { path, .. }) => Some(path),
        _ => None,
    }
}

/// Removes personal data from all files of an account: data that `privacy` does not keep, and data
/// of the customers with these `openids`. Stores keyed hashes of the openids, to recognize these
/// customers in later fetches.
///
/// With `is_applied`, the account must be [locked](Lake::lock). Without it, nothing changes, and
/// the report lists what would be removed.
///
/// # Errors
/// - [`PrivacyError::Impossible`] when the settings are neither equal to nor stricter than those of
///   the lake.
/// - [`PrivacyError::Stricter`] when the settings are stricter and there are `openids`. Make these
///   two changes one after the other.
/// - When a file cannot be read or written. The other files are redacted, and the redaction stays
///   pending.
pub fn redact(
    lake: &Lake,
    account: &Account,
    privacy: &Privacy,
    openids: &[String],
    is_applied: bool,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<RedactReport, Failure> {
    let mut redaction = match redaction(lake, account, privacy) {
        Err(PrivacyError::Stricter { .. }) if openids.is_empty() => {
            let forgotten = lake.privacy(account)?.map(|there| there.forgotten);
            Redaction { privacy: privacy.clone(), forgotten: forgotten.unwrap_or_default() }
        }
        redaction => redaction?,
    };
    openids.iter().for_each(|openid| redaction.forgotten.add(openid, privacy));
    let was_pending = lake.privacy(account)?.is_some_and(|privacy| privacy.is_pending);
    let (report, found) = sweep(lake, account, &redaction, is_applied, observer, cancel)?;
    let is_found = |openid: &String| {
        let mut names = redaction.forgotten.names_in_lake(openid, privacy);
        found.contains(openid) || names.any(|name| found.contains(name))
    };
    let not_found = openids.iter().filter(|openid| !is_found(openid)).cloned().collect();
    let report = RedactReport { was_pending, not_found, ..report };
    if is_applied {
        let sum = |count: fn(&RedactedTable) -> u64| report.tables.iter().map(count).sum::<u64>();
        tracing::info!(
            event = "redacted",
            account = %account,
            customers = openids.len(),
            files = report.files(),
            texts = sum(|table| table.texts),
            openids = sum(|table| table.openids),
        );
    }
    Ok(report)
}

/// Redacts all files of an account that need it. Also returns the random names of the forgotten
/// customers that are in files.
fn sweep(
    lake: &Lake,
    account: &Account,
    redaction: &Redaction,
    is_applied: bool,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<(RedactReport, BTreeSet<String>), Failure> {
    let mut record = AccountPrivacy {
        applied: redaction.privacy.applied(),
        is_pending: true,
        forgotten: redaction.forgotten.clone(),
    };
    // A record of an account that has only lists of workers would apply to records that nobody has
    // seen, and refuse other settings for them.
    let is_recorded =
        is_applied && (lake.privacy(account)?.is_some() || lake.has_account(account)?);
    if is_recorded {
        lake.record_privacy(account, &record)?;
    }
    let mut report = RedactReport::default();
    let mut found = BTreeSet::new();
    let mut failed: Option<Failure> = None;
    for table in Table::with_personal_data() {
        let days = lake.days(table, account)?;
        observer.redaction_begun(table, days.len());
        let of_day = |day: Day| -> Result<RedactedFile, Failure> {
            cancel.check()?;
            let key = account.partition(table, day);
            let redacted = redact_file(lake, &key, redaction, is_applied);
            observer.day_redacted(day);
            Ok(redacted?)
        };
        let outcomes: Vec<_> = lake.reading(|| days.into_par_iter().map(of_day).collect())?;
        let mut of_table = RedactedTable { table: table.name(), files: 0, texts: 0, openids: 0 };
        for outcome in outcomes {
            match outcome {
                Ok(file) => {
                    of_table.files += u64::from(file.is_changed);
                    of_table.texts += file.texts;
                    of_table.openids += file.openids;
                    found.extend(file.found);
                }
                Err(failure) => {
                    // Damage is no reason to stop a run, so it must not hide another failure.
                    let is_damage = |failure: &Failure| damaged_file(failure).is_some();
                    if failed.as_ref().is_none_or(|first| is_damage(first) && !is_damage(&failure))
                    {
                        failed = Some(failure);
                    }
                }
            }
        }
        report.tables.push(of_table);
    }
    if let Some(failure) = failed {
        return Err(failure);
    }
    if is_recorded {
        record.is_pending = false;
        lake.record_privacy(account, &record)?;
    }
    Ok((report, found))
}

/// What was done to a file.
#[derive(Default)]
struct RedactedFile {
    is_changed: bool,
    texts: u64,
    openids: u64,
    /// The random names of the forgotten customers that are in it.
    found: BTreeSet<String>,
}

/// Redacts a file that needs it.
fn redact_file(
    lake: &Lake,
    key: &PartitionKey,
    redaction: &Redaction,
    is_applied: bool,
) -> Result<RedactedFile, PrivacyError> {
    if key.table == Table::Workers {
        return redact_list(lake, key, redaction, is_applied);
    }
    let footer = lake.footer(key)?;
    let asked = redaction.privacy.applied();
    let applied = AppliedPrivacy::parse(footer.privacy_of(key.table)).ok_or_else(|| {
        lake.damaged(key, "its footer does not say what was done to personal data")
    })?;
    let Named { found, is_by_openid } = forgotten_in(lake, key, &redaction.forgotten)?;
    match applied.change_to(&asked) {
        Change::Impossible => {
            return Err(PrivacyError::OtherFile { key: key.clone(), applied, asked });
        }
        Change::None if !is_by_openid => return Ok(RedactedFile { found, ..Default::default() }),
        _ => {}
    }
    let (mut texts, mut openids) = (0, 0);
    let change = |rows: RecordBatch| {
        let redacted = redaction.apply(&rows, applied.is_keyed())?;
        let Redacted { rows, .. } = redacted;
        texts += redacted.texts;
        openids += redacted.openids;
        Ok(rows)
    };
    match is_applied {
        true => drop(lake.redact(key, &asked, change)?.commit()?),
        false => {
            let mut change = change;
            lake.rows(key)?.try_for_each(|rows| rows.and_then(&mut change).map(drop))?;
        }
    }
    Ok(RedactedFile { is_changed: true, texts, openids, found })
}

/// Removes the names from a list of workers, if the settings do not keep them.
fn redact_list(
    lake: &Lake,
    key: &PartitionKey,
    redaction: &Redaction,
    is_applied: bool,
) -> Result<RedactedFile, PrivacyError> {
    let mut texts = 0;
    for rows in lake.rows(key)? {
        texts += redaction.apply(&rows?, false).map_err(LakeError::from)?.texts;
    }
    let is_changed = texts > 0;
    if is_changed && is_applied {
        lake.rewrite_rows(key, |rows| Ok(redaction.apply(&rows, false)?.rows))?;
    }
    Ok(RedactedFile { is_changed, texts, ..Default::default() })
}

/// The forgotten customers in a file.
#[derive(Default)]
pub(super) struct Named {
    /// Their random names.
    found: BTreeSet<String>,
    /// Whether one of them is there by the openid, so that the file must be redacted.
    pub(super) is_by_openid: bool,
}

/// Finds forgotten customers in a file.
pub(super) fn forgotten_in(
    lake: &Lake,
    key: &PartitionKey,
    forgotten: &Forgotten,
) -> Result<Named, LakeError> {
    let mut named = Named::default();
    if forgotten.is_empty() {
        return Ok(named);
    }
    let random: BTreeSet<&str> = forgotten.parts().1.values().map(String::as_str).collect();
    let column = if key.table == Table::Rejects { "raw" } else { "openid" };
    for batch in lake.read(key, &[column])? {
        let batch = batch?;
        let Some(values) = batch.columns().first() else { continue };
        // Check each distinct openid once.
        let values = match values.as_dictionary_opt::<Int32Type>() {
            Some(names) => names.values(),
            None => values,
        };
        let Some(values) = values.as_string_opt::<i32>() else { continue };
        for value in values.iter().flatten() {
            if key.table == Table::Rejects {
                named.is_by_openid |= forgotten.is_in(value);
            } else if let Some(name) = forgotten.name(value) {
                named.is_by_openid = true;
                named.found.insert(name.to_owned());
            } else if random.contains(value) {
                named.found.insert(value.to_owned());
            }
        }
    }
    Ok(named)
}
