//! How requests to Amazon's services are signed: version 4.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderName;
use sha2::{Digest as _, Sha256};
use url::Url;

/// Media type of what is asked.
pub(super) const CONTENT: &str = "application/x-amz-json-1.1";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// Keys of a user or role. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct AwsKeys {
    /// Which key.
    pub id: String,
    /// The secret.
    pub secret: String,
    /// The token of a session, for keys that end with one.
    pub token: Option<String>,
}

impl std::fmt::Debug for AwsKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AwsKeys(…)")
    }
}

/// What is asked, by POST.
pub(super) struct Request<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) action: &'a str,
    pub(super) url: &'a Url,
    pub(super) body: &'a [u8],
}

/// The headers that go with it, at `now` in seconds since the Unix epoch.
pub(super) fn sign(keys: &AwsKeys, request: &Request<'_>, now: u64) -> Vec<(HeaderName, String)> {
    let time = written(now);
    let day = &time[..8];
    let mut headers = vec![(DATE, time.clone()), (TARGET, request.action.to_owned())];
    headers.extend(keys.token.clone().map(|token| (TOKEN, token)));
    let host = host(request.url);
    let mut signed = vec![("content-type", CONTENT), ("host", host.as_str())];
    signed.extend(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    signed.sort_unstable();
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let path = request.url.path();
    let canonical = format!("POST\n{path}\n\n{lines}\n{names}\n{}", hex::encode(Sha256::digest(request.body)));
    let scope = format!("{day}/{}/{}/aws4_request", request.region, request.service);
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
    let key = key(&keys.secret, day, request.region, request.service);
    let signature = hex::encode(code(&key, &text));
    let proof =
        format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", keys.id);
    headers.push((http::header::AUTHORIZATION, proof));
    headers
}

/// The key that signs on a day.
fn key(secret: &str, day: &str, region: &str, service: &str) -> Vec<u8> {
    let first = code(format!("AWS4{secret}").as_bytes(), day);
    [region, service, "aws4_request"].iter().fold(first, |key, text| code(&key, text))
}

fn code(key: &[u8], text: &str) -> Vec<u8> {
    let mut code = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    code.update(text.as_bytes());
    code.finalize().into_bytes().to_vec()
}

/// Host and port, as the header has them.
fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

/// A moment as `20150830T123600Z`.
pub(super) fn written(now: u64) -> String {
    let (days, second) = (now / 86_400, now % 86_400);
    // Years of March to February, in cycles of 400 years from the year 0 on.
    let day = days + 719_468;
    let (cycle, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (date, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = cycle * 400 + year + u64::from(month <= 2);
    format!("{year:04}{month:02}{date:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written() {
        let cases = [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (4_107_542_399, "21000228T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ];
        for (moment, text) in cases {
            assert_eq!(written(moment), text);
        }
    }

    /// As Amazon's documentation has it.
    #[test]
    fn the_key_of_a_day() {
        let key = key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20120215", "us-east-1", "iam");
        assert_eq!(hex::encode(key), "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d");
    }

    /// The expected value was made by another implementation.
    #[test]
    fn a_request_is_signed() {
        let keys = AwsKeys { id: "AKID".to_owned(), secret: "secret".to_owned(), token: Some("token".to_owned()) };
        let url = Url::parse("https://api.ecr.eu-west-1.amazonaws.com/").expect("an address");
        let request = Request { region: "eu-west-1", service: "ecr", action: "A.B", url: &url, body: b"{}" };
        let headers = sign(&keys, &request, 1_440_938_160);
        let proof = &headers.last().expect("a header").1;
        assert!(
            proof.ends_with("Signature=5e49ace324eb2083448b6e5e9e4de8f4cc820b4d4104c75280f325ef9cecc7b6"),
            "{proof}"
        );
        assert!(!format!("{keys:?}").contains("secret"));
    }
}
