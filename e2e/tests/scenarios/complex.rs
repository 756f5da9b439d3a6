//! One project with nearly every directive, and what a change of some of them rebuilds.

use anyhow::Result;
use serde_json::{Value, json};
use slipway_e2e::{Part, Project, Registry, engine, project::Built, require};

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];

/// What differs between the two states.
struct State {
    suffix: &'static str,
    commit: String,
    add: &'static str,
    volume: &'static str,
    slash: &'static str,
}

fn dockerfile(state: &State) -> String {
    let (arguments, of_image) = ("ARG STAPEL_IMAGE\nARG CHANGED_ARG=was_not_changed\n", "FROM ${STAPEL_IMAGE}");
    let config =
        "ENV COMPOSED_ENV=env-${CHANGED_ARG}\nLABEL COMPOSED_LABEL=label-${CHANGED_ARG}\nUSER 0:0\nWORKDIR /\n";
    let rest = "VOLUME /volume10\nONBUILD RUN echo onbuild\nSTOPSIGNAL SIGINT\nEXPOSE 8000/tcp\nHEALTHCHECK CMD echo healthcheck10\n";
    format!(
        "{arguments}{of_image} AS builder\nRUN cat /basedir/file > /built\n{of_image} AS result\nARG CHANGED_ARG=was_not_changed\n\
         {config}{}COPY file /copied\nCOPY --from=builder /built /built\nRUN touch /created-by-run\n{rest}FROM scratch AS unused\n\
         COPY missing /\n",
        state.add
    )
}

fn documents(library: &Project, state: &State) -> String {
    let stage = |name: &str| format!("  {name}: [\"echo {name} >> /triggered-stages; date > /tmp-dir/{name}\"]\n");
    let version = |name: &str| format!("  {name}CacheVersion: {name}-1\n");
    let stages = ["beforeInstall", "install", "beforeSetup", "setup"];
    let shell: String = stages.iter().map(|name| stage(name)).chain(stages.iter().map(|name| version(name))).collect();
    let State { suffix, commit, volume, slash, .. } = state;
    let url = library.path().display();
    let mut all = format!(
        "image: base-stapel-shell\nfrom: BASE\nshell: {{setup: [mkdir /basedir, echo of the base > /basedir/file, touch /basedir/left-out]}}\n\
         ---\nimage: stapel-shell\nfromImage: base-stapel-shell\nfromCacheVersion: from-1\ngit:\n- url: file://{url}\n  commit: {commit}\n  \
         add: /hello\n  to: /app\n  owner: 1050\n  group: 1051\n  includePaths: ['*.md', '*.yaml', '**/*.go']\n  excludePaths: [app.go]\n  \
         stageDependencies: {{install: [README.md], beforeSetup: ['**/*.go'], setup: [app.yaml]}}\nshell:\n{shell}\
         mount: [{{from: tmp_dir, to: /tmp-dir}}]\n\
         docker:\n  ENV: {{ENV_NAME: env-value}}\n  WORKDIR: /app\n  USER: 0:0\n{volume}  EXPOSE: 8010/tcp\n  \
         HEALTHCHECK: --interval=5s CMD echo healthcheck20\n  CMD: sleep infinity\n  LABEL: {{own: label{suffix}}}\n\
         import: [{{image: base-stapel-shell, add: /basedir{slash}, to: /basedir-imported{slash}, before: install, owner: 1060, group: 1061, \
         includePaths: [file]}}]\n"
    );
    all.push_str(&format!(
        "---\nimage: dockerfile\ndockerfile: Dockerfile\ncontext: context\ntarget: result\nargs: {{CHANGED_ARG: was_changed{suffix}}}\n\
         dependencies: [{{image: stapel-shell, imports: [{{type: ImageName, targetBuildArg: STAPEL_IMAGE}}]}}]\n"
    ));
    all
}

fn library() -> Result<(Project, [String; 2])> {
    let library = Project::new("library")?;
    for path in ["README.md", "app.go", "app.yaml", "app/hello.go", "picture.png"] {
        library.write(&format!("hello/{path}"), path)?;
    }
    library.write("outside.md", "x")?;
    let first = library.commit("first")?;
    library.write("hello/README.md", "changed")?;
    library.git(&["rm", "--quiet", "hello/app/hello.go"])?;
    let second = library.commit("second")?;
    Ok((library, [first, second]))
}

fn build(project: &Project, repo: &str, library: &Project, state: &State) -> Result<Built> {
    project.config(&documents(library, state))?;
    project.write("context/Dockerfile", dockerfile(state))?;
    project.commit(&format!("state{}", state.suffix))?;
    project.build(&["--repo", repo])
}

fn config(image: &str) -> Result<Value> {
    engine::run(&["pull", "--quiet", image])?;
    engine::config(image)
}

fn env(config: &Value) -> Vec<&str> {
    config["Env"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The Stapel image as both states have it.
fn check_stapel(built: &Built) -> Result<Value> {
    let image = built.image("stapel-shell");
    let seen = engine::sh(
        &image,
        "cat /triggered-stages /basedir-imported/file; ls /basedir-imported; ls -A /tmp-dir | wc -l",
    )?;
    assert_eq!(seen, "beforeInstall\ninstall\nbeforeSetup\nsetup\nof the base\nfile\n0\n");
    let owners = "stat -c '%u:%g' /app /app/README.md /basedir-imported/file; ls /app/app.go /app/picture.png 2>&1 | grep -c 'No such file'";
    assert_eq!(engine::sh(&image, owners)?, "1050:1051\n1050:1051\n1060:1061\n2\n");
    let config = config(&image)?;
    assert!(env(&config).contains(&"ENV_NAME=env-value"), "{config}");
    assert_eq!((&config["WorkingDir"], &config["User"]), (&json!("/app"), &json!("0:0")));
    assert_eq!(config["ExposedPorts"], json!({"8010/tcp": {}}));
    assert_eq!(config["Healthcheck"]["Test"], json!(["CMD-SHELL", "echo healthcheck20"]));
    assert!(config["Cmd"].to_string().contains("sleep infinity"), "{config}");
    Ok(config)
}

/// The Dockerfile image as both states have it.
fn check_dockerfile(built: &Built, suffix: &str) -> Result<()> {
    let image = built.image("dockerfile");
    assert_eq!(engine::sh(&image, "cat /built /copied; ls /created-by-run")?, "of the base\ncopied\n/created-by-run\n");
    let config = config(&image)?;
    let composed = format!("COMPOSED_ENV=env-was_changed{suffix}");
    assert!(env(&config).contains(&composed.as_str()) && env(&config).contains(&"ENV_NAME=env-value"), "{config}");
    assert_eq!(config["Labels"]["COMPOSED_LABEL"], json!(format!("label-was_changed{suffix}")));
    assert_eq!((&config["User"], &config["StopSignal"]), (&json!("0:0"), &json!("SIGINT")));
    assert!(
        config["Volumes"].get("/volume10").is_some() && config["ExposedPorts"].get("8000/tcp").is_some(),
        "{config}"
    );
    assert_eq!(config["OnBuild"], json!(["RUN echo onbuild"]));
    assert_eq!(config["Healthcheck"]["Test"], json!(["CMD-SHELL", "echo healthcheck10"]));
    Ok(())
}

#[test]
fn fixture_02_and_03_a_project_with_nearly_every_directive_rebuilds_what_changed() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project, (library, [first, second])) = (Registry::start()?, Project::new("complex")?, library()?);
    let repo = registry.repo("complex");
    project.write("context/file", "copied\n")?;
    project.write("context/added", "added")?;
    let state =
        State { suffix: "", commit: first, add: "ADD added /added\n", volume: "  VOLUME: [/volume20]\n", slash: "" };
    let built = build(&project, &repo, &library, &state)?;
    let stapel = check_stapel(&built)?;
    assert!(stapel["Volumes"].get("/volume20").is_some(), "{stapel}");
    assert_eq!(
        engine::sh(&built.image("stapel-shell"), "cat /app/README.md /app/app/hello.go")?,
        "README.mdapp/hello.go"
    );
    check_dockerfile(&built, "")?;
    assert_eq!(engine::sh(&built.image("dockerfile"), "cat /added")?, "added");
    let again = project.build(&["--repo", &repo])?;
    assert!(again.run.built().is_empty(), "{:?}", again.run.built());

    let state = State { suffix: "-state1", commit: second, add: "", volume: "", slash: "/" };
    let built = build(&project, &repo, &library, &state)?;
    // A mapping of another commit is another mapping, and the import is the same one.
    let after = ["gitArchive", "install", "beforeSetup", "setup", "dockerInstructions"]
        .map(|name| format!("stapel-shell/{name}"));
    assert_eq!(built.run.built(), after.into_iter().chain(["dockerfile/dockerfile".to_owned()]).collect::<Vec<_>>());
    let stapel = check_stapel(&built)?;
    assert!(stapel["Volumes"].get("/volume20").is_none() && stapel["Labels"]["own"] == "label-state1", "{stapel}");
    assert_eq!(
        engine::sh(&built.image("stapel-shell"), "cat /app/README.md; ls -A /app")?,
        "changedREADME.md\napp.yaml\n"
    );
    check_dockerfile(&built, "-state1")?;
    assert!(engine::sh(&built.image("dockerfile"), "ls /added 2>&1 || true")?.contains("No such file"));
    let again = project.build(&["--repo", &repo])?;
    assert!(again.run.built().is_empty(), "{:?}", again.run.built());
    Ok(())
}
