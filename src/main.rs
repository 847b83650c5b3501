//! Parses the command line, runs the command, prints the error and sets the exit code.

use std::process::ExitCode;

use kefu::cli::{self, OutputFormat};
use kefu::commands::shutdown;
use kefu::failure::{ErrorKind, Failure};
use kefu::model::cancel::{Cancel, Signal};
use kefu::{commands, metrics, process_limits, telemetry, threads};

// It serves C code as well: zstd allocates contexts for each column of each file, and the C library
// would return their memory to the system each time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    process_limits::forbid_core_dumps();
    process_limits::raise_open_files();
    telemetry::exit_on_panic();
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            telemetry::print_usage_error(&error);
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    shutdown::outlive_large_files();
    telemetry::begin_logging(cli.global.log_format, cli.global.log_level);
    let cancel = Cancel::default();
    // The first one sets a variable of the environment, so no other thread may exist yet.
    let outcome = threads::start(cli.global.threads)
        .and_then(|()| shutdown::listen(&cancel, cli.is_committing()))
        .inspect(|()| {
            if cli.is_computing() {
                metrics::start_threads();
            }
        })
        .map_err(Failure::from)
        .and_then(|()| commands::execute(&cli, &cancel));
    let exit_code = match outcome {
        Ok(kind) => kind.map_or(0, ErrorKind::exit_code),
        Err(failure) => {
            // The signal was reported when it came.
            if !matches!(failure.kind, ErrorKind::Stopped(_)) {
                telemetry::print_failure(&failure);
            }
            if cli.global.output == OutputFormat::Json {
                // If this also fails, nothing more can be done.
                let _ =
                    telemetry::print_result(&serde_json::json!({ "failure": failure }).to_string());
            }
            failure.kind.exit_code()
        }
    };
    ExitCode::from(cancel.signal().map_or(exit_code, Signal::exit_code))
}
