//! `kefu verify`

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use comfy_table::{CellAlignment, Table as TextTable, presets};
use serde::Serialize;

use super::{days, require_lake, wait_for};
use crate::calendar::{Clock, Day, DayRange, Zone};
use crate::cli::{GlobalArgs, OutputFormat, VerifyArgs};
use crate::failure::{ErrorKind, Failure};
use crate::fetch::Source;
use crate::hint;
use crate::lake::{Account, LocksOf, PartitionKey, Table};
use crate::model::cancel::Cancel;
use crate::pipeline::{
    ComparedDay, FetchJob, Finding, Kind, Record, Severity, Verification, VerifyJob, compare_days,
    redaction, require_app, verify,
};
use crate::printable::counted;
use crate::settings::{self, Settings};
use crate::telemetry::{self, Progress};

/// Maximum number of findings of each kind in text output. JSON output has all findings.
const SHOWN_MAX: usize = 10;

pub(super) fn execute(
    global: &GlobalArgs,
    args: &VerifyArgs,
    cancel: &Cancel,
) -> Result<Option<ErrorKind>, Failure> {
    let mut flags = global.flags();
    if !args.against_api {
        // The lake may have accounts that the settings do not have.
        flags.accounts.clear();
    }
    let settings = Settings::resolve(&flags, &settings::environment)?;
    let lake = settings.open_lake()?;
    let settings = settings.in_zone_of(&lake)?;
    if args.against_api {
        against_api(global, args, settings, cancel)
    } else {
        against_itself(global, args, settings, cancel)
    }
}

/// JSON output, part of kefu's contract.
#[derive(Debug, Serialize)]
struct Verified {
    command: &'static str,
    timezone: String,
    lake: String,
    broken: usize,
    notes: usize,
    #[serde(flatten)]
    verification: Verification,
}

fn against_itself(
    global: &GlobalArgs,
    args: &VerifyArgs,
    settings: Settings,
    cancel: &Cancel,
) -> Result<Option<ErrorKind>, Failure> {
    let among = days::asked(&args.days, &settings.zone.value, &Clock::System)?;
    let lake = settings.open_lake()?;
    require_lake(&lake, "verify")?;
    let accounts = match global.account.as_slice() {
        [] => None,
        named => Some(lake.accounts_named(named)?),
    };
    // Without these locks, a run that replaces files could make a good lake look broken.
    let reading = lake.lock_shared(match (&accounts, args.shard) {
        (Some(accounts), _) => LocksOf::Accounts(accounts.clone()),
        (None, Some(shard)) => LocksOf::Shard(shard),
        (None, None) => LocksOf::All,
    })?;
    let (zone, rules) = (settings.zone.value, settings.rules);
    let today = days::last_over(&zone, &Clock::System).plus(1);
    let job = VerifyJob { lake, zone, rules, today, accounts, shard: args.shard };
    let verified = verify(&job, among, &Progress::begin("verify", 0), cancel);
    if verified.as_ref().is_err_and(|failure| failure.kind == ErrorKind::Lake) {
        // In a bucket, another run may have removed a file that was to be read.
        reading.require_undisturbed()?;
    }
    let verification = verified?;
    let verified = Verified {
        command: "verify",
        timezone: job.zone.name().to_owned(),
        lake: job.lake.root().display().to_string(),
        broken: verification.count(Severity::Broken),
        notes: verification.count(Severity::Note),
        verification,
    };
    if verified.broken > 0 {
        reading.require_undisturbed()?;
    }
    match global.output {
        OutputFormat::Json => telemetry::print_result(&serde_json::json!(verified).to_string())?,
        OutputFormat::Table => telemetry::print_result(&verified.render(job.lake.root()))?,
    }
    Ok((verified.broken > 0).then_some(ErrorKind::Contract))
}

impl Verified {
    fn render(&self, root: &Path) -> String {
        let Verification { accounts, days, files, messages, recomputed, findings } =
            &self.verification;
        let accounts: Vec<&str> = accounts.iter().map(|account| account.as_str()).collect();
        let mut lines = vec![
            format!("{} · {} · {}", accounts.join(", "), self.timezone, self.lake),
            format!(
                "read      {} of {} with {}, and recomputed {recomputed} of them",
                counted(*files, "file"),
                counted(*days, "day"),
                counted(*messages, "message")
            ),
        ];
        for (severity, name) in [(Severity::Broken, "broken"), (Severity::Note, "note")] {
            let mut by_kind: BTreeMap<Kind, Vec<&Finding>> = BTreeMap::new();
            for finding in findings.iter().filter(|finding| finding.severity == severity) {
                by_kind.entry(finding.kind).or_default().push(finding);
            }
            if !by_kind.is_empty() {
                let mut table = TextTable::new();
                table.load_style(presets::ASCII_MARKDOWN);
                table.set_header([name, "where", "what", "what to do"]);
                for (kind, findings) in by_kind {
                    let rows = rows(&findings, root);
                    for [place, what, advice] in rows.iter().take(SHOWN_MAX) {
                        table.add_row([kind.name(), place, what, advice]);
                    }
                    if let Some(others @ 1..) = rows.len().checked_sub(SHOWN_MAX) {
                        table.add_row([
                            kind.name(),
                            &format!("… and {others} more"),
                            "",
                            "`--output json` lists all",
                        ]);
                    }
                }
                lines.push(format!("\n{table}"));
            }
        }
        lines.push(match (self.broken, files) {
            (_, 0) => "there is nothing to verify yet".to_owned(),
            (0, _) if findings.is_empty() => "all checks passed".to_owned(),
            (0, _) => "\nall checks passed".to_owned(),
            (1, _) => "\n1 check failed".to_owned(),
            (broken, _) => format!("\n{broken} checks failed"),
        });
        lines.join("\n")
    }
}

/// Renders the findings of one kind as rows of place, what and advice. Findings about partitions
/// share a row if account, what and advice are equal. The row lists their days as ranges. Days
/// share a row only if exactly the same tables have findings, so that a row never claims more than
/// was found.
fn rows(findings: &[&Finding], root: &Path) -> Vec<[String; 3]> {
    let mut rows = Vec::new();
    let mut tables_of: BTreeMap<(&Account, &str, &str, Day), BTreeSet<Table>> = BTreeMap::new();
    for finding in findings {
        match &finding.partition {
            Some(PartitionKey { account, date, table }) => {
                tables_of
                    .entry((account, &finding.what, &finding.advice, *date))
                    .or_default()
                    .insert(*table);
            }
            None => {
                let path = finding.path.strip_prefix(root).unwrap_or(&finding.path);
                rows.push([
                    path.display().to_string(),
                    finding.what.clone(),
                    finding.advice.clone(),
                ]);
            }
        }
    }
    let mut days_of: BTreeMap<(&Account, &str, &str, BTreeSet<Table>), BTreeSet<Day>> =
        BTreeMap::new();
    for ((account, what, advice, day), tables) in tables_of {
        days_of.entry((account, what, advice, tables)).or_default().insert(day);
    }
    rows.extend(days_of.into_iter().map(|((account, what, advice, tables), days)| {
        let runs = DayRange::runs(days);
        let mut place =
            runs.iter().take(SHOWN_MAX).map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if let Some(others @ 1..) = runs.len().checked_sub(SHOWN_MAX) {
            place.push_str(&format!(" … and {others} more"));
        }
        let tables = match tables.len() {
            all if all == Table::METRICS.len() => "all metrics".to_owned(),
            _ => tables.into_iter().map(Table::name).collect::<Vec<_>>().join(", "),
        };
        [format!("{account}: {place}"), format!("{tables}: {what}"), advice.to_owned()]
    }));
    rows
}

/// JSON output, part of kefu's contract.
#[derive(Debug, Serialize)]
struct Compared {
    command: &'static str,
    account: String,
    timezone: String,
    lake: String,
    /// Whether the lake has the same records as the API on all compared days.
    equal: bool,
    days: Vec<ComparedDay>,
    /// Days that were not compared, because retention deleted them.
    pruned: Vec<Day>,
    /// Days that were not compared, because they are before the account's first day in the lake.
    left_out: Vec<Day>,
}

fn against_api(
    global: &GlobalArgs,
    args: &VerifyArgs,
    settings: Settings,
    cancel: &Cancel,
) -> Result<Option<ErrorKind>, Failure> {
    let clock = Clock::System;
    let zone = settings.zone.value.clone();
    let range = days::to_fetch(&args.days, settings.lookback.value, &zone, &clock)?;
    let account = settings.account()?;
    let (app_id, credential) = (settings.app_id()?, settings.credential()?);
    let source = Source::connect(&settings.endpoint()?, credential, clock)?.with_proved_ends();
    let lake = settings.open_lake()?;
    lake.require_folder()?;
    let reading = lake.lock_shared(LocksOf::Accounts(vec![account.clone()]))?;
    lake.require_zone(zone.name())?;
    require_app(&lake, &account, app_id.as_ref())?;
    // The records of the API need the same redaction as those of the lake. Otherwise all openids
    // would differ, and the output would show the original ones.
    let source = source.with_redaction(redaction(&lake, &account, &settings.privacy()?)?);
    let (there, marked) = (lake.days(Table::Messages, &account)?, lake.pruned(&account)?);
    let (pruned, days): (Vec<Day>, Vec<Day>) = range
        .days()
        .partition(|day| marked.includes(Table::Messages, *day) && !there.contains(day));
    // A run does not commit empty days before the first one, so these days are not missing.
    let first_day = lake.first_day(&account)?;
    let (left_out, days): (Vec<Day>, Vec<Day>) =
        days.into_iter().partition(|day| first_day.is_some_and(|first| *day < first));
    let job = FetchJob {
        source: Arc::new(source),
        lake,
        account,
        app_id,
        zone,
        concurrency: settings.concurrency.value.into(),
        refreshed: Default::default(),
        on_shrink: Default::default(),
        cancel: cancel.clone(),
    };
    let mut compared = wait_for(
        job.concurrency,
        cancel,
        compare_days(&job, &days, &Progress::begin("compare", days.len())),
    )?;
    if !args.with_text {
        let records = compared
            .iter_mut()
            .flat_map(|day| day.added_records.iter_mut().chain(&mut day.gone_records));
        records.for_each(|record| record.text = None);
    }
    let compared = Compared {
        command: "verify",
        account: job.account.to_string(),
        timezone: job.zone.name().to_owned(),
        lake: job.lake.root().display().to_string(),
        equal: compared.iter().all(ComparedDay::is_equal),
        days: compared,
        pruned,
        left_out,
    };
    if !compared.equal {
        reading.require_undisturbed()?;
    }
    match global.output {
        OutputFormat::Json => telemetry::print_result(&serde_json::json!(compared).to_string())?,
        OutputFormat::Table => {
            telemetry::print_result(&hint::complete(compared.render(&job.zone)))?;
        }
    }
    Ok((!compared.equal).then_some(ErrorKind::Partial))
}

impl Compared {
    fn render(&self, zone: &Zone) -> String {
        let mut table = TextTable::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header([
            "date",
            "lake",
            "API",
            "added",
            "gone",
            "rejects in the lake",
            "by the API",
        ]);
        for day in &self.days {
            let counts = [
                day.lake_records,
                day.api_records,
                day.added,
                day.gone,
                day.lake_rejects,
                day.api_rejects,
            ];
            let counts =
                counts.map(|count| if day.in_lake { count.to_string() } else { "–".to_owned() });
            table.add_row(std::iter::once(day.date.to_string()).chain(counts));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut lines = vec![
            format!("{} · {} · {}", self.account, self.timezone, self.lake),
            table.to_string(),
        ];
        for day in &self.days {
            for (sign, count, records) in
                [("+", day.added, &day.added_records), ("-", day.gone, &day.gone_records)]
            {
                lines.extend(
                    records.iter().map(|record| format!("{sign} {}", render(record, zone))),
                );
                if let Some(others @ 1..) = count.checked_sub(records.len() as u64) {
                    lines.push(format!("{sign} … and {others} more on {}", day.date));
                }
            }
        }
        lines.extend(self.remarks());
        if self.equal {
            lines.push("the lake has the same records as the API".to_owned());
        }
        lines.join("\n")
    }

    /// Renders the days that are not equal, or were not compared.
    fn remarks(&self) -> Vec<String> {
        let named = |wanted: &dyn Fn(&&ComparedDay) -> bool| -> Vec<Day> {
            self.days.iter().filter(wanted).map(|day| day.date).collect()
        };
        let differs = |day: &&ComparedDay| day.in_lake && !day.is_equal();
        let has_shrunk = |day: &&ComparedDay| {
            day.api_records + day.api_rejects < day.lake_records + day.lake_rejects
        };
        let has_lost = |day: &&ComparedDay| day.gone > 0;
        let remarks = [
            ("missing", named(&|day| !day.in_lake), "`kefu run --from … --to …` fetches them"),
            (
                "differing",
                named(&|day| differs(day) && !has_shrunk(day) && !has_lost(day)),
                "`kefu run --date … --force` replaces them",
            ),
            (
                "differing",
                named(&|day| differs(day) && !has_shrunk(day) && has_lost(day)),
                "keep a copy of these files: WeChat no longer returns some of their records. \
                 `kefu run --date … --force` replaces them, without those records",
            ),
            (
                "shrunk",
                named(&|day| differs(day) && has_shrunk(day)),
                "WeChat now returns fewer records; the lake keeps its own",
            ),
            ("pruned", self.pruned.clone(), "not compared"),
            (
                "left out",
                self.left_out.clone(),
                "not compared: they are before the account's first day in the lake",
            ),
        ];
        let remarks = remarks.iter().filter(|(_, days, _)| !days.is_empty());
        remarks
            .map(|(what, days, remark)| format!("{what:<9} {} ({remark})", DayRange::list(days)))
            .collect()
    }
}

/// Renders a record with its local time, because the local time decides its day.
fn render(record: &Record, zone: &Zone) -> String {
    let text = record.text.as_ref().map(|text| format!(" {text:?}"));
    format!(
        "{} {} {} {}{}",
        zone.written(record.sent_at),
        record.openid,
        record.worker,
        record.opercode,
        text.unwrap_or_default()
    )
}
