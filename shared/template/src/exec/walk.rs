//! Walks the parts of a template and writes its output.

use super::place::Place;
use super::{Frame, Machine, Outcome, Slot};
use crate::format;
use crate::function::FunctionError;
use crate::limits::LimitError;
use crate::parse::tree::{Branch, List, Node, Pipe, Range, TemplateCall};
use crate::value::{Kind, Type, Value};

/// How a list of parts ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// At its end.
    Through,
    /// At `{{break}}`.
    Break,
    /// At `{{continue}}`.
    Continue,
}

impl Machine {
    /// Walks a list one level deeper.
    pub(super) fn walk<'t>(&mut self, frame: &mut Frame<'t>, dot: &Slot, list: &'t List) -> Outcome<Flow> {
        self.nested(frame, |machine, frame| {
            for node in list {
                let flow = machine.walk_node(frame, dot, node)?;
                if flow != Flow::Through {
                    return Ok(flow);
                }
            }
            Ok(Flow::Through)
        })
    }

    fn walk_node<'t>(&mut self, frame: &mut Frame<'t>, dot: &Slot, node: &'t Node) -> Outcome<Flow> {
        self.step(frame)?;
        match node {
            Node::Text { start, end } => {
                frame.at = Place::Text(*start);
                let text = &frame.tree.source.text[*start..*end];
                self.make_room(frame, text.len())?;
                self.output.write_text(&frame.tree.source, *start, text);
            }
            Node::Action { position, pipe } => {
                frame.at = Place::Action(*position);
                let value = self.pipeline(frame, dot, pipe)?;
                if pipe.variables.is_empty() {
                    self.print(frame, *position, &value)?;
                }
            }
            Node::Branch(branch) => return self.walk_branch(frame, dot, branch),
            Node::Range(range) => return self.walk_range(frame, dot, range),
            Node::Template(call) => self.walk_template(frame, dot, call)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Through)
    }

    fn walk_branch<'t>(&mut self, frame: &mut Frame<'t>, dot: &Slot, branch: &'t Branch) -> Outcome<Flow> {
        let mark = frame.variables.len();
        let result = self.walk_arms(frame, dot, branch);
        frame.variables.truncate(mark);
        result
    }

    fn walk_arms<'t>(&mut self, frame: &mut Frame<'t>, dot: &Slot, branch: &'t Branch) -> Outcome<Flow> {
        for (pipe, list) in &branch.arms {
            self.step(frame)?;
            let value = self.pipeline(frame, dot, pipe)?;
            if !value.truth() {
                continue;
            }
            return if branch.sets_dot {
                self.walk(frame, &Slot::plain(value), list)
            } else {
                self.walk(frame, dot, list)
            };
        }
        match &branch.otherwise {
            Some(list) => self.walk(frame, dot, list),
            None => Ok(Flow::Through),
        }
    }

    fn walk_range<'t>(&mut self, frame: &mut Frame<'t>, dot: &Slot, range: &'t Range) -> Outcome<Flow> {
        let mark = frame.variables.len();
        let result = match (self.iterate(frame, dot, range), &range.otherwise) {
            (Err(error), _) => Err(error),
            // What the pipeline declared is still in scope.
            (Ok(None), Some(list)) => self.walk(frame, dot, list),
            (Ok(_), _) => Ok(Flow::Through),
        };
        frame.variables.truncate(mark);
        result
    }

    /// Runs the body for each item; `None` when there was nothing to walk.
    fn iterate<'t>(&mut self, frame: &mut Frame<'t>, dot: &Slot, range: &'t Range) -> Outcome<Option<()>> {
        let value = self.pipeline(frame, dot, &range.pipe)?;
        let mark = frame.variables.len();
        let mut walked = None;
        let count = |number: i64| Slot::plain(Value::int(number));
        match &value {
            Value::NoValue | Value::Nil => {}
            Value::Int(..) | Value::Uint(..) if range.pipe.variables.len() > 1 => {
                let shown = shown(&value);
                return Err(frame.error(format!("can't use {shown} to iterate over more than one variable")));
            }
            Value::Int(end, kind) => {
                for number in 0..*end {
                    let item = Slot::plain(Value::Int(number, *kind));
                    walked = Some(());
                    if !self.iteration(frame, range, mark, (Slot::plain(Value::NoValue), item))? {
                        break;
                    }
                }
            }
            Value::Uint(end, kind) => {
                for number in 0..*end {
                    let item = Slot::plain(Value::Uint(number, *kind));
                    walked = Some(());
                    if !self.iteration(frame, range, mark, (Slot::plain(Value::NoValue), item))? {
                        break;
                    }
                }
            }
            Value::List(list) => {
                let boxed = *list.element_type() == Type::Any;
                for (index, item) in list.items().iter().enumerate() {
                    let item = Slot { value: item.clone(), boxed };
                    walked = Some(());
                    if !self.iteration(frame, range, mark, (count(index as i64), item))? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                let (boxed_key, boxed) = (*map.key_type() == Type::Any, *map.value_type() == Type::Any);
                for (key, item) in map.entries() {
                    let key = Slot { value: key.to_value(), boxed: boxed_key };
                    walked = Some(());
                    if !self.iteration(frame, range, mark, (key, Slot { value: item, boxed }))? {
                        break;
                    }
                }
            }
            Value::Bool(_)
            | Value::Float(..)
            | Value::Complex(..)
            | Value::String(_)
            | Value::Object(_)
            | Value::Function(_) => {
                return Err(frame.error(format!("range can't iterate over {}", shown(&value))));
            }
        }
        Ok(walked)
    }

    /// One iteration; whether to go on.
    fn iteration<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        range: &'t Range,
        mark: usize,
        (key, item): (Slot, Slot),
    ) -> Outcome<bool> {
        self.step(frame)?;
        let pipe: &Pipe = &range.pipe;
        let targets: &[(usize, &Slot)] = match pipe.variables.len() {
            0 => &[],
            1 => &[(0, &item)],
            _ => &[(0, &key), (1, &item)],
        };
        for (index, slot) in targets {
            let declared = &pipe.variables[*index];
            if pipe.assigns {
                self.assign(frame, declared, (*slot).clone())?;
            } else {
                // The pipeline pushed its variables last: they are on top, in their order.
                let place = mark + index - pipe.variables.len();
                frame.variables.set_at(place, (*slot).clone());
            }
        }
        let flow = self.walk(frame, &item, &range.body);
        frame.variables.truncate(mark);
        Ok(flow? != Flow::Break)
    }

    fn walk_template<'t>(&mut self, frame: &mut Frame<'t>, dot: &Slot, call: &'t TemplateCall) -> Outcome<()> {
        frame.at = Place::Template(call.position);
        let Some(tree) = self.templates.get(&call.name).cloned() else {
            return Err(frame.error(format!("template {} not defined", crate::error::quoted(&call.name))));
        };
        if self.depth >= self.meter.limits().depth {
            return Err(frame.limit(LimitError::Depth(self.meter.limits().depth)));
        }
        let data = match &call.pipe {
            Some(pipe) => self.pipeline(frame, dot, pipe)?,
            None => Value::NoValue,
        };
        self.execute_tree(&tree, data)
    }

    fn print(&mut self, frame: &mut Frame<'_>, position: usize, value: &Value) -> Outcome<()> {
        frame.at = Place::Action(position);
        if let Value::Function(function) = value {
            let action = super::place::error(frame.tree, frame.at, String::new());
            let context = match action {
                crate::error::TemplateError::Execution(error) => error.context,
                _ => String::new(),
            };
            return Err(frame.error(format!("can't print {context} of type {}", function.type_name())));
        }
        let limit = self.meter.limits().output_bytes;
        let room = limit.saturating_sub(self.output.len());
        let place = (&frame.tree.source, position);
        let written = self.output.write_action(place, value, &mut self.made, |bytes| match value {
            Value::NoValue | Value::Nil => format::append(bytes, &[Value::from("<no value>")], room),
            other => format::append_followed(bytes, other, room),
        });
        written.map_err(|error| match error {
            FunctionError::Limit(LimitError::Output(_)) => frame.limit(LimitError::Output(limit)),
            FunctionError::Limit(other) => frame.limit(other),
            other => frame.error(other.to_string()),
        })
    }

    fn make_room(&mut self, frame: &Frame<'_>, bytes: usize) -> Outcome<()> {
        let limit = self.meter.limits().output_bytes;
        if self.output.len().saturating_add(bytes) > limit {
            return Err(frame.limit(LimitError::Output(limit)));
        }
        Ok(())
    }
}

/// The value as `%v` shows it within an error.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(object) if object.kind() == Kind::Pointer && object.is_nil() => "<nil>".to_owned(),
        _ => match format::sprintf(b"%v", std::slice::from_ref(value)) {
            Ok(text) => text.to_string(),
            Err(error) => error.to_string(),
        },
    }
}
