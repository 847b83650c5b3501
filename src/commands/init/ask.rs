//! The answers: from flags, else from the terminal.

use std::io::{self, IsTerminal, Read};

use super::super::wait_for;
use crate::calendar::Zone;
use crate::cli::{GlobalArgs, InitArgs};
use crate::failure::{Failure, UsageError};
use crate::lake::{Account, AppId};
use crate::model::cancel::Cancel;
use crate::settings;
use crate::telemetry;
use crate::terminal::NoEcho;
use crate::wechat::Secret;

/// Maximum number of bytes of a secret on stdin. WeChat's have 32.
const SECRET_BYTES_MAX: u64 = 4_096;

/// What the files need to say.
pub(super) struct Answers {
    pub(super) appid: String,
    pub(super) account: Account,
    pub(super) zone: Zone,
    pub(super) has_hours: bool,
    pub(super) secret: Secret,
}

impl Answers {
    /// Takes the answers from flags. Asks for the others if stdin is a terminal, else uses their
    /// defaults.
    ///
    /// # Errors
    /// When an answer is wrong or missing, and after a signal.
    pub(super) fn of(
        global: &GlobalArgs,
        args: &InitArgs,
        cancel: &Cancel,
    ) -> Result<Self, Failure> {
        let account = match global.account.as_slice() {
            [] => None,
            [name] => Some(name.clone()),
            _ => return Err(usage("init takes one --account", "add others to kefu.toml").into()),
        };
        let is_asked = io::stdin().is_terminal() && !args.secret_stdin;
        let terminal = is_asked.then_some(Terminal(cancel));
        let terminal = terminal.as_ref();
        let appid = match (&args.appid, terminal) {
            (Some(appid), _) => checked("--appid", appid, appid_of)?,
            (None, Some(terminal)) => terminal.ask("AppID (开发者ID, wx…)", "", appid_of)?,
            (None, None) => {
                let advice = "or run `kefu init` in a terminal, which asks for it";
                return Err(usage("--appid is missing", advice).into());
            }
        };
        let account_of = |name: &str| Account::new(name.to_owned());
        let account = match (account, terminal) {
            (Some(name), _) => checked("--account", &name, account_of)?,
            (None, Some(terminal)) => {
                terminal.ask("Name of the account in the lake, which stays", &appid, account_of)?
            }
            (None, None) => checked("--account", &appid, account_of)?,
        };
        let zone = match (&global.timezone, terminal) {
            (Some(name), _) => checked("--timezone", name, Zone::named)?,
            (None, Some(terminal)) => terminal.ask("Time zone", Zone::DEFAULT, Zone::named)?,
            (None, None) => checked("--timezone", Zone::DEFAULT, Zone::named)?,
        };
        let has_hours = match (args.business_hours, terminal) {
            (Some(answer), _) => answer.is_yes(),
            (None, Some(terminal)) => terminal.ask("Business hours, yes or no", "no", yes_or_no)?,
            (None, None) => false,
        };
        let secret = match (args.secret_stdin, terminal) {
            (true, _) => secret_on_stdin()?,
            (false, Some(terminal)) => terminal.ask_secret("AppSecret (not shown)")?,
            (false, None) => {
                let advice = "give the AppSecret on stdin: `kefu init --appid wx… --secret-stdin \
                    < FILE`. It has no flag, because flags are visible to other users of the \
                    machine";
                return Err(usage("--secret-stdin is missing", advice).into());
            }
        };
        Ok(Self { appid, account, zone, has_hours, secret })
    }
}

fn usage(message: impl Into<String>, advice: &str) -> UsageError {
    UsageError { message: message.into(), advice: Some(advice.to_owned()) }
}

fn checked<T>(
    flag: &str,
    text: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, UsageError> {
    read(text).map_err(|reason| UsageError { message: format!("{flag}: {reason}"), advice: None })
}

fn appid_of(text: &str) -> Result<String, String> {
    let appid = settings::checked_appid(text.to_owned())?;
    if !appid.starts_with("wx") {
        return Err("it does not begin with wx, as an AppID (开发者ID) does".to_owned());
    }
    AppId::new(appid).map(|appid| appid.to_string())
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "yes" | "y" | "是" => Ok(true),
        "no" | "n" | "否" => Ok(false),
        _ => Err("answer yes or no".to_owned()),
    }
}

fn secret_of(text: &str) -> Result<Secret, String> {
    // The name of what is wrong never quotes the text.
    let secret = Secret::new(text.trim().to_owned());
    match settings::not_a_word(secret.expose()) {
        _ if secret.expose().is_empty() => Err("the secret is empty".to_owned()),
        Some(reason) => Err(format!("not a secret: {reason}")),
        None => Ok(secret),
    }
}

fn secret_on_stdin() -> Result<Secret, Failure> {
    let mut text = zeroize::Zeroizing::new(String::new());
    let unreadable = |error: io::Error| {
        let advice = "give the AppSecret as text, for instance with `--secret-stdin < FILE`";
        usage(format!("stdin cannot be read: {error}"), advice)
    };
    io::stdin().lock().take(SECRET_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    Ok(checked("--secret-stdin", &text, secret_of)?)
}

/// Asks a person. Questions are on stderr, because stdout has the result.
struct Terminal<'a>(&'a Cancel);

impl Terminal<'_> {
    /// Asks until the answer can be used. An empty answer is the default.
    fn ask<T>(
        &self,
        question: &str,
        default: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Failure> {
        let shown = if default.is_empty() {
            String::new()
        } else {
            format!(" [{}]", default.escape_debug())
        };
        loop {
            telemetry::print_question(&format!("{question}{shown}: "));
            let line = self.line()?;
            telemetry::end_question(true);
            let answer = if line.trim().is_empty() { default } else { line.trim() };
            match read(answer) {
                Ok(answer) => return Ok(answer),
                Err(reason) => telemetry::print_note(&format!("  {reason}")),
            }
        }
    }

    fn ask_secret(&self, question: &str) -> Result<Secret, Failure> {
        loop {
            // Before the question, because somebody may type or paste the answer at once.
            let echo = NoEcho::begin().map_err(|error| {
                usage(format!("the terminal cannot hide input: {error}"), "use --secret-stdin")
            })?;
            telemetry::print_question(&format!("{question}: "));
            let line = self.line();
            drop(echo);
            let line = line?;
            // The line break that was typed was not shown.
            telemetry::end_question(false);
            match secret_of(&line) {
                Ok(secret) => return Ok(secret),
                Err(reason) => telemetry::print_note(&format!("  {reason}")),
            }
        }
    }

    /// Reads a line. A signal ends the wait: the thread that reads is left to the end of the
    /// process.
    fn line(&self) -> Result<zeroize::Zeroizing<String>, Failure> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let read = move || {
            let mut line = zeroize::Zeroizing::new(String::new());
            let read = io::stdin().read_line(&mut line);
            let _ = sender.send(read.map(|bytes| (bytes, line)));
        };
        let ended = || {
            usage("the input has ended before all questions were answered", "nothing was written")
        };
        std::thread::Builder::new().name("input".into()).spawn(read).map_err(|_| ended())?;
        let received = wait_for(1, self.0, async { Ok(receiver.await) })?;
        match received {
            Ok(Ok((bytes, line))) if bytes > 0 => Ok(line),
            _ => Err(ended().into()),
        }
    }
}
