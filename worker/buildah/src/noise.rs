//! What the program says on the error output of a command that failed: it is not the command's.

/// Lines of it, before a number.
const ENDS: [&str; 4] = [
    "subprocess exited with status ",
    "Error: exit status ",
    "Error: while running runtime: exit status ",
    "exit status ",
];
/// The line that what a Dockerfile's build ends with begins with: who asked for the build is told the same as its error.
const REPORT: &str = "Error: building at STEP ";
/// More than a line before a number takes.
const LONGEST: usize = 128;
/// More than a report is read of.
const LONGEST_REPORT: usize = 64 * 1024;

/// Holds back what may be noise until it is known not to be the end.
#[derive(Debug, Default)]
pub(crate) struct Noise {
    held: Vec<u8>,
    /// Where the line begins that is not whole yet.
    line: usize,
    /// Whether a line of it is the report: what follows belongs to that, for an instruction may have several lines.
    reports: bool,
}

impl Noise {
    /// Takes bytes; answers those that are a command's.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut clean = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.held.extend_from_slice(piece);
            let line = &self.held[self.line..];
            let may_be = if self.reports { self.held.len() <= LONGEST_REPORT } else { may_be(line) };
            if !may_be {
                clean.append(&mut self.held);
                (self.line, self.reports) = (0, false);
            } else if line.ends_with(b"\n") {
                self.reports |= line.starts_with(REPORT.as_bytes());
                self.line = self.held.len();
            }
        }
        clean
    }

    /// What is left when the command has ended as it should.
    pub(crate) fn release(&mut self) -> Vec<u8> {
        (self.line, self.reports) = (0, false);
        std::mem::take(&mut self.held)
    }
}

/// Whether a line, or the beginning of one, may be noise.
fn may_be(line: &[u8]) -> bool {
    if line.starts_with(REPORT.as_bytes()) {
        return line.len() <= LONGEST_REPORT;
    }
    if REPORT.as_bytes().starts_with(line) {
        return true;
    }
    if line.len() > LONGEST {
        return false;
    }
    let (text, whole) = match line.strip_suffix(b"\n") {
        Some(text) => (text, true),
        None => (line, false),
    };
    ENDS.iter().any(|start| match text.strip_prefix(start.as_bytes()) {
        Some(number) => number.iter().all(u8::is_ascii_digit) && !(whole && number.is_empty()),
        None => !whole && start.as_bytes().starts_with(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(pieces: &[&str]) -> (String, String) {
        let mut noise = Noise::default();
        let clean: Vec<u8> = pieces.iter().flat_map(|piece| noise.push(piece.as_bytes())).collect();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&clean), text(&noise.release()))
    }

    #[test]
    fn noise_at_the_end_is_held_back_and_nothing_else() {
        let end = "subprocess exited with status 3\nError: exit status 3\n";
        for (pieces, clean, held) in [
            (vec!["oops\n", end], "oops\n", end),
            (vec!["oops\nsub", "process exited with sta", "tus 3\n"], "oops\n", "subprocess exited with status 3\n"),
            (vec!["sub", "marine\n"], "submarine\n", ""),
            (vec!["exit status 1\nmore\n"], "exit status 1\nmore\n", ""),
            (vec!["exit status one\n"], "exit status one\n", ""),
            (vec!["no end"], "no end", ""),
            (
                vec!["a\nError: building at STEP \"RUN x\n", "y\": z\n"],
                "a\n",
                "Error: building at STEP \"RUN x\ny\": z\n",
            ),
            (vec!["a\nError: buil", "ding at STEP \"RUN x\": y\n"], "a\n", "Error: building at STEP \"RUN x\": y\n"),
        ] {
            assert_eq!(through(&pieces), (clean.to_owned(), held.to_owned()), "{pieces:?}");
        }
    }
}
