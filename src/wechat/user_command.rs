//! Runs a program of the user that prints a token or a list of accounts.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::Secret;
use crate::failure::{Classified, ErrorKind};
use crate::process_group::ProcessGroup;

/// Maximum run time of the program.
const LIMIT: Duration = Duration::from_secs(30);
/// Interval between checks whether the program has ended.
const GLANCE: Duration = Duration::from_millis(20);
/// Maximum length of a token in bytes. Real tokens are shorter.
const TOKEN_BYTES_MAX: usize = 8 << 10;
/// Maximum number of bytes in the output with a token.
const TOKEN_OUTPUT_BYTES_MAX: u64 = 16 << 10;

/// A program with its arguments. It prints a token or a list of accounts, and runs without a shell.
/// Neither its output nor its arguments are ever shown.
#[derive(Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct UserCommand {
    program: PathBuf,
    arguments: Vec<String>,
    limit: Duration,
}

/// A command as written in the settings. serde's own message about another type would quote the
/// value.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Words(Vec<String>),
    Other(serde::de::IgnoredAny),
}

impl TryFrom<Written> for UserCommand {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        const FORM: &str = "write a command as a list of strings, with the program first: [\"program\", \"argument\"]";
        let Written::Words(words) = written else { return Err(FORM) };
        let mut words = words.into_iter();
        let program = words.next().filter(|program| !program.is_empty()).ok_or(FORM)?;
        Ok(Self { program: program.into(), arguments: words.collect(), limit: LIMIT })
    }
}

/// Why the program gave no token. Shows neither its arguments nor its output.
#[derive(Debug, thiserror::Error)]
#[error("the command `{}` gave no token: {why}", program.display())]
pub struct TokenCommandError {
    program: PathBuf,
    why: Why,
}

/// Why the program failed.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    #[error("it cannot be run ({0})")]
    CannotRun(std::io::Error),
    #[error("it ended with {0}")]
    Ended(ExitStatus),
    #[error("it took longer than {} s", .0.as_secs())]
    TookTooLong(Duration),
    #[error("it has ended, but a process that it started still has its output open after {} s", .0.as_secs())]
    LeftOpen(Duration),
    #[error("its output cannot be read ({0})")]
    CannotRead(std::io::Error),
    #[error("it prints more than {0} bytes")]
    PrintsTooMuch(u64),
    #[error("its output is not one word of printable ASCII characters")]
    NotAToken,
}

impl Why {
    /// Whether a later attempt may succeed, because the service behind the program may be back.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Ended(_) | Self::TookTooLong(_) | Self::CannotRead(_))
    }
}

impl TokenCommandError {
    /// See [`Why::is_transient`].
    pub fn is_transient(&self) -> bool {
        self.why.is_transient()
    }
}

impl Classified for TokenCommandError {
    fn kind(&self) -> ErrorKind {
        if self.is_transient() { ErrorKind::Unavailable } else { ErrorKind::Settings }
    }

    fn hint(&self) -> Option<String> {
        Some(
            match self.why {
                Why::CannotRun(_) => {
                    "check `access_token_command`: its first word is a program, which runs without a shell. A relative path starts at the folder of kefu.toml"
                }
                Why::LeftOpen(_) => "redirect the output of the processes that it starts in the background, as with `>/dev/null &` in a shell",
                Why::NotAToken => "make `access_token_command` print the token and nothing else; kefu never shows its output",
                _ => "run the command by hand to see its output; kefu does not show it, because it may contain the token",
            }
            .to_owned(),
        )
    }
}

impl UserCommand {
    /// The same command, with a relative path of the program resolved against `folder`. A bare name
    /// stays unchanged.
    #[must_use]
    pub fn beside(self, folder: &Path) -> Self {
        let is_path = self.program.components().count() > 1;
        if is_path { Self { program: folder.join(&self.program), ..self } } else { self }
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs the program and returns its output as the token, without surrounding white space.
    ///
    /// # Errors
    /// When the program cannot be run, takes too long, fails, or prints too much or something that
    /// cannot be a token.
    pub async fn token(&self) -> Result<Secret, TokenCommandError> {
        let failed = |why| TokenCommandError { program: self.program.clone(), why };
        let output = self.output(TOKEN_OUTPUT_BYTES_MAX).await.map_err(failed)?;
        match output.trim_ascii() {
            token
                if !token.is_empty()
                    && token.len() <= TOKEN_BYTES_MAX
                    && token.iter().all(u8::is_ascii_graphic) =>
            {
                Ok(Secret::new(String::from_utf8_lossy(token).into_owned()))
            }
            _ => Err(failed(Why::NotAToken)),
        }
    }

    /// Runs the program and returns its output.
    ///
    /// # Errors
    /// When the program cannot be run, takes too long, fails, or prints more than `bytes_max`
    /// bytes.
    pub async fn output(&self, bytes_max: u64) -> Result<Vec<u8>, Why> {
        let deadline = Instant::now() + self.limit;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // Dropping the group ends the program and every process that it started. This covers a
        // timeout here, too much output, and a cancelled caller.
        let mut group = ProcessGroup::start(&mut command).map_err(Why::CannotRun)?;
        let outputs = read_aside(group.child(), bytes_max).map_err(Why::CannotRun)?;
        let (mut ended, mut printed) = (None, None);
        loop {
            // In this order: a program that dies of the closed pipe has printed too much before.
            if ended.is_none() {
                ended = group.child().try_wait().map_err(Why::CannotRun)?;
            }
            printed = printed.or_else(|| outputs.try_recv().ok());
            match (ended, printed) {
                (_, Some(Err(error))) => return Err(Why::CannotRead(error)),
                (_, Some(Ok(output))) if output.len() as u64 > bytes_max => {
                    return Err(Why::PrintsTooMuch(bytes_max));
                }
                (Some(status), _) if !status.success() => return Err(Why::Ended(status)),
                (Some(_), Some(Ok(output))) => {
                    group.let_go();
                    return Ok(output);
                }
                (_, unfinished) => printed = unfinished,
            }
            if Instant::now() >= deadline {
                // A background process of the program may still have the pipe open.
                return Err(match ended {
                    Some(_) => Why::LeftOpen(self.limit),
                    None => Why::TookTooLong(self.limit),
                });
            }
            tokio::time::sleep(GLANCE).await;
        }
    }
}

/// The whole output of a program, or one byte more than the maximum.
type Output = std::io::Result<Vec<u8>>;

/// Reads the output of a child in a separate thread, so that neither waits for the other. A task of
/// the runtime would delay the runtime's shutdown.
fn read_aside(child: &mut Child, bytes_max: u64) -> std::io::Result<Receiver<Output>> {
    let (sender, receiver) = channel();
    let mut stdout = child.stdout.take();
    std::thread::Builder::new().name("command".into()).spawn(move || {
        let mut output = Vec::new();
        let read = stdout
            .as_mut()
            .map_or(Ok(0), |stdout| stdout.take(bytes_max + 1).read_to_end(&mut output));
        // Nobody waits after a timeout.
        let _ = sender.send(read.map(|_| output));
        // Only now: a program that still prints then dies of SIGPIPE, and `output` must know why.
        drop(stdout);
    })?;
    Ok(receiver)
}

impl fmt::Debug for UserCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserCommand({}, {} arguments)", self.program.display(), self.arguments.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> UserCommand {
        UserCommand::try_from(Written::Words(["/bin/sh", "-c", script].map(str::to_owned).into()))
            .unwrap()
    }

    fn token(command: &UserCommand) -> Result<Secret, TokenCommandError> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(command.token())
    }

    #[test]
    fn what_it_prints_is_the_token_without_space_around_it() {
        assert_eq!(token(&shell("echo; echo ' 57_abc-DEF '")).unwrap().expose(), "57_abc-DEF");
    }

    #[test]
    fn what_goes_wrong_is_told_without_arguments_and_output() {
        for (script, kind, told) in [
            (
                "echo hunter2; echo hunter2 >&2; exit 3",
                ErrorKind::Unavailable,
                "it ended with exit status: 3",
            ),
            ("echo error: hunter2 is unknown", ErrorKind::Settings, "is not one word"),
            ("true hunter2", ErrorKind::Settings, "is not one word"),
        ] {
            let command = shell(script);
            let error = token(&command).unwrap_err();
            assert_eq!(
                (error.kind(), error.is_transient()),
                (kind, kind == ErrorKind::Unavailable)
            );
            assert!(error.to_string().contains(told), "{error}");
            assert!(
                !format!("{error} {error:?} {command:?} {}", error.hint().unwrap())
                    .contains("hunter2")
            );
        }
        let absent = UserCommand { program: "/nowhere/token".into(), ..shell("") };
        assert_eq!(token(&absent).unwrap_err().kind(), ErrorKind::Settings);
    }

    #[test]
    fn one_that_leaves_its_output_open_is_told_apart_from_a_slow_one() {
        let command = UserCommand {
            limit: Duration::from_secs(2),
            ..shell("tail -f /dev/null & echo token")
        };
        let error = token(&command).unwrap_err();
        assert!(
            error.to_string().contains("its output open")
                && error.hint().unwrap().contains(">/dev/null"),
            "{error}"
        );
    }

    #[test]
    fn one_that_does_not_end_is_ended() {
        let command =
            UserCommand { limit: Duration::from_millis(50), ..shell("exec tail -f /dev/null") };
        assert!(token(&command).unwrap_err().to_string().contains("took longer"));
    }

    #[test]
    fn one_that_prints_too_much_is_not_reported_as_killed() {
        // `exec` makes the program itself die of SIGPIPE. Without it, the shell ends with 141.
        for script in ["exec cat /dev/zero", "cat /dev/zero", "head -c 20000 /dev/zero"] {
            let error = token(&shell(script)).unwrap_err();
            assert!(error.to_string().ends_with("it prints more than 16384 bytes"), "{error}");
            assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Settings, false));
        }
    }

    /// Whether a process exists and is not dead. A zombie counts as dead.
    fn is_alive(pid: &str) -> bool {
        let state = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        state.rsplit_once(')').is_some_and(|(_, state)| !state.trim_start().starts_with(['Z', 'X']))
    }

    #[test]
    fn what_it_has_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let script =
            format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; sleep 600", path.display());
        let ended = || {
            let pid = fs_err::read_to_string(&path).unwrap();
            fs_err::remove_file(&path).unwrap();
            let deadline = std::time::Instant::now() + Duration::from_secs(20);
            while is_alive(pid.trim()) {
                assert!(std::time::Instant::now() < deadline, "{pid} lives on");
                std::thread::yield_now();
            }
        };
        let late = UserCommand { limit: Duration::from_secs(2), ..shell(&script) };
        assert!(token(&late).unwrap_err().to_string().contains("took longer"));
        ended();
        // The same applies when the caller is cancelled.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let command = shell(&script);
        let is_begun = async {
            while !path.exists() {
                tokio::task::yield_now().await;
            }
        };
        runtime.block_on(async {
            tokio::select! { _ = command.token() => {}, () = is_begun => {} }
        });
        ended();
    }

    #[test]
    fn a_path_is_relative_to_the_settings_file_and_a_bare_name_is_looked_up() {
        let beside = |program: &str| {
            UserCommand { program: program.into(), ..shell("") }
                .beside(Path::new("/etc/kefu"))
                .program
        };
        assert_eq!(beside("bin/token"), Path::new("/etc/kefu/bin/token"));
        assert_eq!(beside("./token"), Path::new("/etc/kefu/./token"));
        assert_eq!(beside("token"), Path::new("token"));
        assert_eq!(beside("/opt/token"), Path::new("/opt/token"));
    }
}
