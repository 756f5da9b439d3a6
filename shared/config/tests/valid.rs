//! Right configurations: what they mean, and that spellings of the same thing mean the same.

use std::{collections::BTreeMap, time::Duration};

use slipway_config::{
    Base, Config, GitRevision, Image, ImageKind, ImageName, ImportMoment, ImportSource, MountSource, Operator,
    Position, ReferenceKind, SecretSource, StapelImage, UserStage, Warning, parse, select_documents,
};

const META: &str = "configVersion: 1\nproject: p\n---\n";

fn read(text: &str) -> Config {
    let text = if text.contains("configVersion") { text.to_owned() } else { format!("{META}{text}") };
    parse("werf.yaml", &text).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn stapel(text: &str) -> StapelImage {
    stapel_of(read(text).images.pop().expect("an image"))
}

fn stapel_of(image: Image) -> StapelImage {
    match image.kind {
        ImageKind::Stapel(stapel) => *stapel,
        ImageKind::Dockerfile(_) => panic!("a Dockerfile image"),
    }
}

/// `config` with all positions set to the same, so that only what it means is compared.
fn meaning(mut config: Config) -> Config {
    let nowhere = Position::default();
    for image in &mut config.images {
        image.position = nowhere;
        image.dependencies.iter_mut().for_each(|dependency| dependency.position = nowhere);
        if let ImageKind::Stapel(stapel) = &mut image.kind {
            stapel.git.iter_mut().for_each(|mapping| mapping.position = nowhere);
            stapel.imports.iter_mut().for_each(|import| import.position = nowhere);
            for stage in stapel.shell.stages.values_mut() {
                stage.position = nowhere;
                stage.commands.iter_mut().for_each(|command| command.position = nowhere);
            }
        }
    }
    config
}

#[test]
fn spellings_of_the_same_mean_the_same() {
    let rows: &[(&str, &[&str])] = &[
        (
            "image: a\nfrom: b\nshell:\n  install:\n  - make\n",
            &[
                "image: a\nfrom: b\nshell:\n  install: make\n",
                "image: a\r\nfrom: b\r\nshell:\r\n  install:\r\n  - make\r\n",
                "image: [a]\nfrom: 'b'\nshell: {install: [\"make\"]}\n",
                "image:\ta\nfrom:\tb\t# base\nshell:\t# commands\n  install:\n  - make\n",
                "--- # the only image\n\n# with a comment\nimage: a\nfrom: b\nshell: &s {install: make}\n---\n# nothing\n",
                "{image: a, from: b, shell: {install: make}}\n",
                "image: a\nfrom: b\nfinal: yes\nshell: {install: !!str make, setup: []}\ngit: ~\nimport: []\ndocker:\n",
            ],
        ),
        (
            "image: a\nfrom: b\ndisableGitAfterPatch: true\ngit:\n- {add: /x, to: /app, owner: '0755'}\n",
            &[
                "image: a\nfrom: b\ndisableGitAfterPatch: on\ngit:\n- {add: /x/, to: /app/., owner: 0755}\n",
                "image: a\nfrom: b\ndisableGitAfterPatch: Yes\ngit:\n- add: /y/../x\n  to: //app\n  owner: \"0755\"\n",
            ],
        ),
        (
            "image: a\nfrom: b\ndocker: {CMD: [/bin/sh, -c, run it], EXPOSE: ['80', 8081/udp], ENV: {A: '1.10', B: 'yes', C: ''}}\n",
            &[
                "image: a\nfrom: b\ndocker: {CMD: run it, EXPOSE: 80 8081/udp 80, ENV: {A: 1.10, B: yes, C: }}\n",
                "image: a\nfrom: b\ndocker: {CMD: '[\"/bin/sh\", \"-c\", \"run it\"]', EXPOSE: [80, 8081/udp], ENV: {A: 1.10, B: yes, C: ~}}\n",
            ],
        ),
        (
            "image: a\nfrom: b\nimport:\n- {from: s, add: /x, to: /x, before: setup}\n---\nimage: s\nfrom: c\n",
            &[
                "image: a\nfrom: b\nimport:\n- {image: s, add: /x, before: setup}\n---\nimage: s\nfrom: c\n",
                "image: a\nfrom: b\nimport:\n- {<<: {add: /x}, before: setup, image: s}\n---\nimage: s\nfrom: c\n",
            ],
        ),
        (
            "image: a\ndockerfile: Dockerfile\ncontext: app\nargs: {V: '3'}\n",
            &["image: a\ndockerfile: ./Dockerfile\ncontext: ./app/\nargs: {V: 3}\nstaged: off\nssh:\n"],
        ),
    ];
    for (first, others) in rows {
        let expected = meaning(read(first));
        for other in *others {
            assert_eq!(meaning(read(other)), expected, "{other}");
        }
    }
}

#[test]
fn a_stapel_image_is_read() {
    let stapel = stapel(
        "image: base\nfrom: alpine\n---\nartifact: tools\nfrom: alpine\n---\nimage: app\nfromImage: base\nfromCacheVersion: 2\n\
         git:\n- add: /src\n  to: /app\n  includePaths: [a, ./b]\n  excludePaths: c\n  owner: app\n  group: 1000\n  \
         stageDependencies: {install: package.json, setup: ['**/*.js', '.']}\n\
         shell:\n  cacheVersion: 1\n  beforeInstall: apt-get update\n  installCacheVersion: 3\n  setup: [a, b]\n\
         import:\n- {artifact: tools, add: /bin/x, to: /usr/bin/x, after: install, includePaths: y, owner: root}\n",
    );
    assert_eq!(stapel.base, Base::Image(ImageName("base".to_owned())));
    assert_eq!(stapel.from_cache_version.as_deref(), Some("2"));
    assert!(stapel.patches_after_setup);
    let git = &stapel.git[0];
    assert_eq!((git.add.to_string().as_str(), git.to.as_str()), ("src", "/app"));
    assert_eq!(
        (git.include.clone(), git.exclude.clone()),
        (vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()])
    );
    assert_eq!((git.owner.as_deref(), git.group.as_deref()), (Some("app"), Some("1000")));
    let expected = BTreeMap::from([
        (UserStage::Install, vec!["package.json".to_owned()]),
        (UserStage::Setup, vec!["**/*.js".to_owned(), "**".to_owned()]),
    ]);
    assert_eq!(git.stage_dependencies, expected);
    assert_eq!(stapel.shell.cache_version.as_deref(), Some("1"));
    assert_eq!(stapel.shell.stages[&UserStage::Install].cache_version.as_deref(), Some("3"));
    let setup = &stapel.shell.stages[&UserStage::Setup].commands;
    assert_eq!(setup.iter().map(|command| command.text.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(setup[1].position, Position { line: 25, column: 14 });
    let import = &stapel.imports[0];
    assert_eq!(
        (import.image().expect("of this file").0.as_str(), import.moment),
        ("tools", ImportMoment::AfterInstall)
    );
    assert_eq!((import.add.as_str(), import.to.as_str()), ("/bin/x", "/usr/bin/x"));
}

#[test]
fn names_bases_and_references() {
    let config = read(
        "configVersion: 1.0\nproject: p\nbuild: {platform: linux/amd64, cacheVersion: v1}\n---\nimage: [a, b/c]\nfrom: redis\n\
         ---\nimage: redis\nfrom: redis\ncacheVersion: v2\nfinal: false\n---\nartifact: t\nfromImage: nginx:1.29\n---\nimage: u\n\
         fromArtifact: t\n",
    );
    let shown: Vec<String> = config
        .images
        .iter()
        .map(|image| {
            let names: Vec<&str> = image.names.iter().map(|name| name.0.as_str()).collect();
            let version = image.cache_version.clone().unwrap_or_default();
            let base = match stapel_of(image.clone()).base {
                Base::Image(name) => format!("image {name}"),
                Base::Reference(text) => text,
            };
            format!("{} {} {} {version} {base}", names.join("+"), image.artifact, image.is_final)
        })
        .collect();
    let expected = [
        "a+b/c false true v1 image redis",
        "redis false false v2 redis",
        "t true false v1 nginx:1.29",
        "u false true v1 image t",
    ];
    assert_eq!(shown, expected);
    assert_eq!(config.platforms.len(), 1);
    assert_eq!(config.images[0].needs(), [&ImageName("redis".to_owned())]);
}

#[test]
fn a_project_without_images_is_valid() {
    let config = read(
        "configVersion: 1\nproject: p\ndeploy: {namespace: x}\ncleanup: {keepPolicies: [{references: {tag: /.*/}}]}\n",
    );
    assert!(config.images.is_empty());
}

#[test]
fn the_nameless_image_is_read() {
    for text in ["image: ~\nfrom: b\n", "image:\nfrom: b\n", "dockerfile: D\n"] {
        let config = read(text);
        assert_eq!(config.images[0].name().to_string(), "~");
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
}

#[test]
fn an_image_says_whether_it_is_staged_or_the_project_does() {
    let staged = |meta: &str, image: &str| {
        let text = format!("configVersion: 1\nproject: p\n{meta}---\nimage: a\ndockerfile: D\n{image}");
        match &read(&text).images[0].kind {
            ImageKind::Dockerfile(image) => image.staged,
            ImageKind::Stapel(_) => panic!("a Stapel image"),
        }
    };
    assert!(!staged("", "") && staged("", "staged: true\n"));
    assert!(staged("build: {staged: true}\n", "") && !staged("build: {staged: true}\n", "staged: false\n"));
}

#[test]
fn imports_are_of_images_of_this_file_or_of_others() {
    let config = read(
        "configVersion: 1\nproject: p\n---\nimage: a\nfrom: b:1\nimport:\n- {from: 'alpine:3', add: /a, before: setup}\n\
         - {image: e, stage: install, add: /b, before: setup}\ndependencies: [{image: d, before: setup}]\n---\nimage: d\n\
         dockerfile: D\n---\nimage: e\nfrom: b\nshell: {install: x}\n",
    );
    let imports = stapel_of(config.images[0].clone()).imports;
    assert_eq!(imports[0].source, ImportSource::External("alpine:3".to_owned()));
    assert_eq!((imports[1].image(), imports[1].stage), (Some(&ImageName("e".to_owned())), Some(UserStage::Install)));
    assert_eq!(config.images[0].dependencies[0].image, ImageName("d".to_owned()));
}

#[test]
fn what_is_not_built_is_kept() {
    let config = read(
        "configVersion: 1\nproject: p\nbuild: {staged: on}\ngitWorktree: {forceShallowClone: yes, allowUnshallow: no}\n---\n\
         image: a\nfrom: b\nnetwork: none\n\
         mount: [{from: tmp_dir, to: /t/}, {from: build_dir, to: /b}, {fromPath: ~/c, to: /c}]\n\
         secrets: [{env: E}, {src: d/f}, {id: v, value: hush}]\ndocker: {exactValues: true}\n\
         git:\n- {url: 'https://me:pw@h/group/x.git', tag: v1, to: /y, basicAuth: {username: u, password: {src: f}}}\n---\n\
         image: d\ndockerfile: D\nssh: default\n",
    );
    let worktree = config.worktree;
    assert!(worktree.force_shallow_clone && !worktree.allow_unshallow && worktree.allow_fetch);
    let ImageKind::Dockerfile(dockerfile) = &config.images[1].kind else { panic!("a Dockerfile image") };
    assert!(dockerfile.staged && dockerfile.ssh.as_deref() == Some("default"));
    let secrets: Vec<String> =
        config.images[0].secrets.iter().map(|secret| format!("{} {:?}", secret.id, secret.source)).collect();
    assert_eq!(secrets, ["E Env(\"E\")", "f File(\"d/f\")", "v Value(***)"]);
    let stapel = stapel_of(config.images[0].clone());
    assert!(stapel.exact_values && stapel.network.as_deref() == Some("none"));
    let mounts: Vec<(&MountSource, &str)> =
        stapel.mounts.iter().map(|mount| (&mount.source, mount.to.as_str())).collect();
    let path = MountSource::Path("~/c".to_owned());
    assert_eq!(mounts, [(&MountSource::TmpDir, "/t"), (&MountSource::BuildDir, "/b"), (&path, "/c")]);
    let remote = stapel.git[0].remote.as_ref().expect("another repository");
    assert_eq!((remote.name.as_str(), &remote.revision), ("group/x", &GitRevision::Tag("v1".to_owned())));
    assert_eq!(remote.auth.as_ref().expect("a login").password, SecretSource::File("f".to_owned()));
    assert!(!format!("{config:?}").contains("hush") && !format!("{config:?}").contains("pw@"));
}

#[test]
fn tasks_are_read_with_their_lines() {
    let config = read(
        "configVersion: 1\nproject: p\n---\nimage: a\nfrom: b\nansible:\n  cacheVersion: 3\n  setup:\n  - {apt: {name: x, state: yes}}\n\
         \x20 - name: more\n    always:\n    - fail: {}\n    block:\n    - raw: 0755\n    - block: [{debug: {}}]\n      when: x\n\
         \x20 - ansible.builtin.copy: {}\n    with_items: [1]\n  installCacheVersion: 4\n",
    );
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let stapel = stapel_of(config.images[0].clone());
    assert_eq!(stapel.instructions_version(), Some("3"));
    let install = stapel.instructions_of(UserStage::Install).expect("a cache version");
    assert!(install.is_empty() && install.cache_version == Some("4"));
    let setup = stapel.instructions_of(UserStage::Setup).expect("tasks");
    let tasks: Vec<String> = setup.tasks.iter().map(|task| task.task.to_string()).collect();
    let block = r#"{"always":[{"fail":{}}],"block":[{"raw":493},{"block":[{"debug":{}}],"when":"x"}],"name":"more"}"#
        .to_owned();
    let copy = r#"{"ansible.builtin.copy":{},"with_items":[1]}"#.to_owned();
    assert_eq!(tasks, [r#"{"apt":{"name":"x","state":true}}"#.to_owned(), block, copy]);
    let lines: Vec<&[u32]> = setup.tasks.iter().map(|task| task.lines.as_slice()).collect();
    assert_eq!(lines, [&[9][..], &[10, 14, 15, 15, 12], &[17]]);
}

#[test]
fn what_is_kept_at_cleanup_is_read() {
    let cleanup =
        |lines: &str| read(&format!("configVersion: 1\nproject: p\ncleanup: {lines}\n")).cleanup.expect("a section");
    let plain = cleanup("{disableKubernetesBasedPolicy: yes}");
    assert!(plain.disable_kubernetes_policy && !plain.disable && plain.keep_policies.is_none());
    assert_eq!(plain.keep_built_within_hours, 2);
    let full = cleanup(
        "{keepImagesBuiltWithinLastNHours: 7, keepPolicies: [{references: {branch: /.*/, limit: {last: 10, in: 168h, operator: Or}}, \
         imagesPerReference: {last: -1, publishedIn: 1h}}, {references: {tag: v1}}]}",
    );
    assert_eq!(full.keep_built_within_hours, 7);
    let [branches, tags] = &full.keep_policies.expect("policies")[..] else { panic!("two policies") };
    assert_eq!((branches.references.kind, branches.references.pattern.as_str()), (ReferenceKind::Branch, "/.*/"));
    let limit = branches.references.limit.expect("a limit");
    assert_eq!(
        (limit.last, limit.within, limit.operator),
        (Some(10), Some(Duration::from_secs(604_800)), Operator::Or)
    );
    let images = branches.images.expect("a limit");
    assert_eq!(
        (images.last, images.within, images.operator),
        (Some(-1), Some(Duration::from_secs(3600)), Operator::And)
    );
    assert_eq!((tags.references.kind, tags.images), (ReferenceKind::Tag, None));
}

#[test]
fn docker_values() {
    let docker = |lines: &str| stapel(&format!("image: a\nfrom: b\ndocker:\n{lines}")).docker.expect("a change");
    let change = docker(
        "  VOLUME: [/a, '/b /c']\n  EXPOSE: 3000-3002/udp\n  WORKDIR: /w\n  USER: 1000\n  ENTRYPOINT: []\n  LABEL: {a: 1, b=c: d}\n  \
         HEALTHCHECK: --interval=5s CMD [\"x\"]\n",
    );
    assert_eq!(change.volumes, ["/a", "/b", "/c"]);
    assert_eq!(change.expose, ["3000/udp", "3001/udp", "3002/udp"]);
    assert_eq!((change.workdir.as_deref(), change.user.as_deref()), (Some("/w"), Some("1000")));
    assert_eq!((change.entrypoint, change.cmd), (Some(Vec::new()), None));
    assert_eq!(change.labels["b=c"], "d");
    assert_eq!(change.healthcheck.expect("a check").interval, 5_000_000_000);
    assert_eq!(docker("  CMD: ''\n").cmd, Some(Vec::new()));
    assert_eq!(docker("  CMD: \"[ -f x ] && y\"\n").cmd.expect("a command")[2], "[ -f x ] && y");
    assert_eq!(stapel("image: a\nfrom: b\ndocker: {ENV: {}}\n").docker, None);
}

#[test]
fn overlapping_mappings_leave_out_what_others_bring() {
    let rows: &[(&str, &[&[&str]])] = &[
        ("git: [{add: /x, to: /app}, {add: /y, to: /app/sub/}]", &[&["sub"], &[]]),
        ("git: [{add: /x, to: /app}, {add: /y, to: /app/sub, includePaths: [p, q/r]}]", &[&["sub/p", "sub/q/r"], &[]]),
        ("git: [{add: /x, to: /app, excludePaths: sub}, {add: /y, to: /app/sub}]", &[&["sub"], &[]]),
        ("git: [{add: /x, to: /app}, {add: /y, to: /app, includePaths: p}]", &[&["p"], &[]]),
        ("git: [{add: /x, to: /app}, {add: /y, to: /application}]", &[&[], &[]]),
        ("git: [{add: /x, to: /}, {add: /y, to: /app}]", &[&["app"], &[]]),
        ("git: [{add: /x, to: /a, includePaths: p}, {add: /y, to: /a, includePaths: q}]", &[&["q"], &["p"]]),
    ];
    for (line, expected) in rows {
        let stapel = stapel(&format!("image: a\nfrom: b\n{line}\n"));
        let excluded: Vec<Vec<&str>> =
            stapel.git.iter().map(|mapping| mapping.exclude.iter().map(String::as_str).collect()).collect();
        assert_eq!(excluded, *expected, "{line}");
    }
    let with_import = "image: s\nfrom: b\n---\nimage: a\nfrom: b\ngit: [{add: /x, to: /app}]\n\
        import: [{image: s, add: /out, to: /app/dist, after: setup}]\n";
    assert_eq!(stapel(with_import).git[0].exclude, ["dist"]);
}

/// Warnings with their places.
fn told(config: &Config) -> Vec<String> {
    let place = |warning: &Warning| format!("werf.yaml:{}: {}", warning.position.line, warning.message);
    config.warnings.iter().map(place).collect()
}

#[test]
fn idle_cache_versions_are_told() {
    let warnings = |shell: &str, rest: &str| told(&read(&format!("image: a\nfrom: b\nshell: {shell}\n{rest}")));
    let idle = warnings("{install: x, setupCacheVersion: 1}", "");
    assert_eq!(idle.len(), 1);
    assert!(idle[0].starts_with("werf.yaml:6: image `a`: `setupCacheVersion` has no effect"), "{idle:?}");
    assert!(warnings("{installCacheVersion: 1, setup: x}", "").is_empty());
    assert!(warnings("{setupCacheVersion: 1}", "docker: {USER: x}\n").is_empty());
    assert_eq!(warnings("{cacheVersion: 1}", "").len(), 1);
}

#[test]
fn deprecated_spellings_are_told_once() {
    let config = read(
        "artifact: a\nfrom: b\n---\nartifact: c\nfromArtifact: a\nimport: [{artifact: a, add: /x, before: setup}]\n",
    );
    assert!(config.warnings.is_empty(), "artifacts are no deprecated spelling: {:?}", config.warnings);
    let config = read("image: a\nfrom: b\ngit: [{to: /app/}]\n");
    assert_eq!(told(&config), ["werf.yaml:6: `to` ends in a slash, which has no meaning; write `to: /app`"]);
    let config = read("image: a\nfrom: b\ngit: [{to: /app/}]\n---\nimage: c\nfrom: b\ngit: [{to: /app/}]\n");
    assert_eq!(told(&config), ["werf.yaml:6: `to` ends in a slash, which has no meaning; write `to: /app`"]);
    let config = read(
        "image: a\ndockerfile: D\ncontext: x\ncontextAddFile: [f]\n---\n\
         image: c\ndockerfile: D\ncontext: x\ncontextAddFile: g\n",
    );
    assert_eq!(told(&config), ["werf.yaml:7: `contextAddFile` is deprecated; write `contextAddFiles`"]);
}

#[test]
fn documents_of_images_are_printed() {
    let text = "configVersion: 1.0\nproject: p\n---\n# first\nimage: image_a\nfrom: x\n---\n\nimage: [image_b, image_c]\nfrom: y\n";
    let config = read(text);
    let shown = |patterns: &[&str]| {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        select_documents(&config, text, &patterns).map(std::borrow::Cow::into_owned)
    };
    let (a, b) = ("# first\nimage: image_a\nfrom: x\n", "image: [image_b, image_c]\nfrom: y\n");
    assert_eq!(shown(&[]).expect("all"), text);
    assert_eq!(shown(&["image_a"]).expect("one"), a);
    assert_eq!(shown(&["!image_b", "!image_c"]).expect("one"), a);
    assert_eq!(shown(&["*_a"]).expect("one"), a);
    assert_eq!(shown(&["image_c"]).expect("by its second name"), b);
    assert_eq!(shown(&["image_*"]).expect("both"), format!("{a}---\n{b}"));
    assert!(shown(&["other"]).is_err());
}

#[test]
fn too_large_a_text_is_refused() {
    let text = format!("{META}image: a\nfrom: b\n#{}", "x".repeat(slipway_config::LARGEST_TEXT));
    let problems = parse("werf.yaml", &text).expect_err("too large").to_string();
    assert!(problems.starts_with("werf.yaml: the configuration has "), "{problems}");
}
