//! `kefu report`

use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table as TextTable, presets};
use serde::Serialize;

use super::redact::pending_redaction;
use super::{days, require_lake};
use crate::calendar::{Clock, DayRange};
use crate::cli::{GlobalArgs, OutputFormat, ReportArgs};
use crate::failure::{Classified, ErrorKind, Failure, UsageError};
use crate::hint;
use crate::model::privacy::WorkerNames;
use crate::operations::replace;
use crate::report::{self, Figures, Language, Period, ReportJob};
use crate::settings::{self, Flags, Settings};
use crate::telemetry::{self, Progress};

/// Number of days in a report if no days are named.
const DAYS: u16 = 7;

/// Value of `--out` that means stdout.
const STDOUT: &str = "-";

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
    path: &'a Path,
    lang: Language,
    #[serde(flatten)]
    figures: &'a Figures,
}

pub(super) fn execute(
    global: &GlobalArgs,
    args: &ReportArgs,
) -> Result<Option<ErrorKind>, Failure> {
    let is_to_stdout = args.out.as_os_str() == STDOUT;
    if is_to_stdout && global.output == OutputFormat::Json {
        let message = "--out - and --output json both write to stdout".to_owned();
        return Err(UsageError { message, advice: Some("name a file with --out".into()) }.into());
    }
    // Use the accounts of the lake, because a report needs no access to WeChat.
    let settings = Settings::resolve(
        &Flags { accounts: Vec::new(), ..global.flags() },
        &settings::environment,
    )?;
    let lake = settings.open_lake()?.remembering();
    require_lake(&lake, "report")?;
    let settings = settings.in_zone_of(&lake)?;
    lake.require_zone(settings.zone.value.name())?;
    if !is_to_stdout && lake.is_in_folder() && is_within(&args.out, lake.root()) {
        let message =
            format!("{} is in the lake, which may contain only its tables", args.out.display());
        return Err(UsageError {
            message,
            advice: Some("name a file elsewhere with --out".into()),
        }
        .into());
    }
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
    if is_to_stdout {
        telemetry::print_result(report::page(&figures, args.lang)?.trim_end())?;
        return Ok(None);
    }
    let content = match is_workbook(&args.out) {
        true => report::workbook(&figures, args.lang)?,
        false => report::page(&figures, args.lang)?.into_bytes(),
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

/// Whether a file is to be an Excel workbook, by its name.
fn is_workbook(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("xlsx"))
}

/// Whether a file would be inside a folder. Resolves symbolic links first.
fn is_within(file: &Path, folder: &Path) -> bool {
    let above =
        file.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (fs_err::canonicalize(above), fs_err::canonicalize(folder)) {
        (Ok(above), Ok(folder)) => above.starts_with(folder),
        _ => false,
    }
}

fn render(written: &Written<'_>) -> String {
    let figures = written.figures;
    let accounts: Vec<&str> =
        figures.accounts.iter().map(|account| account.account.as_str()).collect();
    let days = DayRange { first: figures.first, last: figures.last };
    let mut lines = vec![format!(
        "{} · {days} · {} · {}",
        written.path.display(),
        accounts.join(", "),
        figures.timezone
    )];
    lines.push(report::headline(figures));
    let mut table = TextTable::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["", "these days", "the days before"]);
    for row in report::summary(figures) {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    lines.push(table.to_string());
    for (text, command) in report::warnings(figures, Language::En) {
        let command = command.map(|command| hint::complete(format!(" `{command}`")));
        lines.push(format!("{text}{}", command.unwrap_or_default()));
    }
    if !figures.left_out.is_empty() {
        lines.push(format!(
            "not final yet, and left out: {} (--from and --to show them)",
            DayRange::list(&figures.left_out)
        ));
    }
    lines.join("\n")
}
