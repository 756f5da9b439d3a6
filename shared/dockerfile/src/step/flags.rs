//! The flags of one instruction, taken one by one.

use crate::{keyword::Keyword, parse::Instruction, shown, words::Flag};

/// What is left of the flags.
pub(crate) struct Flags {
    keyword: Keyword,
    left: Vec<Flag>,
}

impl Flags {
    pub(crate) fn of(instruction: &Instruction) -> Self {
        Self { keyword: instruction.keyword, left: instruction.flags.clone() }
    }

    /// The value of a flag that may stand once.
    pub(crate) fn one(&mut self, name: &str) -> Result<Option<String>, String> {
        let mut all = self.all(name)?;
        if all.len() > 1 {
            return Err(format!("{}: the flag --{name} stands here twice", self.keyword.name()));
        }
        Ok(all.pop())
    }

    /// The values of a flag that may stand often.
    pub(crate) fn all(&mut self, name: &str) -> Result<Vec<String>, String> {
        let (own, left) = std::mem::take(&mut self.left).into_iter().partition(|flag| flag.name == name);
        self.left = left;
        let value = |flag: Flag| flag.value.ok_or_else(|| format!("{}: --{name} needs a value", self.keyword.name()));
        Vec::into_iter(own).map(value).collect()
    }

    /// A flag that is `true` when nothing follows it; `None` = it is not there.
    pub(crate) fn switch(&mut self, name: &str) -> Result<Option<bool>, String> {
        let (own, left): (Vec<Flag>, _) =
            std::mem::take(&mut self.left).into_iter().partition(|flag| flag.name == name);
        self.left = left;
        let Some(last) = own.into_iter().next_back() else { return Ok(None) };
        let Some(text) = last.value else { return Ok(Some(true)) };
        let wrong = || format!("{}: --{name}={} is neither true nor false", self.keyword.name(), shown(&text));
        boolean(&text).map(Some).ok_or_else(wrong)
    }

    /// Whatever was not taken is unknown.
    pub(crate) fn end(self) -> Result<(), String> {
        match self.left.first() {
            None => Ok(()),
            Some(flag) => Err(format!("{}: the flag --{} is unknown", self.keyword.name(), shown(&flag.name))),
        }
    }
}

/// As Go reads it.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
