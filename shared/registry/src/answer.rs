//! What a registry answered: bodies read within limits, error documents turned into [`RegistryError`].

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use serde::Deserialize;

use crate::{
    RegistryError,
    call::{Call, IDLE},
    connections::root_cause,
    retry::{MAX_TRIES, Trouble},
};

/// Largest error document that is read.
const ERROR_LIMIT: usize = 64 * 1024;
/// Longest message of a registry that is shown.
const MESSAGE_LIMIT: usize = 500;

/// Why a body was not read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// It is longer than the limit.
    TooLarge,
    /// The connection failed.
    Broken(String),
}

/// What an error document says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Complaint {
    /// Codes such as `MANIFEST_UNKNOWN`.
    pub(crate) codes: Vec<String>,
    /// For people; one line; may be empty.
    pub(crate) message: String,
}

/// The whole body, if it is no longer than `limit` bytes.
pub(crate) async fn read(response: &mut reqwest::Response, limit: usize) -> Result<Bytes, ReadError> {
    let announced = response.content_length().unwrap_or_default();
    if announced > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(ReadError::TooLarge);
    }
    let mut body = BytesMut::with_capacity(usize::try_from(announced).unwrap_or_default());
    while let Some(piece) = next_piece(response).await? {
        if body.len() + piece.len() > limit {
            return Err(ReadError::TooLarge);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// The next piece of a body; `None` at its end.
pub(crate) async fn next_piece(response: &mut reqwest::Response) -> Result<Option<Bytes>, ReadError> {
    match tokio::time::timeout(IDLE, response.chunk()).await {
        Ok(Ok(piece)) => Ok(piece),
        Ok(Err(error)) => Err(ReadError::Broken(root_cause(&error))),
        Err(_) => Err(ReadError::Broken(format!("no data for {} s", IDLE.as_secs()))),
    }
}

/// What the error document of an answer says, without the `secrets` that it may quote. An answer that cannot be read
/// says nothing.
pub(crate) async fn complaint(response: &mut reqwest::Response, secrets: &[String]) -> Complaint {
    read(response, ERROR_LIMIT).await.map(|body| parse(&body, secrets)).unwrap_or_default()
}

/// The error for an answer that is no success. `retry_after` is what its header says.
pub(crate) fn trouble(
    call: &Call,
    status: StatusCode,
    complaint: &Complaint,
    retry_after: Option<std::time::Duration>,
) -> Trouble {
    let code_ends = |end: &str| complaint.codes.iter().any(|code| code.ends_with(end));
    let said = call.say(said(status, complaint));
    match status.as_u16() {
        401 | 403 => Trouble::Final(RegistryError::Denied(format!(
            "{said}; check that the repository exists and that your account may do this there, or log in with another \
             one: `docker login {}`",
            call.host()
        ))),
        404 => Trouble::Final(RegistryError::NotFound(said)),
        408 | 425 | 429 | 500 | 502..=504 | 506..=599 => {
            Trouble::Passing { error: RegistryError::Unavailable(said), retry_after, tries: MAX_TRIES }
        }
        400..=499 if code_ends("_UNKNOWN") => Trouble::Final(RegistryError::NotFound(said)),
        400..=499 if code_ends("DIGEST_INVALID") => Trouble::Final(RegistryError::Corrupt(said)),
        405 => Trouble::Final(RegistryError::Refused(format!("{said}; the registry is set up not to allow this"))),
        413 => {
            Trouble::Final(RegistryError::Refused(format!("{said}; raise the registry's or its proxy's size limit")))
        }
        _ => Trouble::Final(RegistryError::Refused(said)),
    }
}

/// `the registry answered 404 Not Found (manifest unknown)`.
pub(crate) fn said(status: StatusCode, complaint: &Complaint) -> String {
    let reason = status.canonical_reason().map(|reason| format!(" {reason}")).unwrap_or_default();
    let message = &complaint.message;
    let message = if message.is_empty() { String::new() } else { format!(" ({message})") };
    format!("the registry answered {}{reason}{message}", status.as_u16())
}

/// Reads an error document: the distribution API's, a token server's, or plain text.
fn parse(body: &[u8], secrets: &[String]) -> Complaint {
    let shown =
        |text: &str| one_line(&secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***")));
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        errors: Vec<Entry>,
        #[serde(default, alias = "error_description", alias = "details")]
        message: Option<String>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: Option<serde_json::Value>,
        #[serde(default)]
        message: Option<String>,
        #[serde(default)]
        detail: Option<serde_json::Value>,
    }
    let Ok(document) = serde_json::from_slice::<Document>(body) else {
        let text = String::from_utf8_lossy(body);
        let message = if text.trim_start().starts_with(['<', '{', '[']) { String::new() } else { shown(&text) };
        return Complaint { codes: Vec::new(), message };
    };
    let mut complaint = Complaint::default();
    let mut messages: Vec<String> = document.message.into_iter().collect();
    for entry in document.errors.into_iter().take(3) {
        let code = entry.code.as_ref().and_then(|code| code.as_str()).unwrap_or_default().to_owned();
        let detail = entry.detail.as_ref().and_then(|detail| detail.as_str()).map(|text| format!(": {text}"));
        let message = entry.message.filter(|message| !message.is_empty()).unwrap_or_else(|| code.clone());
        messages.push(message + &detail.unwrap_or_default());
        complaint.codes.push(code);
    }
    complaint.message = shown(&messages.join("; "));
    complaint
}

/// Text from outside as it may be shown: one line, no control characters, not too long.
pub(crate) fn one_line(text: &str) -> String {
    let printable = text.chars().map(|character| if character.is_control() { ' ' } else { character });
    let words: String = printable.take(MESSAGE_LIMIT * 4).collect();
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(MESSAGE_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use http::Method;
    use slipway_oci::Repo;

    use super::*;

    #[test]
    fn documents_are_read() {
        let cases = [
            (
                r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known","detail":{"name":"x"}}]}"#,
                vec!["NAME_UNKNOWN"],
                "repository name not known",
            ),
            (
                r#"{"errors":[{"code":"DENIED"},{"code":"X","message":"b","detail":"c"}]}"#,
                vec!["DENIED", "X"],
                "DENIED; b: c",
            ),
            (r#"{"error":"invalid_grant","error_description":"token is too old"}"#, vec![], "token is too old"),
            (r#"{"details":"incorrect username or password"}"#, vec![], "incorrect username or password"),
            ("too many\n requests\x1b[31m", vec![], "too many requests [31m"),
            ("<html>no</html>", vec![], ""),
            ("", vec![], ""),
            (r#"{"errors":null}"#, vec![], ""),
            ("[1]", vec![], ""),
        ];
        for (body, codes, message) in cases {
            let complaint = parse(body.as_bytes(), &[]);
            assert_eq!(
                (complaint.codes, complaint.message.as_str()),
                (codes.iter().map(|&code| code.to_owned()).collect(), message),
                "{body}"
            );
        }
        let quoting = parse(br#"{"errors":[{"code":"hunter2","detail":"no hunter2"}]}"#, &["hunter2".to_owned()]);
        assert_eq!(quoting.message, "***: no ***");
        assert_eq!(parse("x".repeat(10_000).as_bytes(), &[]).message.len(), MESSAGE_LIMIT);
    }

    #[test]
    fn statuses_say_what_the_caller_can_do() {
        let repo = Repo { host: "r.example".to_owned(), path: "app".to_owned() };
        let call = Call::new(Method::PUT, &repo, "manifests/v1", "store manifest `v1` in").unwrap();
        let of = |status: u16, code: &str| {
            let complaint = Complaint { codes: vec![code.to_owned()], message: "so it is".to_owned() };
            trouble(&call, StatusCode::from_u16(status).unwrap(), &complaint, None)
        };
        let last = |trouble: Trouble| match trouble {
            Trouble::Final(error) => error,
            Trouble::Passing { error, .. } => panic!("{error}"),
        };
        let denied = last(of(401, "UNAUTHORIZED"));
        assert!(matches!(denied, RegistryError::Denied(_)));
        let text = denied.to_string();
        for part in ["store manifest `v1` in r.example/app", "401 Unauthorized", "so it is", "docker login r.example"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(matches!(last(of(403, "DENIED")), RegistryError::Denied(_)));
        assert!(matches!(last(of(404, "NAME_UNKNOWN")), RegistryError::NotFound(_)));
        assert!(matches!(last(of(400, "MANIFEST_BLOB_UNKNOWN")), RegistryError::NotFound(_)));
        assert!(matches!(last(of(400, "DIGEST_INVALID")), RegistryError::Corrupt(_)));
        assert!(matches!(last(of(400, "MANIFEST_INVALID")), RegistryError::Refused(_)));
        assert!(matches!(last(of(405, "UNSUPPORTED")), RegistryError::Refused(_)));
        assert!(matches!(last(of(501, "")), RegistryError::Refused(_)));
        assert!(matches!(last(of(302, "")), RegistryError::Refused(_)));
        for status in [408, 429, 500, 502, 503, 504, 521] {
            let passing =
                matches!(of(status, "UNKNOWN"), Trouble::Passing { error: RegistryError::Unavailable(_), .. });
            assert!(passing, "{status}");
        }
    }
}
