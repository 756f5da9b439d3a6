//! `WWW-Authenticate`: how a registry wants us to prove who we are.

use http::{HeaderMap, header::WWW_AUTHENTICATE};

/// Longest header that is read.
const MAX_LENGTH: usize = 8 * 1024;

/// One way of proving who we are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token from a token server.
    Bearer {
        /// Address of the token server.
        realm: String,
        /// What the registry is called there.
        service: Option<String>,
        /// What the token must allow, as far as the registry says.
        scopes: Vec<String>,
    },
}

/// The best challenge that we can meet: tokens before passwords. `None` when there is none.
pub(crate) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<Challenge> = texts.filter(|text| text.len() <= MAX_LENGTH).flat_map(parse).collect();
    let bearer = all.iter().find(|one| matches!(one, Challenge::Bearer { .. }));
    bearer.or_else(|| all.first()).cloned()
}

/// All challenges of one header that we know. Several may stand in one header, separated by commas, as may the
/// parameters of each.
fn parse(text: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (word, after) = token(rest);
        if word.is_empty() {
            break;
        }
        let after = after.trim_start();
        if let Some(value) = after.strip_prefix('=') {
            let (value, after) = parameter_value(value.trim_start());
            if let Some((_, parameters)) = found.last_mut() {
                parameters.push((word.to_ascii_lowercase(), value));
            }
            rest = after;
        } else {
            found.push((word.to_ascii_lowercase(), Vec::new()));
            rest = after;
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    found.into_iter().filter_map(|(scheme, parameters)| known(&scheme, parameters)).collect()
}

fn known(scheme: &str, parameters: Vec<(String, String)>) -> Option<Challenge> {
    let value = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer {
            realm: value("realm")?,
            service: value("service").filter(|service| !service.is_empty()),
            scopes: value("scope").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
        }),
        _ => None,
    }
}

/// The word at the start, and what follows it.
fn token(text: &str) -> (&str, &str) {
    let end = text.find([' ', '\t', ',', '=', '"']).unwrap_or(text.len());
    text.split_at(end)
}

/// A quoted or plain value, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        return (value.to_owned(), after);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            plain => value.push(plain),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scopes: &[&str]) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        }
    }

    #[test]
    fn headers_are_understood() {
        let docker =
            r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push""#;
        let cases: [(&[&str], Option<Challenge>); 12] = [
            (&[], None),
            (&["Basic realm=\"x\""], Some(Challenge::Basic)),
            (&["basic"], Some(Challenge::Basic)),
            (&[docker], Some(bearer("https://auth.example/token", Some("r.example"), &["repository:a/b:pull,push"]))),
            (&["Bearer realm=https://a/t, service=s"], Some(bearer("https://a/t", Some("s"), &[]))),
            (&["BEARER Realm = \"https://a/t\" , Scope=\"a b\""], Some(bearer("https://a/t", None, &["a", "b"]))),
            (&["Basic realm=\"x\", Bearer realm=\"https://a/t\""], Some(bearer("https://a/t", None, &[]))),
            (&["Basic realm=\"x\"", "Bearer realm=\"https://a/t\""], Some(bearer("https://a/t", None, &[]))),
            (&[r#"Bearer realm="a\"b\\c""#], Some(bearer(r#"a"b\c"#, None, &[]))),
            (&["Bearer service=\"no realm\""], None),
            (&["Negotiate, NTLM"], None),
            (&["Bearer realm=\"unterminated"], Some(bearer("unterminated", None, &[]))),
        ];
        for (texts, expected) in cases {
            let headers = texts.iter().map(|text| (WWW_AUTHENTICATE, text.parse().unwrap())).fold(
                HeaderMap::new(),
                |mut headers, (name, value)| {
                    headers.append(name, value);
                    headers
                },
            );
            assert_eq!(challenge(&headers), expected, "{texts:?}");
        }
    }

    #[test]
    fn rubbish_ends() {
        for text in ["=", "\"", "====\"\"", ",,, ,", "a=b=c,=,\"", "Bearer \"x\" y=\"", "Bearer realm=\\"] {
            let _ = parse(text);
        }
        assert!(parse(&format!("Bearer realm={}", "x".repeat(100))).len() == 1);
    }
}
