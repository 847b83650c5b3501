//! `kefu completions` and `kefu man`

use clap::CommandFactory;

use crate::cli::Cli;
use crate::failure::{BugError, Class, Failure};
use crate::telemetry;

/// The completions of a shell, to be read by it.
pub(super) fn completions(shell: clap_complete::Shell) -> Result<Option<Class>, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kefu", &mut script);
    telemetry::print_result(String::from_utf8_lossy(&script).trim_end())?;
    Ok(None)
}

/// The manual page, for `man -l -`.
pub(super) fn man() -> Result<Option<Class>, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(|error| BugError(format!("the manual page: {error}")))?;
    telemetry::print_result(String::from_utf8_lossy(&page).trim_end())?;
    Ok(None)
}
