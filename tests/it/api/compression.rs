//! Pages that a server compresses with gzip.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use kefu::failure::ErrorKind;
use kefu::simulator::Options;

use super::network::Server;
use crate::world::{DAY, MIDNIGHT, World, generated, record};

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// A server that answers every call of `getmsglist` with these bytes, and closes the connection.
fn serve(status: &'static str, page: Vec<u8>) -> Server {
    Server::plain(move |head| {
        let token = br#"{"access_token":"t","expires_in":7200}"#.to_vec();
        let (status, body) = match head.contains("stable_token") {
            true => ("200 OK", token),
            false => (status, page.clone()),
        };
        // The body ends with the connection, so HTTP does not notice that it is cut.
        [format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n").as_bytes(), &body].concat()
    })
}

#[test]
fn pages_with_and_without_gzip_give_the_same_files_also_when_one_is_cut() {
    let fetch = |gzip, faults: &[&str]| {
        let world = World { concurrency: 4, ..World::new() };
        let options = Options { gzip, ..world.options(faults) };
        let night = world.fetch_with(generated(DAY, 1, 45_000, 1), options, &[DAY]);
        assert!(night.report.failed.is_empty(), "{:?}", night.report.failed);
        assert!(night.page_requests().iter().all(|request| request.is_gzip == gzip));
        (world.bytes(DAY), night.report.fetched[0].calls.retries)
    };
    let (plain, _) = fetch(false, &[]);
    for (faults, retries) in [(&[][..], 0), (&["cut@1x2"], 2)] {
        assert!(fetch(true, faults) == (plain.clone(), retries), "{faults:?}");
    }
}

#[test]
fn gzip_that_is_cut_damaged_or_followed_by_anything_is_retried_and_then_an_error() {
    let page = format!(r#"{{"recordlist":[{}],"number":1,"msgid":7}}"#, record(MIDNIGHT, "text"));
    let packed = gzip(page.as_bytes());
    let mut damaged = packed.clone();
    damaged[packed.len() - 6] ^= 1;
    for (name, body) in [
        ("cut in the header", packed[..5].to_vec()),
        ("cut in the data", packed[..packed.len() / 2].to_vec()),
        ("cut in the checksum", packed[..packed.len() - 3].to_vec()),
        ("a wrong checksum", damaged),
        ("garbage behind it", [&packed[..], b"garbage"].concat()),
        ("the page behind it", [&packed[..], page.as_bytes()].concat()),
    ] {
        let world = World::new();
        let server = serve("200 OK", body);
        let endpoint = format!("http://127.0.0.1:{}", server.port).parse().unwrap();
        let failure = &world.fetch_from(&endpoint, &[DAY]).failed[0].failure;
        assert_eq!(failure.kind, ErrorKind::Unavailable, "{name}");
        assert!(failure.to_string().contains("damaged or truncated"), "{name}: {failure}");
        let pages = server.requests().iter().filter(|head| head.contains("getmsglist")).count();
        assert_eq!(pages, 6, "{name}");
        assert!(world.table_files().is_empty(), "{name}");
    }
}

#[test]
fn a_compressed_error_page_is_named() {
    let world = World::new();
    let server = serve("502 Bad Gateway", gzip(b"<html><title>Maintenance</title></html>"));
    let endpoint = format!("http://127.0.0.1:{}", server.port).parse().unwrap();
    let failure = &world.fetch_from(&endpoint, &[DAY]).failed[0].failure;
    assert!(failure.to_string().contains("an HTML page (\"Maintenance\")"), "{failure}");
}
