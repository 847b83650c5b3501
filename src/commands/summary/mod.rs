//! What a run did, as text.

mod fetch;

use fetch::{UNREADABLE_ADVICE, WHAT_TO_CHECK, WINDOWS_ADVICE, in_common};

use super::each_account::Report;
use crate::calendar::DayRange;
use crate::failure::{ErrorKind, Failure};
use crate::pipeline::{FailedDay, FetchReport, RunReport, reasons};
use crate::printable::counted;
use crate::telemetry;

impl Report for RunReport {
    fn kind(&self) -> Option<ErrorKind> {
        RunReport::kind(self)
    }

    fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    fn show_failures(&self) {
        let damaged = self.metrics.as_ref().map(|metrics| metrics.damaged.as_slice());
        if let Some(days) = damaged.filter(|days| !days.is_empty()) {
            let text = format!(
                "{}: metrics of {} were not computed: messages cannot be read or are gone",
                self.account,
                DayRange::list(days)
            );
            telemetry::print_plain_warning(&text, Some("`kefu verify` says what to do"));
        }
        let Some(fetch) = &self.fetch else { return };
        if fetch.found_nothing() {
            let text = format!(
                "{}: WeChat has no record of {}, and no day was committed",
                self.account,
                DayRange::list(&fetch.left_out)
            );
            telemetry::print_plain_warning(&text, Some(WHAT_TO_CHECK));
        }
        if let Some(text) = fetch.render_unreadable() {
            let text = format!("{}: {text}", self.account);
            telemetry::print_plain_warning(&text, Some(UNREADABLE_ADVICE));
        }
        if let Some(text) = fetch.render_misplaced() {
            let text = format!("{}: {text}", self.account);
            telemetry::print_plain_warning(&text, Some(WINDOWS_ADVICE));
        }
        // The log already has an event for each of the following.
        if telemetry::is_for_machines() {
            return;
        }
        for shrunk in &fetch.shrunk {
            telemetry::print_note(&format!(
                "warning: {}: {} was left as it is: WeChat gives {} records of it, and the lake has {}",
                self.account, shrunk.date, shrunk.records_after, shrunk.records_before
            ));
        }
        if let Some(workers) = &self.workers
            && let Some(problem) = workers.problem()
        {
            let text = format!("{}: names of workers: {problem}", self.account);
            telemetry::print_plain_warning(&text, workers.hint().as_deref());
        }
        for (errors, hint) in self.errors_of_days(fetch) {
            let hint = match (hint, errors.len()) {
                (None, _) => String::new(),
                (Some(hint), 1) => format!("\n\nhint: {hint}"),
                (Some(hint), count) => format!("\n\nhint: (for these {count} errors) {hint}"),
            };
            telemetry::print_note(&format!("{}{hint}", errors.join("\n")));
        }
        if !fetch.given_up.is_empty() {
            let is_stopped = matches!(RunReport::kind(self), Some(ErrorKind::Stopped(_)));
            let why = match fetch.given_up.len() {
                _ if is_stopped => ", because of the signal",
                1 => ": it would fail for the same reason",
                _ => ": they would fail for the same reason",
            };
            let verb = if fetch.given_up.len() == 1 { "was" } else { "were" };
            telemetry::print_note(&format!(
                "note: {}: {} {verb} not attempted{why}",
                self.account,
                DayRange::list(&fetch.given_up)
            ));
        }
    }

    fn render(&self) -> String {
        let mut lines = vec![format!("{} · {} · {}", self.account, self.timezone, self.lake)];
        if let Some(fetch) = &self.fetch {
            lines.extend(fetch.render());
        }
        if let Some(workers) = self.workers.as_ref().filter(|workers| workers.is_changed) {
            let listed = counted(workers.listed, "worker");
            lines.push(format!("workers   {listed} in a list that has changed"));
        }
        if self.metrics_put_off {
            lines.push("metrics   not computed, because the lake cannot be written; run the same command again to compute them".to_owned());
        }
        if self.unprotected {
            lines.push(
                "lake      overlapping runs of one account are not protected from each \
                other (single_writer = true)"
                    .to_owned(),
            );
        }
        if let Some(metrics) = &self.metrics {
            let left_out = metrics.waiting.len() + metrics.damaged.len();
            lines.push(match metrics.computed.as_slice() {
                [] if metrics.fresh + metrics.frozen.len() + left_out == 0 => {
                    "metrics   nothing to compute: no day of these was fetched".to_owned()
                }
                [] if left_out > 0 => {
                    format!("metrics   computed none; {} up to date", metrics.fresh)
                }
                [] => format!("metrics   up to date ({})", counted(metrics.fresh, "day")),
                computed => format!(
                    "metrics   computed {}: {}; {} up to date",
                    counted(computed.len(), "day"),
                    DayRange::list(computed),
                    metrics.fresh
                ),
            });
            if let Some(changed) = &metrics.changed_rules {
                lines.push(format!(
                    "          because rules have changed ({}): {}",
                    reasons(&changed.rules),
                    counted(changed.days.len(), "day")
                ));
            }
            if let Some(older) = &metrics.older_days {
                lines.push(format!(
                    "          older days, up to {}, are out of date ({}): `kefu metrics` computes them again",
                    older.up_to,
                    reasons(&older.because)
                ));
            }
            let remarks = [
                ("still to be computed", &metrics.waiting),
                ("frozen, because messages that they were made of are gone", &metrics.frozen),
                ("not computed, because messages cannot be read or are gone", &metrics.damaged),
            ];
            let remarks = remarks.iter().filter(|(_, concerned)| !concerned.is_empty());
            lines.extend(remarks.map(|(remark, concerned)| {
                format!(
                    "          {remark}: {}: {}",
                    counted(concerned.len(), "day"),
                    DayRange::list(concerned)
                )
            }));
        }
        lines.join("\n")
    }
}

impl RunReport {
    /// The errors of days that were not fetched, with the hint for them: those with the same hint
    /// together, in order of their first days.
    fn errors_of_days(&self, fetch: &FetchReport) -> Vec<(Vec<String>, Option<String>)> {
        let failed: Vec<FailedDay> = fetch.failed.iter().map(FailedDay::from).collect();
        let mut by_hint: Vec<(Vec<String>, Option<String>)> = Vec::new();
        for (days, failed) in in_common(&failed) {
            let verb = if days.len() == 1 { "was" } else { "were" };
            let is_there = days.iter().all(|day| fetch.unchanged.contains(day));
            let again = if is_there { " again" } else { "" };
            let error = format!(
                "error: {}: {} {verb} not fetched{again}: {}",
                self.account,
                DayRange::list(&days),
                failed.reason
            );
            match by_hint.iter_mut().find(|(_, hint)| hint.is_some() && *hint == failed.hint) {
                Some((errors, _)) => errors.push(error),
                None => by_hint.push((vec![error], failed.hint.clone())),
            }
        }
        by_hint
    }
}
