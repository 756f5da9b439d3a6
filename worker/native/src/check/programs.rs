//! Programs that help: started, and asked who they are.

use std::{io, process::Stdio, time::Duration};

use slipway_process::{Tasks, child::async_command};
use slipway_toolbox::Places;

use super::{CHROOT, Finding, ROOTLESS};

/// How long a program may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Why a program gave no answer.
pub(super) enum Trouble {
    /// It is not there.
    Absent,
    /// It is, and fails: what it said last.
    Failed(String),
}

/// The first line that a program prints.
pub(super) async fn answer(program: &str, arguments: &[&str]) -> Result<String, Trouble> {
    let mut command = async_command(program);
    command.args(arguments).stdin(Stdio::null());
    let ran = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = match ran {
        Err(_) => return Err(Trouble::Failed("no answer within 20 s".to_owned())),
        // A directory of PATH that may not be read is as good as one without the program.
        Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            return Err(Trouble::Absent);
        }
        Ok(Err(error)) => return Err(Trouble::Failed(error.to_string())),
        Ok(Ok(output)) => output,
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout).lines().next().unwrap_or_default().to_owned());
    }
    let last = text(&output.stderr).lines().last().map(str::to_owned);
    Err(Trouble::Failed(last.unwrap_or_else(|| format!("it ended with {}", output.status))))
}

/// The programs that commands of Stapel images are run by, in images that have none.
pub(super) async fn toolbox(places: Places) -> Finding {
    const NAME: &str = "toolbox";
    let carried = places.name().is_some();
    match Tasks::new().blocking(move || places.load()).await {
        Ok(_) if carried => {
            Finding::works(NAME, "the bash and busybox that commands of images are run with, carried by this program")
        }
        Ok(_) => Finding::works(NAME, "the bash and busybox that commands of images are run with, of this host"),
        Err(error) => Finding::fails(NAME, error.to_string(), "apt-get install bash-static busybox-static")
            .needed_by(&["docker", CHROOT, ROOTLESS]),
    }
}

/// The program buildah; it opens its store, beside saying its version.
pub(super) async fn buildah() -> Finding {
    const NAME: &str = "buildah";
    const WITH: &str = "--backend buildah";
    let version = match answer(NAME, &["--version"]).await {
        Ok(version) => version,
        Err(Trouble::Absent) => return Finding::absent(NAME, WITH, "apt-get install buildah"),
        Err(Trouble::Failed(why)) => return Finding::fails(NAME, why, "apt-get install --reinstall buildah"),
    };
    match answer(NAME, &["info"]).await {
        Ok(_) => Finding::works(NAME, version),
        Err(Trouble::Absent) => Finding::absent(NAME, WITH, "apt-get install buildah"),
        Err(Trouble::Failed(why)) => {
            Finding::fails(NAME, format!("{version}: {why}"), "buildah info").needed_by(&[NAME])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn programs_answer_or_say_why_not() {
        assert!(matches!(answer("no-such-program-anywhere", &[]).await, Err(Trouble::Absent)));
        assert!(matches!(answer("sh", &["-c", "echo one; echo two"]).await, Ok(line) if line == "one"));
        let failed = answer("sh", &["-c", "echo first >&2; echo last >&2; exit 3"]).await;
        assert!(matches!(failed, Err(Trouble::Failed(why)) if why == "last"));
        assert!(matches!(answer("sh", &["-c", "exit 3"]).await, Err(Trouble::Failed(why)) if why.contains('3')));
    }
}
