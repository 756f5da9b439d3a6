//! What the base of a staged Dockerfile has postponed, as far as the instructions that follow must know it: the arguments that it
//! declares, and whether it sets `CMD`. No line of the Dockerfile says so; it stands in the config of the images.

use serde::{Deserialize, Serialize};
use slipway_dockerfile::{DockerfileError, Program, Variables, Written};
use slipway_oci::ImageConfig;

use super::Draft;

/// The field of a config.
const FIELD: &str = "slipway.postponed";

/// What is to be known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Postponed {
    /// The variables of the image behind it.
    environment: Vec<String>,
    /// The declared arguments in their order; `None` = it has no value.
    arguments: Vec<(String, Option<String>)>,
    /// Whether it has set `CMD`.
    command: bool,
}

impl Postponed {
    /// Notes in the image what these instructions, which are done, have left for others to know.
    pub fn note(draft: &mut Draft, steps: &[Written]) {
        let command = steps.iter().any(Written::sets_command);
        if !command && !steps.iter().any(Written::declares) {
            return;
        }
        let own = |(name, value): (&str, Option<&str>)| (name.to_owned(), value.map(str::to_owned));
        let arguments = draft.variables.arguments().into_iter().map(own).collect();
        let environment = draft.config.config.env.clone().unwrap_or_default();
        let noted = serde_json::json!(Self { environment, arguments, command });
        draft.config.other.insert(FIELD.to_owned(), noted);
    }

    /// What an image says of its beginning.
    pub fn of(config: &ImageConfig) -> Option<Self> {
        serde_json::from_value(config.other.get(FIELD)?.clone()).ok()
    }

    /// Forgets what another build has noted.
    pub fn forget(config: &mut ImageConfig) {
        config.other.remove(FIELD);
    }

    /// The variables in force behind it.
    pub fn variables(&self, program: &Program) -> Variables {
        let mut variables = program.variables(&self.environment);
        for (name, value) in &self.arguments {
            variables.declare(name, value.as_deref());
        }
        variables
    }
}

/// The variables in force before an instruction of a stage, or at the end of the stage (`None`). `config` = that of the image
/// below, `beginning` = that of what the `FROM` of the lowest stage has made.
///
/// # Errors
/// When an instruction before it cannot be expanded.
pub fn variables_before(
    program: &Program,
    (stage, index): (usize, Option<usize>),
    config: &ImageConfig,
    beginning: Option<&ImageConfig>,
) -> Result<Variables, DockerfileError> {
    let of = |config: &ImageConfig| program.variables(config.config.env.as_deref().unwrap_or_default());
    let begun = match (Postponed::of(config), beginning) {
        (Some(postponed), _) => postponed.variables(program),
        (None, None) => return Ok(of(config)),
        (None, Some(beginning)) => of(beginning),
    };
    program.replayed(stage, index, begun)
}

/// Whether a stage has set `CMD` before its instruction `index`, on an image with this config.
///
/// # Errors
/// When what a stage has postponed cannot be read.
pub fn has_command(
    program: &Program,
    (stage, index): (usize, usize),
    config: &ImageConfig,
) -> Result<bool, DockerfileError> {
    let by_base = Postponed::of(config).is_some_and(|postponed| postponed.command);
    Ok((by_base && program.is_lowest(stage)?) || program.has_command(stage, index)?)
}
