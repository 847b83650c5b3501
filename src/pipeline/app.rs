//! Checks that each account has the records of one app, and that each app has one account. Records
//! of two apps must not mix, and no record may be stored under two names.

use std::collections::BTreeMap;

use super::examined_day::ExaminedDay;
use super::finding::{Finding, Kind};
use crate::calendar::Day;
use crate::failure::{Classified, ErrorKind};
use crate::lake::{Account, AppId, Lake, LakeError, Table};

/// Why an app's records cannot be stored under an account.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(
        "the account {account} has records of the app {there} in this lake, but its app id in the settings is {asked}"
    )]
    OtherApp { account: Account, there: AppId, asked: AppId },
    #[error("the account name {asked} differs only in case from {there}, which is in this lake")]
    OnlyCase { there: Account, asked: Account },
    #[error(
        "this lake has the records of the app {app} under the account {there}, but its account in the settings is {asked}"
    )]
    OtherAccount { app: AppId, there: Account, asked: Account },
}

impl Classified for AppError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Lake(error) => error.kind(),
            Self::OtherApp { .. } | Self::OtherAccount { .. } | Self::OnlyCase { .. } => {
                ErrorKind::Settings
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Lake(error) => error.hint(),
            Self::OtherApp { account, there, asked } => Some(format!(
                "correct the app id to {there} if it is a mistake. Otherwise give the app {asked} its own account name (KEFU_ACCOUNT, or `account` or `name` in kefu.toml) or another lake (--lake). \
                 Nothing was fetched, and the records of {account} are unchanged"
            )),
            Self::OnlyCase { there, .. } => Some(format!(
                "use the name {there}, or choose one that differs in more than case: on some systems both would name the same file. Nothing was fetched"
            )),
            Self::OtherAccount { there, .. } => Some(format!(
                "use the name {there}: under two names each record would count twice. An account cannot be renamed in a lake, because its name is in \
                 every file. For another name, start another lake with --lake, fetch there what WeChat still has, and keep this one. Nothing was fetched"
            )),
        }
    }
}

/// Checks that the records of an app can be stored under an account.
///
/// The app that is recorded for the account decides. If none is recorded, the newest messages with
/// an app id decide. Without an `app_id`, checks only the name of the account.
///
/// # Errors
/// - [`AppError::OtherApp`] when the account has the records of another app.
/// - [`AppError::OtherAccount`] when the app's records are stored under another account.
/// - [`AppError::OnlyCase`] when the name differs from a recorded account only in case.
pub fn require_app(lake: &Lake, account: &Account, app_id: Option<&AppId>) -> Result<(), AppError> {
    // The app was checked when it was recorded. In a bucket, to list the others would cost a
    // request for each account.
    if !lake.is_in_folder()
        && let Some(asked) = app_id
        && lake.account_of_app(asked)?.as_ref() == Some(account)
    {
        return Ok(());
    }
    let known = lake.known_apps()?;
    for there in known.alike(account) {
        // An account without files can still have a record: its files were deleted.
        if lake.has_account(there)? {
            return Err(AppError::OnlyCase { there: there.clone(), asked: account.clone() });
        }
    }
    let Some(asked) = app_id else { return Ok(()) };
    if let Some(there) = known.account_of(asked).filter(|there| *there != account)
        && lake.has_account(there)?
    {
        let (app, there, asked) = (asked.clone(), there.clone(), account.clone());
        return Err(AppError::OtherAccount { app, there, asked });
    }
    // An account without files can still have a record: its files were deleted.
    if !lake.has_account(account)? {
        return Ok(());
    }
    let there = match known.apps_of(account).find(|app| *app != asked) {
        Some(app) => Some(app.clone()),
        None if known.is_recorded(asked) => None,
        None => lake.newest_app(account)?.filter(|app| app != asked),
    };
    match there {
        Some(there) => {
            Err(AppError::OtherApp { account: account.clone(), there, asked: asked.clone() })
        }
        None => Ok(()),
    }
}

/// Returns a finding for each message file or record that names another app than the account's.
/// `apps` are the recorded apps. If the app of the newest messages is not recorded, this adds it
/// with the account.
pub(super) fn other_apps(
    lake: &Lake,
    apps: &mut BTreeMap<AppId, Account>,
    account: &Account,
    days: &BTreeMap<Day, ExaminedDay>,
) -> Vec<Finding> {
    let messages = days.iter().filter_map(|(day, examined)| {
        Some((*day, examined.sound.get(&Table::Messages)?.footer.app_id()?))
    });
    let messages: Vec<(Day, AppId)> = messages.collect();
    let path = |day: Day| lake.path(&account.partition(Table::Messages, day));
    let recorded = |app: &AppId| lake.path_of_app(app);
    let of_account = |apps: &BTreeMap<AppId, Account>| -> Vec<AppId> {
        apps.iter().filter(|(_, name)| *name == account).map(|(app, _)| app.clone()).collect()
    };
    let mut findings = Vec::new();
    let Some((last, newest)) = messages.last() else {
        if let [_, second, ..] = of_account(apps).as_slice() {
            let what = format!("several apps are recorded for the account {account}");
            let advice = "compare with the app id that `kefu doctor` shows, then move these records of the other apps out of the lake";
            findings.push(Finding::new(Kind::App, recorded(second), what, advice));
        }
        return findings;
    };
    let others = messages.iter().filter(|(_, app)| app != newest);
    findings.extend(others.map(|(day, app)| {
        let what = format!("its records are from the app {app}, but the latest records of the account are from {newest}");
        let advice = format!(
            "keep a copy of the file, then run `kefu run --date {day} --force` to fetch the day again for the app in the settings"
        );
        Finding::new(Kind::App, path(*day), what, advice)
    }));
    let owner = apps.entry(newest.clone()).or_insert_with(|| account.clone());
    if owner != account {
        let what = format!(
            "the records of the app {newest} are also under the account {owner}, so they count twice"
        );
        let advice =
            "keep one of the two accounts, and move the files of the other one out of the lake";
        findings.push(Finding::new(Kind::App, path(*last), what, advice));
    }
    let others = of_account(apps).into_iter().filter(|app| app != newest);
    findings.extend(others.map(|app| {
        let what = format!(
            "it assigns the app {app} to the account {account}, but the latest messages of the account are from {newest}"
        );
        let advice =
            "compare with the app id that `kefu doctor` shows. Move this file out of the lake if the messages are right, otherwise the messages";
        Finding::new(Kind::App, recorded(&app), what, advice)
    }));
    findings
}
