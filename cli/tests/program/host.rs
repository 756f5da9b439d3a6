//! Commands about the host.

use super::harness::Sandbox;

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Whatever works here: the exit code is that of the backends, and what does not work says why.
#[test]
fn a_check_tells_what_works_and_what_mends_the_rest() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(&["host", "check", "--output", "json"]);
    let checked = json(&run.out);
    let findings = checked["findings"].as_array().expect("findings");
    for name in [
        "kernel",
        "overlay",
        "user-namespaces",
        "subordinate-ids",
        "toolbox",
        "network",
        "vfs",
        "cgroups",
        "runc",
        "buildah",
    ] {
        let finding = findings.iter().find(|finding| finding["name"] == name);
        let finding = finding.unwrap_or_else(|| panic!("{name} is not in {}", run.out));
        assert!(!finding["found"].as_str().unwrap_or_default().is_empty(), "{finding}");
        if ["fails", "absent"].contains(&finding["state"].as_str().unwrap_or_default()) {
            let untried = finding["found"].as_str().is_some_and(|found| found.starts_with("not tried"));
            assert!(finding["mend"].is_string() || untried || name == "subordinate-ids", "{finding}");
        }
    }
    let backends = checked["backends"].as_array().expect("backends");
    let some = backends.iter().any(|backend| backend["works"] == true);
    assert_eq!(run.code, Some(if some { 0 } else { 1 }), "{run:?}");
    let text = sandbox.run(&["host", "check"]);
    assert!(text.out.contains("kernel") && text.out.contains("can"), "{}", text.out);
}

#[test]
fn a_check_fails_when_nothing_can_build() {
    let sandbox = Sandbox::new().with("DOCKER_HOST", "unix:///nonexistent/engine.sock");
    // Nobody can keep layers in a file.
    sandbox.write("file", "");
    let run = sandbox.run(&["host", "check", "--home-dir", "file"]);
    assert!(run.out.contains("cannot    docker") && run.out.contains("cannot    native-"), "{}", run.out);
    run.ends(1, &["no backend can build on this host"]);
}

#[test]
fn to_look_is_not_to_make() {
    let sandbox = Sandbox::new();
    let home = sandbox.path().join("kept");
    let kept = json(&sandbox.run(&["host", "df", "--home-dir", "kept", "-o", "json"]).ends(0, &[]).out);
    assert_eq!((&kept["layers"]["number"], &kept["stages"]), (&0.into(), &0.into()));
    sandbox.run(&["host", "cleanup", "--home-dir", "kept"]).ends(0, &[]);
    assert!(!home.exists());
    sandbox.run(&["host", "df", "--allowed-backend-storage-volume-usage", "much"]).ends(2, &["`much` is neither"]);
    sandbox.run(&["host", "purge"]).ends(2, &["not supported yet: slipway host purge"]);
    sandbox.run(&["host"]).ends(2, &["Usage"]);
}
