//! How commands are kept from the host.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use slipway_backend::runtime::{Kind, Runtime};
use slipway_process::Environment;

/// The variable that chooses.
pub const VARIABLE: &str = "WERF_BUILDAH_MODE";
/// What is there in a container of Docker, and of others.
const CONTAINERS: [&str; 2] = [".dockerenv", "run/.containerenv"];
/// What pods of Kubernetes have in their environment.
const POD: &str = "KUBERNETES_SERVICE_HOST";

/// How commands are kept from the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mode {
    /// `native-chroot`: in the image's directory, and processes of their own; they have the network of the host.
    Chroot,
    /// `native-rootless`: by a runtime of the OCI specification, as a user who is not root.
    Rootless(Runtime),
}

impl Mode {
    /// As [`VARIABLE`] names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Chroot => "native-chroot",
            Self::Rootless(_) => "native-rootless",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chroot => f.write_str(self.name()),
            Self::Rootless(runtime) => write!(f, "{} by {runtime}", self.name()),
        }
    }
}

/// What is known of this process when a mode is chosen.
#[derive(Clone, Debug)]
pub struct Place {
    /// Whether it is root, of all ids.
    pub as_root: bool,
    /// Why it seems to be in a container, if it does.
    pub container: Option<String>,
    /// Which runtime the user names, if any.
    pub runtime: Option<String>,
}

impl Place {
    /// This process's; `as_root` = it is root, of all ids.
    pub fn new(as_root: bool, runtime: Option<String>, environment: &Environment) -> Self {
        Self { as_root, container: container(Path::new("/"), environment), runtime }
    }
}

fn container(root: &Path, environment: &Environment) -> Option<String> {
    let found = CONTAINERS.into_iter().map(|name| root.join(name)).find(|path: &PathBuf| path.exists());
    let pod = || environment.non_empty(POD).map(|_| format!("{POD} is set"));
    found.map(|path| format!("there is {}", path.display())).or_else(pod)
}

/// The mode that is asked for, and why as a clause; `None`, `auto` and `docker` = whichever suits.
///
/// # Errors
/// When it cannot be had here, with what to do instead.
pub fn choose(asked: Option<&str>, place: &Place) -> Result<(Mode, String), String> {
    match asked {
        None | Some("auto" | "docker") => automatic(place),
        Some("native-chroot") => chroot(place, format!("as {VARIABLE} says")),
        Some("native-rootless") if place.as_root => Err(format!(
            "{VARIABLE}=native-rootless is for users other than root, and this is root: use native-chroot or auto"
        )),
        // In most containers no runtime can start; who asks for it sees for himself.
        Some("native-rootless") => Ok((Mode::Rootless(runtime(place)?), format!("as {VARIABLE} says"))),
        Some(other) => Err(format!("{VARIABLE}: `{other}` is none of: docker, auto, native-chroot, native-rootless")),
    }
}

fn automatic(place: &Place) -> Result<(Mode, String), String> {
    if place.as_root {
        return chroot(place, "as this is root".to_owned());
    }
    if let Some(why) = &place.container {
        return chroot(place, format!("as this is a container: {why}"));
    }
    match runtime(place) {
        Ok(runtime) => Ok((Mode::Rootless(runtime), "as this is not root, and a runtime is installed".to_owned())),
        // Who names a runtime wants it.
        Err(why) if place.runtime.is_some() => Err(why),
        Err(why) => chroot(place, format!("as {why}")),
    }
}

fn chroot(place: &Place, why: String) -> Result<(Mode, String), String> {
    match &place.runtime {
        None => Ok((Mode::Chroot, why)),
        Some(runtime) => Err(format!(
            "--native-runtime {runtime}: Buildah runs commands by a runtime only as native-rootless, and this is \
             native-chroot ({why}); leave it out, or build as a user other than root"
        )),
    }
}

/// The runtime that is named, or the first that is installed and works.
fn runtime(place: &Place) -> Result<Runtime, String> {
    if let Some(name) = &place.runtime {
        let found = Runtime::find(name).map_err(|why| format!("--native-runtime: {why}"))?;
        return match is_run(found.kind()) {
            true => Ok(found),
            false => Err(format!(
                "--native-runtime {name}: Buildah starts its runtimes with --no-new-keyring, which {} does not know; name runc \
                 or crun, or build with --backend native",
                found.kind().name()
            )),
        };
    }
    let mut known = Kind::ALL.into_iter().filter(|kind| is_run(*kind));
    let found = known.find_map(|kind| Runtime::find(kind.name()).ok());
    found.ok_or_else(|| "no runtime is installed: apt-get install runc".to_owned())
}

/// Whether Buildah can start a runtime.
fn is_run(kind: Kind) -> bool {
    match kind {
        Kind::Runc | Kind::Crun | Kind::Kata => true,
        Kind::Runsc => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(as_root: bool, container: bool, runtime: &str) -> Place {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Place { as_root, container: container.then(|| "there is /.dockerenv".to_owned()), runtime: some(runtime) }
    }

    #[test]
    fn a_mode_is_chosen_with_its_reason_or_refused_with_what_helps() {
        for (asked, place, expected) in [
            ("auto", place(true, false, ""), "native-chroot: as this is root"),
            ("auto", place(false, true, ""), "native-chroot: as this is a container: there is /.dockerenv"),
            ("native-chroot", place(false, false, ""), "native-chroot: as WERF_BUILDAH_MODE says"),
            ("native-rootless", place(true, false, ""), "this is root: use native-chroot or auto"),
            ("native-rootless", place(false, false, "/no/runc"), "--native-runtime: "),
            ("auto", place(false, false, "/no/runc"), "--native-runtime: "),
            ("auto", place(true, false, "runc"), "only as native-rootless"),
            ("chroot", place(true, false, ""), "`chroot` is none of"),
        ] {
            let said = match choose(Some(asked), &place) {
                Ok((mode, why)) => format!("{mode}: {why}"),
                Err(why) => why,
            };
            assert!(said.contains(expected), "{asked} {place:?}: {said}");
        }
    }

    /// A runtime that Buildah cannot start is refused before it fails.
    #[test]
    fn gvisor_is_for_the_native_backend() {
        let home = tempfile::tempdir().expect("a directory");
        let runsc = home.path().join("runsc");
        std::os::unix::fs::symlink("/bin/true", &runsc).expect("a link");
        let named = place(false, false, runsc.to_str().expect("a UTF-8 path"));
        for asked in ["auto", "native-rootless"] {
            let why = choose(Some(asked), &named).expect_err("no runtime of Buildah's");
            assert!(why.contains("--no-new-keyring, which runsc does not know"), "{why}");
        }
    }

    #[test]
    fn containers_are_told_by_what_is_in_them() {
        let root = tempfile::tempdir().expect("a directory");
        let nothing = Environment::default();
        assert_eq!(container(root.path(), &nothing), None);
        assert!(container(root.path(), &[(POD, "10.0.0.1")].into_iter().collect()).is_some());
        std::fs::write(root.path().join(".dockerenv"), "").expect("a file");
        assert!(container(root.path(), &nothing).is_some_and(|why| why.contains(".dockerenv")));
    }
}
