//! A Dockerfile as a builder does it: from the same parse as what is hashed.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    DockerfileError, Fault,
    expand::Lexer,
    graph::{Dockerfile, Origin},
    lines,
    parse::{self, Body},
    scope::{Scope, Value},
    shown,
    step::{Step, Written},
    walk::platform_arguments,
};

/// Arguments that commands see when they are given, though no `ARG` declares them.
const PREDECLARED: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// What a Dockerfile is built with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given<'a> {
    /// Stage to build; the last one when `None`.
    pub target: Option<&'a str>,
    /// Build arguments.
    pub args: &'a BTreeMap<String, String>,
    /// What it is built for: `linux/amd64`.
    pub platform: &'a str,
    /// What builds it.
    pub machine: &'a str,
}

/// A Dockerfile that was read for a target.
pub struct Program {
    name: String,
    file: Dockerfile,
    lexer: Lexer,
    args: BTreeMap<String, String>,
    globals: Scope,
    target: usize,
    stages: Vec<Vec<Written>>,
}

/// How a stage begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Line of its `FROM`.
    pub line: u32,
    /// Its name, or its number.
    pub name: String,
    /// What it stands on.
    pub base: Origin,
    /// `--platform`, when it is said and not empty.
    pub platform: Option<String>,
}

/// The variables in force in a stage.
#[derive(Clone, Debug)]
pub struct Variables {
    scope: Scope,
    /// In the order of their declaration.
    declared: Vec<String>,
}

impl Variables {
    /// The declared arguments in the order of their declaration, each once, with the values in force; `None` = it has none.
    pub fn arguments(&self) -> Vec<(&str, Option<&str>)> {
        let value = |name: &'_ String| match self.scope.find(name) {
            Value::Set(text) => Some(text.as_str()),
            Value::Unset | Value::Unknown => None,
        };
        self.declared.iter().map(|name| (name.as_str(), value(name))).collect()
    }

    /// Declares an argument; without a value, an earlier one stays.
    pub fn declare(&mut self, name: &str, value: Option<&str>) {
        self.scope.declare(name, value.map_or(Value::Unset, |value| Value::Set(value.to_owned())));
        if !self.declared.iter().any(|known| known == name) {
            self.declared.push(name.to_owned());
        }
    }
}

impl Program {
    /// Reads `text`, the Dockerfile `file`, and types the instructions of all of its stages.
    ///
    /// # Errors
    /// [`DockerfileError`] when the text is malformed, or the target is unknown.
    pub fn read(file: &str, text: &str, given: &Given<'_>) -> Result<Self, DockerfileError> {
        Self::of(file, text, given).map_err(|fault| fault.of(file))
    }

    fn of(name: &str, text: &str, given: &Given<'_>) -> Result<Self, Fault> {
        let file = parse::parse(text)?;
        let target = file.target(given.target)?;
        let mut stages = Vec::with_capacity(file.stages.len());
        for stage in &file.stages {
            let written = |instruction| Written::of(instruction).map_err(|why| Fault::new(instruction.line, why));
            stages.push(stage.instructions.iter().map(written).collect::<Result<Vec<_>, _>>()?);
        }
        let lexer = Lexer::new(file.escape);
        let globals = platform_arguments(given.platform, given.machine, given.target, given.args);
        let (name, args) = (name.to_owned(), given.args.clone());
        let mut program = Self { name, file, lexer, args, globals, target, stages };
        program.declare_globals()?;
        Ok(program)
    }

    /// The arguments before the first `FROM`.
    fn declare_globals(&mut self) -> Result<(), Fault> {
        for instruction in &self.file.globals {
            let Body::Pairs(pairs) = &instruction.body else { continue };
            for (name, default) in pairs {
                let value =
                    self.lexer.argument(&self.args, &self.globals, (instruction.line, name, default.as_deref()))?;
                self.globals.declare(name, value);
            }
        }
        Ok(())
    }

    /// The position of the stage that is to be built.
    pub fn target(&self) -> usize {
        self.target
    }

    /// How the stage at a position begins, with its variables expanded.
    ///
    /// # Errors
    /// [`DockerfileError`] when it names no base, or has a flag that is unknown.
    pub fn head(&self, at: usize) -> Result<Head, DockerfileError> {
        self.begin(at).map_err(|fault| fault.of(&self.name))
    }

    /// What the `FROM` of the stage at a position names, its variables not expanded.
    pub fn written_base(&self, at: usize) -> &str {
        &self.file.stages[at].image
    }

    fn begin(&self, at: usize) -> Result<Head, Fault> {
        let stage = &self.file.stages[at];
        let fault = |why: String| Fault::new(stage.line, why);
        let expand = |word: &str| self.lexer.expand(word, &self.globals).map(|expanded| expanded.text).map_err(fault);
        let image = expand(&stage.image)?;
        if image.trim().is_empty() {
            return Err(fault(format!(
                "the base image `{}` is empty once its variables are expanded; give the build argument a value, and \
                 declare it with ARG before the first FROM",
                shown(&stage.image)
            )));
        }
        let mut platform = None;
        for flag in &stage.flags {
            match (flag.name.as_str(), &flag.value) {
                ("platform", Some(value)) => platform = Some(expand(value)?).filter(|text| !text.is_empty()),
                ("platform", None) => return Err(fault("FROM: --platform needs a value".to_owned())),
                (other, _) => return Err(fault(format!("FROM: the flag --{} is unknown", shown(other)))),
            }
        }
        let name = stage.name.clone().unwrap_or_else(|| at.to_string());
        Ok(Head { line: stage.line, name, base: self.file.base(&image, at), platform })
    }

    /// The instructions of the stage at a position.
    pub fn steps(&self, at: usize) -> &[Written] {
        &self.stages[at]
    }

    /// The stages that the target needs, as far as that is known without variables, each before those that need it.
    pub fn needed(&self) -> Vec<usize> {
        let mut needed = BTreeSet::from([self.target]);
        // A stage needs only what stands before it.
        for at in (0..=self.target).rev() {
            if !needed.contains(&at) {
                continue;
            }
            if let Ok(Head { base: Origin::Stage(below), .. }) = self.begin(at) {
                needed.insert(below);
            }
            needed.extend(self.foreseen(at));
        }
        needed.into_iter().collect()
    }

    /// What an image has postponed by `ONBUILD`, for the stage at a position.
    ///
    /// # Errors
    /// [`DockerfileError`] when that is no instruction, or one that may not be postponed.
    pub fn triggers(&self, at: usize, texts: &[String]) -> Result<Vec<Written>, DockerfileError> {
        let line = self.file.stages[at].line;
        let one = |text: &String| -> Result<Vec<Written>, String> {
            let logical = lines::split(text).map_err(|fault| fault.message)?;
            let typed = |mut found: lines::LogicalLine| {
                found.number = line;
                let instruction = parse::instruction(found, logical.escape).map_err(|fault| fault.message)?;
                let mut written = Written::of(&instruction)?;
                if matches!(written.step, Step::Onbuild(_) | Step::Maintainer(_)) {
                    return Err("it may not be postponed".to_owned());
                }
                written.text = format!("ONBUILD {}", written.text);
                Ok(written)
            };
            logical.lines.into_iter().map(typed).collect()
        };
        let mut all = Vec::new();
        for text in texts {
            let told = |why: String| {
                let message = format!("the base image has postponed by ONBUILD `{}`: {why}", shown(text));
                Fault::new(line, message).of(&self.name)
            };
            all.extend(one(text).map_err(told)?);
        }
        Ok(all)
    }

    /// The variables of a stage that stands on an image with this environment.
    pub fn variables(&self, environment: &[String]) -> Variables {
        Variables { scope: Scope::on(environment), declared: Vec::new() }
    }

    /// Expands an instruction of the stage at a position, and does what it does to its variables.
    ///
    /// # Errors
    /// [`DockerfileError`] when a word cannot be expanded, or means nothing then.
    pub fn expand(&self, written: &Written, variables: &mut Variables) -> Result<Step, DockerfileError> {
        let told = |why: String| Fault::new(written.line, why).of(&self.name);
        let step = self.expanded(&written.step, variables).map_err(told)?;
        step.check().map_err(told)?;
        match &step {
            Step::Env(pairs) => {
                for (name, value) in pairs {
                    variables.scope.set(name, Value::Set(value.clone()));
                }
            }
            Step::Arg(pairs) => {
                for (name, value) in pairs {
                    variables.declare(name, value.as_deref());
                }
            }
            _ => {}
        }
        Ok(step)
    }

    fn expanded(&self, step: &Step, variables: &Variables) -> Result<Step, String> {
        let scope = &variables.scope;
        if let Step::Arg(pairs) = step {
            let one =
                |(name, default): &(String, Option<String>)| Ok((name.clone(), self.argument(name, default, scope)?));
            return pairs.iter().map(one).collect::<Result<_, String>>().map(Step::Arg);
        }
        let mut step = step.expanded(&mut |word| self.lexer.expand(word, scope).map(|expanded| expanded.text))?;
        if let Step::Files(files) = &mut step {
            // Whatever the file's own escape character is.
            let lexer = Lexer::new('\\');
            for content in files.contents() {
                content.text = lexer.expand_text(&content.text, scope)?;
            }
        }
        Ok(step)
    }

    /// Given from outside, else by its default, else as before the first `FROM`.
    fn argument(&self, name: &str, default: &Option<String>, scope: &Scope) -> Result<Option<String>, String> {
        match (self.args.get(name), default) {
            (Some(given), _) => Ok(Some(given.clone())),
            (None, Some(default)) => self.lexer.expand(default, scope).map(|expanded| Some(expanded.text)),
            (None, None) => Ok(match self.globals.find(name) {
                Value::Set(text) => Some(text.clone()),
                Value::Unset | Value::Unknown => None,
            }),
        }
    }

    /// The stage or image that a `from` of an instruction in the stage at a position names.
    ///
    /// # Errors
    /// [`DockerfileError`] when it names nothing, or a stage that is not before this one.
    pub fn origin(&self, name: &str, at: usize, line: u32) -> Result<Origin, DockerfileError> {
        let found = match name {
            "" => Err(Fault::new(line, "`from` names nothing once its variables are expanded")),
            name => match self.file.named_late(name, at) {
                Some(later) => {
                    let named = shown(name);
                    Err(Fault::new(
                        line,
                        format!("`from={named}` names the stage on line {later}, which is not before this one"),
                    ))
                }
                None => self.file.origin(name, at, line),
            },
        };
        found.map_err(|fault| fault.of(&self.name))
    }

    /// The stages that the instructions of the stage at a position name, as far as they do without variables: they can be
    /// begun before they are needed.
    pub fn foreseen(&self, at: usize) -> Vec<usize> {
        let froms = self.stages[at].iter().flat_map(|written| written.step.froms());
        let stages = froms.filter_map(|name| match self.file.origin(name, at, 0) {
            Ok(Origin::Stage(stage)) => Some(stage),
            Ok(Origin::Scratch | Origin::Image(_)) | Err(_) => None,
        });
        stages.collect()
    }

    /// Variables that commands see though nothing declares them, and that no image keeps.
    pub fn predeclared(&self) -> impl Iterator<Item = (&str, &str)> {
        let given = |name: &'static str| self.args.get(name).map(|value| (name, value.as_str()));
        PREDECLARED.into_iter().filter_map(given)
    }
}
