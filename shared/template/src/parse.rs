//! Parses the text of a template file into trees: one for the file, one for each definition in it.
//!
//! What Go refuses when it parses is refused here, with Go's words.

mod number;
mod pipeline;
mod tokens;
pub(crate) mod tree;

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::TemplateError;
use crate::format::quote::unquote;
use crate::function::Functions;
use crate::lex::{Keyword, Lexer, LexerOptions, Token, TokenKind};
use tree::{Branch, DOLLAR, List, Node, Pipe, Range, Source, TemplateCall, Tree, VariableId, is_empty};

/// How deep actions and parentheses may be nested.
pub(crate) const NESTING: usize = 250;

pub(crate) type Parsed<T> = Result<T, TemplateError>;

/// Parses `text` under a name, from a file where that is called otherwise. The tree of the file comes last, after its
/// definitions.
pub(crate) fn parse((name, file): (&str, Option<&str>), text: &str, functions: &Functions) -> Parsed<Vec<Arc<Tree>>> {
    let options = LexerOptions {
        break_is_function: functions.contains("break"),
        continue_is_function: functions.contains("continue"),
    };
    let mut parser = Parser {
        source: Arc::new(Source::new((name, file), text)),
        lexer: Lexer::new(text, options),
        functions,
        tokens: [const { None }; 3],
        ahead: 0,
        scope: Scope::new(),
        ids: HashMap::new(),
        depth: 0,
        trees: Vec::new(),
        by_name: HashMap::new(),
    };
    let root = parser.file()?;
    parser.add(name.into(), root)?;
    Ok(parser.trees)
}

struct Parser<'a> {
    source: Arc<Source>,
    lexer: Lexer<'a>,
    functions: &'a Functions,
    /// The last token read is the first one; those that were put back follow it.
    tokens: [Option<Token<'a>>; 3],
    /// How many of them are yet to be read again.
    ahead: usize,
    scope: Scope,
    ids: HashMap<Arc<str>, VariableId>,
    depth: usize,
    trees: Vec<Arc<Tree>>,
    by_name: HashMap<Arc<str>, usize>,
}

/// What begins anew in each definition.
struct Scope {
    /// Variables in scope, by their names.
    variables: Vec<Arc<str>>,
    /// How often each of them is in scope.
    counts: HashMap<Arc<str>, usize>,
    range_depth: usize,
    /// The line of the action being read; 0 outside.
    action_line: usize,
}

impl Scope {
    fn new() -> Scope {
        let dollar: Arc<str> = "$".into();
        Scope {
            variables: vec![Arc::clone(&dollar)],
            counts: HashMap::from([(dollar, 1)]),
            range_depth: 0,
            action_line: 0,
        }
    }

    fn push(&mut self, name: Arc<str>) {
        *self.counts.entry(Arc::clone(&name)).or_default() += 1;
        self.variables.push(name);
    }

    fn truncate(&mut self, length: usize) {
        for name in self.variables.drain(length..) {
            if let Some(count) = self.counts.get_mut(&name) {
                *count -= 1;
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.counts.get(name).is_some_and(|count| *count > 0)
    }
}

/// How a list of parts ended.
enum Ending {
    End,
    /// `{{else}}`, or with the word that follows it at once still to be read.
    Else,
}

impl Ending {
    fn text(&self) -> &'static str {
        match self {
            Ending::End => "{{end}}",
            Ending::Else => "{{else}}",
        }
    }
}

/// One part, or what ends a list of them.
enum Part {
    Node(Node),
    Ending(Ending),
}

impl<'a> Parser<'a> {
    fn file(&mut self) -> Parsed<List> {
        let mut list = List::new();
        loop {
            let token = self.peek();
            if token.kind == TokenKind::End {
                return Ok(list);
            }
            if token.kind == TokenKind::LeftDelimiter {
                let delimiter = self.next();
                if self.next_word().kind == TokenKind::Keyword(Keyword::Define) {
                    self.definition()?;
                    continue;
                }
                self.back_two(delimiter);
            }
            match self.part()? {
                Part::Node(node) => list.push(node),
                Part::Ending(ending) => return Err(self.error(format!("unexpected {}", ending.text()))),
            }
        }
    }

    /// `{{define "name"}} … {{end}}`; the word is past.
    fn definition(&mut self) -> Parsed<()> {
        const CONTEXT: &str = "define clause";
        let outer = std::mem::replace(&mut self.scope, Scope::new());
        let token = self.next_word();
        let name = self.template_name(&token, CONTEXT)?;
        self.expect(TokenKind::RightDelimiter, CONTEXT)?;
        let (list, ending) = self.list()?;
        if let Ending::Else = ending {
            return Err(self.error(format!("unexpected {} in {CONTEXT}", ending.text())));
        }
        self.scope = outer;
        self.add(name, list)
    }

    /// Adds a tree; one that is all space does not count as a definition.
    fn add(&mut self, name: Arc<str>, root: List) -> Parsed<()> {
        let tree = Arc::new(Tree { name: Arc::clone(&name), source: Arc::clone(&self.source), root });
        match self.by_name.get(&name).copied() {
            None => {
                self.by_name.insert(name, self.trees.len());
                self.trees.push(tree);
            }
            Some(index) if is_empty(&self.trees[index].root, &self.source) => self.trees[index] = tree,
            Some(_) if is_empty(&tree.root, &self.source) => {}
            Some(_) => {
                let name = crate::error::quoted(&name);
                return Err(self.error(format!("template: multiple definition of template {name}")));
            }
        }
        Ok(())
    }

    fn list(&mut self) -> Parsed<(List, Ending)> {
        let mut list = List::new();
        while self.peek_word().kind != TokenKind::End {
            match self.part()? {
                Part::Node(node) => list.push(node),
                Part::Ending(ending) => return Ok((list, ending)),
            }
        }
        Err(self.error("unexpected EOF"))
    }

    fn part(&mut self) -> Parsed<Part> {
        let token = self.next_word();
        match token.kind {
            TokenKind::Text => {
                let end = token.position + token.text.len();
                Ok(Part::Node(Node::Text { start: token.position, end }))
            }
            TokenKind::LeftDelimiter => {
                self.scope.action_line = token.line;
                let part = self.action()?;
                self.scope.action_line = 0;
                Ok(part)
            }
            _ => Err(self.unexpected(&token, "input")),
        }
    }

    fn action(&mut self) -> Parsed<Part> {
        let token = self.next_word();
        let TokenKind::Keyword(keyword) = token.kind else { return self.plain_action() };
        match keyword {
            Keyword::Block => self.nested(Self::block).map(Part::Node),
            Keyword::Break | Keyword::Continue => self.leap(keyword).map(Part::Node),
            Keyword::Else => self.otherwise(),
            Keyword::End => {
                self.expect(TokenKind::RightDelimiter, "end")?;
                Ok(Part::Ending(Ending::End))
            }
            Keyword::If => self.nested(|parser| parser.branch(Keyword::If, "if")).map(Part::Node),
            Keyword::With => self.nested(|parser| parser.branch(Keyword::With, "with")).map(Part::Node),
            Keyword::Range => self.nested(Self::range).map(Part::Node),
            Keyword::Template => self.template().map(Part::Node),
            Keyword::Dot | Keyword::Nil | Keyword::Define => self.plain_action(),
        }
    }

    fn plain_action(&mut self) -> Parsed<Part> {
        self.back();
        let position = self.peek().position;
        let pipe = self.pipeline("command", TokenKind::RightDelimiter)?;
        Ok(Part::Node(Node::Action { position, pipe }))
    }

    fn leap(&mut self, keyword: Keyword) -> Parsed<Node> {
        let (text, node) = match keyword {
            Keyword::Break => ("{{break}}", Node::Break),
            _ => ("{{continue}}", Node::Continue),
        };
        self.expect(TokenKind::RightDelimiter, text)?;
        if self.scope.range_depth == 0 {
            return Err(self.error(format!("{text} outside {{{{range}}}}")));
        }
        Ok(node)
    }

    fn otherwise(&mut self) -> Parsed<Part> {
        let next = self.peek_word().kind;
        if next != TokenKind::Keyword(Keyword::If) && next != TokenKind::Keyword(Keyword::With) {
            self.expect(TokenKind::RightDelimiter, "else")?;
        }
        Ok(Part::Ending(Ending::Else))
    }

    fn branch(&mut self, keyword: Keyword, context: &str) -> Parsed<Node> {
        let outer = self.scope.variables.len();
        let (mut arms, mut otherwise) = (Vec::new(), None);
        loop {
            let pipe = self.pipeline(context, TokenKind::RightDelimiter)?;
            let (list, ending) = self.list()?;
            arms.push((pipe, list));
            if let Ending::End = ending {
                break;
            }
            if self.peek().kind == TokenKind::Keyword(keyword) {
                // `{{else if}}`: what the former arms declared stays in scope, as if this one were nested in them.
                self.next();
                continue;
            }
            otherwise = Some(self.last_list()?);
            break;
        }
        self.scope.truncate(outer);
        Ok(Node::Branch(Branch { sets_dot: keyword == Keyword::With, arms, otherwise }))
    }

    fn range(&mut self) -> Parsed<Node> {
        let outer = self.scope.variables.len();
        let pipe = self.pipeline("range", TokenKind::RightDelimiter)?;
        self.scope.range_depth += 1;
        let (body, ending) = self.list()?;
        self.scope.range_depth -= 1;
        let otherwise = match ending {
            Ending::End => None,
            Ending::Else => Some(self.last_list()?),
        };
        self.scope.truncate(outer);
        Ok(Node::Range(Range { pipe, body, otherwise }))
    }

    /// What follows `{{else}}`, up to `{{end}}`.
    fn last_list(&mut self) -> Parsed<List> {
        match self.list()? {
            (list, Ending::End) => Ok(list),
            (_, ending) => Err(self.error(format!("expected end; found {}", ending.text()))),
        }
    }

    /// `{{block "name" pipeline}} … {{end}}`: a definition and a call of it.
    fn block(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "block clause";
        let token = self.next_word();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, TokenKind::RightDelimiter)?;
        let outer = std::mem::replace(&mut self.scope, Scope::new());
        let outer_tokens = self.tokens.clone();
        let (list, ending) = self.list()?;
        self.scope = outer;
        self.tokens = outer_tokens;
        if let Ending::Else = ending {
            return Err(self.error(format!("unexpected {} in {CONTEXT}", ending.text())));
        }
        self.add(Arc::clone(&name), list)?;
        Ok(Node::Template(TemplateCall { position: token.position, name, pipe: Some(pipe) }))
    }

    fn template(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "template clause";
        let token = self.next_word();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = if self.next_word().kind == TokenKind::RightDelimiter {
            None
        } else {
            self.back();
            Some(self.pipeline(CONTEXT, TokenKind::RightDelimiter)?)
        };
        Ok(Node::Template(TemplateCall { position: token.position, name, pipe }))
    }

    fn template_name(&mut self, token: &Token<'a>, context: &str) -> Parsed<Arc<str>> {
        if !matches!(token.kind, TokenKind::String | TokenKind::RawString) {
            return Err(self.unexpected(token, context));
        }
        let bytes = unquote(token.text.as_bytes()).ok_or_else(|| self.error("invalid syntax"))?;
        Ok(String::from_utf8_lossy(&bytes).into())
    }

    /// The number of a variable's name in this file.
    fn variable_id(&mut self, name: &Arc<str>) -> VariableId {
        if &**name == "$" {
            return DOLLAR;
        }
        let next = VariableId::try_from(self.ids.len() + 1).unwrap_or(VariableId::MAX);
        *self.ids.entry(Arc::clone(name)).or_insert(next)
    }

    fn pipeline(&mut self, context: &str, end: TokenKind) -> Parsed<Pipe> {
        pipeline::pipeline(self, context, end)
    }
}
