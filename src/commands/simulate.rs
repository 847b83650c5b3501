//! `kefu simulate`

use std::time::Duration;

use super::wait_for;
use crate::calendar::Clock;
use crate::cli::SimulateArgs;
use crate::failure::{Class, Classified, Failure};
use crate::model::cancel::Cancel;
use crate::simulator::{APPID, Generated, GeneratorOptions, Options, Recorded, SECRET, Simulator};
use crate::telemetry;

#[derive(Debug, thiserror::Error)]
enum SimulateError {
    #[error("cannot read the records")]
    Records(#[source] std::io::Error),
    #[error("cannot serve on port {port}")]
    Port { port: u16, source: std::io::Error },
}

impl Classified for SimulateError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Records(_) => None,
            Self::Port { .. } => Some("choose another port; --port 0 picks a free one".into()),
        }
    }
}

pub(super) fn execute(args: &SimulateArgs, cancel: &Cancel) -> Result<Option<Class>, Failure> {
    let options = Options {
        port: args.port,
        latency: Duration::from_millis(args.latency_ms),
        token_lifetime: Duration::from_secs(args.token_lifetime),
        end_inclusive: args.end_inclusive,
        start_exclusive: args.start_exclusive,
        cursor_inclusive: args.cursor_inclusive,
        page_cap: args.page_cap.map(usize::from),
        shift_hours: args.shift_hours,
        repeat_pages: args.repeat_pages,
        daily_limit: args.daily_limit,
        faults: args.fault.clone(),
        pages_kept: args.keep_pages,
        clock: Clock::System,
    };
    wait_for(1, cancel, async {
        let started = if args.records.is_empty() {
            let generator = GeneratorOptions {
                first_day: args.first_day,
                days: args.days,
                messages_per_day: args.messages_per_day,
                seed: args.seed,
            };
            Simulator::start(Generated::new(generator), options).await
        } else {
            Simulator::start(
                Recorded::read(&args.records).map_err(SimulateError::Records)?,
                options,
            )
            .await
        };
        let simulator =
            started.map_err(|source| SimulateError::Port { port: args.port, source })?;
        let hello = serde_json::json!({ "base_url": simulator.base_url(), "appid": APPID, "secret": SECRET });
        telemetry::print_result(&hello.to_string())?;
        // Serve until the process is stopped.
        std::future::pending().await
    })
}
