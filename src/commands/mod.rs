//! One file per command. Each resolves the arguments, calls the pipeline and prints the result.

mod accounts;
mod days;
mod demo;
mod destination;
mod doctor;
mod each_account;
mod init;
mod manual;
mod prune;
mod redact;
mod report;
mod run;
pub mod shutdown;
mod simulate;
mod sql;
mod stage_observer;
mod status;
mod summary;
mod textfile;
mod verify;
mod welcome;

use std::path::Path;

use crate::calendar::Clock;
use crate::cli::{Cli, Command, GlobalArgs};
use crate::failure::{ErrorKind, Failure};
use crate::hint;
use crate::lake::{Account, Lake, LakeError};
use crate::model::cancel::Cancel;
use crate::pipeline::{AccountJob, Request};
use crate::settings::{self, Flags, Settings};
use crate::threads;

/// Executes the command. Returns an error kind if a part failed. The result of the other parts is
/// then already printed.
///
/// # Errors
/// Fails when there is no result to print.
pub fn execute(cli: &Cli, cancel: &Cancel) -> Result<Option<ErrorKind>, Failure> {
    cli.global.lake.iter().for_each(|lake| hint::set_lake(lake));
    let Some(command) = &cli.command else { return welcome::execute(&cli.global) };
    match command {
        Command::Run(args) => run::run(&cli.global, args, "run", Request::Run, cancel),
        Command::Fetch(args) => run::run(&cli.global, args, "fetch", Request::Fetch, cancel),
        Command::Metrics(args) => run::metrics(&cli.global, args, cancel),
        Command::Accounts(args) => accounts::execute(&cli.global, args),
        Command::Init(args) => init::execute(&cli.global, args, cancel),
        Command::Demo => demo::execute(&cli.global, cancel),
        Command::Status(args) => status::execute(&cli.global, args, cancel),
        Command::Doctor(args) => doctor::execute(&cli.global, args, cancel),
        Command::Prune(args) => prune::execute(&cli.global, args, cancel),
        Command::Redact(args) => redact::redact_lake(&cli.global, args, cancel),
        Command::Forget(args) => redact::forget(&cli.global, args, cancel),
        Command::Verify(args) => verify::execute(&cli.global, args, cancel),
        Command::Report(args) => report::execute(&cli.global, args),
        Command::Sql(args) => sql::execute(&cli.global, args),
        Command::Completions { shell } => manual::completions(*shell),
        Command::Man { command } => manual::man(command.as_deref()),
        Command::Simulate(args) => simulate::execute(args, cancel),
    }
}

/// Checks that there is a lake to read. If only the lake of the demo exists, the hint names it.
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

/// Returns the settings of a command that does not call WeChat. Uses the accounts of the lake if
/// the settings have no account, or if `--account` names an account without settings.
fn settings_for_lake(global: &GlobalArgs, command: &str) -> Result<Settings, Failure> {
    settings_with_flags(&global.flags(), command)
}

/// Returns the settings like [`settings_for_lake`], from these flags.
fn settings_with_flags(flags: &Flags, command: &str) -> Result<Settings, Failure> {
    settings_among(flags, command, Lake::accounts_named)
}

/// Returns the settings like [`settings_for_lake`], from these flags. `accounts` finds accounts of
/// the lake by their names.
fn settings_among(
    flags: &Flags,
    command: &str,
    accounts: fn(&Lake, &[String]) -> Result<Vec<Account>, LakeError>,
) -> Result<Settings, Failure> {
    let settings = Settings::resolve(
        &Flags { accounts: Vec::new(), shard: None, ..flags.clone() },
        &settings::environment,
    )?;
    let known: Vec<String> =
        settings.account_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    if settings.has_account() && flags.accounts.iter().all(|name| known.contains(name)) {
        return Ok(settings.for_names(&flags.accounts).in_shard(flags.shard));
    }
    let lake = settings.open_lake()?;
    require_lake(&lake, command)?;
    let accounts = accounts(&lake, &flags.accounts)?;
    // If the lake has no accounts either, the settings report what is missing.
    let settings = if accounts.is_empty() { settings } else { settings.for_accounts(accounts) };
    Ok(settings.in_shard(flags.shard))
}

/// The job of the account that the settings name. It has neither the API nor the privacy settings.
fn account_job(settings: &Settings) -> Result<AccountJob, Failure> {
    Ok(AccountJob {
        lake: settings.open_lake()?,
        account: settings.account()?,
        zone: settings.zone.value.clone(),
        rules: settings.rules.clone(),
        privacy: None,
        api: None,
        clock: Clock::System,
    })
}

/// Runs the part of a command that waits for the network, with up to `calls` calls in parallel.
fn wait_for<T>(
    calls: usize,
    cancel: &Cancel,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    threads::runtime(calls)?.block_on(cancel.or(work))?
}
