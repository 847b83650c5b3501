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
mod figures;
mod language;
mod load_map;
mod metric;
mod page;
mod reading;
mod registry;
mod scale;
mod statistics;
mod unanswered;
mod words;
mod workbook;

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

pub use figures::{AccountCoverage, Figures, NothingToCompare, Totals};
pub use language::Language;
pub use page::{page, summary};
pub use workbook::workbook;

use crate::calendar::{Day, DayRange, Zone};
use crate::failure::{Class, Classified, Failure};
use crate::lake::{Account, Lake, LakeError, Table};
use crate::metrics::Rules;
use crate::pipeline::{Freshness, MetricsJob, status};
use figures::{AccountFigures, Before, CoveredDay};
use metric::{Place, Values};
use reading::{DayFacts, Reader};

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
    /// Whether to show the texts that customers wrote.
    pub with_text: bool,
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
                .map_or(true, |footer| reading::is_final(&footer))
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
    fn class(&self) -> Class {
        match self {
            Self::NothingFetched => Class::Settings,
            Self::NoSuchDays { .. } | Self::NoMetrics { .. } => Class::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NothingFetched => "`kefu run` fetches the last days, and `kefu demo` generated ones; --lake names another lake".into(),
            Self::NoSuchDays { asked: DayRange { first, last }, .. } => {
                format!("name days that are there, or fetch these with `kefu run --from {first} --to {last}`")
            }
            Self::NoMetrics { .. } => "`kefu metrics` computes them".into(),
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
struct AccountDays {
    account: Account,
    covered: Vec<CoveredDay>,
    facts: Vec<DayFacts>,
}

/// Computes the figures of a report.
///
/// # Errors
/// Fails when there is nothing to report, or the lake cannot be read.
pub fn gather(job: &ReportJob) -> Result<Figures, Failure> {
    let there = days_there(&job.lake, &job.accounts)?;
    let period = job.period.days;
    let days = read(job, period)?;
    let has_any = |wanted: fn(&CoveredDay) -> bool| {
        days.iter().flat_map(|account| &account.covered).any(wanted)
    };
    if !has_any(|day| day.is_in_report) {
        let asked = period;
        let is_fetched = has_any(|day| day.status.fetched);
        return Err(if is_fetched {
            ReportError::NoMetrics { asked }
        } else {
            ReportError::NoSuchDays { asked, there }
        }
        .into());
    }
    let facts = pooled(&days);
    let earlier = period.before();
    let earlier_days = read(job, earlier)?;
    let is_final = is_final(&days);
    let missing = if !is_complete(&days) {
        Some(NothingToCompare::PeriodIncomplete)
    } else if !is_final {
        Some(NothingToCompare::PeriodNotFinal)
    } else if !is_complete(&earlier_days) {
        Some(NothingToCompare::BeforeIncomplete)
    } else if !self::is_final(&earlier_days) {
        Some(NothingToCompare::BeforeNotFinal)
    } else {
        None
    };
    let before = Totals::of(&pooled(&earlier_days));
    // Later days do not change the number of messages of a day.
    let volume = before
        .as_ref()
        .filter(|_| is_complete(&days) && is_complete(&earlier_days))
        .map(|totals| Values::of(totals).only(Place::Volume));
    let before = before.filter(|_| missing.is_none());
    let of_account = |account: &AccountDays| {
        let facts: Vec<_> = account.facts.iter().map(|day| (&account.account, day)).collect();
        AccountFigures { account: account.account.clone(), totals: Totals::of(&facts) }
    };
    // At least one day is in the report, so there are totals.
    let totals = Totals::of(&facts).ok_or(ReportError::NoMetrics { asked: period })?;
    let mut figures = Figures {
        timezone: job.zone.name().to_owned(),
        first: period.first,
        last: period.last,
        is_final,
        left_out: job.period.left_out.clone(),
        service_level_seconds: job.service_level_seconds,
        totals,
        before: Before {
            first: earlier.first,
            last: earlier.last,
            totals: before,
            volume,
            missing,
        },
        accounts: days.iter().map(of_account).collect(),
        days: figures::days(period, &facts),
        load: figures::load(&facts),
        workers: figures::workers(&facts),
        unanswered: unanswered::list(job, &facts)?,
        coverage: days
            .into_iter()
            .map(|account| AccountCoverage { account: account.account, days: account.covered })
            .collect(),
    };
    add_names(&mut figures, job)?;
    Ok(figures)
}

/// Adds the latest names of the workers.
fn add_names(figures: &mut Figures, job: &ReportJob) -> Result<(), Failure> {
    let names = job.accounts.iter().map(|account| Ok((account, job.lake.worker_names(account)?)));
    let names: BTreeMap<&Account, BTreeMap<String, String>> =
        names.collect::<Result<_, LakeError>>()?;
    let name = |account: &Account, worker: &String| names.get(account)?.get(worker).cloned();
    for worker in &mut figures.workers {
        worker.name = name(&worker.account, &worker.worker);
    }
    for turn in &mut figures.unanswered.turns {
        turn.name = name(&turn.account, &turn.worker);
    }
    Ok(())
}

/// The facts of all accounts together.
fn pooled(days: &[AccountDays]) -> Vec<(&Account, &DayFacts)> {
    days.iter()
        .flat_map(|account| account.facts.iter().map(|day| (&account.account, day)))
        .collect()
}

/// Whether every day of every account is in the report.
fn is_complete(days: &[AccountDays]) -> bool {
    days.iter().all(|account| account.covered.iter().all(|day| day.is_in_report))
}

/// Whether later days can no longer change any of the figures.
fn is_final(days: &[AccountDays]) -> bool {
    days.iter().flat_map(|account| &account.facts).all(|day| day.is_final)
}

fn read(job: &ReportJob, days: DayRange) -> Result<Vec<AccountDays>, Failure> {
    let of_account = |account: &Account| -> Result<AccountDays, Failure> {
        let (lake, zone, rules) = (job.lake.clone(), job.zone.clone(), job.rules.clone());
        let statuses =
            status(&MetricsJob { lake, account: account.clone(), zone, rules }, Some(days))?;
        let reader = Reader { lake: &job.lake, service_level_seconds: job.service_level_seconds };
        let read = |day: &crate::pipeline::DayStatus| {
            let has_messages = day.fetched && day.metrics != Some(Freshness::Damaged);
            reader.day(account, day.date, has_messages)
        };
        let facts: Vec<Option<DayFacts>> =
            statuses.par_iter().map(read).collect::<Result<_, _>>()?;
        let covered = statuses.into_iter().zip(&facts);
        let covered = covered
            .map(|(status, facts)| CoveredDay {
                mark: status.mark(),
                is_in_report: facts.is_some(),
                status,
            })
            .collect();
        Ok(AccountDays {
            account: account.clone(),
            covered,
            facts: facts.into_iter().flatten().collect(),
        })
    };
    job.accounts.iter().map(of_account).collect()
}
