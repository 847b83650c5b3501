//! `kefu` without a command: shows the first steps.

use super::demo;
use crate::cli::GlobalArgs;
use crate::failure::{ErrorKind, Failure};
use crate::hint;
use crate::lake::{Lake, Table};
use crate::settings::{self, Settings};
use crate::telemetry;

const STEPS: &str = "\
kefu pulls the customer-service (客服) chat records of a WeChat Official Account, night by night, and turns them into Parquet.

To try it without an account or a network:

  kefu demo      a week of generated conversations, fetched and computed in a second
  kefu report    a page with figures and charts, from any lake

With your own account:

  kefu init      asks for its AppID and secret, writes kefu.toml and checks it
  kefu doctor    the settings, a test of the access to WeChat, and how to fix what fails
  kefu run       the nightly job: fetch the last days and compute their metrics
  kefu status    which days are in the lake

`kefu help` lists every command, `kefu help run` explains one.";

/// Shows the first steps and returns wrong usage. A script that lost its command must not look
/// successful.
pub(super) fn execute(global: &GlobalArgs) -> Result<Option<ErrorKind>, Failure> {
    telemetry::print_note(&format!("{STEPS}\n\n{}", hint::complete(next(global))));
    Ok(Some(ErrorKind::Usage))
}

/// Returns the next step for the current settings and lake.
fn next(global: &GlobalArgs) -> String {
    let settings = match Settings::resolve(&global.flags(), &settings::environment) {
        Ok(settings) => settings,
        Err(error) => return format!("Here: {error}. `kefu doctor` shows the settings."),
    };
    let lake = match settings.open_lake() {
        Ok(lake) => lake,
        Err(error) => return format!("Here: {error}. `kefu doctor` shows the settings."),
    };
    let place = lake.root().display();
    let has_days = lake.has_files(Table::Messages).unwrap_or(false);
    let is_set = settings.each_account().all(|settings| settings.credential().is_ok());
    let has_demo = Lake::at(demo::LAKE).has_files(Table::Messages).unwrap_or(false);
    match (is_set, has_days) {
        (false, false) if has_demo => format!(
            "Here: no account is set, and there is no lake at {place} yet. The lake of the demo is at {lake}: run `kefu report --lake {lake}`.",
            lake = demo::LAKE
        ),
        (false, false) => format!(
            "Here: no account is set, and there is no lake at {place} yet. Begin with `kefu \
             demo`, or with `kefu init`."
        ),
        (true, false) => {
            format!(
                "Here: an account is set, and there is no lake at {place} yet. Begin with `kefu doctor`, then `kefu run`."
            )
        }
        (false, true) => {
            format!(
                "Here: there is a lake at {place}, but no account is set. Read the lake with `kefu report` or `kefu sql`."
            )
        }
        (true, true) => format!("Here: there is a lake at {place}. `kefu status` shows its days."),
    }
}
