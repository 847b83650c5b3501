//! The time slices of a span, each walked by its own cursor. Pure; makes no calls.
//!
//! A cursor walks pages sequentially, so a day of a hundred pages takes a hundred sequential calls.
//! While there are spare connections, the rest of a time slice is split. The time slice then ends
//! earlier, and new time slices cover the rest. These invariants keep the result independent of the
//! splits:
//!
//! - Time slices begin at whole seconds and do not overlap. So all records of one second come from
//!   one cursor, in the API's order.
//! - A time slice is split only after its latest record so far, and only without a page in flight.
//!   So no record is taken twice.
//! - Each time slice ends like a whole window, with a page that is not full. So no record is
//!   missed, even if records are not in order of time.
//!
//! A time slice that is split keeps its cursor, in a window that ends earlier. This requires that
//! message ids are global to the account, not to the window. WeChat's own example shows global ids,
//! but WeChat does not document them. With one connection nothing is split, and each window is
//! walked as WeChat documents it.

use super::pager::{ContractError, PageFacts, Pager};
use super::window::windows;
use crate::calendar::{Span, UnixSeconds};
use crate::wechat::PageRequest;

/// The minimum number of expected pages for each part of a split. The last page of each time slice
/// is partly empty, so smaller parts would need many more requests.
const PAGES_WORTH_SPLITTING: f64 = 2.5;

/// Identifies a time slice within its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeSliceId(usize);

/// The part of a span that one cursor walks.
#[derive(Debug)]
struct TimeSlice {
    pager: Pager,
    /// Whether a page is in flight.
    is_asked: bool,
    /// Time of the latest record so far; before the window while there is none.
    taken_until: UnixSeconds,
}

/// The time slices of a span.
#[derive(Debug)]
pub(super) struct Plan {
    time_slices: Vec<TimeSlice>,
    page_records: usize,
    proves_ends: bool,
}

impl TimeSlice {
    fn new(window: Span, page_records: usize, proves_end: bool) -> Self {
        Self {
            pager: Pager::new(window, page_records).with_proved_end(proves_end),
            is_asked: false,
            taken_until: window.start - 1,
        }
    }
}

impl Plan {
    /// Creates a time slice for each window of at most 24 hours. With `proves_ends`, each makes one
    /// more call after its last page.
    pub(super) fn new(span: Span, page_records: usize, proves_ends: bool) -> Self {
        let slice = |window: Span| TimeSlice::new(window, page_records, proves_ends);
        let time_slices = windows(span).into_iter().map(slice).collect();
        Self { time_slices, page_records, proves_ends }
    }

    /// The current windows.
    pub(super) fn windows(&self) -> impl Iterator<Item = Span> {
        self.time_slices.iter().map(|slice| slice.pager.window())
    }

    /// Whether every time slice is complete.
    pub(super) fn is_complete(&self) -> bool {
        self.time_slices.iter().all(|slice| slice.pager.is_complete())
    }

    /// Whether a page can be requested now.
    pub(super) fn is_waiting(&self) -> bool {
        self.time_slices.iter().any(|slice| !slice.is_asked && !slice.pager.is_complete())
    }

    /// The earliest time slice without a page in flight, its window and its next request. Marks a
    /// page as in flight.
    pub(super) fn next_request(&mut self) -> Option<(TimeSliceId, Span, PageRequest)> {
        let waiting = self.time_slices.iter_mut().enumerate().filter(|(_, slice)| !slice.is_asked);
        let (index, request) = waiting
            .filter_map(|(index, slice)| Some((index, slice.pager.next_request()?)))
            .min_by_key(|(_, request)| request.starttime)?;
        let slice = self.time_slices.get_mut(index)?;
        slice.is_asked = true;
        Some((TimeSliceId(index), slice.pager.window(), request))
    }

    /// Accepts the requested page. `latest` is the time of the latest record in the page. Returns
    /// whether the time slice is complete. A page that `is_doubtful` is the last one only after
    /// another call proves it.
    ///
    /// # Errors
    /// [`ContractError`] when the page is contradictory.
    pub(super) fn accept(
        &mut self,
        id: TimeSliceId,
        page: PageFacts,
        latest: Option<UnixSeconds>,
        is_doubtful: bool,
    ) -> Result<bool, ContractError> {
        let Some(slice) = self.time_slices.get_mut(id.0) else { return Ok(true) };
        slice.is_asked = false;
        slice.pager.accept(page, is_doubtful)?;
        let before = slice.taken_until;
        slice.taken_until = before.max(latest.unwrap_or(before));
        Ok(slice.pager.is_complete())
    }

    /// Whether the pages of a time slice hold fewer records than requested.
    pub(super) fn is_capped(&self, id: TimeSliceId) -> bool {
        self.time_slices.get(id.0).is_some_and(|slice| slice.pager.is_capped())
    }

    /// Splits the rest of a time slice for up to `others` more cursors. Does nothing while a page
    /// of it is in flight. `page_seconds` is the time that its latest page covers, in seconds.
    /// Returns the new windows, in order.
    pub(super) fn split(&mut self, id: TimeSliceId, page_seconds: i64, others: usize) -> Vec<Span> {
        let Some(slice) = self
            .time_slices
            .get_mut(id.0)
            .filter(|slice| !slice.is_asked && slice.pager.is_walking())
        else {
            return Vec::new();
        };
        let window = slice.pager.window();
        let rest = Span { start: slice.taken_until + 1, end: window.end };
        let pages = rest.seconds() as f64 / page_seconds.max(1) as f64;
        let parts = ((pages / PAGES_WORTH_SPLITTING) as i64)
            .clamp(1, others as i64 + 1)
            .min(rest.seconds());
        if parts < 2 {
            return Vec::new();
        }
        let bound = |part: i64| rest.start + rest.seconds() * part / parts;
        slice.pager.end_earlier(bound(1));
        let windows: Vec<Span> =
            (1..parts).map(|part| Span { start: bound(part), end: bound(part + 1) }).collect();
        let (page_records, proves_ends) = (self.page_records, self.proves_ends);
        let slice = |window: &Span| TimeSlice::new(*window, page_records, proves_ends);
        self.time_slices.extend(windows.iter().map(slice));
        windows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: Span = Span { start: 1_000_000, end: 1_086_400 };

    /// Answers like the API. `times` holds the time of each record, by ascending id.
    fn page(times: &[i64], request: &PageRequest) -> (Vec<usize>, PageFacts) {
        let within = |id: &usize| {
            (request.starttime..request.endtime).contains(&times[*id])
                && *id as i64 + 2 > request.msgid
        };
        let ids: Vec<usize> = (0..times.len()).filter(within).take(request.number).collect();
        let msgid = ids.last().map_or(0, |id| *id as i64 + 2);
        let facts = PageFacts { number: ids.len() as i64, msgid, records: ids.len() };
        (ids, facts)
    }

    proptest! {
        /// Holds for any order of the records, any page size and any times of splits.
        #[test]
        fn every_record_is_taken_once_by_the_stretch_of_its_second(
            mut times in prop::collection::vec(DAY.start..DAY.end, 0..300),
            is_sorted in any::<bool>(),
            size in 1usize..12,
            connections in 1usize..9,
            answers in prop::collection::vec(any::<prop::sample::Index>(), 1..50),
            proves_ends in any::<bool>(),
        ) {
            if is_sorted {
                times.sort_unstable();
            }
            let mut plan = Plan::new(DAY, size, proves_ends);
            let mut on_their_way = Vec::new();
            let mut taken: Vec<(TimeSliceId, usize)> = Vec::new();
            let mut answers = answers.iter().cycle();
            let mut calls = 0;
            loop {
                while on_their_way.len() < connections && let Some((id, _, request)) = plan.next_request() {
                    on_their_way.push((id, request));
                }
                if on_their_way.is_empty() {
                    break;
                }
                let (id, request) = on_their_way.remove(answers.next().unwrap().index(on_their_way.len()));
                calls += 1;
                let (ids, facts) = page(&times, &request);
                let (first, last) = (ids.iter().map(|id| times[*id]).min(), ids.iter().map(|id| times[*id]).max());
                taken.extend(ids.iter().map(|record| (id, *record)));
                if !plan.accept(id, facts, last, false).unwrap() {
                    plan.split(id, last.unwrap_or(0) - first.unwrap_or(0), connections - on_their_way.len() - 1);
                }
            }
            let mut walked: Vec<usize> = taken.iter().map(|(_, record)| *record).collect();
            walked.sort_unstable();
            prop_assert_eq!(walked, (0..times.len()).collect::<Vec<_>>());
            // Sorted by time slice, then stably by time, the records have the order that a single
            // cursor would return.
            let windows: Vec<Span> = plan.windows().collect();
            taken.sort_by_key(|(id, _)| windows[id.0].start);
            taken.sort_by_key(|(_, record)| times[*record]);
            let mut alone: Vec<usize> = (0..times.len()).collect();
            alone.sort_by_key(|record| times[*record]);
            prop_assert_eq!(taken.iter().map(|(_, record)| *record).collect::<Vec<_>>(), alone);
            let mut windows = windows;
            windows.sort_by_key(|window| window.start);
            prop_assert!(windows.windows(2).all(|pair| pair[0].end == pair[1].start));
            prop_assert!(calls <= times.len() / size + 1 + (2 + usize::from(proves_ends)) * windows.len());
        }
    }
}
