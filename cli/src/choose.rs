//! Which backend builds, and why.

use std::{fmt, path::PathBuf};

use slipway_process::Environment;

/// The variable by which werf is told to build without a Docker server.
const BUILDAH_MODE: &str = "WERF_BUILDAH_MODE";
/// Values of it that mean "without a Docker server".
const DAEMONLESS: [&str; 3] = ["auto", "native-chroot", "native-rootless"];
/// Where an engine listens when nobody says otherwise.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// What builds containers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Backend {
    /// A Docker engine.
    Docker,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Docker => f.write_str("docker"),
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
}

impl Wanted {
    /// From the flag and the environment.
    pub(crate) fn new(backend: Option<String>, environment: &Environment) -> Self {
        Self { backend, buildah_mode: environment.non_empty(BUILDAH_MODE).map(str::to_owned) }
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

/// The backend for what is wanted. `docker` = whether the engine at `address` answers, or why it does not.
///
/// # Errors
/// When nothing can build.
pub(crate) fn choose(
    wanted: &Wanted,
    address: &EngineAddress,
    docker: Result<(), String>,
) -> Result<Choice, NoBackend> {
    let why = match (wanted.backend.as_deref(), wanted.buildah_mode.as_deref()) {
        (Some("docker"), _) => "chosen by --backend".to_owned(),
        (Some(other), _) => return Err(NoBackend::Refused(format!("not supported yet: --backend {other}"))),
        (None, Some(mode)) if DAEMONLESS.contains(&mode) => {
            return Err(NoBackend::Refused(format!(
                "not supported yet: {BUILDAH_MODE}={mode} (building without a Docker engine); unset the variable or \
                 say --backend docker"
            )));
        }
        (None, Some("docker")) => format!("chosen by {BUILDAH_MODE}"),
        (None, Some(other)) => {
            let known = DAEMONLESS.join(", ");
            return Err(NoBackend::Refused(format!("{BUILDAH_MODE}: `{other}` is none of: docker, {known}")));
        }
        (None, None) => "chosen automatically: the engine answers".to_owned(),
    };
    match docker {
        Ok(()) => Ok(Choice { backend: Backend::Docker, why }),
        Err(problem) => Err(NoBackend::Absent(format!(
            "no container engine answers: tried the Docker engine at {address}{}: {problem}. Start one, or set \
             DOCKER_HOST to the address of one that runs",
            if address.host.is_some() { " (from DOCKER_HOST)" } else { " (DOCKER_HOST is not set)" }
        ))),
    }
}

/// The first line of a build.
pub(crate) fn announcement(choice: &Choice, address: &EngineAddress, project: &str, repo: Option<&str>) -> String {
    let local = format!("images {project}:* of that engine");
    let storage = match repo {
        Some(repo) => format!("stages are kept in {repo}; local storage: {local}"),
        None => format!("stages are kept in the local storage, {local} (no --repo)"),
    };
    format!("Backend {} at {address} ({}); {storage}", choice.backend, choice.why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> EngineAddress {
        EngineAddress { host: None, certificates: None }
    }

    fn wanted(backend: &str, mode: &str) -> Wanted {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Wanted { backend: some(backend), buildah_mode: some(mode) }
    }

    #[test]
    fn the_flag_wins_over_the_variable_over_the_probe() {
        for (backend, mode, answers, expected) in [
            ("", "", true, "chosen automatically: the engine answers"),
            ("docker", "", true, "chosen by --backend"),
            ("docker", "native-chroot", true, "chosen by --backend"),
            ("", "docker", true, "chosen by WERF_BUILDAH_MODE"),
            ("native", "", true, "not supported yet: --backend native"),
            ("buildah", "docker", true, "not supported yet: --backend buildah"),
            ("", "auto", true, "not supported yet: WERF_BUILDAH_MODE=auto"),
            (
                "",
                "chroot",
                true,
                "WERF_BUILDAH_MODE: `chroot` is none of: docker, auto, native-chroot, native-rootless",
            ),
            ("", "", false, "no container engine answers: tried the Docker engine at unix:///var/run/docker.sock"),
            ("docker", "", false, "no container engine answers"),
        ] {
            let probe = if answers { Ok(()) } else { Err("connection refused".to_owned()) };
            let said = match choose(&wanted(backend, mode), &address(), probe) {
                Ok(choice) => choice.why,
                Err(error) => error.to_string(),
            };
            assert!(said.starts_with(expected), "--backend {backend} {mode} {answers}: {said}");
        }
    }

    #[test]
    fn a_build_begins_with_where_it_runs_and_why() {
        let choice = choose(&wanted("", ""), &address(), Ok(())).expect("docker");
        assert_eq!(
            announcement(&choice, &address(), "shop", None),
            "Backend docker at unix:///var/run/docker.sock (chosen automatically: the engine answers); stages are kept in \
             the local storage, images shop:* of that engine (no --repo)"
        );
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
