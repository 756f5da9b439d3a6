//! Rust source without what is not code: comments, strings and characters become spaces, lines stay where they are.

/// The code of a source: as long as it, line for line.
pub(crate) fn only_code(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + skipped(&bytes[at..], at.checked_sub(1).map(|before| bytes[before]));
        if end == at {
            at += 1;
            continue;
        }
        code[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    String::from_utf8(code).expect("whole tokens are replaced")
}

/// The code without items that are compiled for tests only.
pub(crate) fn production(source: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut code = only_code(source);
    while let Some(start) = code.find(MARK) {
        let rest = &code[start + MARK.len()..];
        let length = match (rest.find('{'), rest.find(';')) {
            (Some(open), semicolon) if semicolon.is_none_or(|semicolon| open < semicolon) => {
                block(&rest[open..]).map_or(rest.len(), |block| open + block)
            }
            (_, Some(semicolon)) => semicolon + 1,
            (_, None) => rest.len(),
        };
        let end = start + MARK.len() + length;
        let blank: String = code[start..end].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
        code.replace_range(start..end, &blank);
    }
    code
}

/// The length of the block that `code` begins with, braces included.
pub(crate) fn block(code: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.checked_sub(1)?,
            _ => continue,
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

/// Whether `word` stands in `code` as a whole word.
pub(crate) fn has_word(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        !code[..at].chars().next_back().is_some_and(is_part) && !code[at + word.len()..].starts_with(is_part)
    })
}

/// How many bytes of a comment, string or character begin here; 0 when it is code.
fn skipped(rest: &[u8], before: Option<u8>) -> usize {
    let in_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match rest {
        [b'/', b'/', ..] => until(rest, b"\n"),
        [b'/', b'*', ..] => until(rest, b"*/"),
        [b'"', ..] => quoted(rest, b'"'),
        [b'r', b'"' | b'#', ..] if !in_word => raw(rest),
        [b'b', b'r', b'"' | b'#', ..] if !in_word => raw(&rest[1..]).checked_sub(1).map_or(0, |length| length + 2),
        [b'\'', b'\\', ..] => quoted(rest, b'\''),
        // A character of one to four bytes; a lifetime has no second quote there.
        [b'\'', first, ..] if *first != b'\'' => {
            let width = std::str::from_utf8(&rest[1..rest.len().min(5)])
                .map_or_else(|error| error.valid_up_to(), |text| text.chars().next().map_or(0, char::len_utf8));
            let width = if *first < 0x80 { 1 } else { width };
            if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
        }
        _ => 0,
    }
}

fn until(rest: &[u8], end: &[u8]) -> usize {
    rest.windows(end.len()).position(|window| window == end).map_or(rest.len(), |at| at + end.len())
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let end: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let start = 2 + hashes;
    start + until(&rest[start..], &end)
}

#[test]
fn strings_comments_and_characters_are_no_code() {
    let table = [
        ("a // b\nc", "a     \nc"),
        ("a /* { */ b", "a         b"),
        (r#"x("{ \" }")"#, "x(        )"),
        ("f('{', '\\'', 'ä')", "f(   ,     ,     )"),
        ("fn a<'a>(x: &'a str)", "fn a<'a>(x: &'a str)"),
        ("r#\"}\"# + br\"{\"", "       +      "),
        ("user\"{\"", "user   "),
    ];
    for (source, expected) in table {
        assert_eq!(only_code(source).trim_end(), expected.trim_end(), "{source}");
    }
}

#[test]
fn test_modules_are_no_production_code() {
    let source =
        "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { x.unwrap() }\n}\nfn c() {}\n#[cfg(test)]\nmod d;\n";
    let code = production(source);
    assert!(code.contains("fn a") && code.contains("fn c"));
    assert!(!code.contains("fn b") && !code.contains("mod d"), "{code}");
}
