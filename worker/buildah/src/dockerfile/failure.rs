//! Why a Dockerfile could not be built, and on which of its lines.

use slipway_backend::{
    BackendError,
    dockerfile::{at, refused},
    instructions::{instructions, squeezed},
    output::shortened,
};

use super::follow::Ended;
use crate::error::{failed, is_passing};

/// What the last complaint begins with when an instruction failed.
const AT_STEP: &str = "Error: building at STEP \"";
/// What stands between the instruction and the reason.
const REASON: &str = "\": ";
/// What stands before the exit code of a failed command.
const EXIT: &str = "exit status ";
/// What tells of the network or the machine, not of the Dockerfile: another try may help.
const PASSING: [&str; 8] = [
    "dial tcp",
    "i/o timeout",
    "TLS handshake",
    "connection reset",
    "connection refused",
    "unexpected EOF",
    "toomanyrequests",
    "no space left on device",
];

/// What became of a failed build of a text as an error.
pub(super) fn explain(text: &str, ended: Ended) -> BackendError {
    explain_by(ended, |step| {
        let all = instructions(text);
        let same = |found: &str| squeezed(found) == squeezed(step) || first_word_is_all(found, step);
        all.iter().find(|(_, found)| same(found)).map(|(line, _)| *line)
    })
}

/// The same of a build of one instruction, as it is written on a line.
pub(super) fn explain_one(line: u32, text: &str, ended: Ended) -> BackendError {
    match explain_by(ended, |_| None) {
        BackendError::Command { exit, tail, .. } => {
            BackendError::Command { command: Some(shortened(text)), exit, line: Some(line), tail }
        }
        other => at(line, text, other),
    }
}

/// `line` tells where an instruction stands, when it can.
fn explain_by(ended: Ended, line: impl FnOnce(&str) -> Option<u32>) -> BackendError {
    let Ended { complaint, tail, status } = ended;
    let doing = "build a Dockerfile";
    // What it calls the instruction may have several lines.
    let starts = complaint.rmatch_indices(AT_STEP).map(|(start, _)| start);
    let mut at_lines = starts.filter(|start| *start == 0 || complaint[..*start].ends_with('\n'));
    let found = at_lines.next().and_then(|start| complaint[start + AT_STEP.len()..].split_once(REASON));
    let is_of_machine = is_passing(&complaint) || PASSING.iter().any(|part| complaint.contains(part));
    let Some((step, why)) = found else {
        // It was killed, or did not come as far as the first instruction.
        let said = if complaint.trim().is_empty() { format!("Error: it ended with {status}") } else { complaint };
        return failed(doing, &said);
    };
    let line = line(step);
    if let Some(exit) = why.rsplit_once(EXIT).and_then(|(_, code)| code.trim().parse().ok()) {
        return BackendError::Command { command: Some(shortened(step)), exit, line, tail };
    }
    if is_of_machine {
        return failed(doing, &complaint);
    }
    refused(line, told(why))
}

/// Whether the program names an instruction by its first word alone, as it does with what it does not know.
fn first_word_is_all(found: &str, step: &str) -> bool {
    let mut words = step.split_whitespace();
    let first = words.next().unwrap_or_default();
    words.next().is_none() && found.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case(first))
}

/// The reason, and what to do about it where the program does not say.
fn told(why: &str) -> String {
    if let Some((_, rest)) = why.split_once("no secret with id ")
        && let Some((id, _)) = rest.split_once(" found")
    {
        return format!("the image has no secret `{id}`: list it under `secrets` in werf.yaml");
    }
    if let Some((_, rest)) = why.split_once("no ssh with id ")
        && let Some((id, _)) = rest.split_once(" found")
    {
        return format!("the image has no ssh agent `{id}`: `ssh: {id}` in werf.yaml gives it one");
    }
    if why.contains("should have syntax id=id") {
        return "this buildah reads `required` of a mount only with a value: write `required=true`".to_owned();
    }
    if why.contains("Unknown instruction") {
        return "this buildah takes a line of a here-document for an instruction: write it without one, or build with \
                --backend docker or native"
            .to_owned();
    }
    if (why.contains("COPY") || why.contains("ADD")) && why.contains("only supports the") {
        return format!(
            "this buildah knows not all of its flags ({}): build with --backend docker or native",
            why.trim()
        );
    }
    if why.contains("only supports the --mount flag") {
        return "this buildah knows no other flag of RUN than --mount: build with --backend docker or native"
            .to_owned();
    }
    why.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    const TEXT: &str = "FROM alpine\n\nRUN one && \\\n  two\nCOPY none /\nRUN cat <<X\nhi\nX\n";

    fn explained(complaint: &str) -> BackendError {
        let status = std::process::ExitStatus::from_raw(256);
        explain(TEXT, Ended { status, complaint: complaint.to_owned(), tail: vec!["last".to_owned()] })
    }

    #[test]
    fn failures_are_told_apart() {
        let command =
            explained("subprocess exited with status 4\nError: building at STEP \"RUN one &&   two\": exit status 4\n");
        assert!(matches!(command, BackendError::Command { exit: 4, line: Some(3), .. }), "{command:?}");
        let by_runtime =
            explained("Error: building at STEP \"RUN one &&   two\": while running runtime: exit status 5\n");
        assert!(matches!(by_runtime, BackendError::Command { exit: 5, .. }), "{by_runtime:?}");
        for (complaint, expected) in [
            (
                "Error: building at STEP \"COPY none /\": copier: stat: \"/none\": no such file",
                "(line 5): copier: stat",
            ),
            ("Error: building at STEP \"HI \": Build error: Unknown instruction: \"HI\" &x", "(line 7): this buildah"),
            ("Error: building at STEP \"RUN x\": ssh required but no ssh with id own found", "`ssh: own` in werf.yaml"),
            ("Error: building at STEP \"RUN x\": secret required but no secret with id nope found", "no secret `nope`"),
        ] {
            let refused = explained(complaint);
            assert!(!refused.is_retryable() && refused.to_string().contains(expected), "{refused:?}");
        }
        for passing in ["Error: building at STEP \"RUN x\": dial tcp: lookup x", "", "Error: sealing memfd copy"] {
            assert!(explained(passing).is_retryable(), "{passing}");
        }
    }
}
