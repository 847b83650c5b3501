//! The list of an account's workers: fetched after the messages of a run, and written when it has
//! changed. Names are worth less than messages, so a failure is a warning.

use serde::Serialize;

use super::{AccountJob, Network};
use crate::failure::Failure;
use crate::fetch::{Source, WorkerList};
use crate::model::cancel::Cancel;
use crate::model::privacy::WorkerNames;

/// What became of the list of workers.
#[derive(Debug, Default, Serialize)]
pub struct WorkersReport {
    /// Number of workers in the list.
    pub listed: usize,
    /// Entries without a usable `kf_account` and `kf_id`, which were left out.
    pub unreadable: usize,
    /// Whether the list differs from the latest one in the lake, and was written.
    pub is_changed: bool,
    /// Why the list was not read or not written. The latest one in the lake stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Fetches the list and writes it if it has changed. None after a signal.
pub(super) fn update_workers(
    job: &AccountJob,
    network: &Network,
    source: &Source,
    cancel: &Cancel,
) -> Option<WorkersReport> {
    let today = job.zone.day_of(job.clock.now().unix_timestamp());
    let asked = cancel.or(source.worker_list(job.account.as_str(), today));
    let list = match network.wait_for(asked).ok()? {
        Ok(list) => list,
        Err(error) => return Some(WorkersReport::failed(error.into())),
    };
    let WorkerList { mut workers, unreadable } = list;
    let report = WorkersReport { listed: workers.len(), unreadable, ..Default::default() };
    // WeChat gives no reason for an empty list. The names that are known are worth more.
    if workers.is_empty() {
        return Some(report);
    }
    if job.privacy.as_ref().is_some_and(|privacy| privacy.worker_names == WorkerNames::Drop) {
        workers.iter_mut().for_each(|worker| worker.nick = None);
    }
    Some(match job.lake.record_workers(&job.account, today, &job.zone, &workers) {
        Ok(is_changed) => WorkersReport { is_changed, ..report },
        Err(error) => WorkersReport { failure: Some(error.into()), ..report },
    })
}

impl WorkersReport {
    fn failed(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }

    /// What to do about it. None where there is nothing to do.
    pub fn hint(&self) -> Option<String> {
        match (&self.failure, self.listed, self.unreadable) {
            (Some(failure), ..) => failure.hint.clone(),
            (None, 0, 0) => Some(
                "the names that the lake has stay. Where workers are bound to the account, check \
                 that the app id is this account's and that customer service is enabled for it"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// What went wrong, in words. None when all went well.
    pub fn problem(&self) -> Option<String> {
        match (&self.failure, self.listed, self.unreadable) {
            (Some(failure), ..) => Some(failure.to_string()),
            (None, 0, 0) => Some("WeChat lists no worker".to_owned()),
            (None, _, 0) => None,
            (None, _, unreadable) => Some(format!(
                "entries without a usable kf_account and kf_id, which were left out: {unreadable}"
            )),
        }
    }
}
