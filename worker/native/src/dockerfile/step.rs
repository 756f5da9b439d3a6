//! One stage, and one instruction of it.

use slipway_backend::{
    BackendError,
    dockerfile::{at, head_text, wrong},
};
use slipway_dockerfile::{Head, Step, Written};

use super::{Build, base, cursor::Cursor, files, run, workdir};

/// Where an instruction stands: what is told of it.
pub(super) struct Place<'a> {
    /// Position of its stage.
    pub(super) stage: usize,
    /// The instruction as it is written.
    pub(super) written: &'a Written,
    /// What it is called in the log.
    pub(super) title: String,
}

impl Place<'_> {
    /// An error of the instruction.
    pub(super) fn told(&self, error: BackendError) -> BackendError {
        at(self.written.line, &self.written.text, error)
    }
}

/// Builds the stage at a position.
pub(super) async fn stage(build: &Build, position: usize) -> Result<Cursor, BackendError> {
    let head = build.program.head(position).map_err(wrong)?;
    for needed in build.program.foreseen(position) {
        build.stages.want(needed);
    }
    let (mut cursor, postponed) = base::begin(build, position, &head).await?;
    let mut steps = build.program.triggers(position, &postponed).map_err(wrong)?;
    steps.extend(build.program.steps(position).iter().cloned());
    let of = 1 + steps.iter().filter(|written| written.makes_files()).count();
    build.say(&title(build, &head, 1, of, &head_text(&build.program, &head))).await;
    let mut number = 1;
    for written in &steps {
        number += usize::from(written.makes_files());
        let title = title(build, &head, number, of, &written.text);
        one(build, &mut cursor, &Place { stage: position, written, title }).await?;
    }
    Ok(cursor)
}

fn title(build: &Build, head: &Head, number: usize, of: usize, text: &str) -> String {
    if build.program.target() == 0 {
        return format!("[{number}/{of}] {text}");
    }
    format!("[{} {number}/{of}] {text}", head.name)
}

/// Does one instruction.
pub(super) async fn one(build: &Build, cursor: &mut Cursor, place: &Place<'_>) -> Result<(), BackendError> {
    let step = build.program.expand(place.written, &mut cursor.variables).map_err(wrong)?;
    match step {
        Step::Run(run) => run::run(build, cursor, place, &run).await,
        Step::Files(files) => files::put(build, cursor, place, &files).await,
        Step::Workdir(path) => workdir::enter(build, cursor, place, &path).await,
        other => {
            cursor.apply(&other);
            Ok(())
        }
    }
}
