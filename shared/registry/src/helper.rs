//! Credential helpers: programs `docker-credential-NAME` that keep the secret of one server, and are asked for it.

use std::{ffi::OsStr, process::Stdio, time::Duration};

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{answer::one_line, credentials::Credential};

/// How long a helper may take: some ask the network.
const TIME_LIMIT: Duration = Duration::from_secs(60);
const OUTPUT_LIMIT: u64 = 64 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks the helper `name` for the credential of `server`; `None` when it has none.
///
/// # Errors
/// When it cannot be run, fails or talks nonsense.
pub(crate) async fn ask(name: &str, server: &str) -> Result<Option<Credential>, String> {
    ask_program(program(name)?.as_ref(), server).await
}

/// Has the helper `name` keep the credential of `server`.
///
/// # Errors
/// When it cannot be run, or fails.
pub(crate) async fn store(name: &str, server: &str, user: &str, secret: &str) -> Result<(), String> {
    let told = serde_json::json!({ "ServerURL": server, "Username": user, "Secret": secret }).to_string();
    told_program(&program(name)?, ("store", server), &told).await
}

/// Has the helper `name` forget the credential of `server`.
///
/// # Errors
/// When it cannot be run, or fails.
pub(crate) async fn erase(name: &str, server: &str) -> Result<(), String> {
    told_program(&program(name)?, ("erase", server), server).await
}

fn program(name: &str) -> Result<String, String> {
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        return Err(format!("`{}` is no name of a credential helper", name.escape_debug()));
    }
    Ok(format!("docker-credential-{name}"))
}

async fn told_program(program: &str, (verb, server): (&str, &str), told: &str) -> Result<(), String> {
    let (success, output) = finished(program.as_ref(), verb, told).await?;
    if success { Ok(()) } else { refused(program, server, &output).map(drop) }
}

async fn ask_program(program: &OsStr, server: &str) -> Result<Option<Credential>, String> {
    let shown = program.to_string_lossy();
    let (success, output) = finished(program, "get", server).await?;
    if !success {
        return refused(&shown, server, &output);
    }
    let answer: Answer = serde_json::from_slice(&output)
        .map_err(|_| format!("credential helper {shown} answered for {server} in a form that is no credential"))?;
    Ok(match (answer.username.as_str(), answer.secret) {
        (_, secret) if secret.is_empty() => None,
        ("<token>", secret) => Some(Credential::Identity(secret)),
        (_, secret) => Some(Credential::Password { user: answer.username, password: secret }),
    })
}

async fn finished(program: &OsStr, verb: &str, told: &str) -> Result<(bool, Vec<u8>), String> {
    let shown = program.to_string_lossy();
    tokio::time::timeout(TIME_LIMIT, run(program, verb, told))
        .await
        .map_err(|_| format!("credential helper {shown} did not answer within {} s", TIME_LIMIT.as_secs()))?
        .map_err(|error| {
            format!(
                "credential helper {shown} cannot be run ({error}); install it, or take it out of the Docker config"
            )
        })
}

fn refused(shown: &str, server: &str, output: &[u8]) -> Result<Option<Credential>, String> {
    let text = one_line(&String::from_utf8_lossy(output));
    if text.contains("credentials not found") {
        return Ok(None);
    }
    // A helper that fails says why in words. Anything else might be a secret.
    let why = if text.is_empty() || text.contains('{') { String::new() } else { format!(": {text}") };
    Err(format!("credential helper {shown} failed for {server}{why}"))
}

async fn run(program: &OsStr, verb: &str, told: &str) -> std::io::Result<(bool, Vec<u8>)> {
    let mut child = slipway_process::child::async_command(program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A helper may answer without reading; what counts is what it says.
        let _ = input.write_all(told.as_bytes()).await;
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(OUTPUT_LIMIT).read_to_end(&mut output).await?;
    }
    Ok((child.wait().await?.success(), output))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn with_script(script: &str) -> Result<Option<Credential>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker-credential-test");
        // Written by a child: a file that this process has open for writing may be inherited by another test's child,
        // and cannot be run then.
        let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod 755 "$0""#;
        let written =
            slipway_process::child::command("sh").args(["-c", write]).arg(&path).arg(script).status().unwrap();
        assert!(written.success());
        ask_program(path.as_os_str(), "r.example").await
    }

    #[tokio::test]
    async fn answers_are_understood() {
        let echo = r#"read server; printf '{"ServerURL":"%s","Username":"%s","Secret":"p"}' "$server" "$1-$server""#;
        let expected = Credential::Password { user: "get-r.example".to_owned(), password: "p".to_owned() };
        assert_eq!(with_script(echo).await, Ok(Some(expected)));
        let token = r#"echo '{"Username":"<token>","Secret":"t"}'"#;
        assert_eq!(with_script(token).await, Ok(Some(Credential::Identity("t".to_owned()))));
        let none = "echo 'credentials not found in native keychain'; exit 1";
        assert_eq!(with_script(none).await, Ok(None));
        let error = with_script("echo 'the keychain is locked'; exit 1").await.unwrap_err();
        assert!(error.contains("docker-credential-test") && error.contains("the keychain is locked"), "{error}");
        let error = with_script(r#"echo '{"Secret":"hunter2"}'; exit 1"#).await.unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        let error = with_script("echo hunter2").await.unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[tokio::test]
    async fn names_are_no_paths() {
        for name in ["../evil", "a b", "a/b", "a;b"] {
            assert!(ask(name, "r.example").await.is_err(), "{name}");
        }
    }
}
