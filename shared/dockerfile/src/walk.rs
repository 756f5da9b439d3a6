//! From a target to everything that it needs.

use std::collections::BTreeMap;

use crate::{
    EXPANSION_LIMIT, Fault, Inputs, Line,
    expand::Lexer,
    graph::{Dockerfile, Origin, Stage},
    keyword::Keyword,
    outline::{self, Argument, Outline, OutlinedLine},
    parse::{Body, Instruction},
    scope::{Scope, Value},
    shown, words,
};

/// Answers [`crate::inputs`] for a file that was read.
pub(crate) fn follow(
    file: &Dockerfile,
    target: Option<&str>,
    args: &BTreeMap<String, String>,
    platform: &str,
) -> Result<Inputs, Fault> {
    let wanted = file.target(target)?;
    let mut walk = Walk::new(file, target, args, platform);
    walk.declare_globals()?;
    if file.escape != '\\' {
        walk.inputs.lines.push(Line { text: format!("# escape={}", file.escape), sources: None });
    }
    walk.reach(wanted)?;
    Ok(walk.inputs)
}

/// Answers [`crate::outline`] for a file that was read.
pub(crate) fn outlined(
    file: &Dockerfile,
    target: Option<&str>,
    args: &BTreeMap<String, String>,
    platform: &str,
) -> Result<Outline, Fault> {
    let wanted = file.target(target)?;
    let mut walk = Walk::new(file, target, args, platform);
    walk.outline = Some(Outline { escape: (file.escape != '\\').then_some(file.escape), stages: Vec::new() });
    walk.declare_globals()?;
    walk.reach(wanted)?;
    Ok(walk.outline.take().unwrap_or_default())
}

/// The arguments that every file has before its first `FROM`. Those given from outside win.
pub(crate) fn platform_arguments(
    platform: &str,
    machine: &str,
    target: Option<&str>,
    args: &BTreeMap<String, String>,
) -> Scope {
    let mut scope = Scope::default();
    let mut declare = |name: &str, value: &str| {
        let value = args.get(name).map_or(value, String::as_str);
        scope.declare(name, Value::Set(value.to_owned()));
    };
    for (side, platform) in [("TARGET", platform), ("BUILD", machine)] {
        let mut parts = platform.split('/');
        let mut part = || parts.next().unwrap_or_default();
        let (os, arch, variant) = (part(), part(), part());
        for (name, value) in [("PLATFORM", platform), ("OS", os), ("ARCH", arch), ("VARIANT", variant)] {
            declare(&format!("{side}{name}"), value);
        }
    }
    declare("TARGETSTAGE", target.unwrap_or("default"));
    scope
}

/// The state of one walk.
pub(crate) struct Walk<'a> {
    pub(crate) file: &'a Dockerfile,
    /// The arguments given from outside.
    pub(crate) args: &'a BTreeMap<String, String>,
    pub(crate) lexer: Lexer,
    /// The arguments before the first `FROM`.
    pub(crate) globals: Scope,
    platform: &'a str,
    /// By position: the stages that were written.
    reached: Vec<Option<Reached>>,
    count: usize,
    /// Bytes that may still be written.
    left: usize,
    inputs: Inputs,
    /// What the line that is being written names, in order.
    named: Vec<Origin>,
    /// Where stages go when every instruction is to stand for itself.
    outline: Option<Outline>,
}

/// A stage that was written: its number and the variables at its end.
#[derive(Clone)]
struct Reached {
    number: usize,
    scope: Scope,
    declared: BTreeMap<String, Option<String>>,
}

/// A stage that is being written.
pub(crate) struct Open {
    /// Its position in the file.
    pub(crate) at: usize,
    /// The variables in force.
    pub(crate) scope: Scope,
    /// The declared arguments with their values in normal form; `None` when they have none, or a later `ENV` stands for them.
    pub(crate) declared: BTreeMap<String, Option<String>>,
    /// What its `FROM` names.
    base: Origin,
    lines: Vec<OutlinedLine>,
}

impl Open {
    /// The declared arguments as a command sees them.
    fn arguments(&self) -> Vec<Argument> {
        let seen = |(name, value): (&String, &Option<String>)| Argument { name: name.clone(), value: value.clone() };
        self.declared.iter().map(seen).collect()
    }
}

/// How far a stage has come. It waits while a stage that it needs is written.
struct Frame<'a> {
    at: usize,
    /// `None` before its `FROM` was read.
    open: Option<Open>,
    /// What is still to be done, last first.
    todo: Vec<&'a Instruction>,
}

enum Step {
    /// The stage at this position must be written first.
    Needs(usize),
    Done,
}

impl<'a> Walk<'a> {
    fn new(file: &'a Dockerfile, target: Option<&str>, args: &'a BTreeMap<String, String>, platform: &'a str) -> Self {
        Walk {
            file,
            args,
            lexer: Lexer::new(file.escape),
            globals: platform_arguments(platform, platform, target, args),
            platform,
            reached: vec![None; file.stages.len()],
            count: 0,
            left: EXPANSION_LIMIT,
            inputs: Inputs { bases: Vec::new(), lines: Vec::new() },
            named: Vec::new(),
            outline: None,
        }
    }

    fn declare_globals(&mut self) -> Result<(), Fault> {
        let file = self.file;
        for instruction in &file.globals {
            let Body::Pairs(pairs) = &instruction.body else { continue };
            for (name, default) in pairs {
                let value =
                    self.lexer.argument(self.args, &self.globals, (instruction.line, name, default.as_deref()))?;
                self.spend(instruction.line, value.size())?;
                self.globals.declare(name, value);
            }
        }
        Ok(())
    }

    /// Writes the stage at `wanted`, each one that it needs before it. Only earlier stages can be named, so no stage
    /// waits for itself.
    fn reach(&mut self, wanted: usize) -> Result<(), Fault> {
        let mut waiting = vec![Frame { at: wanted, open: None, todo: Vec::new() }];
        while let Some(frame) = waiting.last_mut() {
            match self.advance(frame)? {
                Step::Needs(at) => waiting.push(Frame { at, open: None, todo: Vec::new() }),
                Step::Done => {
                    waiting.pop();
                }
            }
        }
        Ok(())
    }

    /// Goes on with a stage as far as it can.
    fn advance(&mut self, frame: &mut Frame<'a>) -> Result<Step, Fault> {
        let file = self.file;
        let stage = &file.stages[frame.at];
        let mut open = match frame.open.take() {
            Some(open) => open,
            None => {
                let base = self.base(stage, frame.at)?;
                if let Some(needed) = self.missing(&base) {
                    return Ok(Step::Needs(needed));
                }
                frame.todo = todo(file, stage, &base);
                self.open(stage, frame.at, &base)?
            }
        };
        while let Some(instruction) = frame.todo.last() {
            for origin in self.origins(instruction, &open)? {
                if let Some(needed) = self.missing(&origin) {
                    frame.open = Some(open);
                    return Ok(Step::Needs(needed));
                }
            }
            let is_told = !open.declared.is_empty();
            self.instruction(instruction, &mut open)?;
            if self.outline.is_some() {
                self.note(instruction, &mut open, is_told)?;
            }
            frame.todo.pop();
        }
        let lines = std::mem::take(&mut open.lines);
        match &mut self.outline {
            Some(outline) => outline.stages.push(outline::stage(file, frame.at, open.base, lines)?),
            None => self.inputs.lines.extend(lines.into_iter().map(OutlinedLine::into_line)),
        }
        self.reached[frame.at] = Some(Reached { number: self.count, scope: open.scope, declared: open.declared });
        self.count += 1;
        Ok(Step::Done)
    }

    /// Notes of an instruction that was written what it sees of the arguments; `told` = there were some before it.
    fn note(&mut self, instruction: &Instruction, open: &mut Open, told: bool) -> Result<(), Fault> {
        let arguments = if instruction.keyword == Keyword::Run { open.arguments() } else { Vec::new() };
        let size = |argument: &Argument| argument.name.len() + argument.value.as_ref().map_or(0, String::len);
        self.spend(instruction.line, arguments.iter().map(size).sum())?;
        if let Some(line) = open.lines.last_mut() {
            (line.arguments, line.has_arguments) = (arguments, told);
        }
        Ok(())
    }

    /// What the `FROM` of a stage names.
    fn base(&self, stage: &Stage, at: usize) -> Result<Origin, Fault> {
        let expanded = self.lexer.expand(&stage.image, &self.globals);
        let name = expanded.map_err(|why| Fault::new(stage.line, why))?.text;
        if !name.trim().is_empty() {
            return Ok(self.file.base(&name, at));
        }
        let message = format!(
            "the base image `{}` is empty once its variables are expanded; give the build argument a value, and \
             declare it with ARG before the first FROM",
            shown(&stage.image)
        );
        Err(Fault::new(stage.line, message))
    }

    /// Begins a stage with the line of its `FROM`.
    fn open(&mut self, stage: &Stage, at: usize, base: &Origin) -> Result<Open, Fault> {
        let mut text = "FROM".to_owned();
        let mut is_foreign = false;
        for flag in &stage.flags {
            let value = self.lexer.expand(flag.value.as_deref().unwrap_or_default(), &self.globals);
            let value = value.map_err(|why| Fault::new(stage.line, why))?.text;
            is_foreign |= flag.name == "platform" && is_foreign_to(&value, self.platform);
            text.push_str(&format!(" --{}={}", flag.name, words::quote(&value)));
        }
        match base {
            // Whoever builds it looks for it: no other image of its name will do.
            Origin::Image(name) if is_foreign => text.push_str(&format!(" {}", words::quote(name))),
            base => text.push_str(&format!(" {}", self.named(base))),
        }
        let below = match base {
            Origin::Stage(below) => self.reached[*below].clone(),
            Origin::Scratch | Origin::Image(_) => None,
        };
        let (scope, declared) = match below {
            Some(reached) => (reached.scope, reached.declared),
            None => (Scope::open(), BTreeMap::new()),
        };
        let mut open = Open { at, scope, declared, base: base.clone(), lines: Vec::new() };
        self.spend(stage.line, open.scope.size())?;
        self.write(&mut open, stage.line, text, None)?;
        if let Some(line) = open.lines.last_mut() {
            line.has_arguments = !open.declared.is_empty();
        }
        Ok(open)
    }

    /// The stage that must be written before this can be named.
    fn missing(&self, origin: &Origin) -> Option<usize> {
        match origin {
            Origin::Stage(at) if self.reached[*at].is_none() => Some(*at),
            Origin::Stage(_) | Origin::Scratch | Origin::Image(_) => None,
        }
    }

    /// What stands in a line for another stage or an image. An image is noted as a base. A line that stands for itself
    /// numbers the stages that it names.
    pub(crate) fn named(&mut self, origin: &Origin) -> String {
        self.named.push(origin.clone());
        match origin {
            Origin::Stage(_) if self.outline.is_some() => format!("#{}", self.named.len() - 1),
            Origin::Stage(at) => {
                let reached = self.reached[*at].as_ref();
                format!("#{}", reached.expect("a stage is written before it is named").number)
            }
            Origin::Scratch => "scratch".to_owned(),
            Origin::Image(name) => {
                if !self.inputs.bases.contains(name) {
                    self.inputs.bases.push(name.clone());
                }
                words::quote(name)
            }
        }
    }

    /// Adds a line to a stage.
    pub(crate) fn write(
        &mut self,
        open: &mut Open,
        line: u32,
        text: String,
        sources: Option<Vec<String>>,
    ) -> Result<(), Fault> {
        self.spend(line, text.len() + sources.iter().flatten().map(String::len).sum::<usize>())?;
        let origins = std::mem::take(&mut self.named);
        open.lines.push(OutlinedLine { text, sources, origins, arguments: Vec::new(), has_arguments: false });
        Ok(())
    }

    /// Counts what is kept in memory.
    pub(crate) fn spend(&mut self, line: u32, bytes: usize) -> Result<(), Fault> {
        let message = || format!("with variables expanded the file has more than {EXPANSION_LIMIT} bytes");
        self.left = self.left.checked_sub(bytes).ok_or_else(|| Fault::new(line, message()))?;
        Ok(())
    }
}

/// Whether a platform is of another system or architecture; what is no platform is not.
fn is_foreign_to(asked: &str, platform: &str) -> bool {
    let machine = |text: &str| {
        let mut parts = text.split('/').map(str::to_ascii_lowercase);
        Some((parts.next()?, parts.next()?))
    };
    machine(asked).is_some_and(|asked| machine(platform).is_none_or(|own| own != asked))
}

/// What the stage below another has postponed for it by `ONBUILD`.
pub(crate) fn postponed<'a>(file: &'a Dockerfile, base: &Origin) -> impl Iterator<Item = &'a Instruction> {
    let below = match base {
        Origin::Stage(at) => file.stages[*at].instructions.as_slice(),
        Origin::Scratch | Origin::Image(_) => &[],
    };
    below.iter().filter_map(|instruction| match &instruction.body {
        Body::Later(later) => Some(later.as_ref()),
        Body::Text | Body::Words(_) | Body::Pairs(_) | Body::From(..) => None,
    })
}

/// The instructions of a stage, last first. What the stage below it postponed with `ONBUILD` comes before its own.
fn todo<'a>(file: &'a Dockerfile, stage: &'a Stage, base: &Origin) -> Vec<&'a Instruction> {
    let mut todo: Vec<&Instruction> = postponed(file, base).collect();
    todo.extend(&stage.instructions);
    todo.reverse();
    todo
}
