//! `kefu init`

mod ask;
mod write;

use std::path::{Path, PathBuf};

use ask::Answers;

use super::destination::Guarded;
use super::doctor;
use crate::cli::{DoctorArgs, GlobalArgs, InitArgs};
use crate::failure::{ErrorKind, Failure, UsageError};
use crate::model::cancel::Cancel;
use crate::settings;
use crate::telemetry;

/// The file of the secret, beside the settings file.
const SECRET: &str = "kefu.secret";

pub(super) fn execute(
    global: &GlobalArgs,
    args: &InitArgs,
    cancel: &Cancel,
) -> Result<Option<ErrorKind>, Failure> {
    let config = global.config.clone().unwrap_or_else(|| PathBuf::from(settings::CONFIG));
    let secret = config.with_file_name(SECRET);
    for path in [&config, &secret] {
        if path.symlink_metadata().is_ok() {
            return Err(exists(path).into());
        }
    }
    let lake = global.lake.as_deref().unwrap_or(Path::new(settings::LAKE));
    Guarded::in_lake(lake).require_free("--config", &config)?;
    let answers = Answers::of(global, args, cancel)?;
    write::write(&answers, global, &config, &secret)?;
    telemetry::print_note(&format!(
        "wrote {}, and {} with the secret, which only this user can read",
        config.display(),
        secret.display()
    ));
    if args.no_check {
        return Ok(None);
    }
    telemetry::print_note("checks, as `kefu doctor` makes them:\n");
    let global = GlobalArgs { config: Some(config), account: Vec::new(), ..global.clone() };
    doctor::execute(&global, &DoctorArgs { probe: false, date: None }, cancel)
}

fn exists(path: &Path) -> UsageError {
    UsageError {
        message: format!("{} exists already, and is not replaced", path.display()),
        advice: Some(
            "change it with an editor; or name another settings file, in a folder of its own, \
             with --config"
                .into(),
        ),
    }
}
