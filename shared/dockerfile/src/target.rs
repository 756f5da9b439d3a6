//! Whose programs the commands of a Dockerfile are.

/// Whether commands of a Dockerfile may be programs of the platform that it is built for: those of stages that name no platform
/// of their own, such as `$BUILDPLATFORM`. Told by its lines alone; in doubt they are.
pub fn runs_on_target(text: &str) -> bool {
    let mut of_others: Vec<String> = Vec::new();
    let mut on_target = true;
    for line in text.lines() {
        let line = line.trim().to_ascii_lowercase();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("from") => {
                let words: Vec<&str> = words.collect();
                let named = words.iter().any(|word| word.starts_with("--platform=") && !word.contains("target"));
                let base = words.iter().find(|word| !word.starts_with("--")).copied().unwrap_or_default();
                on_target = !named && !of_others.iter().any(|stage| stage == base);
                if let ([.., "as", name], false) = (words.as_slice(), on_target) {
                    of_others.push((*name).to_owned());
                }
            }
            Some("run") if on_target => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_of_other_platforms_run_their_own_programs() {
        let cases = [
            ("FROM scratch\nCOPY a b\n", false),
            ("FROM alpine\n  run true\n", true),
            ("FROM alpine\nRUN\ttrue\n", true),
            ("FROM --platform=$BUILDPLATFORM golang AS b\nRUN go build\nFROM scratch\nCOPY --from=b /a /a\n", false),
            ("FROM --platform=$BUILDPLATFORM golang AS b\nFROM B AS c\nRUN true\nFROM scratch\n", false),
            ("FROM --platform=$BUILDPLATFORM golang AS b\nRUN true\nFROM alpine\nRUN true\n", true),
            ("FROM --platform=$TARGETPLATFORM alpine\nRUN true\n", true),
            ("", false),
        ];
        for (text, expected) in cases {
            assert_eq!(runs_on_target(text), expected, "{text}");
        }
    }
}
