//! Damaged files are answered, not died of.

use std::collections::BTreeMap;

use crate::{ignore_patterns, inputs};

const SAMPLE: &str = r#"# syntax=docker/dockerfile:1
# escape=\
ARG BASE=alpine:3.18 Q="a b"
FROM --platform=$BUILDPLATFORM ${BASE:-x} AS Build
ARG V=${BASE##*:} W
ENV A=1 B="two words" C=$A\ x P=/x:$PATH
RUN --mount=type=bind,source=src,target=/é --mount=type=cache,target=/c <<EOF cat - <<-'E2' # it is
écho $V
EOF
	tab
	E2
COPY --chown=1:1 ["a é", "b/*", "/c/"]
ADD https://host.example/x.tgz <<"F1" d? $UNKNOWN/y /dst/
content ${V//./-}
F1
ONBUILD COPY --from=0 . /app
HEALTHCHECK --interval=1s CMD ["true"]
FROM build
LABEL a=b 'c d'="e \" f"
RUN echo \
  # comment
  \\ && true \

EXPOSE 80 $V/tcp
VOLUME ["/v"]
COPY --from=build /x /y
SHELL ["sh", "-c"]
CMD []
"#;

fn answer(text: &str) -> bool {
    let args = BTreeMap::from([("V".to_owned(), "1.2".to_owned())]);
    let _ = ignore_patterns(text);
    inputs("Dockerfile", text, None, &args, "linux/amd64").is_ok()
}

/// A small reproducible source of numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[test]
fn truncated_files_do_not_panic() {
    assert!(answer(SAMPLE), "{:?}", inputs("Dockerfile", SAMPLE, None, &BTreeMap::new(), "linux/amd64"));
    for (end, _) in SAMPLE.char_indices() {
        answer(&SAMPLE[..end]);
        answer(&SAMPLE[end..]);
    }
}

#[test]
fn mutated_files_do_not_panic() {
    const PIECES: [&str; 24] = [
        "$", "${", "}", "\"", "'", "\\", "\\\n", "\n", "\r\n", "<<", "<<-E", "[", "]", "--", "=", "#", ":-", "/", "%%",
        "é", "\0", "\u{feff}", "FROM ", "ONBUILD ",
    ];
    let mut numbers = Numbers(0x5117_0a4d);
    let chars: Vec<char> = SAMPLE.chars().collect();
    for _ in 0..4000 {
        let mut mutated = chars.clone();
        for _ in 0..=numbers.below(4) {
            let at = numbers.below(mutated.len());
            let piece = PIECES[numbers.below(PIECES.len())];
            let end = (at + numbers.below(6)).min(mutated.len());
            mutated.splice(at..end, piece.chars());
        }
        answer(&mutated.into_iter().collect::<String>());
    }
}

#[test]
fn growth_is_limited() {
    let refused = |text: &str, part: &str| {
        let error = inputs("D", text, None, &BTreeMap::new(), "").expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(&format!("FROM a\nARG X=0123456789\n{}", "ARG X=$X$X\n".repeat(40)), "expands to more than");

    let value = "v".repeat(500_000);
    let heirs: String = (1..400).map(|number| format!("FROM s{} AS s{number}\n", number - 1)).collect();
    refused(&format!("FROM a AS s0\nENV X={value}\n{heirs}"), "with variables expanded");
    refused(&"FROM a\n".repeat(501), "more than 500 stages");
    refused(&format!("FROM a\n#{}", "x".repeat(crate::TEXT_LIMIT)), "bytes, more than");
    refused(&format!("FROM a\nLABEL x={}", "${n:-".repeat(100_000)), "inside of each other");

    let chain: String = (1..500).map(|number| format!("FROM b\nCOPY --from={} . .\n", number - 1)).collect();
    let deep = inputs("D", &format!("FROM a\n{chain}"), None, &BTreeMap::new(), "").expect("a deep chain");
    assert_eq!(deep.bases, ["b", "a"]);
}
