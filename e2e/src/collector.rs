//! A collector of traces: takes what OTLP's `ExportTraceServiceRequest` holds, by HTTP.
//!
//! It reads protobuf by the numbers of the published definitions, with nothing of the product.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, ensure};

/// A span as it arrived.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// Which trace, in hexadecimal digits.
    pub trace: String,
    /// Which span.
    pub id: String,
    /// Of which it is a part; empty = of none.
    pub parent: String,
    /// What it is called.
    pub name: String,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    /// The same of its end.
    pub end: u64,
    /// What it says.
    pub attributes: BTreeMap<String, String>,
    /// Spans that it points at, by id.
    pub links: Vec<String>,
    /// Whether it says that it failed.
    pub failed: bool,
    /// What is said of its process.
    pub resource: BTreeMap<String, String>,
    /// Which part of the program made it.
    pub scope: String,
}

/// What has arrived.
#[derive(Default)]
struct Arrived {
    spans: Vec<Seen>,
    /// Headers of the calls, in lower case, a line each.
    headers: Vec<String>,
    /// What was wrong with calls.
    problems: Vec<String>,
}

/// Takes spans until it is dropped.
pub struct Collector {
    address: SocketAddr,
    arrived: Arc<Mutex<Arrived>>,
    ended: Arc<Mutex<bool>>,
}

impl Collector {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (arrived, ended) = (Arc::new(Mutex::new(Arrived::default())), Arc::new(Mutex::new(false)));
        let (spans, end) = (Arc::clone(&arrived), Arc::clone(&ended));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if *end.lock().unwrap_or_else(PoisonError::into_inner) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let spans = Arc::clone(&spans);
                thread::spawn(move || {
                    if let Err(error) = take(stream, &spans) {
                        lock(&spans).problems.push(format!("{error:#}"));
                    }
                });
            }
        });
        Ok(Self { address, arrived, ended })
    }

    /// Where it listens, as `OTEL_EXPORTER_OTLP_ENDPOINT` takes it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans so far.
    ///
    /// # Panics
    /// When a call could not be read.
    pub fn spans(&self) -> Vec<Seen> {
        let arrived = lock(&self.arrived);
        assert!(arrived.problems.is_empty(), "{:?}", arrived.problems);
        arrived.spans.clone()
    }

    /// Headers of all calls so far, in lower case, a line each.
    pub fn headers(&self) -> Vec<String> {
        lock(&self.arrived).headers.clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        drop(TcpStream::connect(self.address));
    }
}

fn lock(arrived: &Mutex<Arrived>) -> std::sync::MutexGuard<'_, Arrived> {
    arrived.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers the calls of one connection.
fn take(stream: TcpStream, arrived: &Mutex<Arrived>) -> Result<()> {
    let mut answers = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            head.push(line.trim_end().to_ascii_lowercase());
        }
        ensure!(head.first().is_some_and(|line| line.starts_with("post /v1/traces ")), "{head:?}");
        ensure!(head.iter().any(|line| line == "content-type: application/x-protobuf"), "{head:?}");
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).context("a length")?;
        let mut body = vec![0; length.parse()?];
        reader.read_exact(&mut body)?;
        let spans = request(&body).context("a call that is no ExportTraceServiceRequest")?;
        {
            let mut arrived = lock(arrived);
            arrived.spans.extend(spans);
            arrived.headers.extend(head);
        }
        answers.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")?;
    }
}

fn request(body: &[u8]) -> Option<Vec<Seen>> {
    let mut spans = Vec::new();
    for of_resource in messages(body, 1)? {
        let resource = messages(of_resource, 1)?.into_iter().next().map(|resource| attributes(resource, 1));
        let resource = resource.unwrap_or_default();
        for of_scope in messages(of_resource, 2)? {
            let scope = messages(of_scope, 1)?.into_iter().next().and_then(|scope| text(scope, 1)).unwrap_or_default();
            for span in messages(of_scope, 2)? {
                spans.push(Seen { resource: resource.clone(), scope: scope.clone(), ..seen(span)? });
            }
        }
    }
    Some(spans)
}

fn seen(span: &[u8]) -> Option<Seen> {
    let number = |field| fields(span)?.into_iter().find_map(|(known, value)| (known == field).then_some(value));
    let fixed = |field| match number(field) {
        Some(Value::Number(number)) => number,
        Some(Value::Bytes(_)) | None => 0,
    };
    let status = messages(span, 15)?.into_iter().next().and_then(fields).unwrap_or_default();
    Some(Seen {
        trace: digits(messages(span, 1)?.first()?),
        id: digits(messages(span, 2)?.first()?),
        parent: messages(span, 4)?.first().map(|parent| digits(parent)).unwrap_or_default(),
        name: text(span, 5)?,
        start: fixed(7),
        end: fixed(8),
        attributes: attributes(span, 9),
        links: messages(span, 13)?.into_iter().filter_map(|link| Some(digits(messages(link, 2)?.first()?))).collect(),
        failed: status.contains(&(3, Value::Number(2))),
        ..Seen::default()
    })
}

fn attributes(message: &[u8], field: u64) -> BTreeMap<String, String> {
    let pairs = messages(message, field).unwrap_or_default().into_iter();
    let pair = |pair: &[u8]| {
        let value = *messages(pair, 2)?.first()?;
        let value = match fields(value)?.into_iter().next()? {
            (1, Value::Bytes(text)) => String::from_utf8(text.to_vec()).ok()?,
            (3, Value::Number(number)) => number.to_string(),
            _ => return None,
        };
        Some((text(pair, 1)?, value))
    };
    pairs.filter_map(pair).collect()
}

fn text(message: &[u8], field: u64) -> Option<String> {
    String::from_utf8(messages(message, field)?.first()?.to_vec()).ok()
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Value<'m> {
    Number(u64),
    Bytes(&'m [u8]),
}

/// The parts of a message that are bytes, texts or messages, of one field.
fn messages(message: &[u8], field: u64) -> Option<Vec<&[u8]>> {
    let bytes = |(known, value)| match value {
        Value::Bytes(bytes) if known == field => Some(bytes),
        Value::Bytes(_) | Value::Number(_) => None,
    };
    Some(fields(message)?.into_iter().filter_map(bytes).collect())
}

/// The fields of a message; `None` = it is none.
fn fields(mut message: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut message)?),
            1 => Value::Number(u64::from_le_bytes(cut(&mut message, 8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                Value::Bytes(cut(&mut message, length)?)
            }
            5 => Value::Number(u32::from_le_bytes(cut(&mut message, 4)?.try_into().ok()?).into()),
            _ => return None,
        };
        fields.push((key >> 3, value));
    }
    Some(fields)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn cut<'m>(message: &mut &'m [u8], length: usize) -> Option<&'m [u8]> {
    let (first, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(first)
}
