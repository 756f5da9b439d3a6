//! Rendering a configuration, and where each place of its text comes from.

use std::sync::Arc;

use slipway_config::{Origin, Position, Problem, Problems};
use slipway_template::{Limits, SourceMap, TemplateError, TemplateSet, Value, sprig};

use crate::commit::Commit;
use crate::files::Files;
use crate::functions::{self, Reporter};
use crate::surroundings::Surroundings;

/// A template of the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TemplateFile {
    /// How templates call it: its path below the directory of templates.
    pub name: String,
    /// Its path in the project, for messages.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// What is rendered, and what it is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Configuration {
    /// The path of the main file in the project; also the name of its template.
    pub file: String,
    /// Its text.
    pub text: String,
    /// Further templates, in the order in which they are read: of equal names the last one counts.
    pub templates: Vec<TemplateFile>,
    /// `.Env`
    pub environment: String,
    /// `.Commit`
    pub commit: Commit,
}

/// A rendered configuration.
#[derive(Clone, Debug)]
pub struct Rendering {
    /// The text.
    pub text: String,
    file: String,
    map: SourceMap,
    /// Where each line of the text begins, in bytes.
    lines: Vec<usize>,
}

/// Renders a configuration. `world` is for the functions that tell the time or draw lots.
///
/// # Errors
/// What is wrong with a template, at its place in that template.
pub fn render(
    configuration: &Configuration,
    surroundings: &Arc<dyn Surroundings>,
    world: Arc<dyn sprig::World>,
    limits: Limits,
) -> Result<Rendering, Problems> {
    let reporter = Reporter::default();
    let files = Files::new(Arc::clone(surroundings), reporter.clone());
    let mut all = sprig::functions(world);
    all.extend(functions::own(surroundings, &files, &reporter));
    let mut set = TemplateSet::new(all, limits);
    let wrong = |error: TemplateError| problems(configuration, &error, reporter.hint());
    for template in &configuration.templates {
        set.parse_file(&template.name, &template.file, &template.text).map_err(wrong)?;
    }
    set.parse(&configuration.file, &configuration.text).map_err(wrong)?;
    let data = Value::map([
        ("Files", Value::object(files)),
        ("Env", Value::from(configuration.environment.as_str())),
        ("Commit", configuration.commit.to_value()),
    ]);
    let rendered = set.execute(&configuration.file, data).map_err(wrong)?;
    let lines = line_starts(&rendered.text);
    Ok(Rendering { text: rendered.text, file: configuration.file.clone(), map: rendered.map, lines })
}

impl Rendering {
    /// The text of a file without templates.
    pub fn plain(file: &str, text: String) -> Rendering {
        let lines = line_starts(&text);
        Rendering { text, file: file.to_owned(), map: SourceMap::default(), lines }
    }

    /// `FILE:LINE:COLUMN` of the template that a place of the text comes from.
    pub fn place(&self, position: Position) -> String {
        match self.origin(position) {
            Some(origin) => format!("{}:{}", origin.file, origin.position),
            None => format!("{}:{position}", self.file),
        }
    }

    /// The place in a template that a place of the text comes from; `None` when that is the same place of the main file,
    /// or when there is no such place.
    pub fn origin(&self, position: Position) -> Option<Origin> {
        let index = usize::try_from(position.line).ok()?.checked_sub(1)?;
        let start = *self.lines.get(index)?;
        let line = self.line(index);
        let column = usize::try_from(position.column).unwrap_or(1).saturating_sub(1);
        let within = line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
        // The end of a line belongs to what stands before it.
        let at = if within == line.len() { start + within.saturating_sub(1) } else { start + within };
        let origin = self.map.origin(at)?;
        let before = origin.text.get(..origin.column).unwrap_or(&origin.text);
        let own = Position {
            line: u32::try_from(origin.line).unwrap_or(u32::MAX),
            column: u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX),
        };
        let same = origin.file() == self.file && own.line == position.line && origin.text == line;
        (!same).then(|| Origin { file: origin.file().to_owned(), position: own, line: origin.text })
    }

    /// `FILE:LINE` of the template that a line of the text comes from.
    pub fn place_of_line(&self, line: u32) -> String {
        let index = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
        let text = if index < self.lines.len() { self.line(index) } else { "" };
        let column = text.chars().take_while(|c| c.is_whitespace()).count() + 1;
        let position = Position { line, column: u32::try_from(column).unwrap_or(1) };
        match self.origin(position) {
            Some(origin) => format!("{}:{}", origin.file, origin.position.line),
            None => format!("{}:{line}", self.file),
        }
    }

    /// The text of a line, from 0, without its end.
    fn line(&self, index: usize) -> &str {
        let start = self.lines.get(index).copied().unwrap_or(self.text.len());
        let end = self.lines.get(index + 1).copied().unwrap_or(self.text.len());
        self.text[start..end].trim_end_matches(['\n', '\r'])
    }
}

/// Where lines begin, as a reader of YAML counts them: after a line feed, a carriage return, or both.
fn line_starts(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let ends = (0..bytes.len()).filter(|at| match bytes[*at] {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    let first = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    std::iter::once(first).chain(ends.map(|at| at + 1)).collect()
}

/// What a template failed with, at its place.
fn problems(configuration: &Configuration, error: &TemplateError, hint: Option<String>) -> Problems {
    let place = error.position();
    let (file, text) = place.map_or((configuration.file.as_str(), ""), |place| (place.file(), place.text.as_str()));
    let position = place.map(|place| {
        let column = place.column.map_or(0, |column| text.get(..column).unwrap_or(text).chars().count() + 1);
        Position {
            line: u32::try_from(place.line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        }
    });
    let reason = error.reason();
    let chain = Some(error.to_string()).filter(|chain| *chain != reason && is_chain(error));
    let hint: Vec<String> = chain.into_iter().chain(hint).collect();
    let mut problem = Problem::new(position, reason, hint.join("\n  "));
    problem.hint = problem.hint.filter(|hint| !hint.is_empty());
    Problems::single(file, problem, text)
}

/// Whether templates that called one another lead to the failure.
fn is_chain(error: &TemplateError) -> bool {
    matches!(error, TemplateError::Execution(error) if error.innermost.is_some())
}
