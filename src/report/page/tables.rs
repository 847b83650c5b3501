//! Tables of the page: every number of a chart as text, and the workers.

use super::{Value, named, value, worker_label};
use crate::report::figures::{
    AccountFigures, DayFigures, Figures, Scope, WeekdayLoad, WorkerFigures,
};
use crate::report::language::Language;
use crate::report::metric::{Place, SERVICE_LEVEL, Unit, Values, shown_of};

pub(super) struct Table {
    pub id: String,
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
    /// The account that the row belongs to. Empty for none.
    pub account: String,
    /// The first cell names the row.
    pub cells: Vec<Cell>,
}

pub(super) struct Cell {
    pub name: &'static str,
    pub value: Value,
    pub is_number: bool,
    /// A warning about the value. Empty for none.
    pub note: &'static str,
    /// `above` or `below` the target. Empty for neither.
    pub class: &'static str,
}

impl Cell {
    pub(super) fn words(name: &'static str, shown: &str) -> Self {
        Self { name, value: named(shown), is_number: false, note: "", class: "" }
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
        Self { name, value, is_number: true, note: "", class: "" }
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
    shown_of(place, figures).map(move |metric| Column {
        label: metric.short_label(figures, language),
        title: metric.words(language).definition,
        is_number: true,
    })
}

/// The cells of the metrics that are shown in a place. A cell without a value is empty.
fn cells(
    place: Place,
    values: &Values,
    figures: &Figures,
    language: Language,
) -> impl Iterator<Item = Cell> {
    shown_of(place, figures).map(move |metric| {
        let number = values.get(metric);
        let is_on_target = match metric.name {
            SERVICE_LEVEL => number.and_then(|level| figures.is_on_target(level)),
            _ => None,
        };
        let class = match is_on_target {
            Some(true) => "above",
            Some(false) => "below",
            None => "",
        };
        Cell { class, ..Cell::figure(metric.name, metric.unit, number, language) }
    })
}

pub(super) fn by_account(figures: &Figures, language: Language) -> Table {
    let words = language.words();
    let mut columns = vec![name_column(words.account)];
    columns.extend(self::columns(Place::Totals, figures, language));
    let row = |account: &AccountFigures| {
        let mut cells = vec![Cell::words("account", account.account.as_str())];
        cells.extend(self::cells(Place::Totals, &Values::of(&account.totals), figures, language));
        Row { class: "", account: account.account.to_string(), cells }
    };
    let rows = figures.accounts.iter().map(row).collect();
    Table {
        id: "accounts".to_owned(),
        caption: words.by_account.to_owned(),
        is_sortable: true,
        columns,
        rows,
    }
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

pub(super) fn days(figures: &Figures, scope: &Scope, suffix: &str, language: Language) -> Table {
    let words = language.words();
    let mut columns = vec![name_column(words.date), name_column(words.weekday)];
    columns.extend(self::columns(Place::Totals, figures, language));
    let row = |day: &DayFigures| {
        let mut cells =
            vec![day_cell(day, language), Cell::words("weekday", language.weekday(day.date))];
        cells.extend(self::cells(Place::Totals, &Values::of(&day.totals), figures, language));
        Row { class: day_class(day), account: String::new(), cells }
    };
    Table {
        id: format!("days{suffix}"),
        caption: words.by_day.to_owned(),
        is_sortable: true,
        columns,
        rows: scope.days.iter().map(row).collect(),
    }
}

pub(super) fn load_table(scope: &Scope, suffix: &str, language: Language) -> Table {
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
            Cell { name: "messages_received_mean", value, is_number: true, note: "", class: "" }
        };
        Row {
            class: "",
            account: String::new(),
            cells: std::iter::once(Cell::words("weekday", name)).chain((0..24).map(mean)).collect(),
        }
    };
    let rows = scope.load.iter().map(row).collect();
    Table {
        id: format!("load{suffix}"),
        caption: words.load.to_owned(),
        is_sortable: false,
        columns,
        rows,
    }
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
        let values = Values::of(worker);
        let figures_of = self::cells(Place::Workers, &values, figures, language);
        // A small sample says nothing about the target.
        cells.extend(figures_of.map(|cell| match worker.is_small_sample {
            true => Cell { class: "", ..cell },
            false => cell,
        }));
        let class = if worker.is_small_sample { "small" } else { "" };
        Row { class, account: worker.account.to_string(), cells }
    };
    let rows = figures.workers.iter().map(row).collect();
    Table {
        id: "workers".to_owned(),
        caption: words.workers_heading.to_owned(),
        is_sortable: true,
        columns,
        rows,
    }
}
