//! Git stages of Stapel images as a history grows.

use anyhow::Result;
use slipway_e2e::{Built, Setup, engine};

const MIB: usize = 1 << 20;

/// A project with one image that takes the whole repository.
fn new(config: &str) -> Result<Option<Setup>> {
    let setup = Setup::new("git", config)?;
    if let Some(setup) = &setup {
        setup.project.write("first", "1")?;
    }
    Ok(setup)
}

/// The files of `/app` equal those of the commit.
fn same_files(setup: &Setup, built: &Built) -> Result<()> {
    let seen = engine::sh(&built.image("image"), "cd /app && find . -type f | sort | xargs sha256sum")?;
    let listed = slipway_process::child::command("sh")
        .args(["-c", "git ls-files | sed 's|^|./|' | sort | xargs sha256sum"])
        .current_dir(setup.project.path())
        .output()?;
    assert_eq!(seen, String::from_utf8_lossy(&listed.stdout));
    Ok(())
}

const WHOLE: &str = "image: image\nfrom: BASE\ngit: [{to: /app}]\n";

#[test]
fn fixture_11_12_15_archive_then_cache() -> Result<()> {
    let Some(setup) = new(WHOLE)? else { return Ok(()) };
    let first = setup.build("first")?;
    assert_eq!(first.run.built(), ["image/from", "image/gitArchive"]);
    same_files(&setup, &first)?;

    setup.project.write("big", vec![b'x'; MIB])?;
    let second = setup.build("one mebibyte")?;
    assert_eq!(second.run.reused(), ["image/from", "image/gitArchive"]);
    assert_eq!(second.run.built(), ["image/gitCache"]);
    same_files(&setup, &second)?;

    setup.project.write("small", "y")?;
    let third = setup.build("a little more")?;
    assert_eq!(third.run.built(), ["image/gitLatestPatch"]);
    same_files(&setup, &third)
}

#[test]
fn fixture_11_13_15_archive_then_patch() -> Result<()> {
    let Some(setup) = new(WHOLE)? else { return Ok(()) };
    setup.build("first")?;
    setup.project.write("big", vec![b'x'; MIB - 1024])?;
    let second = setup.build("less than a mebibyte")?;
    assert_eq!(second.run.reused(), ["image/from", "image/gitArchive"]);
    assert_eq!(second.run.built(), ["image/gitLatestPatch"]);
    same_files(&setup, &second)?;

    setup.project.write("bigger", vec![b'y'; MIB])?;
    let third = setup.build("more than a mebibyte")?;
    assert_eq!(third.run.built(), ["image/gitCache"]);
    same_files(&setup, &third)
}

#[test]
fn a_deleted_file_counts_with_its_size() -> Result<()> {
    let Some(setup) = new(WHOLE)? else { return Ok(()) };
    setup.project.write("big", vec![b'x'; MIB])?;
    setup.project.write("less", vec![b'y'; MIB - 1024])?;
    let first = setup.build("first")?;
    assert_eq!(first.run.built(), ["image/from", "image/gitArchive"]);
    setup.project.git(&["rm", "--quiet", "less"])?;
    let second = setup.build("less than a mebibyte goes")?;
    assert_eq!(second.run.built(), ["image/gitLatestPatch"]);
    same_files(&setup, &second)?;
    setup.project.git(&["rm", "--quiet", "big"])?;
    let third = setup.build("more than a mebibyte has gone")?;
    assert_eq!(third.run.reused(), ["image/from", "image/gitArchive"]);
    assert_eq!(third.run.built(), ["image/gitCache"]);
    same_files(&setup, &third)?;
    assert!(setup.build("nothing")?.run.built().is_empty());
    Ok(())
}

fn user_stages(version: &str) -> String {
    let versions = if version.is_empty() { String::new() } else { format!("  {version}: '1'\n") };
    format!(
        "image: image\nfrom: BASE\ngit: [{{to: /app}}]\nshell:\n  beforeInstall: date\n  install: date\n  \
         beforeSetup: date\n  setup: date\n{versions}"
    )
}

#[test]
fn fixture_17_a_changed_before_install_rebuilds_the_archive() -> Result<()> {
    let Some(setup) = new(&user_stages(""))? else { return Ok(()) };
    setup.build("first")?;
    setup.project.write("second", "2")?;
    assert_eq!(setup.build("a patch")?.run.built(), ["image/gitLatestPatch"]);
    setup.project.config(&user_stages("beforeInstallCacheVersion"))?;
    let built = setup.build("cache version")?;
    assert_eq!(
        built.run.built(),
        ["image/beforeInstall", "image/gitArchive", "image/install", "image/beforeSetup", "image/setup"]
    );
    same_files(&setup, &built)
}

#[test]
fn fixture_18_a_changed_user_stage_takes_the_patch_in() -> Result<()> {
    let stages = ["install", "beforeSetup", "setup"];
    for (index, stage) in stages.iter().enumerate() {
        let Some(setup) = new(&user_stages(""))? else { return Ok(()) };
        setup.build("first")?;
        setup.project.write("second", "2")?;
        setup.project.config(&user_stages(&format!("{stage}CacheVersion")))?;
        let built = setup.build("cache version")?;
        let expected: Vec<String> = stages[index..].iter().map(|stage| format!("image/{stage}")).collect();
        assert_eq!(built.run.built(), expected);
        same_files(&setup, &built)?;
    }
    Ok(())
}

#[test]
fn stage_dependencies_decide_what_a_commit_rebuilds() -> Result<()> {
    let config = "image: image\nfrom: BASE\ngit:\n- to: /app\n  stageDependencies: {install: [deps.txt], setup: ['web/**']}\n\
                  shell: {install: cp /app/deps.txt /installed, setup: date}\n";
    let Some(setup) = new(config)? else { return Ok(()) };
    setup.project.write("deps.txt", "a")?;
    setup.build("first")?;
    setup.project.write("other", "x")?;
    assert_eq!(setup.build("outside")?.run.built(), ["image/gitLatestPatch"]);
    setup.project.write("web/page", "x")?;
    assert_eq!(setup.build("inside setup")?.run.built(), ["image/setup"]);
    setup.project.write("deps.txt", "b")?;
    let last = setup.build("inside install")?;
    assert_eq!(last.run.built(), ["image/install", "image/setup"]);
    assert_eq!(engine::sh(&last.image("image"), "cat /installed")?, "b");
    same_files(&setup, &last)
}

#[test]
fn branches_share_only_what_their_common_ancestor_built() -> Result<()> {
    let Some(setup) = new(WHOLE)? else { return Ok(()) };
    setup.build("base")?;
    setup.project.git(&["checkout", "--quiet", "-b", "one"])?;
    setup.project.write("same", "change")?;
    let one = setup.build("on one")?;
    assert_eq!(one.run.built(), ["image/gitLatestPatch"]);

    setup.project.git(&["checkout", "--quiet", "main"])?;
    setup.project.git(&["checkout", "--quiet", "-b", "two"])?;
    setup.project.write("same", "change")?;
    setup.project.write("unlike", "two")?;
    let two = setup.build("on two")?;
    assert_eq!(two.run.reused(), ["image/from", "image/gitArchive"]);
    assert_eq!(two.run.built(), ["image/gitLatestPatch"]);
    same_files(&setup, &two)?;

    setup.project.git(&["checkout", "--quiet", "--orphan", "other"])?;
    let other = setup.build("unrelated")?;
    assert_eq!(other.run.reused(), ["image/from"]);
    assert_eq!(other.run.built(), ["image/gitArchive"]);
    Ok(())
}

#[test]
fn files_change_their_mode_kind_and_place_by_patch() -> Result<()> {
    let config = "image: image\nfrom: BASE\ngit: [{add: /src, to: /app, owner: '55555', group: app}]\n";
    let Some(setup) = new(config)? else { return Ok(()) };
    let project = &setup.project;
    for path in ["plain", "tool", "gone", "dir/inner", "dir/only/deep", "becomes-dir", "with space and 'quote'"] {
        project.write(&format!("src/{path}"), path)?;
    }
    project.chmod("src/tool", 0o755)?;
    project.link("src/link", "plain")?;
    project.link("src/dangling", "none")?;
    let look = "cd /app && find . | sort | tr '\\n' '\\0' | xargs -0 stat -c '%n %A %u:%g' && readlink link && readlink dangling";
    let first = setup.build("first")?;
    let seen = engine::sh(&first.image("image"), look)?;
    assert!(seen.contains("./tool -rwxr-xr-x 55555:1051"), "{seen}");
    assert!(seen.contains(". drwxr-xr-x 55555:1051"), "{seen}");
    assert!(seen.ends_with("plain\nnone\n"), "{seen}");

    project.chmod("src/tool", 0o644)?;
    project.chmod("src/plain", 0o755)?;
    project.write("src/plain", "changed")?;
    project.git(&["rm", "--quiet", "src/gone", "src/dir/only/deep", "src/becomes-dir"])?;
    project.write("src/becomes-dir/file", "in a directory")?;
    project.link("src/link", "tool")?;
    let second = setup.build("second")?;
    assert_eq!(second.run.built(), ["image/gitLatestPatch"]);
    let seen = engine::sh(&second.image("image"), look)?;
    for part in ["./tool -rw-r--r-- 55555:1051", "./plain -rwxr-xr-x 55555:1051", "./becomes-dir/file"] {
        assert!(seen.contains(part), "`{part}` is not in:\n{seen}");
    }
    for gone in ["./gone", "deep", "./dir/only"] {
        assert!(!seen.contains(gone), "`{gone}` is still in:\n{seen}");
    }
    assert!(seen.ends_with("tool\nnone\n"), "{seen}");
    Ok(())
}

/// The merge of a request, as CI makes it: what was built of either branch serves, and both commits are recorded.
#[test]
fn a_virtual_merge_takes_what_both_branches_built_and_is_recorded() -> Result<()> {
    let Some(setup) = new(WHOLE)? else { return Ok(()) };
    let (project, repo) = (&setup.project, setup.repo());
    setup.build("base")?;
    project.git(&["checkout", "--quiet", "-b", "feature"])?;
    project.write("feature", "f")?;
    let from = project.commit("feature")?;
    project.git(&["checkout", "--quiet", "main"])?;
    project.write("main", "m")?;
    let into = project.commit("main")?;
    let no_merge = project.slipway_with(&["build", "--repo", &repo], &[("WERF_VIRTUAL_MERGE", "1")])?;
    assert_eq!(no_merge.code, 3, "{}", no_merge.stderr);
    assert!(no_merge.stderr.contains("no merge of two commits"), "{}", no_merge.stderr);

    project.git(&["checkout", "--quiet", "--detach"])?;
    project.git(&["merge", "--quiet", "--no-ff", "--no-edit", "feature"])?;
    let merged = project.build_with(&["--repo", &repo], &[("WERF_VIRTUAL_MERGE", "1")])?;
    assert_eq!(merged.run.reused(), ["image/from", "image/gitArchive"]);
    assert_eq!(merged.run.built(), ["image/gitLatestPatch"]);
    same_files(&setup, &merged)?;
    let labels = engine::config(&merged.image("image"))?["Labels"].clone();
    let labels = labels.as_object().expect("labels");
    for (end, commit) in [("from", &from), ("into", &into)] {
        let end = format!("-virtual-merge-{end}-commit");
        let found: Vec<&serde_json::Value> =
            labels.iter().filter(|(name, _)| name.ends_with(&end)).map(|(_, value)| value).collect();
        assert_eq!(found, [&serde_json::Value::from(commit.as_str())], "{labels:?}");
    }
    let again = project.build_with(&["--repo", &repo, "--virtual-merge"], &[])?;
    assert!(again.run.built().is_empty());
    // The next push makes another merge; the one before it is in no history.
    project.git(&["checkout", "--quiet", "feature"])?;
    project.write("feature", "g")?;
    project.commit("more")?;
    project.git(&["checkout", "--quiet", "--detach", "main"])?;
    project.git(&["merge", "--quiet", "--no-ff", "--no-edit", "feature"])?;
    let next = project.build_with(&["--repo", &repo, "--virtual-merge"], &[])?;
    assert_eq!(next.run.built(), ["image/gitLatestPatch"]);
    same_files(&setup, &next)
}
