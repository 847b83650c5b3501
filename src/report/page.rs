//! The figures as a page: what is shown where, in words and with its exact value beside it.
//!
//! Whatever comes from data is escaped by the template, and no value is marked as safe but the page's own style and script. [`visible`] makes characters
//! seen that would hide or reorder others. The page's policy allows nothing but that style and that script, by their hashes.

use std::collections::BTreeMap;

use askama::Template;
use ring::digest::{SHA256, digest};

use super::chart::{self, Scene};
use super::figures::{AccountCoverage, CoveredDay, DayFigures, Figures, Totals, UnansweredTurn, WorkerFigures};
use super::words::{Defined, Language, Words};
use crate::calendar::{Day, DayRange};
use crate::failure::{BugError, Failure};
use crate::pipeline::{Freshness, Mark};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("sort.js");

/// The page of these figures.
///
/// # Errors
/// None that a user could cause.
pub fn page(figures: &Figures, language: Language) -> Result<String, Failure> {
    let page = Page::of(figures, language).render().map_err(|error| BugError(format!("the page cannot be made: {error}")))?;
    Ok(format!("{}\n", page.trim()))
}

#[derive(Template)]
#[template(path = "page.html", config = "src/report/askama.toml")]
struct Page {
    words: &'static Words,
    style: &'static str,
    script: &'static str,
    /// Of style and script, for the page's policy.
    hashes: (String, String),
    period: String,
    accounts: String,
    timezone: String,
    warnings: Vec<(char, String)>,
    comparison: String,
    hero: Vec<Card>,
    volume: Vec<Card>,
    turns: Vec<Card>,
    sessions: Vec<Card>,
    session_bar: Vec<Share>,
    by_account: Option<Table>,
    response_times: Vec<Scene>,
    days: Table,
    unanswered: Vec<Scene>,
    unanswered_days: Table,
    load: Vec<Scene>,
    load_table: Table,
    load_note: String,
    workers: Table,
    unanswered_turns: Vec<TurnRow>,
    /// Whether turns show their account, and whether they show what was written.
    turns_show: (bool, bool),
    not_listed: Option<String>,
    coverage: Vec<Coverage>,
    legend: Vec<(char, &'static str)>,
    definitions: Vec<Defined>,
    made_by: String,
}

/// A value as people read it, and exactly.
struct Value {
    exact: String,
    shown: String,
    /// What is shown when it is pointed at; nothing for none.
    title: String,
}

/// A key figure.
struct Card {
    name: &'static str,
    label: String,
    definition: &'static str,
    value: Value,
    change: Option<Change>,
}

struct Change {
    symbol: char,
    shown: String,
    /// `better`, `worse` or `neutral`.
    tone: &'static str,
    tone_word: &'static str,
    before: String,
}

/// A part of a bar of 100.
struct Share {
    class: &'static str,
    start: String,
    width: String,
    title: String,
}

struct Table {
    id: &'static str,
    caption: String,
    is_sortable: bool,
    columns: Vec<Column>,
    rows: Vec<Row>,
}

struct Column {
    label: String,
    title: &'static str,
    is_number: bool,
}

struct Row {
    class: &'static str,
    /// The first of them names the row.
    cells: Vec<Cell>,
}

struct Cell {
    name: &'static str,
    value: Value,
    is_number: bool,
    /// A word of caution about it.
    note: &'static str,
}

struct TurnRow {
    account: String,
    asked_at: String,
    worker: String,
    customer: String,
    kind: &'static str,
    messages: String,
    /// None for a text that is not in the lake.
    texts: Vec<Option<String>>,
    more: Option<String>,
}

struct Coverage {
    account: String,
    months: Vec<Month>,
    table: Table,
}

struct Month {
    name: String,
    days: Vec<CalendarDay>,
}

struct CalendarDay {
    number: String,
    symbol: char,
    class: &'static str,
    title: String,
}

/// What a figure is measured in.
#[derive(Clone, Copy)]
enum Unit {
    Count,
    Seconds,
    Share,
}

/// Which way a figure should go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Good {
    More,
    Less,
    Neither,
}

impl Page {
    fn of(figures: &Figures, language: Language) -> Self {
        let words = language.words();
        let of_several = figures.accounts.len() > 1;
        let with_texts = figures.unanswered.turns.iter().any(|turn| turn.texts.is_some());
        let cards = Cards { figures, language };
        let before = DayRange { first: figures.before.first, last: figures.before.last };
        let symbols = |mark: Mark| (mark.symbol(), language.mark(mark));
        Self {
            words,
            style: STYLE,
            script: SCRIPT,
            hashes: (hash(STYLE), hash(SCRIPT)),
            period: language.range(DayRange { first: figures.first, last: figures.last }),
            accounts: figures.accounts.iter().map(|account| account.account.to_string()).collect::<Vec<_>>().join(", "),
            timezone: figures.timezone.clone(),
            warnings: warnings(figures, language),
            comparison: match figures.before.missing {
                Some(missing) => language.nothing_to_compare(missing, before),
                None => format!("{} {}", words.compared_with, language.range(before)),
            },
            hero: cards.hero(),
            volume: cards.volume(),
            turns: cards.turns(),
            sessions: cards.sessions(),
            session_bar: cards.session_bar(),
            by_account: of_several.then(|| by_account(figures, language)),
            response_times: chart::response_times(figures, language),
            days: days(figures, language),
            unanswered: chart::unanswered(figures, language),
            unanswered_days: unanswered_days(figures, language),
            load: chart::load(figures, language),
            load_table: load_table(figures, language),
            load_note: language.load_note(&figures.timezone, of_several),
            workers: workers(figures, language),
            unanswered_turns: figures.unanswered.turns.iter().map(|turn| turn_row(turn, language)).collect(),
            turns_show: (of_several, with_texts),
            not_listed: (figures.unanswered.more > 0).then(|| language.not_listed(figures.unanswered.more)),
            coverage: figures.coverage.iter().map(|account| coverage(account, language)).collect(),
            legend: Mark::ALL.map(symbols).to_vec(),
            definitions: definitions(words),
            made_by: language.made_by(env!("CARGO_PKG_VERSION"), &figures.timezone),
        }
    }
}

/// The page's policy names style and script by this.
fn hash(text: &str) -> String {
    format!("sha256-{}", base64(digest(&SHA256, text.as_bytes()).as_ref()))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let of_three = |three: &[u8]| {
        let bits = three.iter().chain([0, 0].iter()).take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let digit = |place: u32| DIGITS.get((bits >> (18 - 6 * place) & 63) as usize).map_or('=', |digit| char::from(*digit));
        let known = three.len() as u32 + 1;
        (0..4).map(|place| if place < known { digit(place) } else { '=' }).collect::<String>()
    };
    bytes.chunks(3).map(of_three).collect()
}

/// Text from data in which every character is seen: a control character as its picture, one that reorders or hides others by its number.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            '\0'..='\u{1f}' => shown.extend(char::from_u32(0x2400 + u32::from(character))),
            '\u{7f}' => shown.push('\u{2421}'),
            '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' => {
                shown.push_str(&format!("⟨U+{:04X}⟩", u32::from(character)));
            }
            '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' => {
                shown.push_str(&format!("⟨U+{:04X}⟩", u32::from(character)));
            }
            _ => shown.push(character),
        }
    }
    shown
}

/// What has to be known first.
fn warnings(figures: &Figures, language: Language) -> Vec<(char, String)> {
    let holds = |mark: Mark, day: &CoveredDay| match mark {
        Mark::Missing => !day.status.fetched && !day.is_in_report,
        Mark::Stale => {
            let is_absent = day.status.fetched && !day.is_in_report && day.mark != Mark::Damaged;
            day.mark == Mark::Stale || day.status.metrics == Some(Freshness::LeftOver) || is_absent
        }
        Mark::WithRejects => day.status.rejects > 0,
        Mark::NotFinal => day.status.fetched && !day.status.is_final,
        mark => day.mark == mark,
    };
    let of_mark = |mark: Mark| {
        // Accounts with the same days are named together.
        let mut accounts: BTreeMap<Vec<Day>, Vec<&str>> = BTreeMap::new();
        for account in &figures.coverage {
            let days = account.days.iter().filter(|day| holds(mark, day)).map(|day| day.status.date);
            accounts.entry(days.collect()).or_default().push(account.account.as_str());
        }
        accounts.remove(&Vec::new());
        let days = accounts.iter().map(|(days, accounts)| match accounts.len() == figures.coverage.len() {
            true => language.days(days),
            false => language.days_of(days, &accounts.join(", ")),
        });
        let days = days.collect::<Vec<_>>().join("; ");
        (!days.is_empty()).then(|| (mark.symbol(), language.warning(mark, &days)))
    };
    [Mark::Missing, Mark::Stale, Mark::Damaged, Mark::WithRejects, Mark::Pruned, Mark::NotFinal].into_iter().filter_map(of_mark).collect()
}

fn value(unit: Unit, value: Option<f64>, language: Language) -> Value {
    let Some(number) = value else {
        return Value {
            exact: String::new(),
            shown: language.words().not_a_value.to_owned(),
            title: language.words().nothing_there.to_owned(),
        };
    };
    let (shown, title) = match unit {
        Unit::Count => (language.count(number as i64), String::new()),
        Unit::Seconds => (language.duration(number), language.exact_seconds(number)),
        Unit::Share => (language.share(number), String::new()),
    };
    Value { exact: number.to_string(), shown, title }
}

fn text(text: &str) -> Value {
    Value { exact: visible(text), shown: visible(text), title: String::new() }
}

fn change(unit: Unit, good: Good, (now, before): (f64, f64), language: Language) -> Change {
    let words = language.words();
    let difference = now - before;
    // What looks the same is the same.
    let is_same = value(unit, Some(now), language).shown == value(unit, Some(before), language).shown;
    let sign = if difference > 0.0 { '+' } else { '−' };
    let absolute = match unit {
        Unit::Count => language.count(difference.abs() as i64),
        // Of what is shown in whole seconds, the difference is, too.
        Unit::Seconds if now.max(before) >= 60.0 => language.duration(difference.abs().round()),
        Unit::Seconds => language.duration(difference.abs()),
        Unit::Share => language.points(100.0 * difference.abs()),
    };
    let relative = match unit {
        Unit::Count | Unit::Seconds if before > 0.0 => format!(" ({sign}{:.1}%)", 100.0 * difference.abs() / before),
        _ => String::new(),
    };
    let (tone, tone_word) = match (good, difference > 0.0) {
        (Good::Neither, _) => ("neutral", ""),
        (Good::More, true) | (Good::Less, false) => ("better", words.better),
        (Good::More, false) | (Good::Less, true) => ("worse", words.worse),
    };
    let before = format!("{} {}", words.before, value(unit, Some(before), language).shown);
    if is_same {
        return Change { symbol: '=', shown: words.no_change.to_owned(), tone: "neutral", tone_word: "", before };
    }
    let symbol = if difference > 0.0 { '▲' } else { '▼' };
    Change { symbol, shown: format!("{sign}{absolute}{relative}"), tone, tone_word, before }
}

/// The key figures, each beside what it was before.
struct Cards<'a> {
    figures: &'a Figures,
    language: Language,
}

impl Cards<'_> {
    fn card(&self, name: &'static str, defined: Defined, unit: Unit, good: Good, figure: impl Fn(&Totals) -> Option<f64>) -> Card {
        let now = figure(&self.figures.totals);
        let before = self.figures.before.totals.as_ref().and_then(figure);
        Card {
            name,
            label: defined.word.to_owned(),
            definition: defined.definition,
            value: value(unit, now, self.language),
            change: now.zip(before).map(|both| change(unit, good, both, self.language)),
        }
    }

    fn count(&self, name: &'static str, defined: Defined, good: Good, figure: fn(&Totals) -> i64) -> Card {
        self.card(name, defined, Unit::Count, good, |totals| Some(figure(totals) as f64))
    }

    fn seconds(&self, name: &'static str, defined: Defined, figure: fn(&Totals) -> Option<f64>) -> Card {
        self.card(name, defined, Unit::Seconds, Good::Less, figure)
    }

    fn hero(&self) -> Vec<Card> {
        let words = self.language.words();
        let mut service = self.card("service_level", words.service, Unit::Share, Good::More, |totals| totals.service_level);
        service.label = format!("{}, {}", words.service.word, self.language.in_time(self.figures.service_level_seconds));
        vec![
            service,
            self.seconds("response_seconds_p50", words.response_p50, |totals| totals.response_seconds_p50),
            self.seconds("response_seconds_p90", words.response_p90, |totals| totals.response_seconds_p90),
            self.seconds("response_seconds_mean", words.response_mean, |totals| totals.response_seconds_mean),
            self.seconds("first_response_seconds_p50", words.first_response, |totals| totals.first_response_seconds_p50),
        ]
    }

    fn volume(&self) -> Vec<Card> {
        let words = self.language.words();
        let of_messages = |name, defined, figure: fn(&Totals) -> Option<i64>| {
            self.card(name, defined, Unit::Count, Good::Neither, move |totals| figure(totals).map(|count| count as f64))
        };
        vec![
            self.count("messages_received", words.messages_received, Good::Neither, |totals| totals.messages_received),
            self.count("messages_sent", words.messages_sent, Good::Neither, |totals| totals.messages_sent),
            of_messages("customers", words.customers, |totals| totals.customers),
            of_messages("customers_served", words.customers_served, |totals| totals.customers_served),
            self.count("workers", words.workers, Good::Neither, |totals| totals.workers),
        ]
    }

    fn turns(&self) -> Vec<Card> {
        let words = self.language.words();
        vec![
            self.count("turns", words.turns, Good::Neither, |totals| totals.turns),
            self.count("answered", words.answered, Good::Neither, |totals| totals.answered),
            self.count("unanswered_first", words.first, Good::Less, |totals| totals.unanswered_first),
            self.count("unanswered_later", words.later, Good::Neither, |totals| totals.unanswered_later),
            self.count("pending", words.pending, Good::Neither, |totals| totals.pending),
        ]
    }

    fn sessions(&self) -> Vec<Card> {
        let words = self.language.words();
        vec![
            self.count("sessions_completed", words.completed, Good::Neither, |totals| totals.sessions_completed),
            self.count("sessions_missed", words.missed, Good::Less, |totals| totals.sessions_missed),
            self.count("sessions_dropped", words.dropped, Good::Neither, |totals| totals.sessions_dropped),
            self.count("sessions_open", words.open, Good::Neither, |totals| totals.sessions_open),
            self.count("sessions_outreach", words.outreach, Good::Neither, |totals| totals.sessions_outreach),
        ]
    }

    fn session_bar(&self) -> Vec<Share> {
        let (totals, words) = (&self.figures.totals, self.language.words());
        let parts = [
            ("completed", words.completed.word, totals.sessions_completed),
            ("missed", words.missed.word, totals.sessions_missed),
            ("dropped", words.dropped.word, totals.sessions_dropped),
            ("open", words.open.word, totals.sessions_open),
            ("outreach", words.outreach.word, totals.sessions_outreach),
        ];
        let all = parts.iter().map(|(_, _, count)| count).sum::<i64>();
        let mut start = 0.0;
        let of_part = |(class, word, count): (&'static str, &str, i64)| {
            let share = count as f64 / all as f64;
            let place = start;
            start += 1_000.0 * share;
            let title = format!("{word} {} ({})", self.language.count(count), self.language.share(share));
            Share { class, start: format!("{place:.1}"), width: format!("{:.1}", 1_000.0 * share), title }
        };
        parts.into_iter().filter(|(_, _, count)| *count > 0).map(of_part).collect()
    }
}

impl Cell {
    fn words(name: &'static str, shown: &str) -> Self {
        Self { name, value: text(shown), is_number: false, note: "" }
    }

    fn figure(name: &'static str, unit: Unit, number: Option<f64>, language: Language) -> Self {
        let mut value = value(unit, number, language);
        if let (Unit::Seconds, Some(seconds)) = (unit, number) {
            value.shown = language.short_duration(seconds);
        }
        Self { name, value, is_number: true, note: "" }
    }

    fn count(name: &'static str, count: i64, language: Language) -> Self {
        Self::figure(name, Unit::Count, Some(count as f64), language)
    }
}

fn name_column(label: &str) -> Column {
    Column { label: label.to_owned(), title: "", is_number: false }
}

fn column(defined: Defined) -> Column {
    labelled(defined.short.to_owned(), defined)
}

fn labelled(label: String, defined: Defined) -> Column {
    Column { label, title: defined.definition, is_number: true }
}

/// Columns of a period's totals, and their cells.
fn totals_columns(figures: &Figures, language: Language) -> Vec<Column> {
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

fn totals_cells(totals: Option<&Totals>, language: Language) -> Vec<Cell> {
    let figure = |name, unit, of: fn(&Totals) -> Option<f64>| Cell::figure(name, unit, totals.and_then(of), language);
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

fn by_account(figures: &Figures, language: Language) -> Table {
    let words = language.words();
    let mut columns = vec![name_column(words.account)];
    columns.extend(totals_columns(figures, language));
    let row = |account: &super::figures::AccountFigures| {
        let mut cells = vec![Cell::words("account", account.account.as_str())];
        cells.extend(totals_cells(account.totals.as_ref(), language));
        Row { class: "", cells }
    };
    let rows = figures.accounts.iter().map(row).collect();
    Table { id: "accounts", caption: words.by_account.to_owned(), is_sortable: true, columns, rows }
}

/// The class of a day's row.
fn day_class(day: &DayFigures) -> &'static str {
    if day.accounts == 0 { "absent" } else { "" }
}

fn days(figures: &Figures, language: Language) -> Table {
    let words = language.words();
    let mut columns = vec![name_column(words.date), name_column(words.weekday)];
    columns.extend(totals_columns(figures, language));
    let row = |day: &DayFigures| {
        let mut cells = vec![Cell::words("date", &day.date.to_string()), Cell::words("weekday", language.weekday(day.date))];
        cells.extend(totals_cells(day.totals.as_ref(), language));
        Row { class: day_class(day), cells }
    };
    Table { id: "days", caption: words.by_day.to_owned(), is_sortable: true, columns, rows: figures.days.iter().map(row).collect() }
}

fn unanswered_days(figures: &Figures, language: Language) -> Table {
    let words = language.words();
    let columns =
        vec![name_column(words.date), name_column(words.weekday), column(words.first), column(words.later), column(words.pending)];
    let row = |day: &DayFigures| {
        let count = |name, of: fn(&Totals) -> i64| Cell::figure(name, Unit::Count, day.totals.as_ref().map(|day| of(day) as f64), language);
        let cells = vec![
            Cell::words("date", &day.date.to_string()),
            Cell::words("weekday", language.weekday(day.date)),
            count("unanswered_first", |totals| totals.unanswered_first),
            count("unanswered_later", |totals| totals.unanswered_later),
            count("pending", |totals| totals.pending),
        ];
        Row { class: day_class(day), cells }
    };
    let rows = figures.days.iter().map(row).collect();
    Table { id: "unanswered-days", caption: words.unanswered_heading.to_owned(), is_sortable: true, columns, rows }
}

fn load_table(figures: &Figures, language: Language) -> Table {
    let words = language.words();
    let mut columns = vec![name_column(words.weekday)];
    columns.extend((0..24).map(|hour| Column { label: format!("{hour:02}"), title: "", is_number: true }));
    let row = |weekday: &super::figures::WeekdayLoad| {
        let name = words.weekdays.get(usize::from(weekday.weekday).saturating_sub(1)).copied().unwrap_or_default();
        let mean = |hour: usize| {
            let mean = weekday.messages_received_mean.as_ref().and_then(|hours| hours.get(hour)).copied();
            let value = match mean {
                None => value(Unit::Count, None, language),
                Some(mean) => Value { exact: mean.to_string(), shown: language.number(mean), title: String::new() },
            };
            Cell { name: "messages_received_mean", value, is_number: true, note: "" }
        };
        Row { class: "", cells: std::iter::once(Cell::words("weekday", name)).chain((0..24).map(mean)).collect() }
    };
    let rows = figures.load.iter().map(row).collect();
    Table { id: "load", caption: words.load.to_owned(), is_sortable: false, columns, rows }
}

fn workers(figures: &Figures, language: Language) -> Table {
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
            Cell::figure("customers", Unit::Count, worker.customers.map(|count| count as f64), language),
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
    Table { id: "workers", caption: words.workers_heading.to_owned(), is_sortable: true, columns, rows }
}

fn turn_row(turn: &UnansweredTurn, language: Language) -> TurnRow {
    let words = language.words();
    let texts = turn.texts.iter().flat_map(|texts| &texts.texts).map(|text| text.as_deref().map(visible)).collect();
    let more = turn.texts.as_ref().map_or(0, |texts| texts.more);
    TurnRow {
        account: turn.account.to_string(),
        asked_at: turn.asked_at.clone(),
        worker: visible(&turn.worker),
        customer: visible(&turn.customer),
        kind: if turn.is_first { words.first_kind } else { words.later_kind },
        messages: language.count(turn.customer_messages),
        texts,
        more: (more > 0).then(|| language.more_messages(more)),
    }
}

fn coverage(account: &AccountCoverage, language: Language) -> Coverage {
    let words = language.words();
    let mut months: Vec<Month> = Vec::new();
    for day in &account.days {
        let date = day.status.date.to_string();
        let (month, number) = date.rsplit_once('-').unwrap_or_default();
        let messages = format!("{} {}", language.count(day.status.messages as i64), words.messages);
        let title = format!("{date} {} · {} · {messages}", language.weekday(day.status.date), language.mark(day.mark));
        let shown = CalendarDay { number: number.to_owned(), symbol: day.mark.symbol(), class: class_of(day.mark), title };
        match months.last_mut() {
            Some(last) if last.name == month => last.days.push(shown),
            _ => months.push(Month { name: month.to_owned(), days: vec![shown] }),
        }
    }
    let row = |day: &CoveredDay| {
        let yes_or_no = |yes: bool| if yes { words.yes } else { words.no };
        let cells = vec![
            Cell::words("date", &day.status.date.to_string()),
            Cell::words("weekday", language.weekday(day.status.date)),
            Cell::words("state", language.mark(day.mark)),
            Cell::count("messages", day.status.messages as i64, language),
            Cell::count("rejects", day.status.rejects as i64, language),
            Cell::words("is_in_report", yes_or_no(day.is_in_report)),
        ];
        Row { class: if day.is_in_report { "" } else { "absent" }, cells }
    };
    let number = |label: &str| Column { is_number: true, ..name_column(label) };
    let columns = vec![
        name_column(words.date),
        name_column(words.weekday),
        name_column(words.state),
        number(words.messages),
        number(words.rejects),
        name_column(words.in_report),
    ];
    let caption = format!("{} · {}", words.coverage, account.account);
    let table = Table { id: "", caption, is_sortable: false, columns, rows: account.days.iter().map(row).collect() };
    Coverage { account: account.account.to_string(), months, table }
}

fn class_of(mark: Mark) -> &'static str {
    match mark {
        Mark::Final => "is-final",
        Mark::NotFinal => "is-not-final",
        Mark::Empty => "is-empty",
        Mark::WithRejects | Mark::Stale | Mark::Damaged => "is-wrong",
        Mark::Missing | Mark::Pruned => "is-missing",
    }
}

fn definitions(words: &Words) -> Vec<Defined> {
    vec![
        words.turns,
        words.answered,
        words.pending,
        words.first,
        words.later,
        words.service,
        words.response_p50,
        words.response_p90,
        words.response_mean,
        words.first_response,
        words.own_p50,
        words.customers,
        words.customers_served,
        words.messages_received,
        words.messages_sent,
        words.workers,
        words.takeovers,
        words.handed_off,
        words.max_concurrent,
        words.completed,
        words.missed,
        words.dropped,
        words.open,
        words.outreach,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_browsers_compute() {
        assert_eq!(hash("alert('Hello, world.');"), "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng=");
        assert_eq!([base64(b"f"), base64(b"fo"), base64(b"foo"), base64(b"")], ["Zg==", "Zm8=", "Zm9v", ""]);
    }

    #[test]
    fn what_hides_or_reorders_characters_is_seen() {
        assert_eq!(visible("a\0b\u{202e}c\u{7f}\r\n很😭"), "a␀b⟨U+202E⟩c␡␍\n很😭");
    }

    #[test]
    fn a_change_is_better_or_worse_by_what_the_figure_means() {
        let shown = |unit, good, both| {
            let change = change(unit, good, both, Language::En);
            format!("{} {} {} {}", change.symbol, change.shown, change.tone, change.before)
        };
        assert_eq!(shown(Unit::Seconds, Good::Less, (94.0, 60.0)), "▲ +34 s (+56.7%) worse before 1 min");
        assert_eq!(shown(Unit::Share, Good::More, (0.95, 0.9)), "▲ +5 points better before 90.0%");
        assert_eq!(shown(Unit::Count, Good::Neither, (1_000.0, 2_000.0)), "▼ −1,000 (−50.0%) neutral before 2,000");
        assert_eq!(shown(Unit::Count, Good::Less, (3.0, 0.0)), "▲ +3 worse before 0");
        assert_eq!(shown(Unit::Seconds, Good::Less, (26.01, 26.0)), "= unchanged neutral before 26 s");
    }
}
