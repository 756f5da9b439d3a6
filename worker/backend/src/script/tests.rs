use std::{fs, io::Write as _, path::Path, process::Stdio};

use super::*;

fn script(commands: &[(u32, &str)]) -> Script {
    let commands = commands.iter().map(|(line, text)| (*line, (*text).to_owned())).collect();
    Script { commands, ..Script::default() }
}

/// What the machine's bash makes of a script, with the machine's `rm` for the toolbox's.
#[expect(clippy::disallowed_methods, reason = "a test of what bash does with the text")]
fn bash(text: &[u8]) -> (i32, String) {
    let text = String::from_utf8_lossy(text).replace(&format!("{TOOLBOX_BIN}/"), "");
    let mut child = std::process::Command::new("bash")
        .args(["-ec", "eval \"$(cat)\""])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash is installed");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("the script is taken");
    let output = child.wait_with_output().expect("bash ends");
    (output.status.code().expect("an exit code"), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn commands_share_a_shell_and_the_first_failure_ends_it() {
    let commands = [
        (4, "cd /tmp; A=\"it's\""),
        (5, "f() { printf '%s %s\n' \"$PWD\" \"$A\"; }"),
        (6, "f"),
        (7, "false"),
        (8, "echo no"),
    ];
    let text = compose(&[], &script(&commands), &Secrets::none(), &Marker::new("tok")).expect("a script");
    let (code, output) = bash(&text);
    let mark = |line: u32| format!("\x1etok:{line}\x1e\n");
    assert_eq!(output, format!("{}{}{}/tmp it's\n{}", mark(4), mark(5), mark(6), mark(7)));
    assert_eq!(code, 1);
}

#[test]
fn commands_that_are_one_only_together_are_run_together() {
    for (first, second, said) in [
        ("if true; then", "echo second; fi", "second\n"),
        ("cat <<END\nfirst", "END", "first\n"),
        ("printf '%s\n' 'open", "closed'", "open\nclosed\n"),
    ] {
        let commands = [(1, "A=1"), (3, first), (4, second), (5, "echo $A ${__slipway_text-unset}")];
        let text = compose(&[], &script(&commands), &Secrets::none(), &Marker::new("t")).expect("a script");
        let expected = format!("\x1et:1\x1e\n\x1et:3\x1e\n{said}\x1et:5\x1e\n1 unset\n");
        assert_eq!(bash(&text), (0, expected), "{first}");
    }
}

#[test]
fn a_command_that_is_never_complete_fails_at_its_line() {
    for broken in ["echo 'open", "if true; then", "case x in"] {
        let text =
            compose(&[], &script(&[(1, "true"), (2, broken), (3, "echo third")]), &Secrets::none(), &Marker::new("t"));
        let (code, output) = bash(&text.expect("a script"));
        assert_ne!(code, 0, "{broken}");
        assert!(output.ends_with("\x1et:2\x1e\n"), "{broken}: {output}");
    }
}

#[test]
fn output_of_a_redirected_shell_keeps_its_markers() {
    let text = compose(&[], &script(&[(1, "exec >/dev/null"), (2, "exit 3")]), &Secrets::none(), &Marker::new("t"))
        .expect("a script");
    assert_eq!(bash(&text), (3, "\x1et:1\x1e\n\x1et:2\x1e\n".to_owned()));
}

#[test]
fn variables_are_exported_and_bad_ones_refused() {
    let mut with = script(&[(1, "env | grep ^WORD")]);
    with.variables.insert("WORD".to_owned(), "it's $HOME".to_owned());
    let text = compose(&[], &with, &Secrets::none(), &Marker::new("t")).expect("a script");
    assert_eq!(bash(&text).1, "\x1et:1\x1e\nWORD=it's $HOME\n");
    for name in ["", "1A", "A-B", "A;rm"] {
        let mut with = script(&[]);
        with.variables.insert(name.to_owned(), String::new());
        assert!(
            matches!(compose(&[], &with, &Secrets::none(), &Marker::new("t")), Err(BackendError::Refused(_))),
            "{name}"
        );
    }
}

#[test]
fn deletions_remove_files_and_what_they_empty() {
    let root = tempfile::tempdir().expect("a directory");
    let at = |name: &str| root.path().join(name);
    for directory in ["a/b/c", "keep", "outside", "now-a-dir"] {
        fs::create_dir_all(at(directory)).expect("a directory");
    }
    for file in ["a/b/c/one", "keep/one", "keep/two", "outside/one", "now-a-dir/one", "it's", ".hidden"] {
        fs::write(at(file), "x").expect("a file");
    }
    std::os::unix::fs::symlink("outside", at("link")).expect("a link");
    let paths = ["a/b/c/one", "keep/one", "link/one", "now-a-dir", "it's", ".hidden", "never", "it's/x"];
    let paths = paths.iter().map(|path| TreePath::new(path).expect("a path")).collect();
    let deletion = Deletion { root: root.path().to_str().expect("utf-8").to_owned(), paths };
    let missing = Deletion { root: "/no/such/directory".to_owned(), ..deletion.clone() };
    let text =
        compose(&[missing, deletion], &script(&[(9, "pwd")]), &Secrets::none(), &Marker::new("t")).expect("a script");
    let (code, output) = bash(&text);
    assert_eq!(code, 0);
    assert!(output.starts_with("\x1et:0\x1e\n\x1et:9\x1e\n"), "{output}");
    let left = |name: &str| Path::new(&at(name)).symlink_metadata().is_ok();
    assert!(left("keep/two") && left("outside/one") && left("link") && left("now-a-dir/one"));
    assert!(!left("a") && !left("keep/one") && !left("it's") && !left(".hidden"));
    assert!(root.path().exists());
}

#[test]
fn the_bootstrap_survives_word_splitting() {
    assert_eq!(BOOTSTRAP.split_whitespace().collect::<Vec<_>>().join(" "), BOOTSTRAP);
    assert!(!BOOTSTRAP.contains(['*', '?', '[']));
    assert!(BOOTSTRAP.contains(TOOLBOX_BIN));
}

#[test]
fn secrets_are_written_for_root_alone_and_are_no_variables() {
    use std::os::unix::fs::MetadataExt as _;

    let home = tempfile::tempdir().expect("a directory");
    let mut secrets = Secrets::none();
    secrets.add("it's", b"two\nlines\0".to_vec());
    let commands = [(1, "set | grep -c dHdvCmxpbmVzAA || true"), (2, "umask")];
    let text = compose(&[], &script(&commands), &secrets, &Marker::new("t")).expect("a script");
    let text = String::from_utf8(text).expect("text").replace(SECRETS, &home.path().display().to_string());
    let (code, output) = bash(text.as_bytes());
    assert_eq!((code, output.as_str()), (0, "\x1et:1\x1e\n0\n\x1et:2\x1e\n0022\n"));
    let file = home.path().join("it's");
    assert_eq!(fs::metadata(&file).expect("a file").mode() & 0o777, 0o400);
    assert_eq!(fs::read(file).expect("a file"), b"two\nlines\0");
}

#[test]
fn an_end_is_told_by_what_ran() {
    assert!(ended(0, None, Vec::new()).is_ok());
    assert!(matches!(ended(127, None, Vec::new()), Err(BackendError::Engine(_))));
    assert!(matches!(ended(1, Some(0), Vec::new()), Err(BackendError::Refused(_))));
    assert!(matches!(ended(2, Some(7), Vec::new()), Err(BackendError::Command { exit: 2, line: Some(7), .. })));
}
