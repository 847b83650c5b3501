//! Renders the figures as a page. Each value is shown as text for people, with its exact value.
//!
//! The template escapes everything that comes from data. Only the page's own style and script are
//! marked as safe. [`visible`] replaces characters that would hide or reorder others. The content
//! security policy of the page allows only this style and this script, by their hashes.

mod cards;
mod coverage;
mod tables;
mod turns;
mod view;

use askama::Template;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA256, digest};

use super::figures::Figures;
use super::language::Language;
use super::metric::{self, Place, Unit, Values, shown_in};
use super::registry::METRICS;
use super::warning::{Remedy, Warning};
use super::words::Words;
use crate::calendar::DayRange;
use crate::failure::{BugError, Failure};
use crate::pipeline::Mark;
use coverage::Coverage;
use tables::Table;
use turns::TurnRow;
use view::{View, views};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("page.js");

/// Renders the page of these figures.
///
/// # Errors
/// None that a user could cause.
pub fn page(figures: &Figures, language: Language) -> Result<String, Failure> {
    let page = Page::of(figures, language)
        .render()
        .map_err(|error| BugError(format!("the page cannot be made: {error}")))?;
    Ok(format!("{}\n", page.trim()))
}

/// The sentence at the top of the page.
pub fn headline(figures: &Figures, language: Language) -> String {
    language.headline(&figures.together, figures)
}

/// What to know before trusting the figures, as the page says it, each with the command that helps.
pub fn warnings(figures: &Figures, language: Language) -> Vec<(String, Option<String>)> {
    let warnings = coverage::warnings(figures, language).into_iter();
    warnings.map(|warning| (warning.text, warning.remedy.map(|remedy| remedy.command))).collect()
}

/// The most important metrics: label, value, and value of the days before.
pub fn summary(figures: &Figures, language: Language) -> Vec<[String; 3]> {
    let scope = &figures.together;
    let (now, before) = (Values::of(&scope.totals), Values::of(&scope.before.totals));
    let row = |metric: &metric::Metric| {
        let shown = |values: &Values| value(metric.unit, values.get(metric), language).shown;
        [metric.label(figures, language), shown(&now), shown(&before)]
    };
    shown_in(Place::Summary).map(row).collect()
}

#[derive(Template)]
#[template(path = "page.html", config = "src/report/page/askama.toml")]
struct Page {
    words: &'static Words,
    style: &'static str,
    script: &'static str,
    /// Hashes of style and script, for the content security policy.
    hashes: (String, String),
    period: String,
    accounts: String,
    timezone: String,
    left_out: Option<String>,
    has_target: bool,
    warnings: Vec<Noted>,
    views: Vec<View>,
    workers: Table,
    unanswered_turns: Vec<TurnRow>,
    /// Whether turns show their account, and whether they show their texts.
    turns_show: (bool, bool),
    not_listed: Option<String>,
    coverage: Vec<Coverage>,
    legend: Vec<(char, &'static str)>,
    definitions: Vec<metric::Words>,
    /// What the operator of kefu can do, by the number of the foot note.
    remedies: Vec<Remedy>,
    made_by: String,
}

/// A warning, with the number of its foot note.
struct Noted {
    warning: Warning,
    note: Option<usize>,
}

/// A value, exact and as people read it.
struct Value {
    exact: String,
    shown: String,
    /// The tooltip. Empty for none.
    title: String,
}

impl Page {
    fn of(figures: &Figures, language: Language) -> Self {
        let words = language.words();
        let of_several = figures.accounts.len() > 1;
        let with_texts = figures.unanswered.turns.iter().any(|turn| turn.texts.is_some());
        let symbols = |mark: Mark| (mark.symbol(), language.mark(mark));
        let (warnings, mut remedies) = noted(coverage::warnings(figures, language));
        remedies.extend(language.show_left_out(figures.first, &figures.left_out));
        if !figures.unanswered.turns.is_empty() && !with_texts {
            remedies.push(language.show_texts());
        }
        let has_hours = figures.has_business_hours();
        let is_defined = |metric: &&metric::Metric| has_hours || !metric.is_in(Place::Business);
        Self {
            words,
            style: STYLE,
            script: SCRIPT,
            hashes: (hash(STYLE), hash(SCRIPT)),
            period: language.range(DayRange { first: figures.first, last: figures.last }),
            accounts: language.names(
                &figures
                    .accounts
                    .iter()
                    .map(|account| account.account.as_str())
                    .collect::<Vec<_>>(),
            ),
            timezone: figures.timezone.clone(),
            left_out: (!figures.left_out.is_empty()).then(|| language.left_out(&figures.left_out)),
            has_target: figures.service_level_target.is_some(),
            warnings,
            views: views(figures, language),
            workers: tables::workers(figures, language),
            unanswered_turns: figures
                .unanswered
                .turns
                .iter()
                .map(|turn| turns::turn_row(turn, language))
                .collect(),
            turns_show: (of_several, with_texts),
            not_listed: (figures.unanswered.more > 0)
                .then(|| language.not_listed(figures.unanswered.more)),
            coverage: figures
                .coverage
                .iter()
                .map(|account| coverage::coverage(account, language))
                .collect(),
            legend: Mark::ALL.map(symbols).to_vec(),
            definitions: METRICS
                .iter()
                .filter(is_defined)
                .map(|metric| metric.words(language))
                .collect(),
            remedies,
            made_by: language.made_by(env!("CARGO_PKG_VERSION"), &figures.timezone),
        }
    }
}

/// Numbers the remedies of warnings. Equal remedies have one number.
fn noted(warnings: Vec<Warning>) -> (Vec<Noted>, Vec<Remedy>) {
    let mut remedies: Vec<Remedy> = Vec::new();
    let number = |warning: Warning| {
        let note = warning.remedy.as_ref().map(|remedy| {
            let known = remedies.iter().position(|known| known == remedy);
            known.unwrap_or_else(|| {
                remedies.push(remedy.clone());
                remedies.len() - 1
            })
        });
        Noted { warning, note: note.map(|place| place + 1) }
    };
    (warnings.into_iter().map(number).collect(), remedies)
}

/// The hash of a style or script for the content security policy.
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

/// Renders a name from data, and cuts a long one.
fn name(name: &str) -> String {
    const SHOWN: usize = 60;
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", visible(name.get(..end).unwrap_or_default())),
        None => visible(name),
    }
}

/// Renders a worker: the name that people see, if there is one, and the worker's id.
fn worker_label(worker: &str, nick: Option<&String>) -> String {
    match nick {
        Some(nick) => format!("{} ({})", name(nick), name(worker)),
        None => name(worker),
    }
}

/// Makes every character of a text from data visible. A control character becomes its picture. A
/// character that reorders or hides others becomes its number.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            '\0'..='\u{1f}' => shown.extend(char::from_u32(0x2400 + u32::from(character))),
            '\u{7f}' => shown.push('\u{2421}'),
            '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}' => {
                shown.push_str(&format!("⟨U+{:04X}⟩", u32::from(character)));
            }
            '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                shown.push_str(&format!("⟨U+{:04X}⟩", u32::from(character)));
            }
            _ => shown.push(character),
        }
    }
    shown
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

fn named(shown: &str) -> Value {
    Value { exact: name(shown), shown: name(shown), title: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_browsers_compute() {
        assert_eq!(
            hash("alert('Hello, world.');"),
            "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng="
        );
    }

    #[test]
    fn what_hides_or_reorders_characters_is_seen() {
        assert_eq!(visible("a\0b\u{202e}c\u{7f}\r\n很😭"), "a␀b⟨U+202E⟩c␡␍\n很😭");
    }
}
