//! What a run did, for people and for machines.

use std::collections::BTreeSet;

use serde::Serialize;

use super::each_account::Report;
use crate::calendar::{Day, DayRange, Zone};
use crate::failure::Class;
use crate::lake::{Account, Lake};
use crate::pipeline::{
    DayFailure, FetchReport, FetchedDay, MetricsReport, Refreshed, ShrunkDay, reasons,
};
use crate::telemetry;

/// What a run did. As JSON, its fields are part of kefu's contract.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    command: &'static str,
    account: String,
    timezone: String,
    lake: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fetch: Option<FetchSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<MetricsReport>,
    /// Whether metrics were to be computed, and were not begun because the lake cannot be written.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    metrics_put_off: bool,
}

#[derive(Debug, Serialize)]
struct FetchSummary {
    fetched: Vec<FetchedDay>,
    skipped: Vec<Day>,
    pruned: Vec<Day>,
    failed: Vec<FailedDay>,
    given_up: Vec<Day>,
    /// Of those that failed or were not tried: the days that are in the lake, as they were before.
    unchanged: Vec<Day>,
    /// Days that came back with fewer records than the lake has, and were left as they are.
    shrunk: Vec<ShrunkDay>,
    /// Empty days before the account's first record, which were not committed.
    left_out: Vec<Day>,
    /// With those: the account's first day in the lake, if it has any.
    #[serde(skip)]
    first_day: Option<Day>,
    /// Seconds that this machine's clock is ahead of WeChat's (behind, when negative); null while
    /// no answer had a date.
    clock_skew_seconds: Option<i64>,
    /// The class of the worst failure; null when nothing failed.
    worst: Option<Class>,
}

#[derive(Debug, Serialize)]
struct FailedDay {
    date: Day,
    class: Class,
    reason: String,
    hint: Option<String>,
}

impl From<&DayFailure> for FailedDay {
    fn from(failed: &DayFailure) -> Self {
        let failure = &failed.failure;
        Self {
            date: failed.day,
            class: failure.class,
            reason: failure.to_string(),
            hint: failure.hint.clone(),
        }
    }
}

impl Summary {
    pub(super) fn new(command: &'static str, account: &Account, zone: &Zone, lake: &Lake) -> Self {
        Self {
            command,
            account: account.to_string(),
            timezone: zone.name().to_owned(),
            lake: lake.root().display().to_string(),
            fetch: None,
            metrics: None,
            metrics_put_off: false,
        }
    }

    #[must_use]
    pub(super) fn with_fetch(self, report: &FetchReport, is_there: impl Fn(&Day) -> bool) -> Self {
        let failed =
            report.failed.iter().map(|failed| failed.day).chain(report.given_up.iter().copied());
        let fetch = FetchSummary {
            fetched: report.fetched.clone(),
            skipped: report.skipped.clone(),
            pruned: report.pruned.clone(),
            failed: report.failed.iter().map(FailedDay::from).collect(),
            given_up: report.given_up.clone(),
            unchanged: failed.filter(is_there).collect(),
            shrunk: report.shrunk.clone(),
            left_out: report.left_out.clone(),
            first_day: report.first_day,
            clock_skew_seconds: report.clock_skew_seconds,
            worst: report.worst(),
        };
        Self { fetch: Some(fetch), ..self }
    }

    #[must_use]
    pub(super) fn with_metrics(self, report: MetricsReport) -> Self {
        Self { metrics: Some(report), ..self }
    }

    #[must_use]
    pub(super) fn without_metrics(self) -> Self {
        Self { metrics_put_off: true, ..self }
    }
}

/// The failures that differ, in order of their first days, each with all of its days and as the first of them met it.
fn in_common(failed: &[FailedDay]) -> Vec<(Vec<Day>, &FailedDay)> {
    let mut groups: Vec<(Vec<Day>, &FailedDay)> = Vec::new();
    for day in failed {
        let is_the_same = |other: &FailedDay| match (other.class, day.class) {
            // Each day's files have names of their own; what the disk has against them is what there is to do about it.
            (Class::Lake, Class::Lake) => other.hint.is_some() && other.hint == day.hint,
            (others, class) => {
                others == class && without_call(&other.reason) == without_call(&day.reason)
            }
        };
        match groups.iter_mut().find(|(_, first)| is_the_same(first)) {
            Some((days, _)) => days.push(day.date),
            None => groups.push((vec![day.date], day)),
        }
    }
    groups
}

/// A reason without what WeChat names a single call by: each day has one of its own.
fn without_call(reason: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut is_name = false;
    for word in reason.split_whitespace() {
        let begins = matches!(word, "rid:" | "hint:" | "reqid:");
        if !begins && !is_name {
            words.push(word);
        }
        is_name = begins;
    }
    words
}

impl Report for Summary {
    fn show_failures(&self) {
        let left_over = self.metrics.as_ref().map(|metrics| metrics.left_over.as_slice());
        if let Some(days) = left_over.filter(|days| !days.is_empty()) {
            let text = format!(
                "{}: the messages of {} are gone, and their metrics cannot be computed again",
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
        if let Some(text) = fetch.misplaced_rendered() {
            let text = format!("{}: {text}", self.account);
            telemetry::print_plain_warning(&text, Some(WINDOWS_ADVICE));
        }
        // They were told as it happened.
        if telemetry::is_for_machines() {
            return;
        }
        for shrunk in &fetch.shrunk {
            telemetry::print_note(&format!(
                "warning: {}: {} was left as it is: WeChat gives {} records of it, and the lake has {}",
                self.account, shrunk.date, shrunk.records_after, shrunk.records_before
            ));
        }
        for (days, failed) in in_common(&fetch.failed) {
            let verb = if days.len() == 1 { "was" } else { "were" };
            let again =
                if days.iter().all(|day| fetch.unchanged.contains(day)) { " again" } else { "" };
            let days = DayRange::list(&days);
            telemetry::print_note(&format!(
                "error: {}: {days} {verb} not fetched{again}: {}",
                self.account, failed.reason
            ));
        }
        if !fetch.given_up.is_empty() {
            telemetry::print_note(&format!(
                "  not tried, because the same would happen: {}",
                DayRange::list(&fetch.given_up)
            ));
        }
        let hints: BTreeSet<&String> =
            fetch.failed.iter().filter_map(|failed| failed.hint.as_ref()).collect();
        for hint in hints {
            telemetry::print_note(&format!("\nhint: {hint}"));
        }
    }

    fn rendered(&self) -> String {
        let mut lines = vec![format!("{} · {} · {}", self.account, self.timezone, self.lake)];
        if let Some(fetch) = &self.fetch {
            lines.extend(fetch.rendered());
        }
        if self.metrics_put_off {
            lines.push("metrics   not computed, because the lake cannot be written; the same run again does that".to_owned());
        }
        if let Some(metrics) = &self.metrics {
            let left_out = metrics.waiting.len() + metrics.mixed.len() + metrics.damaged.len();
            lines.push(match metrics.computed.as_slice() {
                [] if metrics.fresh + metrics.kept.len() + left_out == 0 => {
                    "metrics   nothing to compute: no day of these was fetched".to_owned()
                }
                [] if left_out > 0 => {
                    format!("metrics   computed none; {} up to date", metrics.fresh)
                }
                [] => format!("metrics   up to date ({} {})", metrics.fresh, days(metrics.fresh)),
                computed => format!(
                    "metrics   computed {} {}: {}; {} up to date",
                    computed.len(),
                    days(computed.len()),
                    DayRange::list(computed),
                    metrics.fresh
                ),
            });
            if let Some(changed) = &metrics.changed_rules {
                lines.push(format!(
                    "          because rules have changed ({}): {} {}",
                    reasons(&changed.rules),
                    changed.days.len(),
                    days(changed.days.len())
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
                (
                    "metrics without messages, which are gone: `kefu run --from … --to …` fetches them again while WeChat has them",
                    &metrics.left_over,
                ),
                (
                    "left as they are, because messages that they were made of are gone",
                    &metrics.kept,
                ),
                (
                    "kept, although messages that they were made of have been replaced since",
                    &metrics.superseded,
                ),
                ("computed without the pruned days beside them", &metrics.beside_pruned),
                (
                    "not computed, because openids around them were not all treated alike",
                    &metrics.mixed,
                ),
                ("not computed, because messages around them cannot be read", &metrics.damaged),
            ];
            let remarks = remarks.iter().filter(|(_, concerned)| !concerned.is_empty());
            lines.extend(remarks.map(|(remark, concerned)| {
                format!(
                    "          {remark}: {} {}: {}",
                    concerned.len(),
                    days(concerned.len()),
                    DayRange::list(concerned)
                )
            }));
        }
        lines.join("\n")
    }
}

impl FetchSummary {
    fn rendered(&self) -> Vec<String> {
        let dates: Vec<Day> = self.fetched.iter().map(|fetched| fetched.date).collect();
        let total = |count: fn(&FetchedDay) -> u64| self.fetched.iter().map(count).sum::<u64>();
        let mut lines = Vec::new();
        if !dates.is_empty() {
            lines.push(format!(
                "fetched   {} {}: {}",
                dates.len(),
                days(dates.len()),
                DayRange::list(&dates)
            ));
            lines.push(format!(
                "messages  {} received, {} sent, {} with other codes, in {} requests",
                total(|day| day.messages.received),
                total(|day| day.messages.sent),
                total(|day| day.messages.other),
                total(|day| day.calls.requests),
            ));
        }
        lines.extend(self.refreshed_rendered());
        lines.extend(self.left_out_rendered());
        lines.extend(self.shrunk.iter().map(|shrunk| {
            format!(
                "shrunk    {}: {} records, {} before; left as it is",
                shrunk.date, shrunk.records_after, shrunk.records_before
            )
        }));
        let remarks: [(&str, u64, &str); 7] = [
            (
                "records that could not be read",
                total(|day| day.rejects - day.misplaced),
                ", now in the table `rejects`",
            ),
            (
                "records outside the window that was asked for",
                total(|day| day.misplaced),
                ", now in the table `rejects`",
            ),
            (
                "pages that were not JSON and have been repaired",
                total(|day| day.repaired_pages),
                "",
            ),
            ("records that were read after a repair", total(|day| day.repaired_records), ""),
            ("records left to the day that they belong to", total(|day| day.outside_window), ""),
            ("calls that were repeated", total(|day| day.calls.retries), ""),
            (
                "pages with fewer records than were asked for, although more followed",
                total(|day| day.calls.capped_pages),
                "; WeChat has lowered the size of a page, and all records were fetched",
            ),
        ];
        lines.extend(
            remarks
                .iter()
                .filter(|(_, count, _)| *count > 0)
                .map(|(what, count, remark)| format!("          {what}: {count}{remark}")),
        );
        if !self.skipped.is_empty() {
            lines.push(format!(
                "skipped   {} {} already there: {}",
                self.skipped.len(),
                days(self.skipped.len()),
                DayRange::list(&self.skipped)
            ));
        }
        if !self.pruned.is_empty() {
            let pruned = &self.pruned;
            lines.push(format!(
                "pruned    {} {} not fetched: {} (days that are named without --force come back)",
                pruned.len(),
                days(pruned.len()),
                DayRange::list(pruned)
            ));
        }
        if !self.failed.is_empty() {
            let failed =
                self.failed.iter().map(|failed| failed.date).chain(self.given_up.iter().copied());
            let missing: Vec<Day> = failed.filter(|day| !self.unchanged.contains(day)).collect();
            for (concerned, what) in
                [(&missing, "not fetched"), (&self.unchanged, "not fetched again, and as before")]
            {
                if !concerned.is_empty() {
                    let (count, listed) = (concerned.len(), DayRange::list(concerned));
                    lines.push(format!("FAILED    {count} {} {what}: {listed}", days(count)));
                }
            }
        }
        lines
    }
}

/// What may be wrong where an account has no record.
const WHAT_TO_CHECK: &str = "check that customer service is enabled and that workers served customers on these days; that messages are handed over with \
     transfer_customer_service, where the account is in developer mode; and that the app id is this account's and not another one's";

/// What to do where WeChat gives records that it was not asked for.
const WINDOWS_ADVICE: &str = "records inside the window may be missing in their place: `kefu doctor --probe --date` the day shows what WeChat does with windows";

impl FetchSummary {
    /// The days that came with records outside the window.
    fn misplaced_rendered(&self) -> Option<String> {
        let with_some = self.fetched.iter().filter(|day| day.misplaced > 0);
        let days: Vec<Day> = with_some.map(|day| day.date).collect();
        let count: u64 = self.fetched.iter().map(|day| day.misplaced).sum();
        let verb = if count == 1 { "record was" } else { "records were" };
        (count > 0).then(|| {
            format!(
                "{count} {verb} outside the window that was asked for, on {}",
                DayRange::list(&days)
            )
        })
    }

    /// Whether WeChat has no record of any day, and never had.
    fn found_nothing(&self) -> bool {
        !self.left_out.is_empty() && self.first_day.is_none() && self.failed.is_empty()
    }

    /// The empty days that were not committed.
    fn left_out_rendered(&self) -> Option<String> {
        let count = self.left_out.len();
        let before = self.first_day.map(|first| format!(" before {first}")).unwrap_or_default();
        let listed = DayRange::list(&self.left_out);
        (count > 0)
            .then(|| format!("no records{before}: {count} {} left out ({listed})", days(count)))
    }

    /// What a second look at days that were there has found.
    fn refreshed_rendered(&self) -> Vec<String> {
        let refreshed: Vec<(&FetchedDay, Refreshed)> =
            self.fetched.iter().filter_map(|day| Some((day, day.refreshed?))).collect();
        let same: Vec<Day> = refreshed
            .iter()
            .filter(|(_, found)| !found.is_changed)
            .map(|(day, _)| day.date)
            .collect();
        let changed = refreshed.iter().filter(|(_, found)| found.is_changed).map(|(day, found)| {
            let now = day.messages.received + day.messages.sent + day.messages.other;
            format!("changed   {}: {} messages, {} before", day.date, now, found.messages_before)
        });
        let mut lines: Vec<String> = changed.collect();
        if !same.is_empty() {
            lines.push(format!(
                "the same  {} {}: {}",
                same.len(),
                days(same.len()),
                DayRange::list(&same)
            ));
        }
        lines
    }
}

fn days(count: usize) -> &'static str {
    if count == 1 { "day" } else { "days" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_days_met_is_one_failure_whatever_wechat_calls_their_calls() {
        let failed = |day: &str, class: Class, reason: &str| FailedDay {
            date: day.parse().unwrap(),
            class,
            reason: reason.to_owned(),
            hint: None,
        };
        let failures = [
            failed(
                "2024-05-13",
                Class::Refused,
                "WeChat answered 40125: invalid appsecret rid: 66433a5f-1",
            ),
            failed("2024-05-14", Class::Contract, "a page says 3"),
            failed(
                "2024-05-15",
                Class::Refused,
                "WeChat answered 40125: invalid appsecret rid: 66433a5f-2",
            ),
            failed("2024-05-16", Class::Contract, "a page says 4"),
        ];
        let shown: Vec<String> = in_common(&failures)
            .iter()
            .map(|(days, failed)| format!("{}: {}", DayRange::list(days), failed.reason))
            .collect();
        assert_eq!(
            shown,
            [
                "2024-05-13, 2024-05-15: WeChat answered 40125: invalid appsecret rid: 66433a5f-1",
                "2024-05-14: a page says 3",
                "2024-05-16: a page says 4"
            ]
        );
    }
}
