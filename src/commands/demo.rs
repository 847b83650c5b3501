//! `kefu demo`

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use comfy_table::{CellAlignment, Table as TextTable, presets};

use super::stage_observer::StageObserver;
use crate::calendar::{Clock, Day, DayRange, Zone};
use crate::cli::{GlobalArgs, OutputFormat};
use crate::failure::{BugError, ErrorKind, Failure};
use crate::hint::in_quotes;
use crate::lake::{Account, AppId, Lake, Table, entry};
use crate::metrics::Parameters;
use crate::model::cancel::Cancel;
use crate::model::privacy::Privacy;
use crate::pipeline::{AccountJob, Api, Network, Request, Wanted, run_account};
use crate::printable::counted;
use crate::settings::{self, Settings};
use crate::simulator::{APPID, Generated, GeneratorOptions, Options, Simulator};
use crate::{telemetry, threads};

pub(super) const LAKE: &str = "data/demo";
const ACCOUNT: &str = "demo";
const FIRST_DAY: &str = "2024-05-13";
const LAST_DAY: &str = "2024-05-19";
const MESSAGES_PER_DAY: u32 = 1_500;
const SEED: u64 = 1;

/// Maximum number of parallel API calls.
const CALLS: usize = 4;

pub(super) fn execute(global: &GlobalArgs, cancel: &Cancel) -> Result<Option<ErrorKind>, Failure> {
    let constant = |error: String| BugError(format!("the demo's own settings: {error}"));
    let range = DayRange {
        first: FIRST_DAY.parse().map_err(constant)?,
        last: LAST_DAY.parse().map_err(constant)?,
    };
    let days: Vec<Day> = range.days().collect();
    let zone = Zone::named(Zone::DEFAULT).map_err(constant)?;
    let account = Account::new(ACCOUNT.into()).map_err(constant)?;
    let generator = GeneratorOptions {
        first_day: range.first,
        days: days.len() as u32,
        messages_per_day: MESSAGES_PER_DAY,
        seed: SEED,
    };
    // The demo has its own clock, so that its days are over whatever the machine's clock says.
    let clock = Clock::starting_at(zone.bounds(range.last).end + 2 * 3_600);
    let options = Options { clock: clock.clone(), ..Options::default() };
    let runtime = threads::runtime(1)?;
    let simulator = runtime.block_on(Simulator::start(Generated::new(generator), options));
    let simulator =
        simulator.map_err(|error| BugError(format!("the simulator cannot start: {error}")))?;

    let job = AccountJob {
        lake: lake(global)?,
        account: account.clone(),
        zone: zone.clone(),
        rules: Parameters::in_zone(zone.name()).into(),
        privacy: Some(Privacy::default()),
        api: Some(Api {
            network: Network::open(&simulator.client_url().map_err(constant)?, CALLS)?,
            credential: Simulator::credential(),
            app_id: Some(AppId::new(APPID.into()).map_err(constant)?),
            concurrency: CALLS,
        }),
        clock: clock.clone(),
    };
    let wanted = Wanted {
        range,
        is_named: true,
        force: true,
        refresh: 0,
        allow_shrink: true,
        last_over: range.last,
    };
    let observer = StageObserver::new(&account, true);
    let report = run_account(&job, &Request::Run(wanted), &observer, cancel);
    let failed = report.fetch.and_then(|fetch| fetch.failed.into_iter().next());
    if let Some(failed) = failed {
        return Err(failed.failure.during(format!("{} was not fetched", failed.day)));
    }
    if let Some(failure) = report.failure {
        return Err(failure);
    }

    let workers = job.metrics().period(range, cancel)?;
    match global.output {
        OutputFormat::Table => show(&job.lake, &account, range, &workers)?,
        OutputFormat::Json => {
            let names = names_of(&job.lake, &account)?;
            telemetry::print_result(&as_json(&workers, &names).to_string())?;
        }
    }
    Ok(None)
}

fn names_of(lake: &Lake, account: &Account) -> Result<BTreeMap<String, String>, Failure> {
    Ok(lake.worker_names(std::slice::from_ref(account))?.remove(account).unwrap_or_default())
}

/// The lake of the demo. For a bucket, the settings say how to reach it.
fn lake(global: &GlobalArgs) -> Result<Lake, Failure> {
    match &global.lake {
        Some(lake) if settings::is_bucket(lake) => {
            Ok(Settings::resolve(&global.flags(), &settings::environment)?.open_lake()?)
        }
        Some(lake) => Ok(Lake::at(lake)),
        None => Ok(Lake::at(LAKE)),
    }
}

/// The columns to show: the name in `worker_daily`, and the title on the screen.
const SHOWN: [(&str, &str); 9] = [
    ("messages_received", "received"),
    ("messages_sent", "sent"),
    ("customers", "customers"),
    ("answered", "answered"),
    ("unanswered_first", "unanswered (first)"),
    ("unanswered_later", "(later)"),
    ("response_seconds_p50", "p50 s"),
    ("response_seconds_p90", "p90 s"),
    ("answered_within_180s", "service level 3 min"),
];

fn show(
    lake: &Lake,
    account: &Account,
    range: DayRange,
    workers: &RecordBatch,
) -> Result<(), Failure> {
    let mut table = TextTable::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["worker", "name"].into_iter().chain(SHOWN.map(|(_, shown)| shown)));
    let names = names_of(lake, account)?;
    let number =
        |column: &str, row: usize| value(workers, column, row).and_then(|number| number.as_f64());
    for row in 0..workers.num_rows() {
        let worker = worker(workers, row);
        let name = names.get(&worker).cloned().unwrap_or_default();
        // The service level is a share of the answered turns and the unanswered first turns.
        let owed = number("answered", row)
            .zip(number("unanswered_first", row))
            .map(|(answered, unanswered)| answered + unanswered);
        let cells = SHOWN.iter().map(|(column, _)| match (*column, number(column, row), owed) {
            ("answered_within_180s", Some(within), Some(owed)) if owed > 0.0 => {
                format!("{:.1} %", 100.0 * within / owed)
            }
            ("answered_within_180s", ..) | (_, None, _) => "–".to_owned(),
            (_, Some(value), _) => format!("{value:.0}"),
        });
        table.add_row([worker, name].into_iter().chain(cells));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    telemetry::print_result(&format!(
        "Workers, {range} ({}), generated conversations\n{table}\n",
        Zone::DEFAULT
    ))?;
    telemetry::print_result(&tree(lake, account)?)?;
    let root = lake.root().display().to_string();
    let sql = in_shell(&format!(
        "SELECT date, worker, answered, response_seconds_p50 \
         FROM '{}/worker_daily/*/*.parquet' ORDER BY ALL",
        root.replace('\'', "''")
    ));
    telemetry::print_result(&format!("Read it with DuckDB:\n\n  duckdb -c {sql}\n"))?;
    let (kefu, lake) = (called(), in_quotes(&root));
    telemetry::print_result(&format!(
        "Next steps:\n\n  \
         {kefu} report --lake {lake}    write a page with figures and charts: kefu-report.html\n  \
         {kefu} verify --lake {lake}    check these files\n  \
         {kefu} doctor    check the settings of your own account\n"
    ))?;
    Ok(())
}

/// Returns an SQL query as a word of a shell command. Double quotes are easier to read, because the
/// query has single quotes.
fn in_shell(sql: &str) -> String {
    match sql.contains(['"', '$', '`', '\\', '!']) {
        true => in_quotes(sql),
        false => format!("\"{sql}\""),
    }
}

/// Returns how kefu was called, so that a printed command line can be pasted unchanged.
fn called() -> String {
    let called = std::env::args().next().unwrap_or_default();
    let is_plain = |character: char| character.is_alphanumeric() || "/._-+".contains(character);
    if called.contains('/') && called.chars().all(is_plain) { called } else { "kefu".to_owned() }
}

/// Returns a number of a column, or `None` for null. Counts and seconds are whole numbers,
/// percentiles are not.
fn value(workers: &RecordBatch, column: &str, row: usize) -> Option<serde_json::Number> {
    let column = workers.column_by_name(column)?;
    if column.is_null(row) {
        return None;
    }
    match column.as_primitive_opt::<Int64Type>() {
        Some(counts) => Some(counts.value(row).into()),
        None => column
            .as_primitive_opt::<Float64Type>()
            .and_then(|numbers| serde_json::Number::from_f64(numbers.value(row))),
    }
}

fn worker(workers: &RecordBatch, row: usize) -> String {
    let names = workers.column_by_name("worker");
    names.map(|names| names.as_string::<i32>().value(row).to_owned()).unwrap_or_default()
}

fn as_json(workers: &RecordBatch, names: &BTreeMap<String, String>) -> serde_json::Value {
    let rows = (0..workers.num_rows()).map(|row| {
        let worker = worker(workers, row);
        let name = names.get(&worker).cloned();
        let mut object = serde_json::Map::from_iter([
            ("worker".to_owned(), worker.into()),
            ("name".to_owned(), name.into()),
        ]);
        object.extend(
            SHOWN
                .iter()
                .map(|(column, _)| ((*column).to_owned(), value(workers, column, row).into())),
        );
        serde_json::Value::Object(object)
    });
    serde_json::json!({ "command": "demo", "workers": rows.collect::<Vec<_>>() })
}

/// Renders the files of the lake as a tree, with the first and the last day of each table.
fn tree(lake: &Lake, account: &Account) -> Result<String, Failure> {
    let mut lines = vec![format!("{}/", lake.root().display())];
    for table in Table::ALL {
        let days = lake.days(table, account)?;
        let (Some(first), Some(last)) = (days.first().copied(), days.last().copied()) else {
            continue;
        };
        lines.push(format!("├── {table}/"));
        let first = (first < last).then_some((first, "├──"));
        for (day, branch) in first.into_iter().chain([(last, "└──")]) {
            let bytes = lake.bytes(&account.partition(table, day))?.unwrap_or(0);
            let footer = lake.footer(&account.partition(table, day))?;
            let rows: u64 = footer.get(entry::ROWS).and_then(|rows| rows.parse().ok()).unwrap_or(0);
            lines.push(format!(
                "│   {branch} date={day}/{account}.parquet   {}, {} KiB",
                counted(rows, "row"),
                bytes.div_ceil(1024)
            ));
            if branch == "├──" && days.len() > 2 {
                lines.push(format!("│   ├── … {} more days", days.len() - 2));
            }
        }
    }
    lines.push("└── _kefu/   (locks and staging; not for queries)\n".to_owned());
    Ok(lines.join("\n"))
}
