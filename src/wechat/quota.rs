//! The number of `getmsglist` calls that WeChat still allows today.

use serde::{Deserialize, Serialize};

use super::json::read;
use super::{ApiError, CallError, Client, Integer, Secret, Words, no_json};

/// The limit, the used and the remaining calls of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Quota {
    pub daily_limit: u64,
    pub used: u64,
    pub remain: u64,
}

#[derive(Serialize)]
struct QuotaRequest {
    cgi_path: &'static str,
}

#[derive(Deserialize)]
struct QuotaAnswer {
    quota: Option<Quota>,
    errcode: Option<Integer>,
    errmsg: Option<Words>,
}

impl Client {
    /// Requests the quota of `getmsglist`.
    ///
    /// # Errors
    /// [`CallError`]. Not every account may request the quota.
    pub async fn quota(&self, token: &Secret) -> Result<Quota, CallError> {
        let request = QuotaRequest { cgi_path: "/customservice/msgrecord/getmsglist" };
        let body = self.post("cgi-bin/openapi/quota/get", Some(token), &request).await?;
        let answer: QuotaAnswer = read(&body).ok_or_else(|| {
            CallError::Unreadable(no_json(&body, "in place of the quota")).from_peer(self.peer())
        })?;
        if let Some(error) = ApiError::in_answer(answer.errcode, answer.errmsg) {
            return Err(error.hiding(token).into());
        }
        answer.quota.ok_or_else(|| {
            CallError::Unreadable("it contains neither a quota nor an error".into())
                .from_peer(self.peer())
        })
    }
}
