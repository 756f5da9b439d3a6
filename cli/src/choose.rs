//! Which backend builds, and why.

use std::{fmt, path::PathBuf};

use slipway_buildah::mode::VARIABLE as BUILDAH_MODE;
use slipway_config::ImageName;
use slipway_native::{Compression, rootless, runtime::Runtime};
use slipway_process::Environment;

/// Values of it that mean "without a Docker server".
const DAEMONLESS: [&str; 3] = ["auto", "native-chroot", "native-rootless"];
/// Where an engine listens when nobody says otherwise.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// What builds containers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Backend {
    /// A Docker engine.
    Docker,
    /// This host, without any engine.
    Native,
    /// This host, by the program buildah.
    Buildah,
}

impl Backend {
    /// Whether it can do one instruction of a Dockerfile alone.
    pub(crate) fn does_instructions(self) -> bool {
        match self {
            Self::Docker => false,
            Self::Native | Self::Buildah => true,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Docker => f.write_str("docker"),
            Self::Native => f.write_str("native"),
            Self::Buildah => f.write_str("buildah"),
        }
    }
}

/// Where the Docker engine is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct EngineAddress {
    /// `DOCKER_HOST`; `None` = where engines usually listen.
    pub(crate) host: Option<String>,
    /// Directory with certificates, when the connection must use them.
    pub(crate) certificates: Option<PathBuf>,
}

impl EngineAddress {
    /// What the environment says, as for Docker's own client.
    pub(crate) fn from_environment(environment: &Environment) -> Self {
        let home = || environment.non_empty("HOME").map(|home| PathBuf::from(home).join(".docker"));
        let certificates = environment
            .non_empty("DOCKER_TLS_VERIFY")
            .and_then(|_| environment.non_empty("DOCKER_CERT_PATH").map(PathBuf::from).or_else(home));
        Self { host: environment.non_empty("DOCKER_HOST").map(str::to_owned), certificates }
    }
}

impl EngineAddress {
    /// Whether it sees this host's files.
    pub(crate) fn is_here(&self) -> bool {
        self.host.as_deref().is_none_or(|host| host.starts_with("unix:") || host.starts_with('/'))
    }
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.host.as_deref().unwrap_or(DEFAULT_HOST))
    }
}

/// What the user asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Wanted {
    /// `--backend`; `None` = automatic.
    pub(crate) backend: Option<String>,
    /// `WERF_BUILDAH_MODE`, when set.
    pub(crate) buildah_mode: Option<String>,
    /// Whether this is root, of all ids.
    pub(crate) as_root: bool,
    /// Whether buildah is installed.
    pub(crate) has_buildah: bool,
}

impl Wanted {
    /// From the flag and the environment.
    pub(crate) fn new(backend: Option<String>, environment: &Environment) -> Self {
        let as_root = !rootless::is_needed() && !rootless::is_inside();
        let buildah_mode = environment.non_empty(BUILDAH_MODE).map(str::to_owned);
        let has_buildah = slipway_buildah::find(environment).is_some();
        Self { backend, buildah_mode, as_root, has_buildah }
    }
}

/// A decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Choice {
    /// What builds.
    pub(crate) backend: Backend,
    /// Why, as a clause.
    pub(crate) why: String,
}

/// Why there is nothing to build with.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NoBackend {
    /// What was asked for does not exist, or not yet.
    #[error("{0}")]
    Refused(String),
    /// No engine answers.
    #[error("{0}")]
    Absent(String),
}

/// What is asked for, before anything was tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// This one, and why.
    Named(Backend, String),
    /// This host where it can build, else an engine.
    Any,
}

impl Asked {
    /// Whether the Docker engine is to be tried, given what came of this host.
    pub(crate) fn tries_docker(&self, native: Option<&Result<(), String>>) -> bool {
        match self {
            Self::Named(backend, _) => *backend == Backend::Docker,
            Self::Any => !matches!(native, Some(Ok(()))),
        }
    }

    /// Whether this host is to be tried.
    pub(crate) fn tries_native(&self) -> bool {
        match self {
            Self::Named(backend, _) => *backend == Backend::Native,
            Self::Any => true,
        }
    }

    /// Whether buildah is to be tried.
    pub(crate) fn tries_buildah(&self) -> bool {
        matches!(self, Self::Named(Backend::Buildah, _))
    }
}

/// What became of trying the backends; `None` = not tried.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tried {
    /// Whether the Docker engine answers, or why it does not.
    pub(crate) docker: Option<Result<(), String>>,
    /// Whether this host can build itself, or why it cannot.
    pub(crate) native: Option<Result<(), String>>,
    /// Whether it can by buildah, or why it cannot.
    pub(crate) buildah: Option<Result<(), String>>,
}

impl Wanted {
    /// What the flag and the variable say.
    ///
    /// # Errors
    /// When they name what does not exist, or not yet.
    pub(crate) fn asked(&self) -> Result<Asked, NoBackend> {
        let named = |backend, why: String| Ok(Asked::Named(backend, why));
        match (self.backend.as_deref(), self.buildah_mode.as_deref()) {
            (Some("docker"), _) => named(Backend::Docker, "chosen by --backend".to_owned()),
            (Some("native"), _) => named(Backend::Native, "chosen by --backend".to_owned()),
            (Some("buildah"), _) => named(Backend::Buildah, "chosen by --backend".to_owned()),
            (Some(other), _) => Err(NoBackend::Refused(format!("not supported yet: --backend {other}"))),
            (None, Some("native-rootless")) if self.as_root => Err(NoBackend::Refused(format!(
                "{BUILDAH_MODE}=native-rootless is for users other than root, and this is root: use native-chroot or auto"
            ))),
            (None, Some(mode)) if DAEMONLESS.contains(&mode) && self.has_buildah => {
                named(Backend::Buildah, format!("chosen by {BUILDAH_MODE}={mode}: no Docker engine"))
            }
            (None, Some(mode)) if DAEMONLESS.contains(&mode) => {
                let why = format!("chosen by {BUILDAH_MODE}={mode}: no Docker engine, and buildah is not installed");
                named(Backend::Native, why)
            }
            (None, Some("docker")) => named(Backend::Docker, format!("chosen by {BUILDAH_MODE}")),
            (None, Some(other)) => {
                let known = DAEMONLESS.join(", ");
                Err(NoBackend::Refused(format!("{BUILDAH_MODE}: `{other}` is none of: docker, {known}")))
            }
            (None, None) => Ok(Asked::Any),
        }
    }
}

/// The backend for what is asked for.
///
/// # Errors
/// When nothing can build.
pub(crate) fn choose(asked: &Asked, address: &EngineAddress, tried: &Tried) -> Result<Choice, NoBackend> {
    let choice = |backend, why: &str| Ok(Choice { backend, why: why.to_owned() });
    let silent = || Err("it was not tried".to_owned());
    let docker = || tried.docker.clone().unwrap_or_else(silent).map_err(|problem| no_engine(address, &problem));
    let native = || tried.native.clone().unwrap_or_else(silent);
    let buildah = || tried.buildah.clone().unwrap_or_else(silent);
    match asked {
        Asked::Named(Backend::Docker, why) => match docker() {
            Ok(()) => choice(Backend::Docker, why),
            Err(problem) => Err(NoBackend::Absent(format!("{problem}. {START}"))),
        },
        Asked::Named(Backend::Native, why) => match native() {
            Ok(()) => choice(Backend::Native, why),
            Err(problem) => Err(NoBackend::Absent(format!("this host cannot build by itself: {problem}"))),
        },
        Asked::Named(Backend::Buildah, why) => match buildah() {
            Ok(()) => choice(Backend::Buildah, why),
            Err(problem) => Err(NoBackend::Absent(format!("this host cannot build by buildah: {problem}"))),
        },
        Asked::Any => match (native(), docker()) {
            (Ok(()), _) => choice(Backend::Native, "chosen automatically"),
            (Err(_), Ok(())) => choice(
                Backend::Docker,
                "chosen automatically: the engine answers, and this host cannot build by itself",
            ),
            (Err(host), Err(engine)) => {
                Err(NoBackend::Absent(format!("{engine}. {START}. This host cannot build by itself either: {host}")))
            }
        },
    }
}

/// What to do when no engine answers.
const START: &str = "Start one, or set DOCKER_HOST to the address of one that runs";

/// What is said of a command whose images an engine is to run, when none answers.
pub(crate) fn no_runner(address: &EngineAddress, problem: &str) -> NoBackend {
    NoBackend::Absent(format!("a Docker engine is to run what is built: {}. {START}", no_engine(address, problem)))
}

fn no_engine(address: &EngineAddress, problem: &str) -> String {
    let from = if address.host.is_some() { " (from DOCKER_HOST)" } else { " (DOCKER_HOST is not set)" };
    format!("no container engine answers: tried the Docker engine at {address}{from}: {problem}")
}

/// The runtime that the native backend is to run commands by; `None` = its own sandbox.
///
/// # Errors
/// When it is not here, or another backend is to build.
pub(crate) fn native_runtime(backend: Backend, name: Option<&str>) -> Result<Option<Runtime>, NoBackend> {
    match (backend, name) {
        // Buildah's is a part of its mode.
        (_, None) | (Backend::Buildah, _) => Ok(None),
        (Backend::Docker, Some(_)) => Err(NoBackend::Refused(
            "--native-runtime: the Docker engine chooses its runtimes itself; use --backend native or buildah"
                .to_owned(),
        )),
        (Backend::Native, Some(name)) => {
            Runtime::find(name).map(Some).map_err(|why| NoBackend::Refused(format!("--native-runtime: {why}")))
        }
    }
}

/// Refuses a backend that cannot build the instructions of a Dockerfile one by one, as an image wants it. What was chosen because it
/// can is said.
///
/// # Errors
/// When it is Docker's.
pub(crate) fn check_staged(choice: &mut Choice, asked: &Asked, image: &ImageName) -> Result<(), NoBackend> {
    if !choice.backend.does_instructions() {
        return Err(NoBackend::Refused(format!(
            "not supported yet: image {image} is `staged`, and the {} backend ({}) builds Dockerfiles as a whole only: use --backend \
             native or buildah, or `staged: false`",
            choice.backend, choice.why
        )));
    }
    if *asked == Asked::Any {
        choice.why = "chosen automatically: a Dockerfile is staged".to_owned();
    }
    Ok(())
}

/// Refuses a compression that a backend does not have.
///
/// # Errors
/// When it is Docker's, which compresses layers itself.
pub(crate) fn check_compression(backend: Backend, compression: Compression) -> Result<(), NoBackend> {
    match (backend, compression) {
        (Backend::Docker, Compression::Zstd) => Err(NoBackend::Refused(
            "--compression zstd: the Docker engine compresses layers itself, with gzip; use --backend native"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

/// The first line of a build. `home` = where the native backend keeps images.
pub(crate) fn announcement(
    choice: &Choice,
    address: &EngineAddress,
    home: &str,
    project: &str,
    repo: Option<&str>,
) -> String {
    let (place, local) = match choice.backend {
        Backend::Docker => (address.to_string(), format!("images {project}:* of that engine")),
        Backend::Native => (home.to_owned(), format!("project {project} in that directory")),
        Backend::Buildah => ("this host".to_owned(), format!("images localhost/{project}:* of buildah")),
    };
    let storage = match repo {
        Some(repo) => format!("stages are kept in {repo}; local storage: {local}"),
        None => format!("stages are kept in the local storage, {local} (no --repo)"),
    };
    format!("Backend {} at {place} ({}); {storage}", choice.backend, choice.why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> EngineAddress {
        EngineAddress { host: None, certificates: None }
    }

    fn wanted(backend: &str, mode: &str) -> Wanted {
        let installed = mode.ends_with(" (installed)");
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let mode = some(mode.trim_end_matches(" (installed)")).filter(|mode| !mode.is_empty());
        let has_buildah = installed;
        Wanted { backend: some(backend), buildah_mode: mode, as_root: true, has_buildah }
    }

    #[test]
    fn the_flag_wins_over_the_variable_over_the_probe() {
        let no_engine = "no container engine answers: tried the Docker engine at unix:///var/run/docker.sock";
        for (backend, mode, docker, native, expected) in [
            ("", "", true, true, "native: chosen automatically"),
            ("", "", true, false, "docker: chosen automatically: the engine answers, and this"),
            ("", "", false, false, no_engine),
            ("docker", "", true, true, "docker: chosen by --backend"),
            ("docker", "native-chroot", true, true, "docker: chosen by --backend"),
            ("docker", "", false, true, no_engine),
            ("native", "", true, true, "native: chosen by --backend"),
            ("native", "docker", true, false, "this host cannot build by itself: no root"),
            ("", "docker", true, true, "docker: chosen by WERF_BUILDAH_MODE"),
            ("", "docker", false, true, no_engine),
            ("buildah", "docker", true, true, "buildah: chosen by --backend"),
            ("", "auto (installed)", true, true, "buildah: chosen by WERF_BUILDAH_MODE=auto: no Docker engine"),
            ("", "auto", true, true, "native: chosen by WERF_BUILDAH_MODE=auto"),
            ("", "native-chroot", true, true, "native: chosen by WERF_BUILDAH_MODE=native-chroot"),
            ("", "native-rootless", true, true, "WERF_BUILDAH_MODE=native-rootless is for users other than root"),
            (
                "",
                "chroot",
                true,
                true,
                "WERF_BUILDAH_MODE: `chroot` is none of: docker, auto, native-chroot, native-rootless",
            ),
        ] {
            let probe = |answers: bool, why: &str| Some(if answers { Ok(()) } else { Err(why.to_owned()) });
            let tried = Tried {
                docker: probe(docker, "connection refused"),
                native: probe(native, "no root"),
                buildah: Some(Ok(())),
            };
            let chosen = wanted(backend, mode).asked().and_then(|asked| choose(&asked, &address(), &tried));
            let said = match chosen {
                Ok(choice) => format!("{}: {}", choice.backend, choice.why),
                Err(error) => error.to_string(),
            };
            assert!(said.starts_with(expected), "--backend {backend} {mode} {docker} {native}: {said}");
        }
    }

    #[test]
    fn no_engine_is_asked_where_this_host_builds() {
        for (docker, native, expected) in [
            (None, Some(Ok(())), "native: chosen automatically"),
            (
                Some(Ok(())),
                Some(Err("no root".to_owned())),
                "docker: chosen automatically: the engine answers, and this",
            ),
            (Some(Err("refused".to_owned())), Some(Err("no root".to_owned())), "no container engine answers"),
        ] {
            let tried = Tried { docker, native, buildah: None };
            let asked = wanted("", "").asked().expect("an answer");
            assert_eq!(asked.tries_docker(tried.native.as_ref()), tried.docker.is_some());
            assert!(asked.tries_native());
            let said = match choose(&asked, &address(), &tried) {
                Ok(choice) => format!("{}: {}", choice.backend, choice.why),
                Err(error) => error.to_string(),
            };
            assert!(said.starts_with(expected), "{said}");
        }
    }

    #[test]
    fn a_build_begins_with_where_it_runs_and_why() {
        let choice = Choice { backend: Backend::Docker, why: "chosen by --backend".to_owned() };
        assert_eq!(
            announcement(&choice, &address(), "/home/x", "shop", None),
            "Backend docker at unix:///var/run/docker.sock (chosen by --backend); stages are kept in \
             the local storage, images shop:* of that engine (no --repo)"
        );
        let choice = Choice { backend: Backend::Native, why: "chosen by --backend".to_owned() };
        assert_eq!(
            announcement(&choice, &address(), "/home/x", "shop", Some("example.org/shop")),
            "Backend native at /home/x (chosen by --backend); stages are kept in example.org/shop; local storage: \
             project shop in that directory"
        );
    }

    #[test]
    fn what_is_staged_is_built_without_an_engine() {
        let choice = |backend| Choice { backend, why: "chosen automatically: the engine answers".to_owned() };
        let image = ImageName("app".to_owned());
        let mut docker = choice(Backend::Docker);
        let refused = check_staged(&mut docker, &Asked::Any, &image).expect_err("no").to_string();
        assert!(refused.starts_with("not supported yet: image app is `staged`, and the docker backend"), "{refused}");
        let mut native = choice(Backend::Native);
        check_staged(&mut native, &Asked::Any, &image).expect("it can");
        assert_eq!(native.why, "chosen automatically: a Dockerfile is staged");
        let said = Asked::Named(Backend::Native, String::new());
        native.why = "chosen by --backend".to_owned();
        check_staged(&mut native, &said, &image).expect("it can");
        assert_eq!(native.why, "chosen by --backend");
    }

    #[test]
    fn docker_compresses_in_its_own_way() {
        assert!(check_compression(Backend::Native, Compression::Zstd).is_ok());
        assert!(check_compression(Backend::Docker, Compression::Gzip).is_ok());
        let refused = check_compression(Backend::Docker, Compression::Zstd).expect_err("gzip only").to_string();
        assert!(refused.contains("use --backend native"), "{refused}");
    }

    #[test]
    fn runtimes_are_for_the_native_backend_and_installed() {
        assert!(matches!(native_runtime(Backend::Docker, None), Ok(None)));
        for (backend, name, why) in [
            (Backend::Docker, "runc", "use --backend native or buildah"),
            (Backend::Native, "podman", "use one of runc, crun, kata, runsc"),
            (Backend::Native, "/nowhere/crun", "not installed"),
        ] {
            let refused = native_runtime(backend, Some(name)).expect_err(name).to_string();
            assert!(refused.starts_with("--native-runtime: ") && refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn the_environment_names_the_engine() {
        let environment: Environment =
            [("DOCKER_HOST", "tcp://build:2376"), ("DOCKER_TLS_VERIFY", "1"), ("HOME", "/root")].into_iter().collect();
        let address = EngineAddress::from_environment(&environment);
        assert_eq!(address.to_string(), "tcp://build:2376");
        assert_eq!(address.certificates, Some(PathBuf::from("/root/.docker")));
    }
}
