//! A Dockerfile whose instructions stand each for itself: what a stage of its own is made of each of them.

use std::collections::BTreeMap;

use crate::{
    DockerfileError, Fault, Line,
    graph::{Dockerfile, Origin},
    keyword::Keyword,
    parse::{self, Instruction},
    step::Written,
    walk,
};

/// Most instructions that all stages of a target may have together.
pub const INSTRUCTIONS_LIMIT: usize = 2000;

/// What one target of a Dockerfile is made of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outline {
    /// The character that escapes, when it is not the usual one.
    pub escape: Option<char>,
    /// The stages that the target reaches, each after all that it needs; the last one is the target.
    pub stages: Vec<OutlinedStage>,
}

/// From one `FROM` to the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutlinedStage {
    /// Its position in the file, from 0.
    pub position: usize,
    /// Its name, or its position when it has none or an earlier stage has the same.
    pub name: String,
    /// Line of its `FROM`.
    pub line: u32,
    /// What it stands on.
    pub base: Origin,
    /// Its `FROM`, and what the stage below has postponed for it by `ONBUILD`.
    pub from: Vec<OutlinedLine>,
    /// Its other instructions, without `ARG`.
    pub instructions: Vec<OutlinedInstruction>,
}

/// One instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutlinedInstruction {
    /// Its number in its stage, from 1; `ARG` counts.
    pub number: usize,
    /// What it is.
    pub keyword: Keyword,
    /// The line on which it begins.
    pub line: u32,
    /// What it says and reads.
    pub text: OutlinedLine,
}

/// What an instruction says and reads, in a normal form that does not tell where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutlinedLine {
    /// The instruction with variables expanded. For a stage of this file stands `#` and its place among `origins`.
    pub text: String,
    /// As of a [`Line`].
    pub sources: Option<Vec<String>>,
    /// The stages and images that it names, in order.
    pub origins: Vec<Origin>,
    /// What a command sees of declared arguments, by name; empty for other instructions.
    pub arguments: Vec<Argument>,
    /// Whether an argument was declared before it.
    pub has_arguments: bool,
}

/// A declared argument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Its value in a normal form; `None` when it has none, or a later `ENV` of the name counts.
    pub value: Option<String>,
}

impl OutlinedLine {
    pub(crate) fn into_line(self) -> Line {
        Line { text: self.text, sources: self.sources }
    }
}

/// Reads `text` as [`crate::inputs`] does, for a builder that takes one instruction at a time.
///
/// # Errors
/// As of [`crate::inputs`], and when an instruction is wrong in itself, or there are more than [`INSTRUCTIONS_LIMIT`].
pub fn outline(
    file: &str,
    text: &str,
    target: Option<&str>,
    args: &BTreeMap<String, String>,
    platform: &str,
) -> Result<Outline, DockerfileError> {
    let answer = parse::parse(text).and_then(|dockerfile| walk::outlined(&dockerfile, target, args, platform));
    let outline = answer.and_then(|outline| check(&outline).map(|()| outline));
    outline.map_err(|fault| fault.of(file))
}

fn check(outline: &Outline) -> Result<(), Fault> {
    let count: usize = outline.stages.iter().map(|stage| 1 + stage.instructions.len()).sum();
    if count > INSTRUCTIONS_LIMIT {
        let message =
            format!("the target has {count} instructions, more than the {INSTRUCTIONS_LIMIT} that can be stages");
        return Err(Fault::new(0, message));
    }
    Ok(())
}

/// A stage whose lines were written: of its `FROM`, of what was postponed for it, and of its instructions.
pub(crate) fn stage(
    file: &Dockerfile,
    position: usize,
    base: Origin,
    mut lines: Vec<OutlinedLine>,
) -> Result<OutlinedStage, Fault> {
    let stage = &file.stages[position];
    let own = lines.split_off((1 + walk::postponed(file, &base).count()).min(lines.len()));
    let mut instructions = Vec::new();
    for ((index, instruction), text) in stage.instructions.iter().enumerate().zip(own) {
        // A builder would find it out much later.
        Written::of(instruction).map_err(|why| Fault::new(instruction.line, why))?;
        if instruction.keyword != Keyword::Arg {
            instructions.push(outlined(index, instruction, text));
        }
    }
    let name =
        stage.name.clone().filter(|name| file.stages[..position].iter().all(|other| other.name.as_ref() != Some(name)));
    Ok(OutlinedStage {
        position,
        name: name.unwrap_or_else(|| position.to_string()),
        line: stage.line,
        base,
        from: lines,
        instructions,
    })
}

fn outlined(index: usize, instruction: &Instruction, text: OutlinedLine) -> OutlinedInstruction {
    OutlinedInstruction { number: index + 1, keyword: instruction.keyword, line: instruction.line, text }
}
