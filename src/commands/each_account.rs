//! A command's work for each account. An account that fails does not affect the others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use serde::Serialize;
use serde_json::json;

use crate::cli::OutputFormat;
use crate::failure::{ErrorKind, Failure};
use crate::hint;
use crate::lake::Account;
use crate::model::cancel::Cancel;
use crate::settings::Settings;
use crate::telemetry::{self, OutputError};
use crate::threads;

/// What a command shows of one account. As JSON it is part of kefu's contract.
pub(super) trait Report: Serialize + Send {
    fn render(&self) -> String;

    /// Says on stderr what went wrong, beside what the result says.
    fn show_failures(&self) {}

    /// The error kind of the worst that went wrong.
    fn kind(&self) -> Option<ErrorKind> {
        None
    }

    /// What stopped the work.
    fn failure(&self) -> Option<&Failure> {
        None
    }
}

/// The accounts of a command, and how their reports are shown.
pub(super) struct EachAccount<'a> {
    pub(super) command: &'static str,
    pub(super) settings: &'a Settings,
    pub(super) format: OutputFormat,
    /// Maximum number of accounts that are worked on at once.
    pub(super) at_once: usize,
    pub(super) cancel: &'a Cancel,
}

/// Does the work for one account after the other. See [`EachAccount::work_off`].
///
/// # Errors
/// Those of [`EachAccount::work_off`].
pub(super) fn for_each_account<R: Report>(
    command: &'static str,
    settings: &Settings,
    format: OutputFormat,
    cancel: &Cancel,
    work: impl Fn(&Settings) -> Result<R, Failure> + Sync,
) -> Result<Option<ErrorKind>, Failure> {
    EachAccount { command, settings, format, at_once: 1, cancel }.work_off(work, |_, _| {})
}

impl EachAccount<'_> {
    /// Does the work for each account of the settings, several at once. Shows the reports in the
    /// order of the settings: as text as soon as those before are shown; as JSON at the end, one
    /// object for one account and one with all of them for several or for a shard. After a signal,
    /// the remaining accounts are reported as stopped. `shown` gets each report
    /// or failure, in the same order.
    ///
    /// Returns the error kind of what did not succeed: [`ErrorKind::Partial`] if something else
    /// did.
    ///
    /// # Errors
    /// When the result cannot be shown, no account is named, or threads cannot be created.
    pub(super) fn work_off<R: Report>(
        &self,
        work: impl Fn(&Settings) -> Result<R, Failure> + Sync,
        shown: impl FnMut(&Account, Result<&R, &Failure>),
    ) -> Result<Option<ErrorKind>, Failure> {
        let accounts = self.settings.account_names()?;
        let count = accounts.len();
        let of_account = |index: usize| {
            self.settings.nth_account(index).map(|settings| {
                self.cancel.check().map_err(Failure::from).and_then(|()| work(&settings))
            })
        };
        let mut display = Display::new(self, accounts, shown);
        let at_once = self.at_once.min(count);
        if at_once <= 1 {
            (0..count).filter_map(of_account).for_each(|outcome| display.show(outcome));
            return display.finish();
        }
        let next = AtomicUsize::new(0);
        let (sender, results) = channel();
        let work_off = || {
            let indices = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
            for index in indices.take_while(|index| *index < count) {
                // The receiver takes one outcome for each account.
                let _ = sender.send((index, of_account(index)));
            }
        };
        let show_all = || {
            let mut early = BTreeMap::new();
            for (index, outcome) in results.into_iter().take(count) {
                early.insert(index, outcome);
                while let Some(outcome) = early.remove(&display.kinds.len()) {
                    outcome.into_iter().for_each(|outcome| display.show(outcome));
                }
            }
        };
        threads::side_by_side(at_once, "accounts", work_off, show_all)?;
        display.finish()
    }
}

/// Shows the reports of accounts, one by one.
struct Display<'a, S> {
    job: &'a EachAccount<'a>,
    accounts: Vec<Account>,
    /// Whether one account is shown, in the form for one.
    is_alone: bool,
    /// The error kinds of the reports so far.
    kinds: Vec<Option<ErrorKind>>,
    /// The reports so far, as JSON.
    objects: Vec<String>,
    /// The first error of printing a report. The work goes on after it.
    result: Result<(), OutputError>,
    shown: S,
}

impl<'a, S> Display<'a, S> {
    fn new(job: &'a EachAccount<'a>, accounts: Vec<Account>, shown: S) -> Self {
        let is_alone = accounts.len() == 1 && job.settings.shard().is_none();
        let (kinds, objects) = (Vec::new(), Vec::new());
        Self { job, accounts, is_alone, kinds, objects, result: Ok(()), shown }
    }

    /// Shows the report of the next account.
    fn show<R: Report>(&mut self, outcome: Result<R, Failure>)
    where
        S: FnMut(&Account, Result<&R, &Failure>),
    {
        let Some(account) = self.accounts.get(self.kinds.len()) else { return };
        let (kind, failure) = match &outcome {
            Ok(report) => (report.kind(), report.failure()),
            Err(failure) => (Some(failure.kind), Some(failure)),
        };
        self.kinds.push(kind);
        (self.shown)(account, outcome.as_ref());
        if let Ok(report) = &outcome {
            report.show_failures();
        }
        match self.job.format {
            OutputFormat::Table => {
                let text = self.text(account, &outcome, failure);
                if let Some(text) = text {
                    let printed = telemetry::print_result(&text);
                    self.result = std::mem::replace(&mut self.result, Ok(())).and(printed);
                }
            }
            OutputFormat::Json => self.objects.push(match &outcome {
                Ok(report) => json!(report).to_string(),
                Err(failure) => {
                    let command = self.job.command;
                    json!({ "command": command, "account": account, "failure": failure })
                        .to_string()
                }
            }),
        }
        // A signal was reported when it came.
        if let Some(failure) =
            failure.filter(|failure| !matches!(failure.kind, ErrorKind::Stopped(_)))
        {
            telemetry::print_failure_of(account.as_str(), self.is_alone, failure);
        }
    }

    fn text<R: Report>(
        &self,
        account: &Account,
        outcome: &Result<R, Failure>,
        failure: Option<&Failure>,
    ) -> Option<String> {
        let end = if self.is_alone { "" } else { "\n" };
        let failed = failure.map(|failure| format!("FAILED    {failure}"));
        let is_stopped = |failure: &Failure| matches!(failure.kind, ErrorKind::Stopped(_));
        let text = match outcome {
            Ok(report) => [Some(hint::complete(report.render())), failed],
            Err(failure) if self.is_alone || is_stopped(failure) => [None, None],
            // Among the results of other accounts, name the one that failed.
            Err(_) => [Some(account.to_string()), failed],
        };
        let text: Vec<String> = text.into_iter().flatten().collect();
        (!text.is_empty()).then(|| format!("{}{end}", text.join("\n")))
    }

    fn finish(self) -> Result<Option<ErrorKind>, Failure> {
        if let (true, Some(shard)) = (self.accounts.is_empty(), self.job.settings.shard()) {
            telemetry::print_note(&format!("no account is in shard {shard}"));
        }
        let printed = match (self.job.format, self.objects.as_slice()) {
            (OutputFormat::Table, _) => self.result,
            (OutputFormat::Json, [alone]) if self.is_alone => telemetry::print_result(alone),
            (OutputFormat::Json, several) => {
                telemetry::print_result(&format!("{{\"accounts\":[{}]}}", several.join(",")))
            }
        };
        let kind = kind_of_all(&self.kinds);
        let Err(error) = printed else { return Ok(kind) };
        let failure = Failure::from(error);
        match kind.filter(|kind| kind.severity() > failure.kind.severity()) {
            None => Err(failure),
            Some(worse) => {
                telemetry::print_failure(&failure);
                Ok(Some(worse))
            }
        }
    }
}

/// The error kind of several: the worst, unless something succeeded. A signal counts as it is.
fn kind_of_all(kinds: &[Option<ErrorKind>]) -> Option<ErrorKind> {
    let worst = kinds.iter().flatten().copied().max_by_key(|kind| kind.severity())?;
    let is_something_there =
        kinds.iter().any(|kind| matches!(kind, None | Some(ErrorKind::Partial)));
    let is_partial = is_something_there && !matches!(worst, ErrorKind::Stopped(_));
    Some(if is_partial { ErrorKind::Partial } else { worst })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cancel::Signal;

    #[test]
    fn some_that_failed_are_partial_and_all_that_failed_are_the_worst() {
        use ErrorKind::{Partial, Refused, Unavailable};
        assert_eq!(kind_of_all(&[None, None]), None);
        assert_eq!(kind_of_all(&[None, Some(Refused)]), Some(Partial));
        assert_eq!(kind_of_all(&[Some(Partial), Some(Refused)]), Some(Partial));
        assert_eq!(kind_of_all(&[Some(Refused), Some(Unavailable)]), Some(Refused));
        let stopped = ErrorKind::Stopped(Signal::Terminate);
        assert_eq!(kind_of_all(&[None, Some(stopped)]), Some(stopped));
    }
}
