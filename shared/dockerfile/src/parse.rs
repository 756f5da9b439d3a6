//! Logical lines to instructions, and instructions to stages.

use crate::{
    Fault, STAGES_LIMIT, TEXT_LIMIT,
    graph::{Dockerfile, Stage},
    keyword::Keyword,
    lines::{self, Heredoc, LogicalLine},
    shown,
    words::{self, Flag, Json},
};

/// One instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Instruction {
    /// Where it starts, from 1.
    pub(crate) line: u32,
    pub(crate) keyword: Keyword,
    pub(crate) flags: Vec<Flag>,
    /// All behind the flags, without white space at its ends.
    pub(crate) rest: String,
    pub(crate) heredocs: Vec<Heredoc>,
    pub(crate) body: Body,
}

/// What the arguments of an instruction were split into.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Body {
    /// Nothing: `rest` is all there is.
    Text,
    /// Words; of `COPY` and `ADD` the last one is the destination.
    Words(Vec<String>),
    /// `NAME=VALUE` or `NAME`.
    Pairs(Vec<(String, Option<String>)>),
    /// `FROM`: the image and the name.
    From(String, Option<String>),
    /// What `ONBUILD` postpones.
    Later(Box<Instruction>),
}

/// Reads a whole Dockerfile.
pub(crate) fn parse(text: &str) -> Result<Dockerfile, Fault> {
    if text.len() > TEXT_LIMIT {
        let message = format!("the file has {} bytes, more than the {TEXT_LIMIT} that are read", text.len());
        return Err(Fault::new(0, message));
    }
    let logical = lines::split(text)?;
    let mut dockerfile = Dockerfile { escape: logical.escape, globals: Vec::new(), stages: Vec::new() };
    for line in logical.lines {
        let instruction = instruction(line, logical.escape)?;
        place(instruction, &mut dockerfile)?;
    }
    if dockerfile.stages.is_empty() {
        return Err(Fault::new(0, "the file has no FROM instruction, so there is nothing to build"));
    }
    Ok(dockerfile)
}

/// Puts an instruction where it belongs.
fn place(instruction: Instruction, dockerfile: &mut Dockerfile) -> Result<(), Fault> {
    if let Body::From(image, name) = &instruction.body {
        let stage = Stage {
            line: instruction.line,
            name: name.clone(),
            image: image.clone(),
            flags: instruction.flags,
            instructions: Vec::new(),
        };
        return add_stage(stage, dockerfile);
    }
    match dockerfile.stages.last_mut() {
        Some(stage) => stage.instructions.push(instruction),
        None if instruction.keyword == Keyword::Arg => dockerfile.globals.push(instruction),
        None => {
            let message = format!("{} stands before the first FROM; only ARG may", instruction.keyword.name());
            return Err(Fault::new(instruction.line, message));
        }
    }
    Ok(())
}

fn add_stage(stage: Stage, dockerfile: &mut Dockerfile) -> Result<(), Fault> {
    if dockerfile.stages.len() >= STAGES_LIMIT {
        return Err(Fault::new(stage.line, format!("the file has more than {STAGES_LIMIT} stages")));
    }
    dockerfile.stages.push(stage);
    Ok(())
}

/// Reads one instruction.
pub(crate) fn instruction(line: LogicalLine, escape: char) -> Result<Instruction, Fault> {
    let text = line.text.trim();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, arguments) = text.split_at(end);
    let Some(keyword) = Keyword::read(word) else {
        let message = format!("`{}` is no instruction; known are {}", shown(word), known());
        return Err(Fault::new(line.number, message));
    };
    let (flags, rest) = words::take_flags(arguments);
    let rest = rest.trim();
    if keyword == Keyword::Onbuild {
        return onbuild(line.number, rest.to_owned(), line.heredocs, escape);
    }
    let body = body(keyword, rest, escape).map_err(|message| Fault::new(line.number, message))?;
    Ok(Instruction { line: line.number, keyword, flags, rest: rest.to_owned(), heredocs: line.heredocs, body })
}

fn onbuild(number: u32, rest: String, heredocs: Vec<Heredoc>, escape: char) -> Result<Instruction, Fault> {
    let first = rest.split_whitespace().next().unwrap_or_default();
    match Keyword::read(first) {
        Some(Keyword::Onbuild | Keyword::From | Keyword::Maintainer) => {
            return Err(Fault::new(number, format!("ONBUILD {} is not allowed", first.to_ascii_uppercase())));
        }
        None if first.is_empty() => return Err(Fault::new(number, "ONBUILD needs an instruction")),
        Some(_) | None => {}
    }
    let later = instruction(LogicalLine { number, text: rest.clone(), heredocs: heredocs.clone() }, escape)?;
    let body = Body::Later(Box::new(later));
    Ok(Instruction { line: number, keyword: Keyword::Onbuild, flags: Vec::new(), rest, heredocs, body })
}

/// Splits and checks the arguments of an instruction.
fn body(keyword: Keyword, rest: &str, escape: char) -> Result<Body, String> {
    let name = keyword.name();
    if rest.is_empty() && keyword != Keyword::Cmd {
        return Err(format!("{name} needs an argument"));
    }
    match keyword {
        Keyword::Add | Keyword::Copy => match listed(name, rest)? {
            words if words.len() < 2 => Err(format!("{name} needs a source and a destination")),
            words => Ok(Body::Words(words)),
        },
        Keyword::Volume => match listed(name, rest)? {
            words if words.is_empty() => Err(format!("{name} needs an argument")),
            words => Ok(Body::Words(words)),
        },
        Keyword::Expose => Ok(Body::Words(rest.split_whitespace().map(str::to_owned).collect())),
        Keyword::Env | Keyword::Label => pairs(name, rest, escape),
        Keyword::Arg => arguments(rest, escape),
        Keyword::From => from(rest),
        Keyword::Shell => match words::json(rest) {
            Json::Strings(words) if !words.is_empty() => Ok(Body::Words(words)),
            Json::Strings(_) | Json::Mixed | Json::No => {
                Err("SHELL needs a JSON array of strings, such as [\"/bin/sh\", \"-c\"]".to_owned())
            }
        },
        Keyword::Cmd | Keyword::Entrypoint | Keyword::Run => match words::json(rest) {
            Json::Mixed => Err(strings_only(name)),
            Json::Strings(_) | Json::No => Ok(Body::Text),
        },
        Keyword::Healthcheck => healthcheck(rest),
        Keyword::Maintainer | Keyword::Onbuild | Keyword::Stopsignal | Keyword::User | Keyword::Workdir => {
            Ok(Body::Text)
        }
    }
}

/// A JSON array or words between white space.
fn listed(name: &str, rest: &str) -> Result<Vec<String>, String> {
    match words::json(rest) {
        Json::Strings(words) => Ok(words),
        Json::Mixed => Err(strings_only(name)),
        Json::No => Ok(rest.split_whitespace().map(str::to_owned).collect()),
    }
}

fn strings_only(name: &str) -> String {
    format!("the JSON array of {name} may hold strings only")
}

/// `NAME=VALUE …`, or the old form `NAME VALUE` with one pair.
fn pairs(name: &str, rest: &str, escape: char) -> Result<Body, String> {
    let words = words::quoted_words(rest, escape);
    if words.first().is_some_and(|first| !first.contains('=')) {
        let Some((key, value)) = rest.split_once(char::is_whitespace) else {
            return Err(format!("{name} needs a name and a value, as NAME=VALUE"));
        };
        return Ok(Body::Pairs(vec![(key.to_owned(), Some(value.trim_start().to_owned()))]));
    }
    let pair = |word: &String| match word.split_once('=') {
        Some(("", _)) => Err(format!("{name}: the name before `=` in `{}` is empty", shown(word))),
        Some((key, value)) => Ok((key.to_owned(), Some(value.to_owned()))),
        None => Err(format!("{name}: `{}` has no `=`; write NAME=VALUE, and quote a value with spaces", shown(word))),
    };
    Ok(Body::Pairs(words.iter().map(pair).collect::<Result<_, _>>()?))
}

/// `NAME[=DEFAULT] …`
fn arguments(rest: &str, escape: char) -> Result<Body, String> {
    let pair = |word: String| match word.split_once('=') {
        Some(("", _)) => Err(format!("ARG: the name before `=` in `{}` is empty", shown(&word))),
        Some((key, value)) => Ok((key.to_owned(), Some(value.to_owned()))),
        None => Ok((word, None)),
    };
    let words = words::quoted_words(rest, escape);
    Ok(Body::Pairs(words.into_iter().map(pair).collect::<Result<_, _>>()?))
}

/// `IMAGE [AS NAME]`
fn from(rest: &str) -> Result<Body, String> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    match words.as_slice() {
        [image] => Ok(Body::From((*image).to_owned(), None)),
        [image, between, name] if between.eq_ignore_ascii_case("as") => {
            let lower = name.to_ascii_lowercase();
            let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
            if lower.as_bytes().first().is_some_and(u8::is_ascii_lowercase) && lower.bytes().all(inner) {
                return Ok(Body::From((*image).to_owned(), Some(lower)));
            }
            let name = shown(name);
            Err(format!(
                "`{name}` is no stage name: it starts with a letter and goes on with letters, digits, `-`, `_`, `.`"
            ))
        }
        _ => Err("write FROM IMAGE or FROM IMAGE AS NAME".to_owned()),
    }
}

fn healthcheck(rest: &str) -> Result<Body, String> {
    let (first, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if first.eq_ignore_ascii_case("none") {
        let alone = after.trim().is_empty();
        return if alone { Ok(Body::Text) } else { Err("HEALTHCHECK NONE takes no arguments".to_owned()) };
    }
    if !first.eq_ignore_ascii_case("cmd") {
        return Err("HEALTHCHECK needs NONE or CMD after its flags".to_owned());
    }
    match words::json(after) {
        Json::Mixed => Err(strings_only("HEALTHCHECK CMD")),
        Json::Strings(_) | Json::No if after.trim().is_empty() => Err("HEALTHCHECK CMD needs a command".to_owned()),
        Json::Strings(_) | Json::No => Ok(Body::Text),
    }
}

fn known() -> String {
    Keyword::ALL.map(Keyword::name).join(", ")
}
