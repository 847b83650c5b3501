//! The files of an account against its privacy settings and its forgotten customers.

use std::collections::BTreeMap;

use super::examined_day::ExaminedDay;
use super::finding::{Finding, Kind};
use super::metrics_job::MetricsJob;
use super::redact::forgotten_in;
use super::verify::Verification;
use crate::calendar::Day;
use crate::failure::Failure;
use crate::lake::{AccountPrivacy, Contents, LakeError, PartitionKey};
use crate::model::Table;
use crate::model::cancel::Cancel;
use crate::model::privacy::{AppliedPrivacy, Change};

/// Finds files whose personal data does not match the account's record. Returns whether a redaction
/// is pending; then that is the only finding.
pub(super) fn verify_privacy(
    job: &MetricsJob,
    days: &BTreeMap<Day, ExaminedDay>,
    verification: &mut Verification,
    cancel: &Cancel,
) -> Result<bool, Failure> {
    let record = job.lake.privacy_record(&job.account);
    let mut add = |finding: Finding| verification.findings.push(finding);
    let privacy = match job.lake.privacy(&job.account) {
        Err(LakeError::DamagedRecord { record, path, reason }) => {
            add(Finding::new(Kind::Privacy, path, reason, record.advice()));
            return Ok(false);
        }
        privacy => privacy?,
    };
    let Some(AccountPrivacy { applied: settings, is_pending, forgotten }) = privacy else {
        return Ok(false);
    };
    if is_pending {
        let advice = format!("run `kefu redact --account {} --yes` to finish it", job.account);
        add(Finding::new(Kind::Privacy, record, "a redaction was interrupted", advice));
        return Ok(true);
    }
    let personal: Vec<Table> = Table::with_personal_data().collect();
    let files = days.iter().flat_map(|(day, examined)| {
        let sound = examined.sound.iter().filter(|(table, _)| personal.contains(table));
        sound.map(|(table, contents)| (job.account.partition(*table, *day), contents))
    });
    for (key, contents) in files {
        cancel.check()?;
        if let Some((what, advice)) = other_settings(&key, contents, &settings) {
            add(Finding::new(Kind::Openids, job.lake.path(&key), what, advice));
        } else if forgotten_in(&job.lake, &key, &forgotten)?.is_by_openid {
            let what = "it names a customer who was forgotten";
            let advice =
                format!("run `kefu redact --account {} --yes` to remove them again", job.account);
            add(Finding::new(Kind::Privacy, job.lake.path(&key), what, advice));
        }
    }
    Ok(false)
}

/// How the privacy settings of a file differ from those of its account, and what to do about it.
fn other_settings(
    key: &PartitionKey,
    contents: &Contents,
    settings: &AppliedPrivacy,
) -> Option<(String, String)> {
    let (account, day) = (&key.account, key.date);
    let applied = AppliedPrivacy::parse(contents.footer.privacy_of(key.table))?;
    let advice = match applied.change_to(settings) {
        Change::None => return None,
        Change::Stricter => {
            format!("run `kefu redact --account {account}` to list what it would remove")
        }
        Change::Impossible if key.table.names_customers() => {
            "move it out of the lake, then run `kefu metrics` to compute it again while its messages exist"
                .into()
        }
        Change::Impossible => {
            format!("run `kefu run --date {day} --force` to fetch the day again")
        }
    };
    let what =
        format!("its privacy settings ({applied}) differ from those of the account ({settings})");
    Some((what, advice))
}
