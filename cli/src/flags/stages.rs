//! Which stages are copied and listed, and between which repositories.

use super::flag::{CommandName, Flag, Werf};

pub(crate) const FROM: Flag =
    Flag::text("from", "REPO", "Repository that stages are copied from").on(&[CommandName::StagesCopy]);
pub(crate) const TO: Flag =
    Flag::text("to", "REPO", "Repository that stages are copied to").on(&[CommandName::StagesCopy]);
pub(crate) const ALL: Flag =
    Flag::switch("all", "Copy every stage, and not only those of the images as the configuration has them")
        .on(&[CommandName::StagesCopy]);
pub(crate) const IMAGE: Flag = Flag::list("image", "NAME", "Only the last stages that images of this name had")
    .werf(Werf::Absent)
    .on(&[CommandName::StagesList]);

pub(super) const FLAGS: &[Flag] = &[FROM, TO, ALL, IMAGE];
