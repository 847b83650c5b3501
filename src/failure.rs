//! The meaning of a failure for the user: the exit code, whether a retry helps, and what to do.
//!
//! Each module has its own error type and gives each error a kind ([`Classified`]). A [`Failure`]
//! is such an error on the way to the user. `main` shows it once, and it is not logged before.

use std::fmt;

use rustix::io::Errno;

use crate::hint;
use crate::model::cancel::Cancelled;
pub use crate::model::error_kind::ErrorKind;
use crate::printable::printable;
use crate::secret::hide_likely;

/// What to do when too many files are open.
pub(crate) const FILES_HINT: &str = "raise the limit of open files \
     (`ulimit -n`, LimitNOFILE= of systemd), then run again";

/// What to do when memory or memory maps run out.
pub(crate) const MEMORY_HINT: &str = "raise the limits of memory and memory maps \
     (`ulimit -v`, MemoryMax= of systemd, vm.max_map_count), then run again";

/// What to do about an error that only a bug in kefu can cause.
pub(crate) const BUG_HINT: &str = "report this bug in kefu, with the message above";

/// An error with a kind and with advice for the user.
pub trait Classified: std::error::Error + Send + Sync + 'static {
    fn kind(&self) -> ErrorKind;

    /// One sentence that says what to do. None if nothing can be done.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// An error on its way to the user.
pub struct Failure {
    pub kind: ErrorKind,
    pub hint: Option<String>,
    error: anyhow::Error,
    /// The message, then its causes from outer to inner. Never empty. Secrets are hidden when a
    /// text is added, because they may have been dropped when the failure is shown.
    causes: Vec<String>,
}

impl Failure {
    /// Adds the action that failed, as the outermost message.
    #[must_use]
    pub fn during(mut self, what: impl fmt::Display) -> Self {
        let what = shown(&what);
        // Some libraries repeat the cause in their own message.
        if self.causes.first().is_some_and(|first| what.contains(first)) {
            self.causes.remove(0);
        }
        self.causes.insert(0, what);
        self
    }

    /// The error itself, if it has this type.
    pub fn error_ref<E: std::error::Error + Send + Sync + 'static>(&self) -> Option<&E> {
        self.error.downcast_ref()
    }

    /// Returns the error itself, if it has this type.
    ///
    /// # Errors
    /// The unchanged failure, if the error has another type.
    pub fn into_error<E: std::error::Error + Send + Sync + 'static>(self) -> Result<E, Self> {
        let Self { kind, hint, error, causes } = self;
        error.downcast().map_err(|error| Self { kind, hint, error, causes })
    }

    /// The message, then its causes from outer to inner. Never empty.
    pub fn causes(&self) -> &[String] {
        &self.causes
    }
}

/// The text without secrets, and with control characters escaped.
fn shown(text: &dyn fmt::Display) -> String {
    hide_likely(&printable(&text.to_string())).into_owned()
}

/// If files or memory ran out, the kind and the hint are about that, not about the failed action.
impl<E: Classified> From<E> for Failure {
    fn from(error: E) -> Self {
        let (kind, hint) = match exhausted(&error) {
            Some(hint) => (ErrorKind::Lake, Some(hint.to_owned())),
            None => (error.kind(), error.hint().map(hint::complete)),
        };
        let error = anyhow::Error::from(error);
        let mut causes: Vec<String> = Vec::new();
        for cause in error.chain().map(|cause| shown(&cause)) {
            if causes.last().is_none_or(|before| !before.contains(&cause)) {
                causes.push(cause);
            }
        }
        Self { kind, hint, error, causes }
    }
}

/// The machine or the process has run out of a resource.
pub(crate) const EXHAUSTED: [Errno; 4] = [Errno::NFILE, Errno::MFILE, Errno::NOMEM, Errno::AGAIN];

/// The hint if an error comes from a lack of files or memory. Examines only I/O errors, because the
/// text of any other error may be from a server.
pub(crate) fn exhausted(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    causes(error).find_map(|cause| {
        let error = cause.downcast_ref::<std::io::Error>()?;
        match Errno::from_io_error(error).or_else(|| os_code(error))? {
            Errno::NFILE | Errno::MFILE => Some(FILES_HINT),
            Errno::NOMEM => Some(MEMORY_HINT),
            _ => None,
        }
    })
}

/// The code of an operating system error, from the end of its text. fs-err and the Parquet reader
/// keep only the text.
pub(crate) fn os_code(error: &dyn std::error::Error) -> Option<Errno> {
    let text = error.to_string();
    let code = text.strip_suffix(')')?.rsplit_once("(os error ")?.1.parse().ok()?;
    Errno::from_io_error(&std::io::Error::from_raw_os_error(code))
}

/// An error and its causes. Includes the error inside an [`std::io::Error`], which its own `source`
/// omits.
pub(crate) fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> + Clone {
    std::iter::successors(Some(error), |&cause| {
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        wrapped.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| cause.source())
    })
}

/// One line: `what: why: why`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.causes.join(": "))
    }
}

/// The form in results: `{"class", "reason", "hint"}`.
impl serde::Serialize for Failure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut failure = serializer.serialize_struct("Failure", 3)?;
        failure.serialize_field("class", &self.kind)?;
        failure.serialize_field("reason", &self.to_string())?;
        failure.serialize_field("hint", &self.hint)?;
        failure.end()
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)
    }
}

/// A command line whose arguments are valid alone, but not together.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct UsageError {
    pub message: String,
    pub advice: Option<String>,
}

impl Classified for UsageError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }

    fn hint(&self) -> Option<String> {
        self.advice.clone()
    }
}

impl Classified for Cancelled {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Stopped(self.0)
    }

    fn hint(&self) -> Option<String> {
        Some("what was committed stays, run again for the rest".into())
    }
}

/// An error that only a bug in kefu can cause.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BugError(pub String);

impl Classified for BugError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Bug
    }

    fn hint(&self) -> Option<String> {
        Some(BUG_HINT.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::secret::Secret;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Failed {
        text: String,
        source: Option<io::Error>,
    }

    impl Classified for Failed {
        fn kind(&self) -> ErrorKind {
            ErrorKind::Refused
        }
    }

    #[test]
    fn the_system_says_that_files_ran_out_and_a_text_does_not() {
        let kind = |text: &str, source: Option<io::Error>| {
            Failure::from(Failed { text: text.to_owned(), source }).kind
        };
        let too_many = || io::Error::from_raw_os_error(24);
        assert_eq!(kind("cannot read it", Some(too_many())), ErrorKind::Lake);
        assert_eq!(kind("cannot read it", Some(io::Error::other(too_many()))), ErrorKind::Lake);
        let kept_as_text = io::Error::other("failed to open file `x`: it failed (os error 24)");
        assert_eq!(kind("cannot read it", Some(kept_as_text)), ErrorKind::Lake);
        assert_eq!(kind("a server says (os error 24)", None), ErrorKind::Refused);
        let no_code = io::Error::other("it failed (os error 99999)");
        assert_eq!(kind("cannot read it", Some(no_code)), ErrorKind::Refused);
        let quoted = io::Error::other("cannot read the file `(os error 24).txt`");
        assert_eq!(kind("it failed", Some(quoted)), ErrorKind::Refused);
    }

    #[test]
    fn a_failure_shows_no_secret_that_has_been_dropped_since() {
        let secret = Secret::new("swordfish-1".to_owned());
        let failure = Failure::from(Failed { text: "bad swordfish-1".into(), source: None });
        let failure = failure.during("asking for swordfish-1");
        drop(secret);
        assert_eq!(failure.causes(), ["asking for (secret)", "bad (secret)"]);
    }
}
