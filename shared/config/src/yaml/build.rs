//! Building the tree from the parser's events, within limits.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    rc::Rc,
};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::{Entry, Kind, Node, Scalar};
use crate::{Position, Problem};

/// How deep lists and mappings may nest.
const DEPTH: usize = 100;

/// How often a document is read again because of a tab that the parser does not take.
pub(crate) const TAB_REPAIRS: usize = 100;

/// How many lists, mappings and values a file may have, aliases counted as often as they are used.
const NODES: usize = 1_000_000;

/// How much text they may hold, in bytes.
const BYTES: usize = 64 << 20;

/// What one file may cost, aliases counted as often as they are used.
pub(crate) struct Budget {
    nodes: usize,
    bytes: usize,
}

impl Budget {
    /// What a configuration may cost.
    pub(crate) fn new() -> Self {
        Self { nodes: NODES, bytes: BYTES }
    }

    /// Takes the cost of `nodes` nodes with `bytes` of text. False = more than there is.
    fn take(&mut self, nodes: usize, bytes: usize) -> bool {
        let (nodes, bytes) = (self.nodes.checked_sub(nodes), self.bytes.checked_sub(bytes));
        self.nodes = nodes.unwrap_or(0);
        self.bytes = bytes.unwrap_or(0);
        nodes.is_some() && bytes.is_some()
    }

    /// Takes the cost of a copy of `node` that is put `depth` deep, at `position`.
    fn take_copy(&mut self, node: &Node, depth: usize, position: Position) -> Result<(), Stop> {
        if depth > DEPTH {
            return Err(too_deep(position));
        }
        let bytes = match &node.kind {
            Kind::Scalar(scalar) => scalar.text.len(),
            Kind::Sequence(items) => {
                items.iter().try_for_each(|item| self.take_copy(item, depth + 1, position))?;
                0
            }
            Kind::Mapping(entries) => {
                entries.iter().try_for_each(|entry| self.take_copy(&entry.value, depth + 1, position))?;
                entries.iter().map(|entry| entry.key.len()).sum()
            }
        };
        if self.take(1, bytes) { Ok(()) } else { Err(too_much(position)) }
    }
}

/// Reads one document, whose first line is line `first_line` of its file. `None`: it is empty or cannot be read;
/// in the latter case the reason is added to `problems`, as are duplicate keys and the like.
pub(crate) fn read(text: &str, first_line: u32, budget: &mut Budget, problems: &mut Vec<Problem>) -> Option<Node> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..TAB_REPAIRS {
        let before = problems.len();
        match attempt(&text, first_line, budget, problems) {
            Ok(root) => return root,
            Err(Failure::Tab(marker)) if repair_tab(&mut text, marker) => problems.truncate(before),
            Err(failure) => {
                problems.push(*failure.into_problem(&text, first_line));
                return None;
            }
        }
    }
    let position = Position { line: first_line, column: 1 };
    problems.push(*stop(
        position,
        "too many values are separated from their keys by tabs",
        "put a space after every `:`",
    ));
    None
}

/// One run of the parser.
fn attempt(
    text: &str,
    first_line: u32,
    budget: &mut Budget,
    problems: &mut Vec<Problem>,
) -> Result<Option<Node>, Failure> {
    let mut builder = Builder {
        first_line,
        budget,
        problems,
        frames: Vec::new(),
        anchors: HashMap::new(),
        open_anchors: HashSet::new(),
        root: None,
        documents: 0,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Failure::of(error, &builder.frames))?;
        builder.event(event, span.start).map_err(Failure::Stop)?;
    }
    Ok(builder.root)
}

/// Why a run of the parser ended early.
enum Failure {
    /// A tab alone stands between a key's colon and its value: YAML allows it, the parser does not.
    Tab(Marker),
    /// The text is no YAML. The position is where the list or mapping begins that was being read.
    Syntax(ScanError, Option<Position>),
    /// The text is YAML that is refused.
    Stop(Stop),
}

impl Failure {
    fn of(error: ScanError, frames: &[Frame]) -> Self {
        match tab(&error) {
            Some(marker) => Self::Tab(marker),
            None => Self::Syntax(error, frames.last().map(|frame| frame.position)),
        }
    }

    fn into_problem(self, text: &str, first_line: u32) -> Stop {
        match self {
            Self::Tab(marker) => stop(position(marker, first_line), "a tab stands after `:`", "write a space instead"),
            Self::Syntax(error, open) => syntax(&error, open, text, first_line),
            Self::Stop(stop) => stop,
        }
    }
}

/// Where a tab alone stands between a key's colon and its value, when that is what the parser stumbled over.
pub(crate) fn tab(error: &ScanError) -> Option<Marker> {
    error.info().contains("must be followed by a valid YAML whitespace").then(|| *error.marker())
}

/// Replaces the blanks before `marker` by spaces. False = there is no tab among them.
pub(crate) fn repair_tab(text: &mut Cow<'_, str>, marker: Marker) -> bool {
    let Some(line) = text.split_inclusive('\n').nth(marker.line().max(1) - 1) else { return false };
    let start = line.as_ptr() as usize - text.as_ptr() as usize;
    let column = line.char_indices().nth(marker.col()).map_or(line.len(), |(at, _)| at);
    let blanks = line[..column].len() - line[..column].trim_end_matches([' ', '\t']).len();
    let range = start + column - blanks..start + column;
    if !text[range.clone()].contains('\t') {
        return false;
    }
    text.to_mut().replace_range(range, &" ".repeat(blanks));
    true
}

/// What stops the reading of a document.
type Stop = Box<Problem>;

struct Builder<'b> {
    first_line: u32,
    budget: &'b mut Budget,
    problems: &'b mut Vec<Problem>,
    /// The lists and mappings that are open, outermost first.
    frames: Vec<Frame>,
    anchors: HashMap<usize, Rc<Node>>,
    open_anchors: HashSet<usize>,
    root: Option<Node>,
    documents: usize,
}

/// A list or mapping that is being filled.
struct Frame {
    position: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping(Mapping),
}

#[derive(Default)]
struct Mapping {
    entries: Vec<Entry>,
    seen: HashMap<String, Position>,
    /// Values of `<<`.
    merged: Vec<Node>,
    key: Key,
}

/// The key whose value comes next.
#[derive(Default)]
enum Key {
    #[default]
    None,
    Text(String, Position),
    Merge,
    /// A key that was refused; its value is dropped.
    Refused,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, start: Marker) -> Result<(), Stop> {
        let position = position(start, self.first_line);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => self.document(position),
            Event::Alias(anchor) => self.alias(anchor, position),
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = Scalar {
                    text: text.into_owned(),
                    plain: style == ScalarStyle::Plain,
                    tag: tag.map(|tag: Cow<'_, Tag>| tag.suffix.clone()),
                };
                self.spend(1, scalar.text.len(), position)?;
                self.complete(Node { position, kind: Kind::Scalar(scalar) }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.open(Content::Sequence(Vec::new()), anchor, position),
            Event::MappingStart(anchor, _) => self.open(Content::Mapping(Mapping::default()), anchor, position),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    fn document(&mut self, position: Position) -> Result<(), Stop> {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        let message = "a second YAML document starts inside of this one";
        Err(stop(position, message, "separate documents by a line that holds `---` and nothing else but a comment"))
    }

    fn open(&mut self, content: Content, anchor: usize, position: Position) -> Result<(), Stop> {
        self.spend(1, 0, position)?;
        if self.frames.len() >= DEPTH {
            return Err(too_deep(position));
        }
        if anchor > 0 {
            self.open_anchors.insert(anchor);
        }
        self.frames.push(Frame { position, anchor, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Stop> {
        let Some(Frame { position, anchor, content }) = self.frames.pop() else { return Ok(()) };
        self.open_anchors.remove(&anchor);
        let kind = match content {
            Content::Sequence(items) => Kind::Sequence(items),
            Content::Mapping(mapping) => Kind::Mapping(self.merge(mapping)?),
        };
        self.complete(Node { position, kind }, anchor)
    }

    fn alias(&mut self, anchor: usize, position: Position) -> Result<(), Stop> {
        if self.open_anchors.contains(&anchor) {
            return Err(stop(position, "an alias stands inside of what it names", "write the value out"));
        }
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(stop(position, "this alias names no anchor", "write `&name` before the value it stands for"));
        };
        self.budget.take_copy(&node, self.frames.len(), position)?;
        // Problems in an alias are reported where its text stands: at the anchor.
        self.complete(Node::clone(&node), 0)
    }

    /// Puts a finished node where it belongs.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        if anchor > 0 {
            self.budget.take_copy(&node, self.frames.len(), node.position)?;
            self.anchors.insert(anchor, Rc::new(node.clone()));
        }
        match self.frames.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(Content::Sequence(items)) => items.push(node),
            Some(Content::Mapping(mapping)) => match std::mem::take(&mut mapping.key) {
                Key::None => mapping.key = key(node, &mut mapping.seen, self.problems),
                Key::Text(key, position) => mapping.entries.push(entry(key, position, node)),
                Key::Merge => mapping.merged.push(node),
                Key::Refused => {}
            },
        }
        Ok(())
    }

    /// The entries of a finished mapping, with what `<<` brings: what is written in the mapping itself wins, then
    /// what was merged first.
    fn merge(&mut self, mapping: Mapping) -> Result<Vec<Entry>, Stop> {
        let Mapping { mut entries, mut seen, merged, .. } = mapping;
        for node in merged {
            let sources = match node.kind {
                Kind::Sequence(items) => items,
                Kind::Mapping(_) | Kind::Scalar(_) => vec![node],
            };
            for source in sources {
                match source.kind {
                    Kind::Mapping(brought) => {
                        for entry in brought {
                            if !seen.contains_key(&entry.key) {
                                seen.insert(entry.key.clone(), entry.position);
                                entries.push(entry);
                            }
                        }
                    }
                    Kind::Scalar(_) if source.is_null() => {}
                    Kind::Scalar(_) | Kind::Sequence(_) => self.problems.push(*stop(
                        source.position,
                        format!("`<<` merges mappings, not {}", source.describe()),
                        "write `<<: *name`, where `name` is the anchor of a mapping",
                    )),
                }
            }
        }
        Ok(entries)
    }

    fn spend(&mut self, nodes: usize, bytes: usize, position: Position) -> Result<(), Stop> {
        if self.budget.take(nodes, bytes) { Ok(()) } else { Err(too_much(position)) }
    }
}

/// What the parser found wrong, in our words where its own do not help.
fn syntax(error: &ScanError, open: Option<Position>, text: &str, first_line: u32) -> Stop {
    let info = error.info();
    let marker = *error.marker();
    let position = position(marker, first_line);
    if info.contains("recursion limit") {
        return too_deep(position);
    }
    let line = text.lines().nth(marker.line().max(1) - 1).unwrap_or_default();
    if let Some(open) = open.filter(|_| line.is_empty() && marker.line() > text.lines().count()) {
        // At the end of the text there is nothing to point at; what is open begins where the mistake is.
        let message = "this is not valid YAML: the list or mapping that begins here is not closed";
        return stop(open, message, "check that every quote and bracket is closed");
    }
    if let Some(character) = info.strip_prefix("unexpected character: `").and_then(|rest| rest.chars().next()) {
        let message = format!("this is not valid YAML: a value cannot begin with `{character}`");
        return stop(position, message, "put the value between quotes");
    }
    stop(position, format!("this is not valid YAML: {info}"), syntax_hint(info, line))
}

/// What to do about a text that is no YAML because of `info`, found in `line`.
fn syntax_hint(info: &str, line: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|word| info.contains(word));
    if line.contains("{{") {
        "this looks like a template that was not rendered; put it between quotes if it is meant as text"
    } else if says(&["unknown anchor"]) {
        "write `&NAME` before the value that `*NAME` stands for; put a text that begins with `*` between quotes"
    } else if says(&["mapping values are not allowed"]) {
        "quote a value that holds `: `, and check the indentation"
    } else if says(&["unprintable", "control character"]) {
        "remove the character, or write it as an escape in double quotes"
    } else if says(&["escape"]) {
        "in double quotes a backslash begins an escape: write two of them, or use single quotes"
    } else if says(&["tab"]) {
        "indent by spaces"
    } else if says(&["flow sequence", "flow mapping"]) {
        "check that every quote and bracket is closed, and that entries are separated by commas"
    } else if says(&["unexpected end", "quoted"]) {
        "check that every quote and bracket is closed"
    } else if says(&["could not find expected ':'", "simple key"]) {
        "every line of a mapping is `key: value`; quote values that begin with a special character"
    } else {
        "check the indentation, and quote values that begin with or hold special characters"
    }
}

fn position(marker: Marker, first_line: u32) -> Position {
    let line = u32::try_from(marker.line().max(1) - 1).unwrap_or(u32::MAX);
    let column = u32::try_from(marker.col() + 1).unwrap_or(u32::MAX);
    Position { line: line.saturating_add(first_line), column }
}

fn too_deep(position: Position) -> Stop {
    let message = format!("lists and mappings are nested more than {DEPTH} deep");
    stop(position, message, "a configuration needs ten levels at most; check the indentation")
}

/// Takes `node` as the key of the next value.
fn key(node: Node, seen: &mut HashMap<String, Position>, problems: &mut Vec<Problem>) -> Key {
    let Node { position, kind } = node;
    let Kind::Scalar(scalar) = kind else {
        let hint = "quote it, if it is meant as text; templates that were not rendered look like this: `{{ … }}`";
        problems.push(*stop(position, "a key must be a plain word, not a list or mapping", hint));
        return Key::Refused;
    };
    if scalar.plain && scalar.text == "<<" {
        return Key::Merge;
    }
    if let Some(first) = seen.get(&scalar.text) {
        let message = format!("duplicate key `{}`", shorten(&scalar.text));
        let place = if first.line == position.line {
            format!("in column {} of this line", first.column)
        } else {
            format!("in line {}", first.line)
        };
        problems.push(*stop(position, message, format!("it stands {place} already; keep one")));
        return Key::Refused;
    }
    seen.insert(scalar.text.clone(), position);
    Key::Text(scalar.text, position)
}

/// A key with its value; an absent value stands where its key does.
fn entry(key: String, position: Position, mut value: Node) -> Entry {
    if matches!(&value.kind, Kind::Scalar(scalar) if scalar.plain && scalar.text.is_empty()) {
        value.position = position;
    }
    Entry { key, position, value }
}

/// At most 60 characters of `text`, for messages.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn too_much(position: Position) -> Stop {
    let message = format!(
        "the configuration is too large: more than {NODES} values or {} MiB of text, aliases counted as often as they are used",
        BYTES >> 20
    );
    stop(position, message, "use fewer aliases, or split the project")
}

fn stop(position: Position, message: impl Into<String>, hint: impl Into<String>) -> Stop {
    Box::new(Problem::new(Some(position), message, hint))
}
