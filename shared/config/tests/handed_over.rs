//! `dependencies`, `imageSpec` and `fromLatest`: what they mean in the model.

use slipway_config::{Config, DependencyKind, ImageKind, ImportMoment, closure, parse};
use slipway_oci::Respec;

fn read(documents: &str) -> Config {
    let text = format!("configVersion: 1\nproject: p\n{documents}");
    parse("werf.yaml", &text).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn refused(documents: &str) -> String {
    let text = format!("configVersion: 1\nproject: p\n{documents}");
    parse("werf.yaml", &text).expect_err("a wrong configuration").to_string()
}

fn spec(documents: &str) -> Respec {
    *read(documents).images[0].spec.clone().expect("an imageSpec")
}

#[test]
fn dependencies_are_needed_and_hand_values_over() {
    let config = read(
        "---\nimage: a\nfrom: b\ndependencies:\n- {image: d, after: setup, imports: [{type: ImageID, targetEnv: D}]}\n\
         - {image: e, before: install}\n---\nimage: [d, d2]\ndockerfile: D\ndependencies:\n\
         - {image: e, imports: [{type: ImageName, targetBuildArg: E}]}\n---\nimage: e\nfrom: b\nfinal: false\n",
    );
    let [a, d, e] = config.images.as_slice() else { panic!("three images") };
    assert_eq!(a.needs().iter().map(|name| name.0.as_str()).collect::<Vec<_>>(), ["d", "e"]);
    assert_eq!(d.needs().len(), 1);
    let [first, second] = a.dependencies.as_slice() else { panic!("two dependencies") };
    assert_eq!((first.moment, second.moment), (Some(ImportMoment::AfterSetup), Some(ImportMoment::BeforeInstall)));
    let import = &first.imports[0];
    assert_eq!((import.kind, import.target.as_str()), (DependencyKind::ImageId, "D"));
    assert_eq!(d.dependencies[0].moment, None);
    assert!(!e.is_final && d.is_final);
    assert_eq!(closure(&config, &[a]).len(), 3);
}

#[test]
fn from_latest_says_where_it_stands() {
    let config = read("---\nimage: a\nfrom: b\nfromLatest: yes\n---\nimage: c\nfrom: b\nfromLatest: false\n");
    let line = |image: usize| match &config.images[image].kind {
        ImageKind::Stapel(stapel) => stapel.from_latest.map(|position| position.line),
        ImageKind::Dockerfile(_) => None,
    };
    assert_eq!((line(0), line(1)), (Some(6), None));
}

#[test]
fn fixture_40_global_and_own_image_specs_are_merged() {
    let global = "build:\n  imageSpec:\n    author: global\n    clearHistory: true\n    config:\n      \
                  labels: {team: global, all: 1}\n      removeLabels: [y, z]\n";
    let own = "imageSpec:\n  author: own\n  config:\n    labels: {team: own, own: 1}\n    removeLabels: [x, y]\n    \
               env: {PATH: '${PATH}:/x'}\n";
    let merged = spec(&format!("{global}---\nimage: a\nfrom: b\n{own}"));
    assert_eq!(merged.author.as_deref(), Some("global"));
    assert!(merged.clear_history);
    let labels: Vec<String> = merged.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(labels, ["all=1", "own=1", "team=global"]);
    assert_eq!(merged.remove_labels.iter().map(|removal| removal.as_str()).collect::<Vec<_>>(), ["x", "y", "z"]);
    assert_eq!(merged.env["PATH"], "${PATH}:/x");
    assert_eq!(spec(&format!("---\nimage: a\nfrom: b\n{own}")).author.as_deref(), Some("own"));
    let alone = read(&format!("{global}---\nimage: a\ndockerfile: D\n---\nartifact: b\nfrom: c\n"));
    assert!(alone.images[0].spec.is_some() && alone.images[1].spec.is_none());
    assert!(read("---\nimage: a\nfrom: b\n").images[0].spec.is_none());
}

#[test]
fn image_specs_have_docker_s_values() {
    let config = "volumes: [/a/, /b, /a]\n    expose: ['99', 53/udp]\n    workingDir: /w\n    user: 1000\n    cmd: []\n    \
                  entrypoint: [e, f]\n    stopSignal: SIGINT\n    clearUser: yes\n    removeEnv: /^A.*/\n    \
                  healthcheck: {test: [CMD, x], interval: 30, timeout: 500ms, retries: 2}\n";
    let spec = spec(&format!("---\nimage: a\nfrom: b\nimageSpec:\n  config:\n    {config}"));
    assert_eq!(spec.volumes, ["/a", "/b"]);
    assert_eq!(spec.expose.expect("ports"), ["99", "53/udp"]);
    assert_eq!((spec.workdir.as_deref(), spec.user.as_deref()), (Some("/w"), Some("1000")));
    assert_eq!((spec.cmd, spec.entrypoint.expect("words")), (Some(Vec::new()), vec!["e".to_owned(), "f".to_owned()]));
    assert!(spec.clear_user && !spec.clear_cmd);
    let check = spec.healthcheck.expect("a check");
    assert_eq!((check.interval, check.timeout, check.retries), (30_000_000_000, 500_000_000, 2));
}

#[test]
fn labels_that_stay_are_told_unless_it_is_known() {
    let config =
        |more: &str| format!("---\nimage: a\nfrom: b\nimageSpec: {{config: {{removeLabels: [/werf.*/]{more}}}}}\n");
    let warnings = read(&config("")).warnings;
    assert_eq!((warnings.len(), warnings[0].position.line), (1, 6));
    assert!(warnings[0].message.starts_with("`removeLabels` does not remove werf, werf.io/parent"), "{warnings:?}");
    assert!(read(&config(", keepEssentialWerfLabels: true")).warnings.is_empty());
    assert!(read(&config("").replace("/werf.*/", "team")).warnings.is_empty());
}

#[test]
fn wrong_image_specs_are_refused() {
    let own = |config: &str| format!("---\nimage: a\nfrom: b\nimageSpec: {{config: {{{config}}}}}\n");
    let global = |rest: &str| format!("build: {{imageSpec: {{author: x}}}}\n---\n{rest}");
    for (documents, message) in [
        (own("cmd: run it"), "`cmd` must be a list of words"),
        (own("removeEnv: [/(/]"), "`removeEnv`: `/(/` is no regular expression"),
        (own("healthcheck: {interval: 1s}"), "`healthcheck` has no `test`"),
        (own("healthcheck: {test: [curl, x]}"), "`test` begins with `curl`"),
        (own("healthcheck: {test: x, timeout: 1us}"), "`timeout` is no duration"),
        (own("expose: [http]"), "`expose` holds `http`"),
        (own("workingDir: w"), "`workingDir` must be an absolute path"),
        (own("labels: [x]"), "`labels` must be a mapping"),
        (global("image: a\nfrom: b\ndocker: {USER: x}\n"), "`docker` and `build.imageSpec` cannot stand together"),
        ("build: {imageSpec: {config: {env: {A: b}}}}\n".to_owned(), "unknown key `env` in `config`"),
    ] {
        let problems = refused(&documents);
        assert!(problems.contains(message), "{documents}\n{problems}");
    }
}
