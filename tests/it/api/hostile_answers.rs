//! Hostile answers as a table: the answers of the server, the exit code, and what is committed.
//!
//! Each row passes through HTTP, decoding, retries and the lake. The clock for retries never really
//! waits.

use std::fmt::Display;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use kefu::calendar::{Clock, Zone};
use kefu::lake::Table;
use rayon::prelude::*;

use super::network::Server;
use crate::world::{DAY, MIDNIGHT, NOW, World, record};

const TOKEN: &str = r#"{"access_token":"t","expires_in":7200}"#;
const EMPTY: &str = r#"{"recordlist":[],"number":0,"msgid":0}"#;

/// An HTTP response as bytes.
type Bytes = Vec<u8>;

/// One row of the table.
struct Row {
    name: String,
    tokens: Vec<Bytes>,
    /// Answers of `getmsglist`, in order; the last one is repeated.
    pages: Vec<Bytes>,
    page_records: usize,
    expected: String,
}

impl Row {
    fn new(
        name: impl Display,
        pages: impl IntoIterator<Item = Bytes>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            name: name.to_string(),
            tokens: vec![ok(TOKEN)],
            pages: pages.into_iter().collect(),
            page_records: 10_000,
            expected: expected.into(),
        }
    }

    /// A row whose server repeats one body.
    fn body(name: impl Display, body: impl AsRef<[u8]>, expected: impl Into<String>) -> Self {
        Self::new(name, [ok(body)], expected)
    }

    fn with_tokens(self, tokens: impl IntoIterator<Item = Bytes>) -> Self {
        Self { tokens: tokens.into_iter().collect(), ..self }
    }

    fn with_pages_of(self, page_records: usize) -> Self {
        Self { page_records, ..self }
    }

    /// Describes how the outcome differs from the expected one, or returns `None`.
    fn difference(&self) -> Option<String> {
        let outcome = self.outcome();
        (outcome != self.expected).then(|| {
            format!("{}\n    expected {}\n    but was  {outcome}", self.name, self.expected)
        })
    }

    fn outcome(&self) -> String {
        let world = World::new().with_page_records(self.page_records);
        let server = scripted(self.tokens.clone(), self.pages.clone());
        outcome(&world, &server)
    }
}

/// Fetches a day. Returns the exit code with the numbers of committed messages and rejects. Checks
/// what must hold for every outcome.
fn outcome(world: &World, server: &Server) -> String {
    let base = format!("http://127.0.0.1:{}", server.port);
    let report = world.fetch_from(&base.parse().unwrap(), &[DAY]);
    let code = report.kind().map_or(0, |class| class.exit_code());
    assert!(world.staged_files().is_empty());
    let waited = (world.clock.now() - Clock::starting_at(NOW).now()).whole_minutes();
    assert!(waited <= 21, "{waited} minutes");
    let Some(fetched) = report.fetched.first() else {
        assert!(world.table_files().is_empty());
        assert_eq!(code == 0, report.failed.is_empty());
        return match report.left_out.len() {
            0 => code.to_string(),
            _ => format!("{code}: left out"),
        };
    };
    let messages = world.rows("messages", DAY).len();
    let rejects = match world.has(Table::Rejects, DAY) {
        true => world.rows("rejects", DAY).len(),
        false => 0,
    };
    let counts = fetched.messages;
    assert_eq!(
        (counts.received + counts.sent + counts.other, fetched.rejects),
        (messages as u64, rejects as u64)
    );
    committed(messages, rejects)
}

fn committed(messages: usize, rejects: usize) -> String {
    format!("0: {messages} messages, {rejects} rejects")
}

fn scripted(tokens: Vec<Bytes>, pages: Vec<Bytes>) -> Server {
    let (token_calls, page_calls) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let next = |answers: &[Bytes], calls: &AtomicUsize| {
        answers[calls.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)].clone()
    };
    Server::plain(move |head| match head.contains("stable_token") {
        true => next(&tokens, &token_calls),
        false => next(&pages, &page_calls),
    })
}

/// An HTTP response with `Content-Length`.
fn answer(head: &str, body: impl AsRef<[u8]>) -> Bytes {
    let body = body.as_ref();
    let length = format!("Content-Length: {}", body.len());
    raw(&format!("HTTP/1.1 {head}\r\n{length}\r\nConnection: close"), body)
}

fn raw(head: &str, body: impl AsRef<[u8]>) -> Bytes {
    [head.as_bytes(), b"\r\n\r\n", body.as_ref()].concat()
}

fn ok(body: impl AsRef<[u8]>) -> Bytes {
    answer("200 OK", body)
}

fn error(code: impl Display) -> String {
    format!(r#"{{"errcode":{code},"errmsg":"refused rid: 66433a5f"}}"#)
}

fn envelope(records: &[String], number: impl Display, msgid: impl Display) -> String {
    format!(r#"{{"recordlist":[{}],"number":{number},"msgid":{msgid}}}"#, records.join(","))
}

/// A page of one record.
fn page() -> String {
    envelope(&[record(MIDNIGHT, "text")], 1, 7)
}

/// A page of `count` records. Pages with another `msgid` have other records.
fn numbered(count: usize, msgid: i64) -> Bytes {
    let text = |number: usize| format!("{msgid} {number}");
    let records: Vec<String> =
        (0..count).map(|number| record(MIDNIGHT + msgid % 80_000, &text(number))).collect();
    ok(envelope(&records, count, msgid))
}

const FIELDS: [(&str, &str); 5] = [
    ("openid", r#""oC1""#),
    ("opercode", "2003"),
    ("text", r#""text""#),
    ("time", "1464710400"),
    ("worker", r#""A@acme""#),
];

/// A record with another value in a field. `None` removes the field.
fn changed(field: &str, value: Option<&str>) -> String {
    let fields: Vec<String> = FIELDS
        .into_iter()
        .filter_map(|(name, usual)| Some((name, if name == field { value? } else { usual })))
        .map(|(name, value)| format!(r#""{name}":{value}"#))
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn packed<W: Write>(
    body: &[u8],
    encoder: impl FnOnce(Bytes) -> W,
    finish: impl FnOnce(W) -> std::io::Result<Bytes>,
) -> Bytes {
    let mut encoder = encoder(Vec::new());
    encoder.write_all(body).unwrap();
    finish(encoder).unwrap()
}

fn gzip(body: &[u8]) -> Bytes {
    packed(body, |out| GzEncoder::new(out, Compression::fast()), GzEncoder::finish)
}

fn zlib(body: &[u8]) -> Bytes {
    packed(body, |out| ZlibEncoder::new(out, Compression::fast()), ZlibEncoder::finish)
}

fn deflate(body: &[u8]) -> Bytes {
    packed(body, |out| DeflateEncoder::new(out, Compression::fast()), DeflateEncoder::finish)
}

/// Runs the rows in parallel and shows all differences.
#[track_caller]
fn check(rows: &[Row]) {
    let differences: Vec<String> = rows.par_iter().filter_map(Row::difference).collect();
    assert!(differences.is_empty(), "of {} rows:\n{}", rows.len(), differences.join("\n"));
}

#[test]
fn each_hostile_body_has_its_expected_outcome() {
    let page = page();
    let one = committed(1, 0);
    let cut = |at: usize| &page.as_bytes()[..at];
    let utf16 = |unit: fn(u16) -> [u8; 2]| -> Bytes {
        std::iter::once(0xfeff).chain(page.encode_utf16()).flat_map(unit).collect()
    };
    let encoded = |name: &str, encoding: &str, body: Bytes, expected: &str| {
        Row::new(name, [answer(&format!("200 OK\r\nContent-Encoding: {encoding}"), body)], expected)
    };
    let bomb = vec![b' '; (128 << 20) + 1];
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(50_000), close.repeat(50_000));
    let mut rows = vec![
        Row::body("nothing", "", "69"),
        Row::body("white space", " \r\n\t", "69"),
        Row::body("a NUL byte", "\0", "69"),
        Row::body("NUL bytes behind the page", format!("{page}\0\0"), "69"),
        Row::body("HTML", "<html><body>Please log in</body></html>", "69"),
        Row::body("XML", "<?xml version='1.0'?><error/>", "69"),
        Row::body("plain text", "OK", "69"),
        Row::body("random bytes", [0xff, 0x00, 0xfe, 0x80, 0x01], "69"),
        Row::body("null", "null", "69"),
        Row::body("true", "true", "69"),
        Row::body("a number", "0", "69"),
        Row::body("a string", "\"ok\"", "69"),
        Row::body("an empty array", "[]", "69"),
        Row::body("an empty object", "{}", "69"),
        Row::body("the page in an array", format!("[{page}]"), "69"),
        Row::body("the values of a page as an array", "[[],0,0,null,null]", "69"),
        Row::body("the page in a string", format!("{page:?}"), "69"),
        Row::body("the page in JSONP", format!("callback({page})"), "69"),
        Row::body("a byte order mark", format!("\u{feff}{page}"), one.as_str()),
        Row::body("two byte order marks", format!("\u{feff}\u{feff}{page}"), "69"),
        Row::body("white space around the page", format!("\r\n {page}\n\n"), one.as_str()),
        Row::body("a comma behind the page", format!("{page},"), "69"),
        Row::body("the page twice", format!("{page}{page}"), "69"),
        Row::body("HTML behind the page", format!("{page}<script>"), "69"),
        Row::body("a comment before the page", format!("/* */{page}"), "69"),
        Row::body("single quotes", page.replace('"', "'"), "69"),
        Row::body("UTF-16, little endian", utf16(u16::to_le_bytes), "69"),
        Row::body("UTF-16, big endian", utf16(u16::to_be_bytes), "69"),
        Row::body("nesting without an end", "[".repeat(100_000), "69"),
        Row::body("deep arrays", deep("[", "]"), "69"),
        Row::body("deep objects", deep("{\"a\":", "0}").replace("0}0}", "}0}"), "69"),
        Row::body(
            "deep nesting in an unknown field",
            page.replace("{\"recordlist\"", &format!("{{\"x\":{},\"recordlist\"", deep("[", "]"))),
            one.as_str(),
        ),
        Row::body(
            "an infinite number in an unknown field",
            page.replace("{\"recordlist\"", "{\"x\":NaN,\"recordlist\""),
            "69",
        ),
        Row::body("128 MiB and more", vec![b' '; (128 << 20) + 1], "69"),
        Row::new(
            "another content type",
            [answer("200 OK\r\nContent-Type: text/html", &page)],
            &*one,
        ),
        Row::new(
            "another charset",
            [answer("200 OK\r\nContent-Type: a/b; charset=gbk", &page)],
            &*one,
        ),
        Row::new("a page after nothing", [ok(""), ok(&page)], one.as_str()),
        Row::new("a page after HTML", [ok("<html>"), ok(&page)], one.as_str()),
        encoded("gzip", "gzip", gzip(page.as_bytes()), &one),
        encoded("gzip, not said", "identity", gzip(page.as_bytes()), &one),
        encoded("gzip that is none", "gzip", page.clone().into(), &one),
        encoded("gzip that is cut", "gzip", gzip(page.as_bytes())[..40].to_vec(), "69"),
        Row::new(
            "gzip that is cut, once",
            [ok(&gzip(page.as_bytes())[..40]), ok(gzip(page.as_bytes()))],
            &*one,
        ),
        encoded("gzip, then more", "gzip", [gzip(page.as_bytes()), b"x".into()].concat(), "69"),
        encoded("gzip within gzip", "gzip, gzip", gzip(&gzip(page.as_bytes())), "69"),
        encoded("gzip of nothing", "gzip", gzip(b""), "69"),
        encoded("gzip bomb", "gzip", gzip(&bomb), "69"),
        encoded("deflate with a header", "deflate", zlib(page.as_bytes()), &one),
        encoded("deflate without a header", "deflate", deflate(page.as_bytes()), &one),
        encoded("deflate that is none", "deflate", page.clone().into(), &one),
        encoded("deflate that is cut", "deflate", deflate(page.as_bytes())[..30].to_vec(), "69"),
        encoded("deflate bomb", "deflate", zlib(&bomb), "69"),
        encoded("brotli", "br", vec![0x0b, 0x02, 0x80], "69"),
        encoded("zstd", "zstd", vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0], "69"),
    ];
    // Cuts within names, strings and numbers, and just before the last brace.
    for at in [1, 2, 10, 14, 15, 16, 25, 40, 60, page.len() - 20, page.len() - 2, page.len() - 1] {
        rows.push(Row::body(format!("cut after {at} bytes"), cut(at), "69"));
    }
    check(&rows);
}

#[test]
fn each_hostile_envelope_has_its_expected_outcome() {
    let records = [record(MIDNIGHT, "text")];
    let (list, one) = (format!("[{}]", records[0]), committed(1, 0));
    let number = |value: &str, expected: &str| {
        Row::body(format!("number: {value}"), envelope(&records, value, 7), expected)
    };
    let msgid = |value: &str, expected: &str| {
        Row::body(format!("msgid: {value}"), envelope(&records, 1, value), expected)
    };
    let recordlist = |value: &str, number: i64, expected: &str| {
        let body = format!(r#"{{"recordlist":{value},"number":{number},"msgid":7}}"#);
        Row::body(format!("recordlist: {value}, number: {number}"), body, expected)
    };
    let fields = |fields: &str, expected: &str| {
        Row::body(format!("fields: {fields}"), format!("{{{fields}}}"), expected)
    };
    let beside = |fields: &str, expected: &str| {
        let body = page().replace("{\"recordlist\"", &format!("{{{fields},\"recordlist\""));
        Row::body(format!("beside a page: {fields}"), body, expected)
    };
    let huge = "x".repeat(1 << 20);
    let digits = "9".repeat(100_000);
    check(&[
        number("\"1\"", &one),
        number("1.0", &one),
        number("1e0", &one),
        number("0", "65"),
        number("2", "65"),
        number("10001", "65"),
        number("-1", "65"),
        number("9223372036854775807", "65"),
        number("-9223372036854775808", "65"),
        number("9223372036854775808", "69"),
        number("1.5", "69"),
        number("1e400", "69"),
        number(&digits, "69"),
        number("null", "69"),
        number("true", "69"),
        number("[1]", "69"),
        number("{}", "69"),
        number("\"\"", "69"),
        number("\"one\"", "69"),
        number("01", "69"),
        // A page of records with such a msgid cannot prove the end of its window.
        msgid("0", "65"),
        msgid("1", "65"),
        msgid("-5", "65"),
        msgid("\"20165267\"", &one),
        msgid("9223372036854775807", &one),
        msgid("9223372036854775808", "69"),
        msgid("7.5", "69"),
        msgid("1e300", "69"),
        msgid(&digits, "69"),
        msgid("null", "69"),
        msgid("\"seven\"", "69"),
        msgid("[]", "69"),
        recordlist("null", 0, "69"),
        recordlist("{}", 0, "69"),
        recordlist("\"\"", 0, "69"),
        recordlist("0", 0, "69"),
        recordlist("[]", 1, "65"),
        recordlist("[]", 0, "0: left out"),
        recordlist(&format!("{{\"list\":{list}}}"), 1, "69"),
        recordlist(&format!("{list:?}"), 1, "69"),
        // One record that is an array. It is unreadable, and is stored unchanged as a reject if
        // there are other records.
        recordlist(&format!("[{list}]"), 1, "65"),
        recordlist(&format!("[{},{list}]", records[0]), 2, &committed(1, 1)),
        fields(&format!("\"recordlist\":{list},\"msgid\":7"), "69"),
        fields(&format!("\"recordlist\":{list},\"number\":1"), "69"),
        fields("\"number\":0,\"msgid\":0", "69"),
        fields(&format!("\"RecordList\":{list},\"Number\":1,\"MsgId\":7"), "69"),
        fields(&format!("\"recordlist\":{list},\"number\":1,\"number\":1,\"msgid\":7"), "69"),
        fields(&format!("\"recordlist\":[],\"recordlist\":{list},\"number\":1,\"msgid\":7"), "69"),
        fields(&format!("\"data\":{{\"recordlist\":{list},\"number\":1,\"msgid\":7}}"), "69"),
        beside("\"errcode\":0,\"errmsg\":\"ok\"", &one),
        beside("\"errcode\":\"0\"", &one),
        beside("\"errcode\":null,\"errmsg\":null", &one),
        beside("\"errmsg\":\"ok\"", &one),
        beside("\"errmsg\":5", &one),
        beside("\"errcode\":45009,\"errmsg\":\"reach max api daily quota limit\"", "75"),
        beside("\"errcode\":true", "69"),
        beside("\"errcode\":\"none\"", "69"),
        fields("\"errcode\":0", "69"),
        fields("\"errcode\":0,\"errmsg\":\"ok\"", "69"),
        fields("\"errcode\":null", "69"),
        fields("\"errcode\":45009", "75"),
        fields("\"errcode\":\"45009\",\"errmsg\":\"quota\"", "75"),
        fields("\"errcode\":45009.0,\"errmsg\":\"quota\"", "75"),
        fields("\"errcode\":45009,\"errmsg\":null", "75"),
        fields("\"errcode\":45009,\"errmsg\":9", "75"),
        fields("\"errcode\":45009,\"errmsg\":{\"zh\":\"x\"}", "75"),
        fields(&format!("\"errcode\":45009,\"errmsg\":\"{huge}\""), "75"),
        fields("\"errcode\":45009,\"errmsg\":\"a\nb\u{1b}[31m\\u0000\"", "75"),
        fields("\"errcode\":45009,\"errmsg\":\"\\ud83d\"", "75"),
        fields("\"errcode\":9223372036854775808", "69"),
        fields("\"errcode\":[45009]", "69"),
        Row::body("errcode -1", error(-1), "69"),
        Row::body("errcode 45011", error(45011), "69"),
        Row::body("errcode 48001", error(48001), "77"),
        Row::body("errcode 61004", error(61004), "77"),
        Row::body("errcode 65400", error(65400), "77"),
        Row::body("errcode 65416", error(65416), "1"),
        Row::body("errcode 65417", error(65417), "1"),
        Row::body("errcode 47001", error(47001), "1"),
        Row::body("errcode 1, not known", error(1), "77"),
        Row::body("errcode -2, not known", error(-2), "77"),
        Row::body("errcode 99999999999, not known", error(99_999_999_999_i64), "77"),
        Row::new("errcode -1, once", [ok(error(-1)), ok(page())], one.as_str()),
        Row::new("errcode 45011, once", [ok(error(45011)), ok(page())], one.as_str()),
    ]);
}

#[test]
fn each_hostile_record_has_its_expected_outcome() {
    let huge = format!("\"{}\"", "很".repeat(500_000));
    let digits = "9".repeat(100_000);
    let taken = [
        ("openid", "5"),
        ("openid", "\"\\u0000\""),
        ("openid", "\"\\ud83d\""),
        ("openid", "\"\\u202eoC1\""),
        ("openid", huge.as_str()),
        ("worker", "7"),
        ("worker", "\" A@acme\""),
        ("worker", "\"\\ude00@acme\""),
        ("worker", huge.as_str()),
        ("opercode", "\"2003\""),
        ("opercode", "2003.0"),
        ("opercode", "0"),
        ("opercode", "-1"),
        ("opercode", "2147483647"),
        ("text", "null"),
        ("text", "\"\""),
        ("text", "5"),
        ("text", "1e400"),
        ("text", "true"),
        ("text", "{\"a\":[1]}"),
        ("text", "[]"),
        ("text", "\"\\ud83d\""),
        ("text", "\"\\u0000\""),
        ("text", "\"a\nb\tc\""),
        ("text", "\"C:\\q\""),
        ("text", "\"1\",\"text\":\"2\""),
        ("text", "\"1\",\"more\":{\"openid\":\"oC9\"}"),
        ("text", huge.as_str()),
        ("time", "\"1464710400\""),
        ("time", "\" 1464710400 \""),
        ("time", "1464710400.0"),
        ("time", "1.4647104e9"),
        ("time", "1464796799"),
    ];
    let rejected = [
        ("openid", "null"),
        ("openid", "true"),
        ("openid", "{}"),
        ("openid", "[\"oC1\"]"),
        ("openid", "\"\""),
        ("openid", "\" \\t\""),
        ("openid", "\"oC1\",\"openid\":\"oC2\""),
        ("worker", "\"\""),
        ("worker", "\" \\t\""),
        ("worker", "null"),
        ("worker", "false"),
        ("worker", "{}"),
        ("worker", "[]"),
        ("opercode", "null"),
        ("opercode", "\"\""),
        ("opercode", "\"sent\""),
        ("opercode", "2003.5"),
        ("opercode", "2147483648"),
        ("opercode", "1e400"),
        ("opercode", digits.as_str()),
        ("opercode", "[2003]"),
        ("opercode", "2002,\"opercode\":2003"),
        ("time", "null"),
        ("time", "true"),
        ("time", "\"\""),
        ("time", "\"2016-06-01\""),
        ("time", "1464710400.5"),
        ("time", "1464710400000"),
        ("time", "\"1464710400000\""),
        ("time", "0"),
        ("time", "-1"),
        ("time", "9223372036854775807"),
        ("time", "-9223372036854775808"),
        ("time", "9223372036854775808"),
        ("time", "1e400"),
        ("time", digits.as_str()),
        ("time", "{}"),
        ("time", "1464710399"),
        ("time", "1464796801"),
    ];
    let beside = |name: String, odd: String, expected: String| {
        Row::body(name, envelope(&[record(MIDNIGHT, "sound"), odd], 2, 7), expected)
    };
    let named = |(field, value): &(&str, &str)| {
        let value: String = value.chars().take(40).collect();
        format!("{field}: {value}")
    };
    let of_fields = |fields: &[(&str, &str)], expected: String| -> Vec<Row> {
        let row = |case: &(&str, &str)| {
            beside(named(case), changed(case.0, Some(case.1)), expected.clone())
        };
        fields.iter().map(row).collect()
    };
    let mut rows = of_fields(&taken, committed(2, 0));
    rows.extend(of_fields(&rejected, committed(1, 1)));
    // A record at the end of the window belongs to the next window.
    rows.extend(of_fields(&[("time", "1464796800")], committed(1, 0)));
    for (field, _) in FIELDS {
        let expected = if field == "text" { committed(2, 0) } else { committed(1, 1) };
        rows.push(beside(format!("{field}: missing"), changed(field, None), expected));
    }
    let unassigned = changed("worker", Some("\"\"")).replace("2003", "1000");
    rows.push(beside("nobody's session".to_owned(), unassigned, committed(2, 0)));
    for odd in ["null", "5", "\"x\"", "true", "[]", "{}"] {
        rows.push(beside(format!("record: {odd}"), odd.to_owned(), committed(1, 1)));
    }
    let many = |sound: usize, odd: usize, field: &str, value: &str| {
        let sound = std::iter::repeat_n(record(MIDNIGHT, "sound"), sound);
        let odd = std::iter::repeat_n(changed(field, Some(value)), odd);
        let records: Vec<String> = sound.chain(odd).collect();
        envelope(&records, records.len(), 7)
    };
    rows.extend([
        Row::body("bad UTF-8 in a text", [
            &b"{\"recordlist\":[{\"openid\":\"oC1\",\"opercode\":2003,\"text\":\"\xff\xfe\","[..],
            b"\"time\":1464710400,\"worker\":\"A\"}],\"number\":1,\"msgid\":7}",
        ].concat(), committed(1, 0)),
        Row::body("all records alike", many(9, 0, "text", "\"\""), committed(9, 0)),
        Row::body("the only time is wrong", many(0, 1, "time", "0"), "65"),
        Row::body("all times in milliseconds", many(0, 60, "time", "1464710400000"), "65"),
        Row::body("4 of 104 times are wrong", many(100, 4, "time", "0"), "65"),
        Row::body("3 of 103 times are wrong", many(100, 3, "time", "0"), committed(100, 3)),
        Row::body("all times at the end", many(0, 9, "time", "1464796800"), "0: left out"),
        Row::body("the only record is odd", many(0, 1, "openid", "null"), "65"),
        Row::body("all three records are odd", many(0, 3, "worker", "\"\""), "65"),
        Row::body("half of the records are odd", many(9, 9, "openid", "null"), committed(9, 9)),
        Row::body("most records are odd", many(9, 10, "openid", "null"), "65"),
        Row::body("101 of 201 records are odd", many(100, 101, "openid", "null"), "65"),
    ]);
    check(&rows);
}

/// Pages of 100 records.
#[test]
fn each_hostile_sequence_of_pages_has_its_expected_outcome() {
    let row = |name: &str, pages: Vec<Bytes>, expected: &str| {
        Row::new(name, pages, expected).with_pages_of(100)
    };
    let (empty, cut) = (ok(EMPTY), ok(&EMPTY[..20]));
    let renumbered = |count: usize, msgid: i64| {
        let body = String::from_utf8(numbered(count, 7)).unwrap();
        let (_, body) = body.split_once("\r\n\r\n").unwrap();
        ok(body.replace("\"msgid\":7}", &format!("\"msgid\":{msgid}}}")))
    };
    let early = |body: &str| answer("200 OK\r\nDate: Wed, 01 Jun 2016 15:59:59 GMT", body);
    check(&[
        row("full, then short", vec![numbered(100, 7), numbered(4, 9)], &committed(104, 0)),
        row("full, then empty", vec![numbered(100, 7), empty.clone()], &committed(100, 0)),
        row("full, then no end", vec![numbered(100, 7), cut.clone()], "69"),
        row("full, then cut once", vec![numbered(100, 7), cut, numbered(4, 9)], &committed(104, 0)),
        row("full, then HTML", vec![numbered(100, 7), ok("<html>")], "69"),
        row("full, then busy", vec![numbered(100, 7), ok(error(-1))], "69"),
        row("full, then no quota", vec![numbered(100, 7), ok(error(45009))], "75"),
        row("full, then refused", vec![numbered(100, 7), ok(error(48001))], "77"),
        row("full, then moved", vec![numbered(100, 7), answer("302 Found", "")], "78"),
        row("full, then too early", vec![numbered(100, 7), early(EMPTY)], "78"),
        row(
            "full, then the token is refused once",
            vec![numbered(100, 7), ok(error(42001)), numbered(4, 9)],
            &committed(104, 0),
        ),
        row("full, stuck at once", vec![numbered(100, 1)], "65"),
        row("full, msgid 0", vec![numbered(100, 0)], "65"),
        row("full, msgid -7", vec![renumbered(100, -7)], "65"),
        row("full, stuck later", vec![numbered(100, 7), renumbered(99, 7), empty.clone()], "65"),
        row("full twice, stuck", vec![numbered(100, 9), numbered(100, 9)], "65"),
        row("full twice, going backwards", vec![numbered(100, 9), numbered(100, 8)], "65"),
        row("full twice, the same", vec![numbered(100, 7), renumbered(100, 9)], "65"),
        row("101 of 100", vec![numbered(101, 7)], "65"),
        row("full, then 101 of 100", vec![numbered(100, 7), numbered(101, 9)], "65"),
        row("full, then another number", vec![numbered(100, 7), ok(envelope(&[], 4, 9))], "65"),
        row("50, then nothing", vec![numbered(50, 7), empty.clone()], &committed(50, 0)),
        row("50, then no answer", vec![numbered(50, 7), Vec::new()], "69"),
        row("50, msgid 0", vec![numbered(50, 0)], "65"),
        row("50, then the same", vec![numbered(50, 7), renumbered(50, 9)], "65"),
        row(
            "50, then 13",
            vec![numbered(50, 7), numbered(13, 9), empty.clone()],
            &committed(63, 0),
        ),
        row(
            "pages of at most 50",
            vec![numbered(50, 7), numbered(50, 9), numbered(13, 11), empty.clone()],
            &committed(113, 0),
        ),
        row(
            "pages of at most 50, stuck",
            vec![numbered(50, 7), numbered(50, 9), numbered(13, 9)],
            "65",
        ),
        row(
            "pages of at most 50, no end",
            vec![numbered(50, 7), numbered(50, 9), Vec::new()],
            "69",
        ),
        row(
            "full, then at most 50",
            vec![numbered(100, 7), numbered(50, 9), numbered(50, 11), empty.clone()],
            &committed(200, 0),
        ),
        row("49", vec![numbered(49, 7), numbered(5, 9)], &committed(49, 0)),
        row("an empty page with a msgid", vec![ok(envelope(&[], 0, 9))], "0: left out"),
        row("an empty page too early", vec![early(EMPTY)], "78"),
    ]);
}

/// A window with more records than any account has.
#[test]
fn a_window_of_endless_full_pages_fails() {
    let world = World { zone: Zone::named("Australia/Lord_Howe").unwrap(), ..World::new() };
    // The day has 24.5 hours, so its second window is short and has a low limit of records.
    let day = "2016-04-03";
    let calls = AtomicUsize::new(0);
    let end = world.zone.bounds(day.parse().unwrap()).end;
    let records = |text: &str| -> String {
        let one = record(end - 1, text);
        std::iter::repeat_n(one.as_str(), 10_000).collect::<Vec<_>>().join(",")
    };
    let records = [records("a"), records("b")];
    let server = Server::plain(move |head| {
        if head.contains("stable_token") {
            return ok(TOKEN);
        }
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 => ok(EMPTY),
            call => ok(envelope(&[records[call % 2].clone()], 10_000, call + 1)),
        }
    });
    let base = format!("http://127.0.0.1:{}", server.port);
    let report = world.fetch_from(&base.parse().unwrap(), &[day]);
    let failure = &report.failed[0].failure;
    assert_eq!(failure.kind.exit_code(), 65, "{failure}");
    assert!(failure.to_string().contains("records so far; the limit is 460000"), "{failure}");
    assert_eq!(server.connections(), 1 + 1 + 47);
    assert!(world.table_files().is_empty());
}

#[test]
fn each_hostile_token_answer_has_its_expected_outcome() {
    let one = committed(1, 0);
    let refused = |codes: &[i64]| {
        codes.iter().map(|code| ok(error(code))).chain([ok(page())]).collect::<Vec<_>>()
    };
    let token = |name: &str, body: &str, expected: &str| {
        Row::new(name, [ok(page())], expected).with_tokens([ok(body)])
    };
    let http = |head: &str, expected: &str| {
        Row::new(format!("HTTP {head} for a token"), [ok(page())], expected)
            .with_tokens([answer(head, "")])
    };
    let long =
        |length: usize| format!(r#"{{"access_token":"{}","expires_in":7200}}"#, "t".repeat(length));
    check(&[
        Row::new("refused once, 40001", refused(&[40001]), one.as_str()),
        Row::new("refused once, 40014", refused(&[40014]), one.as_str()),
        Row::new("refused once, 42001", refused(&[42001]), one.as_str()),
        Row::new("refused twice", refused(&[42001, 40001]), one.as_str()),
        Row::new("refused three times", refused(&[42001, 40001, 40014]), "77"),
        Row::body("refused always, 40001", error(40001), "77"),
        Row::body("refused always, 42001", error(42001), "77"),
        token("an empty body", "", "69"),
        token("HTML", "<html>", "69"),
        token("an empty object", "{}", "69"),
        token("an array", "[]", "69"),
        token("an array of the values", "[\"t\",0,\"\"]", "69"),
        token("an empty token", r#"{"access_token":"","expires_in":7200}"#, "69"),
        token("a null token", r#"{"access_token":null}"#, "69"),
        token("a number for a token", r#"{"access_token":5}"#, "69"),
        token("an array for a token", r#"{"access_token":["t"]}"#, "69"),
        token("a token twice", r#"{"access_token":"t","access_token":"u"}"#, "69"),
        token("a token that is cut", r#"{"access_token":"t"#, "69"),
        token("a token with a byte order mark", &format!("\u{feff}{TOKEN}"), &one),
        token("512 characters", &long(512), &one),
        token("513 characters", &long(513), &one),
        token("5,000 characters", &long(5_000), &one),
        token("odd characters", r#"{"access_token":"a b&c=d#e/../%41\r\n很"}"#, &one),
        token("no expires_in", r#"{"access_token":"t"}"#, &one),
        token("expires_in: -1", r#"{"access_token":"t","expires_in":-1}"#, &one),
        token("expires_in: null", r#"{"access_token":"t","expires_in":null}"#, &one),
        token("expires_in: text", r#"{"access_token":"t","expires_in":"soon"}"#, &one),
        token("errcode 0 and a token", r#"{"errcode":0,"errmsg":"ok","access_token":"t"}"#, &one),
        token("errcode \"0\" and a token", r#"{"errcode":"0","access_token":"t"}"#, &one),
        token(
            "null errcode and a token",
            r#"{"errcode":null,"errmsg":null,"access_token":"t"}"#,
            &one,
        ),
        token("errcode 0 alone", r#"{"errcode":0,"errmsg":"ok"}"#, "69"),
        token("errcode and a token", r#"{"errcode":40125,"access_token":"t"}"#, "77"),
        token("errcode 40001", &error(40001), "77"),
        token("errcode 40013", &error(40013), "77"),
        token("errcode 40125", &error(40125), "77"),
        token("errcode 40164", &error(40164), "77"),
        token("errcode \"40125\"", &error("\"40125\""), "77"),
        token("errcode 40125.0", &error("40125.0"), "77"),
        token("no errmsg", r#"{"errcode":40125}"#, "77"),
        token("a code of the system", r#"{"errcode":40125,"errmsg":"(os error 24)"}"#, "77"),
        token(
            "another",
            r#"{"errcode":40125,"errmsg":"Cannot allocate memory (os error 12)"}"#,
            "77",
        ),
        token("null errmsg", r#"{"errcode":40125,"errmsg":null}"#, "77"),
        token("a number for an errmsg", r#"{"errcode":40125,"errmsg":1}"#, "77"),
        token("a line break in an errmsg", "{\"errcode\":40164,\"errmsg\":\"a\nb\"}", "77"),
        token("errcode 45009", &error(45009), "75"),
        token("errcode 45011", &error(45011), "69"),
        token("errcode -1", &error(-1), "69"),
        token("errcode 99999", &error(99999), "77"),
        http("204 No Content", "78"),
        http("302 Found\r\nLocation: /elsewhere", "78"),
        http("403 Forbidden", "77"),
        http("404 Not Found", "78"),
        http("429 Too Many Requests", "69"),
        http("503 Service Unavailable", "69"),
        Row::new("no answer, once", [ok(page())], one.as_str())
            .with_tokens([Vec::new(), ok(TOKEN)]),
        Row::new("errcode -1, once", [ok(page())], one.as_str())
            .with_tokens([ok(error(-1)), ok(TOKEN)]),
        Row::new("refused, and no new one", [ok(error(42001))], "69")
            .with_tokens([ok(TOKEN), ok(error(-1))]),
        Row::new("refused, and the secret too", [ok(error(42001))], "77")
            .with_tokens([ok(TOKEN), ok(error(40125))]),
    ]);
}

#[test]
fn each_hostile_http_answer_has_its_expected_outcome() {
    let (page, one) = (page(), committed(1, 0));
    let length = page.len();
    let mut rows = Vec::new();
    for status in [201, 202, 204, 206, 226, 300, 301, 302, 303, 304, 307, 308] {
        rows.push((status, "78"));
    }
    rows.extend(
        [400, 402, 404, 405, 410, 413, 414, 418, 421, 451, 499].map(|status| (status, "78")),
    );
    rows.extend([401, 403, 407].map(|status| (status, "77")));
    rows.extend(
        [408, 429, 500, 501, 502, 503, 504, 507, 520, 530, 599].map(|status| (status, "69")),
    );
    let mut rows: Vec<Row> = rows
        .into_iter()
        .map(|(status, expected)| {
            // A valid page as the body does not change the outcome.
            let head = format!("{status} X\r\nLocation: http://127.0.0.1:9/elsewhere");
            Row::new(format!("status {status}"), [answer(&head, &page)], expected)
        })
        .collect();
    for (retry_after, expected) in [
        ("5", one.as_str()),
        ("120", &one),
        ("121", "69"),
        ("86400", "69"),
        ("9223372036854775807", "69"),
        ("18446744073709551615", "69"),
        ("99999999999999999999999", &one),
        ("-1", &one),
        ("1.5", &one),
        ("soon", &one),
        ("", &one),
        ("Wed, 01 Jun 2099 00:00:00 GMT", &one),
    ] {
        for status in ["429 Too Many Requests", "503 Service Unavailable"] {
            let busy = answer(&format!("{status}\r\nRetry-After: {retry_after}"), "");
            let name = format!("{status}, Retry-After: {retry_after}, once");
            rows.push(Row::new(name, [busy, ok(&page)], expected));
        }
    }
    let chunk = |size: &str, body: &str| format!("{size}\r\n{body}\r\n");
    let chunked = |name: &str, body: String, expected: &str| {
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked";
        Row::new(name, [raw(head, body)], expected)
    };
    let of_length = |claimed: &str, expected: &str| {
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {claimed}");
        Row::new(format!("Content-Length: {claimed}"), [raw(&head, &page)], expected)
    };
    let half = &page[..length / 2];
    let flood = "X: x\r\n".repeat(200);
    rows.extend([
        chunked("chunks", chunk(&format!("{length:x}"), &page) + "0\r\n\r\n", &one),
        chunked("chunks without an end", chunk(&format!("{length:x}"), &page), "69"),
        chunked("chunks, cut", chunk(&format!("{length:x}"), half), "69"),
        chunked("chunks without a size", chunk("x", &page), "69"),
        chunked("chunks of a negative size", chunk("-1", &page), "69"),
        chunked("chunks beyond 64 bits", chunk("fffffffffffffffff", &page), "69"),
        of_length(&(length + 1).to_string(), "69"),
        of_length(&(length - 1).to_string(), "69"),
        of_length("0", "69"),
        of_length("-1", "69"),
        of_length("x", "69"),
        of_length("209715200", "69"),
        of_length("18446744073709551615", "69"),
        of_length("99999999999999999999999", "69"),
        of_length(&format!("{length}\r\nContent-Length: 5"), "69"),
        Row::new("no length", [raw("HTTP/1.1 200 OK\r\nConnection: close", &page)], &*one),
        Row::new("no length, cut", [raw("HTTP/1.1 200 OK\r\nConnection: close", half)], "69"),
        Row::new("HTTP/1.0", [raw("HTTP/1.0 200 OK", &page)], &*one),
        Row::new("HTTP/3.0", [raw("HTTP/3.0 200 OK", &page)], "69"),
        Row::new("no HTTP", [b"220 smtp.example ESMTP\r\n".to_vec()], "69"),
        Row::new("a body without a head", [page.clone().into_bytes()], "69"),
        Row::new("a head that is cut", [b"HTTP/1.1 200 OK\r\nContent-".to_vec()], "69"),
        Row::new("a status that is no number", [raw("HTTP/1.1 OK", &page)], "69"),
        Row::new("a header that is none", [raw("HTTP/1.1 200 OK\r\n\0: \0", &page)], "69"),
        Row::new("200 headers", [answer(&format!("200 OK\r\n{}", flood.trim_end()), &page)], "69"),
        Row::new("100 before 200", [[raw("HTTP/1.1 100 Continue", ""), ok(&page)].concat()], &*one),
        Row::new("a reset", [Vec::new()], "69"),
        Row::new("a reset, once", [Vec::new(), ok(&page)], &*one),
        Row::new("resets, five times", [vec![Vec::new(); 5], vec![ok(&page)]].concat(), &*one),
        Row::new("resets, six times", [vec![Vec::new(); 6], vec![ok(&page)]].concat(), "69"),
    ]);
    check(&rows);
}

#[test]
fn each_hostile_date_header_has_its_expected_outcome() {
    let one = committed(1, 0);
    let row = |date: &str, expected: &str| {
        let head = format!("200 OK\r\nDate: {date}");
        Row::new(format!("Date: {date}"), [answer(&head, page())], expected)
    };
    check(&[
        Row::body("no date", page(), one.as_str()),
        row("", &one),
        row("yesterday", &one),
        row("1464796800", &one),
        row("2016-06-01T15:59:59Z", &one),
        row("Wed, 32 Jun 2016 15:59:59 GMT", &one),
        // The day ends at 16:00 GMT.
        row("Wed, 01 Jun 2016 15:59:59 GMT", "78"),
        row("Wed, 01 Jun 2016 16:00:00 GMT", &one),
        row("Wednesday, 01-Jun-16 15:59:59 GMT", "78"),
        row("Wed Jun  1 15:59:59 2016", "78"),
        row("Thu, 01 Jan 1970 00:00:00 GMT", "78"),
        row("Fri, 31 Dec 9999 23:59:59 GMT", &one),
    ]);
}
