//! Toolbox images of one's own.

use std::path::Path;

use anyhow::{Result, ensure};
use slipway_e2e::{Part, Project, Registry, engine, require};
use slipway_process::child::command;

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];

/// An image of what `docker/toolbox/lay-out` makes, without some of its programs, in a registry. `ansible` is laid beside
/// them.
pub(crate) fn toolbox(registry: &Registry, tag: &str, without: &[&str], ansible: Option<&Path>) -> Result<String> {
    let home = tempfile::tempdir()?;
    let lay_out = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker/toolbox/lay-out");
    let made = command("sh").arg(lay_out).arg(home.path()).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for program in without {
        std::fs::remove_file(home.path().join(".werf/stapel/embedded/bin").join(program))?;
    }
    if let Some(ansible) = ansible {
        let copied = command("cp").arg("-a").arg(ansible).arg(home.path().join(".werf/stapel/ansible")).status()?;
        ensure!(copied.success(), "cp failed");
    }
    let archive = tempfile::NamedTempFile::new()?;
    let mut packed = command("tar");
    packed.arg("-C").arg(home.path()).args(["--owner=0", "--group=0", "-cf"]).arg(archive.path()).arg(".");
    ensure!(packed.status()?.success(), "tar failed");
    let name = format!("{}:{tag}", registry.repo("toolbox"));
    let path = archive.path().to_string_lossy().into_owned();
    engine::run(&[
        "import",
        "--change",
        "VOLUME /.werf/stapel",
        "--change",
        "CMD [\"/.werf/stapel/embedded/bin/true\"]",
        &path,
        &name,
    ])?;
    engine::run(&["push", "--quiet", &name])?;
    engine::run(&["image", "rm", &name])?;
    Ok(registry.repo("toolbox"))
}

#[test]
fn a_toolbox_image_of_ones_own_runs_commands_and_one_that_lacks_something_is_refused() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("toolbox")?);
    let unique = slipway_process::random_id();
    let (good, bad) = (format!("good-{unique}"), format!("bad-{unique}"));
    let name = toolbox(&registry, &good, &[], None)?;
    toolbox(&registry, &bad, &["base64", "rm"], None)?;
    project.write("kept/file", "x")?;
    project.write("kept/gone", "x")?;
    project.config("image: app\nfrom: BASE\ngit: [{add: /kept, to: /kept}]\nshell: {setup: ['echo $BASH > /shell; ls /kept > /kept-files']}\n")?;
    project.commit("first")?;
    let repo = registry.repo("shop");
    let variables = |version| [("WERF_STAPEL_IMAGE_NAME", name.as_str()), ("WERF_STAPEL_IMAGE_VERSION", version)];
    let refused = project.slipway_with(&["build", "--repo", &repo], &variables(&bad))?;
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    for part in ["has no base64, rm in /.werf/stapel/embedded/bin", &bad, "docker/toolbox"] {
        assert!(refused.stderr.contains(part), "`{part}` is not in:\n{}", refused.stderr);
    }
    let missing = project.slipway_with(&["build", "--repo", &repo], &variables("none"))?;
    assert!(missing.code == 1 && missing.stderr.contains("WERF_STAPEL_IMAGE_NAME"), "{}", missing.stderr);
    let built = project.build_with(&["--repo", &repo], &variables(&good))?;
    assert_eq!(
        engine::sh(&built.image("app"), "cat /shell /kept-files")?,
        "/.werf/stapel/embedded/bin/bash\nfile\ngone\n"
    );
    // Deleting files needs the toolbox, too; with another one nothing is built again that was.
    std::fs::remove_file(project.path().join("kept/gone"))?;
    project.commit("second")?;
    let second = project.build_with(&["--repo", &repo], &variables(&good))?;
    assert_eq!(second.run.built(), ["app/gitLatestPatch"]);
    assert_eq!(engine::sh(&second.image("app"), "ls /kept")?, "file\n");
    assert!(project.build(&["--repo", &repo])?.run.built().is_empty());
    for tag in [good, bad] {
        let _ = engine::run(&["rm", "--volumes", &format!("stapel_{tag}")]);
        let _ = engine::run(&["image", "rm", &format!("{name}:{tag}")]);
    }
    Ok(())
}
