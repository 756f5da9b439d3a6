//! A path inside a tree: relative, `/`-separated, normalised.

use std::fmt;

/// A path that cannot stand inside a tree.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathError {
    /// The path leaves its root with `..`.
    #[error("the path `{0}` leads outside of its root")]
    Escapes(String),
    /// The path holds a NUL byte.
    #[error("the path `{0}` holds a NUL byte")]
    Nul(String),
}

/// A relative path below some root, without `.`, `..`, empty or repeated separators. The empty path is the root.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// The root itself.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Cleans `path`: a leading `/` counts as the root, `.` and `..` are resolved.
    ///
    /// # Errors
    /// [`PathError`] when the path leaves the root or holds a NUL byte.
    pub fn new(path: impl AsRef<[u8]>) -> Result<Self, PathError> {
        let path = path.as_ref();
        if path.contains(&0) {
            return Err(PathError::Nul(String::from_utf8_lossy(path).into_owned()));
        }
        let mut kept: Vec<&[u8]> = Vec::new();
        for segment in path.split(|b| *b == b'/') {
            match segment {
                b"" | b"." => {}
                b".." => {
                    kept.pop().ok_or_else(|| PathError::Escapes(String::from_utf8_lossy(path).into_owned()))?;
                }
                other => kept.push(other),
            }
        }
        Ok(Self(kept.join(&b'/')))
    }

    /// Whether this is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes, without a leading or trailing `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path of `name` below this one; `name` is appended as it is and may itself hold separators.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        if self.is_root() {
            return Self(name.to_vec());
        }
        if name.is_empty() {
            return self.clone();
        }
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        bytes.push(b'/');
        bytes.extend_from_slice(name);
        Self(bytes)
    }

    /// What remains of this path below `base`: the root for `base` itself, `None` outside of it.
    pub fn below(&self, base: &Self) -> Option<Self> {
        if base.is_root() {
            return Some(self.clone());
        }
        let rest = self.0.strip_prefix(base.0.as_slice())?;
        match rest.split_first() {
            None => Some(Self::root()),
            Some((b'/', rest)) => Some(Self(rest.to_vec())),
            Some(_) => None,
        }
    }

    /// The path without its last segment; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|b| *b == b'/').unwrap_or(0);
        Some(Self(self.0[..end].to_vec()))
    }

    /// The last segment; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|b| *b == b'/').next().unwrap_or_default()
    }

    /// The segments from the root down; none for the root.
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|segment| !segment.is_empty())
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// Travels as text in which `%` and bytes that are no UTF-8 are written `%XX`.
impl serde::Serialize for TreePath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(self.0.len());
        for chunk in self.0.utf8_chunks() {
            text.push_str(&chunk.valid().replace('%', "%25"));
            chunk.invalid().iter().for_each(|byte| text.push_str(&format!("%{byte:02X}")));
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> serde::Deserialize<'de> for TreePath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        let bytes = unescaped(&text).ok_or_else(|| serde::de::Error::custom("a `%` without two hexadecimal digits"))?;
        Self::new(bytes).map_err(serde::de::Error::custom)
    }
}

fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Some(bytes)
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (given, kept) in [("", ""), ("/", ""), ("a//b/./c/", "a/b/c"), ("/a/../b", "b"), ("./x", "x")] {
            assert_eq!(TreePath::new(given).expect(given).to_string(), kept);
        }
    }

    #[test]
    fn a_path_that_leaves_the_root_is_refused() {
        for given in ["..", "a/../..", "/../etc/passwd"] {
            assert!(matches!(TreePath::new(given), Err(PathError::Escapes(_))), "{given}");
        }
        assert!(matches!(TreePath::new("a\0b"), Err(PathError::Nul(_))));
    }

    #[test]
    fn a_path_travels_as_text_whatever_its_bytes() {
        for bytes in [&b""[..], b"app/src", b"100%/a", b"caf\xc3\xa9/\xff\xfe%41", b"\xf0\x9f"] {
            let path = TreePath::new(bytes).expect("a path");
            let text = serde_json::to_string(&path).expect("text");
            assert_eq!(serde_json::from_str::<TreePath>(&text).expect(&text), path);
        }
        for text in [r#""../a""#, r#""a%00""#, r#""%4""#, r#""%zz""#] {
            assert!(serde_json::from_str::<TreePath>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn below_takes_whole_segments() {
        let path = TreePath::new("app/src/main.rs").expect("a path");
        assert_eq!(path.below(&TreePath::new("app").expect("a path")), TreePath::new("src/main.rs").ok());
        assert_eq!(path.below(&TreePath::new("ap").expect("a path")), None);
        assert_eq!(path.below(&path), Some(TreePath::root()));
    }
}
