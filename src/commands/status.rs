//! `kefu status`

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::each_account::{Report, for_each_account};
use super::redact::pending_redaction;
use super::{account_job, days, settings_for_lake};
use crate::calendar::{Clock, Day, DayRange};
use crate::cli::{GlobalArgs, StatusArgs};
use crate::failure::{ErrorKind, Failure};
use crate::model::cancel::Cancel;
use crate::pipeline::{DayStatus, Freshness, OutOfDate, reasons, status};
use crate::printable::counted;
use crate::settings::Settings;
use crate::telemetry::Progress;

/// JSON output, part of kefu's contract.
#[derive(Debug, Serialize)]
struct Status {
    command: &'static str,
    account: String,
    timezone: String,
    lake: String,
    /// All accounts of the lake.
    accounts: Vec<String>,
    /// Whether `redact` or `forget` was interrupted.
    redaction_pending: bool,
    days: Vec<DayStatus>,
}

pub(super) fn execute(
    global: &GlobalArgs,
    args: &StatusArgs,
    cancel: &Cancel,
) -> Result<Option<ErrorKind>, Failure> {
    let settings = settings_for_lake(global, "status")?;
    let lake = settings.open_lake()?;
    let settings = settings.in_zone_of(&lake)?;
    let among = days::asked(&args.days, &settings.zone.value, &Clock::System)?;
    let accounts: Vec<String> = lake.accounts()?.into_iter().collect();
    for_each_account("status", &settings, global.output, cancel, |settings| {
        look(settings, accounts.clone(), among, cancel)
    })
}

/// Reads the status of one account. `accounts` are all accounts of the lake.
fn look(
    settings: &Settings,
    accounts: Vec<String>,
    among: Option<DayRange>,
    cancel: &Cancel,
) -> Result<Status, Failure> {
    let mut job = account_job(settings)?.metrics();
    job.lake = job.lake.remembering();
    job.lake.require_folder()?;
    job.lake.require_zone(job.zone.name())?;
    let status = Status {
        command: "status",
        account: job.account.to_string(),
        timezone: job.zone.name().to_owned(),
        lake: job.lake.root().display().to_string(),
        accounts,
        redaction_pending: job.lake.has_pending_redaction(&job.account)?,
        days: status(&job, among, &Progress::begin("status", 0), cancel)?,
    };
    Ok(status)
}

impl Report for Status {
    fn render(&self) -> String {
        let mut lines = vec![format!("{} · {} · {}", self.account, self.timezone, self.lake)];
        if self.redaction_pending {
            lines.push(format!("warning: {}", pending_redaction(&self.account)));
        }
        let (Some(first), Some(last)) = (self.days.first(), self.days.last()) else {
            lines.push("nothing was fetched yet: run `kefu run` to fetch the last days".to_owned());
            if !self.accounts.is_empty() {
                lines.push(format!("the lake has the accounts {}", self.accounts.join(", ")));
            }
            return lines.join("\n");
        };
        lines.extend(calendar(&self.days, DayRange { first: first.date, last: last.date }));
        let named = |wanted: &dyn Fn(&DayStatus) -> bool| -> Vec<Day> {
            self.days.iter().filter(|day| wanted(day)).map(|day| day.date).collect()
        };
        let fetched = named(&|day| day.fetched);
        let total = |count: fn(&DayStatus) -> u64| self.days.iter().map(count).sum::<u64>();
        lines.push(format!(
            "\nfetched     {} of {}, {}, {}, {:.1} MiB",
            fetched.len(),
            counted(self.days.len(), "day"),
            counted(total(|day| day.messages), "message"),
            counted(total(|day| day.rejects), "reject"),
            total(|day| day.bytes) as f64 / 1_048_576.0
        ));
        let in_state = |state: Freshness| named(&|day| day.metrics == Some(state));
        let remark = |(what, days, advice): (&str, Vec<Day>, &str)| {
            let is_any = !days.is_empty();
            is_any.then(|| format!("{what:<11} {} ({advice})", DayRange::list(&days)))
        };
        let to_fetch = [
            (
                "missing",
                named(&|day| {
                    !day.fetched && !day.pruned && day.metrics != Some(Freshness::Damaged)
                }),
                "`kefu run --from … --to …` fetches them",
            ),
            (
                "damaged",
                in_state(Freshness::Damaged),
                "messages that are damaged or missing: `kefu verify` shows what to do",
            ),
        ];
        lines.extend(to_fetch.into_iter().filter_map(remark));
        lines.extend(self.out_of_date());
        let others = [
            (
                "lacking",
                in_state(Freshness::Missing),
                "metrics that were never computed: `kefu metrics` computes them",
            ),
            ("rejects", named(&|day| day.rejects > 0), "the table `rejects` has the reasons"),
            ("pruned", named(&|day| day.pruned), "their messages were deleted by `kefu prune`"),
            (
                "frozen",
                in_state(Freshness::Frozen),
                "the messages were deleted, and the metrics stay as they are",
            ),
            (
                "not final",
                named(&|day| {
                    day.fetched && !day.is_final && day.metrics != Some(Freshness::Frozen)
                }),
                "three later days are needed",
            ),
        ];
        lines.extend(others.into_iter().filter_map(remark));
        lines.join("\n")
    }
}

impl Status {
    /// Renders the days whose metrics are out of date, grouped by their reasons.
    fn out_of_date(&self) -> Vec<String> {
        let mut days: BTreeMap<&BTreeSet<OutOfDate>, Vec<Day>> = BTreeMap::new();
        for day in self.days.iter().filter(|day| day.metrics == Some(Freshness::Stale)) {
            days.entry(&day.stale_because).or_default().push(day.date);
        }
        let line = |(because, days): (&BTreeSet<OutOfDate>, Vec<Day>)| {
            format!(
                "out of date {} ({}: `kefu metrics` computes them again)",
                DayRange::list(&days),
                reasons(because)
            )
        };
        days.into_iter().map(line).collect()
    }
}

/// Renders a calendar with one line per week and one mark per day.
fn calendar(days: &[DayStatus], range: DayRange) -> Vec<String> {
    let monday = range.first.plus(-i64::from(range.first.weekday().number_days_from_monday()));
    let mut lines = vec!["\n           Mo Tu We Th Fr Sa Su".to_owned()];
    let mut days = days.iter().peekable();
    let weeks = (range.last.number() - monday.number()) / 7;
    for week in 0..=weeks {
        let start = monday.plus(i64::from(week) * 7);
        let mut line = format!("{start}");
        for weekday in 0..7 {
            let mark = days
                .next_if(|day| day.date == start.plus(weekday))
                .map_or(' ', |day| day.mark().symbol());
            line.push_str(&format!(" {mark} "));
        }
        lines.push(line.trim_end().to_owned());
    }
    lines.push(
        "\n■ final  ~ not final  0 no messages  r with rejects  ! out of date  ? without metrics  x damaged  · missing  - pruned"
            .to_owned(),
    );
    lines
}
