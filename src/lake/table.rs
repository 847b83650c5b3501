//! The tables of the lake.

/// A table: one folder of the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    Messages,
    ResponsePairs,
    Sessions,
    WorkerDaily,
    WorkerHourly,
    AccountDaily,
    Rejects,
}

impl Table {
    pub const ALL: [Self; 7] = [
        Self::Messages,
        Self::ResponsePairs,
        Self::Sessions,
        Self::WorkerDaily,
        Self::WorkerHourly,
        Self::AccountDaily,
        Self::Rejects,
    ];

    /// The tables that are computed from [`Table::Messages`].
    pub const METRICS: [Self; 5] = [
        Self::ResponsePairs,
        Self::Sessions,
        Self::WorkerDaily,
        Self::WorkerHourly,
        Self::AccountDaily,
    ];

    /// Those of the metrics whose rows name customers.
    pub const WITH_OPENIDS: [Self; 2] = [Self::ResponsePairs, Self::Sessions];

    /// Name of the table and of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::ResponsePairs => "response_pairs",
            Self::Sessions => "sessions",
            Self::WorkerDaily => "worker_daily",
            Self::WorkerHourly => "worker_hourly",
            Self::AccountDaily => "account_daily",
            Self::Rejects => "rejects",
        }
    }

    /// The columns by which a file's rows ascend; none where they need not.
    pub fn sorted_by(self) -> &'static [&'static str] {
        match self {
            Self::Messages => &["sent_at", "seq"],
            Self::ResponsePairs => &["asked_at", "openid"],
            Self::Sessions => &["started_at", "openid"],
            Self::WorkerDaily => &["worker"],
            Self::WorkerHourly => &["worker", "hour"],
            // One row; and rejects as they came, window after window.
            Self::AccountDaily | Self::Rejects => &[],
        }
    }

    /// The column whose instants lie in the partition's day; none for a table without one.
    pub fn dated_by(self) -> Option<&'static str> {
        match self {
            Self::Messages => Some("sent_at"),
            Self::ResponsePairs => Some("asked_at"),
            Self::Sessions => Some("started_at"),
            Self::WorkerDaily | Self::WorkerHourly | Self::AccountDaily | Self::Rejects => None,
        }
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
