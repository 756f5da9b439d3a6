//! Staged Dockerfiles: every instruction is a stage, and what comes out is what the whole gives. By the native backend, or by
//! buildah with `SLIPWAY_TEST_BACKEND=buildah`.

use anyhow::Result;
use slipway_e2e::{Project, Registry, engine, tree};
use slipway_process::Environment;

use super::native::{NO_ENGINE, base, can_build};

/// Buildah where that is the backend of the tests; else native.
fn backend() -> &'static str {
    match Environment::from_process().non_empty("SLIPWAY_TEST_BACKEND") {
        Some("buildah") => "buildah",
        _ => "native",
    }
}

fn without_engine(project: &Project, arguments: &[&str]) -> Result<slipway_e2e::Built> {
    project.build_with(&[arguments, &["--backend", backend()]].concat(), &NO_ENGINE)
}

/// A chain of stages, one of them an image from elsewhere, and a last one without instructions.
#[test]
fn fixture_47_parts_of_a_dockerfile_are_images_and_their_instructions_stages() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("staged")?);
    let (base, repo) = (base(&registry)?, registry.repo("stages"));
    let tools = format!("ARG TAG=1\nFROM {base} AS tools\nRUN mkdir /tools && date > /tools/made\n");
    let chain = format!(
        "{tools}FROM tools AS compiled\nARG WORDS=\"two words\"\nENV SAID=$WORDS PATH=/tools:$PATH\nWORKDIR /work\nCOPY --chown=app src ./\n\
         RUN echo \"$SAID of $WORDS\" > said && id -un > who\nRUN exit 9\nFROM compiled AS unused\nRUN exit 8\n\
         FROM {base} AS runtime-env\nCOPY --from={base} /etc/group /from-image\nCOPY --from=compiled /work /app\nLABEL a=b\n\
         CMD [\"cat\", \"/app/said\"]\nFROM runtime-env AS app\n"
    );
    let right = chain.replace("RUN exit 9", "RUN --mount=from=tools,source=/tools,target=/mnt cp /mnt/made /work/");
    project.write("src/file", "1")?;
    project.write("Dockerfile", &chain)?;
    project.write("Second", format!("{tools}RUN cat /tools/made > /second\n"))?;
    let app = "image: app\ndockerfile: Dockerfile\nstaged: true\n";
    project.config(app)?;
    project.commit("first")?;

    let failed = project.slipway(&["build", "--repo", &repo, "--backend", backend()])?;
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    for part in ["app/stage/compiled/RUN6", "(Dockerfile:10)", "ended with exit code 9"] {
        assert!(failed.stderr.contains(part), "`{part}` is not in:\n{}", failed.stderr);
    }
    project.write("Dockerfile", &right)?;
    project.commit("right")?;
    let first = without_engine(&project, &["--repo", &repo])?;
    let built = first.run.built();
    let expected = [
        "app/stage/compiled/RUN6",
        "app/stage/runtime-env/COPY1",
        "app/stage/runtime-env/COPY2",
        "app/stage/runtime-env/LABEL3",
        "app/stage/runtime-env/CMD4",
        "app/FROM",
    ];
    // What stood before the failure is stored, and so is what begins as that does.
    assert!(expected.iter().all(|name| built.iter().any(|own| own == name)), "{built:?}");
    assert!(!built.iter().any(|name| name.contains("unused") || name.ends_with("compiled/RUN5")), "{built:?}");
    let image = first.image("app");
    assert_eq!(
        engine::sh(&image, "cat /app/said /app/who; echo $PATH")?.lines().next(),
        Some("two words of two words")
    );

    // As a whole it is the same image, but for what names stages.
    project.config(&app.replace("true", "false"))?;
    project.commit("whole")?;
    let whole = without_engine(&project, &["--repo", &registry.repo("whole")])?;
    let (one, other) = (tree::files(&image)?, tree::files(&whole.image("app"))?);
    // The time of a run is in one of its files.
    let differing: Vec<&String> =
        one.keys().chain(other.keys()).filter(|path| one.get(*path) != other.get(*path)).collect();
    assert!(differing.iter().all(|path| path.ends_with("made")), "{differing:?}");

    // Another image takes the stages that its instructions share, and nobody builds a thing twice.
    project.config(&format!("{app}---\nimage: second\ndockerfile: Second\nstaged: true\n"))?;
    project.commit("second")?;
    let second = without_engine(&project, &["--repo", &repo])?;
    assert_eq!(second.run.built(), ["second/RUN2"], "{}", second.run.stderr);
    assert_eq!(engine::sh(&second.image("second"), "cat /second")?, engine::sh(&image, "cat /app/made")?);
    let again = without_engine(&project, &["--repo", &repo])?;
    assert!(again.run.built().is_empty(), "{}", again.run.stderr);
    told(&project, &again)?;
    in_the_local_storage(&project)?;
    engine::forget_labelled(project.name())
}

/// Plan, graph and report show parts as images that are not final.
fn told(project: &Project, built: &slipway_e2e::Built) -> Result<()> {
    let plan = project.slipway(&["plan", "--output", "json", "app"])?;
    let sets = "{\"sets\":[[\"app/stage/tools\"],[\"app/stage/compiled\"],[\"app/stage/runtime-env\"],[\"app\"]]}\n";
    assert_eq!(plan.stdout, sets, "{}", plan.stderr);
    let graph = project.slipway(&["config", "graph", "app"])?;
    let expected = "- image: app/stage/tools\n- image: app/stage/compiled\n  dependsOn:\n    from: app/stage/tools\n\
        - image: app/stage/runtime-env\n  dependsOn:\n    import:\n    - app/stage/compiled\n- image: app\n  dependsOn:\n    \
        from: app/stage/runtime-env\n";
    assert_eq!(graph.stdout, expected, "{}", graph.stderr);
    let images = &built.report["Images"];
    let names = |image: &str| -> Vec<String> {
        let stages = images[image]["Stages"].as_array().expect("stages").iter();
        stages.map(|stage| stage["Name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names("app/stage/compiled"), ["FROM", "ENV", "WORKDIR", "COPY", "RUN", "RUN"]);
    assert_eq!((names("app"), &images["app"]["ConfigType"]), (vec!["FROM".to_owned()], &"dockerfile".into()));
    assert_eq!((&images["app"]["Final"], &images["app/stage/tools"]["Final"]), (&true.into(), &false.into()));
    Ok(())
}

/// Without a repository, and on a backend that cannot.
fn in_the_local_storage(project: &Project) -> Result<()> {
    if backend() == "native" {
        let local = project.slipway_with(&["build"], &[("SLIPWAY_BACKEND", "")])?;
        assert_eq!(local.code, 0, "{}", local.stderr);
        assert!(local.stderr.contains("Backend native at"), "{}", local.stderr);
        assert!(local.stderr.contains("chosen automatically: a Dockerfile is staged"), "{}", local.stderr);
    } else {
        let local = project.slipway(&["build", "--backend", backend()])?;
        assert_eq!((local.code, local.built().is_empty()), (0, false), "{}", local.stderr);
    }
    let again = project.slipway(&["build", "--backend", backend()])?;
    assert_eq!((again.code, again.built().len()), (0, 0), "{}", again.stderr);
    let docker = project.slipway(&["build", "--backend", "docker"])?;
    assert_eq!(docker.code, 2, "{}", docker.stderr);
    let why = "not supported yet: image app is `staged`, and the docker backend (chosen by --backend)";
    assert!(docker.stderr.contains(why), "{}", docker.stderr);
    Ok(())
}

/// Here-documents of commands and of files; what a `RUN` says is the shell's to expand.
#[test]
fn fixture_46_here_documents_are_stages_too() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("heredocs")?);
    let (base, repo) = (base(&registry)?, registry.repo("stages"));
    let dockerfile = format!(
        "FROM {base}\nARG FOO=bar\nENV BAR=baz\nRUN <<EOT\necho FOO=$FOO BAR=$BAR > /said\nEOT\n\
         RUN cat <<ONE > /one && cat <<TWO > /two\n1 $FOO\nONE\n2\nTWO\nCOPY <<FILE /copied\n$FOO of $BAR\nFILE\n\
         ADD <<FILE /added\nadded\nFILE\n"
    );
    project.write("Dockerfile", dockerfile)?;
    // By the flag alone.
    project.config("image: app\ndockerfile: Dockerfile\n")?;
    project.commit("first")?;
    let built = without_engine(&project, &["--repo", &repo, "--force-staged-dockerfile"])?;
    assert_eq!(built.run.built(), ["app/FROM", "app/ENV2", "app/RUN3", "app/RUN4", "app/COPY5", "app/ADD6"]);
    let said = engine::sh(&built.image("app"), "cat /said /one /two /copied /added")?;
    assert_eq!(said, "FOO=bar BAR=baz\n1 bar\n2\nbar of baz\nadded\n");
    // Another value of the argument: what sees it is built anew, what only stands there is not.
    project.config("image: app\ndockerfile: Dockerfile\nstaged: true\nargs: {FOO: other}\n")?;
    project.commit("second")?;
    let other = without_engine(&project, &["--repo", &repo])?;
    assert_eq!(other.run.built(), ["app/RUN3", "app/RUN4", "app/COPY5", "app/ADD6"]);
    assert_eq!(engine::sh(&other.image("app"), "cat /copied")?, "other of baz\n");
    postponed(&project, &base, &repo)?;
    engine::forget_labelled(project.name())
}

/// What the base has postponed is done with the `FROM`, and arguments have what its variables were when they were declared.
fn postponed(project: &Project, base: &str, repo: &str) -> Result<()> {
    let below = format!(
        "FROM {base}\nENV A=below\nONBUILD COPY src /src\nONBUILD RUN cat /src/file > /by\n\
         ONBUILD COPY --from={base} /etc/group /group\n"
    );
    project.write("Below", &below)?;
    project.write("src/file", "of the context\n")?;
    project.write("Dockerfile", "ARG BELOW\nFROM $BELOW\nARG SAID=$A-x\nENV A=above\nRUN echo $SAID $A > /said\n")?;
    project.config(
        "image: below\nfinal: false\ndockerfile: Below\n---\nimage: app\ndockerfile: Dockerfile\nstaged: true\n\
         dependencies: [{image: below, imports: [{type: ImageName, targetBuildArg: BELOW}]}]\n",
    )?;
    project.commit("postponed")?;
    let built = without_engine(project, &["--repo", repo])?;
    assert_eq!(built.run.built(), ["below/dockerfile", "app/FROM", "app/ENV2", "app/RUN3"], "{}", built.run.stderr);
    // An image that only the base names is looked for when it is needed.
    let script = "cat /by /said; cmp /etc/group /group";
    assert_eq!(engine::sh(&built.image("app"), script)?, "of the context\nbelow-x above\n");
    // Arguments and a command of it count for those behind it, as in a build of the whole.
    project
        .write("Below", format!("{below}ONBUILD ARG GIVEN=default\nONBUILD ENV A=postponed\nONBUILD CMD [\"x\"]\n"))?;
    project.write(
        "Dockerfile",
        "ARG BELOW\nFROM $BELOW AS one\nENTRYPOINT [\"e\"]\nRUN echo $GIVEN $A > /said\nFROM one\nENV GIVEN=$GIVEN-$A\n\
         WORKDIR /$GIVEN\nRUN echo $GIVEN > /again\n",
    )?;
    let mut seen = Vec::new();
    let whole = format!("{repo}-whole");
    let mut ways = vec![("true", repo)];
    match backend() {
        // It forgets a postponed argument at the end of its stage.
        "buildah" => slipway_parts::skip(
            "whole",
            "postponed arguments in a build of the whole: Buildah forgets them at the end of their stage",
        ),
        _ => ways.push(("false", &whole)),
    }
    for (staged, repo) in ways {
        project.config(&format!(
            "image: below\nfinal: false\ndockerfile: Below\n---\nimage: app\ndockerfile: Dockerfile\nstaged: {staged}\n\
             args: {{GIVEN: given}}\n\
             dependencies: [{{image: below, imports: [{{type: ImageName, targetBuildArg: BELOW}}]}}]\n"
        ))?;
        project.commit("an argument and a command")?;
        let image = without_engine(project, &["--repo", repo])?.image("app");
        let files = engine::sh(&image, "cat /said /again")?;
        let config = engine::config(&image)?;
        seen.push((files, ["Cmd", "Entrypoint", "Env", "WorkingDir"].map(|field| config[field].clone())));
    }
    assert_eq!(seen[0].0, "given postponed\ngiven-postponed\n");
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    Ok(())
}

#[test]
fn fixture_50_a_staged_dockerfile_is_built_for_every_platform() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("apple")?);
    let dockerfile = "FROM scratch AS linux-amd64\nCOPY src/amd64 /src\nFROM scratch AS linux-arm64\nCOPY src/arm64 /src\n\
        FROM ${TARGETOS}-${TARGETARCH}\nENV A=b\n";
    project.write("Dockerfile", dockerfile)?;
    project.write("src/amd64", "amd64")?;
    project.write("src/arm64", "arm64")?;
    let platforms = "platform: [linux/arm64, linux/amd64]\n";
    project.config(&format!("image: apple\ndockerfile: Dockerfile\nstaged: true\n{platforms}"))?;
    project.commit("first")?;
    let by_platform = [NO_ENGINE[0], ("WERF_ENABLE_REPORT_BY_PLATFORM", "1")];
    let built = project.build_with(&["--repo", &registry.repo("stages"), "--backend", backend()], &by_platform)?;
    let (_, index) =
        registry.manifest("stages", built.report["Images"]["apple"]["DockerTag"].as_str().expect("a tag"))?;
    assert_eq!(index["manifests"].as_array().map(Vec::len), Some(2), "{index}");
    for architecture in ["amd64", "arm64"] {
        let own = &built.report["ImagesByPlatform"]["apple"][format!("linux/{architecture}")];
        let config = registry.config("stages", own["DockerTag"].as_str().expect("a tag"))?;
        assert_eq!(config["architecture"], architecture);
        // Each stands on the part that its platform names, and on no other.
        let part = &built.report["Images"][format!("apple/stage/linux-{architecture}")]["TargetPlatform"];
        assert_eq!(*part, format!("linux/{architecture}"));
    }
    let arm = built.report["ImagesByPlatform"]["apple"]["linux/arm64"]["DockerImageName"].as_str().expect("a name");
    of_another_platform(&registry, &project, arm)
}

/// A part that stands on an image which is of another platform only, as in a build of the whole.
fn of_another_platform(registry: &Registry, project: &Project, arm: &str) -> Result<()> {
    project.write(
        "Dockerfile",
        format!("FROM --platform=linux/arm64 {arm} AS foreign\nENV B=c\nCOPY src/amd64 /own\nFROM scratch\nCOPY --from=foreign / /\n"),
    )?;
    // Buildah's own interpreter does not look for another platform: the whole is held against that of the native backend.
    let (mut seen, mut files) = (Vec::new(), Vec::new());
    for (staged, by) in [(true, backend()), (false, "native")] {
        project.config(&format!("image: apple\ndockerfile: Dockerfile\nstaged: {staged}\n"))?;
        project.commit("foreign")?;
        let repo = format!("foreign-{staged}");
        let built = project.build_with(&["--repo", &registry.repo(&repo), "--backend", by], &NO_ENGINE)?;
        let tag = built.report["Images"]["apple"]["DockerTag"].as_str().expect("a tag").to_owned();
        let config = registry.config(&repo, &tag)?;
        seen.push(["architecture", "rootfs"].map(|field| config[field].clone()));
        files.push(tree::files(&built.image("apple"))?);
    }
    assert_eq!(files[0], files[1]);
    assert!(files[0].contains_key("own"), "{:?}", files[0]);
    assert!(backend() == "buildah" || seen[0] == seen[1], "{seen:?}");
    assert_eq!(seen[0][0], "amd64");
    if std::path::Path::new("/proc/sys/fs/binfmt_misc/qemu-s390x").exists() {
        slipway_parts::skip("foreign", "this machine runs programs of every platform");
        return Ok(());
    }
    project.write(
        "Dockerfile",
        "FROM --platform=linux/s390x scratch AS foreign\nRUN true\nFROM scratch\nCOPY --from=foreign / /\n",
    )?;
    project.config("image: apple\ndockerfile: Dockerfile\nstaged: true\n")?;
    project.commit("a command that cannot run")?;
    let failed = project.slipway(&["build", "--repo", &registry.repo("foreign"), "--backend", backend()])?;
    assert!(failed.stderr.contains("cannot run programs of linux/s390x"), "{}", failed.stderr);
    Ok(())
}
