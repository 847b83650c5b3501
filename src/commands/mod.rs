//! One file per verb: from what was typed to what is shown.

mod days;
mod demo;
mod doctor;
mod in_turn;
mod manual;
mod metrics;
mod operated;
mod prune;
mod report;
mod run;
mod simulate;
mod sql;
mod status;
mod summary;
mod verify;

use crate::cli::{Cli, Command};
use crate::failure::{BugError, Class, Failure};

/// Does what was asked for. The class of what did not succeed, where the rest did and has been shown.
///
/// # Errors
/// When there is nothing to show but the failure.
pub fn execute(cli: &Cli) -> Result<Option<Class>, Failure> {
    match &cli.command {
        Command::Run(args) => run::execute(&cli.global, args, run::Half::Both),
        Command::Fetch(args) => run::execute(&cli.global, args, run::Half::FetchOnly),
        Command::Metrics(args) => metrics::execute(&cli.global, args),
        Command::Demo => demo::execute(&cli.global),
        Command::Status(args) => status::execute(&cli.global, args),
        Command::Doctor => doctor::execute(&cli.global),
        Command::Prune(args) => prune::execute(&cli.global, args),
        Command::Verify(args) => verify::execute(&cli.global, args),
        Command::Report(args) => report::execute(&cli.global, args),
        Command::Sql => sql::execute(&cli.global),
        Command::Completions { shell } => manual::completions(*shell),
        Command::Man => manual::man(),
        Command::Simulate(args) => simulate::execute(args),
    }
}

/// Runs the part of a command that waits for the network.
fn wait_for<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| BugError(format!("cannot start the threads that wait for the network: {error}")))?;
    runtime.block_on(work)
}
