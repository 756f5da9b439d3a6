//! A project: a git repository in a temporary directory, and runs of the program in it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use slipway_process::{Environment, child};
use tempfile::TempDir;

use crate::registry::Registry;

/// How long a started program may run.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(240);

/// The variable that names the backend of all builds that name none; Docker's when it is not set.
const BACKEND: &str = "SLIPWAY_TEST_BACKEND";

/// A project with its own home directory for the program.
pub struct Project {
    dir: TempDir,
    home: TempDir,
    name: String,
    /// What has the base image, where the backend knows none of an engine.
    bases: Option<Registry>,
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Run {
    /// Exit code; 128 + N for a signal.
    pub code: i32,
    /// What it printed as data.
    pub stdout: String,
    /// What it printed as log.
    pub stderr: String,
}

impl Project {
    /// An empty repository; the project's name is unique on this machine, so that local storages do not mix.
    ///
    /// # Errors
    /// When git fails.
    pub fn new(name: &str) -> Result<Self> {
        let unique = &slipway_process::random_id()[..8];
        let (dir, home, name) = (tempfile::tempdir()?, tempfile::tempdir()?, format!("{name}-{unique}"));
        let bases = if backend().is_some_and(|backend| backend != "docker") { Some(bases()?) } else { None };
        let project = Self { dir, home, name, bases };
        project.git(&["init", "--quiet", "--initial-branch=main"])?;
        project.git(&["config", "user.name", "Test"])?;
        project.git(&["config", "user.email", "test@localhost"])?;
        Ok(project)
    }

    /// The project's unique name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The work tree.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The program's home directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The name of the base image, where builds that name no backend find it.
    pub fn base(&self) -> String {
        match &self.bases {
            Some(bases) => bases.repo(BASE),
            None => crate::engine::base_image().to_owned(),
        }
    }

    /// Writes `werf.yaml`: the meta section and the given documents. `BASE` stands for the base image.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn config(&self, documents: &str) -> Result<()> {
        let documents = documents.replace("BASE", &self.base());
        self.write("werf.yaml", format!("project: {}\nconfigVersion: 1\n---\n{documents}", self.name))
    }

    /// Writes a file of the work tree.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().context("a parent")?)?;
        Ok(fs::write(path, content)?)
    }

    /// Sets the mode of a file of the work tree.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn chmod(&self, path: &str, mode: u32) -> Result<()> {
        Ok(fs::set_permissions(self.dir.path().join(path), fs::Permissions::from_mode(mode))?)
    }

    /// Makes a symbolic link in the work tree, in place of what is there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn link(&self, path: &str, target: &str) -> Result<()> {
        let path = self.dir.path().join(path);
        let _ = fs::remove_file(&path);
        Ok(symlink(target, path)?)
    }

    /// Puts a program of this machine, with the libraries that it needs, below a directory of the work tree.
    ///
    /// # Errors
    /// When it is not there.
    pub fn bring(&self, directory: &str, program: &str) -> Result<()> {
        let listed = child::command("ldd").arg(program).output()?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
        for part in libraries.chain([program]) {
            let inner = format!("{directory}{part}");
            self.write(&inner, fs::read(part).with_context(|| part.to_owned())?)?;
            self.chmod(&inner, 0o755)?;
        }
        Ok(())
    }

    /// Runs git in the work tree; answers its output without the last line end.
    ///
    /// # Errors
    /// When git fails.
    pub fn git(&self, arguments: &[&str]) -> Result<String> {
        let output = child::command("git").arg("-C").arg(self.dir.path()).args(arguments).output()?;
        if !output.status.success() {
            bail!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Commits everything in the work tree.
    ///
    /// # Errors
    /// When git fails.
    pub fn commit(&self, message: &str) -> Result<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message])?;
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs the program with arguments, to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn slipway(&self, arguments: &[&str]) -> Result<Run> {
        self.slipway_with(arguments, &[])
    }

    /// Runs the program with arguments and variables, to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn slipway_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Run> {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        let output = command.stdin(Stdio::null()).output().context("run slipway")?;
        Ok(Run::new(&output))
    }

    /// Runs the program with arguments by another program, which finds them behind its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn slipway_by(&self, wrapper: &[&str], arguments: &[&str]) -> Result<Run> {
        let (first, rest) = wrapper.split_first().context("a wrapper")?;
        let mut command = self.command_of(Path::new(first), rest);
        let output = command.arg(program()).args(arguments).stdin(Stdio::null()).output();
        Ok(Run::new(&output.with_context(|| format!("run {first}"))?))
    }

    /// The same, started only; its output is kept for [`Run::wait`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_by(&self, wrapper: &[&str], arguments: &[&str]) -> Result<Child> {
        let (first, rest) = wrapper.split_first().context("a wrapper")?;
        let mut command = self.command_of(Path::new(first), rest);
        command.arg(program()).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().with_context(|| format!("start {first}"))
    }

    /// Starts the program; its output is kept for [`Run::wait`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Child> {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        piped.spawn().context("start slipway")
    }

    /// Starts the program on a terminal of its own, which `script` makes: what it shows is the standard output, and what it
    /// is told the standard input.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_on_terminal(&self, arguments: &[&str]) -> Result<Child> {
        let line: Vec<String> = arguments.iter().map(|word| format!("'{word}'")).collect();
        let line = format!("'{}' {}", program().display(), line.join(" "));
        let mut command =
            self.command_of(Path::new("script"), &["--quiet", "--return", "--command", &line, "/dev/null"]);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        piped.spawn().context("start script")
    }

    /// Starts the program; all that it says goes to a file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_to(&self, arguments: &[&str], log: &Path) -> Result<Child> {
        let log = fs::File::create(log)?;
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().context("start slipway")
    }

    /// Builds with a report.
    ///
    /// # Errors
    /// When the build fails or its report cannot be read.
    pub fn build(&self, arguments: &[&str]) -> Result<Built> {
        self.build_with(arguments, &[])
    }

    /// Builds with a report, with variables.
    ///
    /// # Errors
    /// When the build fails or its report cannot be read.
    pub fn build_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Built> {
        let report = self.home.path().join("report.json");
        let report = report.to_str().context("a UTF-8 path")?;
        let mut all = vec!["build", "--save-build-report", "--build-report-path", report];
        all.extend(arguments);
        let run = self.slipway_with(&all, variables)?;
        if run.code != 0 {
            bail!("slipway build ended with {}:\n{}", run.code, run.stderr);
        }
        let report = serde_json::from_slice(&fs::read(report).context("read the report")?)?;
        Ok(Built { run, report })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(&program(), arguments)
    }

    fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = child::command(program);
        command.current_dir(self.dir.path()).args(arguments);
        let environment = Environment::from_process();
        for (name, _) in environment.with_prefix("WERF_").chain(environment.with_prefix("SLIPWAY_")) {
            if name != "SLIPWAY_TEST_REQUIRE" {
                command.env_remove(name);
            }
        }
        command.env("SLIPWAY_HOME_DIR", self.home.path());
        // Disks of machines that test may be full, and tests share the engine.
        command.env("SLIPWAY_DISABLE_AUTO_HOST_CLEANUP", "1");
        for kind in ["DOCKER_STORAGE", "LOCAL_CACHE"] {
            command.env(format!("SLIPWAY_ALLOWED_{kind}_VOLUME_USAGE"), "100");
        }
        // Workers of a cluster are told when they are started.
        let usual = (!arguments.contains(&"--coordinator")).then(|| "docker".to_owned());
        if let Some(backend) = backend().or(usual) {
            command.env("SLIPWAY_BACKEND", backend);
        }
        command
    }
}

/// Name of the base image in a registry of a project.
const BASE: &str = "base:1";

/// The backend of builds that name none.
pub fn backend() -> Option<String> {
    Environment::from_process().non_empty(BACKEND).map(str::to_owned)
}

/// Whether builds that name no backend take images of the engine as bases; said aloud when not.
pub fn takes_engine_images() -> bool {
    let takes = backend().is_none_or(|backend| backend == "docker");
    if !takes {
        slipway_parts::skip("native", "the native backend takes no images of an engine");
    }
    takes
}

/// A registry with the base image.
fn bases() -> Result<Registry> {
    let registry = Registry::start()?;
    let name = registry.repo(BASE);
    crate::engine::run(&["tag", crate::engine::base_image(), &name])?;
    crate::engine::run(&["push", "--quiet", &name])?;
    crate::engine::run(&["rmi", &name])?;
    Ok(registry)
}

/// A successful build and its report.
#[derive(Debug)]
pub struct Built {
    /// The run.
    pub run: Run,
    /// The report.
    pub report: serde_json::Value,
}

impl Built {
    /// The runnable name of an image.
    ///
    /// # Panics
    /// When the report does not have it.
    pub fn image(&self, name: &str) -> String {
        let image = self.report["Images"][name]["DockerImageName"].as_str();
        image.unwrap_or_else(|| panic!("`{name}` is not in the report: {}", self.report)).to_owned()
    }
}

impl Run {
    /// Waits for a started program; ends it when it is not done within four minutes.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn wait(child: Child) -> Result<Self> {
        let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).context("a process id")?;
        let (ended, end) = std::sync::mpsc::channel();
        std::thread::spawn(move || ended.send(child.wait_with_output()));
        match end.recv_timeout(PATIENCE) {
            Ok(output) => Ok(Self::new(&output?)),
            Err(_) => {
                // What it said by then says where it hangs.
                rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
                Ok(Self::new(&end.recv()??))
            }
        }
    }

    fn new(output: &std::process::Output) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let signal = output.status.signal().map(|signal| 128 + signal);
        Self {
            code: output.status.code().or(signal).unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The stages that were built, as `image/stage`, in the order of the log.
    pub fn built(&self) -> Vec<String> {
        self.after("Building stage ")
    }

    /// The stages that were found, as `image/stage`, in the order of the log.
    pub fn reused(&self) -> Vec<String> {
        self.after("Use previously built image for ")
    }

    fn after(&self, phrase: &str) -> Vec<String> {
        let rest = self.stderr.lines().filter_map(|line| line.split_once(phrase).map(|(_, rest)| rest));
        rest.filter_map(|rest| rest.split_whitespace().next()).map(str::to_owned).collect()
    }
}

/// The program, beside the test's own directory in cargo's target directory.
pub(crate) fn program() -> PathBuf {
    let own = std::env::current_exe().expect("a test has a path");
    let profile = own.ancestors().nth(2).expect("tests are in target/PROFILE/deps");
    let program = profile.join("slipway");
    assert!(program.exists(), "{} is not there: run `cargo build` first", program.display());
    program
}
