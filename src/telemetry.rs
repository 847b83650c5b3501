//! All output to the terminal: results on stdout, everything else on stderr.
//!
//! The output contains no secret ([`hide_all`], and on stderr [`hide_likely`]). It cannot control
//! the terminal ([`printable`]).

use std::io::{self, IsTerminal, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::io::Errno;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::failure::{Classified, ErrorKind, FILES_HINT, Failure, MEMORY_HINT};
use crate::printable::{printable, without_reordering};
use crate::process_group;
use crate::secret::{hide_all, hide_likely};
use crate::threads::THREADS_HINT;

/// All progress bars of the process. They appear only on a terminal, and are hidden while a log
/// line is written.
static BARS: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, with stable names of events.
    Json,
}

/// The lowest severity that is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

/// Starts logging on stderr. Logs only kefu's own events, because those of the HTTP client could
/// contain URLs.
pub fn begin_logging(format: LogFormat, level: LogLevel) {
    use tracing_subscriber::prelude::*;
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let own = tracing_subscriber::filter::Targets::new().with_target("kefu", level);
    let lines =
        tracing_subscriber::fmt::layer().with_writer(Stderr).with_ansi(io::stderr().is_terminal());
    let registry = tracing_subscriber::registry();
    IS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
    // Fails if logging has already started, as in the second test of a process.
    let _ = match format {
        LogFormat::Text => registry.with(lines.with_target(false).with_filter(own)).try_init(),
        LogFormat::Json => registry
            .with(lines.json().flatten_event(true).with_target(false).with_filter(own))
            .try_init(),
    };
}

/// Writes log lines above the progress bars.
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // tracing escapes the contents of fields, so the only escape sequences in a line are its
        // own colours.
        let text = String::from_utf8_lossy(line);
        let text = without_reordering(&text);
        let gap = gap_before();
        let text = format!("{gap}{}", hide_likely(&text));
        BARS.suspend(|| io::stderr().write_all(text.as_bytes()))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The result could not be written. The work itself is not affected.
#[derive(Debug, thiserror::Error)]
#[error("the result cannot be written")]
pub struct OutputError(#[from] io::Error);

impl Classified for OutputError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Lake
    }

    fn hint(&self) -> Option<String> {
        Some("check where stdout goes. Only this result is lost: the lake has everything that was fetched and computed".into())
    }
}

/// Writes a result to stdout. A reader that has closed the pipe (`kefu … | head`) is not an error.
///
/// # Errors
/// When writing to stdout fails.
pub fn print_result(text: &str) -> Result<(), OutputError> {
    let text = printable(text);
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{}", hide_all(&text)).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Whether [`begin_logging`] was called with JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Whether machines read stderr. Everything on stderr is then an event.
pub fn is_for_machines() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// Whether a line break must come before the next text on stderr. After a question without an
/// answer, its line is not over. After a hint, a blank line shows that the next text is about
/// something else.
static NEEDS_BREAK: AtomicBool = AtomicBool::new(false);

/// Writes a note for people to stderr.
pub fn print_note(text: &str) {
    if is_for_machines() {
        tracing::warn!(target: "kefu", event = "note", text);
        return;
    }
    let text = printable(text);
    let gap = gap_before();
    NEEDS_BREAK.store(text.contains("\n\nhint: "), Ordering::Relaxed);
    BARS.suspend(|| {
        let _ = writeln!(io::stderr(), "{gap}{}", hide_likely(&text));
    });
}

/// What must come before the next text on stderr.
fn gap_before() -> &'static str {
    if NEEDS_BREAK.swap(false, Ordering::Relaxed) { "\n" } else { "" }
}

/// Asks a question on stderr. Its answer is typed in the same line.
pub fn print_question(text: &str) {
    let mut stderr = io::stderr().lock();
    // A signal may come as soon as the question is there. What it says waits for stderr.
    NEEDS_BREAK.store(true, Ordering::Relaxed);
    let _ = stderr.write_all(printable(text).as_bytes()).and_then(|()| stderr.flush());
}

/// Says that a question was answered. With `is_shown`, the line break of the answer was shown, too.
pub fn end_question(is_shown: bool) {
    NEEDS_BREAK.store(false, Ordering::Relaxed);
    if !is_shown {
        let _ = writeln!(io::stderr());
    }
}

/// How the messages of panics of std, tokio, polars and rayon begin when they cannot create a
/// thread.
const PANICS_WITHOUT_THREADS: [&str; 5] = [
    "failed to spawn thread: ",
    "OS can't spawn worker thread: ",
    "could not spawn threads: ",
    "failed to spawn polars-ooc cleaner thread: ",
    "The global thread pool has not been initialized.: ",
];

/// How the messages of panics begin when zstd cannot create a context.
const PANIC_OF_ZSTD: &str = "zstd returned null pointer";

/// The resource that a library lacked when it panicked with this message, and the hint.
fn lack(said: &str) -> Option<(&'static str, &'static str)> {
    // The two forms of an I/O error: for people, and for programmers as in `unwrap`.
    let has = |error: Errno| {
        let code = error.raw_os_error();
        said.contains(&format!("(os error {code})"))
            || said.contains(&format!("Os {{ code: {code},"))
    };
    if has(Errno::MFILE) || has(Errno::NFILE) {
        Some(("too many files are open", FILES_HINT))
    } else if has(Errno::NOMEM) || said.starts_with(PANIC_OF_ZSTD) {
        Some(("memory ran out", MEMORY_HINT))
    } else if PANICS_WITHOUT_THREADS.iter().any(|begin| said.starts_with(begin)) {
        Some(("cannot create a thread", THREADS_HINT))
    } else {
        None
    }
}

/// Makes a panic in any thread end the process, with one line on stderr and exit code 1. Otherwise,
/// other threads could wait forever for the panicked one. Ends the programs that kefu has started.
///
/// A library may panic because it cannot create a thread, open a file or allocate memory. The exit
/// code is then 73, and the line contains a hint.
pub fn exit_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let said = panic.payload_as_str().unwrap_or("no reason given").replace('\n', " ");
        let (kind, text) = match lack(&said) {
            Some((what, hint)) => (ErrorKind::Lake, format!("error: {what} ({said}); {hint}")),
            None => {
                let place = panic.location().map(ToString::to_string).unwrap_or_default();
                let text = format!("error: bug in kefu: {said} ({place}); report this line");
                (ErrorKind::Bug, text)
            }
        };
        let text = match is_for_machines() {
            true => {
                let (class, exit_code) = (kind.name(), kind.exit_code());
                serde_json::json!({
                    "level": "ERROR",
                    "event": "failed",
                    "class": class,
                    "exit_code": exit_code,
                    "reason": text
                })
                .to_string()
            }
            false => text,
        };
        // The panicked thread may have the bars locked, so they cannot be suspended.
        let _ = writeln!(io::stderr(), "{}", hide_likely(&printable(&text)));
        process_group::end_all();
        std::process::exit(kind.exit_code().into());
    }));
}

/// Prints an error of the command line, which may contain a secret in the wrong place. Prints help
/// and the version unchanged.
pub fn print_usage_error(error: &clap::Error) {
    let plain = error.render().to_string();
    let shown = printable(&plain);
    let shown = hide_likely(&shown);
    // Best effort: the error cannot be reported elsewhere.
    let _ = match *shown == *plain {
        true => error.print(),
        false => write!(io::stderr(), "{shown}"),
    };
}

/// Prints a failure: what failed, why, and what to do.
pub fn print_failure(failure: &Failure) {
    print_failure_during(None, None, failure);
}

/// Prints a failure of an account. Unless it is the only one, the text names it.
pub fn print_failure_of(account: &str, is_alone: bool, failure: &Failure) {
    let during = (!is_alone).then(|| format!("the account {account} failed"));
    print_failure_during(Some(account), during, failure);
}

fn print_failure_during(account: Option<&str>, during: Option<String>, failure: &Failure) {
    if is_for_machines() {
        let (class, exit_code) = (failure.kind.name(), failure.kind.exit_code());
        let hint = failure.hint.as_deref().unwrap_or_default();
        let reason = during.into_iter().chain([failure.to_string()]).collect::<Vec<_>>().join(": ");
        tracing::error!(target: "kefu", event = "failed", account, class, exit_code, reason, hint);
        return;
    }
    print_note(&explained("error", during, failure));
}

/// Prints a failure that does not change the exit code.
pub fn print_warning(failure: &Failure) {
    if is_for_machines() {
        let hint = failure.hint.as_deref().unwrap_or_default();
        tracing::warn!(target: "kefu", event = "warning", reason = %failure, hint);
        return;
    }
    print_note(&explained("warning", None, failure));
}

/// Prints a warning that is not caused by an error.
pub fn print_plain_warning(text: &str, hint: Option<&str>) {
    let hint = hint.map(crate::hint::complete);
    if is_for_machines() {
        let hint = hint.unwrap_or_default();
        tracing::warn!(target: "kefu", event = "warning", reason = text, hint);
        return;
    }
    let hint = hint.map(|hint| format!("\n\nhint: {hint}")).unwrap_or_default();
    print_note(&format!("warning: {text}{hint}"));
}

fn explained(severity: &str, during: Option<String>, failure: &Failure) -> String {
    let causes: Vec<String> = during.into_iter().chain(failure.causes().iter().cloned()).collect();
    let mut text = format!("{severity}: {}", causes.join("\n  caused by: "));
    if let Some(hint) = &failure.hint {
        text.push_str(&format!("\n\nhint: {hint}"));
    }
    text
}

/// The progress of a stage.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Begins a stage. Names its account, if several may be shown at once.
    pub fn of_account(account: Option<&str>, stage: &'static str, days: usize) -> Self {
        let Some(account) = account else { return Self::begin(stage, days) };
        let progress = Self::begin(stage, days);
        progress.bar.set_prefix(format!("{account} {stage}"));
        progress
    }

    pub fn begin(stage: &'static str, days: usize) -> Self {
        let bar = BARS.add(ProgressBar::new(days as u64));
        // The template is a constant. If it were invalid, the plain bar would be good enough.
        if let Ok(style) =
            ProgressStyle::with_template("{prefix:>8} {bar:40} {pos}/{len} days {msg}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(stage);
        Self { bar }
    }

    /// Adds a number of days when it becomes known.
    pub fn expect(&self, days: usize) {
        self.bar.inc_length(days as u64);
    }

    pub fn advance(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_bug_unless_its_whole_message_is_known() {
        let lack = |said: &str| lack(said).map(|(what, _)| what);
        let error = |code| io::Error::from_raw_os_error(code);
        for (said, lacking) in [
            (format!("failed to spawn thread: {:?}", error(11)), "cannot create a thread"),
            (format!("OS can't spawn worker thread: {}", error(11)), "cannot create a thread"),
            (format!("called `Result::unwrap()`: {:?}", error(24)), "too many files are open"),
            (format!("cannot open it: {}", error(23)), "too many files are open"),
            (format!("cannot map it: {}", error(12)), "memory ran out"),
            ("zstd returned null pointer when creating new context".into(), "memory ran out"),
        ] {
            assert_eq!(lack(&said), Some(lacking), "{said}");
        }
        for said in [
            "a task cannot spawn another one",
            "null pointer dereference occurred",
            "the read gave WouldBlock",
            "`spawn_local` called from outside of a `task::LocalSet`",
        ] {
            assert_eq!(lack(said), None, "{said}");
        }
    }
}
