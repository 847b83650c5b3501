//! `kefu doctor --probe`: compares the behaviour of the API with what kefu assumes.

use comfy_table::{Table as TextTable, presets};
use serde::Serialize;

use crate::calendar::{Clock, Day, DayRange};
use crate::cli::{GlobalArgs, NamedDay};
use crate::commands::each_account::{Report, for_each_account};
use crate::commands::{days, wait_for};
use crate::failure::{ErrorKind, Failure};
use crate::fetch::{Answer, AnswerState, Probe, Question, Source};
use crate::model::cancel::Cancel;
use crate::printable::counted;
use crate::settings::{self, Settings};

/// JSON output, part of kefu's contract.
#[derive(Debug, Serialize)]
struct Probed {
    command: &'static str,
    account: String,
    timezone: String,
    date: Day,
    /// Number of records of the day that were read.
    records: usize,
    requests: u64,
    probe: Vec<Row>,
    /// The error kind, or null when nothing that kefu relies on differs.
    worst: Option<ErrorKind>,
}

/// A question about the API, with the assumption and the answer.
#[derive(Debug, Serialize)]
struct Row {
    assumed: &'static str,
    #[serde(flatten)]
    answer: Answer,
}

pub(super) fn execute(
    global: &GlobalArgs,
    day: NamedDay,
    cancel: &Cancel,
) -> Result<Option<ErrorKind>, Failure> {
    let settings = Settings::resolve(&global.flags(), &settings::environment)?;
    for_each_account("doctor", &settings, global.output, cancel, |settings| {
        probe(settings, day, cancel)
    })
}

/// Probes the API for one account.
fn probe(settings: &Settings, day: NamedDay, cancel: &Cancel) -> Result<Probed, Failure> {
    let zone = &settings.zone.value;
    let yesterday = days::last_over(zone, &Clock::System);
    let day = day.day(yesterday);
    // A day that is not over could change during the probe.
    days::over(DayRange { first: day, last: day }, yesterday, zone)?;
    let account = settings.account()?;
    let source = Source::connect(&settings.endpoint()?, settings.credential()?, Clock::System)?;
    let asked = async {
        let retry_budget = source.retry_budget(account.as_str(), day);
        let probe = source.probe(zone.bounds(day), &retry_budget).await;
        probe.map_err(|error| Failure::from(error).during(format!("{account}, {day}: not probed")))
    };
    let probe: Probe = wait_for(1, cancel, asked)?;
    let worst = probe.differs().then_some(ErrorKind::Contract);
    let row = |answer: Answer| Row { assumed: answer.question.assumed(), answer };
    Ok(Probed {
        command: "doctor",
        account: account.to_string(),
        timezone: zone.name().to_owned(),
        date: day,
        records: probe.records,
        requests: probe.calls.requests,
        probe: probe.answers.into_iter().map(row).collect(),
        worst,
    })
}

impl Report for Probed {
    fn kind(&self) -> Option<ErrorKind> {
        self.worst
    }

    fn render(&self) -> String {
        let mut table = TextTable::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["", "question", "kefu assumes", "found"]);
        for Row { assumed, answer } in &self.probe {
            table.add_row([word(answer.state), title(answer.question), assumed, &answer.found]);
        }
        let header = format!(
            "{} · {} · {}: {}, {}",
            self.account,
            self.timezone,
            self.date,
            counted(self.records, "record"),
            counted(self.requests, "call")
        );
        let has = |state| self.probe.iter().any(|row| row.answer.state == state);
        let verdict = if self.worst.is_some() {
            "WeChat does not meet kefu's assumptions. Fetched days may lack records or have some twice. Report this result"
        } else if has(AnswerState::NotTellable) {
            "no assumption failed on this day, but not all could be tested; probe a day with more records"
        } else {
            "all assumptions hold"
        };
        format!("{header}\n{table}\n{verdict}")
    }
}

fn word(state: AnswerState) -> &'static str {
    match state {
        AnswerState::Holds => "ok",
        AnswerState::Note => "note",
        AnswerState::Differs => "DIFFERS",
        AnswerState::NotTellable => "unknown",
    }
}

fn title(question: Question) -> &'static str {
    match question {
        Question::WindowStart => "start of a window",
        Question::WindowEnd => "end of a window",
        Question::InsideWindow => "records in the requested window",
        Question::Cursor => "msgid of a page",
        Question::LastPage => "last page",
        Question::PageSize => "size of a page",
        Question::TimeOrder => "order of time",
    }
}
