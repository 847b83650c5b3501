//! What the calls of the simulator ask for.

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct TokenRequest {
    pub(super) appid: String,
    pub(super) secret: String,
    #[serde(default)]
    pub(super) force_refresh: bool,
    #[serde(default = "yes")]
    pub(super) is_stable: bool,
}

fn yes() -> bool {
    true
}

impl TokenRequest {
    pub(super) fn from_query(query: &str) -> Self {
        let text = |name| parameter(query, name).unwrap_or_default();
        Self { appid: text("appid"), secret: text("secret"), force_refresh: true, is_stable: false }
    }
}

/// A parameter of a query. The simulator's own values contain no escapes.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}
