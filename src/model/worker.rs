//! A worker in the list of an account.

/// An entry of WeChat's list of workers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedWorker {
    /// WeChat's `kf_account`, which is the `worker` of records.
    pub worker: String,
    /// WeChat's number of the worker.
    pub kf_id: i64,
    /// The name that people see. None where WeChat gives none, or where the settings leave it out.
    pub nick: Option<String>,
}
