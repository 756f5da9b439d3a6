//! Shells inside stages, and building again.

use std::fmt;

use slipway_stages::StageKind;
use slipway_worker::Moment;

use super::{
    flag::{CommandName, Flag},
    resolve::{FlagError, Values},
};

/// A plan takes all that its build takes.
const REPEATED: &[CommandName] = &[CommandName::Build, CommandName::Plan];

pub(crate) const FOLLOW: Flag =
    Flag::switch("follow", "Build again whenever there is a new commit; with --dev, whenever a file has changed")
        .on(REPEATED);
pub(crate) const INTROSPECT_ERROR: Flag =
    Flag::switch("introspect-error", "Open a shell in the state in which the commands of a stage failed");
pub(crate) const INTROSPECT_BEFORE_ERROR: Flag = Flag::switch(
    "introspect-before-error",
    "Open a shell in the state from which the commands that failed had started",
);
pub(crate) const INTROSPECT_STAGE: Flag = Flag::list(
    "introspect-stage",
    "[IMAGE/]STAGE",
    "Open a shell in a stage after the build; `*/STAGE`: of every image",
);

pub(crate) const INTROSPECT_AFTER: Flag =
    Flag::list("introspect-after", "[IMAGE/]STAGE", "Another name of --introspect-stage");
pub(crate) const INTROSPECT_BEFORE: Flag = Flag::list(
    "introspect-before",
    "[IMAGE/]STAGE",
    "Open a shell after the build in what a stage was built on; `*/STAGE`: of every image",
);

pub(super) const FLAGS: &[Flag] =
    &[FOLLOW, INTROSPECT_ERROR, INTROSPECT_BEFORE_ERROR, INTROSPECT_STAGE, INTROSPECT_AFTER, INTROSPECT_BEFORE];

/// A stage of one image, or of every image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// `None` = every one.
    pub(crate) image: Option<String>,
    /// Which.
    pub(crate) kind: StageKind,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.image.as_deref().unwrap_or("*"), self.kind)
    }
}

/// Which shells are wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct IntrospectFlags {
    /// When the commands of a stage fail.
    pub(crate) on_error: Option<Moment>,
    /// After the build, in these stages.
    pub(crate) stages: Vec<Place>,
    /// After the build, in what these stages were built on.
    pub(crate) before: Vec<Place>,
    /// How the first of the flags was given, for messages.
    pub(crate) spelling: String,
}

impl IntrospectFlags {
    /// What the flags and variables say.
    ///
    /// # Errors
    /// When a stage is none, or both states are wanted.
    pub(crate) fn from_values(values: &Values) -> Result<Self, FlagError> {
        let (after, before) = (values.switch(&INTROSPECT_ERROR), values.switch(&INTROSPECT_BEFORE_ERROR));
        let spelled = |flag: &Flag| values.spelling(flag);
        if after && before {
            let (one, other) = (spelled(&INTROSPECT_ERROR), spelled(&INTROSPECT_BEFORE_ERROR));
            return Err(FlagError(format!("{one} and {other}: one shell is opened, so leave one of them out")));
        }
        let places = |flag: &Flag| -> Result<Vec<Place>, FlagError> {
            let places = values.list(flag).iter().map(|text| place(text)).collect::<Result<Vec<_>, _>>();
            places.map_err(|why| FlagError(format!("{}: {why}", spelled(flag))))
        };
        let stages = [places(&INTROSPECT_STAGE)?, places(&INTROSPECT_AFTER)?].concat();
        let of_before = places(&INTROSPECT_BEFORE)?;
        let (on_error, given) = match (after, before) {
            (true, _) => (Some(Moment::After), &INTROSPECT_ERROR),
            (_, true) => (Some(Moment::Before), &INTROSPECT_BEFORE_ERROR),
            (false, false) => {
                let all = [&INTROSPECT_STAGE, &INTROSPECT_AFTER, &INTROSPECT_BEFORE];
                (None, all.into_iter().find(|flag| values.is_given(flag)).unwrap_or(&INTROSPECT_STAGE))
            }
        };
        Ok(Self { on_error, stages, before: of_before, spelling: spelled(given) })
    }

    /// Whether any shell is wanted.
    pub(crate) fn wants_any(&self) -> bool {
        self.on_error.is_some() || !self.stages.is_empty() || !self.before.is_empty()
    }
}

fn place(text: &str) -> Result<Place, String> {
    let (image, stage) = match text.rsplit_once('/') {
        Some(("*" | "", stage)) => (None, stage),
        Some((image, stage)) => (Some(image.to_owned()), stage),
        None => (None, text),
    };
    let kind = stage.parse().map_err(|error| format!("{error}; write [IMAGE/]STAGE, such as app/install"))?;
    Ok(Place { image, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_named_with_or_without_its_image() {
        for (text, shown) in
            [("install", "*/install"), ("*/setup", "*/setup"), ("team/app/beforeInstall", "team/app/beforeInstall")]
        {
            assert_eq!(place(text).expect("a place").to_string(), shown);
        }
        let error = place("app/instal").expect_err("no stage");
        assert!(error.contains("`instal` names no stage"), "{error}");
    }
}
