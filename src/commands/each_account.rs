//! A command's work for each account in turn. One account that fails does not keep the others from their turn.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::OutputFormat;
use crate::failure::{Class, Failure};
use crate::settings::Settings;
use crate::signals;
use crate::telemetry::{self, OutputError};

/// What a command shows of one account. As JSON it is part of kefu's contract.
pub(super) trait Report: Serialize {
    fn render(&self) -> String;

    /// Says on stderr what went wrong, beside what the result says.
    fn show_failures(&self) {}
}

/// What came of one account.
pub(super) struct Outcome<R> {
    pub report: R,
    /// The class of what did not succeed and is in the report.
    pub class: Option<Class>,
    /// What kept the work from its end.
    pub failure: Option<Failure>,
}

impl<R> Outcome<R> {
    /// The class of it all: of the two the worse.
    pub(super) fn worst(&self) -> Option<Class> {
        let failed = self.failure.as_ref().map(|failure| failure.class);
        failed.into_iter().chain(self.class).max_by_key(|class| class.severity())
    }
}

impl<R> From<R> for Outcome<R> {
    fn from(report: R) -> Self {
        Self { report, class: None, failure: None }
    }
}

/// Does the work for each account of the settings. With one of them, shows its report; with several, in words those of each as it comes, and as JSON
/// one object with all of them. The class is that of what did not succeed: [`Class::Partial`], if something else did.
///
/// What kept the work from its end is shown here, and is in the result where that is JSON: of a process that is told to leave, too.
///
/// # Errors
/// When the result cannot be shown, or no account is named.
pub(super) fn for_each_account<R: Report>(
    command: &'static str,
    settings: &Settings,
    format: OutputFormat,
    work: impl Fn(&Settings) -> Result<Outcome<R>, Failure>,
) -> Result<Option<Class>, Failure> {
    let accounts: Vec<Settings> = settings.each_account().collect();
    let is_alone = accounts.len() == 1;
    let mut classes = Vec::new();
    let objects: Arc<Mutex<Vec<Value>>> = Arc::default();
    let told_to_leave = (format == OutputFormat::Json).then(|| {
        let names: Vec<_> = accounts.iter().map(|settings| settings.account().ok()).collect();
        let objects = objects.clone();
        signals::on_shutdown(move |_| {
            let mut objects = std::mem::take(&mut *lock(&objects));
            let hint = "what was committed stays, run again for the rest";
            let failure =
                json!({ "class": "stopped", "reason": "told to stop by a signal", "hint": hint });
            let rest = names.iter().skip(objects.len());
            objects.extend(rest.map(
                |account| json!({ "command": command, "account": account, "failure": failure }),
            ));
            // Nobody is left to be told that it cannot be shown.
            let _ = telemetry::print_result(&as_one(&objects));
        })
    });
    // A result that cannot be shown is no reason to do less.
    let mut shown: Result<(), OutputError> = Ok(());
    for settings in &accounts {
        let account = settings.account()?;
        let outcome = work(settings);
        signals::await_shutdown();
        classes.push(outcome.as_ref().map_or_else(|failure| Some(failure.class), Outcome::worst));
        let (report, failure) = match outcome {
            Ok(Outcome { report, failure, .. }) => (Some(report), failure),
            Err(failure) => (None, Some(failure)),
        };
        if let Some(report) = &report {
            report.show_failures();
            if format == OutputFormat::Table {
                let end = if is_alone { "" } else { "\n" };
                let failed = failure
                    .as_ref()
                    .map_or_else(String::new, |failure| format!("\nFAILED    {failure}"));
                let words = report.render();
                shown = shown.and(telemetry::print_result(&format!("{words}{failed}{end}")));
            }
        } else if let (Some(failure), false, OutputFormat::Table) = (&failure, is_alone, format) {
            // The others have their results there.
            let words = format!("{account}\nFAILED    {failure}\n");
            shown = shown.and(telemetry::print_result(&words));
        }
        let mut object = report.map_or_else(
            || json!({ "command": command, "account": account }),
            |report| json!(report),
        );
        if let (Some(failure), Value::Object(object)) = (&failure, &mut object) {
            object.insert("failure".to_owned(), json!(failure));
        }
        lock(&objects).push(object);
        if let Some(failure) = failure {
            telemetry::print_failure(&if is_alone {
                failure
            } else {
                failure.during(format!("the account {account} failed"))
            });
        }
    }
    drop(told_to_leave);
    // It may be about to show the result itself.
    signals::await_shutdown();
    if format == OutputFormat::Json {
        shown = shown.and(telemetry::print_result(&as_one(&lock(&objects))));
    }
    shown?;
    Ok(class_of_all(&classes))
}

fn lock(objects: &Mutex<Vec<Value>>) -> MutexGuard<'_, Vec<Value>> {
    objects.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The result of a command: the one account's object, or one with those of all.
fn as_one(objects: &[Value]) -> String {
    match objects {
        [alone] => alone.to_string(),
        several => json!({ "accounts": several }).to_string(),
    }
}

/// The class of several: the worst, unless something succeeded.
fn class_of_all(classes: &[Option<Class>]) -> Option<Class> {
    let worst = classes.iter().flatten().copied().max_by_key(|class| class.severity())?;
    let is_something_there =
        classes.iter().any(|class| matches!(class, None | Some(Class::Partial)));
    Some(if is_something_there { Class::Partial } else { worst })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_that_failed_are_partial_and_all_that_failed_are_the_worst() {
        use Class::{Partial, Refused, Unavailable};
        assert_eq!(class_of_all(&[None, None]), None);
        assert_eq!(class_of_all(&[None, Some(Refused)]), Some(Partial));
        assert_eq!(class_of_all(&[Some(Partial), Some(Refused)]), Some(Partial));
        assert_eq!(class_of_all(&[Some(Refused), Some(Unavailable)]), Some(Refused));
    }
}
