//! Writes the `messages` partition: sorts records by time and numbers them, in bounded memory.
//!
//! WeChat returns records in ascending order of id. In all observed answers the times ascend, too,
//! but WeChat does not document that. A batch that continues the order is written directly to the
//! file. A batch that does not starts a new sorted run. The runs are merged at the end. Records of
//! equal time keep the order in which the API returned them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::error::ArrowError;

use super::read::read_file;
use super::store::{Expected, StagedPath};
use super::{
    Account, AppId, ContentHash, FinishedPartition, Lake, LakeError, MessageCounts,
    StagedPartition, Table, entry,
};
use crate::calendar::{Day, Span};
use crate::model::Column;
use crate::model::column::typed;
use crate::model::record::Records;

/// Number of rows of each run in memory during a merge.
const MERGE_ROWS: usize = 1_024;

/// Maximum number of open runs. When it is reached, they are merged into one.
const RUNS_MAX: usize = 64;

/// A `messages` partition that is being written.
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
    /// Begins the messages of a day in staging. They may replace only the messages that this run
    /// has seen. If another run replaces those in the meantime, the commit fails.
    ///
    /// # Errors
    /// Fails when staging cannot be written.
    pub fn stage_messages(
        &self,
        account: &Account,
        day: Day,
        zone: &str,
        window: Span,
    ) -> Result<StagedMessages, LakeError> {
        let key = account.partition(Table::Messages, day);
        let before = self.see(&key)?.into_expected();
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
    /// Writes the treatment of personal data into the footer, if there was any.
    #[must_use]
    pub fn with_privacy(self, privacy: Option<String>) -> Self {
        Self { privacy, ..self }
    }

    /// May only be committed while the lake has no messages of the day.
    #[must_use]
    pub fn if_absent(self) -> Self {
        Self { before: Expected::Seen(None), ..self }
    }

    /// Writes the app id of the records into the footer, if it is known.
    #[must_use]
    pub fn with_app_id(self, app_id: Option<AppId>) -> Self {
        Self { app_id, ..self }
    }

    /// Adds records in the order in which the API returned them. They have the
    /// [schema](crate::model::record::schema) of records.
    ///
    /// # Errors
    /// Fails when the disk cannot be written.
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

    /// Completes the partition, which stays in staging. The footer records the number of rejects,
    /// and the content hash of their partition if there are any.
    ///
    /// # Errors
    /// Fails when the disk cannot be written.
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
        footer.set(entry::MESSAGES_RECEIVED, counts.received);
        footer.set(entry::MESSAGES_SENT, counts.sent);
        footer.set(entry::MESSAGES_OTHER, counts.other);
        footer.set_rejects(rejects, rejects_hash);
        self.privacy.iter().for_each(|privacy| footer.set(entry::PRIVACY, privacy));
        self.app_id.iter().for_each(|app_id| footer.set(entry::APP_ID, app_id));
        Ok(self.current.finish()?.replacing(self.before))
    }

    /// Closes the current run and opens another one.
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

    /// Merges all runs into `current`, which must be empty.
    fn merge_runs(&mut self) -> Result<(), LakeError> {
        let (table, schema) = (Table::Messages, Table::Messages.schema());
        let columns = table.names(|_| true);
        let mut readers = Vec::new();
        // The next row of each run, by time and then by run number. Runs are in the order in which
        // the API returned them.
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
            // Stop early at the end of a run's batch. The rows refer to the current batches, so no
            // batch may be replaced before.
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

/// Sorts records by ascending time. Records of equal time keep their order.
fn in_order_of_time(records: &RecordBatch) -> Result<RecordBatch, LakeError> {
    let sent_at = Records::of(records)?.sent_at.values();
    if sent_at.is_sorted() {
        return Ok(records.clone());
    }
    let mut rows: Vec<u32> = (0..records.num_rows() as u32).collect();
    rows.sort_by_key(|row| sent_at.get(*row as usize));
    Ok(take_record_batch(records, &UInt32Array::from(rows))?)
}

/// Adds the columns of the lake to records: the account, and the row number in the file.
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
