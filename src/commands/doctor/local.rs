//! Checks that need no network.

use std::path::Path;

use super::Check;
use crate::calendar::{Clock, DayRange, Zone};
use crate::failure::{Classified, ErrorKind, Failure};
use crate::lake::{
    Account, AnonymousAccess, Conditions, Lake, LakeError, SCRATCH_HINT, Space, Table,
};
use crate::pipeline::{redaction, require_app};
use crate::printable::counted;
use crate::settings::{Settings, SettingsError};

/// With fewer free bytes, a large day may not fit.
const FREE_BYTES_LOW: u64 = 1 << 30;
/// A larger difference from the store's clock is a warning.
const BUCKET_SKEW_SECONDS_MAX: i64 = 30;
/// With fewer free bytes, even a small day may not fit.
const FREE_BYTES_MIN: u64 = 16 << 20;

/// The disk is not full yet, but a run would fill it.
#[derive(Debug, thiserror::Error)]
#[error("only {} MiB are free", free_bytes >> 20)]
struct NearlyFull {
    free_bytes: u64,
    hint: String,
}

impl Classified for NearlyFull {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Lake
    }

    fn hint(&self) -> Option<String> {
        Some(self.hint.clone())
    }
}

pub(super) fn time_zone(lake: &Lake, zone: &Zone, clock: &Clock) -> Check {
    let now = clock.now().unix_timestamp();
    let over =
        format!("{}: the last day that is over is {}", zone.name(), zone.day_of(now).plus(-1));
    let found = || {
        lake.require_zone(zone.name())?;
        Ok::<_, LakeError>(match lake.zone()? {
            Some(_) => {
                Check::ok("time zone", format!("{over}; the lake's days are in the same zone"))
            }
            None => Check::ok(
                "time zone",
                format!("{over}; the lake has no days yet, and will keep this zone"),
            ),
        })
    };
    Check::of("time zone", found())
}

/// Checks that not every user of this machine can read the files with secrets.
pub(super) fn secrets(settings: &Settings) -> Check {
    let files = settings.secret_files();
    if let Some(path) = files.iter().find(|path| !path.exists()) {
        return Check::warn(
            "secrets",
            format!("{} does not exist", path.display()),
            "create the file, or correct the path in kefu.toml",
        );
    }
    match settings.exposed_files().into_iter().next() {
        Some(path) => {
            let exposed = SettingsError::Exposed { path };
            Check::warn("secrets", exposed.to_string(), exposed.hint().unwrap_or_default())
        }
        None if files.is_empty() => Check::ok("secrets", "no secret is in a file"),
        None => Check::ok("secrets", "in files that other users cannot read"),
    }
}

/// Checks that the privacy settings match those of the days in the lake.
pub(super) fn privacy(settings: &Settings, lake: &Lake) -> Check {
    let found = || -> Result<Check, Failure> {
        let privacy = settings.privacy()?;
        // An account without a name has no days. The checks that need the name report that it is
        // missing.
        for settings in settings.each_account().filter(Settings::has_account) {
            redaction(lake, &settings.account()?, &privacy)?;
        }
        Ok(Check::ok("privacy", privacy.to_string()))
    };
    Check::of("privacy", found())
}

/// Checks that each account has the records of its own app and of no other.
pub(super) fn app(settings: &Settings, lake: &Lake) -> Check {
    let found = || -> Result<Check, Failure> {
        let mut known = 0;
        for settings in settings.each_account().filter(Settings::has_account) {
            let app_id = settings.app_id()?;
            require_app(lake, &settings.account()?, app_id.as_ref())?;
            known += usize::from(app_id.is_some());
        }
        Ok(match known {
            0 => Check::ok(
                "app",
                "not known: with a token but no app id, the lake does not record the app",
            ),
            _ => Check::ok("app", "this account and this app belong together in the lake"),
        })
    };
    Check::of("app", found())
}

pub(super) fn disk(lake: &Lake) -> Check {
    disk_with(lake.space(), lake.scratch())
}

/// `scratch` is the local folder for the files of a bucket.
fn disk_with(space: Result<Space, LakeError>, scratch: Option<&Path>) -> Check {
    let hint = match scratch {
        Some(scratch) => format!("{SCRATCH_HINT} ({} is in use)", scratch.display()),
        None => "free some space, or choose another lake with --lake".to_owned(),
    };
    match space {
        Err(error) => Check::fail("disk", error),
        Ok(Space { free_bytes }) if free_bytes < FREE_BYTES_MIN => {
            Check::fail("disk", NearlyFull { free_bytes, hint })
        }
        Ok(Space { free_bytes }) if free_bytes < FREE_BYTES_LOW => Check::warn(
            "disk",
            format!("writable, {} MiB free", free_bytes >> 20),
            match scratch {
                Some(_) => format!("{hint}: a large day may not fit"),
                None => "free some space: a large day may not fit".to_owned(),
            },
        ),
        Ok(space) => Check::ok("disk", format!("writable, {} GiB free", space.free_bytes >> 30)),
    }
}

pub(super) fn lake(lake: &Lake) -> Check {
    let found = || {
        if let Err(LakeError::Absent { .. }) = lake.require_folder() {
            return Ok(Check::ok("lake", "does not exist yet: `kefu run` creates it"));
        }
        lake.require_folder()?;
        lake.require_place()?;
        let strays = lake.strays()?;
        if let Some(first) = strays.first() {
            let found = format!(
                "files in the folders of the tables that are not from kefu: {}, for instance {}",
                strays.len(),
                first.display()
            );
            return Ok(Check::warn(
                "lake",
                found,
                "move them out of the lake: DuckDB and Polars read every file in a table's folder",
            ));
        }
        let accounts = lake
            .accounts()?
            .into_iter()
            .map(|name| held(lake, name))
            .collect::<Result<Vec<_>, _>>()?;
        Ok::<_, LakeError>(match accounts.as_slice() {
            [] => Check::ok("lake", "no days yet"),
            accounts => Check::ok("lake", accounts.join("; ")),
        })
    };
    Check::of("lake", found())
}

/// Renders an account with its days.
fn held(lake: &Lake, name: String) -> Result<String, LakeError> {
    let Ok(account) = Account::existing(name.clone()) else { return Ok(name) };
    let days = lake.days(Table::Messages, &account)?;
    Ok(match (days.first(), days.last()) {
        (Some(first), Some(last)) => {
            let range = DayRange { first: *first, last: *last };
            format!("{name}: {} in {range}", counted(days.len(), "day"))
        }
        _ => name,
    })
}

/// Checks that the bucket can be written, and that overlapping runs are kept apart.
pub(super) fn bucket(lake: &Lake) -> Check {
    match lake.conditions() {
        Err(error) => Check::fail("bucket", error),
        Ok(Some(Conditions::Honoured) | None) => Check::ok(
            "bucket",
            "can be listed, read, written and deleted from; the store checks the conditions of a \
             PUT. Its lifecycle rules and versioning are not checked",
        ),
        Ok(Some(_)) => Check::warn(
            "bucket",
            "can be listed, read, written and deleted from, but the store does not check the \
             conditions of a PUT: overlapping runs are not protected",
            "keep runs of one account apart, and say so with single_writer = true under \
             [lake_options]. Without that, kefu does not write (78)",
        ),
    }
}

/// Checks that only holders of credentials reach the bucket.
pub(super) fn bucket_access(lake: &Lake) -> Check {
    let found = |access: AnonymousAccess| {
        let known = [(access.list, "list it"), (access.read, "read its objects")];
        let those = |wanted: Option<bool>| -> Vec<&str> {
            known.iter().filter(|(can, _)| *can == wanted).map(|(_, what)| *what).collect()
        };
        let (allowed, unknown) = (those(Some(true)).join(" and "), those(None).join(" or "));
        match (allowed.as_str(), unknown.as_str()) {
            ("", "") => Check::ok("bucket access", "nobody lists or reads it without credentials"),
            ("", unknown) => Check::warn(
                "bucket access",
                format!("not known: whether anybody can {unknown} without credentials"),
                "run `kefu doctor` again when the lake has metrics and the store answers",
            ),
            (allowed, _) => Check::warn(
                "bucket access",
                format!("anybody can {allowed}, without credentials"),
                "make the bucket private: it has the conversations of your customers",
            ),
        }
    };
    Check::of("bucket access", lake.anonymous_access().map(found))
}

/// Compares this machine's clock with that of the store, which refuses requests of another time.
pub(super) fn bucket_clock(lake: &Lake) -> Check {
    match lake.clock_skew_seconds() {
        None => Check::warn(
            "bucket clock",
            "the store's answers have no date",
            "compare this machine's clock with another one",
        ),
        Some(ahead) if ahead.abs() <= BUCKET_SKEW_SECONDS_MAX => {
            Check::ok("bucket clock", "agrees with the store's clock")
        }
        Some(ahead) => Check::warn(
            "bucket clock",
            format!(
                "this machine's clock is {} s {} the store's clock",
                ahead.abs(),
                if ahead > 0 { "ahead of" } else { "behind" }
            ),
            "set the clock with NTP: stores refuse requests of a clock that is minutes off",
        ),
    }
}

pub(super) fn lock(lake: &Lake) -> Check {
    match lake.owner() {
        Ok(None) => Check::ok("lock", "no run is active"),
        Ok(Some(owner)) => Check::warn(
            "lock",
            format!("locked by {owner}"),
            "wait until the active run has ended: another run of the same account would end with 75",
        ),
        Err(error) => Check::fail("lock", error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_for_a_full_disk_fits_a_folder_and_a_bucket() {
        let advice = |free_bytes, scratch| {
            let check = disk_with(Ok(Space { free_bytes }), scratch);
            check.advice.unwrap()
        };
        let scratch = Some(Path::new("/var/scratch"));
        for free_bytes in [1 << 20, 100 << 20] {
            let of_bucket = advice(free_bytes, scratch);
            assert!(of_bucket.contains("`scratch`") && of_bucket.contains("/var/scratch"));
            assert!(!of_bucket.contains("--lake"), "{of_bucket}");
            assert!(!advice(free_bytes, None).contains("scratch"));
        }
    }
}
