//! Whether a store checks the conditions of a PUT. Names and versions of products do not tell, so
//! each process that writes tries it, with an object of its own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use object_store::{Error, PutMode, UpdateVersion};

use super::super::{Key, Store};
use super::{Answer, Bucket, BucketError};
use crate::failure::ErrorKind;
use crate::lake::{LakeError, OWN};

/// How long a probe object stays that a killed run has left.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What a store does with the conditions of a PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditions {
    /// It refuses a PUT whose condition does not hold.
    Honoured,
    /// It refuses every PUT with a condition.
    Refused,
    /// It puts the object although the condition does not hold.
    Ignored,
}

impl Bucket {
    /// Puts an object that must be new, again so, and over a version that is not there. Deletes it.
    ///
    /// # Errors
    /// When a request fails for another reason.
    pub(super) fn probe(&self) -> Result<Conditions, LakeError> {
        self.with_probe(|key| self.probe_with(key))
    }

    /// Probes the store. Also reads an object, and deletes what killed runs have left.
    ///
    /// # Errors
    /// When a request fails, or another content is read than was written.
    pub(super) fn probe_and_clean(&self) -> Result<Conditions, LakeError> {
        let conditions = self.with_probe(|key| {
            let conditions = self.probe_with(key)?;
            self.require_readable(key)?;
            Ok(conditions)
        })?;
        self.remove_old_probes(SystemTime::now())?;
        Ok(conditions)
    }

    /// Does something with the key of an object that is not there, and deletes the object.
    fn with_probe<T>(
        &self,
        work: impl FnOnce(&Key) -> Result<T, LakeError>,
    ) -> Result<T, LakeError> {
        // Two runs at the same time must not meet in one object: each would take the other's PUT
        // for a condition that the store ignores.
        let key = folder().join(&format!("{:016x}", rand::random::<u64>()));
        let worked = work(&key);
        let removed = self.remove(&key, std::slice::from_ref(&key));
        let worked = worked?;
        removed?;
        Ok(worked)
    }

    /// Writes the object without a condition, and reads it.
    fn require_readable(&self, key: &Key) -> Result<(), LakeError> {
        const CONTENT: &[u8] = b"3";
        let put = self.put_probe(self.path(key)?, CONTENT, PutMode::Overwrite)?;
        put.map_err(|error| self.failed("write", key, &error))?;
        let look = Self::look_all(self, &[(key.clone(), u64::MAX)])?.pop().flatten();
        if look.is_some_and(|look| look.tail == CONTENT) {
            return Ok(());
        }
        let reason = "the store does not give the bytes that were just written".to_owned();
        let hint = Some("use a store that is compatible with S3".to_owned());
        let (kind, place) = (ErrorKind::Settings, self.place(key));
        Err(BucketError { kind, what: "read", place, reason, hint }.into())
    }

    /// Deletes the probe objects that are older than a day: killed runs have left them.
    fn remove_old_probes(&self, now: SystemTime) -> Result<(), LakeError> {
        let is_old = |seconds: i64| {
            let written = u64::try_from(seconds).ok().map(Duration::from_secs);
            let written = written.and_then(|since| UNIX_EPOCH.checked_add(since));
            written.is_some_and(|at| now.duration_since(at).is_ok_and(|age| age > KEPT))
        };
        let folder = folder();
        let written = self.written(&folder)?.into_iter();
        let old = written.filter_map(|(key, seconds)| is_old(seconds).then_some(key));
        self.remove(&folder, &old.collect::<Vec<_>>())
    }

    fn probe_with(&self, key: &Key) -> Result<Conditions, LakeError> {
        let path = self.path(key)?;
        let tried = conditions(|content, mode| self.put_probe(path.clone(), content, mode))?;
        tried.map_err(|error| self.failed("write", key, &error))
    }

    pub(super) fn without_conditions(&self, conditions: Conditions) -> LakeError {
        let reason = match conditions {
            Conditions::Refused => "the store refuses a PUT with a condition",
            _ => "the store ignores the condition of a PUT",
        };
        BucketError {
            kind: ErrorKind::Settings,
            what: "protect",
            place: self.place(&Key::root()),
            reason: format!(
                "{reason}, so two runs at the same time could replace each other's days"
            ),
            hint: Some(
                "use a store that supports If-None-Match and If-Match. Or, if a scheduler keeps \
                 runs of one account apart, set single_writer = true under [lake_options]"
                    .to_owned(),
            ),
        }
        .into()
    }
}

fn folder() -> Key {
    Key::of(OWN).join("probe")
}

/// Tries the conditions with puts of one object, which is not there.
fn conditions<E>(
    put: impl Fn(&'static [u8], PutMode) -> Result<Result<(), Error>, E>,
) -> Result<Result<Conditions, Error>, E> {
    let wrong = UpdateVersion {
        e_tag: Some("\"00000000000000000000000000000000\"".to_owned()),
        version: None,
    };
    match put(b"1", PutMode::Create)? {
        Err(error) if is_unknown(&error) => return Ok(Ok(Conditions::Refused)),
        // The answer to this very PUT was lost, and the client has sent it again.
        Ok(()) | Err(Error::AlreadyExists { .. }) => {}
        Err(error) => return Ok(Err(error)),
    }
    for mode in [PutMode::Create, PutMode::Update(wrong)] {
        match put(b"2", mode)? {
            Ok(()) => return Ok(Ok(Conditions::Ignored)),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
            Err(error) if is_unknown(&error) => return Ok(Ok(Conditions::Refused)),
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(Conditions::Honoured))
}

/// Whether an error says that the store does not have conditions.
fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::NotImplemented { .. } | Error::NotSupported { .. })
        || Answer::of(error).is_not_implemented()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use super::*;

    fn error(text: &str) -> Error {
        Error::Generic { store: "S3", source: text.into() }
    }

    #[test]
    fn a_store_is_known_by_what_it_does_with_conditions() {
        let there = Cell::new(false);
        let exists = || Error::AlreadyExists { path: "k".into(), source: "412".into() };
        let honours = |_: &'static [u8], mode: PutMode| -> Result<_, Infallible> {
            Ok(match mode {
                PutMode::Create if !there.replace(true) => Ok(()),
                _ => Err(exists()),
            })
        };
        assert_eq!(conditions(honours).unwrap().unwrap(), Conditions::Honoured);
        let refuses = |_: &'static [u8], _| -> Result<_, Infallible> {
            Ok(Err(error("status code: 501 Not Implemented: <Code>NotImplemented</Code>")))
        };
        assert_eq!(conditions(refuses).unwrap().unwrap(), Conditions::Refused);
        let ignores = |_: &'static [u8], _| Ok::<_, Infallible>(Ok(()));
        assert_eq!(conditions(ignores).unwrap().unwrap(), Conditions::Ignored);
        let fails = |_: &'static [u8], _| -> Result<_, Infallible> {
            Ok(Err(error("status code: 403 Forbidden: <Code>AccessDenied</Code>")))
        };
        assert!(conditions(fails).unwrap().is_err());
    }
}
