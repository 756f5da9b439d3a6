//! Dockerfiles as a builder does them: what is typed, how it is expanded, what is refused.

use std::collections::BTreeMap;

use crate::{Command, Given, MountKind, Origin, Program, Sharing, Source, Step, Variables};

fn read(text: &str, args: &[(&str, &str)]) -> Result<Program, String> {
    let args: BTreeMap<String, String> =
        args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let given = Given { target: None, args: &args, platform: "linux/arm64/v8", machine: "linux/amd64" };
    Program::read("Dockerfile", text, &given).map_err(|error| error.to_string())
}

/// The steps of the last stage, on an image with these variables.
fn steps(text: &str, args: &[(&str, &str)], environment: &[&str]) -> Result<(Vec<Step>, Variables), String> {
    let program = read(text, args)?;
    let environment: Vec<String> = environment.iter().map(|entry| (*entry).to_owned()).collect();
    let mut variables = program.variables(&environment);
    let one = |written| program.expand(written, &mut variables).map_err(|error| error.to_string());
    let steps = program.steps(program.target()).iter().map(one).collect::<Result<Vec<_>, _>>()?;
    Ok((steps, variables))
}

fn step(line: &str) -> Result<Step, String> {
    let (mut steps, _) = steps(&format!("FROM a\n{line}\n"), &[], &["BASE=of-base", "EMPTY="])?;
    Ok(steps.pop().expect("a step"))
}

#[test]
fn variables_are_those_of_the_image_and_of_the_lines_before() {
    let text = "ARG G=global\nARG V=1\nFROM a:$V\nARG G\nARG D=\"$BASE-d\"\nARG GIVEN=no\nARG NONE TARGETARCH\n\
                ENV BASE=new E=$BASE\nENV A=$E$G$D$GIVEN$NONE.\nENV D=wins\nWORKDIR $D/$TARGETARCH\n";
    let (steps, variables) = steps(text, &[("GIVEN", "yes")], &["BASE=old"]).expect("steps");
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(steps[4], Step::Env(vec![pair("BASE", "new"), pair("E", "old")]));
    assert_eq!(steps[5], Step::Env(vec![pair("A", "oldglobalold-dyes.")]));
    assert_eq!(steps[7], Step::Workdir("wins/arm64".to_owned()));
    let arguments = variables.arguments();
    let expected = [
        ("G", Some("global")),
        ("D", Some("wins")),
        ("GIVEN", Some("yes")),
        ("NONE", None),
        ("TARGETARCH", Some("arm64")),
    ];
    assert_eq!(arguments, expected);
    let head = read(text, &[("V", "2")]).expect("a program").head(0).expect("a head");
    assert_eq!((head.base, head.name.as_str()), (Origin::Image("a:2".to_owned()), "0"));
}

#[test]
fn only_what_commands_see_anyway_is_given_without_a_declaration() {
    let program = read("FROM a\n", &[("http_proxy", "p"), ("OTHER", "x")]).expect("a program");
    assert_eq!(program.predeclared().collect::<Vec<_>>(), [("http_proxy", "p")]);
}

#[test]
fn commands_are_lists_or_lines() {
    let shell = ["sh".to_owned(), "-c".to_owned()];
    let list = |text: &str| match step(text) {
        Ok(Step::Cmd(command) | Step::Entrypoint(command)) => command.arguments(&shell),
        other => panic!("{other:?}"),
    };
    assert_eq!(list("CMD [\"a\", \"$BASE\"]"), ["a", "$BASE"]);
    assert_eq!(list("ENTRYPOINT a  $BASE"), ["sh", "-c", "a  $BASE"]);
    assert_eq!(list("CMD []"), [""; 0]);
    assert_eq!(list("CMD [broken"), ["sh", "-c", "[broken"]);
}

#[test]
fn what_is_run_may_be_a_document() {
    let shell = ["sh".to_owned(), "-c".to_owned()];
    let process = |text: &str| match step(text) {
        Ok(Step::Run(run)) => run.process(&shell),
        other => panic!("{other:?}"),
    };
    let arguments = |text: &str| process(text).arguments;
    assert_eq!(arguments("RUN a $BASE\\\n  b"), ["sh", "-c", "a $BASE  b"]);
    assert_eq!(arguments("RUN [\"a\"]"), ["a"]);
    assert_eq!(arguments("RUN <<E\nx $BASE\n\ty\nE"), ["sh", "-c", "x $BASE\n\ty\n"]);
    assert_eq!(arguments("RUN <<-E\n\tx\n\tE"), ["sh", "-c", "x\n"]);
    assert_eq!(arguments("RUN cat <<E > f\nx\nE"), ["sh", "-c", "cat <<E > f\nx\nE"]);
    assert_eq!(arguments("RUN <<E cat > f\nx\nE"), ["sh", "-c", "<<E cat > f\nx\nE"]);
    assert_eq!(arguments("RUN << 'E'\nx\nE"), ["sh", "-c", "x\n"]);
    let script = process("RUN <<E\n#!/bin/p\nx\nE");
    assert_eq!(script.arguments, ["/dev/pipes/E"]);
    assert_eq!(script.script, Some(("/dev/pipes/E".to_owned(), "#!/bin/p\nx\n".to_owned())));
}

#[test]
fn mounts_are_typed_and_expanded() {
    let text = "RUN --mount=type=cache,target=/$BASE,id=$BASE,sharing=locked,mode=0700,uid=7 --mount=from=$BASE,target=x,rw \
                --network=none --security=sandbox a";
    let Ok(Step::Run(run)) = step(text) else { panic!("{:?}", step(text)) };
    let [cache, bind] = run.mounts.as_slice() else { panic!("{run:?}") };
    assert_eq!((cache.kind.clone(), cache.target.as_str()), (MountKind::Cache(Sharing::Locked), "/of-base"));
    assert_eq!((cache.id(), cache.mode, cache.uid, cache.read_only), ("of-base", Some(0o700), 7, false));
    assert_eq!((bind.from.as_deref(), bind.read_only), (Some("of-base"), false));
    assert_eq!(run.network, Some(crate::Network::None));
}

#[test]
fn files_are_typed_and_expanded() {
    let text = "COPY --from=$BASE --chown=$BASE --link --exclude=*.md --exclude=$BASE --parents a/$BASE b c/";
    let Ok(Step::Files(files)) = step(text) else { panic!("{:?}", step(text)) };
    assert_eq!(files.sources, [Source::Path("a/of-base".to_owned()), Source::Path("b".to_owned())]);
    assert_eq!((files.from.as_deref(), files.chown.as_deref()), (Some("of-base"), Some("of-base")));
    assert_eq!(files.exclude, ["*.md", "of-base"]);
    assert!(files.link && files.parents && !files.add && !files.needs_context());
    let text =
        "ADD --checksum=$BASE --keep-git-dir=true --unpack=false <<A <<\"B\" /d/\n\"$BASE\" \\$x\nA\n\"$BASE\" \\$x\nB";
    let Ok(Step::Files(files)) = step(text) else { panic!("{:?}", step(text)) };
    let contents = files.sources.iter().map(|source| match source {
        Source::Content(content) => (content.name.as_str(), content.text.as_str()),
        Source::Path(path) => panic!("{path}"),
    });
    assert_eq!(contents.collect::<Vec<_>>(), [("A", "\"of-base\" $x\n"), ("B", "\"$BASE\" \\$x\n")]);
    assert!(files.add && files.keep_git_dir && files.unpack == Some(false) && !files.needs_context());
}

#[test]
fn what_an_image_has_postponed_is_typed_where_it_is_done() {
    let program = read("FROM a\n\nFROM b AS c\n", &[]).expect("a program");
    let triggers = program.triggers(1, &["RUN x".to_owned(), "COPY <<E /e\ntext\nE".to_owned()]).expect("triggers");
    let told: Vec<(u32, &str)> = triggers.iter().map(|written| (written.line, written.text.as_str())).collect();
    assert_eq!(told, [(3, "ONBUILD RUN x"), (3, "ONBUILD COPY <<E /e")]);
    for bad in ["FROM x", "ONBUILD RUN x", "MAINTAINER x", "NONE", "RUN --what=1 x"] {
        let error = program.triggers(1, &[bad.to_owned()]).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with("Dockerfile:3: the base image has postponed by ONBUILD"), "{bad}: {error}");
    }
}

#[test]
fn stages_that_are_named_are_foreseen() {
    let text = "FROM a AS one\nFROM b\nFROM c AS three\nFROM one\nCOPY --from=1 x y\nRUN --mount=from=three,target=/t x\n\
                COPY --from=img x y\nCOPY --from=$V x y\n";
    let program = read(text, &[]).expect("a program");
    assert_eq!(program.foreseen(3), [1, 2]);
    assert_eq!(program.head(3).expect("a head").base, Origin::Stage(0));
    assert_eq!(program.origin("scratch", 3, 5), Ok(Origin::Scratch));
    for late in ["three", "THREE"] {
        let told = program.origin(late, 2, 5).expect_err("it is the stage itself").to_string();
        assert_eq!(
            told,
            format!("Dockerfile:5: `from={late}` names the stage on line 3, which is not before this one")
        );
    }
    assert!(program.origin("", 3, 5).is_err() && program.origin("3", 3, 5).is_err());
}

#[test]
fn what_is_wrong_is_told_before_anything_is_done() {
    for (line, part) in [
        ("RUN --none=x a", "RUN: the flag --none is unknown"),
        ("RUN --security=insecure a", "--security=insecure is refused"),
        ("RUN --network=x a", "none of: default, none, host"),
        ("RUN --mount=type=x,target=/x a", "type is one of"),
        ("RUN []", "the list of arguments is empty"),
        ("RUN [\"a\"] <<E\nE", "RUN"),
        ("COPY --link=maybe a b", "--link=maybe is neither true nor false"),
        ("COPY --chown=a --chown=b x y", "the flag --chown stands here twice"),
        ("COPY --checksum=a x y", "the flag --checksum is unknown"),
        ("ADD --from=a x y", "the flag --from is unknown"),
        ("WORKDIR --x=1 /a", "the flag --x is unknown"),
        ("HEALTHCHECK --interval=1 CMD x", "--interval=1 is no time"),
        ("HEALTHCHECK --retries=0 CMD x", "no number from 1 on"),
        ("HEALTHCHECK --timeout=1s NONE", "takes no flags"),
        ("ONBUILD RUN --none=x a", "the flag --none is unknown"),
        ("EXPOSE 80/ip", "`80/ip` is no port"),
        ("EXPOSE 9-8", "`9-8` is no port"),
        ("STOPSIGNAL x", "`x` is no signal"),
        ("VOLUME [\" \"]", "a path is empty"),
        ("WORKDIR $EMPTY", "the path is empty"),
        ("USER $EMPTY", "the name is empty"),
        ("ENV $EMPTY=x", "a name is empty"),
        ("RUN --mount=type=cache,target=/x,mode=$BASE a", "mode=of-base is no number"),
    ] {
        let told = step(line).expect_err(line);
        assert!(told.starts_with("Dockerfile:2: ") && told.contains(part), "{line}: {told}");
    }
}

#[test]
fn plain_instructions_are_expanded() {
    let text = |line: &str| format!("{:?}", step(line).expect(line));
    assert_eq!(
        step("EXPOSE $BASE 80"),
        Err("Dockerfile:2: EXPOSE: `of-base` is no port; write PORT or FIRST-LAST, with /tcp, /udp or /sctp".to_owned())
    );
    assert_eq!(step("VOLUME /$BASE b"), Ok(Step::Volume(vec!["/of-base".to_owned(), "b".to_owned()])));
    assert_eq!(step("SHELL [\"$BASE\"]"), Ok(Step::Shell(vec!["$BASE".to_owned()])));
    assert_eq!(step("MAINTAINER $BASE"), Ok(Step::Maintainer("$BASE".to_owned())));
    assert_eq!(step("ONBUILD RUN $BASE"), Ok(Step::Onbuild("RUN $BASE".to_owned())));
    assert_eq!(step("HEALTHCHECK NONE"), Ok(Step::Healthcheck(None)));
    assert_eq!(step("STOPSIGNAL sigterm"), Ok(Step::Stopsignal("sigterm".to_owned())));
    assert!(text("HEALTHCHECK --start-interval=2s CMD [\"a\"]").contains("start_interval: 2000000000"));
    assert!(
        matches!(step("HEALTHCHECK CMD a $BASE"), Ok(Step::Healthcheck(Some(health))) if health.command == Command::Shell("a $BASE".to_owned()))
    );
}
