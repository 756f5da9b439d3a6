//! Files of git mappings as commits change them: by an archive, by a patch, and by the patch of a user stage.

use anyhow::Result;
use slipway_e2e::{
    Built, Project, Setup,
    contents::{differences, of_commit, of_image},
    engine,
};

fn new(config: &str) -> Result<Option<Setup>> {
    Setup::new("files", config)
}

/// A directory of the image holds what git says that `add` of the commit does, all of it owned by `owner`.
fn same(setup: &Setup, built: &Built, (add, to): (&str, &str), owner: u64) -> Result<()> {
    let expected = of_commit(setup.project.path(), &format!("HEAD:{add}"), |_| owner)?;
    let differ = differences(&expected, &of_image(&built.image("image"), to)?);
    assert!(differ.is_empty(), "{to} is not `{add}` (git, image):\n{}", differ.join("\n"));
    Ok(())
}

#[test]
fn fixture_16_sources_stay_as_they_are_without_patches() -> Result<()> {
    let config = "image: image\nfrom: BASE\nimport: [{image: sources, add: /app, to: /app, after: setup}]\n---\nimage: sources\n\
                  from: BASE\ndisableGitAfterPatch: true\ngit: [{to: /app}]\n";
    let Some(setup) = new(config)? else { return Ok(()) };
    setup.project.write("file", "1")?;
    let first = setup.build("first")?;
    assert!(first.run.built().contains(&"sources/gitArchive".to_owned()), "{:?}", first.run.built());
    for (content, size) in [("2", 1), ("large", 1 << 20)] {
        setup.project.write("file", content.repeat(size))?;
        let later = setup.build("later")?;
        assert!(later.run.built().is_empty(), "{:?}", later.run.built());
        assert_eq!(later.image("image"), first.image("image"));
    }
    assert_eq!(engine::sh(&first.image("image"), "cat /app/file")?, "1");
    Ok(())
}

/// Names as people give them.
const NAMES: [&str; 4] = ["plain", "with space", "quote's \"and\" $more", "dir/sub dir/\u{fc}ml\u{e4}ut"];

#[test]
fn fixture_20_files_come_go_and_change_by_archive_and_patch() -> Result<()> {
    let config = "image: image\nfrom: BASE\ngit: [{add: /src, to: /app, owner: 55555, group: 55555}]\n";
    let Some(setup) = new(config)? else { return Ok(()) };
    let project = &setup.project;
    for name in NAMES {
        project.write(&format!("src/{name}"), name)?;
        project.write(&format!("src/{name}.tool"), name)?;
        project.chmod(&format!("src/{name}.tool"), 0o755)?;
    }
    let first = setup.build("by archive")?;
    assert_eq!(first.run.built(), ["image/from", "image/gitArchive"]);
    assert_eq!(engine::sh(&first.image("image"), "stat -c '%u:%g %a' /app")?, "55555:55555 755\n");
    same(&setup, &first, ("src", "/app"), 55555)?;

    for name in NAMES {
        // Added, changed, changed in mode and content, in mode alone.
        project.write(&format!("src/{name}.new"), [name.as_bytes(), b"\0\xff binary"].concat())?;
        project.write(&format!("src/{name}"), "changed")?;
        project.chmod(&format!("src/{name}"), 0o755)?;
        project.chmod(&format!("src/{name}.tool"), 0o644)?;
    }
    let second = setup.build("by patch")?;
    assert_eq!(second.run.built(), ["image/gitLatestPatch"]);
    same(&setup, &second, ("src", "/app"), 55555)?;

    for name in NAMES {
        project.git(&["rm", "--quiet", &format!("src/{name}"), &format!("src/{name}.tool")])?;
    }
    let third = setup.build("deleted")?;
    assert_eq!(third.run.built(), ["image/gitLatestPatch"]);
    same(&setup, &third, ("src", "/app"), 55555)?;

    // What is staged and not committed, by `--dev`.
    project.write("src/plain.new", "staged")?;
    project.git(&["add", "--all"])?;
    let dev = project.build_with(&["--repo", &setup.repo()], &[("WERF_DEV", "1")])?;
    assert_eq!(dev.run.built(), ["image/gitLatestPatch"]);
    assert_eq!(engine::sh(&dev.image("image"), "cat /app/plain.new; stat -c %u /app/plain.new")?, "staged55555\n");
    // What lies outside of the mapping builds nothing.
    project.write("outside", "x")?;
    project.git(&["checkout", "--quiet", "HEAD", "--", "src"])?;
    assert!(setup.build("outside")?.run.built().is_empty());
    Ok(())
}

#[test]
fn fixture_21_links_come_go_and_change_by_archive_and_patch() -> Result<()> {
    let config = "image: image\nfrom: BASE\ngit: [{add: /src, to: /app, owner: 55555, group: 55555}]\n";
    let Some(setup) = new(config)? else { return Ok(()) };
    let project = &setup.project;
    project.write("src/file", "x")?;
    project.write("src/dir/inner", "x")?;
    for (name, target) in [("one", "file"), ("two", "none"), ("out", "../../etc"), ("root", "/etc"), ("to-dir", "dir")]
    {
        project.link(&format!("src/{name}"), target)?;
    }
    let first = setup.build("by archive")?;
    same(&setup, &first, ("src", "/app"), 55555)?;

    project.link("src/added", "none")?;
    project.link("src/one", "dir")?;
    project.git(&["rm", "--quiet", "src/two"])?;
    project.link("src/out", "..")?;
    let second = setup.build("by patch")?;
    assert_eq!(second.run.built(), ["image/gitLatestPatch"]);
    same(&setup, &second, ("src", "/app"), 55555)?;
    assert!(setup.build("nothing")?.run.built().is_empty());

    // Links become files and directories, and the other way round.
    project.git(&["rm", "--quiet", "-r", "src/one", "src/to-dir", "src/dir", "src/file"])?;
    project.write("src/one", "a file now")?;
    project.write("src/to-dir/inner", "a directory now")?;
    project.link("src/dir", "to-dir")?;
    project.write("src/file/deep/er", "a directory now")?;
    let third = setup.build("other kinds")?;
    assert_eq!(third.run.built(), ["image/gitLatestPatch"]);
    same(&setup, &third, ("src", "/app"), 55555)
}

#[test]
fn renames_in_case_emptied_directories_and_moves_are_those_of_git() -> Result<()> {
    let config = "image: image\nfrom: BASE\ngit: [{add: /src, to: /app}]\n";
    let Some(setup) = new(config)? else { return Ok(()) };
    let project = &setup.project;
    for path in ["Readme", "lib/a/b/only", "lib/a/c", "moved/one", "moved/two", "x/y/z/deep"] {
        project.write(&format!("src/{path}"), path)?;
    }
    setup.build("first")?;
    project.git(&["mv", "src/Readme", "src/README"])?;
    project.git(&["mv", "src/moved", "src/Moved"])?;
    project.git(&["rm", "--quiet", "src/lib/a/b/only", "src/x/y/z/deep"])?;
    let second = setup.build("second")?;
    assert_eq!(second.run.built(), ["image/gitLatestPatch"]);
    same(&setup, &second, ("src", "/app"), 0)?;
    // A commit that takes all of it back has the same files as the first one, and no patch.
    project.git(&["revert", "--no-edit", "HEAD"])?;
    let reverted = setup.build("reverted")?;
    assert!(reverted.run.built().is_empty(), "{:?}", reverted.run.built());
    same(&setup, &reverted, ("src", "/app"), 0)
}

/// The patch goes into the first user stage that is built anew; those below it are reused.
#[test]
fn patches_go_into_the_user_stage_that_is_built_anew() -> Result<()> {
    let config = "image: image\nfrom: BASE\ngit:\n- {add: /src, to: /app, stageDependencies: {install: [deps], setup: ['web/*']}}\n\
                  shell: {install: cp /app/deps /installed, setup: ls /app > /seen}\n";
    let Some(setup) = new(config)? else { return Ok(()) };
    let project = &setup.project;
    for path in ["deps", "web/page", "old", "dir/file", "tool"] {
        project.write(&format!("src/{path}"), path)?;
    }
    setup.build("first")?;
    // The mode of a file that a stage depends on counts as its content does.
    project.chmod("src/web/page", 0o755)?;
    project.git(&["rm", "--quiet", "-r", "src/old", "src/dir"])?;
    project.write("src/dir", "a file now")?;
    project.link("src/link", "deps")?;
    let second = setup.build("setup")?;
    assert_eq!(second.run.built(), ["image/setup"]);
    assert_eq!(second.run.reused(), ["image/from", "image/gitArchive", "image/install"]);
    same(&setup, &second, ("src", "/app"), 0)?;
    assert_eq!(engine::sh(&second.image("image"), "cat /seen")?, "deps\ndir\nlink\ntool\nweb\n");
    project.write("src/tool", "changed")?;
    assert_eq!(setup.build("neither")?.run.built(), ["image/gitLatestPatch"]);
    // A file whose name alone changes is another file.
    project.git(&["mv", "src/web/page", "src/web/Page"])?;
    let renamed = setup.build("renamed")?;
    assert_eq!(renamed.run.built(), ["image/setup"]);
    same(&setup, &renamed, ("src", "/app"), 0)?;
    assert!(setup.build("nothing")?.run.built().is_empty());
    Ok(())
}

/// What one mapping brings is never another's to delete.
#[test]
fn mappings_inside_of_each_other_keep_apart() -> Result<()> {
    let config = "image: image\nfrom: BASE\ngit:\n- {add: /src, to: /app, excludePaths: [lib]}\n- {add: /lib, to: /app/lib, owner: 1000}\n\
                  - {add: /one, to: /app/lib/one, owner: 1001}\n";
    let Some(setup) = new(config)? else { return Ok(()) };
    let project = &setup.project;
    for path in ["src/a", "src/lib/never", "src/b/c", "lib/x", "lib/y/z", "one"] {
        project.write(path, path)?;
    }
    let look = "cd /app && find . | sort | xargs stat -c '%n %u'";
    let first = setup.build("first")?;
    let seen = ". 0\n./a 0\n./b 0\n./b/c 0\n./lib 1000\n./lib/one 1001\n./lib/x 1000\n./lib/y 1000\n./lib/y/z 1000\n";
    assert_eq!(engine::sh(&first.image("image"), look)?, seen);
    project.git(&["rm", "--quiet", "src/b/c", "lib/y/z", "lib/x"])?;
    project.write("lib/new", "n")?;
    let second = setup.build("second")?;
    assert_eq!(second.run.built(), ["image/gitLatestPatch"]);
    let seen = ". 0\n./a 0\n./lib 1000\n./lib/new 1000\n./lib/one 1001\n";
    assert_eq!(engine::sh(&second.image("image"), look)?, seen);
    // What no mapping takes builds nothing.
    project.write("src/lib/never", "changed")?;
    assert!(setup.build("never")?.run.built().is_empty());
    // One single file for all: its own change is a patch of it alone.
    project.write("one", "changed")?;
    project.chmod("one", 0o755)?;
    let third = setup.build("third")?;
    assert_eq!(third.run.built(), ["image/gitLatestPatch"]);
    assert_eq!(engine::sh(&third.image("image"), "cd /app/lib; cat one; stat -c ' %a %u' one")?, "changed 755 1001\n");
    Ok(())
}

/// Nothing is taken of a stage whose commit the history no longer has: all files come anew, and the build says why.
#[test]
fn a_rewritten_history_starts_from_an_archive_and_says_so() -> Result<()> {
    let config = "image: image\nfrom: BASE\ngit: [{add: /src, to: /app}]\n";
    let Some(setup) = new(config)? else { return Ok(()) };
    let project = &setup.project;
    project.write("src/file", "one")?;
    project.write("src/gone", "x")?;
    setup.build("first")?;
    project.git(&["rm", "--quiet", "src/gone"])?;
    project.write("src/file", "two")?;
    project.git(&["add", "--all"])?;
    project.git(&["commit", "--quiet", "--amend", "--message", "rewritten"])?;
    let rewritten = setup.build("more")?;
    assert_eq!(rewritten.run.reused(), ["image/from"]);
    assert_eq!(rewritten.run.built(), ["image/gitArchive"]);
    assert!(rewritten.run.stderr.contains("not in the history"), "{}", rewritten.run.stderr);
    same(&setup, &rewritten, ("src", "/app"), 0)?;
    let again = setup.build("again")?;
    assert!(again.run.built().is_empty() && !again.run.stderr.contains("not in the history"), "{}", again.run.stderr);
    Ok(())
}

/// Submodules are directories of the mapping; one that moves is a patch of its files.
#[test]
fn a_submodule_that_moves_is_a_patch() -> Result<()> {
    let config = "image: image\nfrom: BASE\ngit: [{add: /src, to: /app, excludePaths: ['**/.gitmodules']}]\n";
    let Some(setup) = new(config)? else { return Ok(()) };
    let (project, module) = (&setup.project, Project::new("module")?);
    module.write("file", "one")?;
    module.write("gone", "x")?;
    module.commit("first")?;
    let url = module.path().display().to_string();
    let submodule = |rest: &[&str]| project.git(&[&["-c", "protocol.file.allow=always", "submodule"], rest].concat());
    submodule(&["--quiet", "add", &url, "src/sub"])?;
    project.write("src/own", "own")?;
    let first = setup.build("first")?;
    let look = "cd /app && find . -type f | sort | xargs tail -n +1";
    let seen = |file: &str| format!("==> ./own <==\nown\n==> ./sub/file <==\n{file}");
    assert!(engine::sh(&first.image("image"), look)?.ends_with("==> ./sub/gone <==\nx"));
    module.write("file", "two")?;
    module.git(&["rm", "--quiet", "gone"])?;
    module.commit("second")?;
    submodule(&["--quiet", "update", "--remote", "src/sub"])?;
    let second = setup.build("moved")?;
    assert_eq!(second.run.built(), ["image/gitLatestPatch"]);
    assert_eq!(engine::sh(&second.image("image"), look)?, seen("two"));
    assert!(setup.build("nothing")?.run.built().is_empty());
    Ok(())
}

/// Attributes say how git shows files to people and packs them for others; an image holds what was committed.
#[test]
fn attributes_change_nothing_of_what_was_committed() -> Result<()> {
    let config = "image: image\nfrom: BASE\ngit: [{add: /src, to: /app}]\n";
    let Some(setup) = new(config)? else { return Ok(()) };
    let project = &setup.project;
    project.write("src/ignored", "not for others\n")?;
    project.write("src/format", "$Format:%H$ $Id$\n")?;
    project.write("src/lines", "one\ntwo\n")?;
    project.write("src/crlf", "one\r\ntwo\r\n")?;
    project.git(&["config", "core.autocrlf", "false"])?;
    // Committed as they are: the attributes come later.
    setup.build("before")?;
    let attributes =
        "ignored export-ignore\nformat export-subst ident\nlines text eol=crlf\n.gitattributes export-ignore\n";
    project.write("src/.gitattributes", attributes)?;
    let look = |built: &Built| {
        engine::sh(
            &built.image("image"),
            "cd /app; for f in .gitattributes *; do echo $f; od -c $f | tail -n1; md5sum < $f; done",
        )
    };
    let patched = setup.build("by patch")?;
    assert_eq!(patched.run.built(), ["image/gitLatestPatch"]);
    let expected = "cat /app/ignored /app/format /app/lines; wc -c < /app/crlf; ls -A /app | wc -l";
    let seen = "not for others\n$Format:%H$ $Id$\none\ntwo\n10\n5\n";
    assert_eq!(engine::sh(&patched.image("image"), expected)?, seen);
    project.config(&config.replace("git:", "fromCacheVersion: 2\ngit:"))?;
    let archived = setup.build("by archive")?;
    assert_eq!(archived.run.built(), ["image/from", "image/gitArchive"]);
    assert_eq!(engine::sh(&archived.image("image"), expected)?, seen);
    assert_eq!(look(&archived)?, look(&patched)?);
    // What git checks out by them is no change.
    assert!(setup.build("nothing")?.run.built().is_empty());
    Ok(())
}
