//! The stages of a Dockerfile and how they are named.

use crate::{Fault, parse::Instruction, shown, words::Flag};

/// A Dockerfile that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Dockerfile {
    /// The character that escapes.
    pub(crate) escape: char,
    /// The `ARG` before the first `FROM`.
    pub(crate) globals: Vec<Instruction>,
    /// At least one.
    pub(crate) stages: Vec<Stage>,
}

/// From one `FROM` to the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stage {
    /// Line of its `FROM`.
    pub(crate) line: u32,
    /// Its name in lower case.
    pub(crate) name: Option<String>,
    /// What `FROM` names, variables not expanded.
    pub(crate) image: String,
    pub(crate) flags: Vec<Flag>,
    pub(crate) instructions: Vec<Instruction>,
}

/// What a `FROM`, a `--from` or a mount's `from` names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// An earlier stage, by its position.
    Stage(usize),
    /// The empty image.
    Scratch,
    /// An image from elsewhere.
    Image(String),
}

impl Dockerfile {
    /// Each stage's name, or its number.
    pub(crate) fn stage_names(&self) -> Vec<String> {
        let name = |(number, stage): (usize, &Stage)| stage.name.clone().unwrap_or_else(|| number.to_string());
        self.stages.iter().enumerate().map(name).collect()
    }

    /// The position of the stage that `target` names; the last one for `None`.
    pub(crate) fn target(&self, target: Option<&str>) -> Result<usize, Fault> {
        let Some(target) = target else { return Ok(self.stages.len() - 1) };
        let number = || target.parse().ok().filter(|number| *number < self.stages.len());
        self.named(target, self.stages.len()).or_else(number).ok_or_else(|| {
            let names = shown_list(&self.stage_names());
            Fault::new(0, format!("the target `{}` is no stage of this file; its stages are {names}", shown(target)))
        })
    }

    /// The last stage of that name among the first `before` ones.
    fn named(&self, name: &str, before: usize) -> Option<usize> {
        let same = |stage: &Stage| stage.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name));
        self.stages.iter().take(before).rposition(same)
    }

    /// The line of a stage of that name which is stage `at` itself or follows it, unless one before it has the name.
    pub(crate) fn named_late(&self, name: &str, at: usize) -> Option<u32> {
        if self.named(name, at).is_some() {
            return None;
        }
        self.named(name, self.stages.len()).map(|found| self.stages[found].line)
    }

    /// What the `FROM` of stage `at` means by `image`.
    pub(crate) fn base(&self, image: &str, at: usize) -> Origin {
        match self.named(image, at) {
            Some(stage) => Origin::Stage(stage),
            None if image == "scratch" => Origin::Scratch,
            None => Origin::Image(image.to_owned()),
        }
    }

    /// What a `from` inside of stage `at` means by `name`: a number or a name of an earlier stage, else an image.
    pub(crate) fn origin(&self, name: &str, at: usize, line: u32) -> Result<Origin, Fault> {
        match name.parse::<usize>() {
            Ok(number) if number < at => Ok(Origin::Stage(number)),
            Ok(number) => {
                let message = format!("`from={number}` names no stage before this one, which is number {at}");
                Err(Fault::new(line, message))
            }
            Err(_) => Ok(self.base(name, at)),
        }
    }
}

/// The first twenty names.
fn shown_list(names: &[String]) -> String {
    let first: Vec<String> = names.iter().take(20).map(|name| shown(name)).collect();
    let more = names.len().saturating_sub(20);
    if more == 0 { first.join(", ") } else { format!("{} and {more} more", first.join(", ")) }
}
