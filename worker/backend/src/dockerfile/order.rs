//! What is asked for: a Dockerfile as it is read, the instruction of an order for one, the network of its commands.

use slipway_dockerfile::{Given, Head, Network, Origin, Program, Run, Written};
use slipway_oci::Platform;

use super::wrong;
use crate::{BackendError, DockerfileBuild, LocalImage};

/// What errors call the file.
const NAME: &str = "Dockerfile";

/// Reads the text with what it is built with.
///
/// # Errors
/// What is wrong with it.
pub fn read(build: &DockerfileBuild) -> Result<Program, BackendError> {
    let platform = build.platform.to_string();
    let machine = Platform::host().to_string();
    let given = Given { target: build.target.as_deref(), args: &build.args, platform: &platform, machine: &machine };
    Program::read(NAME, &build.text, &given).map_err(wrong)
}

/// An instruction behind a `FROM` that is done alone.
#[derive(Clone, Debug)]
pub struct Follows {
    /// Its place among those of its stage.
    pub index: usize,
    /// The instruction.
    pub written: Written,
    /// What those before it have made.
    pub base: LocalImage,
}

/// The instruction `number` of a stage, on what those before it have made; `None` = it is the `FROM`.
///
/// # Errors
/// When the Dockerfile has no such instruction, or nothing was handed over.
pub fn follows(
    program: &Program,
    stage: usize,
    number: usize,
    base: Option<&LocalImage>,
) -> Result<Option<Follows>, BackendError> {
    if stage > program.target() {
        return Err(BackendError::Refused(format!("the target of the Dockerfile does not need its stage {stage}")));
    }
    let Some(index) = number.checked_sub(1) else { return Ok(None) };
    let Some(written) = program.steps(stage).get(index).cloned() else {
        return Err(BackendError::Refused(format!("stage {stage} of the Dockerfile has no instruction {number}")));
    };
    let Some(base) = base.cloned() else {
        let why = "nothing was handed over for the instruction to stand on";
        return Err(BackendError::Engine(why.to_owned()));
    };
    Ok(Some(Follows { index, written, base }))
}

/// Why an instruction alone cannot read a stage that was not built before: no line of the Dockerfile names it, so that nobody
/// foresaw it.
pub fn not_built(program: &Program, stage: usize) -> BackendError {
    let name = name_of(program, stage);
    // It is the base that names it, in what it has postponed.
    BackendError::Refused(format!(
        "stage `{name}` of the Dockerfile is named by what a base image has postponed by ONBUILD, and was not built before"
    ))
}

/// A `FROM` as it is told.
pub fn head_text(program: &Program, head: &Head) -> String {
    match &head.base {
        Origin::Scratch => "FROM scratch".to_owned(),
        Origin::Image(name) => format!("FROM {name}"),
        Origin::Stage(stage) => format!("FROM {}", name_of(program, *stage)),
    }
}

fn name_of(program: &Program, stage: usize) -> String {
    program.head(stage).map_or_else(|_| stage.to_string(), |head| head.name)
}

/// The network of a command: that of the build, unless it names its own.
pub fn network(build: &DockerfileBuild, run: &Run) -> Option<String> {
    match run.network {
        None | Some(Network::Default) => build.network.clone().filter(|network| !network.is_empty()),
        Some(Network::None) => Some("none".to_owned()),
        Some(Network::Host) => Some("host".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use slipway_oci::BlobDigest;

    use super::*;
    use crate::Secrets;

    const TEXT: &str = "FROM a AS base\nRUN one\nFROM base\nRUN two\nFROM never\n";

    fn order() -> DockerfileBuild {
        DockerfileBuild {
            attempt: "a".to_owned(),
            text: TEXT.to_owned(),
            platform: Platform::host(),
            target: Some("1".to_owned()),
            args: BTreeMap::new(),
            add_hosts: Vec::new(),
            network: Some(String::new()),
            labels: BTreeMap::new(),
            to: None,
            bases: Vec::new(),
            secrets: Secrets::none(),
            agent: None,
        }
    }

    #[test]
    fn an_instruction_alone_is_found_or_refused() {
        let program = read(&order()).expect("a Dockerfile");
        let base = LocalImage { id: BlobDigest::of(b"") };
        assert!(follows(&program, 1, 0, None).expect("a `FROM`").is_none());
        let found = follows(&program, 1, 1, Some(&base)).expect("an instruction").expect("not the `FROM`");
        assert_eq!((found.index, found.written.text.as_str(), &found.base), (0, "RUN two", &base));
        let why = |stage, number, base| follows(&program, stage, number, base).expect_err("an error").to_string();
        assert_eq!(why(2, 1, Some(&base)), "the target of the Dockerfile does not need its stage 2");
        assert_eq!(why(1, 2, Some(&base)), "stage 1 of the Dockerfile has no instruction 2");
        assert!(why(1, 1, None).starts_with("nothing was handed over"));
        assert!(not_built(&program, 0).to_string().starts_with("stage `base` of the Dockerfile"));
        let head = program.head(1).expect("a stage");
        assert_eq!(head_text(&program, &head), "FROM base");
    }
}
