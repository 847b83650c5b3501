//! The part of the page that a reader can show for all accounts, or for one.

use super::cards::{Card, Cards, Outcome, Share};
use super::tables::{self, Table};
use crate::calendar::DayRange;
use crate::report::chart::{self, Scene};
use crate::report::figures::{DayFigures, Figures, Scope};
use crate::report::language::Language;
use crate::report::load_map;
use crate::report::metric::Place;

pub(super) struct View {
    /// The account. Empty for all accounts together.
    pub account: String,
    /// Ends the ids of the view's elements. Empty for the first view.
    pub suffix: String,
    pub headline: String,
    pub comparison: String,
    pub hero: Vec<Card>,
    pub cards: Vec<Card>,
    /// Empty without a schedule.
    pub business: Vec<Card>,
    pub outcomes: Vec<Outcome>,
    pub outcome_bar: Vec<Share>,
    pub by_account: Option<Table>,
    /// Whether there are days that are not final, and days that are missing.
    pub hatched: (bool, bool),
    pub response_times: Vec<Scene>,
    pub days: Table,
    pub load: Vec<Scene>,
    pub load_table: Table,
    pub load_note: String,
    pub unanswered: Vec<Scene>,
}

/// The view of all accounts together, then those of accounts that a reader can pick.
pub(super) fn views(figures: &Figures, language: Language) -> Vec<View> {
    let together = view(figures, &figures.together, ("", 0), language);
    let of_accounts = figures.accounts.iter().zip(1..).filter_map(|(account, number)| {
        let scope = account.scope.as_ref()?;
        Some(view(figures, scope, (account.account.as_str(), number), language))
    });
    std::iter::once(together).chain(of_accounts).collect()
}

fn view(
    figures: &Figures,
    scope: &Scope,
    (account, number): (&str, usize),
    language: Language,
) -> View {
    let words = language.words();
    let is_first = number == 0;
    let suffix = if is_first { String::new() } else { format!("-{number}") };
    let cards = Cards { figures, scope, language };
    let before = DayRange { first: scope.before.first, last: scope.before.last };
    let business = match scope.totals.asked_in_hours {
        Some(_) => cards.of(Place::Business),
        None => Vec::new(),
    };
    View {
        account: account.to_owned(),
        headline: language.headline(scope, figures),
        comparison: match scope.before.missing {
            Some(missing) => {
                language.nothing_to_compare(missing, before, scope.before.volume.is_some())
            }
            None => format!("{} {}", words.compared_with, language.range(before)),
        },
        hero: cards.of(Place::Hero),
        cards: cards.of(Place::Cards),
        business,
        outcomes: cards.outcomes(),
        outcome_bar: cards.outcome_bar(),
        by_account: (is_first && figures.accounts.len() > 1)
            .then(|| tables::by_account(figures, language)),
        hatched: (
            scope.days.iter().any(DayFigures::is_provisional),
            scope.days.iter().any(|day| day.accounts < scope.accounts),
        ),
        response_times: chart::response_times(scope, figures.service_level_target, language),
        days: tables::days(figures, scope, &suffix, language),
        load: load_map::load(scope, language),
        load_table: tables::load_table(scope, &suffix, language),
        load_note: language.load_note(&figures.timezone, scope.accounts > 1),
        unanswered: chart::unanswered(scope, language),
        suffix,
    }
}
