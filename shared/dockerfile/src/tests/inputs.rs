//! What targets depend on.

use std::collections::BTreeMap;

use crate::{Inputs, inputs, stage_names};

/// Options of one question: arguments, target, platform.
struct Ask<'a> {
    args: &'a [(&'a str, &'a str)],
    target: Option<&'a str>,
    platform: &'a str,
}

const PLAIN: Ask<'static> = Ask { args: &[], target: None, platform: "linux/amd64" };

impl Ask<'_> {
    fn answer(&self, text: &str) -> Result<Inputs, String> {
        let args: BTreeMap<String, String> =
            self.args.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        inputs("Dockerfile", text, self.target, &args, self.platform).map_err(|error| error.to_string())
    }
}

/// One line each: bases, then texts with their sources behind ` <- `.
fn shown(answer: &Inputs) -> Vec<String> {
    let mut all: Vec<String> = answer.bases.iter().map(|base| format!("base {base}")).collect();
    for line in &answer.lines {
        let sources = line.sources.as_ref().map(|sources| format!(" <- {sources:?}")).unwrap_or_default();
        all.push(format!("{}{sources}", line.text));
    }
    all
}

fn check(ask: &Ask<'_>, text: &str, expected: &[&str]) {
    let answer = ask.answer(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    assert_eq!(shown(&answer), expected, "{text}");
}

/// Cases that need no arguments.
const CASES: &[(&str, &[&str])] = &[
    ("FROM alpine", &["base alpine", "FROM alpine"]),
    ("\u{feff}from alpine\r\nrun x\r\n", &["base alpine", "FROM alpine", "RUN x"]),
    ("FROM scratch\nCOPY . /", &["FROM scratch", "COPY . / <- [\".\"]"]),
    (
        "FROM a\nCOPY --chown=1:2 ./x y* /dst/\nADD z /",
        &["base a", "FROM a", "COPY --chown=1:2 ./x y* /dst/ <- [\"./x\", \"y*\"]", "ADD z / <- [\"z\"]"],
    ),
    // `**` is one only with --parents
    (
        "FROM a\nCOPY --parents src/**/*.go **/x l/./y /\nCOPY src/**/*.go /",
        &[
            "base a",
            "FROM a",
            "COPY --parents=\"\" src/**/*.go **/x l/./y / <- [\"src/.\", \".\", \"l/./y\"]",
            "COPY src/**/*.go / <- [\"src/**/*.go\"]",
        ],
    ),
    ("FROM a\nCOPY [\"a b\", \"c\"]", &["base a", "FROM a", "COPY \"a b\" c <- [\"a b\"]"]),
    (
        "FROM a\nADD https://host.example/f git@host.example:r.git x /d/\nADD http://host.example/g /",
        &[
            "base a",
            "FROM a",
            "ADD https://host.example/f git@host.example:r.git x /d/ <- [\"x\"]",
            "ADD http://host.example/g /",
        ],
    ),
    // arguments and variables
    (
        "ARG T=3.18 U=$T\nFROM alpine:$U\nARG T\nARG V=${T%.*}\nENV A=$V B='two words'\nLABEL v=$A-$B",
        &[
            "base alpine:3.18",
            "FROM alpine:3.18",
            "ARG T=3.18",
            "ARG V=3",
            "ENV A=3 B=\"two words\"",
            "LABEL v=\"3-two words\"",
        ],
    ),
    ("ARG T=1\nFROM a\nLABEL t=$T", &["base a", "FROM a", "LABEL t=$T"]),
    ("FROM a\nARG X\nCOPY ${X:-src} /", &["base a", "FROM a", "ARG X", "COPY src / <- [\"src\"]"]),
    ("FROM a\nARG X=1\nARG X\nLABEL x=$X", &["base a", "FROM a", "ARG X=1", "ARG X", "LABEL x=1"]),
    ("FROM a\nENV X=env\nARG X=arg\nLABEL x=$X", &["base a", "FROM a", "ENV X=env", "ARG X=arg", "LABEL x=arg"]),
    ("FROM a\nENV A=1\nENV A=2 B=$A\nLABEL b=$B", &["base a", "FROM a", "ENV A=1", "ENV A=2 B=1", "LABEL b=1"]),
    ("FROM a\nENV name some  value \"q\"", &["base a", "FROM a", "ENV name=\"some  value q\""]),
    (
        "FROM a\nENV PATH=/x:$PATH\nWORKDIR $PATH\nUSER \"$HOME\"",
        &["base a", "FROM a", "ENV PATH=/x:$PATH", "WORKDIR $PATH", "USER \"$HOME\""],
    ),
    ("FROM a\nLABEL p=\\$PATH", &["base a", "FROM a", "LABEL p=\"\\$PATH\""]),
    ("FROM a\nCOPY $GOPATH/src b /c", &["base a", "FROM a", "COPY $GOPATH/src b /c <- [\".\", \"b\"]"]),
    ("FROM a\nENV E=\nCOPY $E /c", &["base a", "FROM a", "ENV E=\"\"", "COPY \"\" /c <- [\".\"]"]),
    // stages
    (
        "FROM a AS one\nRUN 1\nFROM b AS two\nRUN 2\nFROM c\nCOPY --from=two x y",
        &["base c", "base b", "FROM b", "RUN 2", "FROM c", "COPY --from=#0 x y"],
    ),
    (
        "FROM a AS one\nFROM One AS two\nFROM two\nCOPY --from=0 x y\nCOPY --from=ONE x z",
        &["base a", "FROM a", "FROM #0", "FROM #1", "COPY --from=#0 x y", "COPY --from=#0 x z"],
    ),
    (
        "FROM a\nCOPY --from=nginx:1 x y\nCOPY --from=later x y\nFROM b AS later\nCOPY --from=0 / /",
        &[
            "base b",
            "base a",
            "base nginx:1",
            "base later",
            "FROM a",
            "COPY --from=nginx:1 x y",
            "COPY --from=later x y",
            "FROM b",
            "COPY --from=#0 / /",
        ],
    ),
    ("FROM a AS x\nARG V=1\nENV E=2\nFROM x\nLABEL l=$V$E\nFROM b\nLABEL l=$V", &["base b", "FROM b", "LABEL l=$V"]),
    (
        "FROM a AS x\nARG V=1\nENV E=2\nFROM x\nLABEL l=$V$E",
        &["base a", "FROM a", "ARG V=1", "ENV E=2", "FROM #0", "LABEL l=12"],
    ),
    (
        "FROM --platform=$BUILDPLATFORM a\nARG TARGETARCH\nARG TARGETVARIANT\nRUN x",
        &["base a", "FROM --platform=linux/amd64 a", "ARG TARGETARCH=amd64", "ARG TARGETVARIANT=\"\"", "RUN x"],
    ),
    // RUN
    ("FROM a\nRUN echo \\\n  # comment\n\n  b $X   \n", &["base a", "FROM a", "RUN echo   b $X"]),
    ("FROM a\nRUN [\"a\", \"$X\"]", &["base a", "FROM a", "RUN [\"a\", \"$X\"]"]),
    (
        "FROM a\nRUN cat <<EOF > /x && cat <<-\"E 2\"\n# kept $X\nEOF\n\ttab\n\tE 2\nUSER u",
        &["base a", "FROM a", "RUN cat <<EOF > /x && cat <<-\"E 2\"\n# kept $X\nEOF\ntab\nE 2", "USER u"],
    ),
    ("FROM a\nRUN cat <<< x; echo $((1<<2)) '<<EOF'", &["base a", "FROM a", "RUN cat <<< x; echo $((1<<2)) '<<EOF'"]),
    (
        "FROM a\nRUN cat << EOF > /x\ny\nEOF\nRUN echo $(( 1 << 2 ))",
        &["base a", "FROM a", "RUN cat << EOF > /x\ny\nEOF", "RUN echo $(( 1 << 2 ))"],
    ),
    ("FROM a\nRUN cat <<EOF # it's\nUSER u", &["base a", "FROM a", "RUN cat <<EOF # it's", "USER u"]),
    (
        "FROM a\nARG S=src\nRUN --mount=type=bind,source=$S,target=/s --mount=target=/all --network=none make",
        &[
            "base a",
            "FROM a",
            "ARG S=src",
            "RUN --mount=type=bind,source=src,target=/s --mount=target=/all --network=none make <- [\"src\", \".\"]",
        ],
    ),
    (
        "FROM t AS tools\nFROM a\nRUN --mount=type=cache,target=/c --mount=type=secret,id=s --mount=type=bind,from=tools,target=/t --mount=from=img:1,target=/i x",
        &[
            "base a",
            "base t",
            "base img:1",
            "FROM t",
            "FROM a",
            "RUN --mount=type=cache,target=/c --mount=type=secret,id=s --mount=type=bind,from=#0,target=/t --mount=from=img:1,target=/i x",
        ],
    ),
    // here-documents of COPY
    (
        "FROM a\nCOPY <<one <<\"two\" f /d/\n$X\none\ny\ntwo\nRUN z",
        &["base a", "FROM a", "COPY <<one <<\"two\" f /d/\n$X\none\ny\ntwo <- [\"f\"]", "RUN z"],
    ),
    ("FROM a\nCOPY <<E /d\nx\nE", &["base a", "FROM a", "COPY <<E /d\nx\nE"]),
    // ONBUILD
    (
        "FROM a AS base\nONBUILD COPY . /app\nONBUILD ARG V=1\nFROM base AS child\nLABEL v=$V\nFROM child",
        &[
            "base a",
            "FROM a",
            "ONBUILD COPY . /app",
            "ONBUILD ARG V=1",
            "FROM #0",
            "COPY . /app <- [\".\"]",
            "ARG V=1",
            "LABEL v=1",
            "FROM #1",
        ],
    ),
    // the rest
    (
        "FROM a\nARG P=\"80 443/udp\"\nEXPOSE $P 22\nVOLUME [\"/v\", \"/$P\"]\nSTOPSIGNAL SIG${P%% *}",
        &[
            "base a",
            "FROM a",
            "ARG P=\"80 443/udp\"",
            "EXPOSE 80 443/udp 22",
            "VOLUME /v \"/80 443/udp\"",
            "STOPSIGNAL SIG80",
        ],
    ),
    (
        "FROM a\nSHELL [\"bash\", \"-c\"]\nHEALTHCHECK --interval=5s CMD [\"x\"]\nCMD\nENTRYPOINT exec $X\nMAINTAINER m",
        &[
            "base a",
            "FROM a",
            "SHELL [\"bash\", \"-c\"]",
            "HEALTHCHECK --interval=5s CMD [\"x\"]",
            "CMD",
            "ENTRYPOINT exec $X",
            "MAINTAINER m",
        ],
    ),
    (
        "# escape=`\nFROM a\nCOPY a`\n b c:\\d\\",
        &["base a", "# escape=`", "FROM a", "COPY a b \"c:\\\\d\\\\\" <- [\"a\", \"b\"]"],
    ),
];

#[test]
fn targets_depend_on_what_they_use() {
    for (text, expected) in CASES {
        check(&PLAIN, text, expected);
    }
}

#[test]
fn arguments_come_from_outside_first() {
    let text = "ARG T=1\nFROM a:$T\nARG T=2\nARG U=$T\nARG HTTP_PROXY\nARG TARGETARCH";
    let given = Ask { args: &[("T", "x y"), ("unused", "1"), ("HTTPS_PROXY", "p")], ..PLAIN };
    check(
        &given,
        text,
        &["base a:x y", "FROM \"a:x y\"", "ARG T=\"x y\"", "ARG U=\"x y\"", "ARG HTTP_PROXY", "ARG TARGETARCH=amd64"],
    );
    let given = Ask { args: &[("HTTP_PROXY", "p"), ("TARGETARCH", "z80")], platform: "linux/arm/v7", target: None };
    check(&given, text, &["base a:1", "FROM a:1", "ARG T=2", "ARG U=2", "ARG HTTP_PROXY=p", "ARG TARGETARCH=z80"]);
    let platform = Ask { platform: "linux/arm/v7", ..PLAIN };
    let all = "FROM $TARGETOS-$TARGETARCH$TARGETVARIANT-$TARGETPLATFORM-$BUILDARCH-$TARGETSTAGE";
    check(&platform, all, &["base linux-armv7-linux/arm/v7-arm-default", "FROM linux-armv7-linux/arm/v7-arm-default"]);
}

#[test]
fn targets_are_named_by_name_or_number() {
    let text = "FROM a AS one\nFROM b\nFROM c AS three";
    for (target, base) in [("one", "a"), ("ONE", "a"), ("0", "a"), ("1", "b"), ("three", "c"), ("2", "c")] {
        let answer = Ask { target: Some(target), ..PLAIN }.answer(text).expect(target);
        assert_eq!(answer.bases, [base], "{target}");
    }
    assert_eq!(stage_names("Dockerfile", text).expect("names"), ["one", "1", "three"]);
    for target in ["four", "3", "", "-1"] {
        let error = Ask { target: Some(target), ..PLAIN }.answer(text).expect_err(target);
        assert_eq!(
            error,
            format!("Dockerfile: the target `{target}` is no stage of this file; its stages are one, 1, three")
        );
    }
}

/// Whether two files give the same lines for the same question.
fn same(ask: &Ask<'_>, one: &str, other: &str) -> bool {
    ask.answer(one).expect(one) == ask.answer(other).expect(other)
}

#[test]
fn only_what_is_used_counts() {
    let text = "ARG T=1\nFROM a:$T AS x\nRUN 1\nFROM b AS y\nARG U=1\nCOPY --from=x f g\nCOPY h i\n";
    let unchanged = [
        text.replace("RUN 1", "# note\nRUN 1\n\n"),
        text.replace("RUN 1", "run  1"),
        text.replace("AS x", "AS renamed").replace("from=x", "from=renamed"),
        text.replace("from=x", "from=0"),
        text.replace("FROM b", "FROM unused AS z\nRUN 2\nFROM b"),
        format!("ARG UNUSED=1\n{text}"),
        text.replace("ARG T=1", "ARG T=${N:-1}"),
        text.replace("COPY h i", "COPY [\"h\", \"i\"]"),
        text.replace("COPY h", "COPY \\\n  # note\n  h"),
    ];
    for other in &unchanged {
        assert!(same(&PLAIN, text, other), "{other}");
    }
    let changed = [
        text.replace("T=1", "T=2"),
        text.replace("U=1", "U=2"),
        text.replace("RUN 1", "RUN 2"),
        text.replace("f g", "f j"),
        text.replace("h i", "k i"),
        text.replace("COPY h", "COPY --chmod=755 h"),
        text.replace("COPY h", "ADD h"),
        text.replace("FROM b", "FROM c"),
        text.replace("RUN 1\n", ""),
        text.replace("--from=x ", ""),
        text.replace("from=x", "from=a:1"),
    ];
    for other in &changed {
        assert!(!same(&PLAIN, text, other), "{other}");
    }
    let given = Ask { args: &[("T", "2")], ..PLAIN };
    assert!(same(&given, text, &text.replace("T=1", "T=9")), "a default that is not used");
    let target = Ask { target: Some("x"), ..PLAIN };
    assert!(same(&target, text, &text.replace("h i", "k i")), "a stage behind the target");
}

#[test]
fn different_instructions_never_look_alike() {
    let pairs = [
        ("ENV A=\"1 B=2\"", "ENV A=1 B=2"),
        ("LABEL a=$PATH", "LABEL a=\\$PATH"),
        ("LABEL a='\"x\"'", "LABEL a=x"),
        ("LABEL a=\"1\n\"", "LABEL a='1\\n'"),
        ("COPY [\"a b\", \"c\"]", "COPY a b c"),
        ("ARG X", "ARG X="),
        ("CMD [\"a\"]", "CMD a"),
        ("RUN <<E\nx\nE", "RUN <<E\n\nx\nE"),
        ("RUN <<E\nx\nE", "RUN <<E\nx\r\nE"),
    ];
    for (one, other) in pairs {
        let file = |line: &str| format!("FROM a\n{line}\n");
        let (one, other) = (PLAIN.answer(&file(one)), PLAIN.answer(&file(other)));
        assert!(one != other, "{one:?}");
    }
}

#[test]
fn mistakes_are_named_with_their_line() {
    let cases = [
        ("", "Dockerfile: the file has no FROM"),
        ("# only\n", "Dockerfile: the file has no FROM"),
        ("ARG A=1\n", "Dockerfile: the file has no FROM"),
        ("RUN x\nFROM a", "Dockerfile:1: RUN stands before the first FROM"),
        ("FROM a\n\nFOO x", "Dockerfile:3: `FOO` is no instruction"),
        ("FROM", "Dockerfile:1: FROM needs an argument"),
        ("FROM a b", "Dockerfile:1: write FROM IMAGE"),
        ("FROM a AS", "Dockerfile:1: write FROM IMAGE"),
        ("FROM a AS 1x", "Dockerfile:1: `1x` is no stage name"),
        ("ARG B\n\nFROM ${B}", "Dockerfile:3: the base image `${B}` is empty"),
        ("FROM ${", "Dockerfile:1: `${`: a `}` is missing"),
        ("FROM a\nRUN", "Dockerfile:2: RUN needs an argument"),
        ("FROM a\nCOPY x", "Dockerfile:2: COPY needs a source and a destination"),
        ("FROM a\nADD [\"x\"]", "Dockerfile:2: ADD needs a source"),
        ("FROM a\nCOPY [\"x\", 1]", "Dockerfile:2: the JSON array of COPY may hold strings only"),
        ("FROM a\nCMD [{}]", "Dockerfile:2: the JSON array of CMD"),
        ("FROM a\nSHELL bash", "Dockerfile:2: SHELL needs a JSON array"),
        ("FROM a\nSHELL [\"a\"", "Dockerfile:2: SHELL needs a JSON array"),
        ("FROM a\nENV A", "Dockerfile:2: ENV needs a name and a value"),
        ("FROM a\nENV A=1 B", "Dockerfile:2: ENV: `B` has no `=`"),
        ("FROM a\nLABEL =x", "Dockerfile:2: LABEL: the name before `=`"),
        ("FROM a\nENV A='x", "Dockerfile:2: `'x`: a single quote is opened"),
        ("FROM a\nARG V\nUSER ${V:?say who}", "Dockerfile:3: `${V:?say who}`: the variable V is not set: say who"),
        ("FROM a\nHEALTHCHECK x", "Dockerfile:2: HEALTHCHECK needs NONE or CMD"),
        ("FROM a\nHEALTHCHECK NONE x", "Dockerfile:2: HEALTHCHECK NONE takes no arguments"),
        ("FROM a\nHEALTHCHECK CMD", "Dockerfile:2: HEALTHCHECK CMD needs a command"),
        ("FROM a\nONBUILD ONBUILD RUN x", "Dockerfile:2: ONBUILD ONBUILD is not allowed"),
        ("FROM a\nONBUILD FROM x", "Dockerfile:2: ONBUILD FROM is not allowed"),
        ("FROM a\nONBUILD FOO", "Dockerfile:2: `FOO` is no instruction"),
        ("FROM a\nONBUILD", "Dockerfile:2: ONBUILD needs an instruction"),
        ("FROM a\nRUN \\\n x\nRUN <<E\ny", "Dockerfile:4: the here-document `E` is opened here and never ends"),
        ("FROM a\nCOPY --from=0 x y", "Dockerfile:2: `from=0` names no stage before this one"),
        ("FROM a\nCOPY --from= x y", "Dockerfile:2: `from=` names nothing"),
        ("FROM a\nCOPY --from=$X x y", "Dockerfile:2: `from=$X` uses a variable that this file does not set"),
        ("FROM a\nRUN --mount=from=7,target=/x y", "Dockerfile:2: `from=7` names no stage"),
        ("# escape=x\nFROM a", "Dockerfile:1: the escape character is `x`"),
        ("# escape=\\\n# escape=`\nFROM a", "Dockerfile:2: the parser directive `escape`"),
    ];
    for (text, message) in cases {
        let error = PLAIN.answer(text).expect_err(text);
        assert!(error.starts_with(message), "{text:?}\n{error}");
    }
}

#[test]
fn a_mistake_in_an_unused_stage_is_found_only_by_reading() {
    assert!(PLAIN.answer("ARG B\nFROM $B AS unused\nFROM a").is_ok(), "its base is not needed");
    assert!(PLAIN.answer("FROM b AS unused\nFOO\nFROM a").is_err(), "the file is malformed");
}
