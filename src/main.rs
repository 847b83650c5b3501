//! Parses the command line, runs the command, prints the error and sets the exit code.

use std::process::ExitCode;

use clap::Parser;
use kefu::cli::{Cli, OutputFormat};
use kefu::failure::Failure;
use kefu::{commands, core_dumps, metrics, signals, telemetry, threads};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    core_dumps::forbid();
    telemetry::exit_on_panic();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            telemetry::print_usage_error(&error);
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    signals::outlive_large_files();
    telemetry::begin_logging(cli.global.log_format, cli.global.log_level);
    let outcome = signals::listen()
        .and_then(|()| threads::start(cli.global.threads))
        .inspect(|()| {
            if cli.is_computing() {
                metrics::start_threads();
            }
        })
        .map_err(Failure::from)
        .and_then(|()| commands::execute(&cli));
    // A failure during shutdown is caused by the shutdown, which was already reported.
    signals::await_shutdown();
    match outcome {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(class)) => ExitCode::from(class.exit_code()),
        Err(failure) => {
            telemetry::print_failure(&failure);
            if cli.global.output == OutputFormat::Json {
                // If this also fails, nothing more can be done.
                let _ =
                    telemetry::print_result(&serde_json::json!({ "failure": failure }).to_string());
            }
            ExitCode::from(failure.class.exit_code())
        }
    }
}
