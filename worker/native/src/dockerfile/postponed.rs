//! What the base of a staged Dockerfile has postponed, as far as the instructions that follow must know it: the arguments that it
//! declares, and whether it sets `CMD`. No line of the Dockerfile says so; it stands in the config of the images.

use serde::{Deserialize, Serialize};
use slipway_dockerfile::{Program, Variables, Written};
use slipway_oci::ImageConfig;

use super::cursor::Cursor;

/// The field of a config.
const FIELD: &str = "slipway.postponed";

/// What is to be known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Postponed {
    /// The variables of the image behind it.
    environment: Vec<String>,
    /// The declared arguments in their order; `None` = it has no value.
    arguments: Vec<(String, Option<String>)>,
    /// Whether it has set `CMD`.
    pub(super) command: bool,
}

impl Postponed {
    /// Notes in the image what these instructions, which are done, have left for others to know.
    pub(super) fn note(cursor: &mut Cursor, steps: &[Written]) {
        let command = steps.iter().any(Written::sets_command);
        if !command && !steps.iter().any(Written::declares) {
            return;
        }
        let own = |(name, value): (&str, Option<&str>)| (name.to_owned(), value.map(str::to_owned));
        let arguments = cursor.variables.arguments().into_iter().map(own).collect();
        let environment = cursor.config.config.env.clone().unwrap_or_default();
        let noted = serde_json::json!(Self { environment, arguments, command });
        cursor.config.other.insert(FIELD.to_owned(), noted);
    }

    /// What an image says of its beginning.
    pub(super) fn of(config: &ImageConfig) -> Option<Self> {
        serde_json::from_value(config.other.get(FIELD)?.clone()).ok()
    }

    /// Forgets what another build has noted.
    pub(super) fn forget(config: &mut ImageConfig) {
        config.other.remove(FIELD);
    }

    /// The variables in force behind it.
    pub(super) fn variables(&self, program: &Program) -> Variables {
        let mut variables = program.variables(&self.environment);
        for (name, value) in &self.arguments {
            variables.declare(name, value.as_deref());
        }
        variables
    }
}
