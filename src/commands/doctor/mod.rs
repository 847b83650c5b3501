//! `kefu doctor`: shows the settings with their origins, and checks whether they work.

mod api;
mod local;
mod probe;

use serde::Serialize;
use serde_json::json;

use super::wait_for;
use crate::calendar::Clock;
use crate::cli::{DoctorArgs, GlobalArgs, OutputFormat};
use crate::failure::{ErrorKind, Failure};
use crate::model::cancel::Cancel;
use crate::settings::{self, Listed, Settings};
use crate::telemetry;

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// kefu works, but the user should know about this.
    Warn,
    /// kefu cannot work.
    Fail,
}

/// A check and its result. As JSON, part of kefu's contract.
#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    /// The account, if there are several and the check is about one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    state: State,
    /// What was found.
    finding: String,
    /// What to do about it.
    advice: Option<String>,
    /// The error kind of the failure.
    #[serde(rename = "class")]
    kind: Option<ErrorKind>,
}

impl Check {
    fn ok(check: &'static str, finding: impl Into<String>) -> Self {
        Self {
            check,
            account: None,
            state: State::Ok,
            finding: finding.into(),
            advice: None,
            kind: None,
        }
    }

    fn warn(check: &'static str, finding: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: State::Warn, advice: Some(advice.into()), ..Self::ok(check, finding) }
    }

    fn fail(check: &'static str, failure: impl Into<Failure>) -> Self {
        let failure = failure.into();
        let finding = failure.to_string();
        Self {
            state: State::Fail,
            advice: failure.hint,
            kind: Some(failure.kind),
            ..Self::ok(check, finding)
        }
    }

    /// Returns the check, or the failure that prevented it.
    fn of<E: Into<Failure>>(check: &'static str, found: Result<Self, E>) -> Self {
        found.unwrap_or_else(|error| Self::fail(check, error))
    }
}

#[derive(Debug, Serialize)]
struct Examination {
    command: &'static str,
    settings: Vec<Listed>,
    checks: Vec<Check>,
    /// The worst error kind, or null when nothing fails.
    worst: Option<ErrorKind>,
}

pub(super) fn execute(
    global: &GlobalArgs,
    args: &DoctorArgs,
    cancel: &Cancel,
) -> Result<Option<ErrorKind>, Failure> {
    // `--probe` and `--date` require each other.
    if let Some(day) = args.date {
        return probe::execute(global, day, cancel);
    }
    let (settings, checks) = match Settings::resolve(&global.flags(), &settings::environment) {
        Ok(settings) => (settings.listed(), examine(&settings, cancel)?),
        Err(error) => (Vec::new(), vec![Check::fail("settings", error)]),
    };
    let worst = checks.iter().filter_map(|check| check.kind).max_by_key(|kind| kind.severity());
    let examination = Examination { command: "doctor", settings, checks, worst };
    telemetry::print_result(&match global.output {
        OutputFormat::Json => json!(examination).to_string(),
        OutputFormat::Table => examination.render(),
    })?;
    Ok(worst)
}

/// Checks this machine first, then what WeChat answers.
fn examine(settings: &Settings, cancel: &Cancel) -> Result<Vec<Check>, Failure> {
    let lake = match settings.open_lake() {
        Ok(lake) => lake,
        Err(error) => return Ok(vec![Check::fail("lake", error)]),
    };
    let clock = Clock::System;
    if !lake.is_in_folder()
        && let Err(error) = lake.strays()
    {
        // All other checks of the lake would say the same, each after its retries.
        let mut checks = vec![local::secrets(settings), Check::fail("bucket", error)];
        checks.extend(wait_for(1, cancel, async { Ok(api::examine(settings, &clock).await) })?);
        return Ok(checks);
    }
    let mut checks = vec![
        local::secrets(settings),
        local::privacy(settings, &lake),
        local::time_zone(&lake, &settings.zone.value, &clock),
        local::disk(&lake),
        local::lake(&lake),
        local::app(settings, &lake),
        match lake.is_in_folder() {
            true => local::lock(&lake),
            false => local::bucket(&lake),
        },
    ];
    if !lake.is_in_folder() {
        checks.extend([local::bucket_access(&lake), local::bucket_clock(&lake)]);
    }
    checks.extend(wait_for(1, cancel, async { Ok(api::examine(settings, &clock).await) })?);
    Ok(checks)
}

impl Examination {
    fn render(&self) -> String {
        let mut lines = Vec::new();
        let titles: Vec<String> = self
            .settings
            .iter()
            .map(|listed| titled(listed.name, listed.account.as_deref()))
            .collect();
        let widest = |texts: &mut dyn Iterator<Item = &str>| {
            texts.map(|text| text.chars().count()).max().unwrap_or(0)
        };
        let name_width = widest(&mut titles.iter().map(String::as_str));
        // A long path must not push the origins of all other settings to the right.
        let value_width =
            widest(&mut self.settings.iter().map(|listed| listed.value.as_str())).min(40);
        for (title, listed) in titles.iter().zip(&self.settings) {
            lines.push(format!(
                "{title:<name_width$}  {:<value_width$}  {}",
                listed.value, listed.origin
            ));
        }
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let titles: Vec<String> =
            self.checks.iter().map(|check| titled(check.check, check.account.as_deref())).collect();
        let title_width = widest(&mut titles.iter().map(String::as_str));
        for (title, check) in titles.iter().zip(&self.checks) {
            let state = match check.state {
                State::Ok => "ok",
                State::Warn => "warn",
                State::Fail => "FAIL",
            };
            lines.push(format!("{state:<4}  {title:<title_width$}  {}", check.finding));
            lines.extend(
                check.advice.iter().map(|advice| format!("      {:<title_width$}  → {advice}", "")),
            );
        }
        lines.join("\n")
    }
}

fn titled(name: &str, account: Option<&str>) -> String {
    account.map_or_else(|| name.to_owned(), |account| format!("{account}: {name}"))
}
