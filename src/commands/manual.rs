//! `kefu completions` and `kefu man`

use clap::CommandFactory;

use crate::cli::{self, Cli};
use crate::failure::{BugError, ErrorKind, Failure, UsageError};
use crate::telemetry;

/// Prints the completion script of a shell.
pub(super) fn completions(shell: clap_complete::Shell) -> Result<Option<ErrorKind>, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kefu", &mut script);
    telemetry::print_result(String::from_utf8_lossy(&script).trim_end())?;
    Ok(None)
}

/// Prints the manual page of kefu or of one of its commands, for `man -l -`.
pub(super) fn man(command: Option<&str>) -> Result<Option<ErrorKind>, Failure> {
    let kefu = cli::command();
    let page_of = match command {
        None => kefu,
        Some(name) => kefu.find_subcommand(name).cloned().ok_or_else(|| UsageError {
            message: format!("kefu has no command `{name}`"),
            advice: Some("run `kefu help` for a list of the commands".into()),
        })?,
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(page_of)
        .render(&mut page)
        .map_err(|error| BugError(format!("the manual page: {error}")))?;
    telemetry::print_result(String::from_utf8_lossy(&page).trim_end())?;
    Ok(None)
}
