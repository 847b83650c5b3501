//! Which days are in the lake, and what has to be known of them before the figures are believed.

use std::collections::BTreeMap;

use super::tables::{Cell, Column, Row, Table, name_column};
use crate::calendar::Day;
use crate::pipeline::{Freshness, Mark};
use crate::report::figures::{AccountCoverage, CoveredDay, Figures};
use crate::report::language::Language;

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

/// What has to be known first.
pub(super) fn warnings(figures: &Figures, language: Language) -> Vec<(char, String)> {
    let holds = |mark: Mark, day: &CoveredDay| match mark {
        Mark::Missing => !day.status.fetched && !day.is_in_report,
        Mark::Stale => {
            let is_absent = day.status.fetched && !day.is_in_report && day.mark != Mark::Damaged;
            matches!(day.mark, Mark::Stale | Mark::NotComputed)
                || day.status.metrics == Some(Freshness::LeftOver)
                || is_absent
        }
        Mark::WithRejects => day.status.rejects > 0,
        Mark::NotFinal => day.status.fetched && !day.status.is_final,
        mark => day.mark == mark,
    };
    let of_mark = |mark: Mark| {
        // Accounts with the same days are named together.
        let mut accounts: BTreeMap<Vec<Day>, Vec<&str>> = BTreeMap::new();
        for account in &figures.coverage {
            let days =
                account.days.iter().filter(|day| holds(mark, day)).map(|day| day.status.date);
            accounts.entry(days.collect()).or_default().push(account.account.as_str());
        }
        accounts.remove(&Vec::new());
        let days = accounts.iter().map(|(days, accounts)| {
            match accounts.len() == figures.coverage.len() {
                true => language.days(days),
                false => language.days_of(days, &language.names(accounts)),
            }
        });
        let days = language.in_a_row(&days.collect::<Vec<_>>());
        (!days.is_empty()).then(|| (mark.symbol(), language.warning(mark, &days)))
    };
    [Mark::Missing, Mark::Stale, Mark::Damaged, Mark::WithRejects, Mark::Pruned, Mark::NotFinal]
        .into_iter()
        .filter_map(of_mark)
        .collect()
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
    let table = Table {
        id: "",
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
