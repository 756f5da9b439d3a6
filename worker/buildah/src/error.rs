//! Errors of the program as errors of the backend.

use slipway_backend::BackendError;

pub(crate) use slipway_rootfs::error::system;

/// What the program says when the disk is full.
const FULL: &str = "no space left on device";
/// What it says of an image that is not there.
const MISSING: [&str; 3] = ["image not known", "no such image", "manifest unknown"];
/// What it says when it stumbled over itself or another of its kind, before it did anything: another try helps.
const PASSING: [&str; 4] =
    ["sealing memfd copy", "resource temporarily unavailable", "Device or resource busy", "device or resource busy"];

/// Whether a complaint is one of those after which another try helps.
pub(crate) fn is_passing(said: &str) -> bool {
    PASSING.iter().any(|part| said.contains(part))
}

/// Whether a complaint says that an image is not there.
pub(crate) fn is_missing(said: &str) -> bool {
    MISSING.iter().any(|part| said.contains(part))
}

/// What the program's complaint means for whoever was `doing` something.
pub(crate) fn failed(doing: &str, said: &str) -> BackendError {
    let text = format!("{doing}: {}", told(said));
    if said.contains(FULL) { BackendError::NoSpace(text) } else { BackendError::Engine(text) }
}

/// The complaint itself: its last lines, as those before them tell of progress.
fn told(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let at = lines.iter().rposition(|line| line.starts_with("Error:"));
    let told = match at {
        Some(at) => lines[at..].join(" ").trim_start_matches("Error:").trim().to_owned(),
        None => lines.last().copied().unwrap_or_default().to_owned(),
    };
    if told.is_empty() { "buildah did not say why".to_owned() } else { told }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_told_without_what_stands_around_it() {
        let said = "Getting image source signatures\nError: copying system image: no such host\n";
        assert_eq!(failed("pull", said).to_string(), "pull: copying system image: no such host");
        assert_eq!(failed("pull", "").to_string(), "pull: buildah did not say why");
        assert!(matches!(failed("pull", "Error: write x: no space left on device"), BackendError::NoSpace(_)));
        assert!(is_passing("Error: sealing memfd copy: Device or resource busy") && !is_passing("exit status 1"));
        assert!(is_missing("Error: importing settings: localhost/p:zzz: image not known"));
    }
}
