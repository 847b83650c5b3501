//! Tests of the command line: settings, output, errors and exit codes.

mod command_line;
mod errors;
mod identity;
mod operations;
mod refusals;
mod settings;
mod wording;
