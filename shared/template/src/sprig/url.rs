//! `urlParse` and `urlJoin`, as Go's `net/url` takes addresses apart and puts them together.

use super::arguments::{Outcome, bytes, fail, map, string};
use crate::error::quoted;
use crate::function::{Function, FunctionError, Functions};
use crate::value::{Kind, Map, Type, Value};

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions) {
    all.insert(
        "urlParse",
        Function::new([Type::String], |_, arguments| {
            let text = String::from_utf8_lossy(bytes(&arguments[0]));
            match Url::parse(&text) {
                Ok(url) => Ok(url.into_value()),
                Err(what) => fail(format!("unable to parse url: parse {}: {what}", quoted(&text))),
            }
        }),
    );
    all.insert("urlJoin", Function::new([Type::any_map()], |_, arguments| join(&map(&arguments[0]))));
}

/// The parts of an address. Path and fragment are kept both plain and as they were escaped.
#[derive(Default)]
struct Url {
    scheme: String,
    opaque: String,
    /// User and password as they are written in an address; `None` without them.
    user: Option<String>,
    host: String,
    path: Vec<u8>,
    raw_path: String,
    query: String,
    force_query: bool,
    fragment: Vec<u8>,
}

/// Which characters stay as they are in a part of an address.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Path,
    User,
    Host,
    Zone,
    Fragment,
}

impl Url {
    fn parse(text: &str) -> Result<Url, String> {
        let (body, fragment) = text.split_once('#').unwrap_or((text, ""));
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let mut url = Url::parse_body(body)?;
        url.fragment = unescape(fragment, Part::Fragment)?;
        Ok(url)
    }

    fn parse_body(text: &str) -> Result<Url, String> {
        let mut url = Url::default();
        if text == "*" {
            url.path = b"*".to_vec();
            return Ok(url);
        }
        let (scheme, mut rest) = split_scheme(text)?;
        url.scheme = scheme.to_ascii_lowercase();
        if rest.ends_with('?') && rest.matches('?').count() == 1 {
            (url.force_query, rest) = (true, &rest[..rest.len() - 1]);
        } else if let Some((before, query)) = rest.split_once('?') {
            (rest, url.query) = (before, query.to_owned());
        }
        if !rest.starts_with('/') {
            if !url.scheme.is_empty() {
                url.opaque = rest.to_owned();
                return Ok(url);
            }
            if rest.split('/').next().is_some_and(|first| first.contains(':')) {
                return Err("first path segment in URL cannot contain colon".to_owned());
            }
        }
        if let Some(after) = rest.strip_prefix("//")
            && (!url.scheme.is_empty() || !rest.starts_with("///"))
        {
            let end = after.find('/').unwrap_or(after.len());
            url.authority(&after[..end])?;
            rest = &after[end..];
        }
        url.path = unescape(rest, Part::Path)?;
        url.raw_path = rest.to_owned();
        Ok(url)
    }

    fn authority(&mut self, text: &str) -> Result<(), String> {
        let (user, host) = text.rsplit_once('@').map_or((None, text), |(user, host)| (Some(user), host));
        self.host = parse_host(host)?;
        let Some(user) = user else { return Ok(()) };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
        if !user.bytes().all(allowed) {
            return Err("net/url: invalid userinfo".to_owned());
        }
        let escaped = |text: &str| Ok::<_, String>(escape(&unescape(text, Part::User)?, Part::User));
        self.user = Some(match user.split_once(':') {
            None => escaped(user)?,
            Some((name, password)) => format!("{}:{}", escaped(name)?, escaped(password)?),
        });
        Ok(())
    }

    fn into_value(self) -> Value {
        let name = match self.host.strip_prefix('[') {
            Some(body) => body.split(']').next().unwrap_or(body),
            None => match self.host.rsplit_once(':') {
                Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
                _ => &self.host,
            },
        };
        Value::map([
            ("hostname", Value::from(name)),
            ("scheme", Value::from(self.scheme)),
            ("path", string(self.path)),
            ("query", Value::from(self.query)),
            ("opaque", Value::from(self.opaque)),
            ("fragment", string(self.fragment)),
            ("userinfo", Value::from(self.user.unwrap_or_default())),
            ("host", Value::from(self.host.clone())),
        ])
    }

    fn print(&self) -> String {
        let mut out = String::new();
        if !self.scheme.is_empty() {
            out.push_str(&format!("{}:", self.scheme));
        }
        if !self.opaque.is_empty() {
            out.push_str(&self.opaque);
        } else {
            if !self.scheme.is_empty() || !self.host.is_empty() || self.user.is_some() {
                if !self.host.is_empty() || !self.path.is_empty() || self.user.is_some() {
                    out.push_str("//");
                }
                if let Some(user) = &self.user {
                    out.push_str(&format!("{user}@"));
                }
                out.push_str(&escape(self.host.as_bytes(), Part::Host));
            }
            let path = if self.path == b"*" { "*".to_owned() } else { escape(&self.path, Part::Path) };
            if !path.is_empty() && !path.starts_with('/') && !self.host.is_empty() {
                out.push('/');
            }
            // A first segment with a colon would read as a scheme.
            if out.is_empty() && path.split('/').next().is_some_and(|first| first.contains(':')) {
                out.push_str("./");
            }
            out.push_str(&path);
        }
        if self.force_query || !self.query.is_empty() {
            out.push_str(&format!("?{}", self.query));
        }
        if !self.fragment.is_empty() {
            out.push_str(&format!("#{}", escape(&self.fragment, Part::Fragment)));
        }
        out
    }
}

fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn parse_host(host: &str) -> Result<String, String> {
    let port = if host.starts_with('[') {
        let Some(end) = host.rfind(']') else { return Err("missing ']' in host".to_owned()) };
        &host[end + 1..]
    } else {
        host.rfind(':').map_or("", |at| &host[at..])
    };
    let valid = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    if !valid {
        return Err(format!("invalid port {} after host", quoted(port)));
    }
    let part = if host.starts_with('[') { Part::Zone } else { Part::Host };
    Ok(String::from_utf8_lossy(&unescape(host, part)?).into_owned())
}

fn stays(byte: u8, part: Part) -> bool {
    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
        return true;
    }
    match part {
        Part::Host | Part::Zone => b"!$&'()*+,;=:[]<>\"".contains(&byte),
        Part::Path => b"$&+,/:;=@".contains(&byte),
        Part::User => b"$&+,;=".contains(&byte),
        Part::Fragment => b"$&+,/:;=?@!()*".contains(&byte),
    }
}

fn escape(bytes: &[u8], part: Part) -> String {
    let mut out = String::new();
    for byte in bytes {
        if stays(*byte, part) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn unescape(text: &str, part: Part) -> Result<Vec<u8>, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'%' {
            let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
            let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let Some(value) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
                let shown = String::from_utf8_lossy(&bytes[at..bytes.len().min(at + 3)]).into_owned();
                return Err(format!("invalid URL escape {}", quoted(&shown)));
            };
            if part == Part::Host && value < 0x80 {
                return Err(format!("invalid URL escape {}", quoted(&text[at..at + 3])));
            }
            out.push(value);
            at += 3;
            continue;
        }
        if matches!(part, Part::Host | Part::Zone) && *byte < 0x80 && !stays(*byte, part) {
            return Err(format!("invalid character {} in host name", quoted(&text[at..=at])));
        }
        out.push(*byte);
        at += 1;
    }
    Ok(out)
}

fn join(parts: &Map) -> Outcome {
    let part = |key: &str| -> Result<String, FunctionError> {
        match parts.get(key) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.to_text().into_owned()),
            Some(Value::Nil | Value::NoValue) => fail(super::arguments::NIL_POINTER),
            Some(other) => {
                let kind: Kind = other.kind();
                fail(format!("unable to parse {key} key, must be of type string, but {kind} found"))
            }
        }
    };
    let mut url = Url {
        scheme: part("scheme")?,
        host: part("host")?,
        path: part("path")?.into_bytes(),
        query: part("query")?,
        opaque: part("opaque")?,
        fragment: part("fragment")?.into_bytes(),
        ..Url::default()
    };
    let user = part("userinfo")?;
    if !user.is_empty() {
        let address = format!("proto://{user}@host");
        url.user = Url::parse(&address)
            .map_err(|what| {
                FunctionError::new(format!("unable to parse userinfo in dict: parse {}: {what}", quoted(&address)))
            })?
            .user;
    }
    Ok(string(url.print()))
}
