//! Parse, run, show the error, exit.

use std::process::ExitCode;

use clap::Parser;
use kefu::cli::{Cli, OutputFormat};
use kefu::{commands, signals, telemetry, threads};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    signals::outlive_large_files();
    threads::limit(cli.global.threads);
    telemetry::begin_logging(cli.global.log_format, cli.global.log_level);
    let outcome = commands::execute(&cli);
    // What fails while the process is being stopped fails because of that, which has been said.
    signals::let_it_leave();
    match outcome {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(class)) => ExitCode::from(class.exit_code()),
        Err(failure) => {
            telemetry::print_failure(&failure);
            if cli.global.output == OutputFormat::Json {
                // It cannot fail worse than it has.
                let _ =
                    telemetry::print_result(&serde_json::json!({ "failure": failure }).to_string());
            }
            ExitCode::from(failure.class.exit_code())
        }
    }
}
