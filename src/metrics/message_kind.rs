//! What a message does in a conversation.

use super::Parameters;
use super::history::Message;

/// The kind of a message, by the message before it in the customer's timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An IN after silence: the start of a session and of a turn.
    SessionStart,
    /// An IN after an OUT: the start of a turn.
    TurnStart,
    /// An IN after an IN: another message of the same turn.
    Continuation,
    /// An OUT after an IN: the reply to that turn.
    Reply,
    /// An OUT after an OUT.
    FollowUp,
    /// Any other OUT: the start of a session by the worker.
    Outreach,
}

impl Kind {
    /// Classifies a message. A gap equal to a limit counts as within the limit.
    pub(super) fn of(
        message: &Message,
        previous: Option<&Message>,
        parameters: &Parameters,
    ) -> Self {
        let Some(previous) = previous else {
            return if message.inbound { Self::SessionStart } else { Self::Outreach };
        };
        let gap = message.sent_at() - previous.sent_at();
        match (previous.inbound, message.inbound) {
            (_, true) if gap > parameters.session_gap => Self::SessionStart,
            (false, true) => Self::TurnStart,
            (true, true) => Self::Continuation,
            (true, false) if gap <= parameters.reply_window => Self::Reply,
            (false, false) if gap <= parameters.session_gap => Self::FollowUp,
            (_, false) => Self::Outreach,
        }
    }

    pub(super) fn starts_turn(self) -> bool {
        matches!(self, Self::SessionStart | Self::TurnStart)
    }

    pub(super) fn starts_session(self) -> bool {
        matches!(self, Self::SessionStart | Self::Outreach)
    }
}
