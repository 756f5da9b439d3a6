//! Physical lines to logical ones: parser directives, comments, continuations and here-documents.

use std::collections::HashMap;

use crate::{Fault, keyword::Keyword, shown, words};

/// What escapes in the name of a here-document, whatever the file's escape character is.
const HEREDOC_ESCAPE: char = '\\';

/// One instruction's text with the here-documents that it opens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LogicalLine {
    /// Where it starts, from 1.
    pub(crate) number: u32,
    /// Continuations joined, comments between them left out.
    pub(crate) text: String,
    /// In the order in which they are opened.
    pub(crate) heredocs: Vec<Heredoc>,
}

/// A here-document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Heredoc {
    /// The line that ends it.
    pub(crate) name: String,
    /// Its lines with their line ends; leading tabs are gone when it was opened with `<<-`.
    pub(crate) content: String,
}

/// A file taken apart.
pub(crate) struct Logical {
    /// The character that escapes: `\` or a backtick.
    pub(crate) escape: char,
    pub(crate) lines: Vec<LogicalLine>,
}

/// Takes `text` apart.
pub(crate) fn split(text: &str) -> Result<Logical, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { lines: text.split_inclusive('\n'), number: 0 };
    let ends = Ends::of(reader.clone());
    let escape = escape_directive(text)?;
    let mut lines = Vec::new();
    while let Some(physical) = reader.next() {
        let start = without_end(physical).trim_start();
        if start.is_empty() || start.starts_with('#') {
            continue;
        }
        let number = reader.number;
        let text = join(start, escape, &mut reader);
        if text.trim().is_empty() {
            continue;
        }
        let heredocs = heredocs(&text, number, &ends, &mut reader)?;
        lines.push(LogicalLine { number, text, heredocs });
    }
    Ok(Logical { escape, lines })
}

/// Counts the lines that it hands out, each with its line end.
#[derive(Clone)]
struct Reader<'a> {
    lines: std::str::SplitInclusive<'a, char>,
    number: u32,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let line = self.lines.next()?;
        self.number = self.number.saturating_add(1);
        Some(line)
    }
}

fn without_end(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

/// Where each text stands last as a line: a look ahead that costs the same in a file of any length.
struct Ends<'a> {
    plain: HashMap<&'a str, u32>,
    without_tabs: HashMap<&'a str, u32>,
}

impl<'a> Ends<'a> {
    fn of(mut reader: Reader<'a>) -> Self {
        let mut ends = Self { plain: HashMap::new(), without_tabs: HashMap::new() };
        while let Some(line) = reader.next().map(without_end) {
            ends.plain.insert(line, reader.number);
            ends.without_tabs.insert(line.trim_start_matches('\t'), reader.number);
        }
        ends
    }

    /// Whether a line that ends the document stands below line `number`.
    fn follow(&self, opener: &Opener, number: u32) -> bool {
        let lines = if opener.tabs { &self.without_tabs } else { &self.plain };
        lines.get(opener.name.as_str()).is_some_and(|last| *last > number)
    }
}

/// The `# escape=` directive. Directives stand at the top of the file, before anything else.
fn escape_directive(text: &str) -> Result<char, Fault> {
    let mut escape = None;
    let mut seen: Vec<String> = Vec::new();
    for (number, line) in (1_u32..).zip(text.lines()) {
        let Some((name, value)) = line.strip_prefix('#').and_then(|rest| rest.split_once('=')) else { break };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if !matches!(name.as_str(), "escape" | "syntax" | "check") || value.is_empty() {
            break;
        }
        if seen.contains(&name) {
            return Err(Fault::new(number, format!("the parser directive `{name}` stands here a second time")));
        }
        if name == "escape" {
            escape = Some(match value {
                "\\" => '\\',
                "`" => '`',
                other => {
                    let other = shown(other);
                    return Err(Fault::new(number, format!("the escape character is `{other}`; it can be \\ or `")));
                }
            });
        }
        seen.push(name);
    }
    Ok(escape.unwrap_or('\\'))
}

/// The logical line that begins with `first`.
fn join(first: &str, escape: char, reader: &mut Reader<'_>) -> String {
    let mut open = continued(first, escape);
    let mut text = open.unwrap_or(first).to_owned();
    while open.is_some() {
        let Some(line) = reader.next().map(without_end) else { break };
        let start = line.trim_start();
        if start.is_empty() || start.starts_with('#') {
            continue;
        }
        open = continued(line, escape);
        text.push_str(open.unwrap_or(line));
    }
    text
}

/// The line without the escape character that ends it; `None` when it does not go on in the next line.
fn continued(line: &str, escape: char) -> Option<&str> {
    let before = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!before.ends_with(escape)).then_some(before)
}

/// Reads the here-documents that `text` opens.
fn heredocs(text: &str, number: u32, ends: &Ends<'_>, reader: &mut Reader<'_>) -> Result<Vec<Heredoc>, Fault> {
    if !may_open(text) {
        return Ok(Vec::new());
    }
    let words = words::quoted_words(text, HEREDOC_ESCAPE);
    if words.iter().any(|word| words::unquoted(word, HEREDOC_ESCAPE).is_none()) {
        // A quote that is left open may stand in a comment of the shell.
        return Ok(Vec::new());
    }
    let mut heredocs = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if let Some(opener) = opened(word) {
            let unterminated = || {
                let name = shown(&opener.name);
                Fault::new(number, format!("the here-document `{name}` is opened here and never ends"))
            };
            heredocs.push(heredoc(&opener, reader).ok_or_else(unterminated)?);
            continue;
        }
        // `<< NAME` may also be a shift in the shell's arithmetic: it counts when the document has an end.
        let spaced = words.peek().filter(|_| word.ends_with("<<")).and_then(|next| opened(&format!("{word}{next}")));
        if let Some(found) = spaced.filter(|opener| ends.follow(opener, reader.number)) {
            heredocs.extend(heredoc(&found, reader));
            words.next();
        }
    }
    Ok(heredocs)
}

/// Whether the instruction may have here-documents.
fn may_open(text: &str) -> bool {
    let mut start = text.split_whitespace();
    let keyword = start.next().and_then(Keyword::read);
    let keyword = if keyword == Some(Keyword::Onbuild) { start.next().and_then(Keyword::read) } else { keyword };
    text.contains("<<") && matches!(keyword, Some(Keyword::Add | Keyword::Copy | Keyword::Run))
}

/// What opens a here-document.
pub(crate) struct Opener {
    name: String,
    /// Whether leading tabs are dropped.
    tabs: bool,
}

/// Reads `[N]<<[-]NAME`.
pub(crate) fn opened(word: &str) -> Option<Opener> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (rest, tabs) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let name = words::unquoted(rest, HEREDOC_ESCAPE)?;
    (!name.is_empty()).then_some(Opener { name, tabs })
}

/// Whether a command is a single here-document, and nothing else stands on its line.
pub(crate) fn is_document(command: &str) -> bool {
    let after = command.split_once("<<").map_or("", |(_, after)| after.trim_start_matches('-'));
    opened(command).is_some() && words::quoted_words(after, HEREDOC_ESCAPE).len() == 1
}

/// Reads up to the line that ends the document; `None` when there is none.
fn heredoc(opener: &Opener, reader: &mut Reader<'_>) -> Option<Heredoc> {
    let mut content = String::new();
    loop {
        let line = reader.next()?;
        let line = if opener.tabs { line.trim_start_matches('\t') } else { line };
        if without_end(line) == opener.name {
            return Some(Heredoc { name: opener.name.clone(), content });
        }
        content.push_str(line);
    }
}
