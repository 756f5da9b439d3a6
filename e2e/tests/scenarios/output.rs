//! What users and scripts read: the log, the plan, the report, exit codes.

use std::fs;

use anyhow::Result;
use slipway_e2e::{Part, Project, Registry, Run, engine, require};

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];

/// Two images, one on the other.
const TWO: &str =
    "image: app\nfrom: BASE\nshell:\n  setup:\n  - echo hello\n  - printf world\n---\nimage: web\nfromImage: app\n";

/// The log without what differs from run to run: digests, times, sizes, ids, places.
fn plain(log: &str, repo: &str, project: &Project) -> String {
    let line = |line: &str| {
        if let Some((key, _)) = line.split_once(": ").filter(|(key, _)| ["id", "created", "size"].contains(&key.trim()))
        {
            return format!("{key}: …");
        }
        let words = line.replace(repo, "REPO").replace(project.name(), "PROJECT");
        words.split(' ').map(word).collect::<Vec<_>>().join(" ")
    };
    log.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn word(word: &str) -> String {
    let number = word.trim_matches(['(', ')', ',']);
    if number.contains('.') && number.parse::<f64>().is_ok() {
        return word.replace(number, "N");
    }
    if word.starts_with("unix://") || word.starts_with("tcp://") {
        return "ENGINE".to_owned();
    }
    match word.rsplit_once(':') {
        Some((repo, tag)) if tag.len() == 56 + 1 + 13 => format!("{repo}:TAG"),
        _ => word.to_owned(),
    }
}

const FIRST: &str = "\
Backend docker at ENGINE (chosen by --backend); stages are kept in REPO; local storage: images PROJECT:* of that engine
Building stage app/from
Built stage app/from
     name: REPO:TAG
       id: …
  created: …
     size: …
  seconds: N
Building stage app/setup
app/setup network: default
app/setup hello
app/setup world
Built stage app/setup
     name: REPO:TAG
       id: …
  created: …
     size: …
  seconds: N
Building stage web/from
Built stage web/from
     name: REPO:TAG
       id: …
  created: …
     size: …
  seconds: N
Build summary: 3 stages built, 0 reused, N seconds
  image app: built from (N s), setup (N s)
    REPO:TAG
  image web: built from (N s)
    REPO:TAG";

const SECOND: &str = "\
Backend docker at ENGINE (chosen by --backend); stages are kept in REPO; local storage: images PROJECT:* of that engine
Use previously built image for app/from
     name: REPO:TAG
       id: …
  created: …
     size: …
Use previously built image for app/setup
     name: REPO:TAG
       id: …
  created: …
     size: …
Use previously built image for web/from
     name: REPO:TAG
       id: …
  created: …
     size: …
Build summary: 0 stages built, 3 reused, N seconds
  image app: 2 reused
    REPO:TAG
  image web: 1 reused
    REPO:TAG";

#[test]
fn the_log_of_a_build() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("log")?);
    project.config(TWO)?;
    project.commit("first")?;
    let repo = registry.repo("log");
    for golden in [FIRST, SECOND] {
        let run = project.slipway(&["build", "--repo", &repo, "--parallel=false"])?;
        assert_eq!((run.code, run.stdout.as_str()), (0, ""), "{}", run.stderr);
        assert_eq!(plain(&run.stderr, &repo, &project), golden);
    }
    let quiet = project.slipway(&["build", "--repo", &repo, "--log-quiet"])?;
    assert_eq!((quiet.code, quiet.stdout.as_str(), quiet.stderr.as_str()), (0, "", ""));
    Ok(())
}

#[test]
fn warnings_come_after_the_first_line() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("warned")?);
    project.config("image: ~\nfrom: BASE\n")?;
    project.commit("first")?;
    let first_words = |run: &Run| run.stderr.lines().take(2).map(|line| line[..7].to_owned()).collect::<Vec<_>>();
    let missing = project.slipway(&["build", "--repo", &registry.repo("warned"), "--skip-build"])?;
    assert_eq!(missing.code, 4, "{}", missing.stderr);
    assert_eq!(first_words(&missing), ["Backend", "WARNING"], "{}", missing.stderr);
    // Where there is no such line, they come before the error.
    let unknown = project.slipway(&["build", "--skip-build", "unknown"])?;
    assert_eq!(unknown.code, 2, "{}", unknown.stderr);
    assert_eq!(first_words(&unknown), ["WARNING", "Error: "], "{}", unknown.stderr);
    Ok(())
}

#[test]
fn a_failure_names_file_and_line() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("lines")?);
    let base = project.base();
    project.write("sub/docker/Dockerfile", format!("FROM {base}\n\nRUN echo fine\nRUN echo bad && \\\n  exit 9\n"))?;
    project.config(
        "image: shell\nfrom: BASE\nshell:\n  setup:\n  - echo before\n  - exit 7\n---\n\
         image: docker\ndockerfile: docker/Dockerfile\ncontext: sub\n",
    )?;
    project.commit("first")?;
    let repo = registry.repo("lines");
    let closing = |image: &str| -> Result<String> {
        let run = project.slipway(&["build", "--repo", &repo, image])?;
        assert_eq!(run.code, 1, "{}", run.stderr);
        Ok(run.stderr.lines().last().unwrap_or_default().to_owned())
    };
    assert_eq!(closing("shell")?, "Error: build stage shell/setup (werf.yaml:9): the command ended with exit code 7");
    assert_eq!(
        closing("docker")?,
        "Error: build stage docker/dockerfile (sub/docker/Dockerfile:4): `RUN echo bad && exit 9` ended with exit code 9"
    );
    Ok(())
}

const SETS: &str = "artifact: tools\nfrom: BASE\n---\nimage: base\nfrom: BASE\n---\nimage: app\nfromImage: base\n\
    import: [{artifact: tools, add: /a, before: setup}]\n---\nimage: last\nfromImage: app\n";

#[test]
fn a_plan_of_three_sets() -> Result<()> {
    if !require(&[Part::Git]) {
        return Ok(());
    }
    let project = Project::new("plan")?;
    project.write("werf.yaml", format!("project: plan\nconfigVersion: 1\n---\n{}", SETS.replace("BASE", "alpine")))?;
    project.commit("first")?;
    let text = "\
┌ Concurrent builds plan (no more than 5 images at the same time)
│ Set #0:
│ - 🛸 artifact tools
│ - ⛵ image base
│
│ Set #1:
│ - ⛵ image app
│
│ Set #2:
│ - ⛵ image last
└ Concurrent builds plan (no more than 5 images at the same time)
";
    for (arguments, data) in [
        (&["plan"][..], text),
        (&["plan", "app", "--output=json"], "{\"sets\":[[\"tools\",\"base\"],[\"app\"]]}\n"),
        (&["config", "list"], "tools\nbase\napp\nlast\n"),
    ] {
        let run = project.slipway(arguments)?;
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, data, ""), "{arguments:?}");
    }
    Ok(())
}

#[test]
fn a_build_of_several_images_shows_its_plan() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("sets")?);
    project.config(&SETS.replace(
        "[{artifact: tools, add: /a, before: setup}]",
        "[{artifact: tools, add: /bin/sh, to: /sh, before: setup}]",
    ))?;
    project.commit("first")?;
    let repo = registry.repo("sets");
    let title = "Concurrent builds plan";
    let plan =
        format!("┌ {title}\n│ Set #0:\n│ - artifact tools\n│ - image base\n│\n│ Set #1:\n│ - image app\n└ {title}\n");
    let arguments = ["build", "--repo", &repo, "--log-pretty=false", "--parallel-tasks-limit=0"];
    let shown = project.slipway(&[&arguments[..], &["app"]].concat())?;
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    let rest = shown.stderr.split_once('\n').expect("a first line").1;
    assert!(rest.starts_with(&plan), "{}", shown.stderr);
    // One image has nothing to plan, nor have images one after another.
    for without in [&["base"][..], &["--parallel=false"]] {
        let run = project.slipway(&[&arguments[..], without].concat())?;
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(!run.stderr.contains(title), "{without:?}: {}", run.stderr);
    }
    Ok(())
}

/// Runs the program on a terminal of 100 columns; what it draws comes on standard output.
const TERMINAL: [&str; 4] = ["sh", "-c", "exec script -qec \"stty cols 100 rows 30; $*\" /dev/null", "sh"];

#[test]
fn a_terminal_shows_what_is_under_way() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("terminal")?);
    project
        .config("image: one\nfrom: BASE\nshell: {setup: [echo first-words, sleep 2]}\n---\nimage: two\nfrom: BASE\n")?;
    project.commit("first")?;
    let arguments = ["build", "--repo", &registry.repo("terminal"), "one", "two"];
    let drawn = project.slipway_by(&TERMINAL, &arguments)?;
    assert_eq!(drawn.code, 0, "{}{}", drawn.stdout, drawn.stderr);
    // The bar, a stage under way with its last words; the log's own lines stay.
    for part in ["/2 images", "one/setup first-words", "Built stage one/setup", "Build summary: 2 stages built"] {
        assert!(drawn.stdout.contains(part), "`{part}` is not drawn: {:?}", drawn.stdout);
    }
    let plain =
        project.slipway_by(&TERMINAL, &[&arguments[..], &["--log-terminal-width=100", "--log-quiet"]].concat())?;
    assert!(!plain.stdout.contains("images"), "quiet: {:?}", plain.stdout);
    // No terminal: nothing is drawn.
    let piped = project.slipway(&arguments)?;
    assert!(!piped.stderr.contains('\u{1b}') && !piped.stderr.contains("/2 images"), "{:?}", piped.stderr);
    Ok(())
}

#[test]
fn fixture_61_documents_of_some_images_are_rendered() -> Result<()> {
    if !require(&[Part::Git]) {
        return Ok(());
    }
    let project = Project::new("render")?;
    let image = |name: &str| format!("image: {name}\nfrom: alpine\n");
    let whole = format!("project: render\nconfigVersion: 1.0\n---\n{}---\n{}", image("image_a"), image("image_b"));
    project.write("werf.yaml", &whole)?;
    project.commit("first")?;
    let both = format!("{}---\n{}", image("image_a"), image("image_b"));
    for (pattern, text) in [
        ("", whole),
        ("image_a", image("image_a")),
        ("!image_a", image("image_b")),
        ("*_a", image("image_a")),
        ("image_*", both),
    ] {
        let arguments = ["config", "render", pattern];
        let run = project.slipway(&arguments[..if pattern.is_empty() { 2 } else { 3 }])?;
        assert_eq!((run.code, run.stdout, run.stderr.as_str()), (0, text, ""), "{pattern}");
    }
    Ok(())
}

#[test]
fn fixture_62_and_63_names_and_patterns() -> Result<()> {
    if !require(&[Part::Git]) {
        return Ok(());
    }
    let project = Project::new("names")?;
    project.write(
        "werf.yaml",
        "project: names\nconfigVersion: 1\n---\nimage: [image_a, image_b, image_c]\nfrom: alpine\n---\n\
         image: draft\nfinal: false\nfrom: alpine\n",
    )?;
    project.commit("first")?;
    let list = |arguments: &[&str]| -> Result<String> { Ok(project.slipway(arguments)?.stdout) };
    assert_eq!(list(&["config", "list"])?, "image_a\nimage_b\nimage_c\ndraft\n");
    assert_eq!(list(&["config", "list", "--images-only"])?, "image_a\nimage_b\nimage_c\n");
    let long = "a".repeat(101);
    for (pattern, answer) in [
        ("nothing", Err("no image matches pattern")),
        ("**", Err("recursive glob (**) not supported")),
        (long.as_str(), Err("pattern too long")),
        ("a|b", Err("special characters not allowed")),
        ("[a", Err("invalid pattern")),
        ("draft", Ok("{\"sets\":[[\"draft\"]]}\n")),
        ("!draft", Ok("{\"sets\":[[\"image_a\",\"image_b\",\"image_c\"]]}\n")),
        ("*_b", Ok("{\"sets\":[[\"image_a\",\"image_b\",\"image_c\"]]}\n")),
    ] {
        let run = project.slipway(&["plan", "--output=json", pattern])?;
        match answer {
            Ok(plan) => assert_eq!((run.code, run.stdout.as_str()), (0, plan), "{pattern}: {}", run.stderr),
            Err(error) => assert!(run.code == 2 && run.stderr.contains(error), "{pattern}: {}", run.stderr),
        }
    }
    Ok(())
}

#[test]
fn reports_in_both_forms() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("report")?);
    project.write("file", "x")?;
    project
        .config("image: [front/end, b.c]\nfrom: BASE\ngit: [{add: /file, to: /file}]\n---\nimage: other\nfinal: false\nfrom: BASE\n")?;
    let commit = project.commit("first")?;
    let repo = registry.repo("report");
    let built = project.build(&["--repo", &repo])?;
    let image = &built.report["Images"]["front/end"];
    for (field, value) in [
        ("WerfImageName", "front/end"),
        ("DockerRepo", &repo),
        ("DockerImageName", &built.image("b.c")),
        ("ConfigType", "stapel"),
        ("Commit", &commit),
    ] {
        assert_eq!(image[field], value, "{field}");
    }
    assert_eq!((&image["Rebuilt"], &image["Final"]), (&true.into(), &true.into()));
    let stages = image["Stages"].as_array().expect("a list");
    assert_eq!(stages.iter().map(|stage| &stage["Name"]).collect::<Vec<_>>(), ["from", "gitArchive"]);
    assert_eq!((&stages[0]["Commit"], &stages[1]["Commit"]), (&"".into(), &commit.as_str().into()));
    assert_eq!(stages[1]["DockerImageName"], image["DockerImageName"]);
    assert_eq!(built.report["ImagesByPlatform"], serde_json::json!({}));

    let path = project.home().join("report.env");
    let path = path.to_str().expect("a UTF-8 path");
    let run = project.slipway(&["build", "--repo", &repo, "--save-build-report", "--build-report-path", path])?;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let (named, other) = (built.image("b.c"), built.image("other"));
    let lines = format!(
        "WERF_B_C_DOCKER_IMAGE_NAME={named}\nWERF_FRONT_END_DOCKER_IMAGE_NAME={named}\n\
         WERF_OTHER_DOCKER_IMAGE_NAME={other}\n"
    );
    assert_eq!(fs::read_to_string(path)?, lines);

    // The old names: the form is chosen by a word, whatever the extension says.
    let path = project.home().join("old.json");
    let old = ["--report-path", path.to_str().expect("a UTF-8 path"), "--report-format", "envfile"];
    let run = project.slipway(&[&["build", "--repo", &repo], &old[..]].concat())?;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.stderr.matches("WARNING: --report-format is an old name").count(), 1, "{}", run.stderr);
    assert_eq!(fs::read_to_string(&path)?, lines);
    Ok(())
}

#[test]
fn exit_codes() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("codes")?);
    project.config("image: good\nfrom: BASE\n---\nimage: bad\nfrom: BASE\nshell: {setup: exit 5}\n")?;
    project.commit("first")?;
    let repo = registry.repo("codes");
    let code = |arguments: &[&str]| -> Result<i32> {
        Ok(project.slipway(&[&["build", "--repo", &repo], arguments].concat())?.code)
    };
    assert_eq!(code(&["good", "--require-built-images"])?, 4);
    assert_eq!(code(&["good"])?, 0);
    assert_eq!(code(&["good", "--require-built-images"])?, 0);
    assert_eq!(code(&["bad"])?, 1);
    assert_eq!(code(&["--no-such-flag"])?, 2);
    assert_eq!(code(&["no-such-image"])?, 2);
    project.write("werf.yaml", "changed")?;
    assert_eq!(code(&["good"])?, 3);
    project.commit("no configuration any more")?;
    assert_eq!(code(&["good"])?, 3);
    // 130 is that of `interrupted::interrupting_stops_cleanly_with_130`.
    Ok(())
}

#[test]
fn commands_know_the_commit_and_images_do_not() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("commit")?);
    project.config(
        "image: app\nfrom: BASE\nshell:\n  setup:\n  \
         - echo \"$WERF_COMMIT_HASH/$WERF_COMMIT_TIME_UNIX/$WERF_COMMIT_TIME_HUMAN\" > /commit\n",
    )?;
    let commit = project.commit("first")?;
    let image = project.build(&["--repo", &registry.repo("commit")])?.image("app");
    let seen = engine::sh(&image, "cat /commit")?;
    let time = project.git(&["log", "-1", "--format=%at"])?;
    let zone = project.git(&["log", "-1", "--format=%ad", "--date=format:%z"])?;
    let human = seen.strip_prefix(&format!("{commit}/{time}/")).expect("hash and time come first");
    let length = "2006-01-02 15:04:05 +0000 +0000\n".len();
    assert!(human.ends_with(&format!(" {zone} {zone}\n")) && human.len() == length, "{human}");
    assert!(!engine::config(&image)?["Env"].to_string().contains("WERF_COMMIT"), "they are in the image");
    Ok(())
}
