//! Tables of bases and changes.

use super::*;

type Words = Option<&'static [&'static str]>;

fn words(list: Words) -> Option<Vec<String>> {
    list.map(|list| list.iter().map(|&word| word.to_owned()).collect())
}

fn list(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Columns: base `Cmd`, base `Entrypoint`, given `CMD`, given `ENTRYPOINT`, stored `Cmd`, stored `Entrypoint`.
const COMMANDS: &[(Words, Words, Words, Words, Words, Words)] = &[
    // the base sets neither
    (None, None, None, None, Some(&[]), Some(&[""])),
    (None, None, Some(&["c"]), None, Some(&["c"]), Some(&[""])),
    (None, None, None, Some(&["e"]), Some(&[]), Some(&["e"])),
    (None, None, Some(&["c"]), Some(&["e"]), Some(&["c"]), Some(&["e"])),
    // the base was stored by us, or sets empty values
    (Some(&[]), Some(&[""]), None, None, Some(&[]), Some(&[""])),
    (Some(&[]), Some(&[""]), Some(&["c"]), None, Some(&["c"]), Some(&[""])),
    (Some(&[]), Some(&[""]), None, Some(&["e"]), Some(&[]), Some(&["e"])),
    (Some(&[]), Some(&[""]), Some(&["c"]), Some(&["e"]), Some(&["c"]), Some(&["e"])),
    (Some(&[]), None, None, None, Some(&[]), Some(&[""])),
    (None, Some(&[]), None, None, Some(&[]), Some(&[""])),
    (None, Some(&[""]), None, None, Some(&[]), Some(&[""])),
    // the base sets CMD alone
    (Some(&["b"]), None, None, None, Some(&["b"]), None),
    (Some(&["b"]), Some(&[]), None, None, Some(&["b"]), Some(&[])),
    (Some(&["b"]), Some(&[""]), None, None, Some(&["b"]), Some(&[""])),
    (Some(&["b"]), None, Some(&["c"]), None, Some(&["c"]), Some(&[""])),
    (Some(&["b"]), None, None, Some(&["e"]), Some(&[]), Some(&["e"])),
    (Some(&["b"]), None, Some(&["c"]), Some(&["e"]), Some(&["c"]), Some(&["e"])),
    // the base sets ENTRYPOINT alone
    (None, Some(&["x"]), None, None, None, Some(&["x"])),
    (Some(&[]), Some(&["x"]), None, None, Some(&[]), Some(&["x"])),
    (None, Some(&["x"]), Some(&["c"]), None, Some(&["c"]), Some(&[""])),
    (None, Some(&["x"]), None, Some(&["e"]), Some(&[]), Some(&["e"])),
    (None, Some(&["x"]), Some(&["c"]), Some(&["e"]), Some(&["c"]), Some(&["e"])),
    (None, Some(&["", "x"]), None, None, None, Some(&["", "x"])),
    // the base sets both
    (Some(&["b"]), Some(&["x"]), None, None, Some(&["b"]), Some(&["x"])),
    (Some(&["b"]), Some(&["x"]), Some(&["c"]), None, Some(&["c"]), Some(&[""])),
    (Some(&["b"]), Some(&["x"]), None, Some(&["e"]), Some(&[]), Some(&["e"])),
    (Some(&["b"]), Some(&["x"]), Some(&["c"]), Some(&["e"]), Some(&["c"]), Some(&["e"])),
    // empty values are given
    (Some(&["b"]), Some(&["x"]), Some(&[]), None, Some(&[]), Some(&[""])),
    (Some(&["b"]), Some(&["x"]), None, Some(&[]), Some(&[]), Some(&[""])),
    (Some(&["b"]), Some(&["x"]), Some(&["c"]), Some(&[]), Some(&["c"]), Some(&[""])),
    (Some(&["b"]), Some(&["x"]), Some(&[]), Some(&["e"]), Some(&[]), Some(&["e"])),
];

#[test]
fn cmd_and_entrypoint() {
    for row in COMMANDS {
        let &(cmd, entrypoint, given_cmd, given_entrypoint, stored_cmd, stored_entrypoint) = row;
        let base = RunConfig { cmd: words(cmd), entrypoint: words(entrypoint), ..RunConfig::default() };
        let change =
            ConfigChange { cmd: words(given_cmd), entrypoint: words(given_entrypoint), ..ConfigChange::default() };
        let stored = apply(&base, &change);
        assert_eq!(
            (stored.cmd.clone(), stored.entrypoint.clone()),
            (words(stored_cmd), words(stored_entrypoint)),
            "{row:?}"
        );
        let again = apply(&stored, &ConfigChange::default());
        assert_eq!((again.cmd, again.entrypoint), (stored.cmd, stored.entrypoint), "a stage above changes {row:?}");
    }
}

#[test]
fn variables_keep_the_bases_order() {
    type Pairs = &'static [(&'static str, &'static str)];
    let cases: &[(Words, Pairs, Words)] = &[
        (None, &[], None),
        (Some(&[]), &[], Some(&[])),
        (None, &[("B", "2"), ("A", "1")], Some(&["A=1", "B=2"])),
        (Some(&["Z=1", "A=2"]), &[], Some(&["Z=1", "A=2"])),
        (Some(&["Z=1", "A=2"]), &[("A", "x"), ("M", "y")], Some(&["Z=1", "A=x", "M=y"])),
        (Some(&["Z=1", "A=2", "Z=3"]), &[("Z", "=")], Some(&["Z==", "A=2"])),
        (Some(&["A", "a=1"]), &[("A", "")], Some(&["A=", "a=1"])),
    ];
    for (base, change, stored) in cases {
        let config = RunConfig { env: words(*base), ..RunConfig::default() };
        let change = ConfigChange { env: map(change), ..ConfigChange::default() };
        assert_eq!(apply(&config, &change).env, words(*stored), "{base:?}");
    }
}

#[test]
fn labels_volumes_and_ports_are_united() {
    let keys = |keys: &[&str]| Some(keys.iter().map(|&key| (key.to_owned(), serde_json::json!({}))).collect());
    let base = RunConfig {
        labels: Some(map(&[("a", "1"), ("b", "2")])),
        volumes: keys(&["/data"]),
        exposed_ports: keys(&["80/tcp"]),
        ..RunConfig::default()
    };
    let change = ConfigChange {
        labels: map(&[("b", "3"), ("c", "4")]),
        volumes: list(&["/logs", "/data"]),
        expose: list(&["80", "53/UDP", "8000-8002", "9-8", "$port"]),
        ..ConfigChange::default()
    };
    let stored = apply(&base, &change);
    assert_eq!(stored.labels, Some(map(&[("a", "1"), ("b", "3"), ("c", "4")])));
    assert_eq!(stored.volumes, keys(&["/data", "/logs"]));
    let ports = ["$port/tcp", "53/udp", "80/tcp", "8000/tcp", "8001/tcp", "8002/tcp", "9-8/tcp"];
    assert_eq!(stored.exposed_ports, keys(&ports));
    let nothing = apply(&RunConfig::default(), &ConfigChange::default());
    assert_eq!((nothing.labels, nothing.volumes, nothing.exposed_ports), (None, None, None));
}

#[test]
fn the_rest_is_the_bases_unless_set() {
    let check = Healthcheck { test: list(&["NONE"]), ..Healthcheck::default() };
    let mut base = RunConfig { user: "app".to_owned(), stop_signal: Some("9".to_owned()), ..RunConfig::default() };
    base.other.insert("OnBuild".to_owned(), serde_json::json!(["RUN x"]));
    base.other.insert("Shell".to_owned(), serde_json::json!(["bash"]));
    let kept = apply(&base, &ConfigChange::default());
    assert_eq!((kept.user.as_str(), kept.working_dir.as_str()), ("app", "/"));
    assert_eq!(kept.stop_signal.as_deref(), Some("9"));
    assert_eq!(kept.other.keys().collect::<Vec<_>>(), ["Shell"], "ONBUILD is not inherited");

    base.working_dir = "/base".to_owned();
    base.healthcheck = Some(check.clone());
    let kept = apply(&base, &ConfigChange::default());
    assert_eq!((kept.working_dir.as_str(), kept.healthcheck.as_ref()), ("/base", Some(&check)));

    let change = ConfigChange {
        user: Some(String::new()),
        workdir: Some("/new".to_owned()),
        healthcheck: Some(Healthcheck { retries: 3, ..check }),
        ..ConfigChange::default()
    };
    let set = apply(&base, &change);
    assert_eq!((set.user.as_str(), set.working_dir.as_str()), ("", "/new"));
    assert_eq!(set.healthcheck.map(|check| check.retries), Some(3));
}
