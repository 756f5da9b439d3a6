use serde_json::json;

use super::*;

fn base() -> ImageConfig {
    let document = json!({
        "architecture": "amd64", "os": "linux", "author": "before", "history": [{"created_by": "x"}],
        "config": {
            "User": "1", "WorkingDir": "/old", "Cmd": ["old"], "Entrypoint": ["/entry"], "StopSignal": "SIGTERM",
            "Env": ["PATH=/usr/bin", "APP_A=1", "APP_B=2", "KEEP=3", "REMOVE=4"],
            "Labels": {"werf": "p", "werf-x": "1", "team": "a", "old": "b"},
            "Volumes": {"/data": {}, "/cache/a": {}}, "ExposedPorts": {"80/tcp": {}}, "OnBuild": ["RUN x"]
        },
        "rootfs": {"type": "layers", "diff_ids": []}
    });
    ImageConfig::parse(document.to_string().as_bytes()).expect("a config")
}

fn own() -> BTreeMap<String, String> {
    BTreeMap::from([("werf".to_owned(), "p".to_owned())])
}

fn removals(texts: &[&str]) -> Vec<Removal> {
    texts.iter().map(|text| Removal::new(text).expect("a removal")).collect()
}

fn words(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn nothing_given_changes_nothing_but_onbuild() {
    let mut expected = base();
    expected.config.other.remove("OnBuild");
    assert_eq!(apply(&base(), &Respec::default(), &own()), expected);
}

#[test]
fn what_is_given_is_set_over_what_is_taken_away() {
    let respec = Respec {
        author: Some("after".to_owned()),
        clear_history: true,
        labels: pairs(&[("new", "1"), ("werf", "fake"), ("old", "again")]),
        env: pairs(&[("PATH", "${PATH}:/add"), ("NEW", "$KEEP-${REMOVE}-${NONE}-\\$x-$-\\n-${a b}")]),
        volumes: vec!["/new".to_owned()],
        expose: words(&["99", "53/udp"]),
        user: Some("2".to_owned()),
        workdir: Some("/w".to_owned()),
        stop_signal: Some("SIGINT".to_owned()),
        remove_labels: removals(&["/^werf.*/", "old"]),
        remove_env: removals(&["/^APP_.*/", "REMOVE"]),
        remove_volumes: removals(&["/data", "//cache/.+/"]),
        clear_user: true,
        ..Respec::default()
    };
    let document = apply(&base(), &respec, &own());
    assert_eq!(document.other["author"], "after");
    assert!(!document.other.contains_key("history"));
    let run = document.config;
    assert_eq!(run.env, words(&["PATH=/usr/bin:/add", "KEEP=3", "NEW=3-4--$x-$-\\n-${a b}"]));
    assert_eq!(run.labels, Some(pairs(&[("werf", "p"), ("team", "a"), ("new", "1"), ("old", "again")])));
    assert_eq!(run.volumes.expect("volumes").keys().collect::<Vec<_>>(), ["/new"]);
    assert_eq!(run.exposed_ports.expect("ports").keys().collect::<Vec<_>>(), ["53/udp", "99/tcp"]);
    assert_eq!((run.user.as_str(), run.working_dir.as_str()), ("2", "/w"));
    assert_eq!(run.stop_signal.as_deref(), Some("SIGINT"));
    assert_eq!((run.cmd, run.entrypoint), (words(&["old"]), words(&["/entry"])));
}

#[test]
fn what_is_cleared_is_absent() {
    let respec = Respec {
        remove_env: removals(&["/.*/"]),
        remove_volumes: removals(&["/.*/"]),
        clear_cmd: true,
        clear_entrypoint: true,
        clear_user: true,
        clear_workdir: true,
        ..Respec::default()
    };
    let run = apply(&base(), &respec, &own()).config;
    assert_eq!((run.env, run.volumes, run.cmd, run.entrypoint), (None, None, None, None));
    assert_eq!((run.user.as_str(), run.working_dir.as_str()), ("", ""));
}

#[test]
fn commands_and_entrypoints() {
    for (cmd, entrypoint, stored_cmd, stored_entrypoint) in [
        (words(&["c"]), None, words(&["c"]), words(&["/entry"])),
        (None, words(&["e"]), None, words(&["e"])),
        (words(&["c"]), words(&["e"]), words(&["c"]), words(&["e"])),
        (None, words(&[]), None, None),
    ] {
        let respec = Respec { cmd, entrypoint, ..Respec::default() };
        let run = apply(&base(), &respec, &own()).config;
        assert_eq!((run.cmd, run.entrypoint), (stored_cmd, stored_entrypoint), "{respec:?}");
    }
}

#[test]
fn removals_are_names_or_whole_expressions() {
    for (text, name, taken) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a.*", "ab", false),
        ("/a.*/", "ab", true),
        ("/a|b/", "b", true),
        ("/a|b/", "bc", false),
        ("/^a$/", "a", true),
        ("//", "//", true),
        ("/data", "/data", true),
        ("/data/", "/data/", true),
    ] {
        assert_eq!(Removal::new(text).expect("a removal").takes(name), taken, "{text} {name}");
    }
    assert!(Removal::new("/(/").expect_err("malformed").contains("unclosed group"));
}
