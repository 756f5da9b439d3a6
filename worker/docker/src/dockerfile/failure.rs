//! Why a Dockerfile could not be built, and on which of its lines.

use bollard::errors::Error;
use slipway_backend::{
    BackendError,
    dockerfile::refused,
    instructions::{instructions, squeezed},
    output::shortened,
};

use super::progress::Ended;
use crate::error::failed;

/// What engines write before the exit code of a failed command.
const EXIT_CODE: [&str; 3] = ["returned a non-zero code: ", "exit code: ", "exit status "];
/// What tells of the network or the engine, not of the Dockerfile: another try may help.
const PASSING: [&str; 11] = [
    "dial tcp",
    "i/o timeout",
    "TLS handshake",
    "connection reset",
    "connection refused",
    "unexpected EOF",
    "toomanyrequests",
    "Client.Timeout",
    "temporarily unavailable",
    "no active session",
    // A layer of the engine's cache was removed while it was being used.
    "unable to find image \"sha256:",
];

/// The engine's error as ours, with the Dockerfile's line when it is known.
pub(super) fn explain(error: Error, text: &str, ended: Ended) -> BackendError {
    let doing = "build a Dockerfile";
    let message = match &error {
        Error::DockerStreamError { error } => error.clone(),
        Error::DockerResponseServerError { status_code: 400, message } => message.clone(),
        // The classic builder reports a malformed Dockerfile as an error of its own.
        Error::DockerResponseServerError { message, .. } if is_about_the_text(message) => message.clone(),
        _ => return failed(doing, error),
    };
    if message.contains("no space left on device") || PASSING.iter().any(|part| message.contains(part)) {
        return failed(doing, error);
    }
    let line = line_in(&message).or_else(|| line_of(text, &ended));
    match exit_code(&message) {
        Some(exit) => {
            let found = instructions(text).into_iter().find(|(number, _)| Some(*number) == line);
            let command = found.map(|(_, instruction)| shortened(&instruction));
            BackendError::Command { command, exit, line, tail: ended.tail }
        }
        None => refused(line, missing_secret(&message).unwrap_or_else(|| message.trim().to_owned())),
    }
}

/// What to do about a required secret that nobody gave: BuildKit says only that it is not there.
fn missing_secret(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("secret ")?;
    let (id, _) = rest.split_once(" not found")?;
    let is_id = !id.is_empty() && !id.contains(char::is_whitespace);
    is_id.then(|| format!("the image has no secret `{id}`: list it under `secrets` in werf.yaml"))
}

fn is_about_the_text(message: &str) -> bool {
    message.to_ascii_lowercase().contains("dockerfile")
}

fn exit_code(message: &str) -> Option<i64> {
    EXIT_CODE.iter().find_map(|words| {
        let rest = &message[message.rfind(words)? + words.len()..];
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    })
}

/// The line that the engine itself names.
fn line_in(message: &str) -> Option<u32> {
    let lower = message.to_ascii_lowercase();
    let rest = &lower[lower.find("parse error")?..];
    let rest = &rest[rest.find("line ")? + "line ".len()..];
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The line of the step that was under way.
fn line_of(text: &str, ended: &Ended) -> Option<u32> {
    let all = instructions(text);
    if let Some(name) = &ended.failed {
        // `[build 2/5] RUN make`: the instruction as the Dockerfile has it, blanks aside.
        let wanted = name.rsplit_once("] ").map_or(name.as_str(), |(_, instruction)| instruction);
        let wanted = squeezed(wanted);
        return all.iter().find(|(_, found)| squeezed(found) == wanted).map(|(line, _)| *line);
    }
    all.get(ended.step?.checked_sub(1)?).map(|(line, _)| *line)
}

/// The first mount of a secret or of an ssh agent: its line and what it is.
pub(super) fn secret_mount(text: &str) -> Option<(u32, &'static str)> {
    instructions(text).into_iter().find_map(|(line, instruction)| {
        let mut words = instruction.split_whitespace();
        if !words.next()?.eq_ignore_ascii_case("run") {
            return None;
        }
        let mut fields = words
            .take_while(|word| word.starts_with("--"))
            .filter_map(|word| word.strip_prefix("--mount="))
            .flat_map(|mount| mount.split(','))
            .map(|field| field.trim_matches('"').to_ascii_lowercase());
        fields.find_map(|field| match field.as_str() {
            "type=secret" => Some((line, "secret")),
            "type=ssh" => Some((line, "ssh")),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# about\nARG V=1\nFROM a:$V\n\nRUN one && \\\n  # inside\n  two\nCOPY . .\n";

    #[test]
    fn mounts_of_secrets_are_seen() {
        for (run, found) in [
            ("RUN --mount=type=secret,id=x cat", Some((2, "secret"))),
            ("run --network=none --mount=id=x,TYPE=ssh \\\n  git", Some((2, "ssh"))),
            ("RUN --mount=type=cache,target=/c make", None),
            ("RUN echo --mount=type=secret", None),
            ("# RUN --mount=type=secret", None),
        ] {
            assert_eq!(secret_mount(&format!("FROM a\n{run}\n")), found, "{run}");
        }
    }

    #[test]
    fn failures_are_told_apart() {
        let stream = |text: &str| Error::DockerStreamError { error: text.to_owned() };
        let at = |step| Ended { step: Some(step), ..Ended::default() };
        let command = explain(stream("The command '/bin/sh -c x' returned a non-zero code: 12"), TEXT, at(3));
        assert!(matches!(command, BackendError::Command { exit: 12, line: Some(5), .. }), "{command:?}");
        let buildkit = Ended { failed: Some("[2/3] RUN one &&   two".to_owned()), ..Ended::default() };
        let command = explain(stream("executor failed running [/bin/sh -c one && two]: exit code: 3"), TEXT, buildkit);
        assert!(matches!(command, BackendError::Command { exit: 3, line: Some(5), .. }), "{command:?}");
        let copy = explain(stream("COPY failed: file not found in build context"), TEXT, at(4));
        assert!(matches!(&copy, BackendError::Instruction { line: 8, .. }), "{copy:?}");
        let network = explain(stream("Get https://x: dial tcp: lookup x"), TEXT, at(2));
        assert!(network.is_retryable(), "{network:?}");
        let secret = explain(stream("failed to solve: secret npm-token not found: not found"), TEXT, at(3));
        assert!(!secret.is_retryable(), "{secret:?}");
        assert!(secret.to_string().contains("(line 5): the image has no secret `npm-token`"), "{secret:?}");
        let parse = "dockerfile parse error line 7: unknown instruction: FOO".to_owned();
        let parse =
            explain(Error::DockerResponseServerError { status_code: 400, message: parse }, TEXT, Ended::default());
        assert!(matches!(&parse, BackendError::Instruction { line: 7, .. }), "{parse:?}");
    }
}
