//! What the program is told of a build.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use slipway_backend::DockerfileBuild;
use slipway_oci::Platform;

use super::{CONTEXT, ID, IGNORE, TEXT, bases::Bases, spelled::HERE};
use crate::{
    Shared,
    memory::{Memory, agent},
    run::{Network, isolation},
};

/// The option whose value marks the containers of a build.
const MARK: &str = "--cni-config-dir";

/// Of a whole Dockerfile: layers of earlier builds serve again.
pub(super) fn whole(
    shared: &Shared,
    (build, network): (&DockerfileBuild, Network),
    (bases, memory): (&Bases, &Memory),
    place: &Path,
) -> Vec<OsString> {
    let mut words = common(shared, (build, network), &build.platform, memory, place);
    words.push("--layers".into());
    let mut option = |name: &str, value: OsString| words.extend([OsString::from(name), value]);
    if let Some(target) = &build.target {
        option("--target", target.into());
    }
    build.args.iter().map(pair).for_each(|arg| option("--build-arg", arg));
    bases.arguments().for_each(|base| option("--build-context", base.into()));
    words.push(PathBuf::from(place).join(CONTEXT).into());
    words
}

/// Of one instruction that sees these arguments: all of it is one layer. `has_documents` = it has here-documents, which lie in
/// a directory of their own.
pub(super) fn alone<'a>(
    shared: &Shared,
    (build, network): (&DockerfileBuild, Network),
    (platform, memory): (&Platform, &Memory),
    place: &Path,
    given: impl Iterator<Item = (&'a str, &'a str)>,
    has_documents: bool,
) -> Vec<OsString> {
    let mut words = common(shared, (build, network), platform, memory, place);
    words.push("--no-cache".into());
    let mut option = |name: &str, value: OsString| words.extend([OsString::from(name), value]);
    given.for_each(|(name, value)| option("--build-arg", format!("{name}={value}").into()));
    if has_documents {
        let mut directory = OsString::from(format!("{HERE}="));
        directory.push(place.join(HERE));
        option("--build-context", directory);
    }
    words.push(PathBuf::from(place).join(CONTEXT).into());
    words
}

fn common(
    shared: &Shared,
    (build, network): (&DockerfileBuild, Network),
    platform: &Platform,
    memory: &Memory,
    place: &Path,
) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["build".into()];
    words.extend(isolation(&shared.program.mode));
    words.extend(network.arguments(&shared.program.mode));
    // Of a build that failed no container stays.
    let fixed = ["--format", "docker", "--force-rm", "--pull=never", "--identity-label=false"];
    words.extend(fixed.map(OsString::from));
    let mut option = |name: &str, value: OsString| words.extend([OsString::from(name), value]);
    option("--signature-policy", shared.program.policy.clone().into());
    // For its own it needs not be told, and would complain of arguments that nobody uses.
    if *platform != Platform::host() {
        option("--platform", platform.to_string().into());
    }
    // Nobody reads it, but it is told of each container: that is how those of a killed build are known.
    option(MARK, place.into());
    for (name, file) in [("--file", TEXT), ("--ignorefile", IGNORE), ("--iidfile", ID)] {
        option(name, place.join(file).into());
    }
    build.add_hosts.iter().for_each(|host| option("--add-host", host.into()));
    shared.limits.iter().for_each(|limit| option("--ulimit", limit.into()));
    memory.arguments().for_each(|secret| option("--secret", secret));
    build.agent.iter().flat_map(agent).for_each(|agent| option("--ssh", agent));
    words
}

fn pair((name, value): (&String, &String)) -> OsString {
    OsString::from(format!("{name}={value}"))
}
