//! The minimum cost of fetching: receive the pages, scan the JSON once with the fastest parser, and
//! compress the columns with zstd. It has no table, hash, order, file or check. The time that kefu
//! takes beyond this minimum is the price of those.
//!
//! Usage: `floor BASE_URL APPID SECRET FIRST_START DAYS THREADS`. `FIRST_START` is the unix second
//! at which the first day begins.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

const PAGE: usize = 10_000;

#[derive(serde::Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    recordlist: Vec<Record<'a>>,
    number: usize,
    msgid: i64,
}

#[derive(serde::Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    openid: &'a str,
    opercode: i32,
    #[serde(borrow)]
    text: std::borrow::Cow<'a, str>,
    time: i64,
    #[serde(borrow)]
    worker: &'a str,
}

#[derive(serde::Deserialize)]
struct Token {
    access_token: String,
}

struct Connection {
    host: String,
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn open(host: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        Ok(Self { host: host.to_owned(), stream: BufReader::with_capacity(1 << 18, stream) })
    }

    fn post(&mut self, path: &str, body: &str, answer: &mut Vec<u8>) -> std::io::Result<()> {
        let host = &self.host;
        write!(self.stream.get_mut(), "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        answer.resize(length, 0);
        self.stream.read_exact(answer)
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [base, appid, secret, first, days, threads] = arguments.as_slice() else { panic!("see the source for the arguments") };
    let host = base.trim_start_matches("http://").to_owned();
    let (first, days, threads): (i64, i64, usize) = (first.parse().unwrap(), days.parse().unwrap(), threads.parse().unwrap());
    let mut answer = Vec::new();
    let body = format!(r#"{{"grant_type":"client_credential","appid":"{appid}","secret":"{secret}"}}"#);
    Connection::open(&host).unwrap().post("/cgi-bin/stable_token", &body, &mut answer).unwrap();
    let token = sonic_rs::from_slice::<Token>(&answer).unwrap().access_token;
    let path = format!("/customservice/msgrecord/getmsglist?access_token={token}");
    let (next, records, bytes) = (AtomicI64::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut connection = Connection::open(&host).unwrap();
                let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
                let (mut answer, mut compressed) = (Vec::new(), Vec::new());
                let mut columns: [Vec<u8>; 5] = Default::default();
                loop {
                    let day = next.fetch_add(1, Ordering::Relaxed);
                    if day >= days {
                        break;
                    }
                    let start = first + day * 86_400;
                    let mut msgid = 1;
                    loop {
                        let body = format!(r#"{{"starttime":{start},"endtime":{},"msgid":{msgid},"number":{PAGE}}}"#, start + 86_400);
                        connection.post(&path, &body, &mut answer).unwrap();
                        let page: Page = sonic_rs::from_slice(&answer).unwrap();
                        for record in &page.recordlist {
                            columns[0].extend_from_slice(record.openid.as_bytes());
                            columns[1].extend_from_slice(record.worker.as_bytes());
                            columns[2].extend_from_slice(&record.opercode.to_le_bytes());
                            columns[3].extend_from_slice(record.text.as_bytes());
                            columns[4].extend_from_slice(&record.time.to_le_bytes());
                        }
                        records.fetch_add(page.recordlist.len(), Ordering::Relaxed);
                        let is_full = page.number == PAGE;
                        msgid = page.msgid;
                        for column in &mut columns {
                            compressed.resize(zstd::zstd_safe::compress_bound(column.len()), 0);
                            bytes.fetch_add(compressor.compress_to_buffer(column, &mut compressed).unwrap(), Ordering::Relaxed);
                            column.clear();
                        }
                        if !is_full {
                            break;
                        }
                    }
                }
            });
        }
    });
    println!("{} records, {} bytes compressed", records.into_inner(), bytes.into_inner());
}
