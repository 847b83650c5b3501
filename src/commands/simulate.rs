//! `kefu simulate`

use std::time::Duration;

use super::wait_for;
use crate::calendar::Clock;
use crate::cli::SimulateArgs;
use crate::failure::{Classified, ErrorKind, Failure};
use crate::model::cancel::Cancel;
use crate::simulator::{
    APPID, Generated, GeneratorOptions, Options, Recorded, SECRET, Simulator, appid_of,
};
use crate::telemetry;

#[derive(Debug, thiserror::Error)]
enum SimulateError {
    #[error("cannot read the records")]
    Records(#[source] std::io::Error),
    #[error("cannot serve on port {port}")]
    Port { port: u16, source: std::io::Error },
}

impl Classified for SimulateError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Records(_) => None,
            Self::Port { .. } => Some("choose another port; --port 0 picks a free one".into()),
        }
    }
}

pub(super) fn execute(args: &SimulateArgs, cancel: &Cancel) -> Result<Option<ErrorKind>, Failure> {
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
        gzip: args.gzip,
        hold_until: 0,
        clock: Clock::System,
    };
    wait_for(1, cancel, async {
        let generator = GeneratorOptions {
            first_day: args.first_day,
            days: args.days,
            messages_per_day: args.messages_per_day,
            seed: args.seed,
        };
        let large = args.large_account;
        let of_account = move |account: u32| {
            let messages_per_day =
                large.filter(|_| account == 1).unwrap_or(generator.messages_per_day);
            let seed = generator.seed.wrapping_add(account.into());
            Generated::new(GeneratorOptions { messages_per_day, seed, ..generator })
        };
        let started = match (args.accounts, args.records.as_slice()) {
            (Some(count), _) => Simulator::start_many(count, of_account, options).await,
            (None, []) => Simulator::start(Generated::new(generator), options).await,
            (None, files) => {
                let records = Recorded::read(files).map_err(SimulateError::Records)?;
                Simulator::start(records, options).await
            }
        };
        let simulator =
            started.map_err(|source| SimulateError::Port { port: args.port, source })?;
        let appid = args.accounts.map_or_else(|| APPID.to_owned(), |_| appid_of(1));
        let mut hello = serde_json::json!({ "base_url": simulator.base_url(), "appid": appid, "secret": SECRET });
        if let (Some(count), Some(hello)) = (args.accounts, hello.as_object_mut()) {
            hello.insert("accounts".into(), count.into());
        }
        telemetry::print_result(&hello.to_string())?;
        // Serve until the process is stopped.
        std::future::pending().await
    })
}
