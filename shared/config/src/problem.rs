//! Problems: what is wrong in a configuration, where, and what to write instead.

use std::fmt;

/// Problems shown of one file; the rest is counted.
const SHOWN: usize = 50;
/// Characters of a source line that are shown; a longer line is cut around the problem.
const EXCERPT: usize = 120;
/// Source lines longer than this (in bytes) are not quoted at all.
const QUOTABLE: usize = 4096;
/// What stands for what is not shown.
const HIDDEN: &str = "***";
/// Words in keys whose value is never quoted: a configuration may hold a secret in the open.
const SECRET_KEYS: [&str; 5] = ["password", "passwd", "token", "secret", "credential"];

/// A place in the text: line and column, both from 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1; 0 where only the line is known.
    pub column: u32,
}

impl fmt::Display for Position {
    /// `LINE:COLUMN`; the line alone where no column is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            0 => write!(f, "{}", self.line),
            column => write!(f, "{}:{column}", self.line),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where; `None` for what is missing from the whole file.
    pub position: Option<Position>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
    /// The offending line of the text.
    pub line: Option<String>,
    /// The place in a template that rendered it, when that is another one.
    pub origin: Option<Origin>,
}

/// A place in a template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The file.
    pub file: String,
    /// Where in it.
    pub position: Position,
    /// The line of the template.
    pub line: String,
}

impl Problem {
    /// A problem, with what to write instead.
    pub fn new(position: Option<Position>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { position, message: message.into(), hint: Some(hint.into()), line: None, origin: None }
    }
}

/// Everything wrong in one file, in the order of the file. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problems {
    /// The file's name.
    pub file: String,
    /// What is wrong in it.
    pub list: Vec<Problem>,
}

impl std::error::Error for Problems {}

impl Problems {
    /// One problem of a file; `line` is the text of the line that it stands in.
    pub fn single(file: &str, mut problem: Problem, line: &str) -> Self {
        problem.line = (line.len() <= QUOTABLE && !line.is_empty()).then(|| without_secrets(line));
        Self { file: file.to_owned(), list: vec![problem] }
    }

    /// The same problems, each with the place in a template that `origin` finds for its place in the text.
    #[must_use]
    pub fn traced(mut self, origin: impl Fn(Position) -> Option<Origin>) -> Self {
        for problem in &mut self.list {
            problem.origin = problem.position.and_then(&origin);
            if let Some(origin) = &mut problem.origin {
                origin.line = if origin.line.len() <= QUOTABLE { without_secrets(&origin.line) } else { String::new() };
            }
        }
        self
    }

    /// Puts `list` in the order of the file and quotes the lines of `text` that the problems stand in.
    pub(crate) fn new(file: &str, text: &str, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| problem.position);
        let mut lines = text.lines().zip(1_u32..);
        let mut current = lines.next();
        for problem in &mut list {
            let Some(position) = problem.position else { continue };
            while current.is_some_and(|(_, number)| number < position.line) {
                current = lines.next();
            }
            problem.line = current
                .filter(|(line, number)| *number == position.line && line.len() <= QUOTABLE)
                .map(|(line, _)| without_secrets(line));
        }
        Self { file: file.to_owned(), list }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().take(SHOWN).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write_problem(f, &self.file, problem)?;
        }
        let count = self.list.len();
        if count > SHOWN {
            write!(f, "\n{count} problems; the last {} are not shown", count - SHOWN)?;
        } else if count > 1 {
            write!(f, "\n{count} problems")?;
        }
        Ok(())
    }
}

/// `FILE:LINE:COL: MESSAGE`, the line with a caret under the column, the hint; no line break at the end. What a template
/// rendered is shown where it stands in the template, then as it was rendered.
fn write_problem(f: &mut fmt::Formatter<'_>, file: &str, problem: &Problem) -> fmt::Result {
    let message = printable(&problem.message);
    match (problem.position, &problem.origin) {
        (None, _) => write!(f, "{file}: {message}")?,
        (Some(position), None) => {
            write!(f, "{file}:{position}: {message}")?;
            write_line(f, position, problem.line.as_deref())?;
        }
        (Some(position), Some(origin)) => {
            write!(f, "{}:{}: {message}", origin.file, origin.position)?;
            write_line(f, origin.position, Some(&origin.line))?;
            write!(f, "\n  as rendered, line {}:", position.line)?;
            write_line(f, position, problem.line.as_deref())?;
        }
    }
    problem.hint.iter().try_for_each(|hint| write!(f, "\n  {}", printable(hint)))
}

/// A line with a caret under a column; column 0 = no caret.
fn write_line(f: &mut fmt::Formatter<'_>, position: Position, line: Option<&str>) -> fmt::Result {
    let Some(line) = line.filter(|line| !line.is_empty()) else { return Ok(()) };
    let number = position.line.to_string();
    let (excerpt, caret) = excerpt(line, position.column as usize);
    write!(f, "\n   {number} | {excerpt}")?;
    match caret.filter(|_| position.column > 0) {
        Some(indent) => write!(f, "\n   {:width$} | {indent}^", "", width = number.len()),
        None => Ok(()),
    }
}

/// The part of `line` around `column` (from 1), and the blanks that put a caret under it.
fn excerpt(line: &str, column: usize) -> (String, Option<String>) {
    let characters: Vec<char> = line.trim_end().chars().collect();
    let at = column.saturating_sub(1);
    let start = if characters.len() <= EXCERPT { 0 } else { at.saturating_sub(EXCERPT / 2).min(characters.len()) };
    let end = characters.len().min(start + EXCERPT);
    let mut text = String::new();
    if start > 0 {
        text.push('…');
    }
    text.extend(characters[start..end].iter().map(|c| if c.is_control() && *c != '\t' { '�' } else { *c }));
    if end < characters.len() {
        text.push('…');
    }
    // What is hidden may lie under the column: the caret stands where it begins.
    let hidden = line.ends_with(HIDDEN).then(|| characters.len() - HIDDEN.len());
    let at = if at > characters.len() { hidden.unwrap_or(at) } else { at };
    if at > characters.len() {
        return (text, None);
    }
    let mut indent = String::from(if start > 0 { " " } else { "" });
    // Tabs are kept, so that the caret stands under its column at any tab width.
    indent.extend(characters[start..at.max(start)].iter().map(|c| if *c == '\t' { '\t' } else { ' ' }));
    (text, Some(indent))
}

/// Control characters (but line breaks) are replaced: what a file holds must not steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '�' } else { c }).collect()
}

/// `line` with the values of telling keys and the credentials of URLs replaced by `***`.
fn without_secrets(line: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut start = 0;
    while let Some(begin) = line[start..].find(is_part) {
        let word = start + begin;
        let end = line[word..].find(|c: char| !is_part(c)).map_or(line.len(), |length| word + length);
        if is_telling(&line[word..end])
            && let Some(value) = value_after(line, end)
        {
            return without_credentials(&line[..value]) + HIDDEN;
        }
        start = end;
    }
    without_credentials(line)
}

/// Whether the value of the key `word` is likely to be a secret. `secrets` are a directive.
fn is_telling(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    word == "value" || word != "secrets" && SECRET_KEYS.iter().any(|key| word.contains(key))
}

/// Where the value begins when a key ends at `end` of `line`.
fn value_after(line: &str, end: usize) -> Option<usize> {
    let rest = line[end..].trim_start_matches(['"', '\'']).trim_start();
    let value = rest.strip_prefix([':', '='])?.trim_start();
    (!value.is_empty()).then(|| line.len() - value.len())
}

/// `text` with `user:password` of every `scheme://user:password@host` replaced by `***`.
pub(crate) fn without_credentials(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (head, tail) = rest.split_at(start + 3);
        kept.push_str(head);
        let end = tail.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(tail.len());
        rest = match tail[..end].rfind('@') {
            Some(at) => {
                kept.push_str("***");
                &tail[at..]
            }
            None => tail,
        };
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32, column: u32, message: &str) -> Problem {
        let position = Some(Position { line, column });
        Problem::new(position, message, "write it well")
    }

    #[test]
    fn a_problem_shows_its_line_and_a_caret() {
        let problems = Problems::new("werf.yaml", "a: 1\n\tb: 2\n", vec![at(2, 2, "unknown key `b`")]);
        let shown = "werf.yaml:2:2: unknown key `b`\n   2 | \tb: 2\n     | \t^\n  write it well";
        assert_eq!(problems.to_string(), shown);
    }

    #[test]
    fn what_a_template_rendered_is_shown_in_the_template_first() {
        let problems = Problems::new("werf.yaml", "a: 1\nb: 2\n", vec![at(2, 1, "unknown key `b`")]);
        let origin = |position: Position| {
            (position.line == 2).then(|| Origin {
                file: ".werf/x.tmpl".to_owned(),
                position: Position { line: 7, column: 6 },
                line: "     {{ .Key }}: 2 # token: s3cret".to_owned(),
            })
        };
        let shown = ".werf/x.tmpl:7:6: unknown key `b`\n   7 |      {{ .Key }}: 2 # token: ***\n     |      ^\n  \
                     as rendered, line 2:\n   2 | b: 2\n     | ^\n  write it well";
        assert_eq!(problems.traced(origin).to_string(), shown);
        let single = Problem::new(Some(Position { line: 3, column: 0 }), "unexpected EOF", "close it");
        let shown = "x.tmpl:3: unexpected EOF\n   3 | {{ if\n  close it";
        assert_eq!(Problems::single("x.tmpl", single, "{{ if").to_string(), shown);
    }

    #[test]
    fn problems_stand_in_the_order_of_the_file_and_are_counted() {
        let list = vec![at(3, 1, "third"), at(1, 9, "first")];
        let shown = Problems::new("f", "x\ny\nz\n", list).to_string();
        assert!(shown.find("first").expect("first") < shown.find("third").expect("third"), "{shown}");
        assert!(shown.ends_with("\n2 problems"), "{shown}");
        let many = Problems::new("f", "x\n", vec![at(1, 1, "again"); 60]).to_string();
        assert!(many.ends_with("\n60 problems; the last 10 are not shown"), "{many}");
        assert_eq!(many.matches("again").count(), 50);
    }

    #[test]
    fn long_lines_are_cut_around_the_column() {
        let line = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let (text, indent) = excerpt(&line, 501);
        let caret = indent.expect("a caret").chars().count();
        assert_eq!(text.chars().nth(caret), Some('X'));
        assert!(text.chars().count() <= EXCERPT + 2);
        assert_eq!(excerpt("ab", 9), ("ab".to_owned(), None));
        assert_eq!(excerpt("a: ***", 40), ("a: ***".to_owned(), Some("   ".to_owned())));
    }

    #[test]
    fn secrets_and_terminal_codes_are_not_quoted() {
        for (line, shown) in [
            ("  - {id: x, value: s3cret}", "  - {id: x, value: ***"),
            ("    DB_PASSWORD: s3cret", "    DB_PASSWORD: ***"),
            ("  url: https://me:s3cret@host/a", "  url: https://***@host/a"),
            ("secrets: [{env: A}]", "secrets: [{env: A}]"),
            ("  exactValues: yes", "  exactValues: yes"),
            ("  \"api-token\" = x", "  \"api-token\" = ***"),
            ("  add: /x", "  add: /x"),
        ] {
            assert_eq!(without_secrets(line), shown);
        }
        assert_eq!(printable("a\u{1b}[31m"), "a�[31m");
    }
}
