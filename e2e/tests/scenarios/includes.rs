//! Configurations whose files come from other repositories.

use anyhow::Result;
use slipway_e2e::{Part, Project, Registry, engine, require, takes_engine_images};

use crate::giterminism::refused;

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];

/// A repository with these files, committed.
fn repository(files: &[(&str, String)]) -> Result<Project> {
    let repository = Project::new("other")?;
    for (path, content) in files {
        repository.write(path, content)?;
    }
    repository.commit("first")?;
    Ok(repository)
}

fn url(repository: &Project) -> String {
    format!("file://{}", repository.path().display())
}

/// The configuration: documents from partial files of both repositories, a helper of one, a Dockerfile of the other.
fn common(name: &str) -> Result<Project> {
    let config = format!(
        "project: {name}\nconfigVersion: 1\n{{{{ range $path, $content := .Files.Glob \"**/werf-partial.yaml\" }}}}---\n\
         {{{{ tpl $content $ }}}}\n{{{{ end }}}}"
    );
    repository(&[
        ("shared/werf.yaml", config),
        ("shared/.werf/helpers.tmpl", format!("{{{{ define \"base\" }}}}{}{{{{ end }}}}", engine::base_image())),
        ("shared/.helm/Chart.yaml", "name: common".to_owned()),
        ("shared/werf-giterminism.yaml", "giterminismConfigVersion: 9".to_owned()),
        ("private/secret", "x".to_owned()),
    ])
}

fn backend() -> Result<Project> {
    repository(&[
        (
            "werf-partial.yaml",
            "image: backend\nfrom: {{ include \"base\" . }}\ngit: [{add: /src, to: /app}]\n".to_owned(),
        ),
        ("docker/werf-partial.yaml", "image: front\ndockerfile: docker/Dockerfile\n".to_owned()),
        ("docker/Dockerfile", format!("FROM {}\nCOPY src /ctx\n", engine::base_image())),
        ("Chart.yaml", "name: backend".to_owned()),
        ("src/file", "theirs".to_owned()),
    ])
}

#[test]
fn fixture_68_a_configuration_of_other_repositories_is_rendered_and_built() -> Result<()> {
    if !require(&ALL) || !takes_engine_images() {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("includes")?);
    let repo = registry.repo("includes");
    let (common, backend) = (common(project.name())?, backend()?);
    project.write("src/file", "ours")?;
    let list = |more: &str| {
        format!(
            "includes:\n- {{git: '{}', branch: main, add: shared, to: /}}\n- {{git: '{}', branch: main, to: /, \
             includePaths: [/werf-partial.yaml, docker, Chart.yaml, src]{more}}}\n",
            url(&common),
            url(&backend)
        )
    };
    project.write("werf-includes.yaml", list(""))?;
    project.commit("no lock")?;
    refused(&project.slipway(&["config", "render"])?, "is not in werf-includes.lock");
    refused(&project.slipway(&["config", "render", "--allow-includes-update"])?, "not allowed by giterminism");

    let updated = project.slipway(&["includes", "update", "--dev"])?;
    assert_eq!(updated.code, 0, "{}", updated.stderr);
    let lock = std::fs::read_to_string(project.path().join("werf-includes.lock"))?;
    assert!(lock.contains(&format!("- git: {}\n  branch: main\n  commit: ", url(&common))), "{lock}");
    refused(&project.slipway(&["config", "render"])?, "the untracked file \"werf-includes.lock\" must be committed");
    project.commit("lock")?;

    let rendered = project.slipway(&["config", "render"])?;
    assert_eq!(rendered.code, 0, "{}", rendered.stderr);
    assert!(
        rendered.stdout.contains("image: backend") && rendered.stdout.contains("image: front"),
        "{}",
        rendered.stdout
    );
    let built = project.build(&["--repo", &repo])?;
    // Sources and contexts are the project's own.
    assert_eq!(engine::sh(&built.image("backend"), "cat /app/file")?, "ours");
    assert_eq!(engine::sh(&built.image("front"), "cat /ctx/file; ls /ctx")?, "oursfile\n");

    let loose = project.slipway(&["config", "render", "--loose-giterminism"])?;
    assert_eq!((loose.code, loose.stdout), (0, rendered.stdout), "{}", loose.stderr);

    // The lock holds what it holds.
    backend.write("werf-partial.yaml", "image: other\nfrom: alpine\n")?;
    backend.commit("second")?;
    assert!(project.build(&["--repo", &repo])?.run.built().is_empty());
    project.write("werf-giterminism.yaml", "giterminismConfigVersion: 1\nincludes: {allowIncludesUpdate: true}\n")?;
    project.commit("allow")?;
    let now = project.slipway(&["config", "render", "--allow-includes-update"])?;
    assert!(
        now.stdout.contains("image: other") && !now.stdout.contains("image: backend"),
        "{}{}",
        now.stdout,
        now.stderr
    );
    Ok(())
}

#[test]
fn own_files_win_and_later_includes_win_over_earlier_ones() -> Result<()> {
    if !require(&[Part::Git]) {
        return Ok(());
    }
    let project = Project::new("overlay")?;
    let (common, backend) = (common(project.name())?, backend()?);
    project.write("own", "own")?;
    project.commit("own")?;
    project.write(
        "werf-includes.yaml",
        format!(
            "includes:\n- {{git: '{}', branch: main, add: /shared, excludePaths: .werf}}\n- {{git: '{}', branch: main, add: Chart.yaml, to: .helm}}\n\
             - {{git: '{}', branch: main, add: Chart.yaml, to: sub/named.yaml}}\n",
            url(&common),
            url(&backend),
            url(&backend)
        )
        .replace("to: .helm}", "to: .helm/Chart.yaml}"),
    )?;
    assert_eq!(project.slipway(&["includes", "update", "--dev"])?.code, 0);
    project.commit("first")?;
    let listed = project.slipway(&["includes", "ls-files"])?;
    let width = "werf-includes.lock".len();
    let line = |path: &str, source: &str| format!("{path:width$}  {source}\n");
    let expected = line("PATH", "SOURCE")
        + &line(".helm/Chart.yaml", &url(&backend))
        + &line("own", "local")
        + &line("sub/named.yaml", &url(&backend))
        + &line("werf-includes.lock", "local")
        + &line("werf-includes.yaml", "local")
        + &line("werf.yaml", &url(&common));
    assert_eq!(listed.stdout, expected, "{}", listed.stderr);
    let get = |path: &str| project.slipway(&["includes", "get-file", path]).map(|run| (run.code, run.stdout));
    assert_eq!(get(".helm/Chart.yaml")?, (0, "name: backend".to_owned()));
    assert_eq!(get("own")?, (0, "own".to_owned()));
    assert_eq!(get("nothing")?.0, 3);
    let some = project.slipway(&["includes", "ls-files", ".helm"])?.stdout;
    assert!(some.contains(".helm/Chart.yaml") && !some.contains("own"), "{some}");

    // A file of the project wins, once it is committed.
    project.write(".helm/Chart.yaml", "name: own")?;
    assert!(!project.slipway(&["includes", "ls-files", ".helm"])?.stdout.contains("Chart.yaml"));
    project.commit("own chart")?;
    assert_eq!(get(".helm/Chart.yaml")?, (0, "name: own".to_owned()));
    Ok(())
}

#[test]
fn what_is_wrong_with_includes_is_told() -> Result<()> {
    if !require(&[Part::Git]) {
        return Ok(());
    }
    let project = Project::new("wrong")?;
    project.config("image: app\nfrom: alpine\n")?;
    let run = |text: &str, arguments: &[&str]| -> Result<_> {
        project.write("werf-includes.yaml", text)?;
        project.commit("includes")?;
        project.slipway(arguments)
    };
    refused(&run("includes: []\n", &["includes", "update"])?, "there is nothing to lock");
    refused(&run("includes:\n- {git: x}\n", &["config", "render"])?, "werf-includes.yaml:2:3: an include needs one of");
    let nowhere = "includes:\n- {git: 'file:///nowhere/x.git', branch: main}\n";
    refused(&run(nowhere, &["includes", "update"])?, "fetch branch `main` of file:///nowhere/x.git");
    let relative = "includes:\n- {git: ../x, branch: main}\n";
    refused(&run(relative, &["includes", "update"])?, "is a relative path");
    let other = repository(&[("a", "a".to_owned())])?;
    let missing = format!("includes:\n- {{git: '{}', branch: none}}\n", url(&other));
    refused(&run(&missing, &["includes", "update"])?, "branch `none` of file://");
    refused(&project.slipway(&["config", "render", "--includes-config", "none.yaml"])?, "none.yaml not found");
    assert_eq!(project.slipway(&["includes", "get-file"])?.code, 2);
    Ok(())
}
