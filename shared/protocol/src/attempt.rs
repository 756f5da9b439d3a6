//! Attempts: one try at one job, and what names it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

/// Longest id, in bytes.
const LONGEST_ID: usize = 128;
/// Longest key of a job, in bytes.
const LONGEST_JOB: usize = 1024;

/// One try at one job.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct AttemptId {
    /// The job: equal jobs have equal keys.
    #[serde(deserialize_with = "job")]
    pub job: String,
    /// Which try, from 1.
    pub number: u32,
    /// Unlike any other attempt's, ever: goes into the manifest and into names of containers and files. Whatever comes
    /// from elsewhere is of 1 to 128 letters, digits and dashes.
    #[serde(deserialize_with = "id")]
    pub id: String,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if plain && (1..=LONGEST_ID).contains(&text.len()) {
        return Ok(text);
    }
    let shown: String = text.chars().take(LONGEST_ID).collect();
    let rule = format!("an attempt's id has 1 to {LONGEST_ID} letters, digits and dashes, and `{shown}` is not so");
    Err(de::Error::custom(rule))
}

fn job<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() <= LONGEST_JOB {
        return Ok(text);
    }
    Err(de::Error::custom(format!("a job's key has {} bytes, and at most {LONGEST_JOB} are taken", text.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(job: &str, id: &str) -> Result<AttemptId, serde_json::Error> {
        serde_json::from_value(serde_json::json!({"job": job, "number": 1, "id": id}))
    }

    #[test]
    fn an_id_that_could_lead_elsewhere_is_not_read() {
        for good in ["a", "0f-12", "A-b-3", &"x".repeat(LONGEST_ID)] {
            assert_eq!(read("j", good).expect("it is read").id, good);
        }
        for bad in ["", "..", "a/b", "../../etc/cron.d/x", "a.b", "a b", "a\0", "ä", &"x".repeat(LONGEST_ID + 1)] {
            let refused = read("j", bad).expect_err("it is refused").to_string();
            assert!(refused.contains("letters, digits and dashes"), "{refused}");
        }
    }

    #[test]
    fn a_key_without_end_is_not_read() {
        assert!(read(&"k".repeat(LONGEST_JOB), "a").is_ok());
        assert!(read(&"k".repeat(LONGEST_JOB + 1), "a").expect_err("it is refused").to_string().contains("1024"));
    }
}
