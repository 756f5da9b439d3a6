//! Secrets of builds: handed on from memory to memory, and kept nowhere.

use std::{collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest secret, in bytes.
pub const LONGEST_SECRET: usize = 64 << 10;
/// Most bytes of all secrets of a build together.
pub const MOST_SECRETS: usize = 1 << 20;

/// Most ssh keys of a build.
pub const MOST_SSH_KEYS: u32 = 100;

/// Names an ssh key of a build among its secrets, from 0: no key of an image's secret is like it.
pub fn ssh_key(number: u32) -> String {
    format!("ssh key {number}")
}

/// The content of a secret. Nothing shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(Arc<[u8]>);

impl Hidden {
    /// Hides a text.
    pub fn new(content: impl Into<Arc<[u8]>>) -> Self {
        Self(content.into())
    }

    /// The content, for where it is needed.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let content = STANDARD.decode(text).map_err(|_| de::Error::custom("a secret is not in base64"))?;
        if content.len() > LONGEST_SECRET {
            return Err(de::Error::custom(format!("a secret has more than {LONGEST_SECRET} bytes")));
        }
        Ok(Self::new(content))
    }
}

/// The secrets of a build, by the keys that its plans name.
pub type SecretValues = BTreeMap<String, Hidden>;

/// A secret that commands of a job may read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HandedSecret {
    /// Name of its file.
    pub id: String,
    /// What is in it.
    pub content: Hidden,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_travels_and_is_never_shown() {
        let secret = HandedSecret { id: "token".to_owned(), content: Hidden::new(*b"hush\xff") };
        assert_eq!(format!("{secret:?}"), "HandedSecret { id: \"token\", content: *** }");
        let text = serde_json::to_string(&secret).expect("text");
        assert_eq!(serde_json::from_str::<HandedSecret>(&text).expect("a secret"), secret);
        let wrong = r#"{"id": "token", "content": "hush!"}"#;
        let error = serde_json::from_str::<HandedSecret>(wrong).expect_err("no base64").to_string();
        assert!(!error.contains("hush"), "{error}");
    }

    #[test]
    fn a_secret_has_a_longest_length() {
        let read = |length: usize| serde_json::from_value::<Hidden>(STANDARD.encode(vec![b'x'; length]).into());
        assert!(read(LONGEST_SECRET).is_ok());
        assert!(read(LONGEST_SECRET + 1).is_err());
    }
}
