//! Writes the figures as an Excel workbook: the same metrics as on the page, as numbers and dates.
//!
//! A text from data is a cell of type text, which no spreadsheet evaluates. One that looks like a
//! formula also has a quote prefix, so that it stays a text when a person edits the cell.

use rust_xlsxwriter::{
    DocProperties, ExcelDateTime, Format, FormatAlign, Workbook, Worksheet, XlsxError,
};

use super::figures::{DayFigures, Figures, UnansweredTurn, WeekdayLoad, WorkerFigures};
use super::language::Language;
use super::metric::{Metric, Place, Unit, Values, shown_of};
use super::page::{visible, warnings};
use super::registry::METRICS;
use crate::calendar::Day;
use crate::failure::{BugError, Failure};

/// Maximum number of characters of a text. Excel's own limit is 32,767.
const CHARACTERS_MAX: usize = 2_000;

/// Texts of the workbook that the page does not have.
struct Words {
    sheets: [&'static str; 6],
    metric: &'static str,
    value: &'static str,
    before: &'static str,
    first: &'static str,
    last: &'static str,
    timezone: &'static str,
    name: &'static str,
    is_final: &'static str,
    days: &'static str,
    unit: &'static str,
    seconds: &'static str,
    share: &'static str,
    count: &'static str,
    definition: &'static str,
    more: &'static str,
    remark: &'static str,
}

const EN: Words = Words {
    sheets: ["Key figures", "Days", "Workers", "Hours", "Unanswered turns", "Definitions"],
    metric: "Figure",
    value: "These days",
    before: "The days before",
    first: "First day",
    last: "Last day",
    timezone: "Time zone",
    name: "Name",
    is_final: "Final",
    days: "Days averaged",
    unit: "Unit",
    seconds: "seconds",
    share: "share",
    count: "number",
    definition: "Definition",
    more: "turns that are not listed",
    remark: "Remark",
};

const ZH: Words = Words {
    sheets: ["核心指标", "每日", "客服", "时段", "未回复", "指标口径"],
    metric: "指标",
    value: "本期",
    before: "上期",
    first: "首日",
    last: "末日",
    timezone: "时区",
    name: "昵称",
    is_final: "已定",
    days: "平均天数",
    unit: "单位",
    seconds: "秒",
    share: "占比",
    count: "数量",
    definition: "口径",
    more: "轮未列出",
    remark: "备注",
};

/// Renders the workbook of these figures. The same figures give the same bytes.
///
/// # Errors
/// None that a user could cause.
pub fn workbook(figures: &Figures, language: Language) -> Result<Vec<u8>, Failure> {
    let failed = |error: XlsxError| BugError(format!("the workbook cannot be made: {error}"));
    Ok(Book::new(figures, language).write().map_err(failed)?)
}

struct Book<'a> {
    figures: &'a Figures,
    language: Language,
    words: &'static Words,
    formats: Formats,
}

struct Formats {
    heading: Format,
    text: Format,
    /// For texts that look like a formula.
    quoted: Format,
    date: Format,
    instant: Format,
    count: Format,
    mean: Format,
    share: Format,
}

/// What a cell has.
enum Cell<'a> {
    Text(&'a str),
    Date(Day),
    /// Local time, like `2024-05-13 10:00:40`.
    Instant(&'a str),
    Metric(Unit, Option<f64>),
    Count(i64),
    Mean(Option<f64>),
}

impl<'a> Book<'a> {
    fn new(figures: &'a Figures, language: Language) -> Self {
        let numbers = |format: &str| Format::new().set_num_format(format);
        let formats = Formats {
            heading: Format::new().set_bold().set_text_wrap().set_align(FormatAlign::Top),
            text: Format::new(),
            quoted: Format::new().set_quote_prefix(),
            date: numbers("yyyy-mm-dd"),
            instant: numbers("yyyy-mm-dd hh:mm:ss"),
            count: numbers("#,##0"),
            mean: numbers("#,##0.0"),
            share: numbers("0.0%"),
        };
        let words = match language {
            Language::En => &EN,
            Language::Zh => &ZH,
        };
        Self { figures, language, words, formats }
    }

    fn write(&self) -> Result<Vec<u8>, XlsxError> {
        let mut workbook = Workbook::new();
        // The time of writing would make the bytes differ.
        let created = ExcelDateTime::parse_from_str(&self.figures.last.to_string())?;
        let title = self.language.words().title;
        let properties = DocProperties::new().set_title(title).set_creation_datetime(&created);
        workbook.set_properties(&properties);
        let [key_figures, days, workers, hours, unanswered, definitions] = self.words.sheets;
        self.key_figures(workbook.add_worksheet().set_name(key_figures)?)?;
        self.days(workbook.add_worksheet().set_name(days)?)?;
        self.workers(workbook.add_worksheet().set_name(workers)?)?;
        self.hours(workbook.add_worksheet().set_name(hours)?)?;
        self.unanswered(workbook.add_worksheet().set_name(unanswered)?)?;
        self.definitions(workbook.add_worksheet().set_name(definitions)?)?;
        let warnings = warnings(self.figures, self.language);
        if !warnings.is_empty() {
            let attention = self.language.words().attention;
            let sheet = workbook.add_worksheet().set_name(attention)?;
            self.headings(sheet, &[(attention, 110)])?;
            self.rows(sheet, warnings.iter().map(|(text, _)| vec![Cell::Text(text)]))?;
        }
        workbook.save_to_buffer()
    }

    fn key_figures(&self, sheet: &mut Worksheet) -> Result<(), XlsxError> {
        let (figures, words) = (self.figures, self.words);
        self.headings(sheet, &[(words.metric, 42), (words.value, 20), (words.before, 20)])?;
        let before = &figures.together.before;
        let mut rows = vec![
            vec![Cell::Text(words.first), Cell::Date(figures.first), Cell::Date(before.first)],
            vec![Cell::Text(words.last), Cell::Date(figures.last), Cell::Date(before.last)],
            vec![Cell::Text(words.timezone), Cell::Text(&figures.timezone)],
        ];
        let (now, earlier) = (Values::of(&figures.together.totals), Values::of(&before.totals));
        let has_hours = figures.has_business_hours();
        let is_shown = |metric: &&Metric| {
            metric.places != [Place::Workers] && (has_hours || !metric.is_in(Place::Business))
        };
        let metrics = || METRICS.iter().filter(is_shown);
        let labels: Vec<String> =
            metrics().map(|metric| metric.label(figures, self.language)).collect();
        rows.extend(metrics().zip(&labels).map(|(metric, label)| {
            vec![
                Cell::Text(label),
                Cell::Metric(metric.unit, now.get(metric)),
                Cell::Metric(metric.unit, earlier.get(metric)),
            ]
        }));
        self.rows(sheet, rows)
    }

    fn days(&self, sheet: &mut Worksheet) -> Result<(), XlsxError> {
        let (page, words) = (self.language.words(), self.words);
        let metrics: Vec<&Metric> = shown_of(Place::Totals, self.figures).collect();
        let labels = self.labels(&metrics);
        let mut headings = vec![(page.date, 12), (page.weekday, 10), (words.is_final, 12)];
        headings.extend(labels.iter().map(|label| (label.as_str(), 14)));
        self.headings(sheet, &headings)?;
        let row = |day: &DayFigures| {
            let values = Values::of(&day.totals);
            let is_final = if day.is_final { page.yes } else { page.no };
            let mut cells = vec![
                Cell::Date(day.date),
                Cell::Text(self.language.weekday(day.date)),
                Cell::Text(if day.accounts == 0 { page.day_missing } else { is_final }),
            ];
            cells
                .extend(metrics.iter().map(|metric| Cell::Metric(metric.unit, values.get(metric))));
            cells
        };
        self.rows(sheet, self.figures.together.days.iter().map(row))
    }

    fn workers(&self, sheet: &mut Worksheet) -> Result<(), XlsxError> {
        let page = self.language.words();
        let metrics: Vec<&Metric> = shown_of(Place::Workers, self.figures).collect();
        let labels = self.labels(&metrics);
        let mut headings = vec![(page.worker, 24), (self.words.name, 16), (page.account, 16)];
        headings.extend(labels.iter().map(|label| (label.as_str(), 14)));
        headings.push((self.words.remark, 40));
        self.headings(sheet, &headings)?;
        let row = |worker: &'a WorkerFigures| {
            let values = Values::of(worker);
            let name = worker.name.as_deref().unwrap_or_default();
            let mut cells = vec![
                Cell::Text(&worker.worker),
                Cell::Text(name),
                Cell::Text(worker.account.as_str()),
            ];
            cells
                .extend(metrics.iter().map(|metric| Cell::Metric(metric.unit, values.get(metric))));
            cells.push(Cell::Text(if worker.is_small_sample { page.small_sample } else { "" }));
            cells
        };
        self.rows(sheet, self.figures.workers.iter().map(row))
    }

    fn hours(&self, sheet: &mut Worksheet) -> Result<(), XlsxError> {
        let page = self.language.words();
        let labels: Vec<String> = (0..24).map(|hour| format!("{hour:02}")).collect();
        let mut headings = vec![(page.weekday, 10), (self.words.days, 14)];
        headings.extend(labels.iter().map(|label| (label.as_str(), 8)));
        self.headings(sheet, &headings)?;
        let row = |weekday: &WeekdayLoad| {
            let name = page.weekdays.get(usize::from(weekday.weekday).saturating_sub(1));
            let mean = |hour: usize| {
                let hours = weekday.messages_received_mean.as_ref();
                Cell::Mean(hours.and_then(|hours| hours.get(hour)).copied())
            };
            let mut cells =
                vec![Cell::Text(name.copied().unwrap_or_default()), Cell::Count(weekday.days)];
            cells.extend((0..24).map(mean));
            cells
        };
        self.rows(sheet, self.figures.together.load.iter().map(row))
    }

    fn unanswered(&self, sheet: &mut Worksheet) -> Result<(), XlsxError> {
        let page = self.language.words();
        let waited = self.in_seconds(page.waited);
        self.headings(
            sheet,
            &[
                (page.asked_at, 20),
                (page.kind, 10),
                (page.worker, 24),
                (self.words.name, 16),
                (page.account, 16),
                (page.customer, 14),
                (&waited, 12),
                (page.messages, 12),
                (page.texts, 80),
            ],
        )?;
        let texts: Vec<String> = self.figures.unanswered.turns.iter().map(texts).collect();
        let turns = self.figures.unanswered.turns.iter().zip(&texts).map(|(turn, texts)| {
            vec![
                Cell::Instant(&turn.asked_at),
                Cell::Text(if turn.is_first { page.first_kind } else { page.later_kind }),
                Cell::Text(&turn.worker),
                Cell::Text(turn.name.as_deref().unwrap_or_default()),
                Cell::Text(turn.account.as_str()),
                Cell::Text(&turn.customer),
                Cell::Metric(Unit::Seconds, Some(turn.waited_seconds as f64)),
                Cell::Count(turn.customer_messages),
                Cell::Text(texts),
            ]
        });
        let more = format!("{} {}", self.figures.unanswered.more, self.words.more);
        let more = (self.figures.unanswered.more > 0).then(|| vec![Cell::Text(&more)]);
        self.rows(sheet, turns.chain(more))
    }

    fn definitions(&self, sheet: &mut Worksheet) -> Result<(), XlsxError> {
        let words = self.words;
        let headings = [(words.metric, 42), (words.unit, 12), (words.definition, 110)];
        self.headings(sheet, &headings)?;
        let labels: Vec<String> =
            METRICS.iter().map(|metric| metric.label(self.figures, self.language)).collect();
        let rows = METRICS.iter().zip(&labels).map(|(metric, label)| {
            let unit = match metric.unit {
                Unit::Count => words.count,
                Unit::Seconds => words.seconds,
                Unit::Share => words.share,
            };
            let definition = metric.words(self.language).definition;
            vec![Cell::Text(label), Cell::Text(unit), Cell::Text(definition)]
        });
        self.rows(sheet, rows)
    }

    /// The labels at the heads of columns, with the unit of seconds.
    fn labels(&self, metrics: &[&Metric]) -> Vec<String> {
        let label = |metric: &&Metric| {
            let label = metric.short_label(self.figures, self.language);
            match metric.unit {
                Unit::Seconds => self.in_seconds(&label),
                Unit::Count | Unit::Share => label,
            }
        };
        metrics.iter().map(label).collect()
    }

    fn in_seconds(&self, label: &str) -> String {
        match self.language {
            Language::En => format!("{label} (s)"),
            Language::Zh => format!("{label}（秒）"),
        }
    }

    /// Writes the first row, which stays in sight, with the widths of the columns in characters.
    fn headings(&self, sheet: &mut Worksheet, headings: &[(&str, u16)]) -> Result<(), XlsxError> {
        for (column, (label, width)) in (0u16..).zip(headings) {
            sheet.write_string_with_format(0, column, *label, &self.formats.heading)?;
            sheet.set_column_width(column, *width)?;
        }
        sheet.set_freeze_panes(1, 1)?;
        Ok(())
    }

    fn rows<'b>(
        &self,
        sheet: &mut Worksheet,
        rows: impl IntoIterator<Item = Vec<Cell<'b>>>,
    ) -> Result<(), XlsxError> {
        for (row, cells) in (1u32..).zip(rows) {
            for (column, cell) in (0u16..).zip(cells) {
                self.cell(sheet, row, column, cell)?;
            }
        }
        Ok(())
    }

    /// Writes a cell. A cell without a value stays empty.
    fn cell(
        &self,
        sheet: &mut Worksheet,
        row: u32,
        column: u16,
        cell: Cell<'_>,
    ) -> Result<(), XlsxError> {
        let formats = &self.formats;
        let (number, format) = match cell {
            Cell::Text("") => return Ok(()),
            Cell::Text(text) => {
                let shown = visible(&text.chars().take(CHARACTERS_MAX).collect::<String>());
                let format = if is_like_formula(&shown) { &formats.quoted } else { &formats.text };
                sheet.write_string_with_format(row, column, shown, format)?;
                return Ok(());
            }
            Cell::Date(day) => {
                let date = ExcelDateTime::parse_from_str(&day.to_string())?;
                sheet.write_datetime_with_format(row, column, &date, &formats.date)?;
                return Ok(());
            }
            Cell::Instant(written) => {
                let instant = ExcelDateTime::parse_from_str(&written.replace(' ', "T"))?;
                sheet.write_datetime_with_format(row, column, &instant, &formats.instant)?;
                return Ok(());
            }
            Cell::Metric(Unit::Count, number) => (number, &formats.count),
            Cell::Metric(Unit::Seconds, number) => (number, &formats.mean),
            Cell::Metric(Unit::Share, number) => (number, &formats.share),
            Cell::Count(count) => (Some(count as f64), &formats.count),
            Cell::Mean(mean) => (mean, &formats.mean),
        };
        if let Some(number) = number {
            sheet.write_number_with_format(row, column, number, format)?;
        }
        Ok(())
    }
}

/// Whether a spreadsheet takes a typed text for a formula.
fn is_like_formula(text: &str) -> bool {
    text.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
        || text.starts_with(['\t', '\r', '\n'])
}

/// The texts of a turn, one a line.
fn texts(turn: &UnansweredTurn) -> String {
    let texts = turn.texts.iter().flat_map(|texts| &texts.texts).flatten();
    texts.map(String::as_str).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_look_like_formulas_are_quoted() {
        for text in ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "＝1"] {
            assert!(is_like_formula(text), "{text}");
        }
        for text in ["kf2001@acme", "小陈", "", "1+1"] {
            assert!(!is_like_formula(text), "{text}");
        }
    }
}
