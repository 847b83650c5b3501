//! Tests API behaviour that WeChat does not document or may have changed. Makes a few small
//! requests about the records of a day. This module makes the requests; [`judge`] interprets the
//! replies.

mod judge;

use std::hash::{DefaultHasher, Hash, Hasher};

use arrow::array::{Array, StringArray};
use arrow::error::ArrowError;
use serde::Serialize;

use super::decode::Page;
use super::{CallCounts, ContractError, FetchError, RetryBudget, Source, not_records, windows};
use crate::calendar::{Span, UnixSeconds};
use crate::model::record::Records;
use crate::wechat::{FIRST_MSGID, PAGE_RECORDS_MAX, PageRequest, WINDOW_SECONDS_MAX};

/// The maximum number of records requested for small pages.
const SMALL_PAGE_MAX: usize = 100;

/// All valid times. The probe also looks at records outside the requested window.
const ANY_TIME: Span = Span { start: 0, end: 253_402_300_800 };

/// The behaviour of the API.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Number of records in the window that was examined.
    pub records: usize,
    pub calls: CallCounts,
    /// One answer for each question.
    pub answers: Vec<Answer>,
}

impl Probe {
    /// Whether an assumption that kefu relies on does not hold.
    pub fn differs(&self) -> bool {
        self.answers.iter().any(|answer| answer.state == State::Differs)
    }
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    pub question: Question,
    pub state: State,
    /// What was observed, without any value of a record.
    pub found: String,
}

/// A question about the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Whether a record at exactly `starttime` belongs to the window.
    WindowStart,
    /// Whether a record at exactly `endtime` belongs to the window.
    WindowEnd,
    /// Whether all returned records are in the window.
    InsideWindow,
    /// Whether a page begins after the record whose msgid was sent.
    Cursor,
    /// Whether nothing follows a page that is not full.
    LastPage,
    /// Whether a page is full if there are enough records.
    PageSize,
    /// Whether records are in order of time.
    TimeOrder,
}

impl Question {
    /// The behaviour that kefu assumes.
    pub fn assumed(self) -> &'static str {
        match self {
            Self::WindowStart => "inclusive",
            Self::WindowEnd => "either",
            Self::InsideWindow => "all",
            Self::Cursor => "exclusive",
            Self::LastPage => "a page that is not full is the last",
            Self::PageSize => "honoured",
            Self::TimeOrder => "ascending, but kefu accepts any order",
        }
    }
}

/// The result of comparing an answer with kefu's assumption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Holds,
    /// Different, but kefu does not rely on it.
    Note,
    /// Different, and it makes kefu's data wrong.
    Differs,
    /// The records of the day are not enough to tell.
    NotTellable,
}

/// The parts of a record that the questions need.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// None if the record cannot be read.
    time: Option<UnixSeconds>,
    /// Hash of all other fields.
    hash: u64,
}

/// A received page.
#[derive(Clone, Debug)]
struct Reply {
    /// In the API's order.
    records: Vec<Seen>,
    msgid: i64,
    /// Number of records requested.
    number: usize,
}

impl Reply {
    fn is_full(&self) -> bool {
        self.records.len() >= self.number
    }

    /// Whether the msgid can be used for the next request. An empty window returns 0, which is
    /// never sent back.
    fn has_cursor(&self) -> bool {
        self.msgid > FIRST_MSGID
    }
}

/// All replies. A request is skipped if the earlier replies do not allow it.
#[derive(Debug)]
struct Evidence {
    window: Span,
    /// The whole window in one page.
    whole: Reply,
    /// The page after `whole`.
    after_whole: Option<Reply>,
    /// The first records of the window, as a small page.
    small: Reply,
    /// The page after `small`.
    after_small: Option<Reply>,
    /// Two times with records, and no record between them.
    moments: Option<(UnixSeconds, UnixSeconds)>,
    /// The window that begins at the first of `moments` and has the second inside.
    from_first: Option<Reply>,
    /// The window that ends at the second of `moments` and has the first inside.
    until_second: Option<Reply>,
}

impl Source {
    /// Makes the requests about a day of local time: at most 8 calls if none is retried.
    ///
    /// # Errors
    /// [`FetchError`] when a call fails or a page contradicts itself.
    pub async fn probe(&self, day: Span, retry_budget: &RetryBudget) -> Result<Probe, FetchError> {
        let mut asking = Asking { source: self, retry_budget, calls: CallCounts::default() };
        let evidence = asking.gather(day).await?;
        Ok(Probe {
            records: evidence.as_ref().map_or(0, |evidence| evidence.whole.records.len()),
            calls: asking.calls,
            answers: judge::answers(evidence.as_ref()),
        })
    }
}

struct Asking<'a> {
    source: &'a Source,
    retry_budget: &'a RetryBudget,
    calls: CallCounts,
}

impl Asking<'_> {
    /// Returns None if the day has no records.
    async fn gather(&mut self, day: Span) -> Result<Option<Evidence>, FetchError> {
        let mut found = None;
        for window in windows(day) {
            let whole = self.first_page(window, PAGE_RECORDS_MAX).await?;
            if !whole.records.is_empty() {
                found = Some((window, whole));
                break;
            }
        }
        let Some((mut window, mut whole)) = found else { return Ok(None) };
        if whole.is_full() {
            window.end = middle(&whole, window);
            whole = self.first_page(window, PAGE_RECORDS_MAX).await?;
        }
        let small_page = (whole.records.len() / 2).clamp(1, SMALL_PAGE_MAX);
        let small = self.first_page(window, small_page).await?;
        let moments = moments(&whole);
        let mut ends = (None, None);
        if let Some((first, second)) = moments {
            let from_first = Span { start: first, end: second + 1 };
            let until_second = Span { start: first - 1, end: second };
            // The API does not allow longer windows.
            if from_first.seconds() <= WINDOW_SECONDS_MAX {
                ends = (
                    Some(self.first_page(from_first, PAGE_RECORDS_MAX).await?),
                    Some(self.first_page(until_second, PAGE_RECORDS_MAX).await?),
                );
            }
        }
        Ok(Some(Evidence {
            window,
            after_whole: self.page_after(window, &whole).await?,
            whole,
            after_small: self.page_after(window, &small).await?,
            small,
            moments,
            from_first: ends.0,
            until_second: ends.1,
        }))
    }

    async fn first_page(&mut self, window: Span, number: usize) -> Result<Reply, FetchError> {
        self.page(window, FIRST_MSGID, number).await
    }

    async fn page_after(
        &mut self,
        window: Span,
        page: &Reply,
    ) -> Result<Option<Reply>, FetchError> {
        if !page.has_cursor() {
            return Ok(None);
        }
        self.page(window, page.msgid, page.number).await.map(Some)
    }

    async fn page(&mut self, window: Span, msgid: i64, number: usize) -> Result<Reply, FetchError> {
        let request = PageRequest { starttime: window.start, endtime: window.end, msgid, number };
        let (page, _) =
            self.source.page(&request, ANY_TIME, self.retry_budget, &mut self.calls).await?;
        if usize::try_from(page.facts.number) != Ok(page.facts.records) {
            let (number, records) = (page.facts.number, page.facts.records);
            return Err(ContractError::NumberDiffers { number, records }.into());
        }
        Ok(Reply { records: seen(&page).map_err(not_records)?, msgid: page.facts.msgid, number })
    }
}

/// All records of a page in the API's order, including unreadable ones.
fn seen(page: &Page) -> Result<Vec<Seen>, ArrowError> {
    let hash = |value: &dyn Fn(&mut DefaultHasher)| {
        let mut hasher = DefaultHasher::new();
        value(&mut hasher);
        hasher.finish()
    };
    let Records { openid, worker, opercode, text, sent_at } = Records::of(&page.records)?;
    let string = |strings: &StringArray, row: usize| {
        strings.is_valid(row).then(|| strings.value(row).to_owned())
    };
    let mut records: Vec<Seen> = (0..page.records.num_rows())
        .map(|row| Seen {
            time: Some(sent_at.value(row).div_euclid(1_000_000)),
            hash: hash(&|hasher| {
                [openid, worker, text].map(|column| string(column, row)).hash(hasher);
                opercode.value(row).hash(hasher);
            }),
        })
        .collect();
    // Rejects are sorted by position, so each insert restores the original position.
    for reject in &page.rejects {
        let position = usize::try_from(reject.position).unwrap_or(0).min(records.len());
        let hash = hash(&|hasher| reject.raw.hash(hasher));
        records.insert(position, Seen { time: None, hash });
    }
    Ok(records)
}

fn times(page: &Reply) -> impl Iterator<Item = UnixSeconds> {
    page.records.iter().filter_map(|record| record.time)
}

/// The time before which about half of the page's records were sent.
fn middle(page: &Reply, window: Span) -> UnixSeconds {
    let mut times: Vec<UnixSeconds> = times(page).collect();
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied().unwrap_or(window.end);
    middle.clamp(window.start + 1, window.end)
}

/// The two consecutive times with records that are closest together.
fn moments(page: &Reply) -> Option<(UnixSeconds, UnixSeconds)> {
    let mut times: Vec<UnixSeconds> = times(page).collect();
    times.sort_unstable();
    times.dedup();
    let pairs = times.iter().copied().zip(times.iter().copied().skip(1));
    pairs.min_by_key(|(first, second)| second - first)
}
