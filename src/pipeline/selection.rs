//! Which days of those wanted are fetched, and what is done about the others.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use crate::calendar::{Day, DayRange};
use crate::lake::{Account, Footer, Lake, LakeError, Table};

/// The days that somebody wants, and what is to be done about those that are there.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub range: DayRange,
    /// Whether the days were named.
    pub is_named: bool,
    /// Fetch them all again.
    pub force: bool,
    /// How many of the last days up to `last_over` are fetched again where they are in the range
    /// and in the lake. They are replaced if they have changed.
    pub refresh: u16,
    /// Replace days that come back with fewer records than the lake has.
    pub allow_shrink: bool,
    /// The last day that is over. No later one can be fetched whole.
    pub last_over: Day,
}

impl Wanted {
    /// What becomes of a day that comes back with fewer records than the lake has.
    pub fn on_shrink(&self) -> OnShrink {
        match self {
            Self { allow_shrink: true, .. } => OnShrink::Replace,
            Self { is_named: true, .. } | Self { force: true, .. } => OnShrink::Fail,
            _ => OnShrink::Keep,
        }
    }
}

/// What becomes of a day that comes back with fewer records than the lake has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnShrink {
    /// It fails: somebody asked for that day.
    #[default]
    Fail,
    /// It is left as it is and reported: nobody has to act.
    Keep,
    /// It is replaced, and the records that WeChat no longer gives are discarded.
    Replace,
}

/// What becomes of the days. All in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those to fetch. Beside the wanted ones, those that a run which was killed has left half changed, wherever they are.
    pub days: Vec<Day>,
    /// Of those, the ones that are there and are replaced only if they have changed.
    pub refreshed: BTreeSet<Day>,
    /// Those that are there and left alone.
    pub skipped: Vec<Day>,
    /// Those that were pruned and stay away.
    pub pruned: Vec<Day>,
    /// What the messages that are there say of themselves. Nothing of those that are damaged.
    pub footers: BTreeMap<Day, Footer>,
}

/// The days that a run looks at: those that are wanted, and all of which the account has rejects or
/// a note of an earlier version of kefu, because a run that was killed may have left them half
/// changed.
fn seen_days(lake: &Lake, account: &Account, wanted: &Wanted) -> Result<BTreeSet<Day>, LakeError> {
    let notes = lake.older_notes()?.into_iter();
    let noted = notes.filter(|(_, name)| name == account.as_str()).map(|(day, _)| day);
    let others = lake.days(Table::Rejects, account)?.into_iter().chain(noted);
    let others = others.filter(|day| *day <= wanted.last_over);
    Ok(wanted.range.days().chain(others).collect())
}

impl Selection {
    /// # Errors
    /// When the lake cannot be read.
    pub fn of(lake: &Lake, account: &Account, wanted: Wanted) -> Result<Self, LakeError> {
        let seen = seen_days(lake, account, &wanted)?;
        let is_there = |day: &&Day| lake.has(&account.partition(Table::Messages, **day));
        let there: BTreeSet<Day> = seen.iter().filter(is_there).copied().collect();
        let look_at = |day: Day| -> Result<(Day, Option<Footer>, bool), LakeError> {
            let footer = match there.contains(&day) {
                true => match lake.footer(&account.partition(Table::Messages, day)) {
                    // A file that is damaged must not keep anyone from fetching it again.
                    Err(LakeError::Damaged { .. }) => None,
                    footer => Some(footer?),
                },
                false => None,
            };
            let is_unfinished = lake.is_unfinished(account, day, footer.as_ref())?;
            Ok((day, footer, is_unfinished))
        };
        let looked_at: Vec<_> =
            seen.into_par_iter().map(look_at).collect::<Result<_, LakeError>>()?;
        let (mut footers, mut unfinished) = (BTreeMap::new(), BTreeSet::new());
        for (day, footer, is_unfinished) in looked_at {
            unfinished.extend(is_unfinished.then_some(day));
            footers.extend(footer.map(|footer| (day, footer)));
        }
        let all: BTreeSet<Day> = wanted.range.days().chain(unfinished.iter().copied()).collect();
        let marked = lake.pruned(account)?;
        let was_pruned = |day: &Day| marked.includes(Table::Messages, *day) && !there.contains(day);
        // What was pruned comes back only when it is named, and not among days that are to be fetched again.
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

    /// The days that will be replaced by whatever comes. Whether a refreshed day will be is not known yet.
    pub fn replaced(&self) -> BTreeSet<Day> {
        self.days.iter().copied().filter(|day| !self.refreshed.contains(day)).collect()
    }
}
