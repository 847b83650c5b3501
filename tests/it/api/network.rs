//! Errors on the network path to WeChat. Each error has its own message and says what to do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use kefu::failure::Failure;
use kefu::fetch::Source;
use kefu::pipeline::{FetchJob, fetch_days};
use kefu::simulator::{APPID, SECRET};
use kefu::wechat::{BaseUrl, Endpoint, Proxy};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::log;
use crate::world::{DAY, World, records};

/// A host name that no name server resolves: its first label has more than 63 letters.
const NO_NAME: &str =
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example";

const TOKEN: &str = r#"{"access_token":"t","expires_in":7200}"#;
const EMPTY_PAGE: &str = r#"{"recordlist":[],"number":0,"msgid":0}"#;
const NO_WORKERS: &str = r#"{"kf_list":[]}"#;
const MAINTENANCE: &str =
    "<!DOCTYPE html><html><head><title>Scheduled maintenance</title></head></html>";

/// A server on a loopback port. It answers each connection with the result of `answer`, then closes
/// it.
pub struct Server {
    pub port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&str) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        let server =
            Self { port, connections: connections.clone(), requests: Arc::clone(&requests) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                // An error here is expected: some tests have a client that closes the connection.
                let _ = match &tls {
                    None => serve(stream, &requests, &answer),
                    Some(config) => ServerConnection::new(config.clone())
                        .map_err(std::io::Error::other)
                        .and_then(|tls| serve(StreamOwned::new(tls, stream), &requests, &answer)),
                };
            }
        });
        server
    }

    pub fn plain(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        Self::new(None, answer)
    }

    /// A TLS server. Its certificate is signed only by the test's own authority.
    fn with_tls(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let certificate =
            CertificateDer::from_pem_slice(include_bytes!("../tls/server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("../tls/server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Self::new(Some(Arc::new(config)), answer)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: impl Read + Write,
    requests: &Mutex<Vec<String>>,
    answer: &impl Fn(&str) -> Vec<u8>,
) -> std::io::Result<()> {
    let (mut head, mut length) = (String::new(), 0);
    let mut reader = BufReader::new(&mut stream);
    let is_http = reader.fill_buf()?.first().is_some_and(u8::is_ascii_uppercase);
    if is_http {
        for line in reader.by_ref().lines() {
            let line = line?.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.is_empty() {
                break;
            }
            head.push_str(&line);
            head.push('\n');
        }
    }
    reader.take(length).read_to_end(&mut Vec::new())?;
    requests.lock().unwrap().push(head.clone());
    stream.write_all(&answer(&head))?;
    stream.flush()
}

fn answer(status: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// Answers as an API without records: a token, and an empty page.
fn api(head: &str) -> Vec<u8> {
    let body = match head {
        head if head.contains("stable_token") => TOKEN,
        head if head.contains("getkflist") => NO_WORKERS,
        _ => EMPTY_PAGE,
    };
    answer("200 OK", body)
}

/// A port at which nothing listens. A connection of its own keeps it in use, so that no server of
/// another test can get it.
struct ClosedPort {
    port: u16,
    _connection: (TcpListener, TcpStream),
}

impl ClosedPort {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Self { port: stream.local_addr().unwrap().port(), _connection: (listener, stream) }
    }
}

/// Fetches a day from `base` and returns the error as text: exit code, error and hint.
fn fetch(base: &str, proxy: Option<&str>) -> String {
    let world = World::new();
    let base: BaseUrl = base.parse().unwrap();
    let proxy = proxy.map(|proxy| Proxy::parse(proxy, "HTTPS_PROXY").unwrap());
    let endpoint = Endpoint::through(base, proxy);
    let source = Source::connect(&endpoint, world.credential.clone(), world.clock.clone()).unwrap();
    let job = FetchJob {
        source: Arc::new(source),
        lake: world.lake(),
        account: world.account(),
        app_id: None,
        zone: world.zone.clone(),
        concurrency: 1,
        refreshed: Default::default(),
        on_shrink: Default::default(),
        cancel: Default::default(),
    };
    let _lock = world.lake().lock(&world.account()).unwrap();
    let report = world.runtime.block_on(fetch_days(&job, &[DAY.parse().unwrap()], &()));
    let failure: &Failure = &report.failed[0].failure;
    let hint = failure.hint.as_deref().unwrap_or_default();
    format!("{} {failure}\n    {hint}", failure.kind.exit_code())
}

#[test]
fn each_network_error_has_its_own_message() {
    let wechat = "https://api.weixin.qq.com";
    let closed_port = ClosedPort::new();
    let closed = closed_port.port;
    let wants_password = Server::plain(|_| answer("407 Proxy Authentication Required", ""));
    let forbids = Server::plain(|_| answer("403 Forbidden", MAINTENANCE));
    let silent = Server::plain(|_| Vec::new());
    let maintained = Server::plain(|_| answer("503 Service Unavailable", MAINTENANCE));
    let page = Server::plain(|_| answer("200 OK", MAINTENANCE));
    let page_later = Server::plain(|head| match head.contains("stable_token") {
        true => api(head),
        false => answer("200 OK", MAINTENANCE),
    });
    let empty = Server::plain(|_| answer("200 OK", ""));
    let login = Server::plain(|_| answer("302 Found\r\nLocation: https://login.example", ""));
    let untrusted = Server::with_tls(api);
    let no_tls = Server::plain(|_| answer("400 Bad Request", ""));
    let http = |port: u16| format!("http://127.0.0.1:{port}");
    let https = |port: u16| format!("https://127.0.0.1:{port}");
    let proxy = |port: u16| format!("http://user:hunter2@127.0.0.1:{port}");
    let cases = [
        ("nothing listens", http(closed), None),
        ("the connection is closed", http(silent.port), None),
        ("the certificate is not trusted", https(untrusted.port), None),
        ("no TLS", https(no_tls.port), None),
        ("503", http(maintained.port), None),
        ("a maintenance page for a token", http(page.port), None),
        ("a maintenance page for records", http(page_later.port), None),
        ("nothing", http(empty.port), None),
        ("a login page", http(login.port), None),
        ("no proxy listens", wechat.into(), Some(proxy(closed))),
        ("the proxy's name is not known", wechat.into(), Some(format!("http://{NO_NAME}:3128"))),
        ("the proxy wants a password", wechat.into(), Some(proxy(wants_password.port))),
        ("the proxy forbids", wechat.into(), Some(proxy(forbids.port))),
        ("the proxy closes", wechat.into(), Some(proxy(silent.port))),
    ];
    let shown: Vec<String> = cases
        .iter()
        .map(|(what, base, proxy)| format!("{what}:\n{}", fetch(base, proxy.as_deref())))
        .collect();
    let mut shown = shown.join("\n").replace(NO_NAME, "(no name)");
    for server in [
        &wants_password,
        &forbids,
        &silent,
        &maintained,
        &page,
        &page_later,
        &empty,
        &login,
        &untrusted,
        &no_tls,
    ] {
        shown = shown.replace(&server.port.to_string(), "(port)");
    }
    let shown = shown.replace(&closed.to_string(), "(port)");
    assert!(!shown.contains("hunter2") && !shown.contains("access_token="), "{shown}");
    insta::assert_snapshot!(shown);

    // kefu does not retry errors that a few seconds cannot fix. It retries all others.
    for (server, connections) in [
        (&untrusted, 1),
        (&no_tls, 1),
        (&wants_password, 1),
        (&login, 1),
        (&forbids, 6),
        (&maintained, 6),
        (&page, 6),
    ] {
        assert_eq!(server.connections(), connections, "{}", server.port);
    }
    // The password goes to the proxy, in a header of the CONNECT request.
    let asked = &wants_password.requests()[0];
    assert!(
        asked.starts_with("connect api.weixin.qq.com:443")
            && asked.contains("proxy-authorization: basic dxnlcjpodw50zxiy"),
        "{asked}"
    );
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn kefu(world: &World, base_url: &str, arguments: &[&str]) -> Command {
    let mut command = world.command(arguments);
    command
        .env("KEFU_BASE_URL", base_url)
        .env("KEFU_APPID", APPID)
        .env("KEFU_SECRET", SECRET)
        .env("KEFU_ACCOUNT", "acme");
    command
}

/// Only the certificates that `SSL_CERT_FILE` names are trusted.
#[test]
fn only_certificates_in_ssl_cert_file_are_trusted() {
    let (world, server) = (World::new(), Server::with_tls(api));
    let base = format!("https://localhost:{}", server.port);
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/ca.pem");
    let run = |variables: &[(&str, &str)]| {
        let mut command = kefu(&world, &base, &["fetch", "--date", DAY]);
        command.envs(variables.iter().copied()).output().unwrap()
    };
    let untrusted = run(&[]);
    assert_eq!(untrusted.status.code(), Some(78), "{}", stderr(&untrusted));
    assert!(
        stderr(&untrusted).contains("the certificate of localhost:")
            && stderr(&untrusted).contains("SSL_CERT_FILE"),
        "{}",
        stderr(&untrusted)
    );
    assert!(stdout(&untrusted).contains("FAILED    1 day not fetched: 2016-06-01"));

    let trusted = run(&[("SSL_CERT_FILE", authority)]);
    assert_eq!(trusted.status.code(), Some(0), "{}", stderr(&trusted));

    let before = server.connections();
    let folder = world.folder.path();
    fs_err::write(folder.join("no.pem"), "no certificate").unwrap();
    for (path, reason) in [
        ("absent.pem", "names a file that cannot be read"),
        ("no.pem", "it contains no certificate in PEM format"),
    ] {
        let path = folder.join(path).display().to_string();
        let output = run(&[("SSL_CERT_FILE", &path)]);
        assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("the environment variable SSL_CERT_FILE")
                && stderr(&output).contains(&path)
                && stderr(&output).contains(reason),
            "{}",
            stderr(&output)
        );
    }
    assert_eq!(server.connections(), before, "nothing is called without certificates to trust");
}

/// A machine without certificates can still call itself, so the demo works.
#[test]
fn the_demo_needs_no_certificates() {
    let world = World::new();
    let empty = world.folder.path().join("empty");
    fs_err::create_dir(&empty).unwrap();
    let mut command = world.command(&["demo"]);
    let output = command.env("SSL_CERT_DIR", &empty).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let output = kefu(&world, "https://127.0.0.1:1", &["fetch", "--date", DAY])
        .env("SSL_CERT_DIR", &empty)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("this machine has no trusted certificates"),
        "{}",
        stderr(&output)
    );
}

fn check(output: &Output, name: &str) -> Value {
    let examination: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = examination["checks"].as_array().unwrap();
    checks.iter().find(|check| check["check"] == name).unwrap().clone()
}

fn setting(output: &Output, name: &str) -> Value {
    let examination: Value = serde_json::from_slice(&output.stdout).unwrap();
    let settings = examination["settings"].as_array().unwrap();
    settings.iter().find(|setting| setting["name"] == name).unwrap().clone()
}

#[test]
fn the_doctor_shows_the_proxy_in_use_without_its_password() {
    let world = World::new();
    let proxy = Server::plain(|_| answer("407 Proxy Authentication Required", ""));
    let address = format!("127.0.0.1:{}", proxy.port);
    let set = format!("http://user:hunter2@{address}");
    let doctor = |base: &str, variables: &[(&str, &str)]| {
        let mut command = kefu(&world, base, &["doctor", "--output", "json"]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert!(!stdout(&output).contains("hunter2") && output.stderr.is_empty());
        output
    };
    let wechat = "https://api.weixin.qq.com";
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let output = doctor(wechat, &[(variable, &set)]);
        assert_eq!(output.status.code(), Some(77), "{}", stdout(&output));
        assert_eq!(setting(&output, "proxy")["value"], address.as_str());
        assert_eq!(
            setting(&output, "proxy")["origin"],
            format!("the environment variable {variable}")
        );
        let network = check(&output, "network");
        assert_eq!(
            network["finding"],
            format!(
                "the proxy {address} ({variable}) requires a valid user name and password (407)"
            )
        );
    }

    // A proxy setting that kefu cannot parse is an error. It is not ignored.
    for wrong in ["http://user:hunter2@proxy:port", "hunter2 hunter2", "http://", "ftp://hunter2"] {
        let output = doctor(wechat, &[("HTTPS_PROXY", wrong), ("ALL_PROXY", &set)]);
        assert_eq!(output.status.code(), Some(78), "{}", stdout(&output));
        let network = check(&output, "network");
        let finding = network["finding"].as_str().unwrap();
        assert!(
            finding.starts_with("the environment variable HTTPS_PROXY is wrong: "),
            "{finding}"
        );
    }
    let run = kefu(&world, wechat, &["run", "--date", DAY])
        .env("HTTPS_PROXY", "http:proxy:3128")
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(78), "{}", stderr(&run));
    assert!(!world.path("messages", DAY).exists());

    let answers = Server::plain(api);
    let here = format!("http://127.0.0.1:{}", answers.port);
    let output = doctor(&here, &[("HTTP_PROXY", &set), ("ALL_PROXY", &set)]);
    assert_eq!(setting(&output, "proxy")["value"], "none, because the base URL is this machine");
    assert_eq!(check(&output, "network")["state"], "ok");
    assert_eq!(proxy.connections(), 4, "{:?}", proxy.requests());
}

/// Fetches a day from a server that is busy twice and exceeds its limit per minute once. Returns
/// the events of repeated calls.
fn retried_calls() -> Vec<Value> {
    // The log is collected for each thread, so everything must run on this one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = World { runtime, ..World::new() };
    let faults = ["errcode:-1@1x2", "errcode:45011@3"];
    let night = world.fetch(records(1), &faults, &[DAY]);
    assert!(night.report.failed.is_empty());
    let logged = log::of_this_thread();
    logged.into_iter().filter(|event| event["event"] == "call_retried").collect()
}

#[test]
fn a_retry_is_logged_with_account_day_host_and_attempt() {
    let attempts_of = |events: &[Value]| -> Vec<[Value; 2]> {
        events.iter().map(|event| [event["attempt"].clone(), event["attempts"].clone()]).collect()
    };
    let expected = [[2, 6], [3, 6], [2, 6]].map(|pair| pair.map(|number| json!(number)));
    let retried = retried_calls();
    assert_eq!(attempts_of(&retried), expected, "{retried:?}");
    for event in &retried {
        assert_eq!((&event["account"], &event["date"]), (&json!("acme"), &json!(DAY)), "{event}");
        assert!(event["host"].as_str().unwrap().starts_with("127.0.0.1:"), "{event}");
        assert!(event["reason"].is_string() && event["wait_ms"].is_u64(), "{event}");
    }
}

/// Runs a command with a hosts file that maps `localhost` to another machine. The command runs in
/// its own mount namespace. Returns `None` if the kernel does not allow users to create one.
fn with_hosts_file(world: &World, base_url: &str, arguments: &[&str]) -> Option<Output> {
    let hosts = world.folder.path().join("hosts");
    fs_err::write(&hosts, "192.0.2.1 localhost\n").unwrap();
    let isolated = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--map-root-user", "--mount", "sh", "-c"])
            .arg(format!("mount --bind {} /etc/hosts && exec {command}", hosts.display()));
        unshare
    };
    #[allow(clippy::print_stderr)]
    if !isolated("grep -q 192.0.2.1 /etc/hosts").status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: this machine allows no mount namespaces");
        return None;
    }
    let kefu = kefu(world, base_url, arguments);
    let mut command = isolated(&format!("{} {}", env!("CARGO_BIN_EXE_kefu"), arguments.join(" ")));
    command.current_dir(world.folder.path());
    for (name, value) in kefu.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    Some(command.output().unwrap())
}

#[test]
fn the_hosts_file_does_not_redirect_localhost() {
    let (world, server) = (World::new(), Server::plain(api));
    let base = format!("http://localhost:{}", server.port);
    let output = with_hosts_file(&world, &base, &["fetch", "--date", DAY]);
    if let Some(output) = output {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(server.connections(), 3);
    }
}
