//! What a run fetched, as text.

use crate::calendar::{Day, DayRange};
use crate::failure::ErrorKind;
use crate::pipeline::{FailedDay, FetchReport, FetchedDay, Refreshed};
use crate::printable::counted;

/// Groups equal failures of several days, in order of their first days. Each group has its days and
/// its first failure.
pub(super) fn in_common(failed: &[FailedDay]) -> Vec<(Vec<Day>, &FailedDay)> {
    let mut groups: Vec<(Vec<Day>, &FailedDay)> = Vec::new();
    for day in failed {
        let is_the_same = |other: &FailedDay| match (other.kind, day.kind) {
            // The reason contains the path of the day's file, so compare the hints.
            (ErrorKind::Lake, ErrorKind::Lake) => other.hint.is_some() && other.hint == day.hint,
            (others, kind) => {
                others == kind && without_call(&other.reason) == without_call(&day.reason)
            }
        };
        match groups.iter_mut().find(|(_, first)| is_the_same(first)) {
            Some((days, _)) => days.push(day.date),
            None => groups.push((vec![day.date], day)),
        }
    }
    groups
}

/// A reason without the ids that WeChat gives to each call, because these always differ.
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

impl FetchReport {
    pub(super) fn render(&self) -> Vec<String> {
        let dates: Vec<Day> = self.fetched.iter().map(|fetched| fetched.date).collect();
        let total = |count: fn(&FetchedDay) -> u64| self.fetched.iter().map(count).sum::<u64>();
        let mut lines = Vec::new();
        if !dates.is_empty() {
            lines.push(format!(
                "fetched   {}: {}",
                counted(dates.len(), "day"),
                DayRange::list(&dates)
            ));
            lines.push(format!(
                "messages  {} received, {} sent, {} with another opercode, in {} requests",
                total(|day| day.messages.received),
                total(|day| day.messages.sent),
                total(|day| day.messages.other),
                total(|day| day.calls.requests),
            ));
        }
        lines.extend(self.render_refreshed());
        lines.extend(self.render_left_out());
        lines.extend(self.shrunk.iter().map(|shrunk| {
            format!(
                "shrunk    {}: {} records, {} before; left as it is",
                shrunk.date, shrunk.records_after, shrunk.records_before
            )
        }));
        lines.extend(self.render_remarks());
        if !self.skipped.is_empty() {
            lines.push(format!(
                "skipped   {} already there: {}",
                counted(self.skipped.len(), "day"),
                DayRange::list(&self.skipped)
            ));
        }
        if !self.pruned.is_empty() {
            let pruned = &self.pruned;
            lines.push(format!(
                "pruned    {} not fetched: {} (to fetch a deleted day again, name it with --date, without --force)",
                counted(pruned.len(), "day"),
                DayRange::list(pruned)
            ));
        }
        if !self.failed.is_empty() {
            let failed =
                self.failed.iter().map(|failed| failed.day).chain(self.given_up.iter().copied());
            let missing: Vec<Day> = failed.filter(|day| !self.unchanged.contains(day)).collect();
            for (concerned, what) in [
                (&missing, "not fetched"),
                (&self.unchanged, "not re-fetched; the lake still has the earlier data"),
            ] {
                if !concerned.is_empty() {
                    let (days, listed) =
                        (counted(concerned.len(), "day"), DayRange::list(concerned));
                    lines.push(format!("FAILED    {days} {what}: {listed}"));
                }
            }
        }
        lines
    }

    /// Renders what was unusual about the records and the calls.
    fn render_remarks(&self) -> Vec<String> {
        let total = |count: fn(&FetchedDay) -> u64| self.fetched.iter().map(count).sum::<u64>();
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
            (
                "records that belong to another day's window and are not counted here",
                total(|day| day.outside_window),
                "",
            ),
            ("calls that were repeated", total(|day| day.calls.retries), ""),
            (
                "pages with fewer records than were asked for, although more followed",
                total(|day| day.calls.capped_pages),
                "; WeChat has lowered the size of a page, and all records were fetched",
            ),
        ];
        let remarks = remarks.into_iter().filter(|(_, count, _)| *count > 0);
        remarks.map(|(what, count, remark)| format!("          {what}: {count}{remark}")).collect()
    }
}

/// What may be wrong where an account has no record.
pub(super) const WHAT_TO_CHECK: &str = "check that customer service is enabled and that workers served customers on these days; that messages are handed over with \
     transfer_customer_service, where the account is in developer mode; and that the app id is this account's and not another one's";

/// What to do where WeChat gives records that it was not asked for.
pub(super) const WINDOWS_ADVICE: &str = "records inside the window may be missing in their place: `kefu doctor --probe --date` the day shows what WeChat does with windows";

/// What to do about records that cannot be read.
pub(super) const UNREADABLE_ADVICE: &str = "they are in the table `rejects`, with the reason, and in no metric; report the reason, because WeChat may have changed the form of its records";

impl FetchReport {
    /// Renders the days that have records that could not be read.
    pub(super) fn render_unreadable(&self) -> Option<String> {
        let (records, days) = self.days_with(|day| day.rejects - day.misplaced)?;
        Some(format!("{records} could not be read, of {days}"))
    }

    /// Renders the days that have records outside the window.
    pub(super) fn render_misplaced(&self) -> Option<String> {
        let (records, days) = self.days_with(|day| day.misplaced)?;
        let verb = if records.starts_with("1 ") { "was" } else { "were" };
        Some(format!("{records} {verb} outside the window that was asked for, on {days}"))
    }

    /// The number of records of this kind, in words, and their days. None where there are none.
    fn days_with(&self, count: fn(&FetchedDay) -> u64) -> Option<(String, String)> {
        let with_some = self.fetched.iter().filter(|day| count(day) > 0);
        let days: Vec<Day> = with_some.map(|day| day.date).collect();
        let records: u64 = self.fetched.iter().map(count).sum();
        (records > 0).then(|| (counted(records as usize, "record"), DayRange::list(&days)))
    }

    /// Whether WeChat has no records, and the lake has no day of the account.
    pub(super) fn found_nothing(&self) -> bool {
        !self.left_out.is_empty() && self.first_day.is_none() && self.failed.is_empty()
    }

    /// Renders the empty days that were not committed.
    fn render_left_out(&self) -> Option<String> {
        let days = counted(self.left_out.len(), "day");
        let before = self.first_day.map(|first| format!(" before {first}")).unwrap_or_default();
        let listed = DayRange::list(&self.left_out);
        (!self.left_out.is_empty())
            .then(|| format!("no records{before}: {days} left out ({listed})"))
    }

    /// Renders the outcome of days that were fetched again.
    fn render_refreshed(&self) -> Vec<String> {
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
                "unchanged {}: {}",
                counted(same.len(), "day"),
                DayRange::list(&same)
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_days_met_is_one_failure_whatever_wechat_calls_their_calls() {
        let failed = |day: &str, kind: ErrorKind, reason: &str| FailedDay {
            date: day.parse().unwrap(),
            kind,
            reason: reason.to_owned(),
            hint: None,
        };
        let failures = [
            failed(
                "2024-05-13",
                ErrorKind::Refused,
                "WeChat answered 40125: invalid appsecret rid: 66433a5f-1",
            ),
            failed("2024-05-14", ErrorKind::Contract, "a page says 3"),
            failed(
                "2024-05-15",
                ErrorKind::Refused,
                "WeChat answered 40125: invalid appsecret rid: 66433a5f-2",
            ),
            failed("2024-05-16", ErrorKind::Contract, "a page says 4"),
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
