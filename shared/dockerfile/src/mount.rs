//! `RUN --mount=type=bind,from=…,source=…`: the fields of one mount.

/// The fields of a `--mount`, in the order in which they stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mount(Vec<(String, Option<String>)>);

impl Mount {
    /// Reads `KEY[=VALUE],…`; a field in double quotes may hold commas.
    pub(crate) fn read(text: &str) -> Self {
        let field = |field: String| match field.split_once('=') {
            Some((key, value)) => (key.trim().to_ascii_lowercase(), Some(value.to_owned())),
            None => (field.trim().to_ascii_lowercase(), None),
        };
        Self(fields(text).into_iter().map(field).collect())
    }

    /// Keys and values, in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_deref()))
    }
}

/// Splits at commas outside of double quotes; a doubled quote inside of quotes is one quote.
fn fields(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(last) = all.last_mut() else { break };
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => last.push('"'),
            '"' if quoted => quoted = false,
            '"' if last.is_empty() => quoted = true,
            ',' if !quoted => all.push(String::new()),
            other => last.push(other),
        }
    }
    all
}
