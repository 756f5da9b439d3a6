//! Imports: from images, their stages, artifacts and images of registries.

use anyhow::Result;
use slipway_e2e::{Built, Part, Project, Registry, engine, require};

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];

/// Writes a configuration, commits it and builds.
fn build(project: &Project, repo: &str, config: &str) -> Result<Built> {
    project.config(config)?;
    project.commit("another")?;
    project.build(&["--repo", repo])
}

#[test]
fn fixture_16_an_image_without_patches_rebuilds_nothing() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("no-patches")?);
    let repo = registry.repo("no-patches");
    let config = "image: source\nfrom: BASE\nfinal: false\ndisableGitAfterPatch: true\ngit: [{add: /src, to: /app}]\n---\n\
                  image: user\nfrom: BASE\nimport: [{image: source, add: /app, to: /app, after: setup}]\n";
    project.write("src/file", "first")?;
    let first = build(&project, &repo, config)?;
    assert!(first.run.built().contains(&"source/gitArchive".to_owned()), "{}", first.run.stderr);
    project.write("src/file", "second")?;
    project.commit("second")?;
    let second = project.build(&["--repo", &repo])?;
    assert_eq!(second.run.built(), [""; 0]);
    assert_eq!(engine::sh(&second.image("user"), "cat /app/file")?, "first");
    Ok(())
}

#[test]
fn fixture_25_imports_count_by_their_content() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("by-content")?);
    let repo = registry.repo("by-content");
    let config = |version: &str, text: &str| {
        format!(
            "artifact: made\nfrom: BASE\nfromCacheVersion: '{version}'\nshell: {{install: [mkdir -p /out, echo {text} > /out/f, ln /out/f /out/same]}}\n---\n\
             image: user\nfrom: BASE\nimport: [{{artifact: made, add: /out, to: /in, before: setup}}]\nshell: {{setup: cat /in/f > /seen}}\n"
        )
    };
    let first = build(&project, &repo, &config("1", "one"))?;
    let second = build(&project, &repo, &config("2", "one"))?;
    assert_eq!(second.run.built(), ["made/from", "made/install"]);
    assert_eq!(second.image("user"), first.image("user"));
    let third = build(&project, &repo, &config("2", "other"))?;
    assert_eq!(third.run.built(), ["made/install", "user/dependenciesBeforeSetup", "user/setup"]);
    assert_ne!(third.image("user"), first.image("user"));
    assert_eq!(engine::sh(&third.image("user"), "cat /seen /in/same")?, "other\nother\n");
    // What was summed once is kept in the repository: nobody reads the files again.
    assert!(project.build(&["--repo", &repo])?.run.built().is_empty());
    let records = registry.tags("by-content")?.into_iter().filter(|tag| tag.starts_with("import-metadata-"));
    assert_eq!(records.count(), 3);
    Ok(())
}

#[test]
fn fixture_26_modes_count_and_files_are_those_of_the_stage() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("stage")?);
    let repo = registry.repo("stage");
    let config = |mode: &str, setup: &str| {
        format!(
            "image: source\nfrom: BASE\nshell:\n  install: [mkdir /out, echo install > /out/f, chmod {mode} /out/f]\n  setup: [{setup}]\n---\n\
             image: user\nfrom: BASE\nimport: [{{image: source, stage: install, add: /out/f, to: /f, after: setup}}]\n"
        )
    };
    let first = build(&project, &repo, &config("0555", "echo setup > /out/f"))?;
    let held = |built: &Built| engine::sh(&built.image("user"), "cat /f; stat -c %a /f");
    assert_eq!(held(&first)?, "install\n555\n");
    // A later stage of the source is nothing to the import.
    let second = build(&project, &repo, &config("0555", "rm -r /out"))?;
    assert_eq!(second.run.built(), ["source/setup"]);
    let third = build(&project, &repo, &config("0777", "rm -r /out"))?;
    assert!(third.run.built().contains(&"user/dependenciesAfterSetup".to_owned()), "{}", third.run.stderr);
    assert_eq!(held(&third)?, "install\n777\n");
    let label = |built: &Built| -> Result<String> {
        let inspected = engine::run(&["image", "inspect", "--format={{json .Config.Labels}}", &built.image("user")])?;
        let labels: std::collections::BTreeMap<String, String> = serde_json::from_str(&inspected)?;
        Ok(labels.into_iter().find(|(name, _)| name.starts_with("werf-import-source-stage-id-")).unwrap_or_default().1)
    };
    let last = third.image("source").rsplit_once(':').expect("a tag").1.to_owned();
    assert!(!label(&third)?.is_empty() && label(&third)? != last, "it names the stage, not the last one");
    Ok(())
}

#[test]
fn fixture_30_globs_choose_what_is_imported_at_every_moment() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("globs")?);
    let repo = registry.repo("globs");
    let config = |text: &str| {
        format!(
            "artifact: made\nfrom: BASE\nshell:\n  install: ['mkdir -p /src/sub /src/empty; cd /src; for f in added_file1 added_file2 not_added_file3 sub/not_added_file4; do echo {text} > $f; done']\n---\n\
             image: user\nfrom: BASE\nimport:\n\
             - {{artifact: made, add: /src, to: /dest1, before: install, includePaths: [added_file1, added_file2]}}\n\
             - {{artifact: made, add: /src, to: /dest2, after: install, excludePaths: ['**/not_*', empty]}}\n\
             - {{artifact: made, add: /src, to: /dest3, before: setup, includePaths: ['**/*file*'], excludePaths: [not_added_file3, sub]}}\n\
             shell: {{install: 'ls /dest1 > /at-install', setup: 'ls /dest3 > /at-setup'}}\n"
        )
    };
    for text in ["one", "two"] {
        let built = build(&project, &repo, &config(text))?;
        let all = engine::sh(&built.image("user"), "find /dest* | sort; cat /dest*/* 2>/dev/null; cat /at-*")?;
        let file = |at: u32, name: &str| format!("/dest{at}/added_file{name}\n");
        let mut expected = String::new();
        for at in 1..=3 {
            expected += &format!("/dest{at}\n{}{}", file(at, "1"), file(at, "2"));
            expected += if at == 2 { "/dest2/sub\n" } else { "" };
        }
        expected += &format!("{text}\n").repeat(6);
        expected += &"added_file1\nadded_file2\n".repeat(2);
        assert_eq!(all, expected);
        let moments = ["dependenciesBeforeInstall", "dependenciesAfterInstall", "dependenciesBeforeSetup"];
        for moment in moments {
            assert!(built.run.built().contains(&format!("user/{moment}")), "{}", built.run.stderr);
        }
    }
    assert!(project.build(&["--repo", &repo])?.run.built().is_empty());
    Ok(())
}

#[test]
fn fixture_32_files_come_from_images_of_registries_and_of_the_file() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("external")?);
    let repo = registry.repo("external");
    let tagged = registry.repo("tools:1");
    let publish = |text: &str| -> Result<String> {
        let aside = Project::new("external-tools")?;
        aside.config(&format!("image: tools\nfrom: BASE\nshell: {{setup: ['mkdir -p /etc/test; echo {text} > /etc/test/busybox', echo {text} > /other]}}\n"))?;
        aside.commit("tools")?;
        let (stages, exported) = (registry.repo("tools-stages"), tagged.clone());
        aside.build(&["--repo", &stages])?;
        let run = aside.slipway(&["export", "--repo", &stages, "--tag", &exported])?;
        assert_eq!(run.code, 0, "{}", run.stderr);
        Ok(registry.manifest("tools", "1")?.0)
    };
    let digest = publish("first")?;
    let config = format!(
        "image: by-tag\nfrom: BASE\nimport: [{{from: '{tagged}', add: /etc/test/busybox, before: install}}]\n---\n\
         image: by-digest\nfrom: BASE\nimport: [{{from: '{}@{digest}', add: /etc/test, before: install}}]\n---\n\
         image: by-image\nfrom: BASE\nimport: [{{image: local, add: /etc/test/busybox, before: install}}]\n---\n\
         image: by-from\nfrom: BASE\nimport: [{{from: local, add: /etc/test/busybox, before: install}}]\n---\n\
         image: local\nfrom: BASE\nshell: {{setup: ['mkdir -p /etc/test; echo local > /etc/test/busybox']}}\n",
        registry.repo("tools")
    );
    let first = build(&project, &repo, &config)?;
    for (image, text) in [("by-tag", "first"), ("by-digest", "first"), ("by-image", "local"), ("by-from", "local")] {
        assert_eq!(engine::sh(&first.image(image), "cat /etc/test/busybox")?, format!("{text}\n"), "{image}");
    }
    assert!(project.build(&["--repo", &repo])?.run.built().is_empty());
    // A tag that moves counts by what is imported.
    assert_ne!(publish("second")?, digest);
    let second = project.build(&["--repo", &repo])?;
    assert_eq!(second.run.built(), ["by-tag/dependenciesBeforeInstall"]);
    assert_eq!(engine::sh(&second.image("by-tag"), "cat /etc/test/busybox")?, "second\n");
    Ok(())
}

#[test]
fn fixture_33_and_34_owners_are_numbers_and_no_directory_is_empty() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("owners")?);
    let repo = registry.repo("owners");
    let config = "artifact: made\nfrom: BASE\nshell:\n  install: ['mkdir -p /out/a/deep /out/b/c; echo 1 > /out/a/x.txt; echo 2 > /out/b/c/y.bin; chown -R app:app /out; chmod 4750 /out/a/x.txt']\n---\n\
                  image: user\nfrom: BASE\nimport:\n\
                  - {artifact: made, add: /out, to: /numbers, owner: 11111, group: 11111, after: install}\n\
                  - {artifact: made, add: /out, to: /names, owner: app, group: root, after: install}\n\
                  - {artifact: made, add: /out, to: /own, includePaths: ['**/*.txt'], after: install}\n";
    let built = build(&project, &repo, config)?;
    let listed = engine::sh(&built.image("user"), "find /numbers /names /own | sort | xargs stat -c '%n %u:%g %a'")?;
    let own = "/own 1050:1051 755\n/own/a 1050:1051 755\n/own/a/x.txt 1050:1051 4750\n";
    let all = |at: &str, owner: &str| {
        let entries = [
            ("", 755),
            ("/a", 755),
            ("/a/deep", 755),
            ("/a/x.txt", 4750),
            ("/b", 755),
            ("/b/c", 755),
            ("/b/c/y.bin", 644),
        ];
        entries.iter().map(|(path, mode)| format!("{at}{path} {owner} {mode}\n")).collect::<String>()
    };
    assert_eq!(listed, all("/names", "1050:0") + &all("/numbers", "11111:11111") + own);
    Ok(())
}

#[test]
fn fixture_35_links_of_the_target_stay_and_single_files_find_their_place() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("links")?);
    let repo = registry.repo("links");
    let config = "artifact: made\nfrom: BASE\nshell:\n  install: ['mkdir -p /src/bin /src/more; echo app > /src/bin/myapp; ln -s myapp /src/bin/link; echo single > /src/single']\n---\n\
                  image: base\nfrom: BASE\nfinal: false\nshell: {install: ['mkdir -p /usr/sbin2 /dir; ln -s usr/sbin2 /sbin2; ln -s /dir /to-dir; echo old > /old']}\n---\n\
                  image: user\nfromImage: base\nimport:\n\
                  - {artifact: made, add: /src/bin, to: /sbin2, after: install}\n\
                  - {artifact: made, add: /src/single, to: /dir/, after: install}\n\
                  - {artifact: made, add: /src/bin/myapp, to: /to-dir, after: install}\n\
                  - {artifact: made, add: /src/single, to: /old, after: install}\n\
                  - {artifact: made, add: /src/bin/link, to: /new/name, after: install}\n\
                  shell: {setup: 'test -L /sbin2; ls /dir > /seen'}\n";
    let built = build(&project, &repo, config)?;
    let told = engine::sh(
        &built.image("user"),
        "for link in /sbin2 /to-dir /new/name; do readlink $link; done; cat /usr/sbin2/myapp /usr/sbin2/link /dir/single /dir/myapp /old; cat /seen",
    )?;
    assert_eq!(told, "usr/sbin2\n/dir\nmyapp\napp\napp\nsingle\napp\nsingle\nmyapp\nsingle\n");
    Ok(())
}

#[test]
fn what_is_not_there_is_named() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("missing")?);
    let repo = registry.repo("missing");
    let refused = |import: &str| -> Result<String> {
        project.config(&format!(
            "artifact: made\nfrom: BASE\nshell: {{install: echo x > /x}}\n---\nimage: user\nfrom: BASE\nimport: [{import}]\n"
        ))?;
        project.commit("another")?;
        let run = project.slipway(&["build", "--repo", &repo])?;
        assert_eq!(run.code, 1, "{}", run.stderr);
        Ok(run.stderr)
    };
    let stderr = refused("{artifact: made, add: /no/such/thing, to: /in, after: setup}")?;
    assert!(stderr.contains("import `/no/such/thing`") && stderr.contains("image user"), "{stderr}");
    let stderr = refused("{artifact: made, add: /x, to: /etc/passwd/below, after: setup}")?;
    assert!(stderr.contains("/etc/passwd"), "{stderr}");
    let gone = registry.repo("nowhere:1");
    let stderr = refused(&format!("{{from: '{gone}', add: /x, after: setup}}"))?;
    assert!(stderr.contains(&gone), "{stderr}");
    Ok(())
}

/// Rights that a file has beside its mode, such as those of `ping`.
#[test]
fn capabilities_of_files_come_along() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("capabilities")?);
    for program in ["/usr/sbin/setcap", "/usr/sbin/getcap"] {
        if !std::path::Path::new(program).exists() {
            slipway_parts::skip("setcap", "setcap and getcap are not installed (package libcap2-bin)");
            return Ok(());
        }
        project.bring("tools", program)?;
    }
    let config = |more: &str| {
        let set = "/usr/sbin/setcap cap_net_raw+ep /out/tool";
        format!(
            "artifact: made\nfrom: BASE\ngit: [{{add: /tools, to: /}}]\n\
             shell: {{install: ['mkdir /out; cp /bin/busybox /out/tool; {set}; ln /out/tool /out/other{more}']}}\n---\n\
             image: app\nfrom: BASE\ngit: [{{add: /tools, to: /}}]\nimport:\n- {{artifact: made, add: /out, to: /out, after: install}}\n\
             - {{artifact: made, add: /out/tool, to: /single, after: install}}\n"
        )
    };
    let repo = registry.repo("capabilities");
    project.config(&config(""))?;
    project.commit("first")?;
    let first = project.build(&["--repo", &repo])?;
    let look = "for f in /out/tool /out/other /single; do /usr/sbin/getcap $f; done";
    let expected = ["/out/tool", "/out/other", "/single"].map(|file| format!("{file} cap_net_raw=ep\n"));
    assert_eq!(engine::sh(&first.image("app"), look)?, expected.concat());
    assert!(project.build(&["--repo", &repo])?.run.built().is_empty());
    // What counts is type, mode, path and content.
    project.config(&config("; echo more"))?;
    project.commit("second")?;
    assert_eq!(project.build(&["--repo", &repo])?.run.built(), ["made/install"]);
    Ok(())
}
