//! Compares the lake with the current data of the API, day by day. Writes nothing.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::row::{RowConverter, SortField};
use hashbrown::HashMap;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::FetchJob;
use super::fetch_days::in_local_time;
use crate::calendar::{Day, UnixSeconds};
use crate::failure::{BugError, Failure};
use crate::fetch::{CallCounts, FetchError, FetchEvent};
use crate::lake::{LakeError, Table, entry};
use crate::model::record::{self, Records};
use crate::telemetry::Progress;

/// Maximum number of added records, and of gone records, to list for each day.
const SHOWN_MAX: usize = 20;

/// A day in the lake, compared with the same day of the API.
#[derive(Clone, Debug, Serialize)]
pub struct ComparedDay {
    pub date: Day,
    /// Whether the lake has the day. Other days are not requested from the API.
    pub in_lake: bool,
    pub lake_records: u64,
    pub api_records: u64,
    /// Records that the API gives and the lake does not have.
    pub added: u64,
    /// Records that the lake has and the API no longer gives.
    pub gone: u64,
    /// Number of unreadable records when the lake was written.
    pub lake_rejects: u64,
    /// Number of unreadable records now.
    pub api_rejects: u64,
    /// The earliest added records, at most 20.
    pub added_records: Vec<Record>,
    /// The earliest records that the API no longer gives, at most 20.
    pub gone_records: Vec<Record>,
}

impl ComparedDay {
    fn new(date: Day, in_lake: bool, lake_rejects: u64) -> Self {
        let (lake_records, api_records, added, gone, api_rejects) = (0, 0, 0, 0, 0);
        let (added_records, gone_records) = (Vec::new(), Vec::new());
        Self {
            date,
            in_lake,
            lake_records,
            api_records,
            added,
            gone,
            lake_rejects,
            api_rejects,
            added_records,
            gone_records,
        }
    }

    /// Whether the lake and the API have the same records and the same number of rejects.
    pub fn is_equal(&self) -> bool {
        self.in_lake && self.added == 0 && self.gone == 0 && self.lake_rejects == self.api_rejects
    }
}

/// A record. Records are ordered by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Record {
    /// Unix seconds.
    pub sent_at: UnixSeconds,
    pub openid: String,
    pub worker: String,
    pub opercode: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Fetches several days in parallel and compares each with the lake.
///
/// # Errors
/// Fails when a day cannot be fetched or read. After that, no other day starts.
pub async fn compare_days(
    job: &FetchJob,
    days: &[Day],
    progress: &Progress,
) -> Result<Vec<ComparedDay>, Failure> {
    let connections = Arc::new(Semaphore::new(job.concurrency));
    let there = job.lake.days(Table::Messages, &job.account)?;
    let (asked, missing): (Vec<Day>, Vec<Day>) = days.iter().partition(|day| there.contains(day));
    let mut compared: Vec<ComparedDay> =
        missing.into_iter().map(|day| ComparedDay::new(day, false, 0)).collect();
    let mut waiting = asked.into_iter();
    let mut running = JoinSet::new();
    loop {
        for day in waiting.by_ref().take(job.concurrency.saturating_sub(running.len())) {
            let (job, connections) = (job.clone(), connections.clone());
            running.spawn(async move {
                let compared = compare_day(&job, &connections, day).await;
                compared.map_err(|failure| {
                    failure.during(format!("{}, {day}: not compared", job.account))
                })
            });
        }
        let Some(outcome) = running.join_next().await else { break };
        let compared_day =
            outcome.map_err(|error| BugError(format!("comparing a day stopped: {error}")))??;
        progress.advance(&compared_day.date.to_string());
        compared.push(compared_day);
    }
    compared.sort_by_key(|compared| compared.date);
    Ok(compared)
}

async fn compare_day(
    job: &FetchJob,
    connections: &Arc<Semaphore>,
    day: Day,
) -> Result<ComparedDay, Failure> {
    let (sender, receiver) = mpsc::channel(1);
    let comparing = {
        let job = job.clone();
        tokio::task::spawn_blocking(move || compare_pages(&job, day, receiver))
    };
    let retry_budget = job.source.retry_budget(job.account.as_str(), day);
    let (span, mut calls) = (job.zone.bounds(day), CallCounts::default());
    let fetched = job.source.fetch(span, connections, &retry_budget, sender, &mut calls).await;
    let compared =
        comparing.await.map_err(|error| BugError(format!("comparing a day stopped: {error}")))?;
    match (fetched, compared) {
        // The fetch was abandoned because the lake could not be read.
        (Err(FetchError::Abandoned), Err(refused)) => Err(refused.into()),
        (Err(error), _) => Err(in_local_time(error, &job.zone)),
        (Ok(()), compared) => Ok(compared?),
    }
}

/// Pairs each record of the API with an equal record of the lake. The records without a pair are
/// the difference.
fn compare_pages(
    job: &FetchJob,
    day: Day,
    mut events: mpsc::Receiver<FetchEvent>,
) -> Result<ComparedDay, LakeError> {
    let rejects = job
        .lake
        .footer(&job.account.partition(Table::Messages, day))?
        .get(entry::REJECTS)
        .and_then(|count| count.parse().ok());
    let mut compared = ComparedDay::new(day, true, rejects.unwrap_or_default());
    let keys = Keys::new()?;
    let mut left: HashMap<Key, u64> = HashMap::new();
    for batch in job.lake.read_records(&job.account, day)? {
        for key in keys.of(&batch?)? {
            *left.entry(key).or_default() += 1;
            compared.lake_records += 1;
        }
    }
    let mut added = Earliest::default();
    while let Some(event) = events.blocking_recv() {
        let FetchEvent::Page(fetched) = event else { continue };
        let page = fetched.page;
        compared.api_rejects += page.rejects.len() as u64;
        compared.api_records += page.records.num_rows() as u64;
        let records = Records::of(&page.records)?;
        for (row, key) in keys.of(&page.records)?.into_iter().enumerate() {
            if !cross_off(&mut left, &key) {
                compared.added += 1;
                added.insert(&records, row);
            }
        }
    }
    compared.gone = left.values().sum();
    let mut gone = Earliest::default();
    if compared.gone > 0 {
        for batch in job.lake.read_records(&job.account, day)? {
            let batch = batch?;
            let records = Records::of(&batch)?;
            for (row, key) in keys.of(&batch)?.into_iter().enumerate() {
                if cross_off(&mut left, &key) {
                    gone.insert(&records, row);
                }
            }
        }
    }
    (compared.added_records, compared.gone_records) = (added.finish(), gone.finish());
    Ok(compared)
}

/// Removes one record with this key. Returns whether there was one.
fn cross_off(left: &mut HashMap<Key, u64>, key: &Key) -> bool {
    match left.get_mut(key).filter(|count| **count > 0) {
        Some(count) => {
            *count -= 1;
            true
        }
        None => false,
    }
}

/// Hash of a record. Two records have the same key only if they are equal.
type Key = [u8; 16];

struct Keys(RowConverter);

impl Keys {
    fn new() -> Result<Self, LakeError> {
        let schema = record::schema();
        let fields = schema.fields().iter();
        Ok(Self(RowConverter::new(
            fields.map(|field| SortField::new(field.data_type().clone())).collect(),
        )?))
    }

    fn of(&self, records: &RecordBatch) -> Result<Vec<Key>, LakeError> {
        let rows = self.0.convert_columns(records.columns())?;
        let key = |row: &[u8]| {
            let mut key = Key::default();
            blake3::Hasher::new().update(row).finalize_xof().fill(&mut key);
            key
        };
        Ok(rows.iter().map(|row| key(row.as_ref())).collect())
    }
}

/// The earliest records of those inserted.
#[derive(Default)]
struct Earliest(Vec<Record>);

impl Earliest {
    fn insert(&mut self, records: &Records<'_>, row: usize) {
        self.0.push(record(records, row));
        if self.0.len() > 50 * SHOWN_MAX {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        self.0.sort();
        self.0.truncate(SHOWN_MAX);
    }

    fn finish(mut self) -> Vec<Record> {
        self.shorten();
        self.0
    }
}

fn record(records: &Records<'_>, row: usize) -> Record {
    Record {
        sent_at: records.sent_at.value(row).div_euclid(1_000_000),
        openid: records.openid.value(row).to_owned(),
        worker: records.worker.value(row).to_owned(),
        opercode: records.opercode.value(row),
        text: records.text.is_valid(row).then(|| records.text.value(row).to_owned()),
    }
}
