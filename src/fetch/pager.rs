//! The cursor: which page to request next, and when a window is complete. Pure; makes no calls.
//!
//! The rule is from WeChat's documentation of `getmsglist`. A window begins with msgid 1. While the
//! returned number equals the requested number, the same window is requested again with the
//! returned msgid, unchanged. Invariants: a window ends only with a page that is not full, and
//! every page with records moves the cursor forward. So the loop neither ends early nor runs
//! forever.
//!
//! WeChat has lowered the page size before. A page that is short because of such a cap looks like
//! the last page. So a short page with a round number of records is doubtful: one more call must
//! return no records. If it returns records, pages are capped, and only an empty page ends the
//! window.
//!
//! With a cap that is not a round number, two windows end with the same number of records. The
//! caller detects this and marks the page as doubtful. One more call checks that page, too. Records
//! in its answer are an error, because the earlier window may have been cut short.

use crate::calendar::{Span, UnixSeconds};
use crate::failure::{Classified, ErrorKind};
use crate::wechat::{FIRST_MSGID, PageRequest};

/// A contradiction within a page, or with the page before. Continuing would silently lose records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    #[error("the cursor is stuck: a page requested with msgid {asked} returned msgid {returned}")]
    StuckCursor { asked: i64, returned: i64 },
    #[error("a page declares {number} records but has {records}")]
    NumberDiffers { number: i64, records: usize },
    #[error("a page has {records} records although {asked} were requested")]
    TooManyRecords { asked: usize, records: usize },
    #[error(
        "{rejects} of {records} records of the day cannot be read; the first reason is: {reason}"
    )]
    TooManyRejects { rejects: u64, records: u64, reason: String },
    #[error(
        "a page of {records} records ({asked} requested) was not the last of its window: the next request returned {more} more"
    )]
    MoreAfterEnd { asked: usize, records: usize, more: usize },
    #[error(
        "WeChat seems to cap pages: two windows ended with {records} records each ({asked} requested), and one more request in the second window returned {more} more"
    )]
    Capped { asked: usize, records: usize, more: usize },
    #[error(
        "the end of a window cannot be proved: its last page, requested with msgid {asked}, returned msgid {returned}"
    )]
    EndNotProved { asked: i64, returned: i64 },
    #[error("a page of {records} records came twice in a row")]
    RepeatedPage { records: usize },
    #[error("a window of {seconds} seconds has {records} records so far; the limit is {limit}")]
    Endless { seconds: i64, records: u64, limit: u64 },
    #[error("{misplaced} of {records} records have a time outside the requested window")]
    Misplaced { misplaced: u64, records: u64 },
    /// `before` and `after` count rows and rejects. `kept_in` says what has the `before` records:
    /// the lake, or only the day's metrics.
    #[error("WeChat returns {after} records of the day, but {kept_in} {before}")]
    Shrunk { before: u64, after: u64, kept_in: KeptIn },
}

/// What the lake still has of the records that WeChat no longer returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptIn {
    /// The records themselves.
    Lake,
    /// The metrics computed from the records.
    Metrics,
}

impl std::fmt::Display for KeptIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lake => "the lake has",
            Self::Metrics => "the metrics in the lake were computed from",
        })
    }
}

impl Classified for ContractError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Contract
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Misplaced { .. } => {
                "run `kefu doctor --probe --date` with this day, and report its result: it shows how WeChat cuts windows. \
                 WeChat returns records of another time than requested. Nothing of this day was committed"
                    .into()
            }
            Self::TooManyRejects { .. } => {
                "look for a newer version of kefu, or report the error: WeChat seems to have changed the format of its records. Nothing of this day was committed".into()
            }
            Self::MoreAfterEnd { .. } => {
                "run `kefu doctor --probe --date` with this day, and report its result: it shows how WeChat cuts pages. `kefu run` treats a page that is not full as the last one, as WeChat documents. \
                 So the lake may lack records of this day. It was not changed"
                    .into()
            }
            Self::Capped { .. } => {
                "run `kefu verify --against-api` to find the records that the earlier day lacks, and report the error. Nothing of this day was committed. \
                 But an earlier window that ended with the same number of records was treated as complete"
                    .into()
            }
            Self::Shrunk { kept_in: KeptIn::Metrics, .. } => {
                "leave the day out: WeChat no longer has its records, and the lake has only its metrics. The lake was not changed. \
                 --allow-shrink would replace the metrics with those of the fewer records, and the present ones would be lost"
                    .into()
            }
            Self::Shrunk { .. } => {
                "leave the day out: WeChat no longer has all its records, and a re-fetch does not bring them back. The lake was not changed. If the day's files are \
                 damaged, restore them from a backup. --allow-shrink would replace the day and discard the records that WeChat no longer returns"
                    .into()
            }
            _ => "run again. If the error persists, ask WeChat's support with the day and the msgid. Nothing of this day was committed".into(),
        })
    }
}

/// The fields of a page other than its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFacts {
    /// `number` as returned.
    pub number: i64,
    /// `msgid` as returned.
    pub msgid: i64,
    /// Number of records in the page.
    pub records: usize,
}

/// Walks one window page by page.
#[derive(Debug)]
pub struct Pager {
    window: Span,
    page_records: usize,
    msgid: i64,
    proves_end: bool,
    state: State,
    /// Number of records received so far.
    taken: u64,
}

/// A short page is doubtful if its number of records is a multiple of this: pages may be capped.
pub(super) const ROUND_RECORDS: usize = 50;

/// The maximum number of records in a window, plus the number below for each of its seconds. No
/// account has more.
const RECORDS_MAX: u64 = 100_000;
const RECORDS_PER_SECOND_MAX: u64 = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There may be more records.
    Walking,
    /// There may be more records, and pages are capped. Only an empty page is the last.
    WalkingCapped,
    /// All records have been received if the next page is empty. The last page had `records`.
    ProvingEnd {
        records: usize,
    },
    Complete,
}

impl Pager {
    pub fn new(window: Span, page_records: usize) -> Self {
        Self {
            window,
            page_records,
            msgid: FIRST_MSGID,
            proves_end: false,
            state: State::Walking,
            taken: 0,
        }
    }

    /// Makes one more call after the last page, even if that page is not doubtful. The answer must
    /// be empty.
    #[must_use]
    pub fn with_proved_end(self, proves_end: bool) -> Self {
        Self { proves_end, ..self }
    }

    /// The window that is walked.
    pub fn window(&self) -> Span {
        self.window
    }

    /// Whether the whole window has been walked.
    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// Whether there may be more records.
    pub fn is_walking(&self) -> bool {
        matches!(self.state, State::Walking | State::WalkingCapped)
    }

    /// Whether pages hold fewer records than requested.
    pub fn is_capped(&self) -> bool {
        self.state == State::WalkingCapped
    }

    /// Ends the window at `end`; another cursor walks the rest. Message ids are global, so this
    /// cursor continues from its current msgid.
    pub fn end_earlier(&mut self, end: UnixSeconds) {
        self.window.end = self.window.end.min(end);
    }

    /// The next page to request. None once the window is complete.
    pub fn next_request(&self) -> Option<PageRequest> {
        (!self.is_complete()).then_some(PageRequest {
            starttime: self.window.start,
            endtime: self.window.end,
            msgid: self.msgid,
            number: self.page_records,
        })
    }

    /// Accepts the requested page. `is_doubtful` says that the page may be short because pages are
    /// capped.
    ///
    /// # Errors
    /// [`ContractError`] when the page is contradictory.
    pub fn accept(&mut self, page: PageFacts, is_doubtful: bool) -> Result<(), ContractError> {
        if usize::try_from(page.number) != Ok(page.records) {
            return Err(ContractError::NumberDiffers {
                number: page.number,
                records: page.records,
            });
        }
        let asked = self.page_records;
        if page.records > asked {
            return Err(ContractError::TooManyRecords { asked, records: page.records });
        }
        // An empty page has no msgid to continue with. It is proof of the end by itself.
        if page.records == 0 {
            self.state = State::Complete;
            return Ok(());
        }
        self.bound(page.records)?;
        let next = self.state_after(page.records, is_doubtful)?;
        let (before, returned) = (self.msgid, page.msgid);
        if returned <= before {
            return Err(match next {
                State::ProvingEnd { .. } => ContractError::EndNotProved { asked: before, returned },
                _ => ContractError::StuckCursor { asked: before, returned },
            });
        }
        self.msgid = returned;
        self.state = next;
        Ok(())
    }

    /// Counts the received records and limits them: endless pages would fill the disk.
    fn bound(&mut self, records: usize) -> Result<(), ContractError> {
        self.taken = self.taken.saturating_add(records as u64);
        let (seconds, records) = (self.window.seconds(), self.taken);
        let of_its_seconds = RECORDS_PER_SECOND_MAX.saturating_mul(seconds.unsigned_abs());
        let limit = RECORDS_MAX.saturating_add(of_its_seconds);
        if records > limit {
            return Err(ContractError::Endless { seconds, records, limit });
        }
        Ok(())
    }

    /// The state after a page with `records`, at least 1.
    fn state_after(&self, records: usize, is_doubtful: bool) -> Result<State, ContractError> {
        let asked = self.page_records;
        let is_full = records == asked;
        Ok(match self.state {
            State::Walking if is_full => State::Walking,
            State::Walking if self.proves_end || is_doubtful || is_round(records) => {
                State::ProvingEnd { records }
            }
            State::Walking => State::Complete,
            State::ProvingEnd { records } if is_round(records) => State::WalkingCapped,
            State::ProvingEnd { records: last } if !self.proves_end => {
                return Err(ContractError::Capped { asked, records: last, more: records });
            }
            State::ProvingEnd { records: last } => {
                return Err(ContractError::MoreAfterEnd { asked, records: last, more: records });
            }
            state => state,
        })
    }
}

/// Whether the number of records is round, so that a cap may be the reason.
pub(super) fn is_round(records: usize) -> bool {
    records > 0 && records.is_multiple_of(ROUND_RECORDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: Span = Span { start: 0, end: 86_400 };

    proptest! {
        #[test]
        fn every_record_is_walked_once_and_the_loop_ends(gaps in prop::collection::vec(1i64..1_000_000_000_000, 0..200), size in 1usize..20) {
            let ids: Vec<i64> = gaps.iter().scan(1, |id, gap| { *id += gap; Some(*id) }).collect();
            let mut pager = Pager::new(DAY, size);
            let mut walked = Vec::new();
            let mut pages = 0;
            while let Some(request) = pager.next_request() {
                let page: Vec<i64> = ids.iter().copied().filter(|id| *id > request.msgid).take(request.number).collect();
                pager.accept(PageFacts { number: page.len() as i64, msgid: page.last().copied().unwrap_or(0), records: page.len() }, false).unwrap();
                walked.extend(page);
                pages += 1;
            }
            prop_assert_eq!(walked, ids.clone());
            prop_assert_eq!(pages, ids.len() / size + 1);
        }
    }

    #[test]
    fn a_cursor_that_does_not_advance_is_an_error_and_never_an_end() {
        let mut pager = Pager::new(DAY, 2);
        pager.accept(PageFacts { number: 2, msgid: 7, records: 2 }, false).unwrap();
        let error = pager.accept(PageFacts { number: 2, msgid: 7, records: 2 }, false).unwrap_err();
        assert_eq!(error, ContractError::StuckCursor { asked: 7, returned: 7 });
        // A short page does not prove the end either, if its msgid cannot belong to its last
        // record.
        for returned in [7, 1, 0, -5] {
            let error = pager.accept(PageFacts { number: 1, msgid: returned, records: 1 }, false);
            assert_eq!(error, Err(ContractError::StuckCursor { asked: 7, returned }));
        }
    }

    #[test]
    fn an_end_is_proved_with_one_more_call() {
        let page = |records: usize, msgid| PageFacts { number: records as i64, msgid, records };
        let pager = || Pager::new(DAY, 5).with_proved_end(true);
        let mut proved = pager();
        proved.accept(page(5, 7), false).unwrap();
        proved.accept(page(2, 9), false).unwrap();
        assert_eq!(proved.next_request().map(|request| request.msgid), Some(9));
        proved.accept(page(0, 0), false).unwrap();
        assert!(proved.is_complete());

        // An empty page returns msgid 0, which is never sent back.
        let mut empty = pager();
        empty.accept(page(0, 0), false).unwrap();
        assert!(empty.is_complete());

        let mut capped = pager();
        capped.accept(page(2, 7), false).unwrap();
        assert_eq!(
            capped.accept(page(2, 9), false),
            Err(ContractError::MoreAfterEnd { asked: 5, records: 2, more: 2 })
        );
        assert_eq!(
            pager().accept(page(2, 0), false),
            Err(ContractError::EndNotProved { asked: 1, returned: 0 })
        );
    }

    #[test]
    fn a_short_page_with_a_round_number_is_confirmed_and_a_cap_is_walked_to_its_end() {
        let page = |records: usize, msgid| PageFacts { number: records as i64, msgid, records };
        let mut last = Pager::new(DAY, 10_000);
        last.accept(page(150, 7), false).unwrap();
        assert!(!last.is_complete() && !last.is_walking() && !last.is_capped());
        last.accept(page(0, 0), false).unwrap();
        assert!(last.is_complete());

        let mut capped = Pager::new(DAY, 10_000);
        for (records, msgid) in [(50, 7), (50, 9), (13, 11)] {
            capped.accept(page(records, msgid), false).unwrap();
            assert!(!capped.is_complete());
        }
        assert!(capped.is_capped());
        assert_eq!(
            capped.next_request().map(|request| (request.msgid, request.number)),
            Some((11, 10_000))
        );
        capped.accept(page(0, 0), false).unwrap();
        assert!(capped.is_complete());

        // A short page with another number, like WeChat's documented example, needs no additional
        // call.
        let mut example = Pager::new(DAY, 10_000);
        example.accept(page(10_000, 20_165_258), false).unwrap();
        example.accept(page(4, 20_165_267), false).unwrap();
        assert!(example.is_complete());
        assert_eq!(
            Pager::new(DAY, 10_000).accept(page(50, 0), false),
            Err(ContractError::EndNotProved { asked: 1, returned: 0 })
        );
    }

    #[test]
    fn a_short_page_that_ends_like_another_window_is_confirmed_and_more_records_are_an_error() {
        let page = |records: usize, msgid| PageFacts { number: records as i64, msgid, records };
        let mut last = Pager::new(DAY, 10_000);
        last.accept(page(70, 7), true).unwrap();
        assert!(!last.is_complete());
        last.accept(page(0, 0), false).unwrap();
        assert!(last.is_complete());

        let mut capped = Pager::new(DAY, 10_000);
        capped.accept(page(70, 7), true).unwrap();
        assert_eq!(
            capped.accept(page(30, 9), false),
            Err(ContractError::Capped { asked: 10_000, records: 70, more: 30 })
        );
        // A full page is not doubtful, because another page is requested anyway.
        let mut full = Pager::new(DAY, 70);
        full.accept(page(70, 7), true).unwrap();
        full.accept(page(3, 9), false).unwrap();
        assert!(full.is_complete());
    }

    #[test]
    fn a_window_without_end_is_an_error() {
        let mut pager = Pager::new(Span { start: 0, end: 60 }, 10_000);
        let pages = (2..).take_while(|msgid| {
            pager
                .accept(PageFacts { number: 10_000, msgid: *msgid, records: 10_000 }, false)
                .is_ok()
        });
        // The limit is 100,000 records, plus 200 for each second.
        assert_eq!(pages.count(), 11);
    }

    #[test]
    fn a_number_that_differs_from_the_records_is_an_error() {
        for (number, records) in [(1, 2), (2, 1), (-1, 0), (3, 3)] {
            assert!(
                Pager::new(DAY, 2).accept(PageFacts { number, msgid: 9, records }, false).is_err(),
                "{number} {records}"
            );
        }
    }
}
