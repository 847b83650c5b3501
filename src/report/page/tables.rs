//! Tables of the page: every number of a chart as text, and the workers.

use super::{Value, named, value, worker_label};
use crate::report::figures::{AccountFigures, DayFigures, Figures, WeekdayLoad, WorkerFigures};
use crate::report::language::Language;
use crate::report::metric::{Place, Unit, Values, shown_in};

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
    /// The first cell names the row.
    pub cells: Vec<Cell>,
}

pub(super) struct Cell {
    pub name: &'static str,
    pub value: Value,
    pub is_number: bool,
    /// A warning about the value. Empty for none.
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

/// The columns of the metrics that are shown in a place.
fn columns(place: Place, figures: &Figures, language: Language) -> impl Iterator<Item = Column> {
    shown_in(place).map(move |metric| Column {
        label: metric.short_label(figures, language),
        title: metric.words(language).definition,
        is_number: true,
    })
}

/// The cells of the metrics that are shown in a place. A cell without a value is empty.
fn cells(place: Place, values: &Values, language: Language) -> impl Iterator<Item = Cell> {
    shown_in(place)
        .map(move |metric| Cell::figure(metric.name, metric.unit, values.get(metric), language))
}

pub(super) fn by_account(figures: &Figures, language: Language) -> Table {
    let words = language.words();
    let mut columns = vec![name_column(words.account)];
    columns.extend(self::columns(Place::Totals, figures, language));
    let row = |account: &AccountFigures| {
        let mut cells = vec![Cell::words("account", account.account.as_str())];
        cells.extend(self::cells(Place::Totals, &Values::of(&account.totals), language));
        Row { class: "", cells }
    };
    let rows = figures.accounts.iter().map(row).collect();
    Table { id: "accounts", caption: words.by_account.to_owned(), is_sortable: true, columns, rows }
}

/// The date cell of a day's row. It has a note if later days may change the row.
fn day_cell(day: &DayFigures, language: Language) -> Cell {
    let note = if day.is_provisional() { language.words().not_final } else { "" };
    Cell { note, ..Cell::words("date", &day.date.to_string()) }
}

/// The CSS class of a day's row.
pub(super) fn day_class(day: &DayFigures) -> &'static str {
    if day.accounts == 0 { "absent" } else { "" }
}

pub(super) fn days(figures: &Figures, language: Language) -> Table {
    let words = language.words();
    let mut columns = vec![name_column(words.date), name_column(words.weekday)];
    columns.extend(self::columns(Place::Totals, figures, language));
    let row = |day: &DayFigures| {
        let mut cells =
            vec![day_cell(day, language), Cell::words("weekday", language.weekday(day.date))];
        cells.extend(self::cells(Place::Totals, &Values::of(&day.totals), language));
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
    let mut columns = vec![name_column(words.date), name_column(words.weekday)];
    columns.extend(self::columns(Place::Unanswered, figures, language));
    let row = |day: &DayFigures| {
        let mut cells =
            vec![day_cell(day, language), Cell::words("weekday", language.weekday(day.date))];
        cells.extend(self::cells(Place::Unanswered, &Values::of(&day.totals), language));
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
    columns.extend(self::columns(Place::Workers, figures, language));
    let row = |worker: &WorkerFigures| {
        let note = if worker.is_small_sample { words.small_sample } else { "" };
        let mut cell = Cell { note, ..Cell::words("worker", &worker.worker) };
        cell.value.shown = worker_label(&worker.worker, worker.name.as_ref());
        let mut cells = vec![cell];
        cells.extend(of_several.then(|| Cell::words("account", worker.account.as_str())));
        cells.extend(self::cells(Place::Workers, &Values::of(worker), language));
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
