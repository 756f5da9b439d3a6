//! Upper, lower, title, camel, snake and kebab case, by the rules of the libraries that sprig uses.

use super::runes::{self, is_digit, is_letter, is_lower, is_number, is_punctuation, is_space, is_upper};
use super::strings::one_string;
use crate::function::Functions;

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions) {
    one_string(all, "upper", |text| runes::map(text, runes::upper));
    one_string(all, "lower", |text| runes::map(text, runes::lower));
    one_string(all, "title", title);
    one_string(all, "untitle", untitle);
    one_string(all, "swapcase", swap_case);
    one_string(all, "camelcase", |text| pascal_case(&runes::chars(text).collect::<Vec<_>>()).into_bytes());
    one_string(all, "snakecase", |text| lower_words(text, '_'));
    one_string(all, "kebabcase", |text| lower_words(text, '-'));
}

/// Title case at the start of each word, where letters, digits and underscores make words.
fn title(text: &[u8]) -> Vec<u8> {
    let mut former = ' ';
    runes::map(text, |character| {
        let starts = if former.is_ascii() {
            !(former.is_ascii_alphanumeric() || former == '_')
        } else {
            !(is_letter(former) || is_digit(former)) && is_space(former)
        };
        former = character;
        if starts { runes::title(character) } else { character }
    })
}

fn untitle(text: &[u8]) -> Vec<u8> {
    let mut starts = true;
    runes::map(text, |character| {
        let here = starts;
        let space = is_space(character);
        starts = space;
        if here && !space { runes::lower(character) } else { character }
    })
}

fn swap_case(text: &[u8]) -> Vec<u8> {
    let mut after_space = true;
    runes::map(text, |character| {
        let title_letter = runes::title(character) == character && runes::lower(character) != character;
        if is_upper(character) || title_letter && !is_lower(character) {
            after_space = false;
            runes::lower(character)
        } else if is_lower(character) {
            let mapped = if after_space { runes::title(character) } else { runes::upper(character) };
            after_space = false;
            mapped
        } else {
            after_space = is_space(character);
            character
        }
    })
}

fn is_connector(character: char) -> bool {
    matches!(character, '-' | '_') || is_space(character)
}

/// Words joined, each with a capital first letter. Leading connectors stay; of a run of connectors within, all but one.
fn pascal_case(text: &[char]) -> String {
    let Some(start) = text.iter().position(|character| !is_connector(*character)) else {
        return text.iter().collect::<String>() + &text.last().map(char::to_string).unwrap_or_default();
    };
    let mut out: String = text[..start].iter().collect();
    let mut upper_run = is_upper(text[start]);
    let mut current = runes::upper(text[start]);
    for next in &text[start + 1..] {
        let former = std::mem::replace(&mut current, *next);
        match (is_connector(former), is_connector(current)) {
            (true, true) => out.push(former),
            (true, false) => {
                upper_run = is_upper(current);
                current = runes::upper(current);
            }
            (false, _) => {
                if upper_run && is_upper(current) {
                    current = runes::lower(current);
                } else {
                    upper_run = false;
                }
                out.push(former);
            }
        }
    }
    out.push(current);
    out
}

/// What a run of characters is.
#[derive(Clone, Copy, PartialEq)]
enum Word {
    None,
    Number,
    Upper,
    Alphabet,
    Connector,
    Punctuation,
    Other,
}

/// Letters of scripts that have words; CJK ideographs do not count.
fn is_alphabet(character: char) -> bool {
    let ideograph = matches!(character, '\u{3400}'..='\u{4d85}' | '\u{4e00}'..='\u{9fcc}' | '\u{20000}'..='\u{2b81d}');
    is_letter(character) && !ideograph
}

/// The words of a text, taken one by one.
struct Words<'a>(&'a [char]);

impl<'a> Words<'a> {
    fn next(&mut self) -> (Word, &'a [char]) {
        let Some(first) = self.0.first() else { return (Word::None, &[]) };
        let lower_letters = |character: char| is_alphabet(character) && !is_upper(character);
        let (word, length) = if is_connector(*first) {
            (Word::Connector, self.run(is_connector))
        } else if is_punctuation(*first) {
            (Word::Punctuation, self.run(is_punctuation))
        } else if is_upper(*first) {
            (Word::Upper, self.upper_run())
        } else if is_alphabet(*first) {
            (Word::Alphabet, self.run(lower_letters))
        } else if is_number(*first) {
            (Word::Number, self.run(is_number))
        } else {
            let other = |character: char| {
                !(is_connector(character)
                    || is_alphabet(character)
                    || is_number(character)
                    || is_punctuation(character))
            };
            (Word::Other, self.run(other))
        };
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        (word, taken)
    }

    /// The first character and those after it that belong.
    fn run(&self, belongs: impl Fn(char) -> bool) -> usize {
        1 + self.0[1..].iter().take_while(|character| belongs(**character)).count()
    }

    /// `HTTPServer` is `HTTP` and `Server`: the last capital of a run belongs to the letters after it.
    fn upper_run(&self) -> usize {
        let capitals = self.run(is_upper);
        match self.0.get(capitals) {
            Some(next) if capitals > 1 && is_alphabet(*next) => capitals - 1,
            Some(next) if capitals == 1 && is_alphabet(*next) => {
                self.run(|character| is_alphabet(character) && !is_upper(character))
            }
            _ => capitals,
        }
    }
}

fn lower_words(text: &[u8], connector: char) -> Vec<u8> {
    let characters: Vec<char> = runes::chars(text).filter(|character| *character != '\u{fffd}').collect();
    let mut case = LowerCase { connector, out: String::new(), words: Words(&characters) };
    case.run();
    case.out.into_bytes()
}

/// The state of turning a text into lower-case words.
struct LowerCase<'a> {
    connector: char,
    out: String,
    words: Words<'a>,
}

impl<'a> LowerCase<'a> {
    fn run(&mut self) {
        let (mut word, mut letters) = self.words.next();
        while !self.words.0.is_empty() {
            if word != Word::Connector {
                self.write(word, letters);
            }
            let (former, former_letters) = (word, letters);
            (word, letters) = self.words.next();
            match former {
                Word::Number => {
                    (word, letters) = self.letters_and_numbers(word, letters);
                    self.connect_unless(word, true);
                }
                Word::Connector => self.write(former, former_letters),
                Word::Punctuation => {}
                Word::None | Word::Upper | Word::Alphabet | Word::Other => {
                    (word, letters) = self.after_letters(word, letters);
                }
            }
        }
        self.write(word, letters);
    }

    /// A number right after letters belongs to them (`bld4`), unless letters follow it at once (`http_2xx`).
    fn after_letters(&mut self, word: Word, letters: &'a [char]) -> (Word, &'a [char]) {
        if word != Word::Number {
            self.connect_unless(word, false);
            return (word, letters);
        }
        if self.words.0.is_empty() {
            return (word, letters);
        }
        let (next, next_letters) = self.words.next();
        if next != Word::Alphabet {
            self.write(Word::Number, letters);
            self.connect_unless(next, false);
            return (next, next_letters);
        }
        self.out.push(self.connector);
        self.write(Word::Number, letters);
        let (next, next_letters) = self.letters_and_numbers(next, next_letters);
        self.connect_unless(next, true);
        (next, next_letters)
    }

    fn letters_and_numbers(&mut self, mut word: Word, mut letters: &'a [char]) -> (Word, &'a [char]) {
        while matches!(word, Word::Alphabet | Word::Number) {
            self.write(word, letters);
            (word, letters) = self.words.next();
        }
        (word, letters)
    }

    fn connect_unless(&mut self, word: Word, end_too: bool) {
        if !(matches!(word, Word::Connector | Word::Punctuation) || end_too && word == Word::None) {
            self.out.push(self.connector);
        }
    }

    fn write(&mut self, word: Word, letters: &[char]) {
        for letter in letters {
            self.out.push(match word {
                Word::Upper | Word::Connector if is_connector(*letter) => self.connector,
                Word::Upper | Word::Connector if is_upper(*letter) => runes::lower(*letter),
                _ => *letter,
            });
        }
    }
}
