//! The parser's look at its tokens: reading, putting back, and the errors about them.

use super::{NESTING, Parsed, Parser};
use crate::error::TemplateError;
use crate::lex::{Token, TokenKind};

impl<'a> Parser<'a> {
    pub(super) fn next(&mut self) -> Token<'a> {
        if self.ahead > 0 {
            self.ahead -= 1;
        } else {
            self.tokens[0] = Some(self.lexer.token());
        }
        self.kept(self.ahead)
    }

    pub(super) fn peek(&mut self) -> Token<'a> {
        if self.ahead == 0 {
            self.tokens[0] = Some(self.lexer.token());
            self.ahead = 1;
        }
        self.kept(self.ahead - 1)
    }

    pub(super) fn kept(&self, index: usize) -> Token<'a> {
        self.tokens[index].clone().unwrap_or(Token { kind: TokenKind::End, position: 0, text: "EOF".into(), line: 1 })
    }

    pub(super) fn back(&mut self) {
        self.ahead += 1;
    }

    /// Puts back the token read last and `before`, which was read before it.
    pub(super) fn back_two(&mut self, before: Token<'a>) {
        self.tokens[1] = Some(before);
        self.ahead = 2;
    }

    /// Puts back the token read last, `before` and, before that, `first`.
    pub(super) fn back_three(&mut self, first: Token<'a>, before: Token<'a>) {
        self.tokens[1] = Some(before);
        self.tokens[2] = Some(first);
        self.ahead = 3;
    }

    pub(super) fn next_word(&mut self) -> Token<'a> {
        loop {
            let token = self.next();
            if token.kind != TokenKind::Space {
                return token;
            }
        }
    }

    pub(super) fn peek_word(&mut self) -> Token<'a> {
        let token = self.next_word();
        self.back();
        token
    }

    pub(super) fn expect(&mut self, kind: TokenKind, context: &str) -> Parsed<Token<'a>> {
        let token = self.next_word();
        if token.kind == kind { Ok(token) } else { Err(self.unexpected(&token, context)) }
    }

    /// An error on the line of the token read last.
    pub(super) fn error(&self, message: impl Into<String>) -> TemplateError {
        let line = self.tokens[0].as_ref().map_or(1, |token| token.line);
        let position = self.source.place(line, None);
        TemplateError::Parse { position: Box::new(position), message: message.into() }
    }

    pub(super) fn unexpected(&self, token: &Token<'a>, context: &str) -> TemplateError {
        if token.kind != TokenKind::Error {
            return self.error(format!("unexpected {token} in {context}"));
        }
        let started = self.scope.action_line;
        if started == 0 || started == token.line {
            return self.error(token.text.to_string());
        }
        let action = if token.text.ends_with(" action") { "" } else { " in action" };
        self.error(format!("{token}{action} started at {}:{started}", self.source.name))
    }

    /// Runs `body` one level deeper.
    pub(super) fn nested<T>(&mut self, body: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= NESTING {
            return Err(self.error(format!("actions and parentheses are nested deeper than {NESTING} levels")));
        }
        self.depth += 1;
        let result = body(self);
        self.depth -= 1;
        result
    }
}
