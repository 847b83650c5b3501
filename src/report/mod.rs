//! The report: figures of some days, as one self-contained HTML file or as a workbook.
//!
//! ```text
//! lake ── reading ── facts of each account's days ── figures ─┬─ page (page.html, words, charts)
//!                                                          └─ workbook
//! ```
//!
//! The report aggregates the lake's tables and computes no metrics of its own. The metrics stage
//! has decided what a turn is and who answered it.
//!
//! The report reads no clock, so the same lake gives the same page. It changes nothing in the lake.
//! The template escapes everything that comes from data; see [`page`].

mod chart;
mod columns;
mod facts;
mod figures;
mod headline;
mod ids;
mod language;
mod load_map;
mod metric;
mod page;
mod reading;
mod registry;
mod scale;
mod scope;
mod statistics;
mod totals;
mod unanswered;
mod warning;
mod words;
mod workbook;

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

pub use figures::{AccountCoverage, Figures, NothingToCompare, Totals};
pub use language::Language;
pub use page::{headline, page, summary, warnings};
pub use workbook::workbook;

use crate::calendar::{Day, DayRange, Zone};
use crate::failure::{Classified, ErrorKind, Failure};
use crate::lake::{Account, Lake, Table};
use crate::metrics::Rules;
use crate::model::cancel::Cancel;
use crate::pipeline::{DayStatus, Freshness, MetricsJob, status};
use crate::telemetry::Progress;
use facts::DayFacts;
use figures::{AccountFigures, CoveredDay};
use ids::IdCounter;
use reading::Reader;
use scope::{Days, pooled};
use unanswered::NextTurns;

/// Number of accounts up to which a reader of the page can pick one. Each has its own charts in
/// the page.
const PICKABLE_ACCOUNTS: usize = 20;

/// What to report, and how.
#[derive(Clone, Debug)]
pub struct ReportJob {
    pub lake: Lake,
    /// In order, without duplicates.
    pub accounts: Vec<Account>,
    pub zone: Zone,
    pub rules: Rules,
    pub period: Period,
    /// 30, 60, 180 or 300.
    pub service_level_seconds: i64,
    /// The wanted service level, from 0 to 1.
    pub service_level_target: Option<f64>,
    /// Whether to show the texts that customers wrote.
    pub with_text: bool,
    /// Whether to show the names of workers.
    pub with_names: bool,
}

/// The days of a report.
#[derive(Clone, Debug)]
pub struct Period {
    pub days: DayRange,
    /// Later days in the lake that are not reported because they are not final yet.
    pub left_out: Vec<Day>,
}

impl Period {
    /// A period of requested days. They may be final or not.
    pub fn named(days: DayRange) -> Self {
        Self { days, left_out: Vec::new() }
    }

    /// The last `days` days. The period ends at the last day that is final in every account that
    /// has it. If no day is final, it ends at the last day in the lake.
    ///
    /// # Errors
    /// Fails when there are no days.
    pub fn last(lake: &Lake, accounts: &[Account], days: u16) -> Result<Self, Failure> {
        let there = days_there(lake, accounts)?;
        let mut computed: BTreeMap<Day, Vec<&Account>> = BTreeMap::new();
        for account in accounts {
            for day in lake.days(Table::AccountDaily, account)? {
                computed.entry(day).or_default().push(account);
            }
        }
        // A damaged file counts as final here: it must fail the report, not shift the period.
        let is_final_of = |account: &&Account, day: Day| {
            lake.footer(&account.partition(Table::AccountDaily, day))
                .map_or(true, |footer| footer.is_final())
        };
        let is_final = |(day, accounts): &(&Day, &Vec<&Account>)| {
            accounts.iter().all(|account| is_final_of(account, **day))
        };
        let last = computed.iter().rev().find(is_final).map_or(there.last, |(day, _)| *day);
        let first = last.plus(1 - i64::from(days)).max(there.first);
        let left_out = computed.into_keys().filter(|day| *day > last).collect();
        Ok(Self { days: DayRange { first, last }, left_out })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("nothing was fetched yet")]
    NothingFetched,
    #[error("no day of {asked} was fetched; the lake has {there}")]
    NoSuchDays { asked: DayRange, there: DayRange },
    #[error("the days of {asked} were fetched, and their metrics are missing")]
    NoMetrics { asked: DayRange },
}

impl Classified for ReportError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NothingFetched => ErrorKind::Settings,
            Self::NoSuchDays { .. } | Self::NoMetrics { .. } => ErrorKind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NothingFetched => "`kefu run` fetches the last days, and `kefu demo` generated ones; --lake names another lake".into(),
            Self::NoSuchDays { asked: DayRange { first, last }, .. } => {
                format!("name days that are there, or fetch these with `kefu run --from {first} --to {last}`")
            }
            Self::NoMetrics { .. } => "`kefu metrics` computes them, unless `kefu prune` has deleted them".into(),
        })
    }
}

/// The accounts to report on: the named ones, or all accounts of the lake.
///
/// # Errors
/// Fails when the lake has no accounts, or lacks a named one.
pub fn accounts(lake: &Lake, named: &[String]) -> Result<Vec<Account>, Failure> {
    if lake.accounts()?.is_empty() {
        return Err(ReportError::NothingFetched.into());
    }
    Ok(lake.accounts_named(named)?)
}

/// The range from the first to the last day of these accounts in the lake.
///
/// # Errors
/// Fails when there is no day.
pub fn days_there(lake: &Lake, accounts: &[Account]) -> Result<DayRange, Failure> {
    let mut days = BTreeSet::new();
    for account in accounts {
        days.extend(lake.days(Table::Messages, account)?);
        // Include days whose messages were deleted.
        days.extend(lake.days(Table::AccountDaily, account)?);
    }
    let range =
        days.first().zip(days.last()).map(|(first, last)| DayRange { first: *first, last: *last });
    Ok(range.ok_or(ReportError::NothingFetched)?)
}

/// The days of an account: the coverage of each, and the facts of days that have metrics.
#[derive(Debug)]
struct AccountDays {
    account: Account,
    covered: Vec<CoveredDay>,
    facts: Vec<DayFacts>,
}

/// Computes the figures of a report. Adds to the progress each day of each account twice: when its
/// status is known, and when it is read.
///
/// # Errors
/// Fails when there is nothing to report, or the lake cannot be read.
pub fn gather(job: &ReportJob, progress: &Progress) -> Result<Figures, Failure> {
    let there = days_there(&job.lake, &job.accounts)?;
    let (period, limit) = (job.period.days, job.service_level_seconds);
    let counter = IdCounter::default();
    let mut next_turns = NextTurns::default();
    let (mut now, mut before) = (Vec::new(), Vec::new());
    for account in &job.accounts {
        let reader = Reader::new(&job.lake, account, limit, &counter);
        let (days_before, days) = read(job, account, &reader, progress)?;
        next_turns.add(&reader, period, &days)?;
        before.push(days_before);
        now.push(days);
    }
    require_days(period, there, &now)?;
    let days = Days { period, now: now.iter().collect(), before: before.iter().collect() };
    let of_account = |(place, account): (usize, &AccountDays)| {
        let alone =
            Days { period, now: vec![account], before: before.get(place).into_iter().collect() };
        let is_pickable = (2..=PICKABLE_ACCOUNTS).contains(&now.len());
        let scope = if is_pickable { scope::scope(&alone, limit) } else { None };
        let totals = match &scope {
            Some(scope) => Some(scope.totals.clone()),
            None => Totals::of(&pooled(&alone.now), limit),
        };
        AccountFigures { account: account.account.clone(), totals, scope }
    };
    let facts = pooled(&days.now);
    let (together, (workers, unanswered)) = rayon::join(
        || scope::scope(&days, limit),
        || rayon::join(|| scope::workers(&facts), || unanswered::list(job, &facts, next_turns)),
    );
    // At least one day is in the report, so there are totals.
    let together = together.ok_or(ReportError::NoMetrics { asked: period })?;
    let mut figures = Figures {
        timezone: job.zone.name().to_owned(),
        first: period.first,
        last: period.last,
        left_out: job.period.left_out.clone(),
        service_level_seconds: limit,
        service_level_target: job.service_level_target,
        together,
        accounts: now.par_iter().enumerate().map(of_account).collect(),
        workers,
        unanswered: unanswered?,
        coverage: now
            .into_iter()
            .map(|account| AccountCoverage { account: account.account, days: account.covered })
            .collect(),
    };
    add_names(&mut figures, job)?;
    Ok(figures)
}

/// Adds the latest names of the workers, if the settings allow it.
fn add_names(figures: &mut Figures, job: &ReportJob) -> Result<(), Failure> {
    if !job.with_names {
        return Ok(());
    }
    let names = job.lake.worker_names(&job.accounts)?;
    let name = |account: &Account, worker: &String| names.get(account)?.get(worker).cloned();
    for worker in &mut figures.workers {
        worker.name = name(&worker.account, &worker.worker);
    }
    for turn in &mut figures.unanswered.turns {
        turn.name = name(&turn.account, &turn.worker);
    }
    Ok(())
}

fn require_days(asked: DayRange, there: DayRange, days: &[AccountDays]) -> Result<(), ReportError> {
    let has_any = |wanted: fn(&CoveredDay) -> bool| {
        days.iter().flat_map(|account| &account.covered).any(wanted)
    };
    if has_any(|day| day.is_in_report) {
        Ok(())
    } else if has_any(|day| day.status.fetched) {
        Err(ReportError::NoMetrics { asked })
    } else {
        Err(ReportError::NoSuchDays { asked, there })
    }
}

/// Reads the days before the period, and those of the period.
fn read(
    job: &ReportJob,
    account: &Account,
    reader: &Reader<'_>,
    progress: &Progress,
) -> Result<(AccountDays, AccountDays), Failure> {
    let period = job.period.days;
    let metrics = MetricsJob {
        lake: job.lake.clone(),
        account: account.clone(),
        zone: job.zone.clone(),
        rules: job.rules.clone(),
    };
    let both = DayRange { first: period.before().first, last: period.last };
    // A report changes nothing, so a signal may end the process.
    let statuses = status(&metrics, Some(both), progress, &Cancel::default())?;
    progress.expect(statuses.len());
    let read = |day: &DayStatus| {
        let has_messages = day.fetched && day.metrics != Some(Freshness::Damaged);
        let facts = reader.day(day.date, has_messages);
        progress.advance(&day.date.to_string());
        facts
    };
    let read = || statuses.par_iter().map(read).collect::<Result<Vec<_>, _>>();
    let facts: Vec<Option<DayFacts>> = job.lake.reading(read)??;
    let empty = || AccountDays { account: account.clone(), covered: Vec::new(), facts: Vec::new() };
    let (mut before, mut now) = (empty(), empty());
    for (status, facts) in statuses.into_iter().zip(facts) {
        let days = if status.date < period.first { &mut before } else { &mut now };
        let (mark, is_in_report) = (status.mark(), facts.is_some());
        days.covered.push(CoveredDay { mark, is_in_report, status });
        days.facts.extend(facts);
    }
    Ok((before, now))
}
