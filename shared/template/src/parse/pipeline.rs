//! Pipelines: declarations, commands, operands.

use std::sync::Arc;

use super::number::Number;
use super::tree::{Callee, Command, Declared, Operand, Pipe, Term};
use super::{Parsed, Parser};
use crate::builtins;
use crate::format::quote::unquote;
use crate::lex::{Keyword, Token, TokenKind};
use crate::value::GoString;

/// Declarations, then commands up to the `end` token.
pub(super) fn pipeline(parser: &mut Parser<'_>, context: &str, end: TokenKind) -> Parsed<Pipe> {
    let position = parser.peek_word().position;
    let mut pipe = Pipe { position, assigns: false, variables: Vec::new(), commands: Vec::new() };
    while declaration(parser, &mut pipe, context)? {}
    loop {
        let token = parser.next_word();
        if token.kind == end {
            check(parser, &pipe, context)?;
            return Ok(pipe);
        }
        if !begins_operand(token.kind) {
            return Err(parser.unexpected(&token, context));
        }
        parser.back();
        pipe.commands.push(command(parser)?);
    }
}

fn begins_operand(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Bool
            | TokenKind::CharConstant
            | TokenKind::Complex
            | TokenKind::Field
            | TokenKind::Identifier
            | TokenKind::Number
            | TokenKind::RawString
            | TokenKind::String
            | TokenKind::Variable
            | TokenKind::LeftParen
            | TokenKind::Keyword(Keyword::Dot | Keyword::Nil)
    )
}

/// Reads `$x :=`, `$x =` or the `$i,` of a range; whether another variable may follow.
fn declaration(parser: &mut Parser<'_>, pipe: &mut Pipe, context: &str) -> Parsed<bool> {
    let variable = parser.peek_word();
    if variable.kind != TokenKind::Variable {
        return Ok(false);
    }
    parser.next();
    // A space counts here: `$x foo` and `$x` are told from `$x :=` by up to three tokens.
    let adjacent = parser.peek();
    let next = parser.peek_word();
    match next.kind {
        TokenKind::Assign | TokenKind::Declare => {
            pipe.assigns = next.kind == TokenKind::Assign;
            parser.next_word();
            declare(parser, pipe, &variable);
        }
        TokenKind::Char if next.text == "," => {
            parser.next_word();
            declare(parser, pipe, &variable);
            if context != "range" || pipe.variables.len() >= 2 {
                return Err(parser.error(format!("too many declarations in {context}")));
            }
            return match parser.peek_word().kind {
                TokenKind::Variable | TokenKind::RightDelimiter | TokenKind::RightParen => Ok(true),
                _ => Err(parser.error("range can only initialize variables")),
            };
        }
        _ if adjacent.kind == TokenKind::Space => parser.back_three(variable, adjacent),
        _ => parser.back_two(variable),
    }
    Ok(false)
}

fn declare(parser: &mut Parser<'_>, pipe: &mut Pipe, variable: &Token<'_>) {
    let name: Arc<str> = variable.text.as_ref().into();
    pipe.variables.push(Declared { id: parser.variable_id(&name), name: Arc::clone(&name) });
    parser.scope.push(name);
}

fn check(parser: &Parser<'_>, pipe: &Pipe, context: &str) -> Parsed<()> {
    if pipe.commands.is_empty() {
        return Err(parser.error(format!("missing value for {context}")));
    }
    for (index, command) in pipe.commands.iter().enumerate().skip(1) {
        let first = command.words.first().map(|word| &word.term);
        if matches!(first, Some(Term::Bool(_) | Term::Dot | Term::Nil | Term::Number(_) | Term::String(..))) {
            return Err(parser.error(format!("non executable command in pipeline stage {}", index + 1)));
        }
    }
    Ok(())
}

/// Operands up to a pipe symbol, which is passed, or to what ends the pipeline, which is not.
fn command(parser: &mut Parser<'_>) -> Parsed<Command> {
    let mut command = Command { position: parser.peek_word().position, words: Vec::new() };
    loop {
        parser.peek_word();
        command.words.extend(operand(parser)?);
        let token = parser.next();
        match token.kind {
            TokenKind::Space => continue,
            TokenKind::RightDelimiter | TokenKind::RightParen => parser.back(),
            TokenKind::Pipe => {}
            _ => return Err(parser.unexpected(&token, "operand")),
        }
        break;
    }
    if command.words.is_empty() {
        return Err(parser.error("empty command"));
    }
    Ok(command)
}

/// A term and the fields after it.
fn operand(parser: &mut Parser<'_>) -> Parsed<Option<Operand>> {
    let Some(operand) = term(parser)? else { return Ok(None) };
    let first = parser.peek();
    if first.kind != TokenKind::Field {
        return Ok(Some(operand));
    }
    let mut fields: Vec<Arc<str>> = Vec::new();
    while parser.peek().kind == TokenKind::Field {
        fields.push(parser.next().text[1..].into());
    }
    let written = operand.to_string();
    let position = first.position;
    let term = match operand.term {
        Term::Field(mut names) => {
            names.append(&mut fields);
            Term::Field(names)
        }
        Term::Variable(id, name, mut names) => {
            names.append(&mut fields);
            Term::Variable(id, name, names)
        }
        Term::Bool(_) | Term::String(..) | Term::Number(_) | Term::Nil | Term::Dot => {
            return Err(parser.error(format!("unexpected . after term {}", crate::error::quoted(&written))));
        }
        Term::Chain(..) | Term::Function(..) | Term::Pipe(_) => Term::Chain(Box::new(operand), fields),
    };
    Ok(Some(Operand { position, term }))
}

/// A literal, a name or a parenthesised pipeline; `None`, and nothing read, when there is none.
fn term(parser: &mut Parser<'_>) -> Parsed<Option<Operand>> {
    let token = parser.next_word();
    let term = match token.kind {
        TokenKind::Identifier => function(parser, &token)?,
        TokenKind::Keyword(Keyword::Dot) => Term::Dot,
        TokenKind::Keyword(Keyword::Nil) => Term::Nil,
        TokenKind::Variable => variable(parser, &token)?,
        TokenKind::Field => Term::Field(vec![token.text[1..].into()]),
        TokenKind::Bool => Term::Bool(token.text == "true"),
        TokenKind::CharConstant | TokenKind::Complex | TokenKind::Number => {
            Term::Number(Number::parse(&token.text, token.kind).map_err(|message| parser.error(message))?)
        }
        TokenKind::LeftParen => {
            let inner = parser.nested(|parser| pipeline(parser, "parenthesized pipeline", TokenKind::RightParen))?;
            let position = inner.position;
            return Ok(Some(Operand { position, term: Term::Pipe(Box::new(inner)) }));
        }
        TokenKind::String | TokenKind::RawString => {
            let value = unquote(token.text.as_bytes()).ok_or_else(|| parser.error("invalid syntax"))?;
            Term::String(token.text.as_ref().into(), GoString::from(value))
        }
        _ => {
            parser.back();
            return Ok(None);
        }
    };
    Ok(Some(Operand { position: token.position, term }))
}

fn function(parser: &Parser<'_>, token: &Token<'_>) -> Parsed<Term> {
    let name = token.text.as_ref();
    let callee = match parser.functions.get(name) {
        Some(function) => Some(Callee::Function(Arc::clone(function))),
        None => builtins::find(name),
    };
    match callee {
        Some(callee) => Ok(Term::Function(name.into(), callee)),
        None => Err(parser.error(format!("function {} not defined", crate::error::quoted(name)))),
    }
}

fn variable(parser: &mut Parser<'_>, token: &Token<'_>) -> Parsed<Term> {
    let name: Arc<str> = token.text.as_ref().into();
    if !parser.scope.has(&name) {
        return Err(parser.error(format!("undefined variable {}", crate::error::quoted(&name))));
    }
    Ok(Term::Variable(parser.variable_id(&name), name, Vec::new()))
}
