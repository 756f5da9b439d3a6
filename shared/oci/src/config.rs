//! The image config document: what to run and how, and the layers' diffIDs.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{BlobDigest, Platform};

/// Longest config that is read, in bytes.
pub const CONFIG_LIMIT: usize = 8 * 1024 * 1024;
/// Most layers that a config or a manifest may list.
pub const LAYERS_LIMIT: usize = 1000;

/// Bytes that are no image config.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// More bytes than are read.
    #[error("the image config has {0} bytes, more than the {CONFIG_LIMIT} that are read")]
    TooLong(usize),
    /// More layers than are taken.
    #[error("the image config lists {0} layers, more than the {LAYERS_LIMIT} that are taken")]
    TooManyLayers(usize),
    /// No JSON, or JSON of another form.
    #[error("the image config cannot be read: {0}")]
    Malformed(String),
}

/// An image config. Fields that this type does not know are kept in `other`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Architecture the image is for.
    #[serde(default)]
    pub architecture: String,
    /// Operating system the image is for.
    #[serde(default)]
    pub os: String,
    /// Variant of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// RFC 3339 creation time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// What a container of the image runs.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: RunConfig,
    /// Layers, lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub rootfs: RootFs,
    /// All else.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// The `config` part of an image config. `None` and an empty list differ where Docker tells them apart.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// `USER`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `EXPOSE`: `80/tcp` → `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    /// `NAME=value` entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
    /// `ENTRYPOINT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// `CMD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// `VOLUME`: path → `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<BTreeMap<String, serde_json::Value>>,
    /// `WORKDIR`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// `LABEL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// `STOPSIGNAL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// `HEALTHCHECK`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// All else (`OnBuild`, `Shell`, …).
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// `HEALTHCHECK`; times are nanoseconds, 0 = the engine's default.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub test: Vec<String>,
    /// Time between checks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Time a check may take.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time in which failures do not count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between checks during the start period.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make a container unhealthy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// Layers by their uncompressed digest.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// diffIDs, lowest layer first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<String>,
}

impl ImageConfig {
    /// Reads the config document `bytes`.
    ///
    /// # Errors
    /// [`ConfigError`] when it is too long, lists too many layers, or is no config.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        if bytes.len() > CONFIG_LIMIT {
            return Err(ConfigError::TooLong(bytes.len()));
        }
        let config: Self = serde_json::from_slice(bytes).map_err(|error| ConfigError::Malformed(brief(&error)))?;
        let layers = config.rootfs.diff_ids.len();
        if layers > LAYERS_LIMIT {
            return Err(ConfigError::TooManyLayers(layers));
        }
        if let Some(wrong) = config.rootfs.diff_ids.iter().find_map(|id| id.parse::<BlobDigest>().err()) {
            return Err(ConfigError::Malformed(format!("diff_ids: {wrong}")));
        }
        Ok(config)
    }

    /// The document's bytes; equal configs give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("string keys and plain values always encode")
    }

    /// The labels; none when the config has no such field.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        self.config.labels()
    }

    /// The value of the variable `name`.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.config.env(name)
    }

    /// What the image is for; `None` when the config names no system or architecture.
    pub fn platform(&self) -> Option<Platform> {
        Platform::from_parts(&self.os, &self.architecture, self.variant.as_deref())
    }
}

impl RunConfig {
    /// The labels; none when the config has no such field.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.labels.as_ref().unwrap_or(&NONE)
    }

    /// The value of the variable `name`; of several entries the last one counts, as in a process.
    pub fn env(&self, name: &str) -> Option<&str> {
        let value = |entry: &'_ String| entry.split_once('=').is_some_and(|(key, _)| key == name);
        let entry = self.env.iter().flatten().rev().find(|entry| value(entry))?;
        entry.split_once('=').map(|(_, value)| value)
    }
}

/// The message of `error`, cut: it may quote a value of any length.
pub(crate) fn brief(error: &serde_json::Error) -> String {
    error.to_string().chars().take(300).collect()
}

/// Go writes `null` where a list or an object has never been set.
fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn unknown_fields_survive() {
        let text = format!(
            r#"{{"architecture":"arm","os":"linux","variant":"v7","config":{{"User":"1","Env":["A=1","B=x=y","A=2","C"],
            "Cmd":[],"Labels":{{"l":"v"}},"OnBuild":["RUN x"],"Healthcheck":{{"Test":["NONE"],"StartInterval":5}}}},
            "rootfs":{{"type":"layers","diff_ids":["sha256:{HEX}"]}},"history":[{{"empty_layer":true}}],"x":{{"y":1}}}}"#
        );
        let config = ImageConfig::parse(text.as_bytes()).expect("a config");
        let before: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let after: serde_json::Value = serde_json::from_slice(&config.to_bytes()).expect("JSON");
        assert_eq!(before, after);
        assert_eq!(config.env("A"), Some("2"));
        assert_eq!(config.env("B"), Some("x=y"));
        assert_eq!((config.env("C"), config.env("D")), (None, None));
        assert_eq!(config.labels().get("l").map(String::as_str), Some("v"));
        assert_eq!(config.platform().map(|p| p.to_string()).as_deref(), Some("linux/arm/v7"));
        assert_eq!(config.config.cmd, Some(Vec::new()));
        assert_eq!(config.config.entrypoint, None);
    }

    #[test]
    fn null_is_taken_for_nothing() {
        for text in [
            "{}",
            r#"{"config":null,"rootfs":null}"#,
            r#"{"config":{"User":null,"Env":null,"Cmd":null,"Entrypoint":null,"Labels":null,"Volumes":null,"WorkingDir":null}}"#,
            r#"{"rootfs":{"type":"","diff_ids":null}}"#,
        ] {
            let config = ImageConfig::parse(text.as_bytes()).expect(text);
            assert_eq!(config, ImageConfig::default(), "{text}");
            assert!(config.labels().is_empty() && config.platform().is_none());
        }
    }

    #[test]
    fn limits_and_forms_are_held() {
        let many = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":[{}"sha256:{HEX}"]}}}}"#, "\"\",".repeat(1000));
        let long = vec![b' '; CONFIG_LIMIT + 1];
        let deep = format!("{{\"x\":{}", "[".repeat(100_000));
        let cases: [(&[u8], &str); 6] = [
            (many.as_bytes(), "1001 layers"),
            (&long, "bytes, more than"),
            (deep.as_bytes(), "recursion limit"),
            (br#"{"rootfs":{"diff_ids":["sha256:1"]}}"#, "no sha256 digest"),
            (br#"{"config":{"Env":"A"}}"#, "invalid type"),
            (b"\xff", "cannot be read"),
        ];
        for (bytes, part) in cases {
            let message = ImageConfig::parse(bytes).expect_err(part).to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
