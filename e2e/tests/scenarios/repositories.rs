//! Whatever a git repository is like: its commit is built, or it is said why not.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, path::Path};

use anyhow::Result;
use slipway_e2e::{Built, Project, Run, Setup, engine};
use slipway_process::child;

const WHOLE: &str = "image: image\nfrom: BASE\ngit: [{to: /app}]\n";
/// Says everything of a tree that git knows: kinds, modes, names, targets, contents, and directories.
const LOOK: &str = "export LC_ALL=C; find . ! -type d -print0 | sort -z | xargs -0 -r stat -c '%A %n'; \
    find . -type l -print0 | sort -z | xargs -0 -r -n 1 readlink; \
    find . -type f -print0 | sort -z | xargs -0 -r cat | md5sum; find . -type d -print0 | sort -z | tr '\\0' '\\n'";

fn new(config: &str) -> Result<Option<Setup>> {
    let setup = Setup::new("repository", config)?;
    if let Some(setup) = &setup {
        setup.project.write("file", "1")?;
    }
    Ok(setup)
}

fn build_in(setup: &Setup, directory: &Path) -> Result<Built> {
    setup.project.build(&["--repo", &setup.repo(), "--dir", &text(directory)])
}

fn run_in(setup: &Setup, directory: &Path) -> Result<Run> {
    setup.project.slipway(&["build", "--repo", &setup.repo(), "--dir", &text(directory)])
}

/// `/app` of the image is the directory `below` of the commit, in everything.
fn same_app(setup: &Setup, built: &Built, below: &str) -> Result<()> {
    same_tree(setup.project.path(), &built.image("image"), "/app", below)
}

fn text(path: &Path) -> String {
    path.to_str().expect("a UTF-8 path").to_owned()
}

fn same_tree(repository: &Path, image: &str, at: &str, below: &str) -> Result<()> {
    let reference = tempfile::tempdir()?;
    let unpack = "git -c tar.umask=0022 archive \"HEAD:$1\" | tar -x -C \"$2\"";
    let unpacked = child::command("sh")
        .args(["-c", unpack, "sh", below])
        .arg(reference.path())
        .current_dir(repository)
        .status()?;
    assert!(unpacked.success());
    let expected = child::command("sh").args(["-c", LOOK]).current_dir(reference.path()).output()?;
    let seen = engine::sh(image, &format!("cd {at}; {LOOK}"))?;
    assert_eq!(seen, String::from_utf8_lossy(&expected.stdout));
    Ok(())
}

fn git(directory: &Path, arguments: &[&str]) -> Result<()> {
    let git = child::command("git").arg("-C").arg(directory).args(arguments).output()?;
    assert!(git.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&git.stderr));
    Ok(())
}

/// Git with local clones of submodules allowed.
fn submodule(directory: &Path, arguments: &[&str]) -> Result<()> {
    git(directory, &[&["-c", "protocol.file.allow=always", "submodule", "--quiet"], arguments].concat())
}

fn says(run: &Run, code: i32, parts: &[&str]) {
    assert_eq!(run.code, code, "{}", run.stderr);
    for part in parts {
        assert!(run.stderr.contains(part), "`{part}` is not in:\n{}", run.stderr);
    }
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
}

#[test]
fn a_bare_clone_builds_what_its_origin_built() -> Result<()> {
    let Some(setup) = new(WHOLE)? else { return Ok(()) };
    let first = setup.build("first")?;
    let elsewhere = tempfile::tempdir()?;
    let bare = elsewhere.path().join("bare.git");
    git(elsewhere.path(), &["clone", "--quiet", "--bare", &text(setup.project.path()), &text(&bare)])?;
    let second = build_in(&setup, &bare)?;
    assert_eq!((second.run.built().len(), second.image("image")), (0, first.image("image")));
    let empty = elsewhere.path().join("empty");
    fs::create_dir(&empty)?;
    let arguments = ["--repo", &setup.repo(), "--dir", &text(&empty), "--git-work-tree", &text(&bare)];
    assert!(setup.project.build(&arguments)?.run.built().is_empty());
    Ok(())
}

#[test]
fn a_shallow_clone_is_made_whole_unless_told_otherwise() -> Result<()> {
    let image = "image: image\nfrom: BASE\ngit: [{to: /app}]\nshell: {setup: date}\n";
    let Some(setup) = new(image)? else { return Ok(()) };
    setup.build("first")?;
    let origin = format!("file://{}", setup.project.path().display());
    let elsewhere = tempfile::tempdir()?;
    let cloned = |name: &str| -> Result<std::path::PathBuf> {
        let clone = elsewhere.path().join(name);
        git(elsewhere.path(), &["clone", "--quiet", "--depth", "1", &origin, &text(&clone)])?;
        Ok(clone)
    };
    let is_shallow = |clone: &Path| clone.join(".git/shallow").exists();
    let with_worktree = |keys: &str, file: &str| -> Result<()> {
        setup.project.write("file", file)?;
        setup.project.config(image)?;
        let whole = fs::read_to_string(setup.project.path().join("werf.yaml"))?;
        setup.project.write("werf.yaml", whole.replacen("---", &format!("gitWorktree: {{{keys}}}\n---"), 1))?;
        setup.project.commit(file).map(drop)
    };

    // Forbidden: it is said what to do.
    with_worktree("allowUnshallow: false", "2")?;
    let forbidden = cloned("forbidden")?;
    says(&run_in(&setup, &forbidden)?, 3, &["shallow git clone is not allowed", "gitWorktree.allowUnshallow: true"]);
    assert!(is_shallow(&forbidden));

    // As it is: what the history would have to vouch for is built again, and said.
    with_worktree("forceShallowClone: true", "3")?;
    let clone = cloned("as-it-is")?;
    let shallow = build_in(&setup, &clone)?;
    assert_eq!(shallow.run.reused(), ["image/from"]);
    assert_eq!(shallow.run.built(), ["image/gitArchive", "image/setup"]);
    let hints = shallow.run.stderr.matches("git fetch --unshallow").count();
    assert_eq!(hints, 1, "{}", shallow.run.stderr);
    assert!(is_shallow(&clone));
    same_app(&setup, &shallow, "")?;
    assert!(build_in(&setup, &clone)?.run.built().is_empty());

    // By default the rest is fetched, and the older stage that is suitable is found.
    with_worktree("", "4")?;
    let clone = cloned("whole")?;
    let whole = build_in(&setup, &clone)?;
    assert_eq!(whole.run.built(), ["image/gitLatestPatch"]);
    assert_eq!(whole.run.stderr.matches("was shallow").count(), 1, "{}", whole.run.stderr);
    assert!(!is_shallow(&clone));
    same_app(&setup, &whole, "")?;

    // It cannot be had.
    let stranded = cloned("stranded")?;
    git(&stranded, &["remote", "set-url", "origin", "file:///nowhere"])?;
    says(&run_in(&setup, &stranded)?, 3, &["is cut off", "/nowhere", "gitWorktree.forceShallowClone: true"]);
    Ok(())
}

#[test]
fn a_linked_work_tree_is_a_project_of_its_own() -> Result<()> {
    let Some(setup) = new(WHOLE)? else { return Ok(()) };
    setup.build("first")?;
    let elsewhere = tempfile::tempdir()?;
    let linked = elsewhere.path().join("linked");
    setup.project.git(&["worktree", "add", "--quiet", "--detach", &text(&linked)])?;
    // What is not committed in the main work tree does not matter here.
    setup.project.write("file", "changed")?;
    assert!(build_in(&setup, &linked)?.run.built().is_empty());
    fs::write(linked.join("file"), "changed here")?;
    says(&run_in(&setup, &linked)?, 3, &["file"]);
    git(&linked, &["commit", "--quiet", "--all", "--message", "on a detached HEAD"])?;
    let built = build_in(&setup, &linked)?;
    assert_eq!(built.run.built(), ["image/gitLatestPatch"]);
    same_tree(&linked, &built.image("image"), "/app", "")
}

#[test]
fn submodules_are_built_in_when_they_are_there() -> Result<()> {
    let config = "image: image\nfrom: BASE\ngit: [{add: /lib, to: /app}]\n---\nimage: df\ndockerfile: Dockerfile\n";
    let Some(setup) = new(config)? else { return Ok(()) };
    let library = Project::new("library")?;
    library.write("deep/code", "1")?;
    library.link("link", "deep/code")?;
    library.commit("first")?;
    let project = &setup.project;
    project.write("Dockerfile", format!("FROM {}\nCOPY lib /app\n", project.base()))?;
    submodule(project.path(), &["add", &text(library.path()), "lib"])?;
    let first = setup.build("first")?;
    for image in ["image", "df"] {
        same_tree(library.path(), &first.image(image), "/app", "")?;
    }

    library.write("deep/more", "2")?;
    fs::remove_file(library.path().join("link"))?;
    library.commit("second")?;
    git(&project.path().join("lib"), &["pull", "--quiet"])?;
    let second = setup.build("a newer library")?;
    assert_eq!(second.run.built().len(), 2, "{:?}", second.run.built());
    for image in ["image", "df"] {
        same_tree(library.path(), &second.image(image), "/app", "")?;
    }
    // A file that is changed in the submodule would not be built.
    project.write("lib/deep/code", "changed")?;
    says(&project.slipway(&["build", "--repo", &setup.repo()])?, 3, &["lib"]);
    git(&project.path().join("lib"), &["checkout", "--quiet", "."])?;

    let elsewhere = tempfile::tempdir()?;
    let clone = elsewhere.path().join("clone");
    git(elsewhere.path(), &["clone", "--quiet", &text(project.path()), &text(&clone)])?;
    for image in ["image", "df"] {
        let arguments = ["build", image, "--repo", &setup.registry.repo("other"), "--dir", &text(&clone)];
        let run = project.slipway(&arguments)?;
        assert!(run.code == 1 || run.code == 3, "{}", run.stderr);
        says(&run, run.code, &["`lib`", "git submodule update --init"]);
    }
    submodule(&clone, &["update", "--init"])?;
    assert!(build_in(&setup, &clone)?.run.built().is_empty());
    Ok(())
}

#[test]
fn any_name_goes_into_an_image_and_out_of_it_again() -> Result<()> {
    let config = "image: image\nfrom: BASE\ngit: [{add: /src, to: /app}]\n---\nimage: df\ndockerfile: Dockerfile\n";
    let Some(setup) = new(config)? else { return Ok(()) };
    let project = &setup.project;
    project.write("Dockerfile", format!("FROM {}\nCOPY src /app\n", project.base()))?;
    let long = "l".repeat(255);
    let deep = ["d".repeat(120), "e".repeat(120), "f".repeat(120)].join("/");
    let names: [&[u8]; 13] = [
        b"not-utf-8-\xff\xfe",
        b"\xd0\xb8\xd0\xbc\xd1\x8f",
        b"new\nline",
        b"quote'single",
        b"quote\"double",
        b" leading and trailing ",
        b"back\\slash",
        b"$HOME `id` *?[a]",
        b"-rf",
        b"tab\there",
        long.as_bytes(),
        deep.as_bytes(),
        b"x/\xff/y",
    ];
    let place = |name: &[u8]| project.path().join("src").join(OsStr::from_bytes(name));
    for (number, name) in names.iter().enumerate() {
        fs::create_dir_all(place(name).parent().expect("a parent"))?;
        fs::write(place(name), format!("content {number}"))?;
    }
    project.link("src/long-target", &"../t".repeat(60))?;
    let looks_the_same = |built: &Built| -> Result<()> {
        same_app(&setup, built, "src")?;
        same_tree(project.path(), &built.image("df"), "/app", "src")
    };
    looks_the_same(&setup.build("first")?)?;
    for (number, name) in names.iter().enumerate() {
        match number % 2 {
            0 => fs::remove_file(place(name))?,
            _ => fs::write(place(name), "changed")?,
        }
    }
    looks_the_same(&setup.build("second")?)
}

#[test]
fn a_name_that_deletes_in_layers_is_refused() -> Result<()> {
    let Some(setup) = new("image: image\nfrom: BASE\ngit: [{add: /src, to: /app, excludePaths: [out]}]\n")? else {
        return Ok(());
    };
    setup.project.write("src/out/.wh.fine", "left out")?;
    setup.project.write("src/deep/.wh.passwd", "1")?;
    setup.project.commit("first")?;
    says(&run_in(&setup, setup.project.path())?, 1, &["`src/deep/.wh.passwd`", "excludePaths"]);
    setup.project.git(&["mv", "src/deep/.wh.passwd", "src/deep/passwd"])?;
    setup.build("second").map(drop)
}

#[test]
fn what_cannot_be_built_says_why_and_what_to_do() -> Result<()> {
    let Some(setup) = new(WHOLE)? else { return Ok(()) };
    says(&run_in(&setup, setup.project.path())?, 3, &["no commits yet", "git commit"]);
    let bare = tempfile::tempdir()?;
    git(bare.path(), &["init", "--quiet", "--bare"])?;
    says(&run_in(&setup, bare.path())?, 3, &["no commits yet"]);
    let nothing = tempfile::tempdir()?;
    says(&run_in(&setup, nothing.path())?, 3, &["is not in a git repository", "git init"]);
    says(&run_in(&setup, &nothing.path().join("missing"))?, 2, &["does not exist"]);
    setup.project.commit("first")?;
    fs::write(setup.project.path().join(".git/HEAD"), "garbage\n")?;
    let broken = run_in(&setup, setup.project.path())?;
    says(&broken, 3, &["git repository"]);
    Ok(())
}

#[test]
fn a_damaged_repository_is_named() -> Result<()> {
    let Some(setup) = new(WHOLE)? else { return Ok(()) };
    setup.project.commit("first")?;
    let blob = setup.project.git(&["rev-parse", "HEAD:file"])?;
    let object = setup.project.path().join(".git/objects").join(&blob[..2]).join(&blob[2..]);
    fs::remove_file(object)?;
    let run = run_in(&setup, setup.project.path())?;
    says(&run, 1, &["file"]);
    assert!(run.stderr.contains(&blob) || run.stderr.contains("is not in the git repository"), "{}", run.stderr);
    Ok(())
}

#[test]
fn a_project_in_a_sub_directory_has_mappings_of_the_repository_and_contexts_of_its_own() -> Result<()> {
    let Some(setup) = Setup::empty("below")? else { return Ok(()) };
    let project = &setup.project;
    let below = "services/the shop";
    project.write(
        &format!("{below}/werf.yaml"),
        format!(
            "project: {}\nconfigVersion: 1\n---\nimage: image\nfrom: {}\ngit: [{{add: /src, to: /app}}]\n---\n\
             image: df\ndockerfile: build/Dockerfile\ncontext: ctx\n",
            project.name(),
            project.base()
        ),
    )?;
    project.write("src/of-the-root", "1")?;
    project.write(&format!("{below}/src/of-the-project"), "2")?;
    project.write(&format!("{below}/ctx/file"), "3")?;
    let dockerfile = format!("FROM {}\nCOPY file /file\n", project.base());
    project.write(&format!("{below}/build/Dockerfile"), &dockerfile)?;
    project.write(&format!("{below}/ctx/build/Dockerfile"), &dockerfile)?;
    project.commit("first")?;
    let built = build_in(&setup, &project.path().join(below))?;
    same_app(&setup, &built, "src")?;
    assert_eq!(engine::sh(&built.image("df"), "cat /file")?, "3");
    // What lies beside the project does not matter to it.
    project.write("elsewhere", "x")?;
    project.commit("second")?;
    assert!(build_in(&setup, &project.path().join(below))?.run.built().is_empty());
    Ok(())
}

#[test]
fn every_kind_of_change_by_patch() -> Result<()> {
    let Some(setup) = new("image: image\nfrom: BASE\ngit: [{add: /src, to: /app}]\n")? else { return Ok(()) };
    let project = &setup.project;
    let src = project.path().join("src");
    for path in ["renamed", "Case", "file-dir", "dir-file/inner/deep", "dir-link/inner", "emptied/a/b/c", "kept/x"] {
        project.write(&format!("src/{path}"), path)?;
    }
    project.link("src/link-file", "renamed")?;
    project.link("src/link-dir", "kept")?;
    project.link("src/link-link", "kept")?;
    same_app(&setup, &setup.build("first")?, "src")?;

    project.git(&["mv", "src/renamed", "src/kept/renamed"])?;
    project.git(&["mv", "src/Case", "src/case"])?;
    for path in ["file-dir", "link-file", "link-dir", "link-link"] {
        fs::remove_file(src.join(path))?;
    }
    for path in ["dir-file", "dir-link", "emptied"] {
        fs::remove_dir_all(src.join(path))?;
    }
    project.write("src/file-dir/now/a", "directory")?;
    project.write("src/dir-file", "file")?;
    project.link("src/dir-link", "kept")?;
    project.write("src/link-file", "file")?;
    project.write("src/link-dir/inside", "directory")?;
    project.link("src/link-link", "/etc")?;
    let second = setup.build("second")?;
    assert_eq!(second.run.built(), ["image/gitLatestPatch"]);
    same_app(&setup, &second, "src")?;
    // What stood behind a link that became a directory is as it was.
    assert_eq!(engine::sh(&second.image("image"), "ls /app/kept; ls /etc/passwd")?, "renamed\nx\n/etc/passwd\n");

    project.git(&["rm", "-r", "--quiet", "src/file-dir", "src/dir-link", "src/link-dir", "src/link-link"])?;
    project.link("src/file-dir", "kept")?;
    project.write("src/dir-link/again", "directory")?;
    project.write("src/link-link", "file")?;
    let third = setup.build("third")?;
    assert_eq!(third.run.built(), ["image/gitLatestPatch"]);
    same_app(&setup, &third, "src")
}

#[test]
fn a_file_that_leaves_the_filter_leaves_the_image() -> Result<()> {
    let config = "image: image\nfrom: BASE\ngit:\n- add: /src\n  to: /app\n  includePaths: ['**/*.txt', whole]\n  \
                  excludePaths: ['**/no*', whole/not]\n";
    let Some(setup) = new(config)? else { return Ok(()) };
    let project = &setup.project;
    for path in ["a.txt", "b.md", "deep/er/c.txt", "deep/no.txt", "whole/d.md", "whole/not/e", "moved.txt"] {
        project.write(&format!("src/{path}"), path)?;
    }
    let list = |built: &Built| engine::sh(&built.image("image"), "cd /app && find . ! -type d | sort | tr '\\n' ' '");
    let first = setup.build("first")?;
    assert_eq!(list(&first)?, "./a.txt ./deep/er/c.txt ./moved.txt ./whole/d.md ");
    for (from, to) in [
        ("a.txt", "a.md"),
        ("b.md", "b.txt"),
        ("deep/er/c.txt", "deep/er/noc.txt"),
        ("deep/no.txt", "deep/yes.txt"),
        ("moved.txt", "whole/moved"),
        ("whole/d.md", "whole/not/d.md"),
    ] {
        project.git(&["mv", &format!("src/{from}"), &format!("src/{to}")])?;
    }
    let second = setup.build("second")?;
    assert_eq!(second.run.built(), ["image/gitLatestPatch"]);
    assert_eq!(list(&second)?, "./b.txt ./deep/yes.txt ./whole/moved ");
    assert_eq!(engine::sh(&second.image("image"), "ls -d /app/deep/*")?, "/app/deep/yes.txt\n");
    project.write("src/a.md", "outside of the filter")?;
    assert!(setup.build("third")?.run.built().is_empty());
    Ok(())
}

#[test]
fn two_mappings_side_by_side_are_patched_each_on_its_own() -> Result<()> {
    let config = "image: image\nfrom: BASE\ngit:\n- {add: /one, to: /app/one, owner: '7'}\n- {add: /two, to: /app/two}\n\
                  - {add: /file, to: /app/single}\n";
    let Some(setup) = new(config)? else { return Ok(()) };
    let project = &setup.project;
    project.write("one/a", "1")?;
    project.write("two/a", "2")?;
    setup.build("first")?;
    project.git(&["mv", "one/a", "two/b"])?;
    project.write("one/c", "3")?;
    project.write("file", "single, changed")?;
    let second = setup.build("second")?;
    assert_eq!(second.run.built(), ["image/gitLatestPatch"]);
    let look = "cd /app && find . -type f | sort | xargs stat -c '%n %u'; cat single";
    let seen = engine::sh(&second.image("image"), look)?;
    assert_eq!(seen, "./one/c 7\n./single 0\n./two/a 0\n./two/b 0\nsingle, changed");
    Ok(())
}

#[test]
fn a_rewritten_history_starts_with_an_archive_again() -> Result<()> {
    let Some(setup) = new(WHOLE)? else { return Ok(()) };
    setup.project.write("first", "1")?;
    setup.build("first")?;
    setup.project.write("first", "2")?;
    setup.project.git(&["add", "--all"])?;
    setup.project.git(&["commit", "--quiet", "--amend", "--message", "rewritten"])?;
    // The old commit is not even in the repository any more.
    setup.project.git(&["reflog", "expire", "--expire=now", "--all"])?;
    setup.project.git(&["gc", "--quiet", "--prune=now"])?;
    let second = setup.project.build(&["--repo", &setup.repo()])?;
    assert_eq!(second.run.built(), ["image/gitArchive"]);
    same_app(&setup, &second, "")
}
