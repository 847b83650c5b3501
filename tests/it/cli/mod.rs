//! Tests of the command line: settings, output, errors and exit codes.

pub mod accounts;
mod command_line;
mod destinations;
mod errors;
mod identity;
mod init;
mod operations;
mod refusals;
mod settings;
mod wording;
