//! The list of an account's workers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{CallCounts, RetryBudget, Source, repair};
use crate::calendar::Day;
use crate::model::ListedWorker;
use crate::wechat::{ApiError, CallError, Integer, Object, Secret, Words, no_json};

/// Maximum total wait between attempts. The list is not worth more: the next run asks again.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// Maximum time for all attempts together. The metrics of the run wait for them.
const TOTAL_MAX: Duration = Duration::from_secs(30);

/// The workers of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerList {
    /// By `worker`, each once.
    pub workers: Vec<ListedWorker>,
    /// Number of entries without a usable `kf_account` and `kf_id`. They are not in `workers`.
    pub unreadable: usize,
}

#[derive(Deserialize)]
struct Answer {
    kf_list: Option<Vec<Value>>,
    errcode: Option<Integer>,
    errmsg: Option<Words>,
}

impl Source {
    /// Asks WeChat for the list of workers. The log names the account and the day.
    ///
    /// # Errors
    /// [`CallError`], after as many attempts as a few seconds of waits allow.
    pub async fn worker_list(&self, account: &str, day: Day) -> Result<WorkerList, CallError> {
        let budget = RetryBudget::of_day(WAIT_MAX, account, day);
        let call = |token: Arc<Secret>| async move {
            let body = self.client.worker_list(&token).await?;
            parse(&body).map_err(|error| error.hiding(&token).from_peer(self.client.peer()))
        };
        let mut calls = CallCounts::default();
        let listed = tokio::time::timeout(TOTAL_MAX, self.repeat(&budget, &mut calls, call)).await;
        let late = || CallError::Unreadable(format!("it took over {} s", TOTAL_MAX.as_secs()));
        listed.unwrap_or_else(|_| Err(late()))
    }
}

fn parse(body: &[u8]) -> Result<WorkerList, CallError> {
    let unreadable = || CallError::Unreadable(no_json(body, "in place of a list of workers"));
    let Object(answer) =
        serde_json::from_str::<Object<Answer>>(&repair(body)).map_err(|_| unreadable())?;
    if let Some(error) = ApiError::in_answer(answer.errcode, answer.errmsg) {
        return Err(error.into());
    }
    let no_list = || CallError::Unreadable("it has no list of workers".to_owned());
    let entries = answer.kf_list.ok_or_else(no_list)?;
    let listed: Vec<ListedWorker> = entries.iter().filter_map(worker).collect();
    let unreadable = entries.len() - listed.len();
    let by_name: BTreeMap<String, ListedWorker> =
        listed.into_iter().map(|listed| (listed.worker.clone(), listed)).collect();
    Ok(WorkerList { workers: by_name.into_values().collect(), unreadable })
}

/// Reads an entry. None without a usable `kf_account` and `kf_id`.
fn worker(entry: &Value) -> Option<ListedWorker> {
    let text = |field: &str| match entry.get(field)? {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let Integer(kf_id) = Integer::deserialize(entry.get("kf_id")?).ok()?;
    Some(ListedWorker { worker: text("kf_account")?, kf_id, nick: text("kf_nick") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(worker: &str, kf_id: i64, nick: Option<&str>) -> ListedWorker {
        ListedWorker { worker: worker.to_owned(), kf_id, nick: nick.map(str::to_owned) }
    }

    #[test]
    fn ids_may_be_strings_and_odd_entries_are_counted() {
        let body = r#"{"kf_list":[
            {"kf_account":"b@acme","kf_nick":"小陈","kf_id":"1002","kf_headimgurl":""},
            {"kf_account":" a@acme ","kf_nick":"half \ud83d a pair","kf_id":1001},
            {"kf_account":"c@acme","kf_nick":"","kf_id":1003},
            {"kf_account":"d@acme","kf_nick":7,"kf_id":1004},
            {"kf_account":"e@acme","kf_nick":"小李","kf_id":"one"}, {"kf_account":"f@acme"},
            {"kf_account":"b@acme","kf_nick":"陈","kf_id":1002},
            {"kf_nick":"nobody","kf_id":1}, {"kf_account":"","kf_id":2}, "x", null
        ]}"#;
        let list = parse(body.as_bytes()).unwrap();
        let workers = [
            listed("a@acme", 1001, Some("half \u{fffd} a pair")),
            listed("b@acme", 1002, Some("陈")),
            listed("c@acme", 1003, None),
            listed("d@acme", 1004, Some("7")),
        ];
        assert_eq!(list, WorkerList { workers: workers.to_vec(), unreadable: 6 });
    }

    #[test]
    fn an_error_or_something_else_is_no_list() {
        let error = |body: &str| parse(body.as_bytes()).unwrap_err().to_string();
        assert!(error(r#"{"errcode":48001,"errmsg":"api unauthorized"}"#).contains("48001"));
        assert!(error("{}").contains("no list of workers"));
        assert!(error(r#"{"kf_list":{}}"#).contains("list of workers"));
        assert!(error("<html>").contains("an HTML page"));
        let none = parse(br#"{"kf_list":[],"errcode":0}"#).unwrap();
        assert_eq!(none, WorkerList::default());
    }
}
