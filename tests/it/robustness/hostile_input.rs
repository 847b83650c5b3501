//! Hostile input leads to an error or a reject. It never leads to a panic or a file outside the
//! lake.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use kefu::failure::ErrorKind;
use kefu::pipeline::FetchReport;

use crate::world::{DAY, MIDNIGHT, World, files, record, recorded};

#[test]
fn names_that_look_like_paths_create_no_other_files() {
    let world = World::new();
    let names = [
        "../../x",
        "/etc/passwd",
        "a\\nb",
        "date=2016-01-01",
        "x.parquet",
        "\\u0000",
        "'; DROP TABLE messages; --",
    ];
    let lines: Vec<String> = names
        .iter()
        .map(|name| record(MIDNIGHT, "x").replace("oC1", name).replace("A@acme", name))
        .collect();
    let night = world.fetch(recorded(lines), &[], &[DAY]);
    assert_eq!(night.report.fetched[0].messages.received, names.len() as u64);
    let everything = files(world.folder.path());
    assert!(everything.iter().all(|path| path.starts_with(world.lake_folder())), "{everything:?}");
    assert_eq!(world.table_files(), [world.path("messages", DAY)]);
    assert_eq!(world.rows("messages", DAY)[0][1], "../../x");
}

#[test]
fn account_names_that_look_like_paths_are_refused() {
    for account in
        ["../../x", "/tmp/x", ".hidden", "_hidden", "a/b", "a\nb", "", "a\0b", &"x".repeat(201)]
    {
        assert!(kefu::lake::Account::new(account.to_owned()).is_err(), "{account:?}");
    }
}

#[test]
fn huge_records_are_stored_or_rejected_one_by_one() {
    let huge_text = "很".repeat(10_000_000 / 3);
    let huge_number = "9".repeat(1_000_000);
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let world = World::new();
    let lines = [
        record(MIDNIGHT, "first"),
        record(MIDNIGHT, &huge_text),
        record(MIDNIGHT, "x").replace(&MIDNIGHT.to_string(), &huge_number),
        record(MIDNIGHT, "x").replace("2003", &huge_number),
        record(MIDNIGHT, "x").replace("2003", "1e400"),
        record(MIDNIGHT, "twice").replace("{\"openid\"", "{\"openid\":\"oC0\",\"openid\""),
        record(MIDNIGHT, "more").replace("{\"openid\"", "{\"more\":{\"a\":[1,2,{}]},\"openid\""),
        record(MIDNIGHT + 1, "last"),
    ];
    let night = world.fetch(recorded(lines), &[], &[DAY]);
    let fetched = &night.report.fetched[0];
    let texts = world.texts(DAY);
    assert_eq!(
        (texts[0].as_str(), texts[1].len(), texts.last().unwrap().as_str()),
        ("first", huge_text.len(), "last")
    );
    assert_eq!((fetched.messages.received, fetched.rejects), (4, 4));

    let world = World::new();
    let night = world.fetch(recorded([record(MIDNIGHT, "x"), nested]), &[], &[DAY]);
    assert_eq!(
        (night.report.fetched[0].messages.received, night.report.fetched[0].rejects),
        (1, 1)
    );
}

#[test]
fn extreme_times_belong_to_other_days() {
    let world = World::new();
    let times = [0, -1, -62_135_596_800, 253_402_300_799, i64::MAX, i64::MIN];
    let lines = times.iter().map(|time| record(*time, "x")).chain([record(MIDNIGHT, "here")]);
    let night = world.fetch(recorded(lines.collect::<Vec<_>>()), &[], &[DAY]);
    assert_eq!(night.report.fetched[0].messages.received, 1);
    let night = world.fetch(
        recorded(times.iter().map(|time| record(*time, "x")).collect::<Vec<_>>()),
        &[],
        &["1970-01-01"],
    );
    assert_eq!(
        night.report.fetched[0].messages.received, 2,
        "0 and -1 are on that day in Shanghai"
    );
}

/// Starts a server and returns its base URL. It answers the call for a token with a token. It
/// answers every other call with `head` and `body`, until the client stops reading.
fn serve(
    head: &'static str,
    body: impl Iterator<Item = Vec<u8>> + Clone + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let body = body.clone();
            std::thread::spawn(move || answer(stream, head, body));
        }
    });
    base_url
}

fn answer(
    stream: TcpStream,
    head: &str,
    body: impl Iterator<Item = Vec<u8>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let (mut request, mut length) = (String::new(), 0);
    reader.read_line(&mut request)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    reader.by_ref().take(length).read_to_end(&mut Vec::new())?;
    if request.contains("token ") || request.contains("stable_token") {
        let token = r#"{"access_token":"t","expires_in":7200}"#;
        return write!(
            writer,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{token}",
            token.len()
        );
    }
    write!(writer, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n")?;
    for chunk in body {
        writer.write_all(&chunk)?;
    }
    Ok(())
}

fn fetch_from(base_url: &str) -> (World, FetchReport) {
    let world = World::new();
    let report = world.fetch_from(&base_url.parse().unwrap(), &[DAY]);
    (world, report)
}

#[test]
fn an_endless_answer_is_an_error() {
    let base_url = serve("200 OK", std::iter::repeat(vec![b'['; 1 << 20]));
    let (world, report) = fetch_from(&base_url);
    assert_eq!(report.failed[0].failure.kind, ErrorKind::Unavailable);
    assert!(report.failed[0].failure.to_string().contains("longer than"), "{:?}", report.failed);
    assert!(world.table_files().is_empty());
}

fn gzip(chunks: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    chunks.for_each(|chunk| encoder.write_all(&chunk).unwrap());
    encoder.finish().unwrap()
}

#[test]
fn a_compressed_answer_is_read() {
    let page = format!(r#"{{"recordlist":[{}],"number":1,"msgid":7}}"#, record(MIDNIGHT, "packed"));
    let packed = gzip(std::iter::once(page.into_bytes()));
    let base_url = serve("200 OK\r\nContent-Encoding: gzip", std::iter::once(packed));
    let (world, report) = fetch_from(&base_url);
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    assert_eq!(world.texts(DAY), ["packed"]);
}

#[test]
fn a_compressed_answer_is_unpacked_up_to_a_limit() {
    // A gzip body below 8 MiB that unpacks to 1 GiB.
    let bomb = gzip(std::iter::repeat_n(vec![b' '; 1 << 20], 1 << 10));
    assert!(bomb.len() < 8 << 20);
    let base_url = serve("200 OK\r\nContent-Encoding: gzip", std::iter::once(bomb));
    let (world, report) = fetch_from(&base_url);
    let failure = &report.failed[0].failure;
    assert_eq!(failure.kind, ErrorKind::Unavailable);
    assert!(failure.to_string().contains("longer than 128 MiB after decompression"), "{failure}");
    assert!(world.table_files().is_empty());
}

#[test]
fn a_redirect_is_not_followed_with_a_token() {
    let base_url = serve("302 Found\r\nLocation: http://127.0.0.1:9/elsewhere", std::iter::empty());
    let (world, report) = fetch_from(&base_url);
    assert_eq!(report.failed[0].failure.kind, ErrorKind::Settings);
    assert!(world.table_files().is_empty());
}

#[test]
fn an_answer_without_a_date_header_is_accepted() {
    let body = format!(
        r#"{{"recordlist":[{}],"number":1,"msgid":7}}"#,
        record(MIDNIGHT, "text").replace('\n', "")
    );
    let head = format!("200 OK\r\nContent-Length: {}", body.len());
    let base_url = serve(head.leak(), std::iter::once(body.into_bytes()));
    let (world, report) = fetch_from(&base_url);
    assert_eq!((report.fetched.len(), report.clock_skew_seconds), (1, None));
    assert_eq!(world.texts(DAY), ["text"]);
}
