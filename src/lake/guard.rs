//! Decodes files that may be damaged. Decoders panic on some damage instead of returning an error.
//! One damaged file must not end the whole process.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::Path;
use std::sync::Once;

use super::LakeError;

thread_local! {
    /// Whether panics of this thread are caught here, so that they are not printed.
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Panic messages of libraries when the process cannot get more memory or files.
const OUT_OF_RESOURCES: [&str; 4] = [
    "null pointer",
    "Cannot allocate memory",
    "Too many open files",
    "Resource temporarily unavailable",
];

static QUIET: Once = Once::new();

/// Decodes the file at `path` and catches panics.
///
/// # Errors
/// Returns the errors of `decode`, and [`LakeError::Damaged`] when it panics. After a panic, do not
/// use what `decode` had borrowed.
pub(super) fn guarded<T>(
    path: &Path,
    decode: impl FnOnce() -> Result<T, LakeError>,
) -> Result<T, LakeError> {
    QUIET.call_once(|| {
        let told = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_GUARDED.get() {
                told(panic);
            }
        }));
    });
    let before = IS_GUARDED.replace(true);
    let decoded = catch_unwind(AssertUnwindSafe(decode));
    IS_GUARDED.set(before);
    decoded.unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("for no known reason");
        // A good file can also cause such a panic. If it were called damaged, the hint would be to
        // replace the file.
        if OUT_OF_RESOURCES.iter().any(|words| said.contains(words)) {
            let path = path.display();
            let error = io::Error::new(io::ErrorKind::OutOfMemory, format!("{path}: {said}"));
            return Err(LakeError::Io(error));
        }
        Err(LakeError::damaged(path, format!("it cannot be decoded ({said})")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_damage() {
        let path = Path::new("data/lake/messages/date=2016-06-01/acme.parquet");
        let decoded = guarded::<()>(path, || panic!("a damaged length"));
        assert!(
            matches!(decoded, Err(LakeError::Damaged { path: damaged, reason, .. }) if damaged == path && reason.contains("a damaged length"))
        );
        assert_eq!(guarded(path, || Ok(1)).unwrap(), 1);
        let decoded = guarded::<()>(path, || panic!("zstd returned null pointer"));
        assert!(
            matches!(decoded, Err(LakeError::Io(error)) if error.kind() == io::ErrorKind::OutOfMemory)
        );
    }
}
