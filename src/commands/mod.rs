//! One file per verb: from what was typed to what is shown.

mod days;
mod demo;
mod doctor;
mod each_account;
mod manual;
mod metrics;
mod prune;
mod recorder;
mod redact;
mod report;
mod run;
mod simulate;
mod sql;
mod stage_observer;
mod status;
mod summary;
mod verify;
mod welcome;

use std::path::Path;

use crate::cli::{Cli, Command, GlobalArgs};
use crate::failure::{Class, Failure};
use crate::lake::{Lake, LakeError};
use crate::settings::{self, Flags, Settings};
use crate::threads;

/// Does what was asked for. The class of what did not succeed, where the rest did and has been shown.
///
/// # Errors
/// When there is nothing to show but the failure.
pub fn execute(cli: &Cli) -> Result<Option<Class>, Failure> {
    let Some(command) = &cli.command else { return welcome::execute(&cli.global) };
    match command {
        Command::Run(args) => run::execute(&cli.global, args, run::Half::Both),
        Command::Fetch(args) => run::execute(&cli.global, args, run::Half::FetchOnly),
        Command::Metrics(args) => metrics::execute(&cli.global, args),
        Command::Demo => demo::execute(&cli.global),
        Command::Status(args) => status::execute(&cli.global, args),
        Command::Doctor(args) => doctor::execute(&cli.global, args),
        Command::Prune(args) => prune::execute(&cli.global, args),
        Command::Redact(args) => redact::redact_lake(&cli.global, args),
        Command::Forget(args) => redact::forget(&cli.global, args),
        Command::Verify(args) => verify::execute(&cli.global, args),
        Command::Report(args) => report::execute(&cli.global, args),
        Command::Sql => sql::execute(&cli.global),
        Command::Completions { shell } => manual::completions(*shell),
        Command::Man { command } => manual::man(command.as_deref()),
        Command::Simulate(args) => simulate::execute(args),
    }
}

/// Checks that there is a lake to read. Where there is none but that of the demo, the hint names
/// it.
fn require_lake(lake: &Lake, command: &str) -> Result<(), Failure> {
    lake.require_folder().map_err(|error| {
        let has_demo = matches!(error, LakeError::Absent { .. }) && Path::new(demo::LAKE).is_dir();
        let mut failure = Failure::from(error);
        if has_demo {
            failure.hint = Some(format!(
                "run `kefu {command} --lake {lake}` for the lake of `kefu demo`. For your own lake, run `kefu run`, or name the lake with --lake or KEFU_LAKE",
                lake = demo::LAKE
            ));
        }
        failure
    })
}

/// The settings of a command that calls nobody. Without an account of their own, or where an
/// account is asked for that only the lake has, they are for the lake's accounts.
fn settings_for_lake(global: &GlobalArgs, command: &str) -> Result<Settings, Failure> {
    let flags = global.flags();
    let settings = Settings::resolve(
        &Flags { accounts: Vec::new(), ..flags.clone() },
        &settings::environment,
    )?;
    let known: Vec<String> = settings
        .each_account()
        .filter_map(|settings| Some(settings.account().ok()?.to_string()))
        .collect();
    if settings.has_account() && flags.accounts.iter().all(|name| known.contains(name)) {
        return Ok(Settings::resolve(&flags, &settings::environment)?);
    }
    let lake = Lake::at(&settings.lake.value);
    require_lake(&lake, command)?;
    let accounts = lake.accounts_named(&flags.accounts)?;
    // With none at all, the settings say what they lack.
    Ok(if accounts.is_empty() { settings } else { settings.for_accounts(accounts) })
}

/// Runs the part of a command that waits for the network, with `calls` side by side.
fn wait_for<T>(calls: usize, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    threads::runtime(calls)?.block_on(work)
}
