//! One instruction at a time: what it sets, what it reads, and the line that is hashed of it.

use crate::{
    Fault,
    graph::Origin,
    keyword::Keyword,
    lines,
    mount::Mount,
    normal,
    parse::{Body, Instruction},
    scope::Value,
    shown,
    walk::{Open, Walk},
    words,
};

/// The whole context, as a source.
const EVERYTHING: &str = ".";

impl Walk<'_> {
    /// The stages and images that an instruction copies from or mounts.
    pub(crate) fn origins(&self, instruction: &Instruction, open: &Open) -> Result<Vec<Origin>, Fault> {
        let mut origins = Vec::new();
        for flag in &instruction.flags {
            let value = flag.value.as_deref().unwrap_or_default();
            match (instruction.keyword, flag.name.as_str()) {
                (Keyword::Copy | Keyword::Add, "from") => origins.push(self.origin(value, instruction.line, open)?),
                (Keyword::Run, "mount") => {
                    let mount = Mount::read(value);
                    for (_, from) in mount.fields().filter(|(key, _)| *key == "from") {
                        origins.push(self.origin(from.unwrap_or_default(), instruction.line, open)?);
                    }
                }
                _ => {}
            }
        }
        Ok(origins)
    }

    /// The stage or image that the value of a `from` names.
    fn origin(&self, written: &str, line: u32, open: &Open) -> Result<Origin, Fault> {
        let expanded = self.lexer.expand(written, &open.scope).map_err(|why| Fault::new(line, why))?;
        let problem = match (expanded.unknown, expanded.text.as_str()) {
            (true, _) => "uses a variable that this file does not set; declare it with ARG in this stage",
            (false, "") => "names nothing",
            (false, name) => return self.file.origin(name, open.at, line),
        };
        Err(Fault::new(line, format!("`from={}` {problem}", shown(written))))
    }

    /// Does one instruction.
    pub(crate) fn instruction(&mut self, instruction: &Instruction, open: &mut Open) -> Result<(), Fault> {
        let list: Vec<&str> = match (&instruction.body, instruction.keyword) {
            (Body::Words(list), Keyword::Add | Keyword::Copy) => return self.copy(instruction, list, open),
            (Body::Pairs(pairs), Keyword::Arg) => return self.argument(instruction, pairs, open),
            (Body::Pairs(pairs), _) => return self.pairs(instruction, pairs, open),
            (_, Keyword::Run) => return self.run(instruction, open),
            (Body::Words(list), Keyword::Volume | Keyword::Expose) => list.iter().map(String::as_str).collect(),
            (_, Keyword::User | Keyword::Workdir | Keyword::Stopsignal) => vec![instruction.rest.as_str()],
            (Body::Text | Body::Words(_) | Body::From(..) | Body::Later(_), _) => {
                return self.write(open, instruction.line, normal::verbatim(instruction), None);
            }
        };
        let text = normal::listed(&self.lexer, instruction, &list, &open.scope);
        let text = text.map_err(|why| Fault::new(instruction.line, why))?;
        self.write(open, instruction.line, text, None)
    }

    /// `ARG`: given from outside, else its default, else the one before the first `FROM`.
    fn argument(
        &mut self,
        instruction: &Instruction,
        pairs: &[(String, Option<String>)],
        open: &mut Open,
    ) -> Result<(), Fault> {
        let mut text = Keyword::Arg.name().to_owned();
        let mut values = Vec::new();
        for (name, default) in pairs {
            let known = match (self.args.get(name), default) {
                (Some(given), _) => Value::Set(given.clone()),
                (None, Some(_)) => Value::Unknown,
                (None, None) => self.globals.find(name).clone(),
            };
            text.push_str(&format!(" {name}"));
            let (value, shown) = match (known, default) {
                (Value::Unknown, default) => {
                    let default = default.as_deref().unwrap_or_default();
                    let word = normal::word(&self.lexer, default, &open.scope);
                    let word = word.map_err(|why| Fault::new(instruction.line, why))?;
                    (word.value, Some(word.text))
                }
                (Value::Set(value), _) => {
                    let shown = words::quote(&value);
                    (Value::Set(value), Some(shown))
                }
                (Value::Unset, _) => (Value::Unset, None),
            };
            text.extend(shown.iter().map(|shown| format!("={shown}")));
            values.push((name, value, shown));
        }
        for (name, value, shown) in values {
            self.spend(instruction.line, value.size())?;
            open.scope.declare(name, value);
            // As for the scope, one without a value leaves an earlier one as it is.
            let declared = open.declared.entry(name.clone()).or_default();
            *declared = shown.or(declared.take());
        }
        self.write(open, instruction.line, text, None)
    }

    /// `ENV` and `LABEL`: all values are taken before any is set.
    fn pairs(
        &mut self,
        instruction: &Instruction,
        pairs: &[(String, Option<String>)],
        open: &mut Open,
    ) -> Result<(), Fault> {
        let fault = |why| Fault::new(instruction.line, why);
        let mut text = format!("{}{}", instruction.keyword.name(), normal::plain_flags(instruction));
        let mut values = Vec::new();
        for (name, value) in pairs {
            let name = normal::word(&self.lexer, name, &open.scope).map_err(fault)?;
            let value = value.as_deref().unwrap_or_default();
            let value = normal::word(&self.lexer, value, &open.scope).map_err(fault)?;
            text.push_str(&format!(" {}={}", name.text, value.text));
            values.push((name.value, value.value));
        }
        for (name, value) in values {
            if let (Value::Set(name), Keyword::Env) = (name, instruction.keyword) {
                self.spend(instruction.line, value.size())?;
                open.scope.set(&name, value);
                // What a command sees is that of the image now.
                open.declared.entry(name).and_modify(|shown| *shown = None);
            }
        }
        self.write(open, instruction.line, text, None)
    }

    /// `COPY` and `ADD`.
    fn copy(&mut self, instruction: &Instruction, list: &[String], open: &mut Open) -> Result<(), Fault> {
        let fault = |why| Fault::new(instruction.line, why);
        let mut text = instruction.keyword.name().to_owned();
        let mut from_context = true;
        for flag in &instruction.flags {
            let value = flag.value.as_deref().unwrap_or_default();
            let shown = if flag.name == "from" {
                from_context = false;
                let origin = self.origin(value, instruction.line, open)?;
                self.named(&origin)
            } else {
                normal::word(&self.lexer, value, &open.scope).map_err(fault)?.text
            };
            text.push_str(&format!(" --{}={shown}", flag.name));
        }
        let has_parents = instruction.flags.iter().any(|flag| flag.name == "parents");
        let mut sources = Vec::new();
        for (number, item) in list.iter().enumerate() {
            let is_source = number + 1 < list.len();
            let is_heredoc = is_source && lines::opened(item).is_some();
            if is_heredoc && !instruction.heredocs.is_empty() {
                text.push_str(&format!(" {item}"));
                continue;
            }
            let word = normal::word(&self.lexer, item, &open.scope).map_err(fault)?;
            text.push_str(&format!(" {}", word.text));
            if is_source {
                let source = context_source(word.value, instruction.keyword);
                sources.extend(source.map(|source| if has_parents { before_double_star(&source) } else { source }));
            }
        }
        text.push_str(&normal::heredocs(&instruction.heredocs));
        let sources = (from_context && !sources.is_empty()).then_some(sources);
        self.write(open, instruction.line, text, sources)
    }

    /// `RUN`: the command as it stands, with the variables of the lines before it in its environment.
    fn run(&mut self, instruction: &Instruction, open: &mut Open) -> Result<(), Fault> {
        let mut text = Keyword::Run.name().to_owned();
        let mut sources = Vec::new();
        for flag in &instruction.flags {
            let value = flag.value.as_deref().unwrap_or_default();
            let shown = if flag.name == "mount" {
                let (shown, source) = self.mount(value, instruction.line, open)?;
                sources.extend(source);
                shown
            } else {
                let word = normal::word(&self.lexer, value, &open.scope);
                word.map_err(|why| Fault::new(instruction.line, why))?.text
            };
            text.push_str(&format!(" --{}={shown}", flag.name));
        }
        text.push_str(&format!(" {}{}", instruction.rest, normal::heredocs(&instruction.heredocs)));
        self.write(open, instruction.line, text, (!sources.is_empty()).then_some(sources))
    }

    /// One mount in normal form, and what it binds from the context.
    fn mount(&mut self, value: &str, line: u32, open: &Open) -> Result<(String, Option<String>), Fault> {
        let (mut binds, mut from_context, mut source) = (true, true, EVERYTHING.to_owned());
        let mut fields = Vec::new();
        for (key, field) in Mount::read(value).fields() {
            let Some(field) = field else {
                fields.push(words::quote(key));
                continue;
            };
            if key == "from" {
                from_context = false;
                let origin = self.origin(field, line, open)?;
                fields.push(format!("from={}", self.named(&origin)));
                continue;
            }
            let word = normal::word(&self.lexer, field, &open.scope).map_err(|why| Fault::new(line, why))?;
            fields.push(format!("{}={}", words::quote(key), word.text));
            match (key, word.value) {
                ("type", Value::Set(kind)) => binds = kind.eq_ignore_ascii_case("bind"),
                ("source" | "src", Value::Set(path)) if !path.is_empty() => source = path,
                _ => {}
            }
        }
        Ok((fields.join(","), (binds && from_context).then_some(source)))
    }
}

/// The directory below which a source of `--parents` selects something: there `**` stands for any number of directories.
fn before_double_star(source: &str) -> String {
    let mut segments: Vec<&str> = source.split('/').collect();
    let Some(first) = segments.iter().position(|segment| segment.contains("**")) else { return source.to_owned() };
    segments.truncate(first);
    segments.push(EVERYTHING);
    segments.join("/")
}

/// The context files that one source selects; none when it lies elsewhere.
fn context_source(value: Value, keyword: Keyword) -> Option<String> {
    const REMOTE: [&str; 5] = ["http://", "https://", "git://", "ssh://", "git@"];
    match value {
        Value::Set(path) if keyword == Keyword::Add && REMOTE.iter().any(|scheme| path.starts_with(scheme)) => None,
        Value::Set(path) if !path.is_empty() => Some(path),
        Value::Set(_) | Value::Unset | Value::Unknown => Some(EVERYTHING.to_owned()),
    }
}
