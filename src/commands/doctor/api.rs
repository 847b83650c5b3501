//! Checks what WeChat answers. Makes each call once, without retries.

use time::{Duration, OffsetDateTime};

use super::Check;
use crate::calendar::{Clock, Span};
use crate::failure::{Classified, ErrorKind, Failure};
use crate::fetch::decode;
use crate::settings::Settings;
use crate::wechat::{
    Action, CallError, Client, FIRST_MSGID, PageRequest, Proof, Quota, Secret, Tokens,
};

/// Maximum difference of the clocks in seconds. A smaller difference can come from the call itself.
const SKEW_SECONDS_MAX: i64 = 5;

/// All calls of the day are used up.
#[derive(Debug, thiserror::Error)]
#[error("all {0} calls of today's quota are used up")]
struct UsedUp(u64);

impl Classified for UsedUp {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Quota
    }

    fn hint(&self) -> Option<String> {
        Some("run again tomorrow. Fetched days stay in the lake".into())
    }
}

pub(super) async fn examine(settings: &Settings, clock: &Clock) -> Vec<Check> {
    let connected =
        settings.endpoint().map_err(Failure::from).and_then(|endpoint| Ok(Client::new(&endpoint)?));
    let client = match connected {
        Ok(client) => client,
        Err(failure) => return vec![Check::fail("network", failure)],
    };
    let mut checks = network_and_clock(&client, settings, clock).await;
    let can_be_reached = checks.iter().all(|check| check.kind.is_none());
    let accounts: Vec<Settings> = settings.each_account().collect();
    for settings in &accounts {
        let name =
            settings.account().ok().map(|name| name.to_string()).filter(|_| accounts.len() > 1);
        let of_account = account(&client, settings, clock, can_be_reached).await;
        checks.extend(of_account.into_iter().map(|check| Check { account: name.clone(), ..check }));
    }
    checks
}

/// Calls the API without a token, to check whether it answers and what its clock says.
async fn network_and_clock(client: &Client, settings: &Settings, clock: &Clock) -> Vec<Check> {
    let address = settings.base_url.value.url();
    let asked = clock.now();
    let there = match client.server_time().await {
        Ok(there) => there,
        Err(error) => return vec![Check::fail("network", error)],
    };
    let took: Duration = clock.now() - asked;
    let proxy = client.peer().proxy.as_ref();
    let through = proxy.map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"));
    let network = Check::ok(
        "network",
        format!("{address} answered within {} ms{through}", took.whole_milliseconds()),
    );
    let Some(there) = there else {
        return vec![
            network,
            Check::warn(
                "clock",
                "WeChat's answer has no date",
                "compare this machine's clock with another one",
            ),
        ];
    };
    let ahead: Duration = asked + took / 2 - OffsetDateTime::from(there);
    let skew = match ahead.whole_seconds() {
        ahead if ahead.abs() <= SKEW_SECONDS_MAX => {
            Check::ok("clock", "agrees with WeChat's clock")
        }
        ahead => Check::warn(
            "clock",
            format!(
                "this machine's clock is {} s {} WeChat's clock",
                ahead.abs(),
                if ahead > 0 { "ahead of" } else { "behind" }
            ),
            "set the clock with NTP: it decides which days are over and can be fetched",
        ),
    };
    vec![network, skew]
}

/// Checks token, permission and quota.
async fn account(
    client: &Client,
    settings: &Settings,
    clock: &Clock,
    can_be_reached: bool,
) -> Vec<Check> {
    let unknown = |check| Check::warn(check, "not known", "fix the failed check above first");
    // Without an account name, there is no place to store fetched records.
    let credential = match settings.account().and_then(|_| settings.credential()) {
        Ok(credential) => credential,
        Err(error) => {
            return vec![Check::fail("token", error), unknown("permission"), unknown("quota")];
        }
    };
    if !can_be_reached {
        return vec![unknown("token"), unknown("permission"), unknown("quota")];
    }
    let from = match &credential.proof {
        Proof::AppSecret { .. } => "WeChat gave a token for the app id and its secret",
        Proof::AccessToken(_) => "a token is set, and another service manages it",
        Proof::Command(_) => "the command printed a token",
    };
    let is_given = !matches!(credential.proof, Proof::AppSecret { .. });
    let places = credential.places.clone();
    // A refused token needs another hint if kefu cannot renew it.
    let about = |error: CallError| match &error {
        CallError::Api(refusal) if is_given && refusal.action() == Action::RenewToken => {
            error.on_given_token(&places)
        }
        _ => error,
    };
    match Tokens::new(credential, client.clone()).current().await {
        Err(error) => vec![Check::fail("token", error), unknown("permission"), unknown("quota")],
        Ok(token) => vec![
            Check::ok("token", from),
            Check::of(
                "permission",
                permission(client, &token, settings, clock).await.map_err(about),
            ),
            quota(client.quota(&token).await),
        ],
    }
}

/// Requests one record of the first hour of yesterday, only to check whether WeChat answers.
async fn permission(
    client: &Client,
    token: &Secret,
    settings: &Settings,
    clock: &Clock,
) -> Result<Check, CallError> {
    let zone = &settings.zone.value;
    let yesterday = zone.day_of(clock.now().unix_timestamp()).plus(-1);
    let start = zone.bounds(yesterday).start;
    let hour = Span { start, end: start + 3_600 };
    let request =
        PageRequest { starttime: hour.start, endtime: hour.end, msgid: FIRST_MSGID, number: 1 };
    let answer = client.message_page(token, &request).await?;
    decode(&answer.body, hour).map_err(|error| error.hiding(token).from_peer(client.peer()))?;
    Ok(Check::ok("permission", "getmsglist answered"))
}

/// Checks the quota. Not every account may request it, and a run does not need it.
fn quota(answer: Result<Quota, CallError>) -> Check {
    match answer {
        Ok(Quota { remain: 0, daily_limit, .. }) => Check::fail("quota", UsedUp(daily_limit)),
        Ok(Quota { remain, daily_limit, .. }) => {
            let left = format!("{remain} of {daily_limit} calls of getmsglist left today");
            if remain < daily_limit / 10 {
                Check::warn(
                    "quota",
                    left,
                    "plan one call for each page of 10,000 records, and one for each day without records",
                )
            } else {
                Check::ok("quota", left)
            }
        }
        Err(error) => Check::warn(
            "quota",
            format!("not known: {error}"),
            "nothing to do: kefu works without this number",
        ),
    }
}
