//! An S3 server for tests, in memory, with one thread for each connection.
//!
//! It has what kefu asks of a store: PUT, GET, HEAD, DELETE, multipart uploads and listings. It
//! checks no signatures. A [`Hook`] decides what becomes of each request, and may keep it waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

/// Keys in one page of a listing.
const PAGE: usize = 1_000;

/// What the server does with the conditions of a PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Honours,
    /// Honours conditions, and answers with the whole object (200) when a range ends after it.
    WholeForLongRanges,
    /// Answers 501.
    Refuses,
    Ignores,
    /// Honours them for the objects of kefu's probe, and ignores all others.
    IgnoresAfterProbe,
}

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub bucket: String,
    /// Decoded, without the bucket. Empty for the bucket itself.
    pub key: String,
    pub query: BTreeMap<String, String>,
    /// With names in lower case.
    headers: BTreeMap<String, String>,
    body: Bytes,
}

impl Request {
    /// The id of the access key that signed it.
    pub fn signer(&self) -> &str {
        let signed =
            self.headers.get("authorization").and_then(|text| text.split_once("Credential="));
        signed.and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default()
    }

    pub fn is_listing(&self) -> bool {
        self.method == "GET" && self.query.contains_key("list-type")
    }

    /// Whether it changes an object: the last step of an upload in parts does, its other steps do
    /// not.
    pub fn is_change(&self) -> bool {
        let is_part = self.query.contains_key("partNumber") || self.query.contains_key("uploads");
        match self.method.as_str() {
            "PUT" | "POST" => !is_part,
            "DELETE" => !self.query.contains_key("uploadId"),
            _ => false,
        }
    }

    /// Whether the key is a partition of a table.
    pub fn is_of_table(&self) -> bool {
        self.key.ends_with(".parquet")
    }

    /// The bytes of an object of this size that it asks for, in a GET.
    pub fn bytes_of(&self, size: usize) -> usize {
        let range = self.header("range").and_then(|range| range.strip_prefix("bytes="));
        match range.and_then(|range| range.split_once('-')) {
            None => size,
            Some(("", tail)) => size.min(tail.parse().unwrap()),
            Some((start, end)) => {
                let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
                size.min(end + 1) - start
            }
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Pass,
    /// It has no effect and gets this status and code.
    Refuse(u16, &'static str),
    /// The connection is closed before the request has an effect.
    Drop,
    /// The request has its effect, but its answer is lost: the connection is closed.
    LoseAnswer,
    /// The request has its effect, but its answer is this status and code.
    RefuseAfter(u16, &'static str),
}

/// Decides about each request. May block.
pub trait Hook: Send + Sync {
    fn fate(&self, request: &Request) -> Fate;
}

impl<F: Fn(&Request) -> Fate + Send + Sync> Hook for F {
    fn fate(&self, request: &Request) -> Fate {
        self(request)
    }
}

/// A running server. Ends when it is dropped.
pub struct Stub {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    mode: Mode,
    hook: Mutex<Option<Arc<dyn Hook>>>,
    buckets: Mutex<BTreeMap<String, Objects>>,
    log: Mutex<Vec<Request>>,
    /// Seconds that the dates of its answers are ahead. None for answers without a date.
    ahead: Mutex<Option<i64>>,
    is_over: AtomicBool,
}

#[derive(Default)]
struct Objects {
    there: BTreeMap<String, Object>,
    /// Uploads in parts, by their id. With the key and the parts by number.
    uploads: BTreeMap<String, (String, BTreeMap<usize, Bytes>)>,
    uploads_begun: usize,
    /// Each object that was put, in order.
    history: Vec<(String, Bytes)>,
}

#[derive(Clone)]
struct Object {
    content: Bytes,
    e_tag: String,
}

impl Stub {
    pub fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let state = Arc::new(State {
            mode,
            hook: Mutex::default(),
            buckets: Mutex::default(),
            log: Mutex::default(),
            ahead: Mutex::new(Some(0)),
            is_over: AtomicBool::new(false),
        });
        let address = listener.local_addr().unwrap();
        let served = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.is_over.load(Ordering::Acquire) {
                    break;
                }
                let state = served.clone();
                // A broken connection affects only its client.
                let Ok(stream) = stream else { continue };
                std::thread::spawn(move || drop(state.serve(&stream)));
            }
        });
        Self { address, state }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn create_bucket(&self, name: &str) {
        locked(&self.state.buckets).insert(name.to_owned(), Objects::default());
    }

    pub fn set_hook(&self, hook: impl Hook + 'static) {
        *locked(&self.state.hook) = Some(Arc::new(hook));
    }

    #[allow(dead_code)] // The contract does not need it.
    /// Changes the dates of its answers by some seconds. None for answers without a date.
    pub fn set_clock(&self, ahead: Option<i64>) {
        *locked(&self.state.ahead) = ahead;
    }

    pub fn unset_hook(&self) {
        *locked(&self.state.hook) = None;
    }

    /// The requests so far, in the order in which they arrived, without their bodies. Forgets them.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut *locked(&self.state.log))
    }

    /// The objects of a bucket, by key.
    pub fn objects(&self, bucket: &str) -> BTreeMap<String, Bytes> {
        let buckets = locked(&self.state.buckets);
        let objects = buckets[bucket].there.iter();
        objects.map(|(key, object)| (key.clone(), object.content.clone())).collect()
    }

    /// The files of tables, by their path below a prefix. Without the lists of workers: which run
    /// writes one depends on when WeChat answers.
    pub fn tables(&self, bucket: &str, prefix: &str) -> BTreeMap<String, Bytes> {
        let named = |(key, content): (String, Bytes)| {
            let name = key.strip_prefix(prefix)?.strip_prefix('/')?;
            let is_table = name.ends_with(".parquet") && !name.starts_with("workers/");
            is_table.then(|| (name.to_owned(), content))
        };
        self.objects(bucket).into_iter().filter_map(named).collect()
    }

    /// Each content that was put, in order, with its key.
    pub fn history(&self, bucket: &str) -> Vec<(String, Bytes)> {
        locked(&self.state.buckets)[bucket].history.clone()
    }

    #[allow(dead_code)] // Only the contract needs it.
    /// Uploads in parts that were neither completed nor aborted.
    pub fn uploads(&self, bucket: &str) -> usize {
        locked(&self.state.buckets)[bucket].uploads.len()
    }

    /// Replaces all objects of a bucket, which need not exist.
    pub fn fill(&self, bucket: &str, objects: &BTreeMap<String, Bytes>) {
        let there = objects.iter().map(|(key, content)| (key.clone(), Object::of(content.clone())));
        let objects = Objects { there: there.collect(), ..Objects::default() };
        locked(&self.state.buckets).insert(bucket.to_owned(), objects);
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

impl std::fmt::Debug for Stub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stub({}, {:?})", self.address, self.state.mode)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Object {
    fn of(content: Bytes) -> Self {
        let e_tag = tag(&content);
        Self { content, e_tag }
    }
}

/// The same content has the same tag, as in S3.
fn tag(content: &[u8]) -> String {
    format!("\"{}\"", &blake3::hash(content).to_hex()[..32])
}

/// An answer without the headers that all answers have.
#[derive(Default)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Answer {
    fn with(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    fn error(status: u16, code: &str) -> Self {
        let body =
            format!("<Error><Code>{code}</Code><Message>{code} of the stub</Message></Error>");
        Self::with(status, body)
    }

    fn of(object: &Object, status: u16, content: Bytes) -> Self {
        let modified = "Wed, 01 Jun 2016 00:00:00 GMT".to_owned();
        let headers = vec![("ETag", object.e_tag.clone()), ("Last-Modified", modified)];
        Self { status, headers, body: content }
    }

    fn tagged(e_tag: String) -> Self {
        Self { status: 200, headers: vec![("ETag", e_tag)], body: Bytes::new() }
    }
}

impl State {
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader)? {
            locked(&self.log).push(Request { body: Bytes::new(), ..request.clone() });
            let hook = locked(&self.hook).clone();
            let fate = hook.as_ref().map_or(Fate::Pass, |hook| hook.fate(&request));
            let answer = match fate {
                Fate::Drop => None,
                Fate::Refuse(status, code) => Some(Answer::error(status, code)),
                Fate::Pass => Some(self.answer(&request)),
                Fate::LoseAnswer => {
                    self.answer(&request);
                    None
                }
                Fate::RefuseAfter(status, code) => {
                    self.answer(&request);
                    Some(Answer::error(status, code))
                }
            };
            let Some(answer) = answer else { break };
            let ahead = *locked(&self.ahead);
            write_answer(stream, &request, &answer, ahead)?;
        }
        // A lost answer must not be read as an end of the stream that is orderly.
        stream.shutdown(std::net::Shutdown::Both)
    }

    fn answer(&self, request: &Request) -> Answer {
        let mut buckets = locked(&self.buckets);
        let Some(objects) = buckets.get_mut(&request.bucket) else {
            return Answer::error(404, "NoSuchBucket");
        };
        match request.method.as_str() {
            "PUT" if request.query.contains_key("partNumber") => objects.put_part(request),
            "PUT" => objects.put(request, self.mode),
            "GET" if request.is_listing() => objects.list(request),
            "GET" | "HEAD" if request.key.is_empty() => Answer::with(200, ""),
            "GET" | "HEAD" => objects.get(request, self.mode),
            "DELETE" if request.query.contains_key("uploadId") => objects.abort(request),
            "DELETE" => {
                objects.there.remove(&request.key);
                Answer::with(204, "")
            }
            "POST" if request.query.contains_key("uploads") => objects.begin_upload(request),
            "POST" if request.query.contains_key("uploadId") => objects.complete(request),
            "POST" if request.query.contains_key("delete") => objects.delete_many(request),
            _ => Answer::error(405, "MethodNotAllowed"),
        }
    }
}

impl Objects {
    fn put(&mut self, request: &Request, mode: Mode) -> Answer {
        let (new, same) = (request.header("if-none-match"), request.header("if-match"));
        let is_probe = request.key.contains("_kefu/probe/");
        let is_checked = matches!(mode, Mode::Honours | Mode::WholeForLongRanges)
            || mode == Mode::IgnoresAfterProbe && is_probe;
        if mode == Mode::Refuses && (new.is_some() || same.is_some()) {
            return Answer::error(501, "NotImplemented");
        }
        let there = self.there.get(&request.key).map(|object| object.e_tag.as_str());
        match (new, same, there) {
            _ if !is_checked => {}
            (Some(_), _, Some(_)) => return Answer::error(412, "PreconditionFailed"),
            (_, Some(_), None) => return Answer::error(404, "NoSuchKey"),
            (_, Some(same), Some(there)) if same != there => {
                return Answer::error(412, "PreconditionFailed");
            }
            _ => {}
        }
        self.keep(&request.key, request.body.clone())
    }

    fn keep(&mut self, key: &str, content: Bytes) -> Answer {
        let object = Object::of(content.clone());
        let answer = Answer::tagged(object.e_tag.clone());
        self.there.insert(key.to_owned(), object);
        self.history.push((key.to_owned(), content));
        answer
    }

    fn get(&self, request: &Request, mode: Mode) -> Answer {
        let Some(object) = self.there.get(&request.key) else {
            return Answer::error(404, "NoSuchKey");
        };
        if request.header("if-match").is_some_and(|tag| tag != object.e_tag) {
            return Answer::error(412, "PreconditionFailed");
        }
        let size = object.content.len();
        let Some(range) = request.header("range").and_then(|range| range.strip_prefix("bytes="))
        else {
            return Answer::of(object, 200, object.content.clone());
        };
        let (first, last) = range.split_once('-').unwrap();
        let (first, end) = match first.parse::<usize>() {
            Ok(first) => (first, last.parse().map_or(size, |last: usize| (last + 1).min(size))),
            Err(_) => (size.saturating_sub(last.parse().unwrap()), size),
        };
        if first >= end {
            return Answer::error(416, "InvalidRange");
        }
        let asked = range.split_once('-').and_then(|(_, last)| last.parse::<usize>().ok());
        if mode == Mode::WholeForLongRanges && asked.is_some_and(|asked| asked >= size) {
            return Answer::of(object, 200, object.content.clone());
        }
        let mut answer = Answer::of(object, 206, object.content.slice(first..end));
        answer.headers.push(("Content-Range", format!("bytes {first}-{}/{size}", end - 1)));
        answer
    }

    fn list(&self, request: &Request) -> Answer {
        let of = |name: &str| request.query.get(name).cloned().unwrap_or_default();
        let (prefix, delimiter) = (of("prefix"), of("delimiter"));
        let after = of("continuation-token").max(of("start-after"));
        let (mut folders, mut entries, mut last, mut is_cut) =
            (BTreeSet::new(), String::new(), String::new(), false);
        let mut count = 0;
        for (key, object) in &self.there {
            let Some(rest) = key.strip_prefix(prefix.as_str()) else { continue };
            let folder = rest.split_once(delimiter.as_str()).filter(|_| !delimiter.is_empty());
            let name = match folder {
                Some((folder, _)) => format!("{prefix}{folder}{delimiter}"),
                None => key.clone(),
            };
            if name <= after || folders.contains(&name) {
                continue;
            }
            if count == PAGE {
                is_cut = true;
                break;
            }
            count += 1;
            last.clone_from(&name);
            match folder {
                Some(_) => drop(folders.insert(name)),
                None => entries.push_str(&format!(
                    "<Contents><Key>{}</Key><LastModified>2016-06-01T00:00:00.000Z</LastModified>\
                     <ETag>{}</ETag><Size>{}</Size></Contents>",
                    escaped(key),
                    escaped(&object.e_tag),
                    object.content.len(),
                )),
            }
        }
        for folder in &folders {
            let prefix = escaped(folder);
            entries
                .push_str(&format!("<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>"));
        }
        if is_cut {
            let last = escaped(&last);
            entries.push_str(&format!("<NextContinuationToken>{last}</NextContinuationToken>"));
        }
        Answer::with(
            200,
            format!(
                "<ListBucketResult><IsTruncated>{is_cut}</IsTruncated>{entries}</ListBucketResult>"
            ),
        )
    }

    fn begin_upload(&mut self, request: &Request) -> Answer {
        self.uploads_begun += 1;
        let id = format!("upload-{}", self.uploads_begun);
        self.uploads.insert(id.clone(), (request.key.clone(), BTreeMap::new()));
        let key = escaped(&request.key);
        Answer::with(
            200,
            format!(
                "<InitiateMultipartUploadResult><Bucket>{}</Bucket><Key>{key}</Key>\
                 <UploadId>{id}</UploadId></InitiateMultipartUploadResult>",
                request.bucket
            ),
        )
    }

    fn put_part(&mut self, request: &Request) -> Answer {
        let Some((_, parts)) = self.uploads.get_mut(&request.query["uploadId"]) else {
            return Answer::error(404, "NoSuchUpload");
        };
        parts.insert(request.query["partNumber"].parse().unwrap(), request.body.clone());
        Answer::tagged(tag(&request.body))
    }

    fn abort(&mut self, request: &Request) -> Answer {
        match self.uploads.remove(&request.query["uploadId"]) {
            Some(_) => Answer::with(204, ""),
            None => Answer::error(404, "NoSuchUpload"),
        }
    }

    fn complete(&mut self, request: &Request) -> Answer {
        let Some((key, parts)) = self.uploads.remove(&request.query["uploadId"]) else {
            return Answer::error(404, "NoSuchUpload");
        };
        let content: Vec<u8> = parts.into_values().flatten().collect();
        let mut answer = self.keep(&key, content.into());
        let e_tag = answer.headers.pop().unwrap().1;
        answer.body = format!(
            "<CompleteMultipartUploadResult><Location>/</Location><Bucket>{}</Bucket>\
             <Key>{}</Key><ETag>{}</ETag></CompleteMultipartUploadResult>",
            request.bucket,
            escaped(&key),
            escaped(&e_tag),
        )
        .into();
        answer
    }

    fn delete_many(&mut self, request: &Request) -> Answer {
        let text = String::from_utf8(request.body.to_vec()).unwrap();
        let mut deleted = String::new();
        for key in text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()) {
            self.there.remove(&unescaped(key));
            deleted.push_str(&format!("<Deleted><Key>{key}</Key></Deleted>"));
        }
        Answer::with(200, format!("<DeleteResult>{deleted}</DeleteResult>"))
    }
}

/// Returns `None` at the end of the connection.
fn read_request(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let path = decoded(path);
    let (bucket, key) = path.trim_start_matches('/').split_once('/').unwrap_or((&path[1..], ""));
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    };
    Ok(Some(Request {
        method,
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        query: query.split('&').filter(|text| !text.is_empty()).map(pair).collect(),
        headers,
        body: body.into(),
    }))
}

fn write_answer(
    mut stream: &TcpStream,
    request: &Request,
    answer: &Answer,
    ahead: Option<i64>,
) -> std::io::Result<()> {
    let date = ahead.map(|seconds| {
        let change = Duration::from_secs(seconds.unsigned_abs());
        let now = SystemTime::now();
        let date = if seconds < 0 { now - change } else { now + change };
        format!("Date: {}\r\n", httpdate::fmt_http_date(date))
    });
    let date = date.unwrap_or_default();
    let mut head = format!(
        "HTTP/1.1 {} Stub\r\n{date}x-amz-request-id: 1\r\nContent-Length: {}\r\n",
        answer.status,
        answer.body.len(),
    );
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut written = head.into_bytes();
    if request.method != "HEAD" && answer.status != 204 {
        written.extend_from_slice(&answer.body);
    }
    stream.write_all(&written)
}

/// Decodes `%E5` and the like, and `+` as it stands.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(code, 16).unwrap());
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).unwrap()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

fn unescaped(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&lt;", "<").replace("&amp;", "&")
}
