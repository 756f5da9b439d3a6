//! What the program says of a build of one instruction: nothing that whoever wrote the instruction wants to read.

/// What it says at the end.
const END: &[u8] = b"COMMIT\n";
/// More than the beginning of a line about a step takes.
const HEAD: usize = 64;

/// Takes out the lines about steps, and the last one.
#[derive(Debug)]
pub(super) struct Steps {
    count: usize,
    /// The next step that is told.
    next: usize,
    /// Whether a line about a step is going on.
    inside: bool,
    held: Vec<u8>,
}

impl Steps {
    /// Of a build with so many lines; with none, nothing is taken out.
    pub(super) fn new(count: usize) -> Self {
        Self { count, next: 1, inside: false, held: Vec::new() }
    }

    /// Takes bytes of the output; answers those that are a command's.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut rest = std::mem::take(&mut self.held);
        // Before the last step there is nothing else.
        while self.inside || self.next <= self.count {
            if self.inside {
                let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return Vec::new() };
                rest.drain(..=end);
                self.inside = false;
                continue;
            }
            let head = format!("STEP {}/{}: ", self.next, self.count);
            if rest.starts_with(head.as_bytes()) {
                (self.inside, self.next) = (true, self.next + 1);
                continue;
            }
            if rest.len() < HEAD && head.as_bytes().starts_with(&rest) {
                self.held = rest;
                return Vec::new();
            }
            // Another version's words: all of it is passed on.
            self.next = self.count + 1;
        }
        if self.count > 0 {
            let kept = (0..=END.len().min(rest.len())).rev().find(|length| rest.ends_with(&END[..*length]));
            self.held = rest.split_off(rest.len() - kept.unwrap_or(0));
        }
        rest
    }

    /// What is left at the end.
    pub(super) fn release(&mut self) -> Vec<u8> {
        let left = std::mem::take(&mut self.held);
        if left == END { Vec::new() } else { left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(count: usize, pieces: &[&str]) -> String {
        let mut steps = Steps::new(count);
        let mut clean: Vec<u8> = pieces.iter().flat_map(|piece| steps.push(piece.as_bytes())).collect();
        clean.extend(steps.release());
        String::from_utf8_lossy(&clean).into_owned()
    }

    #[test]
    fn lines_about_steps_are_taken_out_and_nothing_else() {
        let steps = "STEP 1/2: FROM x\nSTEP 2/2: RUN [\"y\"]\n";
        for (pieces, expected) in [
            (vec![steps, "said\nSTEP 2/2: mine\n", "COMMIT\n"], "said\nSTEP 2/2: mine\n"),
            (vec!["STE", "P 1/2: FR", "OM x\nSTEP 2", "/2: RUN\n", "no end", "COM", "MIT\n"], "no end"),
            (vec![steps, "COMMIT\n", "more\n", "COMMIT\n"], "COMMIT\nmore\n"),
            (vec![steps, "a COM"], "a COM"),
            (vec!["other words\n", "COMMIT\n"], "other words\n"),
        ] {
            assert_eq!(through(2, &pieces), expected, "{pieces:?}");
        }
        assert_eq!(through(0, &[steps, "COMMIT\n"]), format!("{steps}COMMIT\n"));
    }
}
