//! What one run of an account works on, and what is asked of it.

use std::collections::BTreeSet;

use super::{MetricsJob, Network, Wanted};
use crate::calendar::{Clock, Day, Zone};
use crate::lake::{Account, AppId, Lake};
use crate::metrics::Rules;
use crate::model::privacy::Privacy;
use crate::wechat::Credential;

/// One account, and where its records come from and go.
#[derive(Clone, Debug)]
pub struct AccountJob {
    pub lake: Lake,
    pub account: Account,
    pub zone: Zone,
    pub rules: Rules,
    /// The settings for personal data. None where they are unknown; then nothing is fetched.
    pub privacy: Option<Privacy>,
    /// The API. None where only metrics are computed.
    pub api: Option<Api>,
    pub clock: Clock,
}

/// The API, and how an account proves its identity.
#[derive(Clone, Debug)]
pub struct Api {
    /// Shared with other accounts.
    pub network: Network,
    pub credential: Credential,
    /// The app whose records are fetched, where it is known: with a token alone it is not.
    pub app_id: Option<AppId>,
    /// Calls at the same time of this account: of several days, or of parts of a large one.
    pub concurrency: usize,
}

/// What to do for an account.
#[derive(Clone, Debug)]
pub enum Request {
    /// Fetch days, then rebuild the metrics that depend on them.
    Run(Wanted),
    /// Fetch days.
    Fetch(Wanted),
    /// Rebuild the metrics of these days, or of all fetched days.
    Metrics(Option<BTreeSet<Day>>),
    /// Remove the personal data that the privacy settings do not keep.
    Redact,
    /// Remove the customers with these openids.
    Forget(Vec<String>),
}

impl Request {
    /// The name of the command.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Fetch(_) => "fetch",
            Self::Metrics(_) => "metrics",
            Self::Redact => "redact",
            Self::Forget(_) => "forget",
        }
    }
}

impl AccountJob {
    /// The part that computes metrics.
    pub fn metrics(&self) -> MetricsJob {
        MetricsJob {
            lake: self.lake.clone(),
            account: self.account.clone(),
            zone: self.zone.clone(),
            rules: self.rules.clone(),
        }
    }
}
