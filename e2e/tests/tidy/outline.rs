//! Functions of a source and how long they are.

use crate::code;

/// A function with a body.
#[derive(Debug, PartialEq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Line it begins on, from 1.
    pub(crate) line: usize,
    /// Lines between its braces.
    pub(crate) lines: usize,
}

/// All functions of a source, nested ones included.
pub(crate) fn functions(source: &str) -> Vec<Function> {
    let code = code::only_code(source);
    let begins = |at: &usize| at.checked_sub(1).is_none_or(|before| !is_word(code.as_bytes()[before]));
    let found = code.match_indices("fn ").map(|(at, _)| at).filter(begins);
    found.filter_map(|at| function(&code, at)).collect()
}

fn function(code: &str, at: usize) -> Option<Function> {
    let rest = &code[at..];
    let name: String = rest[3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    // A declaration without a body ends with a semicolon, outside of any array type.
    let mut depth = 0_i32;
    let opens = rest.bytes().position(|byte| {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            _ => {}
        }
        byte == b'{' || (byte == b';' && depth == 0)
    })?;
    if name.is_empty() || rest.as_bytes()[opens] == b';' {
        return None;
    }
    let body = &rest[opens..opens + code::block(&rest[opens..])?];
    let lines = body.matches('\n').count().saturating_sub(1);
    Some(Function { name, line: code[..at].matches('\n').count() + 1, lines })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[test]
fn functions_are_found_with_their_lines() {
    let source = "trait T {\n    fn no(x: [u8; 2]);\n}\n\nfn yes() -> [u8; 2] {\n    // }\n    [0; 2]\n}\n";
    assert_eq!(functions(source), [Function { name: "yes".to_owned(), line: 5, lines: 2 }]);
}
