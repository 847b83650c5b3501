//! A command's work for each account. An account that fails does not keep the others from their turn.

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::OutputFormat;
use crate::failure::{Class, Failure};
use crate::model::cancel::Cancel;
use crate::settings::Settings;
use crate::telemetry::{self, OutputError};

/// What a command shows of one account. As JSON it is part of kefu's contract.
pub(super) trait Report: Serialize {
    fn render(&self) -> String;

    /// Says on stderr what went wrong, beside what the result says.
    fn show_failures(&self) {}

    /// The class of the worst that went wrong.
    fn class(&self) -> Option<Class> {
        None
    }

    /// What stopped the work.
    fn failure(&self) -> Option<&Failure> {
        None
    }
}

/// Does the work for each account of the settings, and shows the reports: as text one by one, as
/// JSON at the end, one object for one account and one with all of them for several. After a
/// signal, the remaining accounts are reported as stopped.
///
/// Returns the class of what did not succeed: [`Class::Partial`] if something else did.
///
/// # Errors
/// When the result cannot be shown, or no account is named.
pub(super) fn for_each_account<R: Report>(
    command: &'static str,
    settings: &Settings,
    format: OutputFormat,
    cancel: &Cancel,
    work: impl Fn(&Settings) -> Result<R, Failure>,
) -> Result<Option<Class>, Failure> {
    let accounts: Vec<Settings> = settings.each_account().collect();
    let is_alone = accounts.len() == 1;
    let mut classes = Vec::new();
    let mut objects = Vec::new();
    // A result that cannot be shown is no reason to do less.
    let mut shown: Result<(), OutputError> = Ok(());
    for settings in &accounts {
        let account = settings.account()?;
        let is_cancelled = cancel.signal().is_some();
        let outcome = cancel.check().map_err(Failure::from).and_then(|()| work(settings));
        let (class, failure) = match &outcome {
            Ok(report) => (report.class(), report.failure()),
            Err(failure) => (Some(failure.class), Some(failure)),
        };
        classes.push(class);
        if let Ok(report) = &outcome {
            report.show_failures();
        }
        if format == OutputFormat::Table {
            let end = if is_alone { "" } else { "\n" };
            let failed = failure.map(|failure| format!("FAILED    {failure}"));
            let text = match &outcome {
                Ok(report) => [Some(report.render()), failed],
                // The others have their results there.
                Err(_) if is_alone || is_cancelled => [None, None],
                Err(_) => [Some(account.to_string()), failed],
            };
            let text: Vec<String> = text.into_iter().flatten().collect();
            if !text.is_empty() {
                shown = shown.and(telemetry::print_result(&format!("{}{end}", text.join("\n"))));
            }
        }
        objects.push(match &outcome {
            Ok(report) => json!(report),
            Err(failure) => json!({ "command": command, "account": account, "failure": failure }),
        });
        // A signal was reported when it came.
        if let Some(failure) = failure.filter(|failure| !matches!(failure.class, Class::Stopped(_)))
        {
            telemetry::print_failure_of((!is_alone).then_some(account.as_str()), failure);
        }
    }
    if format == OutputFormat::Json {
        shown = shown.and(telemetry::print_result(&as_one(&objects)));
    }
    shown?;
    Ok(class_of_all(&classes))
}

/// The result of a command: the one account's object, or one with those of all.
fn as_one(objects: &[Value]) -> String {
    match objects {
        [alone] => alone.to_string(),
        several => json!({ "accounts": several }).to_string(),
    }
}

/// The class of several: the worst, unless something succeeded. A signal counts as it is.
fn class_of_all(classes: &[Option<Class>]) -> Option<Class> {
    let worst = classes.iter().flatten().copied().max_by_key(|class| class.severity())?;
    let is_something_there =
        classes.iter().any(|class| matches!(class, None | Some(Class::Partial)));
    let is_partial = is_something_there && !matches!(worst, Class::Stopped(_));
    Some(if is_partial { Class::Partial } else { worst })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cancel::Signal;

    #[test]
    fn some_that_failed_are_partial_and_all_that_failed_are_the_worst() {
        use Class::{Partial, Refused, Unavailable};
        assert_eq!(class_of_all(&[None, None]), None);
        assert_eq!(class_of_all(&[None, Some(Refused)]), Some(Partial));
        assert_eq!(class_of_all(&[Some(Partial), Some(Refused)]), Some(Partial));
        assert_eq!(class_of_all(&[Some(Refused), Some(Unavailable)]), Some(Refused));
        let stopped = Class::Stopped(Signal::Terminate);
        assert_eq!(class_of_all(&[None, Some(stopped)]), Some(stopped));
    }
}
