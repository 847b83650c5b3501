//! `kefu report`

use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table as TextTable, presets};
use serde::Serialize;

use super::destination::Guarded;
use super::redact::pending_redaction;
use super::{days, require_lake};
use crate::calendar::{Clock, DayRange};
use crate::cli::{GlobalArgs, OutputFormat, ReportArgs};
use crate::failure::{Classified, ErrorKind, Failure, UsageError};
use crate::hint;
use crate::model::privacy::WorkerNames;
use crate::operations::replace;
use crate::printable::serialize_path;
use crate::report::{self, Figures, Language, Period, ReportJob};
use crate::settings::{self, Flags, Settings};
use crate::telemetry::{self, Progress};

/// Number of days in a report if no days are named.
const DAYS: u16 = 7;

/// What `--out` says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A page on stdout.
    Stdout,
    Page,
    Workbook,
}

impl Form {
    /// The form that the name of a file asks for.
    fn of(file: &Path) -> Result<Self, UsageError> {
        if file.as_os_str() == "-" {
            return Ok(Self::Stdout);
        }
        let ending = file.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            Some("html" | "htm") => Ok(Self::Page),
            Some("xlsx") => Ok(Self::Workbook),
            _ => Err(UsageError {
                message: format!(
                    "--out {}: a report is a page (.html) or an Excel workbook (.xlsx)",
                    file.display()
                ),
                advice: Some(
                    "name a file that ends with .html or .xlsx, or - for the page on stdout. For \
                     CSV, pipe the views of `kefu sql` into DuckDB; for PDF, print the page"
                        .into(),
                ),
            }),
        }
    }
}

/// The page could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the report cannot be written to {}", path.display())]
struct WriteError {
    path: PathBuf,
    source: std::io::Error,
}

impl Classified for WriteError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Lake
    }

    fn hint(&self) -> Option<String> {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        Some(match self.source.kind() {
            FileTooLarge => {
                "raise the limit of file sizes (`ulimit -f`), then run again. An existing report is unchanged".into()
            }
            QuotaExceeded | StorageFull => "free some space, then run again. An existing report is unchanged".into(),
            _ => "check that the folder of --out exists and that this user can write to it".into(),
        })
    }
}

/// JSON output, part of kefu's contract.
#[derive(Debug, Serialize)]
struct Written<'a> {
    command: &'static str,
    lake: String,
    #[serde(serialize_with = "serialize_path")]
    path: &'a Path,
    lang: Language,
    #[serde(flatten)]
    figures: &'a Figures,
}

pub(super) fn execute(
    global: &GlobalArgs,
    args: &ReportArgs,
) -> Result<Option<ErrorKind>, Failure> {
    let form = Form::of(&args.out)?;
    if form == Form::Stdout && global.output == OutputFormat::Json {
        let message = "--out - and --output json both write to stdout".to_owned();
        return Err(UsageError { message, advice: Some("name a file with --out".into()) }.into());
    }
    // Use the accounts of the lake, because a report needs no access to WeChat.
    let settings = Settings::resolve(
        &Flags { accounts: Vec::new(), ..global.flags() },
        &settings::environment,
    )?;
    if form != Form::Stdout {
        Guarded::of(&settings).require_free("--out", &args.out)?;
    }
    let lake = settings.open_lake()?.remembering();
    require_lake(&lake, "report")?;
    let settings = settings.in_zone_of(&lake)?;
    lake.require_zone(settings.zone.value.name())?;
    let accounts = report::accounts(&lake, &global.account)?;
    let period = match days::asked(&args.days, &settings.zone.value, &Clock::System)? {
        Some(days) => Period::named(days),
        None => Period::last(&lake, &accounts, args.final_days.unwrap_or(DAYS))?,
    };
    if let Some(owner) = lake.owner()? {
        telemetry::print_note(&format!(
            "note: {owner} is writing to the lake; some figures may be older than others"
        ));
    }
    for account in &accounts {
        if lake.has_pending_redaction(account)? {
            telemetry::print_plain_warning(&pending_redaction(account.as_str()), None);
        }
    }
    let job = ReportJob {
        lake,
        accounts,
        zone: settings.zone.value.clone(),
        rules: settings.rules.clone(),
        period,
        service_level_seconds: args.service_level,
        service_level_target: settings.service_level_target.as_ref().map(|target| target.value),
        with_text: args.with_text,
        with_names: settings.worker_names == WorkerNames::Keep,
    };
    let figures = report::gather(&job, &Progress::begin("report", 0))?;
    let content = match form {
        Form::Workbook => report::workbook(&figures, args.lang)?,
        Form::Page => report::page(&figures, args.lang)?.into_bytes(),
        Form::Stdout => {
            telemetry::print_result(report::page(&figures, args.lang)?.trim_end())?;
            return Ok(None);
        }
    };
    replace(&args.out, &content).map_err(|source| WriteError { path: args.out.clone(), source })?;
    let written = Written {
        command: "report",
        lake: job.lake.root().display().to_string(),
        path: &args.out,
        lang: args.lang,
        figures: &figures,
    };
    telemetry::print_result(&match global.output {
        OutputFormat::Json => serde_json::json!(written).to_string(),
        OutputFormat::Table => render(&written),
    })?;
    Ok(None)
}

/// The summary in the terminal, in the language of the report.
fn render(written: &Written<'_>) -> String {
    let Written { figures, lang, .. } = *written;
    let accounts: Vec<&str> =
        figures.accounts.iter().map(|account| account.account.as_str()).collect();
    let days = DayRange { first: figures.first, last: figures.last };
    let mut lines = vec![format!(
        "{} · {} · {} · {}",
        written.path.display(),
        lang.range(days),
        accounts.join(", "),
        figures.timezone
    )];
    lines.push(report::headline(figures, lang));
    let mut table = TextTable::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(lang.pick(["", "these days", "the days before"], ["", "本期", "前期"]));
    for row in report::summary(figures, lang) {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    lines.push(table.to_string());
    for (text, command) in report::warnings(figures, lang) {
        let command = command.map(|command| hint::complete(format!(" `{command}`")));
        lines.push(format!("{text}{}", command.unwrap_or_default()));
    }
    if !figures.left_out.is_empty() {
        let runs = DayRange::runs(figures.left_out.iter().copied());
        let days: Vec<String> = runs.into_iter().map(|run| lang.range(run)).collect();
        let days = days.join(lang.pick(", ", "、"));
        lines.push(lang.pick(
            format!("not final yet, and left out: {days} (--from and --to show them)"),
            format!("未定、未计入：{days}（用 --from 和 --to 查看）"),
        ));
    }
    lines.join("\n")
}
