//! `--chmod`: octal digits, or changes as `chmod` takes them.

/// What becomes of a mode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// This one.
    Exact(u32),
    /// Changes, one after the other.
    Changes(Vec<Change>),
}

/// `u+rw`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Change {
    /// Bits that it is about.
    who: u32,
    /// `+`, `-` or `=`.
    how: char,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    /// These bits, for everybody; and `x` where it makes sense.
    Bits(u32, bool),
    /// Those that the owner (6), the group (3) or others (0) have: by how far they are shifted.
    Of(u32),
}

/// Bits of the owner, the group and others.
const WHO: [(char, u32); 4] = [('u', 0o4700), ('g', 0o2070), ('o', 0o1007), ('a', 0o7777)];

impl Mode {
    /// Reads what is written.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let refuse = || {
            let shown: String = text.chars().take(100).collect();
            format!("--chmod={shown} is no mode: write octal digits up to 7777, or changes such as u=rwX,go-w")
        };
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let exact = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            return exact.map(Self::Exact).ok_or_else(refuse);
        }
        let mut changes = Vec::new();
        for clause in text.split(',') {
            clauses(clause, &mut changes).ok_or_else(refuse)?;
        }
        Ok(Self::Changes(changes))
    }

    /// The mode of what had the mode `old`.
    pub(super) fn apply(&self, old: u32, is_directory: bool) -> u32 {
        match self {
            Self::Exact(mode) => *mode,
            Self::Changes(changes) => changes.iter().fold(old, |mode, change| change.apply(mode, is_directory)),
        }
    }

    /// The mode of directories that are made on the way.
    pub(super) fn made(&self) -> u32 {
        match self {
            Self::Exact(mode) => mode & 0o777,
            Self::Changes(_) => 0o755,
        }
    }
}

impl Change {
    fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let bits = match self.what {
            What::Bits(bits, sensible) => {
                let has_sense = sensible && (is_directory || mode & 0o111 != 0);
                bits | if has_sense { 0o111 } else { 0 }
            }
            What::Of(shift) => (mode >> shift & 7) * 0o111,
        };
        let bits = bits & self.who;
        match self.how {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => mode & !self.who | bits,
        }
    }
}

fn clauses(text: &str, changes: &mut Vec<Change>) -> Option<()> {
    let end = text.find(|c| !"ugoa".contains(c))?;
    let (who, mut rest) = text.split_at(end);
    let who = WHO.iter().filter(|(name, _)| who.contains(*name)).fold(0, |bits, (_, own)| bits | own);
    let who = if who == 0 { 0o7777 } else { who };
    while let Some(how) = rest.chars().next() {
        if !"+-=".contains(how) {
            return None;
        }
        rest = &rest[1..];
        let end = rest.find(|c| "+-=".contains(c)).unwrap_or(rest.len());
        let (what, after) = rest.split_at(end);
        changes.push(Change { who, how, what: bits(what)? });
        rest = after;
    }
    Some(())
}

fn bits(text: &str) -> Option<What> {
    if let Some(shift) = [("u", 6), ("g", 3), ("o", 0)].iter().find(|(name, _)| *name == text) {
        return Some(What::Of(shift.1));
    }
    let mut found = (0, false);
    for letter in text.chars() {
        match letter {
            'r' => found.0 |= 0o444,
            'w' => found.0 |= 0o222,
            'x' => found.0 |= 0o111,
            's' => found.0 |= 0o6000,
            't' => found.0 |= 0o1000,
            'X' => found.1 = true,
            _ => return None,
        }
    }
    Some(What::Bits(found.0, found.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_of_chmod() {
        for (text, file, directory) in [
            ("755", 0o755, 0o755),
            ("0", 0, 0),
            ("1777", 0o1777, 0o1777),
            ("u=rwX,go=", 0o600, 0o700),
            ("+x", 0o755, 0o755),
            ("a-w", 0o444, 0o555),
            ("g=u,o-r", 0o660, 0o771),
            ("u+s,g+s,+t", 0o7644, 0o7755),
            ("u=rw-w+x", 0o544, 0o555),
            ("o=", 0o640, 0o750),
        ] {
            let mode = Mode::new(text).expect(text);
            assert_eq!((mode.apply(0o644, false), mode.apply(0o755, true)), (file, directory), "{text}");
        }
        for text in ["", "8", "10000", "0o755", "u", "u~x", "z=r", "u=q", "755,u+x", ",", "u+x,", "-1"] {
            assert!(Mode::new(text).is_err(), "{text}");
        }
    }
}
