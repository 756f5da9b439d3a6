//! The instructions of a Dockerfile by their lines, as engines count them.

/// A text with single blanks.
pub fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The instructions of a Dockerfile with the lines that they begin on, in the order in which the engine counts them.
pub fn instructions(text: &str) -> Vec<(u32, String)> {
    let escape = escape_character(text);
    let mut found: Vec<(u32, String)> = Vec::new();
    let mut continues = false;
    for (line, number) in text.lines().zip(1..) {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let (part, goes_on) = match trimmed.strip_suffix(escape) {
            Some(part) => (part, true),
            None => (trimmed, false),
        };
        match found.last_mut().filter(|_| continues) {
            Some((_, instruction)) => {
                instruction.push(' ');
                instruction.push_str(part);
            }
            None => found.push((number, part.to_owned())),
        }
        continues = goes_on;
    }
    found
}

/// `# escape=` is a directive only above everything else.
fn escape_character(text: &str) -> char {
    let directives = text.lines().map(str::trim).take_while(|line| line.starts_with('#'));
    let named =
        directives.filter_map(|line| line[1..].trim().split_once('=')).find(|(name, _)| name.trim() == "escape");
    named.and_then(|(_, value)| value.trim().chars().next()).unwrap_or('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# about\nARG V=1\nFROM a:$V\n\nRUN one && \\\n  # inside\n  two\nCOPY . .\n";

    #[test]
    fn instructions_are_counted_as_the_engine_does() {
        let lines: Vec<u32> = instructions(TEXT).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [2, 3, 5, 8]);
        let windows = "# escape=`\nFROM a\nRUN one `\n two\nRUN c:\\\n";
        assert_eq!(instructions(windows).iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 5]);
    }
}
