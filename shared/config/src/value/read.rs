//! Reading: events → a tree with shared parts for aliases → values.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    rc::Rc,
};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use super::{BYTES, DEPTH, VALUES, YamlError, YamlValue, scalar};
use crate::yaml::{TAB_REPAIRS, repair_tab, tab};

/// Reads the first document of `text` as a mapping whose own keys are texts, as yaml.v2 reads one into
/// `map[string]interface{}`: keys further in are of any type. A text without content is an empty mapping.
///
/// # Errors
/// [`YamlError`] for a text that is no YAML, or no mapping.
pub fn read_mapping(text: &str) -> Result<Vec<(YamlValue, YamlValue)>, YamlError> {
    let root = document(text)?;
    let Some(root) = root else { return Ok(Vec::new()) };
    let mut decoder = Decoder { values: 0, bytes: 0, faults: Vec::new() };
    let entries = decoder.root(&root)?;
    if decoder.faults.is_empty() {
        return Ok(entries);
    }
    Err(YamlError(format!("unmarshal errors:\n  {}", decoder.faults.join("\n  "))))
}

/// The first document, read again after each tab that the parser does not take where YAML allows one.
fn document(text: &str) -> Result<Option<Rc<Node>>, YamlError> {
    let mut text = Cow::Borrowed(text);
    let mut repairs = 0;
    loop {
        let error = match tree(&text) {
            Ok(root) => return Ok(root),
            Err(Failure::Stop(error)) => return Err(error),
            Err(Failure::Scan(error)) => error,
        };
        repairs += 1;
        let repaired = repairs <= TAB_REPAIRS && tab(&error).is_some_and(|marker| repair_tab(&mut text, marker));
        if !repaired {
            return Err(YamlError(format!("line {}: {}", error.marker().line(), error.info())));
        }
    }
}

/// Why the events ended early.
enum Failure {
    Scan(ScanError),
    Stop(YamlError),
}

struct Node {
    line: usize,
    kind: Kind,
}

enum Kind {
    Scalar { text: String, plain: bool, tag: Option<String> },
    List(Vec<Rc<Node>>),
    Mapping(Vec<(Rc<Node>, Rc<Node>)>),
}

/// A list or mapping that is being filled; for a mapping keys and values by turns.
struct Frame {
    line: usize,
    anchor: usize,
    is_mapping: bool,
    items: Vec<Rc<Node>>,
}

/// The first document.
fn tree(text: &str) -> Result<Option<Rc<Node>>, Failure> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut anchors: HashMap<usize, Rc<Node>> = HashMap::new();
    let mut open: HashSet<usize> = HashSet::new();
    let stop = |message: String| Err(Failure::Stop(YamlError(message)));
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(Failure::Scan)?;
        let line = span.start.line();
        let (node, anchor) = match event {
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => continue,
            Event::StreamEnd | Event::DocumentEnd => return Ok(None),
            Event::Alias(anchor) if open.contains(&anchor) => {
                return stop(format!("line {line}: an anchor's value contains itself"));
            }
            Event::Alias(anchor) => match anchors.get(&anchor) {
                Some(node) => (Rc::clone(node), 0),
                None => return stop(format!("line {line}: unknown anchor referenced")),
            },
            Event::Scalar(text, style, anchor, tag) => {
                let kind = Kind::Scalar {
                    text: text.into_owned(),
                    plain: style == ScalarStyle::Plain,
                    tag: tag.map(|tag: Cow<'_, Tag>| own_tag(&tag)),
                };
                (Rc::new(Node { line, kind }), anchor)
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                if frames.len() >= DEPTH {
                    return stop(format!("line {line}: nested more than {DEPTH} deep"));
                }
                open.insert(anchor);
                let is_mapping = matches!(event, Event::MappingStart(..));
                frames.push(Frame { line, anchor, is_mapping, items: Vec::new() });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match frames.pop() {
                Some(frame) => {
                    open.remove(&frame.anchor);
                    (Rc::new(Node { line: frame.line, kind: closed(frame.is_mapping, frame.items) }), frame.anchor)
                }
                None => continue,
            },
        };
        if anchor > 0 {
            anchors.insert(anchor, Rc::clone(&node));
        }
        match frames.last_mut() {
            Some(frame) => frame.items.push(node),
            None => return Ok(Some(node)),
        }
    }
    Ok(None)
}

fn closed(is_mapping: bool, items: Vec<Rc<Node>>) -> Kind {
    if !is_mapping {
        return Kind::List(items);
    }
    let mut items = items.into_iter();
    let mut entries = Vec::with_capacity(items.len() / 2);
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        entries.push((key, value));
    }
    Kind::Mapping(entries)
}

/// The name of a tag of YAML itself; another one as it is written, so that it is none of those.
fn own_tag(tag: &Tag) -> String {
    let own = tag.handle == "tag:yaml.org,2002:" || tag.handle == "!!";
    if own { tag.suffix.clone() } else { format!("{}{}", tag.handle, tag.suffix) }
}

struct Decoder {
    values: usize,
    bytes: usize,
    /// Values of the wrong type, each with its line.
    faults: Vec<String>,
}

impl Decoder {
    fn root(&mut self, node: &Node) -> Result<Vec<(YamlValue, YamlValue)>, YamlError> {
        let shown = match &node.kind {
            Kind::Mapping(entries) => {
                let mut out = Vec::with_capacity(entries.len());
                self.entries(entries, true, &mut out, 0)?;
                return Ok(out);
            }
            Kind::List(_) => "!!seq".to_owned(),
            Kind::Scalar { text, plain, tag } => match self.scalar(text, *plain, tag.as_deref())? {
                YamlValue::Null => return Ok(Vec::new()),
                value => format!("{} `{}`", tag_of(&value), cut(text)),
            },
        };
        self.faults.push(format!("line {}: cannot unmarshal {shown} into map[string]interface {{}}", node.line));
        Ok(Vec::new())
    }

    fn entries(
        &mut self,
        entries: &[(Rc<Node>, Rc<Node>)],
        text_keys: bool,
        out: &mut Vec<(YamlValue, YamlValue)>,
        depth: usize,
    ) -> Result<(), YamlError> {
        for (key, value) in entries {
            if is_merge(key) {
                self.merge(value, text_keys, out, depth)?;
            } else if let Some(key) = self.key(key, text_keys, depth)? {
                let value = self.value(value, depth + 1)?;
                out.push((key, value));
            }
        }
        Ok(())
    }

    /// A key; `None` when it is of the wrong type.
    fn key(&mut self, node: &Node, text_keys: bool, depth: usize) -> Result<Option<YamlValue>, YamlError> {
        let tag = match &node.kind {
            Kind::Scalar { text, plain, tag } => {
                let value = self.scalar(text, *plain, tag.as_deref())?;
                return Ok(Some(match value {
                    YamlValue::Text(_) => value,
                    YamlValue::Null if text_keys => YamlValue::Text(Vec::new()),
                    _ if text_keys => YamlValue::Text(text.as_bytes().to_vec()),
                    other => other,
                }));
            }
            Kind::List(_) => "!!seq",
            Kind::Mapping(_) => "!!map",
        };
        if text_keys {
            self.faults.push(format!("line {}: cannot unmarshal {tag} into string", node.line));
            return Ok(None);
        }
        self.value(node, depth + 1)?;
        Err(YamlError(format!("invalid map key: line {} has {tag} as a key", node.line)))
    }

    /// Puts the entries of merged mappings in the place of `<<`: what stands further down in the text wins.
    fn merge(
        &mut self,
        node: &Node,
        text_keys: bool,
        out: &mut Vec<(YamlValue, YamlValue)>,
        depth: usize,
    ) -> Result<(), YamlError> {
        let wrong = || YamlError("map merge requires map or sequence of maps as the value".to_owned());
        self.count(0)?;
        match &node.kind {
            Kind::Mapping(entries) if depth < DEPTH => self.entries(entries, text_keys, out, depth + 1),
            Kind::List(items) if items.iter().all(|item| matches!(item.kind, Kind::Mapping(_))) => {
                items.iter().rev().try_for_each(|item| self.merge(item, text_keys, out, depth + 1))
            }
            Kind::Mapping(_) | Kind::List(_) | Kind::Scalar { .. } => Err(wrong()),
        }
    }

    fn value(&mut self, node: &Node, depth: usize) -> Result<YamlValue, YamlError> {
        if depth > DEPTH {
            return Err(YamlError(format!("line {}: nested more than {DEPTH} deep", node.line)));
        }
        match &node.kind {
            Kind::Scalar { text, plain, tag } => self.scalar(text, *plain, tag.as_deref()),
            Kind::List(items) => {
                self.count(0)?;
                items.iter().map(|item| self.value(item, depth + 1)).collect::<Result<_, _>>().map(YamlValue::List)
            }
            Kind::Mapping(entries) => {
                self.count(0)?;
                let mut out = Vec::with_capacity(entries.len());
                self.entries(entries, false, &mut out, depth)?;
                Ok(YamlValue::Mapping(out))
            }
        }
    }

    fn scalar(&mut self, text: &str, plain: bool, tag: Option<&str>) -> Result<YamlValue, YamlError> {
        self.count(text.len())?;
        match tag {
            Some(tag) => scalar::tagged(tag, text),
            None if plain => Ok(scalar::plain(text)),
            None => Ok(YamlValue::Text(text.as_bytes().to_vec())),
        }
    }

    fn count(&mut self, bytes: usize) -> Result<(), YamlError> {
        self.values += 1;
        self.bytes += bytes;
        if self.values > VALUES || self.bytes > BYTES {
            return Err(YamlError("document contains excessive aliasing, or too many values".to_owned()));
        }
        Ok(())
    }
}

fn is_merge(key: &Node) -> bool {
    match &key.kind {
        Kind::Scalar { text, plain, tag } => text == "<<" && tag.as_deref().map_or(*plain, |tag| tag == "merge"),
        Kind::List(_) | Kind::Mapping(_) => false,
    }
}

fn tag_of(value: &YamlValue) -> &'static str {
    match value {
        YamlValue::Null => "!!null",
        YamlValue::Bool(_) => "!!bool",
        YamlValue::Int(_) | YamlValue::Uint(_) => "!!int",
        YamlValue::Float(_) => "!!float",
        YamlValue::Text(_) => "!!str",
        YamlValue::List(_) => "!!seq",
        YamlValue::Mapping(_) => "!!map",
    }
}

/// A text as yaml.v2's errors quote it.
fn cut(text: &str) -> String {
    if text.len() <= 10 {
        return text.to_owned();
    }
    let end = (0..=7).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}...", &text[..end])
}
