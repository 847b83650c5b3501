//! Whether an account's days can be continued with the privacy settings of now: one customer must not become two.
//!
//! Messages can be fetched again, and what was computed of them is computed again then. Response
//! pairs and sessions of messages that are gone cannot, and keep the openids that they were written
//! with.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::{Selection, dependents};
use crate::calendar::{Day, DayRange};
use crate::failure::{Class, Classified};
use crate::fetch::Privacy;
use crate::lake::{Account, Lake, LakeError, Table};
use crate::metrics::{DAYS_AFTER, DAYS_BEFORE};

/// Why an account's days cannot be continued. `lake` and `asked` are what footers say: of all personal data in the case of messages, of openids alone in the
/// case of metrics.
#[derive(Debug, thiserror::Error)]
pub enum ContinuityError {
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(
        "{} of the lake were fetched with other privacy settings ({lake}) than there are now ({asked})",
        listed(runs)
    )]
    OtherMessages { runs: Vec<DayRange>, last_kept: Option<Day>, lake: String, asked: String },
    #[error(
        "the response pairs and sessions up to {last_kept} have openids of other privacy settings (openid={lake}) than there are now \
         (openid={asked}), and cannot be computed again, because messages that they were made of are gone"
    )]
    OtherMetrics { last_kept: Day, lake: String, asked: String },
}

impl Classified for ContinuityError {
    fn class(&self) -> Class {
        match self {
            Self::Lake(error) => error.class(),
            Self::OtherMessages { .. } | Self::OtherMetrics { .. } => Class::Settings,
        }
    }

    fn hint(&self) -> Option<String> {
        let prune = |last_kept: Day| {
            let tables: Vec<String> =
                Table::with_openids().map(|table| format!("--table {table}")).collect();
            let tables = tables.join(" ");
            let before = last_kept.plus(1);
            format!(
                "`kefu prune --before {before} {tables}`, which lists them without --yes and takes those of all accounts before that day"
            )
        };
        let fetch = |runs: &[DayRange]| {
            let (first, last) = (runs.first()?.first, runs.last()?.last);
            let command = format!("`kefu run --from {first} --to {last} --force`");
            Some(format!(
                "fetch those days again, all in one run, with {command}, which leaves pruned days and days of which WeChat gives fewer records now as they are \
                 (--account picks one of several accounts)"
            ))
        };
        let remedy = match self {
            Self::Lake(error) => return error.hint(),
            Self::OtherMessages { runs, last_kept: None, .. } => fetch(runs)?,
            Self::OtherMessages { runs, last_kept: Some(day), .. } => {
                format!(
                    "delete the response pairs and sessions that cannot be computed again, with {}, and then {}",
                    prune(*day),
                    fetch(runs)?
                )
            }
            Self::OtherMetrics { last_kept, .. } => {
                format!("delete those with {}", prune(*last_kept))
            }
        };
        Some(format!("keep [privacy] as it was; or {remedy}; or begin another lake with --lake"))
    }
}

fn listed(runs: &[DayRange]) -> String {
    runs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The days of messages, of those `among` the given, whose personal data was treated otherwise than it would be now, and how.
fn others(
    lake: &Lake,
    account: &Account,
    privacy: &Privacy,
    among: BTreeSet<Day>,
) -> Vec<(Day, String)> {
    let asked = privacy.to_string();
    // A file that is damaged must not keep anyone from fetching it again.
    let treated = |day: Day| {
        Some((
            day,
            lake.footer(&account.partition(Table::Messages, day)).ok()?.privacy().to_owned(),
        ))
    };
    among.into_par_iter().filter_map(treated).filter(|(_, lake)| *lake != asked).collect()
}

/// Checks that the personal data in the messages of days was treated as it would be now.
///
/// # Errors
/// [`ContinuityError::OtherMessages`] when it was not.
pub fn require_privacy_of(
    lake: &Lake,
    account: &Account,
    privacy: &Privacy,
    days: DayRange,
) -> Result<(), ContinuityError> {
    let fetched = lake
        .days(Table::Messages, account)?
        .into_iter()
        .filter(|day| days.contains(*day))
        .collect();
    let others = others(lake, account, privacy, fetched);
    let Some((_, lake)) = others.last().cloned() else { return Ok(()) };
    let runs = DayRange::runs(others.into_iter().map(|(day, _)| day));
    Err(ContinuityError::OtherMessages { runs, last_kept: None, lake, asked: privacy.to_string() })
}

/// Checks that the personal data of an account's days was treated as it would be now, but for the
/// days that are about to be replaced. Looks at the days of a run, at the first and the last day of
/// messages, and at the newest metrics that retention has left without messages. Where one of these
/// differs, all days are looked at, so that the error names those that have to be fetched again.
///
/// # Errors
/// Those of [`require_privacy`].
pub fn require_privacy_near(
    lake: &Lake,
    account: &Account,
    privacy: &Privacy,
    range: DayRange,
    selection: &Selection,
) -> Result<(), ContinuityError> {
    let replaced = selection.replaced();
    let asked = privacy.to_string();
    let of_run = selection.footers.iter().filter(|(day, _)| !replaced.contains(day));
    let mut is_continued = of_run.into_iter().all(|(_, footer)| footer.privacy() == asked);
    if is_continued {
        let ends = lake.first_and_last(Table::Messages, account)?;
        let ends = ends.into_iter().flat_map(|days| [days.first, days.last]);
        let is_unread = |day: &Day| !replaced.contains(day) && !selection.footers.contains_key(day);
        let others = others(lake, account, privacy, ends.filter(is_unread).collect());
        is_continued = others.is_empty() && !has_other_openids(lake, account, privacy, range)?;
    }
    match is_continued {
        true => Ok(()),
        false => require_privacy(lake, account, privacy, &replaced),
    }
}

/// Whether response pairs or sessions near a run have openids of other settings, among those that
/// may be without messages: of the run's own days, and around the days that retention deleted last.
fn has_other_openids(
    lake: &Lake,
    account: &Account,
    privacy: &Privacy,
    range: DayRange,
) -> Result<bool, LakeError> {
    let asked = privacy.openids.to_string();
    let first_kept = lake.pruned(account)?.first_kept(Table::Messages);
    let is_there = |table: Table, day: Day| lake.has(&account.partition(table, day));
    let mut left: Vec<(Table, Day)> = Vec::new();
    for table in Table::with_openids() {
        let days = dependents(range.days()).into_iter();
        let days = days.filter(|day| is_there(table, *day) && !is_there(Table::Messages, *day));
        left.extend(days.map(|day| (table, day)));
    }
    // What retention has left was computed with the same settings: one file tells.
    if let Some(first_kept) = first_kept {
        for table in Table::with_openids() {
            let last = match lake.last_day_before(table, account, first_kept)? {
                Some(day) => Some(day),
                None => (0..DAYS_BEFORE)
                    .map(|step| first_kept.plus(step))
                    .find(|day| is_there(table, *day)),
            };
            if let Some(day) = last {
                left.push((table, day));
                break;
            }
        }
    }
    let is_gone = |day: Day| !is_there(Table::Messages, day);
    Ok(left.into_iter().any(|(table, day)| {
        lake.footer(&account.partition(table, day)).is_ok_and(|footer| {
            footer.openids() != asked && (is_gone(day) || footer.inputs().into_keys().any(is_gone))
        })
    }))
}

/// Checks that the personal data of all of an account's days was treated as it would be now, but for the days that are about to be `replaced`.
///
/// # Errors
/// [`ContinuityError::OtherMessages`] and [`ContinuityError::OtherMetrics`] when it was not.
pub fn require_privacy(
    lake: &Lake,
    account: &Account,
    privacy: &Privacy,
    replaced: &BTreeSet<Day>,
) -> Result<(), ContinuityError> {
    let fetched = lake.days(Table::Messages, account)?;
    let last_kept = kept_with_other_openids(lake, account, privacy, &fetched)?;
    let asked = privacy.to_string();
    let others = others(lake, account, privacy, fetched);
    match (others.iter().rfind(|(day, _)| !replaced.contains(day)), last_kept) {
        (Some((_, lake)), last_kept) => {
            // Those that were to be replaced, too: all of them have to be, in one run.
            let runs = DayRange::runs(others.iter().map(|(day, _)| *day));
            Err(ContinuityError::OtherMessages {
                runs,
                last_kept: last_kept.map(|(day, _)| day),
                lake: lake.clone(),
                asked,
            })
        }
        (None, Some((last_kept, lake))) => Err(ContinuityError::OtherMetrics {
            last_kept,
            lake,
            asked: privacy.openids.to_string(),
        }),
        (None, None) => Ok(()),
    }
}

/// The last day whose response pairs or sessions have openids of other settings and cannot be computed again, with those settings.
fn kept_with_other_openids(
    lake: &Lake,
    account: &Account,
    privacy: &Privacy,
    fetched: &BTreeSet<Day>,
) -> Result<Option<(Day, String)>, LakeError> {
    let asked = privacy.openids.to_string();
    // Whether they were pruned or lost.
    let is_gone = |day: Day| !fetched.contains(&day);
    // Of most days, the names of the folders tell enough.
    let may_be_kept = |day: &Day| (-DAYS_BEFORE..=DAYS_AFTER).any(|step| is_gone(day.plus(step)));
    let mut last = None;
    for table in Table::with_openids() {
        let days: Vec<Day> = lake.days(table, account)?.into_iter().filter(may_be_kept).collect();
        let other = |day: Day| -> Option<(Day, String)> {
            let footer = lake.footer(&account.partition(table, day)).ok()?;
            let is_kept = is_gone(day) || footer.inputs().into_keys().any(is_gone);
            (is_kept && footer.openids() != asked).then(|| (day, footer.openids().to_owned()))
        };
        last = last.max(days.into_par_iter().filter_map(other).max());
    }
    Ok(last)
}
