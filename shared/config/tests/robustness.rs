//! Cut and altered configurations: they are read or refused, and nothing panics.

use slipway_config::parse;

/// A configuration with something of everything.
const WHOLE: &str = r#"configVersion: 1
project: my-app
build:
  platform: linux/amd64
deploy: {namespace: "x", helmReleaseSlug: off}
cleanup:
  keepPolicies:
  - references: {tag: /v.*/, limit: {last: 5, in: 168h, operator: And}}
    imagesPerReference: {last: 1}
--- # images
image: &name base
from: alpine:3.20
fromCacheVersion: "1"
git:
- &mapping
  add: /src
  to: /app
  includePaths: ['**/*.js', "a\tb"]
  stageDependencies:
    install: [package.json, {}]
- <<: *mapping
  to: /other
shell:
  install: |
    make	# тест
    test
  setup:
  - >-
    folded
  - "quoted \"text\""
docker:
  ENV: {A: 1, B: ~}
  CMD: '["a", "b"]'
  HEALTHCHECK: --interval=5s --retries=3 CMD x
  EXPOSE: 80 81-83/udp
import:
- {artifact: tools, add: /bin, includePaths: [x], after: setup}
mount:
- {from: tmp_dir, to: /tmp}
---
artifact: tools
from: golang
ansible: {install: [{apt: x}, {block: [{shell: y}]}]}
---
image: [web, "api"]
dockerfile: Dockerfile
context: ./web
args: {X: "1", Y: no}
dependencies:
- image: base
  imports: [{type: ImageName, targetBuildArg: BASE}]
secrets: [{id: a, value: b}, {env: C}]
"#;

/// What is put in the place of a character.
const OTHERS: [&str; 18] =
    ["\t", "\n", ":", "-", "[", "}", "&", "*", "!", "|", "\"", "'", "#", "\u{feff}", "\0", "\r", "%", "é"];

/// xorshift: the same numbers on every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or(0) % end
    }
}

/// Reads `text`; what is refused must be printable, with every place inside of the text.
fn survives(text: &str) {
    if let Err(problems) = parse("werf.yaml", text) {
        assert!(!problems.list.is_empty());
        assert!(!problems.to_string().is_empty());
        let lines = u32::try_from(text.split(['\n', '\r']).count()).expect("few lines");
        for position in problems.list.iter().filter_map(|problem| problem.position) {
            assert!((1..=lines + 1).contains(&position.line) && position.column >= 1, "{position:?}\n{text}");
        }
    }
}

#[test]
fn every_prefix_is_read_or_refused() {
    for end in (0..=WHOLE.len()).filter(|end| WHOLE.is_char_boundary(*end)) {
        survives(&WHOLE[..end]);
        survives(&WHOLE[end..]);
    }
}

#[test]
fn every_character_may_be_missing_or_another() {
    for (at, character) in WHOLE.char_indices() {
        let (head, tail) = (&WHOLE[..at], &WHOLE[at + character.len_utf8()..]);
        survives(&format!("{head}{tail}"));
        // Not every character at every place, but every one of them at many.
        for other in OTHERS.iter().skip(at % 6).step_by(6) {
            survives(&format!("{head}{other}{tail}"));
        }
    }
}

#[test]
fn random_alterations_are_read_or_refused() {
    let mut chance = Chance(0x5eed_5eed_5eed_5eed);
    for _ in 0..2000 {
        let mut bytes = WHOLE.as_bytes().to_vec();
        for _ in 0..=chance.below(12) {
            let at = chance.below(bytes.len());
            match chance.below(4) {
                0 => bytes[at] = u8::try_from(chance.below(256)).unwrap_or(0),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b" \n\t:-[]{}&*!|>'\"#%@`,?~<"[chance.below(24)]),
                _ => {
                    let end = at + chance.below(bytes.len() - at).min(80);
                    let part = bytes[at..end].to_vec();
                    let to = chance.below(bytes.len());
                    bytes.splice(to..to, part);
                }
            }
        }
        survives(&String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn random_bytes_are_read_or_refused() {
    let mut chance = Chance(42);
    for _ in 0..4000 {
        let length = chance.below(60);
        let letters = b"ab:- \n\t[]{}&*!|>'\"#%@`,?~<\\0\r.-";
        let text: Vec<u8> = (0..length).map(|_| letters[chance.below(letters.len())]).collect();
        survives(&String::from_utf8_lossy(&text));
    }
}

#[test]
fn large_texts_do_not_take_long() {
    let meta = "configVersion: 1\nproject: p\n---\n";
    let chain: String = (0..3000).map(|n| format!("image: i{n}\nfromImage: i{}\n---\n", n + 1)).collect();
    for text in [
        format!("{meta}{chain}image: i3000\nfrom: x\n"),
        format!("{meta}{chain}image: i3000\nfromImage: i0\n"),
        format!("{meta}image: a\nfrom: b\n{}", "unknown: 1\n".repeat(20_000)),
        format!("{meta}image: a\nfrom: b\nshell:\n  install: {}\n", "[".repeat(20_000)),
        format!("{meta}image: a\nfrom: b\nshell:\n  install:\n{}", "  - x: y\n".repeat(20_000)),
        format!("{meta}image: a\nfrom: b\nx: {}\n", "&a ".repeat(20_000)),
        format!("{meta}image: a\nfrom: {}\n", "x".repeat(1_000_000)),
        format!("{meta}image: a\nfrom: b\ngit:\n{}", "- {add: /x, to: /y}\n".repeat(2000)),
        format!("{meta}{}", "a:\tb\n".repeat(5000)),
    ] {
        survives(&text);
    }
}
