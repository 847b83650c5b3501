//! Data coverage: which days are in the lake, and warnings to read before trusting the figures.

use std::collections::{BTreeMap, BTreeSet};

use super::tables::{Cell, Column, Row, Table, name_column};
use crate::calendar::{Day, DayRange};
use crate::pipeline::Mark;
use crate::report::figures::{AccountCoverage, CoveredDay, Figures};
use crate::report::language::Language;
use crate::report::warning::Warning;

pub(super) struct Coverage {
    pub account: String,
    pub months: Vec<Month>,
    pub table: Table,
}

pub(super) struct Month {
    pub name: String,
    pub days: Vec<CalendarDay>,
}

pub(super) struct CalendarDay {
    pub number: String,
    pub symbol: char,
    pub class: &'static str,
    pub title: String,
}

/// The warnings to read before trusting the figures.
pub(super) fn warnings(figures: &Figures, language: Language) -> Vec<Warning> {
    let is_out_of_date = |day: &CoveredDay| !day.status.stale_because.is_empty();
    let holds = |mark: Mark, day: &CoveredDay| match mark {
        Mark::Missing => !day.status.fetched && !day.is_in_report,
        Mark::NotComputed => {
            let is_absent = day.status.fetched && !day.is_in_report && day.mark != Mark::Damaged;
            !is_out_of_date(day) && (day.mark == Mark::NotComputed || is_absent)
        }
        Mark::WithRejects => day.status.rejects > 0,
        Mark::NotFinal => day.status.fetched && !day.status.is_final,
        mark => day.mark == mark,
    };
    let all_days = || figures.coverage.iter().flat_map(|account| &account.days);
    let of_mark = |mark: Mark| {
        let days = || all_days().filter(|day| holds(mark, day));
        days().next()?;
        // Only metrics are left of a day that retention deleted. Fetching it would replace them by
        // those of a day without its neighbours.
        let fetched_again = || days().filter(|day| !day.status.pruned).map(|day| day.status.date);
        let range = fetched_again().min().zip(fetched_again().max());
        let range = range.map(|(first, last)| DayRange { first, last });
        let shown = days_with(figures, language, |day| holds(mark, day));
        language.warning(mark, &shown, range)
    };
    let because: BTreeSet<_> =
        all_days().filter(|day| is_out_of_date(day)).map(|day| &day.status.stale_because).collect();
    let out_of_date = because.into_iter().map(|because| {
        let days = days_with(figures, language, |day| day.status.stale_because == *because);
        language.out_of_date(because, &days)
    });
    let mut warnings: Vec<_> = of_mark(Mark::Missing).into_iter().chain(out_of_date).collect();
    let others =
        [Mark::NotComputed, Mark::Damaged, Mark::WithRejects, Mark::Pruned, Mark::NotFinal];
    warnings.extend(others.into_iter().filter_map(of_mark));
    warnings
}

/// Renders the days with a property. Accounts are named unless all of them have the same days.
fn days_with(figures: &Figures, language: Language, holds: impl Fn(&CoveredDay) -> bool) -> String {
    // Group accounts with the same days, to name them together.
    let mut accounts: BTreeMap<Vec<Day>, Vec<&str>> = BTreeMap::new();
    for account in &figures.coverage {
        let days = account.days.iter().filter(|day| holds(day)).map(|day| day.status.date);
        accounts.entry(days.collect()).or_default().push(account.account.as_str());
    }
    accounts.remove(&Vec::new());
    let days =
        accounts.iter().map(|(days, accounts)| match accounts.len() == figures.coverage.len() {
            true => language.days(days),
            false => language.days_of(days, &language.names(accounts)),
        });
    language.in_a_row(&days.collect::<Vec<_>>())
}

pub(super) fn coverage(account: &AccountCoverage, language: Language) -> Coverage {
    let words = language.words();
    let mut months: Vec<Month> = Vec::new();
    for day in &account.days {
        let date = day.status.date.to_string();
        let (month, number) = date.rsplit_once('-').unwrap_or_default();
        let messages = format!("{} {}", language.count(day.status.messages as i64), words.messages);
        let title = format!(
            "{date} {} · {} · {messages}",
            language.weekday(day.status.date),
            language.mark(day.mark)
        );
        let shown = CalendarDay {
            number: number.to_owned(),
            symbol: day.mark.symbol(),
            class: class_of(day.mark),
            title,
        };
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
        let class = if day.is_in_report { "" } else { "absent" };
        Row { class, account: String::new(), cells }
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
    let table = Table {
        id: String::new(),
        caption,
        is_sortable: false,
        columns,
        rows: account.days.iter().map(row).collect(),
    };
    Coverage { account: account.account.to_string(), months, table }
}

pub(super) fn class_of(mark: Mark) -> &'static str {
    match mark {
        Mark::Final => "is-final",
        Mark::NotFinal => "is-not-final",
        Mark::Empty => "is-empty",
        Mark::WithRejects | Mark::Stale | Mark::NotComputed | Mark::Damaged => "is-wrong",
        Mark::Missing | Mark::Pruned => "is-missing",
    }
}
