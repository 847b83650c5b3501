//! The `messages` partition: puts records in order of time and numbers them, in bounded memory.
//!
//! WeChat gives records by ascending id and, as far as anyone has seen, by ascending time; nobody promises the latter. So a
//! batch that follows the one before goes straight into the file, and one that does not begins a new sorted run beside it.
//! Several runs are merged at the end, equal times in the order in which the API gave them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::error::ArrowError;

use super::read::read_file;
use super::store::{Expected, Key, StagedPath};
use super::{
    Account, AppId, ContentHash, FinishedPartition, Lake, LakeError, MessageCounts,
    StagedPartition, Table,
};
use crate::calendar::{Day, Span};
use crate::model::Column;
use crate::model::column::typed;
use crate::model::record::Records;

/// Rows that a merge holds of each run.
const MERGE_ROWS: usize = 1_024;

/// Runs that are open at once. With as many, they are merged into one.
const RUNS_MAX: usize = 64;

/// A `messages` partition being written.
#[derive(Debug)]
pub struct StagedMessages {
    lake: Lake,
    zone: String,
    window: Span,
    /// What was in place when the day was begun.
    before: Expected,
    current: StagedPartition,
    /// `sent_at` of the last row of `current`.
    last: i64,
    runs: Vec<StagedPath>,
    counts: MessageCounts,
    privacy: Option<String>,
    app_id: Option<AppId>,
}

impl Lake {
    /// Begins a day's messages in staging. They replace only the messages that are there now: if
    /// another run has replaced those meanwhile, the commit fails.
    ///
    /// # Errors
    /// When staging cannot be written.
    pub fn stage_messages(
        &self,
        account: &Account,
        day: Day,
        zone: &str,
        window: Span,
    ) -> Result<StagedMessages, LakeError> {
        let key = account.partition(Table::Messages, day);
        let before = match self.store.look(&Key::of_partition(&key), 0) {
            Ok(look) => Expected::Seen(look.map(|look| look.version)),
            // Something else is in its place, like a link to nothing.
            Err(_) => Expected::Any,
        };
        Ok(StagedMessages {
            lake: self.clone(),
            zone: zone.to_owned(),
            window,
            before,
            current: self.stage(key, zone, window)?,
            last: i64::MIN,
            runs: Vec::new(),
            counts: MessageCounts::default(),
            privacy: None,
            app_id: None,
        })
    }
}

impl StagedMessages {
    /// Has the footer say what was done to the personal data of the records, where anything was.
    #[must_use]
    pub fn with_privacy(self, privacy: Option<String>) -> Self {
        Self { privacy, ..self }
    }

    /// Writes the app of the records into the footer, if it is known.
    #[must_use]
    pub fn with_app_id(self, app_id: Option<AppId>) -> Self {
        Self { app_id, ..self }
    }

    /// Adds records in the order in which the API gave them, in their [schema](crate::model::record::schema).
    ///
    /// # Errors
    /// When the disk refuses them.
    pub fn append(&mut self, records: &RecordBatch) -> Result<(), LakeError> {
        let records = in_order_of_time(records)?;
        let Records { sent_at, opercode, .. } = Records::of(&records)?;
        let (Some(first), Some(last)) =
            (sent_at.values().first().copied(), sent_at.values().last().copied())
        else {
            return Ok(());
        };
        self.counts.add(opercode);
        if first < self.last {
            self.begin_run()?;
        }
        self.last = last;
        let batch = numbered(&self.current.key().account, &records, self.current.rows())?;
        self.current.append(batch)
    }

    pub fn counts(&self) -> MessageCounts {
        self.counts
    }

    /// Completes the partition, which stays in staging. Its footer names the rejects that belong to
    /// it: how many, and the content hash of their partition, if there are any.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn finish(
        mut self,
        rejects: u64,
        rejects_hash: Option<&ContentHash>,
    ) -> Result<FinishedPartition, LakeError> {
        if !self.runs.is_empty() {
            self.close_run()?;
            self.merge_runs()?;
        }
        let counts = self.counts;
        let footer = self.current.footer();
        footer.set("messages_received", counts.received);
        footer.set("messages_sent", counts.sent);
        footer.set("messages_other", counts.other);
        footer.set_rejects(rejects, rejects_hash);
        self.privacy.iter().for_each(|privacy| footer.set("privacy", privacy));
        self.app_id.iter().for_each(|app_id| footer.set("app_id", app_id));
        Ok(self.current.finish()?.replacing(self.before))
    }

    /// Closes the current run and opens another.
    fn begin_run(&mut self) -> Result<(), LakeError> {
        self.close_run()?;
        if self.runs.len() == RUNS_MAX {
            self.merge_runs()?;
            self.close_run()?;
        }
        Ok(())
    }

    fn close_run(&mut self) -> Result<(), LakeError> {
        let fresh = self.lake.stage(self.current.key().clone(), &self.zone, self.window)?;
        self.runs.push(std::mem::replace(&mut self.current, fresh).into_run()?);
        Ok(())
    }

    /// Merges all runs into `current`, which is empty.
    fn merge_runs(&mut self) -> Result<(), LakeError> {
        let (table, schema) = (Table::Messages, Table::Messages.schema());
        let columns = table.names(|_| true);
        let mut readers = Vec::new();
        // The next row of each run: by time, then by run, which is the order in which the API gave them.
        let mut heads = BinaryHeap::new();
        for run in &self.runs {
            let mut batches = read_file(run.open()?, table, &schema, &columns, MERGE_ROWS)?;
            let Some(batch) = batches.next().transpose()? else { continue };
            let instants = sent_at(&batch)?;
            if let Some(first) = instants.values().first() {
                heads.push(Reverse((*first, readers.len())));
            }
            readers.push(RunReader { batches, batch, instants, row: 0 });
        }
        while !heads.is_empty() {
            let mut rows = Vec::with_capacity(MERGE_ROWS);
            // Ends early where a run's batch is used up, because the rows refer to the batches as they are now.
            while rows.len() < MERGE_ROWS {
                let Some(Reverse((_, run))) = heads.pop() else { break };
                let Some(reader) = readers.get_mut(run) else { break };
                rows.push((run, reader.row));
                reader.row += 1;
                match reader.instants.values().get(reader.row) {
                    Some(next) => heads.push(Reverse((*next, run))),
                    None => break,
                }
            }
            let batches: Vec<&RecordBatch> = readers.iter().map(|reader| &reader.batch).collect();
            let merged = interleave_record_batch(&batches, &rows)?;
            let batch = numbered(&self.current.key().account, &merged, self.current.rows())?;
            self.current.append(batch)?;
            if let Some((run, _)) = rows.last()
                && let Some(reader) = readers.get_mut(*run)
                && reader.row == reader.batch.num_rows()
                && let Some(batch) = reader.batches.next().transpose()?
            {
                reader.instants = sent_at(&batch)?;
                reader.batch = batch;
                reader.row = 0;
                if let Some(first) = reader.instants.values().first() {
                    heads.push(Reverse((*first, *run)));
                }
            }
        }
        self.runs.clear();
        Ok(())
    }
}

struct RunReader<I> {
    batches: I,
    batch: RecordBatch,
    instants: TimestampMicrosecondArray,
    row: usize,
}

fn sent_at(batch: &RecordBatch) -> Result<TimestampMicrosecondArray, LakeError> {
    Ok(typed::<TimestampMicrosecondArray>(batch, "sent_at")?.clone())
}

/// The same records by ascending time, equal times as they were.
fn in_order_of_time(records: &RecordBatch) -> Result<RecordBatch, LakeError> {
    let sent_at = Records::of(records)?.sent_at.values();
    if sent_at.is_sorted() {
        return Ok(records.clone());
    }
    let mut rows: Vec<u32> = (0..records.num_rows() as u32).collect();
    rows.sort_by_key(|row| sent_at.get(*row as usize));
    Ok(take_record_batch(records, &UInt32Array::from(rows))?)
}

/// Records with the columns that the lake adds: the account, and the row's number in the file.
fn numbered(
    account: &Account,
    records: &RecordBatch,
    from: usize,
) -> Result<RecordBatch, LakeError> {
    let rows = records.num_rows();
    let column = |column: &Column| -> Result<ArrayRef, LakeError> {
        Ok(match column.name {
            "account" => {
                let names = std::iter::repeat_n(account.as_str(), rows);
                Arc::new(StringArray::from_iter_values(names))
            }
            "seq" => Arc::new(Int64Array::from_iter_values((from as i64..).take(rows))),
            recorded => {
                let column = records.column_by_name(recorded).cloned();
                column
                    .ok_or_else(|| ArrowError::SchemaError(format!("records without {recorded}")))?
            }
        })
    };
    let columns = Table::Messages.columns().map(column).collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(Table::Messages.schema(), columns)?)
}
