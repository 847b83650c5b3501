//! Selects the days to fetch from the wanted days, and decides what happens to the others.

use std::collections::{BTreeMap, BTreeSet};

use crate::calendar::{Day, DayRange};
use crate::lake::{Account, Footer, Lake, LakeError, Table};
use crate::threads;

/// The wanted days, and what to do with those that are in the lake.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub range: DayRange,
    /// Whether the user named the days.
    pub is_named: bool,
    /// Whether to re-fetch all of them.
    pub force: bool,
    /// Number of days up to `last_over` to re-fetch, if they are in the range and in the lake. They
    /// are replaced if they have changed.
    pub refresh: u16,
    /// Whether to replace days that come back with fewer records than the lake has.
    pub allow_shrink: bool,
    /// The last day that is over. Later days cannot be fetched completely.
    pub last_over: Day,
}

impl Wanted {
    /// Returns what to do with a day that comes back with fewer records than the lake has.
    pub fn on_shrink(&self) -> OnShrink {
        match self {
            Self { allow_shrink: true, .. } => OnShrink::Replace,
            Self { is_named: true, .. } | Self { force: true, .. } => OnShrink::Fail,
            _ => OnShrink::Keep,
        }
    }
}

/// What to do with a day that comes back with fewer records than the lake has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnShrink {
    /// Fail, because the user asked for that day.
    #[default]
    Fail,
    /// Keep the day unchanged and report it. The user need not act.
    Keep,
    /// Replace the day and discard the records that WeChat no longer gives.
    Replace,
}

/// What to do with each day. All lists are in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Days to fetch: wanted days, and all days that a killed run left half changed.
    pub days: Vec<Day>,
    /// Days of `days` that are in the lake, and are replaced only if they have changed.
    pub refreshed: BTreeSet<Day>,
    /// Days in the lake that are not fetched again.
    pub skipped: Vec<Day>,
    /// Wanted days that retention deleted and that are not fetched.
    pub pruned: Vec<Day>,
    /// Footers of the messages in the lake, without damaged files.
    pub footers: BTreeMap<Day, Footer>,
}

/// Returns the wanted days, and all days of the account with rejects or with a note of an earlier
/// version of kefu. A killed run may have left days of the second kind half changed.
fn seen_days(lake: &Lake, account: &Account, wanted: &Wanted) -> Result<BTreeSet<Day>, LakeError> {
    let notes = lake.older_notes()?.into_iter();
    let noted = notes.filter(|(_, name)| name == account.as_str()).map(|(day, _)| day);
    let others = lake.days(Table::Rejects, account)?.into_iter().chain(noted);
    let others = others.filter(|day| *day <= wanted.last_over);
    Ok(wanted.range.days().chain(others).collect())
}

impl Selection {
    /// Selects the days from the current state of the lake.
    ///
    /// # Errors
    /// Fails when the lake cannot be read.
    pub fn of(lake: &Lake, account: &Account, wanted: Wanted) -> Result<Self, LakeError> {
        let seen = seen_days(lake, account, &wanted)?;
        lake.look_ahead_at_account(account, seen.iter().copied())?;
        let there = lake.days_among(Table::Messages, account, seen.iter().copied())?;
        lake.look_ahead(seen.iter().map(|day| account.partition(Table::Rejects, *day)))?;
        let look_at = |day: Day| -> Result<(Day, Option<Footer>, bool), LakeError> {
            let footer = match lake.see_footer(&account.partition(Table::Messages, day))?.1 {
                // A damaged file must not prevent a new fetch of the day.
                Err(LakeError::Damaged { .. }) => None,
                footer => footer?,
            };
            let is_unfinished = lake.is_unfinished(account, day, footer.as_ref())?;
            Ok((day, footer, is_unfinished))
        };
        let looked_at = threads::map(seen.into_iter().collect(), true, look_at)?;
        let (mut footers, mut unfinished) = (BTreeMap::new(), BTreeSet::new());
        for (day, footer, is_unfinished) in looked_at {
            unfinished.extend(is_unfinished.then_some(day));
            footers.extend(footer.map(|footer| (day, footer)));
        }
        let all: BTreeSet<Day> = wanted.range.days().chain(unfinished.iter().copied()).collect();
        let marked = lake.pruned(account)?;
        let was_pruned = |day: &Day| marked.includes(Table::Messages, *day) && !there.contains(day);
        // Days that retention deleted are fetched only when the user names them, and never with
        // `force`.
        let stays_away = |day: &Day| {
            was_pruned(day) && (!wanted.is_named || wanted.force || !wanted.range.contains(*day))
        };
        let is_whole = |day: &Day| there.contains(day) && !unfinished.contains(day);
        let is_refreshed =
            |day: &Day| is_whole(day) && *day > wanted.last_over.plus(-i64::from(wanted.refresh));

        let (pruned, all): (Vec<Day>, Vec<Day>) = all.into_iter().partition(stays_away);
        let pruned = pruned.into_iter().filter(|day| wanted.range.contains(*day)).collect();
        let (skipped, days): (Vec<Day>, Vec<Day>) =
            all.into_iter().partition(|day| is_whole(day) && !wanted.force && !is_refreshed(day));
        let refreshed =
            days.iter().copied().filter(|day| !wanted.force && is_refreshed(day)).collect();
        Ok(Self { days, refreshed, skipped, pruned, footers })
    }
}
