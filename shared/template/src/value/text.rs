//! Go's string: bytes that are usually, but not always, UTF-8. Cheap to clone.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// An immutable string of bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoString(Arc<[u8]>);

impl GoString {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, when the bytes are UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The text, with U+FFFD in place of bytes that are not UTF-8.
    pub fn to_text(&self) -> Cow<'_, str> {
        // Checking alone is faster than replacing, and bytes are seldom anything but text.
        self.as_str().map_or_else(|| String::from_utf8_lossy(&self.0), Cow::Borrowed)
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for GoString {
    fn default() -> GoString {
        GoString(Arc::from([]))
    }
}

impl Deref for GoString {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for GoString {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for GoString {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for GoString {
    fn from(text: &str) -> GoString {
        GoString(Arc::from(text.as_bytes()))
    }
}

impl From<String> for GoString {
    fn from(text: String) -> GoString {
        GoString(Arc::from(text.into_bytes()))
    }
}

impl From<&String> for GoString {
    fn from(text: &String) -> GoString {
        GoString::from(text.as_str())
    }
}

impl From<Cow<'_, str>> for GoString {
    fn from(text: Cow<'_, str>) -> GoString {
        GoString(Arc::from(text.as_bytes()))
    }
}

impl From<&[u8]> for GoString {
    fn from(bytes: &[u8]) -> GoString {
        GoString(Arc::from(bytes))
    }
}

impl From<Vec<u8>> for GoString {
    fn from(bytes: Vec<u8>) -> GoString {
        GoString(Arc::from(bytes))
    }
}

impl From<&GoString> for GoString {
    fn from(text: &GoString) -> GoString {
        text.clone()
    }
}

impl fmt::Display for GoString {
    /// The text, with U+FFFD in place of bytes that are not UTF-8.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_text())
    }
}

impl fmt::Debug for GoString {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_text(), formatter)
    }
}
