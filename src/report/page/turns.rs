//! Rows of the turns without an answer.

use super::{Value, value, visible, worker_label};
use crate::report::figures::UnansweredTurn;
use crate::report::language::Language;
use crate::report::metric::Unit;

pub(super) struct TurnRow {
    pub account: String,
    pub asked_at: String,
    pub worker: String,
    pub customer: String,
    pub kind: &'static str,
    pub waited: Value,
    pub messages: Value,
    /// Texts of the turn's messages. None for a text that is not in the lake.
    pub texts: Vec<Option<String>>,
    pub more: Option<String>,
}

pub(super) fn turn_row(turn: &UnansweredTurn, language: Language) -> TurnRow {
    let words = language.words();
    let texts = turn
        .texts
        .iter()
        .flat_map(|texts| &texts.texts)
        .map(|text| text.as_deref().map(visible))
        .collect();
    let more = turn.texts.as_ref().map_or(0, |texts| texts.more);
    TurnRow {
        account: turn.account.to_string(),
        asked_at: turn.asked_at.clone(),
        worker: worker_label(&turn.worker, turn.name.as_ref()),
        customer: visible(&turn.customer),
        kind: if turn.is_first { words.first_kind } else { words.later_kind },
        waited: value(Unit::Seconds, Some(turn.waited_seconds as f64), language),
        messages: value(Unit::Count, Some(turn.customer_messages as f64), language),
        texts,
        more: (more > 0).then(|| language.more_messages(more)),
    }
}
