//! Builders of others.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};

use serde_json::Value;
use slipway_parts::{docker, server::Server};
use slipway_process::{child::command, random_id};
use tempfile::TempDir;

use crate::{
    listing,
    table::{Case, Kind, Table},
};

/// The label by which an image is nobody else's.
const MARK: &str = "slipway-test";
/// Builds at a time.
const AT_ONCE: usize = 3;

/// What comes of a case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// An image, as lines.
    Made(Vec<String>),
    /// Nothing.
    Failed {
        /// What was said.
        why: String,
        /// Whether it is the user's to mend.
        refused: bool,
    },
}

impl Answer {
    /// In a few words.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Made(lines) => format!("made: {}", lines.join(", ")),
            Self::Failed { why, refused } => {
                let from = why.trim_end().char_indices().rev().take(400).last().map_or(0, |(at, _)| at);
                format!("failed (the user's to mend: {refused}): …{}", why[from..].trim_end())
            }
        }
    }
}

/// A builder.
pub(crate) enum Judge {
    /// The Docker engine: its BuildKit, or its older builder.
    Engine { buildkit: bool },
    /// A newer BuildKit.
    Buildkitd { control: String, address: String, _server: Server, _home: TempDir },
}

impl Judge {
    pub(crate) fn engine(buildkit: bool) -> Self {
        Self::Engine { buildkit }
    }

    /// Starts it; it ends with this value.
    pub(crate) fn buildkitd(program: &str) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let address = format!("unix://{}", home.path().join("socket").display());
        let root = home.path().join("root");
        let mut daemon = command(program);
        daemon.arg("--root").arg(&root).arg("--addr").arg(&address);
        daemon.args(["--oci-worker=true", "--containerd-worker=false", "--oci-worker-net=host"]);
        let mut server = Server::start(&mut daemon, &home.path().join("log"));
        server.ready(|log| log.contains("running server on").then_some(())).expect("buildkitd starts");
        let control = Path::new(program).with_file_name("buildctl").display().to_string();
        Self::Buildkitd { control, address, _server: server, _home: home }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Engine { buildkit: true } => "engine",
            Self::Engine { buildkit: false } => "classic",
            Self::Buildkitd { .. } => "buildkitd",
        }
    }

    pub(crate) fn is_newer(&self) -> bool {
        matches!(self, Self::Buildkitd { .. })
    }

    fn knows(&self, case: &Case) -> bool {
        let is_classic = matches!(self, Self::Engine { buildkit: false });
        // The older builder cannot give files away but through an image: only what has none is asked of it.
        let fits = !is_classic || matches!(case.kind, Kind::Config | Kind::Fail) && !case.has("classic-differs");
        case.is_newer() == self.is_newer() && fits
    }

    /// What comes of each case; `None` where it is not the judge.
    pub(crate) fn answers(&self, table: &Table, context: &Path) -> Vec<Option<Answer>> {
        let mut trees = BTreeMap::new();
        let has_trees = table.cases.iter().any(|case| case.kind == Kind::Tree && self.knows(case));
        if has_trees {
            let text = table.together(self.is_newer());
            let made = self.files(&text, Some("all"), &BTreeMap::new(), context);
            let archive = made.unwrap_or_else(|why| {
                let marked: Vec<&str> =
                    why.lines().filter(|line| line.contains("ERROR") || line.contains("fail")).collect();
                panic!("{}: {}", self.name(), marked.join("\n"))
            });
            trees = listing::trees(&archive, None);
        }
        let waiting: Mutex<Vec<usize>> = Mutex::new((0..table.cases.len()).rev().collect());
        let answers: Mutex<Vec<Option<Answer>>> = Mutex::new(vec![None; table.cases.len()]);
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while let Some(at) = { waiting.lock().expect("a lock").pop() } {
                        let case = &table.cases[at];
                        let answer = self.knows(case).then(|| match case.kind {
                            Kind::Tree => Answer::Made(trees.get(&case.name).cloned().unwrap_or_default()),
                            _ => self.single(table, case, context),
                        });
                        answers.lock().expect("a lock")[at] = answer;
                    }
                });
            }
        });
        answers.into_inner().expect("a lock")
    }

    /// A build of its own.
    fn single(&self, table: &Table, case: &Case, context: &Path) -> Answer {
        let (text, target) = table.build(case);
        let (target, args) = (target.as_deref(), case.args());
        let mut lines = Vec::new();
        let own = (case.kind == Kind::Ignore).then(|| ignoring(context, &case.text));
        let context = own.as_ref().map_or(context, TempDir::path);
        let failed = |why: String| Answer::Failed { why, refused: true };
        if matches!(case.kind, Kind::Alone | Kind::Ignore) {
            match self.files(&text, target, &args, context) {
                Ok(archive) => lines.extend(listing::trees(&archive, Some("all")).remove("all").unwrap_or_default()),
                Err(why) => return failed(why),
            }
        }
        if case.kind == Kind::Ignore {
            // The file itself is in their context only.
            lines.retain(|line| !line.contains(" .dockerignore"));
        } else {
            match self.config(&text, target, &args, context) {
                Ok(config) => lines.extend(listing::config(&config)),
                Err(why) => return failed(why),
            }
        }
        Answer::Made(lines)
    }

    /// The files of an image that stands on nothing, as lines.
    pub(crate) fn listed(&self, lines: &str) -> Result<Vec<String>, String> {
        let context = tempfile::tempdir().expect("a directory");
        let archive = self.files(&format!("FROM scratch\n{lines}\n"), None, &BTreeMap::new(), context.path())?;
        Ok(listing::trees(&archive, Some("all")).remove("all").unwrap_or_default())
    }

    /// The files of an image, as an archive.
    fn files(
        &self,
        text: &str,
        target: Option<&str>,
        args: &BTreeMap<String, String>,
        context: &Path,
    ) -> Result<Vec<u8>, String> {
        match self {
            Self::Engine { .. } => {
                let more = ["--output", "type=tar,dest=-"];
                run(engine(true, target, args, &more).arg(context), text)
            }
            Self::Buildkitd { .. } => self.solve(text, target, args, context, "type=tar"),
        }
    }

    /// The configuration of an image.
    fn config(
        &self,
        text: &str,
        target: Option<&str>,
        args: &BTreeMap<String, String>,
        context: &Path,
    ) -> Result<Value, String> {
        match self {
            Self::Engine { buildkit } => {
                // Builds beside this one may come to the same image, and remove it.
                let mark = format!("{MARK}={}", random_id());
                let id = run(engine(*buildkit, target, args, &["--quiet", "--label", &mark]).arg(context), text)?;
                let id = String::from_utf8_lossy(&id).trim().to_owned();
                let config =
                    run(command(docker()).args(["image", "inspect", "--format", "{{json .Config}}", &id]), "")?;
                // What is left of it is no reason to fail.
                let _ = run(command(docker()).args(["image", "rm", &id]), "");
                let mut config: Value = serde_json::from_slice(&config).map_err(|error| error.to_string())?;
                if let Some(labels) = config["Labels"].as_object_mut() {
                    labels.remove(MARK);
                }
                Ok(config)
            }
            Self::Buildkitd { .. } => {
                let archive = self.solve(text, target, args, context, "type=docker")?;
                let files = listed(&archive);
                let json = |name: &str| files.get(name).and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
                let manifest = json("manifest.json").ok_or("an archive without manifest")?;
                let config = manifest[0]["Config"].as_str().and_then(json).ok_or("an archive without configuration")?;
                Ok(config["config"].clone())
            }
        }
    }

    fn solve(
        &self,
        text: &str,
        target: Option<&str>,
        args: &BTreeMap<String, String>,
        context: &Path,
        output: &str,
    ) -> Result<Vec<u8>, String> {
        let Self::Buildkitd { control, address, .. } = self else { return Err("no buildkitd".to_owned()) };
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join("Dockerfile"), text).expect("a file");
        let mut call = command(control);
        call.args(["--addr", address, "build", "--frontend", "dockerfile.v0", "--progress", "plain"]);
        call.arg("--local").arg(format!("context={}", context.display()));
        call.arg("--local").arg(format!("dockerfile={}", home.path().display()));
        call.args(["--output", output]);
        if let Some(target) = target {
            call.arg("--opt").arg(format!("target={target}"));
        }
        for (name, value) in args {
            call.arg("--opt").arg(format!("build-arg:{name}={value}"));
        }
        run(&mut call, "")
    }
}

fn engine(buildkit: bool, target: Option<&str>, args: &BTreeMap<String, String>, more: &[&str]) -> Command {
    let mut call = command(docker());
    call.env("DOCKER_BUILDKIT", if buildkit { "1" } else { "0" });
    call.args(["build", "--network", "none", "--file", "-"]).args(more);
    if let Some(target) = target {
        call.args(["--target", target]);
    }
    for (name, value) in args {
        call.args(["--build-arg", &format!("{name}={value}")]);
    }
    call
}

/// Runs a program with `input` to read; answers what it printed.
fn run(call: &mut Command, input: &str) -> Result<Vec<u8>, String> {
    let piped = call.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = piped.spawn().map_err(|error| format!("{call:?}: {error}"))?;
    // One that gives up early says why by itself.
    drop(running.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes())));
    let ended = running.wait_with_output().expect("an end");
    if ended.status.success() { Ok(ended.stdout) } else { Err(String::from_utf8_lossy(&ended.stderr).into_owned()) }
}

/// The context with a `.dockerignore`, its files as they are.
fn ignoring(context: &Path, text: &str) -> TempDir {
    let home = tempfile::tempdir().expect("a directory");
    let copied = command("cp").args(["-a", "--"]).arg(context.join(".")).arg(home.path()).status().expect("cp");
    assert!(copied.success());
    fs::write(home.path().join(".dockerignore"), text).expect("a file");
    home
}

/// The files of an archive.
fn listed(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut reader = tar::Archive::new(archive);
    for entry in reader.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).expect("content");
        files.insert(name, bytes);
    }
    files
}
