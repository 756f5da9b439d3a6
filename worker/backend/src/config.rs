//! Configs of images as a backend begins them.

use slipway_oci::{ImageConfig, Platform};

/// The config of an image with nothing in it.
pub fn empty(platform: &Platform) -> ImageConfig {
    let Platform { os, arch: architecture, variant } = platform.clone();
    ImageConfig { architecture, os, variant, ..ImageConfig::default() }
}

/// A moment, in milliseconds since the epoch, as configs have it.
pub fn moment(unix_millis: u64) -> String {
    let millis = i64::try_from(unix_millis).unwrap_or(0);
    jiff::Timestamp::from_millisecond(millis).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_in_utc() {
        assert_eq!(moment(0), "1970-01-01T00:00:00Z");
        assert_eq!(moment(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(moment(u64::MAX), moment(0));
    }
}
