//! `kefu prune`

use std::collections::BTreeSet;

use rayon::prelude::*;
use serde::Serialize;

use super::days::last_over;
use crate::calendar::{Clock, Day, DayRange};
use crate::cli::{GlobalArgs, OutputFormat, PruneArgs};
use crate::failure::{ErrorKind, Failure, UsageError};
use crate::lake::{Account, Lake, LakeError, PartitionFile, Table};
use crate::metrics::{DAYS_AFTER, DAYS_BEFORE};
use crate::model::cancel::Cancel;
use crate::printable::counted;
use crate::settings::{self, Settings};
use crate::telemetry::{self, Progress};

/// JSON output, part of kefu's contract.
#[derive(Debug, Serialize)]
struct Pruning {
    command: &'static str,
    lake: String,
    /// The first day to keep.
    before: Day,
    /// Whether the listed files were deleted.
    deleted: bool,
    tables: Vec<PrunedTable>,
    /// Days whose messages are deleted before metrics were computed from them.
    without_metrics: BTreeSet<Day>,
    /// Recent days whose metrics are not final and never will be, because messages that they depend
    /// on are deleted.
    never_final: Vec<Day>,
}

#[derive(Debug, Serialize)]
struct PrunedTable {
    table: &'static str,
    days: BTreeSet<Day>,
    files: usize,
    bytes: u64,
}

pub(super) fn execute(
    global: &GlobalArgs,
    args: &PruneArgs,
    cancel: &Cancel,
) -> Result<Option<ErrorKind>, Failure> {
    let settings = Settings::resolve(&global.flags(), &settings::environment)?;
    if !global.account.is_empty() {
        let message =
            "prune cannot be limited to one account: it deletes the days of every account"
                .to_owned();
        return Err(UsageError {
            message,
            advice: Some("omit --account to list the days of every account; nothing is deleted without --yes".into()),
        }
        .into());
    }
    let zone = &settings.zone.value;
    let lake = settings.open_lake()?;
    lake.require_folder()?;
    let yesterday = last_over(zone, &Clock::System);
    let newest = lake.newest_day(yesterday)?;
    let before = first_kept(args, newest, yesterday)?;
    // Without `--yes` nothing is deleted, so nothing is created or locked.
    let _lock = args.yes.then(|| lake.lock_all()).transpose()?;
    lake.require_zone(zone.name())?;
    let tables: BTreeSet<Table> = args.tables.iter().copied().collect();
    let takes_messages = tables.contains(&Table::Messages);
    let pruning = Pruning {
        command: "prune",
        lake: lake.root().display().to_string(),
        before,
        deleted: args.yes,
        tables: tables
            .iter()
            .map(|table| PrunedTable::of(&lake, *table, before))
            .collect::<Result<_, _>>()?,
        without_metrics: if takes_messages {
            without_metrics(&lake, before)?
        } else {
            BTreeSet::new()
        },
        never_final: if takes_messages {
            never_final(before, newest.unwrap_or(yesterday))
        } else {
            Vec::new()
        },
    };
    if args.yes {
        let days = pruning.tables.iter().map(|table| table.days.len()).sum();
        let progress = Progress::begin("prune", days);
        cancel.check()?;
        // A signal stops it between two days.
        let tables: Vec<Table> = tables.into_iter().collect();
        lake.prune(&tables, before, |table, day| {
            cancel.check()?;
            progress.advance(&format!("{} {day}", table.name()));
            Ok::<_, Failure>(())
        })?;
    }
    match global.output {
        OutputFormat::Json => telemetry::print_result(&serde_json::json!(pruning).to_string())?,
        OutputFormat::Table => telemetry::print_result(&pruning.render())?,
    }
    Ok(None)
}

/// Returns the first day to keep, at most the day after the newest day in the lake. Later days must
/// not be marked as deleted, because such days are never fetched. `--keep-days` counts back from
/// the newest day, so that a wrong clock does not delete more days. `newest` is the newest day in
/// the lake that is over.
fn first_kept(args: &PruneArgs, newest: Option<Day>, yesterday: Day) -> Result<Day, UsageError> {
    let newest = newest.unwrap_or(yesterday);
    let everything = newest.plus(1);
    // Messages cannot be computed again, so deleting all of them requires `--all`.
    let takes_messages = args.tables.contains(&Table::Messages);
    let last_before = if takes_messages { newest } else { everything };
    // The command line has exactly one of `--before`, `--keep-days` and `--all`.
    let by_count = args.keep_days.map(|days| everything.plus(-i64::from(days)));
    match args.before.or(by_count).unwrap_or(everything) {
        before if before > yesterday.plus(1) => Err(UsageError {
            message: format!(
                "--before {before} is in the future, so days before it would never be fetched"
            ),
            advice: Some("name an earlier day; --all deletes every day".to_owned()),
        }),
        before if before > last_before && !args.all => Err(UsageError {
            message: format!("--before {before} would keep no day"),
            advice: Some(format!(
                "name a day up to {newest}, the newest one; --all deletes every day"
            )),
        }),
        before => Ok(before.min(everything)),
    }
}

/// Returns the last days up to the newest one whose metrics depend on deleted days. These metrics
/// wait for later days to become final, but will be frozen before that.
fn never_final(before: Day, newest: Day) -> Vec<Day> {
    let waiting = DayRange { first: newest.plus(1 - DAYS_AFTER), last: newest };
    waiting.days().filter(|day| day.plus(-DAYS_BEFORE) < before).collect()
}

/// Returns the days of messages without metrics, or with metrics of other messages.
fn without_metrics(lake: &Lake, before: Day) -> Result<BTreeSet<Day>, LakeError> {
    let lacks_metrics = |messages: &PartitionFile| -> Result<bool, LakeError> {
        let Ok(account) = Account::existing(messages.account.clone()) else { return Ok(false) };
        let made_of = lake
            .footer(&account.partition(Table::AccountDaily, messages.day))
            .ok()
            .and_then(|footer| footer.inputs().remove(&messages.day));
        // Damaged messages do not show whether metrics were computed from them.
        let Ok(there) = lake.footer(&account.partition(Table::Messages, messages.day)) else {
            return Ok(false);
        };
        Ok(match made_of {
            Some(made_of) => !there.is_known_as(&made_of),
            None => !lake.pruned(&account)?.includes(Table::AccountDaily, messages.day),
        })
    };
    let messages = lake.partitions_before(Table::Messages, before)?.into_par_iter();
    let days = messages.map(|messages| Ok(lacks_metrics(&messages)?.then_some(messages.day)));
    let days: Vec<Option<Day>> = days.collect::<Result<_, LakeError>>()?;
    Ok(days.into_iter().flatten().collect())
}

impl PrunedTable {
    fn of(lake: &Lake, table: Table, before: Day) -> Result<Self, LakeError> {
        let partitions = lake.partitions_before(table, before)?;
        Ok(Self {
            table: table.name(),
            days: partitions.iter().map(|partition| partition.day).collect(),
            files: partitions.len(),
            bytes: partitions.iter().map(|partition| partition.bytes).sum(),
        })
    }
}

impl Pruning {
    fn render(&self) -> String {
        let mut lines = vec![format!("before {} · {}", self.before, self.lake)];
        lines.extend(self.tables.iter().map(PrunedTable::render));
        if !self.without_metrics.is_empty() {
            let days = DayRange::list(&self.without_metrics.iter().copied().collect::<Vec<_>>());
            lines.push(match self.deleted {
                true => format!("metrics that were never computed from the deleted messages: {days}"),
                false => {
                    format!("metrics that are not computed from these messages yet: {days}; run `kefu metrics` before the messages are deleted")
                }
            });
        }
        if !self.never_final.is_empty() {
            lines.push(format!(
                "metrics that will never be final: {}; they need later days as well as days that are deleted; keep at least {} days",
                DayRange::list(&self.never_final),
                DAYS_BEFORE + DAYS_AFTER
            ));
        }
        lines.push(match (self.deleted, self.tables.iter().all(|table| table.files == 0)) {
            (_, true) => "there is nothing to delete".to_owned(),
            (true, false) => "deleted".to_owned(),
            (false, false) => {
                "nothing was deleted; repeat the command with --yes to delete this".to_owned()
            }
        });
        lines.join("\n")
    }
}

impl PrunedTable {
    fn render(&self) -> String {
        if self.files == 0 {
            return format!("{:<14} nothing", self.table);
        }
        let days = DayRange::list(&self.days.iter().copied().collect::<Vec<_>>());
        format!(
            "{:<14} {}, {:.1} MiB: {days}",
            self.table,
            counted(self.files, "file"),
            self.bytes as f64 / 1_048_576.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    const NOTHING: PruneArgs =
        PruneArgs { before: None, keep_days: None, all: false, tables: Vec::new(), yes: false };

    #[test]
    fn days_to_keep_are_counted_from_the_newest_one_whatever_the_clock_says() {
        let kept = |yesterday: &str, days: u16| {
            let args = PruneArgs { keep_days: Some(days), ..NOTHING };
            let newest = day("2024-05-12").min(day(yesterday));
            first_kept(&args, Some(newest), day(yesterday)).unwrap().to_string()
        };
        assert_eq!(kept("2024-05-12", 3), "2024-05-10");
        // Cases: some days without a run, a clock that is decades ahead, and a clock that is
        // behind. With the last one, a day of the lake is still in the future.
        assert_eq!(kept("2024-06-20", 3), "2024-05-10");
        assert_eq!(kept("2099-01-01", 3), "2024-05-10");
        assert_eq!(kept("2024-05-11", 3), "2024-05-09");
    }

    #[test]
    fn everything_goes_only_where_that_is_said() {
        let (newest, yesterday) = (Some(day("2024-05-12")), day("2099-01-01"));
        let first_kept = |args: &PruneArgs| first_kept(args, newest, yesterday);
        let tables = || vec![Table::Messages, Table::Rejects];
        let before =
            |text: &str| PruneArgs { before: Some(day(text)), tables: tables(), ..NOTHING };
        assert_eq!(first_kept(&before("2024-05-12")).unwrap(), day("2024-05-12"));
        for text in ["2024-05-13", "2098-12-31"] {
            let error = first_kept(&before(text)).unwrap_err();
            assert!(error.message.contains("would keep no day"), "{}", error.message);
            assert!(error.advice.unwrap().contains("--all"));
        }
        // Metrics can be computed again, so all may be deleted. Days in the future are not marked.
        let metrics = |text| PruneArgs { tables: vec![Table::Sessions], ..before(text) };
        assert_eq!(first_kept(&metrics("2024-05-13")).unwrap(), day("2024-05-13"));
        assert!(first_kept(&metrics("2024-05-14")).is_err());
        // Days that were never fetched are not marked as deleted.
        let all = PruneArgs { all: true, ..before("2024-06-20") };
        assert_eq!(first_kept(&all).unwrap(), day("2024-05-13"));
        let all = PruneArgs { all: true, tables: tables(), ..NOTHING };
        assert_eq!(first_kept(&all).unwrap(), day("2024-05-13"));
    }

    #[test]
    fn with_fewer_than_five_days_some_metrics_never_become_final() {
        let yesterday: Day = "2024-05-12".parse().unwrap();
        let kept = |days: i64| DayRange::list(&never_final(yesterday.plus(1 - days), yesterday));
        assert_eq!(
            [5, 4, 3, 2, 1].map(kept),
            [
                "",
                "2024-05-10",
                "2024-05-10 to 2024-05-11",
                "2024-05-10 to 2024-05-12",
                "2024-05-10 to 2024-05-12"
            ]
        );
    }
}
