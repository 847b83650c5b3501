//! Snapshots of every error and every hint, as an operator sees them. Read a changed snapshot
//! yourself before you accept it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use kefu::calendar::Day;
use kefu::failure::{BugError, Classified, Failure};
use kefu::fetch::{ContractError, KeptIn};
use kefu::lake::{Account, AppId, LakeError, OwnRecord, Table};
use kefu::model::privacy::AppliedPrivacy;
use kefu::pipeline::{AppError, PrivacyError};
use kefu::settings::{Flags, Settings, SettingsError};
use kefu::wechat::{
    ApiError, CallError, Peer, Places, TransportError, Trouble, UserCommand, Whose,
};

fn shown(failure: &Failure) -> String {
    let hint = failure.hint.as_ref().map_or_else(String::new, |hint| format!("\n    {hint}"));
    format!("{:3} {}{hint}", failure.kind.exit_code(), failure.causes().join(": "))
}

fn of(errors: impl IntoIterator<Item = impl Classified>) -> String {
    errors.into_iter().map(|error| shown(&error.into())).collect::<Vec<_>>().join("\n")
}

/// Every code that WeChat is known to answer, on a call of the API and on a call for a token.
#[test]
fn each_error_of_wechat_has_its_message_and_hint() {
    let codes = [
        -1, 40001, 40002, 40013, 40014, 40066, 40125, 40164, 40243, 41001, 41002, 41004, 42001,
        43002, 44002, 45009, 45011, 47001, 48001, 48004, 50001, 50002, 61004, 61007, 65400, 65416,
        65417, 89503, 12345,
    ];
    let message = |code| match code {
        40164 => "invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist rid: 66433a5f"
            .to_owned(),
        _ => "words of WeChat's rid: 66433a5f".to_owned(),
    };
    let errors = |on_token_endpoint| {
        codes.map(|code| {
            CallError::from(ApiError { code, message: message(code), on_token_endpoint })
        })
    };
    insta::assert_snapshot!(
        "errors_of_wechat",
        format!("{}\n\nfor a token:\n{}", of(errors(false)), of(errors(true)))
    );
}

#[test]
fn each_network_error_has_its_message_and_hint() {
    let given = ApiError {
        code: 42001,
        message: "access_token expired rid: 66433a5f".into(),
        on_token_endpoint: false,
    };
    let proxied = Peer {
        host: "api.weixin.qq.com".into(),
        proxy: Some("proxy.example:3128 (HTTPS_PROXY)".into()),
    };
    let direct = Peer { proxy: None, ..proxied.clone() };
    let troubles = [
        (Trouble::NoAddress(Whose::Host), "Name or service not known"),
        (Trouble::NoAddress(Whose::Proxy), "Name or service not known"),
        (Trouble::ConnectionRefused(Whose::Host), "Connection refused (os error 111)"),
        (Trouble::ConnectionRefused(Whose::Proxy), "Connection refused (os error 111)"),
        (Trouble::Unreachable(Whose::Host), "Network is unreachable (os error 101)"),
        (Trouble::Unreachable(Whose::Proxy), "No route to host (os error 113)"),
        (Trouble::ProxyWantsPassword, ""),
        (Trouble::ProxyRefuses, ""),
        (Trouble::Certificate(Whose::Host), "invalid peer certificate: UnknownIssuer"),
        (Trouble::Certificate(Whose::Proxy), "invalid peer certificate: UnknownIssuer"),
        (Trouble::Tls(Whose::Host), "received corrupt message of type InvalidContentType"),
        (Trouble::Tls(Whose::Proxy), "received corrupt message of type InvalidContentType"),
        (Trouble::NothingTrusted, "No CA certificates were loaded from the system"),
        (Trouble::ConnectTimeout, ""),
        (Trouble::Timeout, ""),
        (Trouble::Cut, "connection reset"),
        (Trouble::Other, ""),
    ];
    let troubles = [&direct, &proxied].map(|peer| {
        of(troubles.map(|(trouble, detail)| TransportError {
            trouble,
            peer: peer.clone(),
            detail: detail.into(),
        }))
    });
    let status = |status, seconds: Option<u64>, peer: &Peer, came: &str| CallError::Status {
        status,
        retry_after: seconds.map(Duration::from_secs),
        peer: peer.clone(),
        came: came.into(),
    };
    let errors = [
        status(503, Some(600), &direct, "an HTML page (\"Maintenance\")"),
        status(503, None, &proxied, "an empty body"),
        status(404, None, &direct, "an HTML page"),
        status(302, None, &direct, "an empty body"),
        status(403, None, &proxied, "plain text"),
        status(407, None, &proxied, "an HTML page"),
        CallError::Unreadable("not JSON, but an HTML page (\"Maintenance\")".into())
            .from_peer(&proxied),
        CallError::Unreadable("not JSON (syntax error at line 1 column 1)".into()),
        CallError::GivenToken {
            refusal: given,
            places: Box::new(Places {
                appid: "in the settings".into(),
                proof: "the environment variable KEFU_ACCESS_TOKEN".into(),
            }),
        },
    ];
    let broken = [
        ContractError::MoreAfterEnd { asked: 10_000, records: 1_000, more: 1_000 },
        ContractError::EndNotProved { asked: 20_165_258, returned: 0 },
        ContractError::RepeatedPage { records: 10_000 },
        ContractError::Endless { seconds: 86_400, records: 17_390_000, limit: 17_380_000 },
        ContractError::StuckCursor { asked: 20_165_258, returned: 20_165_258 },
        ContractError::NumberDiffers { number: 3, records: 2 },
        ContractError::TooManyRecords { asked: 10_000, records: 10_001 },
        ContractError::TooManyRejects {
            rejects: 400,
            records: 500,
            reason: "missing field `time`".into(),
        },
        ContractError::Misplaced { misplaced: 48, records: 144 },
        ContractError::Shrunk { before: 1_500, after: 1_490, kept_in: KeptIn::Lake },
        ContractError::Shrunk { before: 40, after: 0, kept_in: KeptIn::Metrics },
    ];
    insta::assert_snapshot!(
        "errors_of_the_network",
        format!(
            "{}\n\nthrough a proxy:\n{}\n\nanswers:\n{}\n{}",
            troubles[0],
            troubles[1],
            of(errors),
            of(broken)
        )
    );
}

#[test]
fn each_error_of_the_lake_has_its_message_and_hint() {
    let path = || PathBuf::from("data/lake/messages/date=2016-06-01/acme.parquet");
    let key = || {
        let account = Account::new("acme".into()).unwrap();
        account.partition(Table::Messages, "2016-06-01".parse().unwrap())
    };
    let refused = |kind: io::ErrorKind, what: &str| {
        LakeError::from(io::Error::new(kind, format!("failed to create file `data/lake`: {what}")))
    };
    let errors = [
        refused(io::ErrorKind::StorageFull, "No space left on device"),
        refused(io::ErrorKind::PermissionDenied, "Permission denied"),
        refused(io::ErrorKind::ReadOnlyFilesystem, "Read-only file system"),
        refused(io::ErrorKind::NotFound, "No such file or directory"),
        refused(io::ErrorKind::FileTooLarge, "File too large"),
        refused(io::ErrorKind::QuotaExceeded, "Disk quota exceeded"),
        refused(io::ErrorKind::NotADirectory, "Not a directory"),
        LakeError::DamagedRecord {
            record: OwnRecord::Mark,
            path: "data/lake/_kefu/accounts/acme/pruned.json".into(),
            reason: "expected value at line 1 column 1".into(),
        },
        LakeError::TextsDropped { key: key() },
        LakeError::Damaged {
            key: Some(key()),
            path: path(),
            reason: "its footer lacks the counts".into(),
        },
        LakeError::Occupied { what: "the account acme".into(), owner: "process 4711".into() },
        LakeError::Changed { path: path() },
        LakeError::Dangling { path: path() },
        LakeError::Absent { root: "data/lake".into() },
        LakeError::NoFolder { root: "data/lake".into() },
        LakeError::NoAccount {
            unknown: "nobody".into(),
            there: ["flagship".to_owned(), "outlet".to_owned()].into(),
        },
        LakeError::OtherZone { lake: "Asia/Shanghai".into(), asked: "UTC".into() },
        LakeError::NoLocks {
            path: "data/lake/_kefu/accounts/acme/lock".into(),
            file_system: Some("cifs at /mnt/share".into()),
            source: io::Error::from_raw_os_error(37),
        },
        LakeError::Misread { root: "data/lake".into(), folder: "region=cn".into() },
        LakeError::DamagedRecord {
            record: OwnRecord::App,
            path: "data/lake/_kefu/apps/wx0123456789abcdef".into(),
            reason: "an account's name has 1 to 200 bytes".into(),
        },
    ];
    let account = |name: &str| Account::new(name.into()).unwrap();
    let app = |id: &str| AppId::new(id.into()).unwrap();
    let apps = [
        AppError::OtherApp {
            account: account("flagship"),
            there: app("wx0123456789abcdef"),
            asked: app("wxfedcba9876543210"),
        },
        AppError::OtherAccount {
            app: app("wx0123456789abcdef"),
            there: account("flagship"),
            asked: account("outlet"),
        },
    ];
    let day = |text: &str| -> Day { text.parse().unwrap() };
    let acme = account("acme");
    let applied = |text: &str| AppliedPrivacy::parse(text).unwrap();
    let names = [
        PrivacyError::Stricter {
            account: acme.clone(),
            root: "data/lake".into(),
            lake: applied("text=keep openid=keep"),
            asked: applied("text=drop openid=keep"),
        },
        PrivacyError::Impossible {
            account: acme.clone(),
            lake: applied("text=drop openid=keep"),
            asked: applied("text=keep openid=keep"),
        },
        PrivacyError::OtherFile {
            key: acme.partition(Table::Messages, day("2024-05-14")),
            applied: applied("text=drop openid=keep"),
            asked: applied("text=keep openid=keep"),
        },
        PrivacyError::OtherFile {
            key: acme.partition(Table::Sessions, day("2024-05-14")),
            applied: applied("openid=hmac-sha256:0123456789abcdef"),
            asked: applied("text=keep openid=keep"),
        },
        PrivacyError::Mixed {
            account: acme.clone(),
            root: "data/lake".into(),
            first: day("2024-05-13"),
            second: day("2024-05-14"),
        },
    ];
    let bug = of([BugError("the calls have ended too soon".into())]);
    insta::assert_snapshot!(
        "errors_of_the_lake",
        [of(errors), of(apps), of(names), bug].join("\n")
    );
}

#[test]
fn each_error_of_a_token_command_has_its_message_and_hint() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let errors = [&["/nowhere/token"][..], &["false"], &["echo", "two words"]].map(|words| {
        let command: UserCommand = serde_json::from_value(serde_json::json!(words)).unwrap();
        runtime.block_on(command.token()).unwrap_err()
    });
    insta::assert_snapshot!("errors_of_token_commands", of(errors));
}

#[test]
fn each_error_of_the_settings_has_its_message_and_hint() {
    let resolve = |variables: &[(&str, &str)]| -> Result<Settings, SettingsError> {
        Settings::resolve(&Flags::default(), &|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    };
    let credential =
        |variables: &[(&str, &str)]| resolve(variables).unwrap().credential().unwrap_err();
    let wrong = |variables: &[(&str, &str)]| resolve(variables).map(|_| ()).unwrap_err();
    let folder = tempfile::tempdir().unwrap();
    let file = |toml: &str| {
        let path = folder.path().join("kefu.toml");
        fs_err::write(&path, toml).unwrap();
        Settings::resolve(&Flags { config: Some(path), ..Flags::default() }, &|_| None)
    };
    let unusable = |content: &[u8]| {
        fs_err::write(folder.path().join("secret"), content).unwrap();
        file("appid = 'wx1'\nsecret_file = 'secret'").unwrap().credential().unwrap_err()
    };
    let endpoint = |variables: &[(&str, &str)]| resolve(variables).unwrap().endpoint().unwrap_err();
    let several = file(
        "[[accounts]]\nappid = 'wx1'\nsecret_env = 'ONE'\n[[accounts]]\nappid = 'wx2'\nsecret_env = 'TWO'",
    );
    let errors = [
        resolve(&[]).unwrap().account().unwrap_err(),
        credential(&[]),
        credential(&[("KEFU_APPID", "wx1")]),
        wrong(&[("KEFU_TIMEZONE", "Nowhere/Land")]),
        wrong(&[("KEFU_BASE_URL", "http://example.com")]),
        wrong(&[("KEFU_LOOKBACK", "0")]),
        wrong(&[("KEFU_CONCURRENCY", "many")]),
        wrong(&[("KEFU_CONFIG", "nowhere.toml")]),
        wrong(&[("KEFU_ACCOUNT", "../../x")]),
        resolve(&[("KEFU_ACCOUNT", "_shop")]).unwrap().account_to_write().unwrap_err(),
        resolve(&[("KEFU_APPID", "../../x")]).unwrap().app_id().unwrap_err(),
        file("colour = 1").unwrap_err(),
        file("[metrics]\nsession_gap = \"30m\"").unwrap_err(),
        wrong(&[("KEFU_APPID", "gh_0123456789ab")]),
        wrong(&[("KEFU_APPID", "wx0123456789abcdef ")]),
        file("[[accounts]]\nname = 'shop'\nappid = 'gh_1'\nsecret_env = 'ONE'").unwrap_err(),
        credential(&[("KEFU_APPID", "wx1"), ("KEFU_SECRET", "hunter2 hunter3")]),
        unusable("\u{feff}hunter2\n".as_bytes()),
        unusable(b"\xff\xfeh\0u\0n\0t\0e\0r\x002\0"),
        unusable(b"hunter2\nhunter3\n"),
        unusable(b"hunter2\xff"),
        unusable(b"\n"),
        endpoint(&[("HTTPS_PROXY", "http://user:hunter2@proxy:port")]),
        endpoint(&[("all_proxy", "socks5://user:hunter2@proxy:1080")]),
        endpoint(&[("SSL_CERT_FILE", "/nowhere/ca.pem")]),
        endpoint(&[("SSL_CERT_FILE", "/dev/null")]),
        file("appid = 'wx1'\nsecret_file = 'nowhere'").unwrap().credential().unwrap_err(),
        file("privacy.openid = { hmac_key_env = 'OUR_KEY' }").unwrap().privacy().unwrap_err(),
        file("privacy.openid = { hmac_key_env = 'a key, not a name' }")
            .unwrap()
            .privacy()
            .unwrap_err(),
        several.unwrap().account().unwrap_err(),
    ];
    let folder = folder.path().display().to_string();
    let shown = of(errors);
    assert!(!shown.contains("hunter"), "{shown}");
    insta::assert_snapshot!("errors_of_the_settings", shown.replace(&folder, "(folder)"));
}
