//! How many calls of `getmsglist` WeChat still allows today.

use serde::{Deserialize, Serialize};

use super::{ApiError, CallError, Client, Secret, no_json};

/// The calls of one day.
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
    #[serde(default)]
    errcode: i64,
    #[serde(default)]
    errmsg: String,
}

impl Client {
    /// Asks for the quota of `getmsglist`.
    ///
    /// # Errors
    /// [`CallError`]; not every account may ask.
    pub async fn quota(&self, token: &Secret) -> Result<Quota, CallError> {
        let request = QuotaRequest { cgi_path: "/customservice/msgrecord/getmsglist" };
        let body = self.post("cgi-bin/openapi/quota/get", Some(token), &request).await?;
        let answer: QuotaAnswer = serde_json::from_slice(&body).map_err(|_| {
            CallError::Unreadable(no_json(&body, "of the quota")).from_peer(self.peer())
        })?;
        match answer.quota {
            Some(quota) if answer.errcode == 0 => Ok(quota),
            _ if answer.errcode != 0 => {
                let error = ApiError {
                    code: answer.errcode,
                    message: answer.errmsg,
                    on_token_endpoint: false,
                };
                Err(error.hiding(token).into())
            }
            _ => Err(CallError::Unreadable("it holds neither a quota nor an error".into())
                .from_peer(self.peer())),
        }
    }
}
