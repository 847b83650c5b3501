//! The WeChat API: requests, tokens, and error codes with the action that each requires.
//!
//! Makes single calls and reports what went wrong. [`crate::fetch`] decides whether and when to
//! retry. No error of this module contains a URL, because the access token is part of every URL.

mod base_url;
mod body;
mod client;
mod code;
mod endpoint;
mod json;
mod quota;
mod token;
mod transport;
mod user_command;

pub use crate::secret::Secret;
pub use base_url::BaseUrl;
pub(crate) use base_url::is_loopback;
pub use body::no_json;
pub use client::{CallError, Client, DatedBody};
pub use code::{Action, ApiError};
pub use endpoint::{Endpoint, Peer, Proxy, check_certificates, is_exempt};
pub(crate) use json::{Integer, Object, Words};
pub use quota::Quota;
pub use token::{Credential, Places, Proof, Renewal, Renewed, Tokens};
pub use transport::{TransportError, Trouble, Whose};
pub use user_command::{TokenCommandError, UserCommand, Why};

/// The msgid that requests a window's first page.
pub const FIRST_MSGID: i64 = 1;

/// The maximum number of records on one page.
pub const PAGE_RECORDS_MAX: usize = 10_000;

/// The maximum length of one window, in seconds. Exactly this length is allowed.
pub const WINDOW_SECONDS_MAX: i64 = 86_400;

/// The body of a `getmsglist` call: one page of one window.
///
/// `{"starttime":987654321,"endtime":987654321,"msgid":1,"number":10000}`
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PageRequest {
    pub starttime: i64,
    pub endtime: i64,
    pub msgid: i64,
    pub number: usize,
}
