//! The normal form of one instruction: what is hashed of it.
//!
//! Words that are fully known are expanded and quoted where needed; a word in which the base image has a part stays as
//! written. Both can be told apart, and so can any two instructions that do different things.

use crate::{
    expand::Lexer,
    keyword::Keyword,
    lines::Heredoc,
    parse::Instruction,
    scope::{Scope, Value},
    words,
};

/// A word in normal form and what is known of its value.
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) value: Value,
}

/// Brings `word` into normal form.
pub(crate) fn word(lexer: &Lexer, word: &str, scope: &Scope) -> Result<Word, String> {
    let expanded = lexer.expand(word, scope)?;
    if expanded.unknown {
        return Ok(Word { text: word.to_owned(), value: Value::Unknown });
    }
    Ok(Word { text: words::quote(&expanded.text), value: Value::Set(expanded.text) })
}

/// The flags of `instruction`, each with a space before it, expanded.
pub(crate) fn flags(lexer: &Lexer, instruction: &Instruction, scope: &Scope) -> Result<String, String> {
    let mut text = String::new();
    for flag in &instruction.flags {
        text.push_str(" --");
        text.push_str(&flag.name);
        if let Some(value) = &flag.value {
            text.push('=');
            text.push_str(&word(lexer, value, scope)?.text);
        }
    }
    Ok(text)
}

/// The flags of `instruction` as they stand: the commands of a container are not expanded by the builder.
pub(crate) fn plain_flags(instruction: &Instruction) -> String {
    let flag = |flag: &words::Flag| match &flag.value {
        Some(value) => format!(" --{}={}", flag.name, words::quote(value)),
        None => format!(" --{}", flag.name),
    };
    instruction.flags.iter().map(flag).collect()
}

/// The here-documents below an instruction's text.
pub(crate) fn heredocs(heredocs: &[Heredoc]) -> String {
    heredocs.iter().map(|heredoc| format!("\n{}{}", heredoc.content, heredoc.name)).collect()
}

/// The line of an instruction whose text the builder does not expand.
pub(crate) fn verbatim(instruction: &Instruction) -> String {
    let keyword = instruction.keyword.name();
    let flags = plain_flags(instruction);
    let space = if instruction.rest.is_empty() { "" } else { " " };
    format!("{keyword}{flags}{space}{}{}", instruction.rest, heredocs(&instruction.heredocs))
}

/// The line of an instruction that is a list of expanded words.
pub(crate) fn listed(lexer: &Lexer, instruction: &Instruction, list: &[&str], scope: &Scope) -> Result<String, String> {
    let mut text = format!("{}{}", instruction.keyword.name(), flags(lexer, instruction, scope)?);
    for item in list {
        let item = word(lexer, item, scope)?;
        // One variable may stand for several ports.
        let item = match &item.value {
            Value::Set(value) if instruction.keyword == Keyword::Expose => {
                value.split_whitespace().map(words::quote).collect::<Vec<_>>().join(" ")
            }
            Value::Set(_) | Value::Unset | Value::Unknown => item.text,
        };
        text.push(' ');
        text.push_str(&item);
    }
    Ok(text)
}
