//! Secrets kept out of what is shown.

use std::sync::LazyLock;

use regex::Regex;

/// What stands in the place of a secret.
const MASK: &str = "***";
/// Shorter values are no secrets, and would mask half of a log.
const SHORTEST: usize = 4;

/// `scheme://user:password@`, without what comes before and after.
static CREDENTIALS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s/@:]*:[^\s/@]+@").expect("the expression is well-formed")
});

/// Masks known secrets and the credentials of addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redactor {
    secrets: Vec<String>,
}

impl Redactor {
    /// Masks these values; very short ones are left out.
    pub(crate) fn new(secrets: Vec<String>) -> Self {
        let mut secrets: Vec<String> = secrets.into_iter().filter(|secret| secret.len() >= SHORTEST).collect();
        // A secret that holds another one goes first, so that nothing of it remains.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// `text` without secrets.
    pub(crate) fn redact(&self, text: &str) -> String {
        let without = self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, MASK));
        if without.contains("://") { CREDENTIALS.replace_all(&without, "${1}***@").into_owned() } else { without }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        let redactor = Redactor::new(vec!["hush".into(), "hushhush".into(), "a".into()]);
        for (given, shown) in [
            ("token hushhush!", "token ***!"),
            ("hush a", "*** a"),
            ("get https://me:pass@host/x failed", "get https://***@host/x failed"),
            ("http://host:5000/a@b", "http://host:5000/a@b"),
        ] {
            assert_eq!(redactor.redact(given), shown);
        }
    }
}
