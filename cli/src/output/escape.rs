//! Text of others made harmless for a terminal: only colours pass.

use std::{iter::Peekable, str::Chars};

/// Longest line that is shown, in characters.
const LONGEST: usize = 16 * 1024;
const ESCAPE: char = '\u{1b}';
const RESET: &str = "\u{1b}[0m";

/// One line of a command's output: what a terminal would show of it after carriage returns, without control
/// characters and escape sequences; colours are kept when `colors` says so, and never reach the next line.
pub(crate) fn line(bytes: &[u8], colors: bool) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\r', '\n']);
    let last = text.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default();
    harmless(last, colors)
}

/// One line of text without control characters (tabs excepted) and escape sequences other than colours.
pub(crate) fn harmless(text: &str, colors: bool) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut colored = false;
    let mut shown = 0_usize;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if shown == LONGEST {
            kept.push('…');
            break;
        }
        match character {
            ESCAPE => {
                if let Some(color) = sequence(&mut characters).filter(|_| colors) {
                    kept.push_str(&color);
                    colored = color != RESET;
                }
            }
            '\t' => kept.push('\t'),
            // C1 controls: the terminal reads some of them as the start of a sequence.
            character if character.is_control() => {}
            // Marks that reorder what follows: a line must read as it was written.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            character => {
                kept.push(character);
                shown += 1;
            }
        }
    }
    if colored {
        kept.push_str(RESET);
    }
    kept
}

/// Consumes what follows an escape character; answers the whole sequence when it is a colour.
fn sequence(characters: &mut Peekable<Chars<'_>>) -> Option<String> {
    match characters.next()? {
        '[' => control_sequence(characters),
        // Operating system command, device control, privacy message, application command, start of string: all end
        // with a string terminator or a bell.
        ']' | 'P' | '^' | '_' | 'X' => {
            skip_string(characters);
            None
        }
        // Sequences of three characters: character sets.
        '(' | ')' | '*' | '+' | '#' | '%' | ' ' => {
            characters.next();
            None
        }
        _ => None,
    }
}

fn control_sequence(characters: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut whole = String::from("\u{1b}[");
    while let Some(parameter) = characters.next_if(|c| ('\u{20}'..='\u{3f}').contains(c)) {
        whole.push(parameter);
    }
    let end = characters.next_if(|c| ('\u{40}'..='\u{7e}').contains(c))?;
    let plain = whole[2..].chars().all(|c| c.is_ascii_digit() || c == ';' || c == ':');
    whole.push(end);
    (end == 'm' && plain && whole.len() <= 64).then_some(whole)
}

fn skip_string(characters: &mut Peekable<Chars<'_>>) {
    while let Some(character) = characters.next() {
        if character == '\u{7}' || character == '\u{9c}' {
            return;
        }
        if character == ESCAPE {
            characters.next_if_eq(&'\\');
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colours_pass() {
        for (given, kept) in [
            ("plain\ttext", "plain\ttext"),
            ("\u{1b}[31mred\u{1b}[0m", "\u{1b}[31mred\u{1b}[0m"),
            ("\u{1b}[31mred", "\u{1b}[31mred\u{1b}[0m"),
            ("a\u{1b}[2Jb\u{1b}[1;1Hc", "abc"),
            ("\u{1b}]0;title\u{7}x", "x"),
            ("\u{1b}]8;;http://e\u{1b}\\x", "x"),
            ("\u{1b}P1$r0m\u{1b}\\x", "x"),
            ("\u{1b}(0x", "x"),
            ("a\u{8}\u{0}\u{9b}2Jb", "a2Jb"),
            ("\u{1b}[?25lx", "x"),
            ("x\u{1b}", "x"),
            ("x\u{1b}[31", "x"),
            ("\u{202e}abc", "abc"),
        ] {
            assert_eq!(harmless(given, true), kept, "{given:?}");
        }
        assert_eq!(harmless("\u{1b}[31mred\u{1b}[0m", false), "red");
    }

    #[test]
    fn a_line_is_what_a_terminal_ends_up_with() {
        assert_eq!(line(b"10%\r50%\r100%\r\n", false), "100%");
        assert_eq!(line(b"caf\xc3\xa9 \xff", false), "café \u{fffd}");
        assert_eq!(line(b"\r\n", false), "");
    }

    #[test]
    fn endless_lines_are_cut() {
        let long = "x".repeat(LONGEST + 5);
        let shown = harmless(&long, false);
        assert_eq!(shown.chars().count(), LONGEST + 1);
        assert!(shown.ends_with('…'));
    }
}
