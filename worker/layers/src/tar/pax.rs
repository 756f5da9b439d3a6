//! Pax records: `LENGTH KEY=VALUE\n`.

use crate::{LayerError, entry::Time, error::shown};

/// Prefix of records with extended attributes.
pub(super) const XATTR: &[u8] = b"SCHILY.xattr.";

/// What some programs take for the empty name or for nothing, and others for the header's own.
const NEVER_EMPTY: [&[u8]; 4] = [b"path", b"linkpath", b"size", b"GNU.sparse.name"];

/// Records in the order in which they stand.
#[derive(Clone, Debug, Default)]
pub(super) struct Records(pub(super) Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    /// Reads the body of a pax header.
    pub(super) fn parse(mut body: &[u8]) -> Result<Self, LayerError> {
        let bad = || LayerError::Bad("read an archive: a pax header is malformed".to_owned());
        let mut records = Vec::new();
        while !body.is_empty() && body[0] != 0 {
            let space = body.iter().take(20).position(|byte| *byte == b' ').ok_or_else(bad)?;
            let length = decimal(&body[..space]).and_then(|length| usize::try_from(length).ok()).ok_or_else(bad)?;
            if length <= space + 2 || length > body.len() || body[length - 1] != b'\n' {
                return Err(bad());
            }
            let record = &body[space + 1..length - 1];
            let equals = record.iter().position(|byte| *byte == b'=').filter(|at| *at > 0).ok_or_else(bad)?;
            let (key, value) = (record[..equals].to_vec(), record[equals + 1..].to_vec());
            if value.is_empty() && NEVER_EMPTY.contains(&key.as_slice()) {
                return Err(bad_value(&key, &value));
            }
            records.push((key, value));
            body = &body[length..];
        }
        if body.iter().any(|byte| *byte != 0) {
            return Err(bad());
        }
        Ok(Self(records))
    }

    /// The value of a key; of several the last one counts. An empty value takes the key back.
    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let value = self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_slice());
        value.filter(|value| !value.is_empty())
    }

    /// A name, which holds no NUL.
    pub(super) fn name(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LayerError> {
        match self.get(key) {
            Some(value) if value.contains(&0) => Err(bad_value(key, value)),
            value => Ok(value.map(<[u8]>::to_vec)),
        }
    }

    /// A number that is not negative.
    pub(super) fn number(&self, key: &[u8]) -> Result<Option<u64>, LayerError> {
        self.get(key).map(|value| decimal(value).ok_or_else(|| bad_value(key, value))).transpose()
    }

    /// A moment in seconds, with or without a fraction.
    pub(super) fn time(&self, key: &[u8]) -> Result<Option<Time>, LayerError> {
        self.get(key).map(|value| moment(value).ok_or_else(|| bad_value(key, value))).transpose()
    }

    /// The extended attributes.
    pub(super) fn xattrs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for (key, value) in &self.0 {
            let Some(name) = key.strip_prefix(XATTR).filter(|name| !name.is_empty() && !name.contains(&0)) else {
                continue;
            };
            found.retain(|(known, _)| known != name);
            found.push((name.to_vec(), value.clone()));
        }
        found
    }
}

/// Decimal digits as a number.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

fn moment(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let whole = i64::try_from(decimal(parts.next()?)?).ok()?;
    let mut nanos = 0;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    for at in 0..9 {
        nanos = nanos * 10 + u32::from(fraction.get(at).map_or(0, |digit| digit - b'0'));
    }
    match (negative, nanos) {
        (false, _) => Some(Time { seconds: whole, nanos }),
        (true, 0) => Some(Time { seconds: -whole, nanos: 0 }),
        (true, _) => Some(Time { seconds: -whole - 1, nanos: 1_000_000_000 - nanos }),
    }
}

fn bad_value(key: &[u8], value: &[u8]) -> LayerError {
    LayerError::Bad(format!("read an archive: the pax record `{}` has the value `{}`", shown(key), shown(value)))
}

/// Adds a record to a body; the length counts itself.
pub(super) fn append(body: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    body.extend_from_slice(length.to_string().as_bytes());
    body.push(b' ');
    body.extend_from_slice(key);
    body.push(b'=');
    body.extend_from_slice(value);
    body.push(b'\n');
}
