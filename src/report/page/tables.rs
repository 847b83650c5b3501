//! The tables: every number of a chart as text, and the workers.

use super::{Unit, Value, named, value};
use crate::report::figures::{
    AccountFigures, DayFigures, Figures, Totals, WeekdayLoad, WorkerFigures,
};
use crate::report::language::Language;
use crate::report::words::Defined;

pub(super) struct Table {
    pub id: &'static str,
    pub caption: String,
    pub is_sortable: bool,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
}

pub(super) struct Column {
    pub label: String,
    pub title: &'static str,
    pub is_number: bool,
}

pub(super) struct Row {
    pub class: &'static str,
    /// The first of them names the row.
    pub cells: Vec<Cell>,
}

pub(super) struct Cell {
    pub name: &'static str,
    pub value: Value,
    pub is_number: bool,
    /// A word of caution about it.
    pub note: &'static str,
}

impl Cell {
    pub(super) fn words(name: &'static str, shown: &str) -> Self {
        Self { name, value: named(shown), is_number: false, note: "" }
    }

    pub(super) fn figure(
        name: &'static str,
        unit: Unit,
        number: Option<f64>,
        language: Language,
    ) -> Self {
        let mut value = value(unit, number, language);
        if let (Unit::Seconds, Some(seconds)) = (unit, number) {
            value.shown = language.short_duration(seconds);
        }
        Self { name, value, is_number: true, note: "" }
    }

    pub(super) fn count(name: &'static str, count: i64, language: Language) -> Self {
        Self::figure(name, Unit::Count, Some(count as f64), language)
    }
}

pub(super) fn name_column(label: &str) -> Column {
    Column { label: label.to_owned(), title: "", is_number: false }
}

pub(super) fn column(defined: Defined) -> Column {
    labelled(defined.short.to_owned(), defined)
}

pub(super) fn labelled(label: String, defined: Defined) -> Column {
    Column { label, title: defined.definition, is_number: true }
}

/// Columns of a period's totals, and their cells.
pub(super) fn totals_columns(figures: &Figures, language: Language) -> Vec<Column> {
    let words = language.words();
    let in_time = language.in_time(figures.service_level_seconds);
    vec![
        column(words.messages_received),
        column(words.messages_sent),
        column(words.customers),
        column(words.turns),
        column(words.answered),
        column(words.first),
        column(words.later),
        column(words.pending),
        column(words.response_p50),
        column(words.response_p90),
        column(words.response_mean),
        labelled(in_time, words.service),
    ]
}

pub(super) fn totals_cells(totals: Option<&Totals>, language: Language) -> Vec<Cell> {
    let figure = |name, unit, of: fn(&Totals) -> Option<f64>| {
        Cell::figure(name, unit, totals.and_then(of), language)
    };
    vec![
        figure("messages_received", Unit::Count, |totals| Some(totals.messages_received as f64)),
        figure("messages_sent", Unit::Count, |totals| Some(totals.messages_sent as f64)),
        figure("customers", Unit::Count, |totals| totals.customers.map(|count| count as f64)),
        figure("turns", Unit::Count, |totals| Some(totals.turns as f64)),
        figure("answered", Unit::Count, |totals| Some(totals.answered as f64)),
        figure("unanswered_first", Unit::Count, |totals| Some(totals.unanswered_first as f64)),
        figure("unanswered_later", Unit::Count, |totals| Some(totals.unanswered_later as f64)),
        figure("pending", Unit::Count, |totals| Some(totals.pending as f64)),
        figure("response_seconds_p50", Unit::Seconds, |totals| totals.response_seconds_p50),
        figure("response_seconds_p90", Unit::Seconds, |totals| totals.response_seconds_p90),
        figure("response_seconds_mean", Unit::Seconds, |totals| totals.response_seconds_mean),
        figure("service_level", Unit::Share, |totals| totals.service_level),
    ]
}

pub(super) fn by_account(figures: &Figures, language: Language) -> Table {
    let words = language.words();
    let mut columns = vec![name_column(words.account)];
    columns.extend(totals_columns(figures, language));
    let row = |account: &AccountFigures| {
        let mut cells = vec![Cell::words("account", account.account.as_str())];
        cells.extend(totals_cells(account.totals.as_ref(), language));
        Row { class: "", cells }
    };
    let rows = figures.accounts.iter().map(row).collect();
    Table { id: "accounts", caption: words.by_account.to_owned(), is_sortable: true, columns, rows }
}

/// The date of a day's row, with a remark where later days may change the row.
fn day_cell(day: &DayFigures, language: Language) -> Cell {
    let note = if day.is_provisional() { language.words().not_final } else { "" };
    Cell { note, ..Cell::words("date", &day.date.to_string()) }
}

/// The class of a day's row.
pub(super) fn day_class(day: &DayFigures) -> &'static str {
    if day.accounts == 0 { "absent" } else { "" }
}

pub(super) fn days(figures: &Figures, language: Language) -> Table {
    let words = language.words();
    let mut columns = vec![name_column(words.date), name_column(words.weekday)];
    columns.extend(totals_columns(figures, language));
    let row = |day: &DayFigures| {
        let mut cells =
            vec![day_cell(day, language), Cell::words("weekday", language.weekday(day.date))];
        cells.extend(totals_cells(day.totals.as_ref(), language));
        Row { class: day_class(day), cells }
    };
    Table {
        id: "days",
        caption: words.by_day.to_owned(),
        is_sortable: true,
        columns,
        rows: figures.days.iter().map(row).collect(),
    }
}

pub(super) fn unanswered_days(figures: &Figures, language: Language) -> Table {
    let words = language.words();
    let columns = vec![
        name_column(words.date),
        name_column(words.weekday),
        column(words.first),
        column(words.later),
        column(words.pending),
    ];
    let row = |day: &DayFigures| {
        let count = |name, of: fn(&Totals) -> i64| {
            Cell::figure(name, Unit::Count, day.totals.as_ref().map(|day| of(day) as f64), language)
        };
        let cells = vec![
            day_cell(day, language),
            Cell::words("weekday", language.weekday(day.date)),
            count("unanswered_first", |totals| totals.unanswered_first),
            count("unanswered_later", |totals| totals.unanswered_later),
            count("pending", |totals| totals.pending),
        ];
        Row { class: day_class(day), cells }
    };
    let rows = figures.days.iter().map(row).collect();
    Table {
        id: "unanswered-days",
        caption: words.unanswered_heading.to_owned(),
        is_sortable: true,
        columns,
        rows,
    }
}

pub(super) fn load_table(figures: &Figures, language: Language) -> Table {
    let words = language.words();
    let mut columns = vec![name_column(words.weekday)];
    columns.extend((0..24).map(|hour| Column {
        label: format!("{hour:02}"),
        title: "",
        is_number: true,
    }));
    let row = |weekday: &WeekdayLoad| {
        let name = words
            .weekdays
            .get(usize::from(weekday.weekday).saturating_sub(1))
            .copied()
            .unwrap_or_default();
        let mean = |hour: usize| {
            let mean =
                weekday.messages_received_mean.as_ref().and_then(|hours| hours.get(hour)).copied();
            let value = match mean {
                None => value(Unit::Count, None, language),
                Some(mean) => Value {
                    exact: mean.to_string(),
                    shown: language.number(mean),
                    title: String::new(),
                },
            };
            Cell { name: "messages_received_mean", value, is_number: true, note: "" }
        };
        Row {
            class: "",
            cells: std::iter::once(Cell::words("weekday", name)).chain((0..24).map(mean)).collect(),
        }
    };
    let rows = figures.load.iter().map(row).collect();
    Table { id: "load", caption: words.load.to_owned(), is_sortable: false, columns, rows }
}

pub(super) fn workers(figures: &Figures, language: Language) -> Table {
    let words = language.words();
    let of_several = figures.accounts.len() > 1;
    let mut columns = vec![name_column(words.worker)];
    columns.extend(of_several.then(|| name_column(words.account)));
    columns.extend([
        column(words.messages_received),
        column(words.messages_sent),
        column(words.customers),
        column(words.answered),
        column(words.first),
        column(words.later),
        column(words.pending),
        column(words.response_p50),
        column(words.response_p90),
        column(words.response_mean),
        labelled(language.in_time(figures.service_level_seconds), words.service),
        column(words.own_p50),
        column(words.takeovers),
        column(words.handed_off),
        column(words.max_concurrent),
    ]);
    let row = |worker: &WorkerFigures| {
        let count = |name, count| Cell::count(name, count, language);
        let seconds = |name, seconds| Cell::figure(name, Unit::Seconds, seconds, language);
        let note = if worker.is_small_sample { words.small_sample } else { "" };
        let mut cells = vec![Cell { note, ..Cell::words("worker", &worker.worker) }];
        cells.extend(of_several.then(|| Cell::words("account", worker.account.as_str())));
        cells.extend([
            count("messages_received", worker.messages_received),
            count("messages_sent", worker.messages_sent),
            Cell::figure(
                "customers",
                Unit::Count,
                worker.customers.map(|count| count as f64),
                language,
            ),
            count("answered", worker.answered),
            count("unanswered_first", worker.unanswered_first),
            count("unanswered_later", worker.unanswered_later),
            count("pending", worker.pending),
            seconds("response_seconds_p50", worker.response_seconds_p50),
            seconds("response_seconds_p90", worker.response_seconds_p90),
            seconds("response_seconds_mean", worker.response_seconds_mean),
            Cell::figure("service_level", Unit::Share, worker.service_level, language),
            seconds("own_response_seconds_p50", worker.own_response_seconds_p50),
            count("takeovers", worker.takeovers),
            count("handed_off", worker.handed_off),
            count("max_concurrent", worker.max_concurrent),
        ]);
        Row { class: if worker.is_small_sample { "small" } else { "" }, cells }
    };
    let rows = figures.workers.iter().map(row).collect();
    Table {
        id: "workers",
        caption: words.workers_heading.to_owned(),
        is_sortable: true,
        columns,
        rows,
    }
}
