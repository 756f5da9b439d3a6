//! Dockerfiles: instructions, commands and their mounts, what is done again and what is not.

use slipway_backend::{
    BackendError, ContainerBackend, DockerfileBuild, ImageStore as _, LocalImage, Secrets, SshAgent,
    conformance::{Harness, Item, archive, build_of, collect, file, link},
};
use slipway_oci::{ImageAt, ImageConfig, Repo};
use slipway_parts::Registry;
use slipway_process::Environment;
use tokio::sync::mpsc;

use crate::{
    parts::{Native, RUNTIME, is_gvisor},
    repo,
};

/// A backend and a base with a shell, which Dockerfiles call `base`.
pub(crate) struct Scene<'a> {
    pub(crate) harness: Harness<'a>,
    base: LocalImage,
}

impl<'a> Scene<'a> {
    pub(crate) async fn new(native: &'a Native) -> Self {
        let harness = Harness::new(&native.backend, &native.base);
        let make = "B=/.werf/stapel/embedded/bin/busybox; $B cp $B /bin/busybox; /bin/busybox --install -s /bin; \
                    $B mkdir -p /tmp; $B chmod 1777 /tmp; echo 'app:x:1000:2000::/home/app:/bin/sh' >>/etc/passwd; \
                    echo 'web:x:33:app' >/etc/group";
        let base = harness.built(&native.base, &[(1, make)]).await;
        Self { harness, base }
    }

    pub(crate) fn order(&self, text: &str) -> DockerfileBuild {
        let at = ImageAt { repo: Repo { host: String::new(), path: "base".to_owned() }, digest: self.base.id.clone() };
        DockerfileBuild { bases: vec![("base".to_owned(), Some(at))], ..build_of(self.harness.attempt(), text) }
    }

    pub(crate) async fn build(
        &self,
        order: DockerfileBuild,
        context: &[Item],
    ) -> (Result<LocalImage, BackendError>, Vec<String>) {
        self.build_with(self.harness.backend, order, context).await
    }

    /// The same by another backend.
    pub(crate) async fn build_with(
        &self,
        backend: &dyn ContainerBackend,
        order: DockerfileBuild,
        context: &[Item],
    ) -> (Result<LocalImage, BackendError>, Vec<String>) {
        let (logs, lines) = mpsc::channel(16);
        tokio::join!(backend.dockerfile(order, archive(context), logs), collect(lines))
    }

    /// Builds what can be built; answers the image and what was said.
    pub(crate) async fn built(&self, text: &str, context: &[Item]) -> (LocalImage, Vec<String>) {
        self.made(self.order(text), context).await
    }

    pub(crate) async fn made(&self, order: DockerfileBuild, context: &[Item]) -> (LocalImage, Vec<String>) {
        let (built, said) = self.build(order, context).await;
        (built.unwrap_or_else(|error| panic!("{error:?}: {said:#?}")), said)
    }

    async fn refused(&self, text: &str) -> String {
        let (built, said) = self.build(self.order(text), &[file("f", "x"), link("to-the-host", "/usr/share")]).await;
        match built {
            Err(error) if !error.is_retryable() => error.to_string(),
            other => panic!("{text}: {other:?} {said:?}"),
        }
    }

    pub(crate) async fn text(&self, image: &LocalImage, path: &str) -> String {
        self.harness.text(image, path).await
    }

    pub(crate) async fn config(&self, image: &LocalImage) -> ImageConfig {
        self.harness.backend.config(image).await.expect("a config")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_dockerfile_is_built() {
    let Some(native) = Native::start().await else { return };
    let scene = Scene::new(&native).await;
    let text = "ARG TAG=base\nFROM $TAG AS first\nARG WORD=w\nENV A=1 B=\"two words\"\nWORKDIR /app/sub\n\
                RUN echo \"$A $B $WORD $PWD\" > seen && id >> seen\nFROM base\n\
                COPY --from=first /app /app\nCOPY f /app/\nCMD [\"x\"]\n";
    let (image, said) = scene.built(text, &[file("f", "content")]).await;
    assert_eq!(scene.text(&image, "/app/f").await, "content");
    let seen = scene.text(&image, "/app/sub/seen").await;
    assert!(seen.starts_with("1 two words w /app/sub\nuid=0(root) gid=0"), "{seen} {said:#?}");
    let config = scene.config(&image).await;
    assert_eq!(config.config.cmd, Some(vec!["x".to_owned()]));
    assert!(said.iter().any(|line| line.starts_with("[first 3/3] RUN echo")), "{said:#?}");
    // Again: nothing is run.
    let (again, said) = scene.built(text, &[file("f", "content")]).await;
    assert_eq!(again.id, image.id);
    assert_eq!(said.iter().filter(|line| line.ends_with(" (cached)")).count(), 4, "{said:#?}");
    native.end().await;
}

/// Of the lines that were said, those that commands said.
pub(crate) fn spoken(said: &[String]) -> Vec<&str> {
    said.iter().map(String::as_str).filter(|line| !line.starts_with('[')).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_as_the_image_says() {
    let Some(native) = Native::start().await else { return };
    let scene = Scene::new(&native).await;
    let text = "FROM base\nUSER app\nWORKDIR /home/app\nRUN id -u; id -g; id -G; echo $HOME; pwd; grep CapEff /proc/self/status\n\
                USER app:web\nRUN id -u; id -g; id -G\nUSER 7\nRUN id -u; id -g; echo $HOME\n\
                USER root\nRUN [\"/bin/echo\", \"$HOME\", \"two  words\"]\n\
                SHELL [\"/bin/sh\", \"-e\", \"-c\"]\nRUN echo $0 $-; test ! -e /.werf; test ! -e /run/secrets\n\
                RUN <<EOF\necho here\necho \"$PWD\"\nEOF\n\
                RUN <<EOF\n#!/bin/cat\nEOF\nRUN cat <<A <<B\na\nA\nb\nB\n";
    let (image, said) = scene.built(text, &[]).await;
    let expected = [
        "1000",
        "2000",
        "2000 33",
        "/home/app",
        "/home/app",
        "CapEff:\t0000000000000000",
        "1000",
        "33",
        "33",
        "7",
        "0",
        "/",
        "$HOME two  words",
        "/bin/sh ce",
        "here",
        "/home/app",
        "#!/bin/cat",
        "b",
    ];
    assert_eq!(spoken(&said), expected, "{said:#?}");
    let config = scene.config(&image).await;
    let config_text = serde_json(&config);
    assert!(!config_text.contains("HOME=") && !config_text.contains("HOSTNAME"), "{config_text}");
    let paths = scene.harness.paths(&image, "/").await;
    assert!(!paths.iter().any(|path| path.starts_with("dev/") || path == "proc" || path == ".werf"), "{paths:?}");
    native.end().await;
}

fn serde_json(config: &ImageConfig) -> String {
    String::from_utf8(config.to_bytes()).expect("utf-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn configs_and_histories_are_as_buildkit_writes_them() {
    let Some(native) = Native::start().await else { return };
    let scene = Scene::new(&native).await;
    let text = "FROM base AS below\nENTRYPOINT [\"e\"]\nCMD x y\nONBUILD RUN echo triggered > /triggered\n\
                FROM below\nARG A=1 B\nMAINTAINER me\nLABEL a=b \"c d\"='e f'\nEXPOSE 80 90-91/udp\nVOLUME /v [x]\n\
                STOPSIGNAL SIGINT\nHEALTHCHECK --interval=5s --retries=2 CMD true\nENTRYPOINT [\"n\"]\nRUN echo $A >/a\n";
    let (image, said) = scene.built(text, &[]).await;
    assert_eq!(scene.text(&image, "/triggered").await, "triggered\n", "{said:#?}");
    let config = scene.config(&image).await;
    let run = &config.config;
    assert_eq!((run.cmd.clone(), run.entrypoint.clone()), (None, Some(vec!["n".to_owned()])));
    assert_eq!(run.labels().get("c d").map(String::as_str), Some("e f"));
    let ports: Vec<&String> = run.exposed_ports.iter().flatten().map(|(port, _)| port).collect();
    assert_eq!(ports, ["80/tcp", "90/udp", "91/udp"]);
    assert_eq!(run.stop_signal.as_deref(), Some("SIGINT"));
    let health = run.healthcheck.clone().expect("a check");
    assert_eq!(
        (health.test.join(" "), health.interval, health.retries),
        ("CMD-SHELL true".to_owned(), 5_000_000_000, 2)
    );
    assert!(!run.other.contains_key("OnBuild"));
    assert_eq!(config.other["author"], "me");
    let history = config.other["history"].as_array().expect("a list").clone();
    let own: Vec<&str> = history.iter().filter_map(|entry| entry["created_by"].as_str()).skip(2).collect();
    let expected = [
        "ENTRYPOINT [\"e\"]",
        "CMD [\"/bin/sh\" \"-c\" \"x y\"]",
        "RUN /bin/sh -c echo triggered > /triggered # buildkit",
        "ARG A=1 B",
        "MAINTAINER me",
        "LABEL a=b c d=e f",
        "EXPOSE map[80/tcp:{} 90/udp:{} 91/udp:{}]",
        "VOLUME [/v [x]]",
        "STOPSIGNAL SIGINT",
        "HEALTHCHECK &{[\"CMD-SHELL\" \"true\"] \"5s\" \"0s\" \"0s\" \"0s\" '\\x02'}",
        "ENTRYPOINT [\"n\"]",
        "RUN |2 A=1 B= /bin/sh -c echo $A >/a # buildkit",
    ];
    assert_eq!(own, expected);
    let layers = history.iter().filter(|entry| entry.get("empty_layer").is_none()).count();
    assert_eq!(layers, config.rootfs.diff_ids.len());
    assert!(history.iter().all(|entry| entry["created"].is_string()));
    native.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_are_seen_and_leave_nothing() {
    let Some(native) = Native::start().await else { return };
    let scene = Scene::new(&native).await;
    let text = "FROM base AS other\nRUN mkdir -p /d/e; echo of-stage > /d/e/f; ln -s /etc /d/out\n\
        FROM base\nRUN --mount=target=/ctx --mount=type=bind,from=other,source=/d,target=/o,rw \\\n  \
        cat /ctx/f; cat /o/e/f; echo w > /o/new; cat /o/out/group; echo w 2>/dev/null > /ctx/new || echo read-only\n\
        RUN --mount=type=bind,source=f,target=/one/file cat /one/file; test ! -e /o\n\
        RUN --mount=type=tmpfs,target=/t,size=64k echo t > /t/f && grep ' /t ' /proc/mounts | cut -d' ' -f3\n\
        RUN --mount=type=secret,id=s --mount=type=secret,id=s,target=/etc/s,uid=1000,mode=0440 \\\n  \
        --mount=type=secret,id=s,env=TOKEN --mount=type=secret,id=none \\\n  \
        wc -c < /run/secrets/s; stat -c '%a %u' /etc/s /run/secrets/s; test \"$TOKEN\" = \"$(cat /etc/s)\" && echo same; cat /etc/s\n\
        FROM base AS shut\nRUN --mount=type=secret,id=none,required true\n\
        FROM base AS up\nRUN --mount=from=other,source=/../../d/out,target=/x ls /x\n";
    let mut secrets = Secrets::none();
    secrets.add("s", b"very-secret".to_vec());
    let order = |target: &str| DockerfileBuild {
        secrets: secrets.clone(),
        target: (!target.is_empty()).then(|| target.to_owned()),
        ..scene.order(text)
    };
    let context = [file("f", "of-context\n")];
    let (image, said) = scene.made(order("1"), &context).await;
    let expected = [
        "of-context",
        "of-stage",
        "web:x:33:app",
        "read-only",
        "of-context",
        // By gVisor, whatever is mounted is of its own kind.
        if is_gvisor() { "9p" } else { "tmpfs" },
        "11",
        "440 1000",
        "400 0",
        "same",
        "***",
    ];
    assert_eq!(spoken(&said), expected, "{said:#?}");
    let paths = scene.harness.paths(&image, "/").await;
    for gone in ["ctx", "o", "one", "t", "run", "etc/s"] {
        assert!(!paths.iter().any(|path| path == gone), "{gone}: {paths:?}");
    }
    assert!(!serde_json(&scene.config(&image).await).contains("very-secret"));
    let (built, _) = scene.build(order("shut"), &context).await;
    let told = built.expect_err("a secret that is not there").to_string();
    assert!(told.contains("line 12") && told.contains("no secret `none`"), "{told}");
    // A link of a stage leads into that stage, never out of it.
    let (_, said) = scene.made(order("up"), &context).await;
    assert!(spoken(&said).contains(&"group"), "{said:#?}");
    native.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_last_and_are_shared_as_they_say() {
    let Some(native) = Native::start().await else { return };
    let scene = Scene::new(&native).await;
    let run = |mark: usize, options: &str| {
        format!(
            "FROM base\nRUN --mount=type=cache,target=/c{options} echo {mark} >> /c/log; cat /c/log; stat -c '%a %u' /c\n"
        )
    };
    let (image, said) = scene.built(&run(1, ""), &[]).await;
    assert_eq!(spoken(&said), ["1", "755 0"]);
    assert!(!scene.harness.paths(&image, "/").await.iter().any(|path| path.starts_with('c')));
    let (_, said) = scene.built(&run(2, ""), &[]).await;
    assert_eq!(spoken(&said), ["1", "2", "755 0"]);
    let (_, said) = scene.built(&run(3, ",id=other,mode=0700,uid=1000,sharing=locked"), &[]).await;
    assert_eq!(spoken(&said), ["3", "700 1000"]);
    // At first it has what it comes from.
    let seeded = "FROM base AS b\nRUN mkdir /s; echo seed > /s/log\n";
    let with = |mark: usize| format!("{seeded}{}", run(mark, ",from=b,source=/s"));
    let (_, said) = scene.built(&with(4), &[]).await;
    assert_eq!(spoken(&said), ["seed", "4", "755 0"]);
    // One after the other: nobody sees the other half-way.
    let locked = |mark: usize| {
        format!(
            "FROM base\nRUN --mount=type=cache,target=/c,sharing=locked,id=lock \
             test ! -e /c/busy; echo {mark} > /c/busy; usleep 50000; rm /c/busy\n"
        )
    };
    let texts: Vec<String> = (10..16).map(locked).collect();
    let builds = texts.iter().map(|text| scene.built(text, &[]));
    futures::future::join_all(builds).await;
    // Whoever takes two takes them in one order, and one that is mounted twice once.
    let both = |first: &str, second: &str| {
        format!(
            "FROM base\nRUN --mount=type=cache,target=/{first},sharing=locked,id={first} \
             --mount=type=cache,target=/{second},sharing=locked,id={second} \
             --mount=type=cache,target=/again,sharing=locked,id={second} \
             echo {first} > /again/by; cat /{second}/by; usleep 5000\n"
        )
    };
    let texts: Vec<String> = (0..6).map(|at| if at % 2 == 0 { both("x", "y") } else { both("y", "x") }).collect();
    futures::future::join_all(texts.iter().map(|text| scene.built(text, &[]))).await;
    // Each its own.
    let private = |mark: usize| {
        format!(
            "FROM base\nRUN --mount=type=cache,target=/c,sharing=private,id=mine \
             test ! -e /c/busy; echo {mark} > /c/busy; usleep 50000; rm /c/busy\n"
        )
    };
    let texts: Vec<String> = (20..24).map(private).collect();
    futures::future::join_all(texts.iter().map(|text| scene.built(text, &[]))).await;
    native.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_reached() {
    let Some(native) = Native::start().await else { return };
    let scene = Scene::new(&native).await;
    let home = tempfile::tempdir().expect("a directory");
    let socket = home.path().join("agent");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let agent = Some(SshAgent { socket, ids: vec!["default".to_owned(), "git".to_owned()] });
    let text = "FROM base\nRUN --mount=type=ssh --mount=type=ssh,id=git,target=/a/b test -S /a/b; echo $SSH_AUTH_SOCK; \
                test -S $SSH_AUTH_SOCK && echo there\nFROM base\nRUN --mount=type=ssh,id=other,required true\n";
    let order =
        |target: &str| DockerfileBuild { agent: agent.clone(), target: Some(target.to_owned()), ..scene.order(text) };
    let (_, said) = scene.made(order("0"), &[]).await;
    assert_eq!(spoken(&said), ["/run/buildkit/ssh_agent.0", "there"]);
    let (built, _) = scene.build(order("1"), &[]).await;
    assert!(built.expect_err("no such agent").to_string().contains("no ssh agent `other`"));
    native.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_say_where_and_stop_the_others() {
    let Some(native) = Native::start().await else { return };
    let scene = Scene::new(&native).await;
    let text = "FROM base AS slow\nRUN while :; do usleep 1000; done\nFROM base\n\nRUN echo out; echo err >&2; \\\n  exit 3\n\
                COPY --from=slow /etc /etc\n";
    let (built, _) = scene.build(scene.order(text), &[]).await;
    match built {
        Err(BackendError::Command { command, exit: 3, line: Some(5), mut tail }) => {
            assert_eq!(command.as_deref(), Some("RUN echo out; echo err >&2; exit 3"));
            tail.sort();
            assert_eq!(tail, ["err", "out"]);
        }
        other => panic!("{other:?}"),
    }
    for (text, code) in [("RUN [\"/none\"]", 127), ("RUN [\"none\"]", 127), ("RUN [\"/etc/passwd\"]", 126)] {
        let (built, said) = scene.build(scene.order(&format!("FROM base\n{text}\n")), &[]).await;
        // A runtime tells it in its own way.
        let any = Environment::from_process().get(RUNTIME).is_some();
        let told = matches!(built, Err(BackendError::Command { exit, line: Some(2), .. }) if any || exit == code);
        assert!(told, "{text}: {built:?} {said:?}");
    }
    for (text, part) in [
        ("FROM base\nRUN --security=insecure id", "line 2"),
        ("FROM base\nRUN --what=x id", "flag --what is unknown"),
        ("FROM base\nUSER none\nRUN id", "(line 3): RUN id: user `none` is not in /etc/passwd"),
        ("FROM base\nWORKDIR /etc/passwd", "(line 2): WORKDIR /etc/passwd: /etc/passwd is no directory"),
        ("FROM --platform=none base", "`none` is no platform"),
        ("FROM base\nRUN --mount=target=/ id", "a mount cannot take the place of the whole image"),
        ("FROM base\nRUN --mount=target=/x,source=to-the-host id", "to-the-host"),
        ("FROM base\nRUN --mount=from=base,target=/x,source=/none id", "`/none`, which is to be mounted at /x"),
        ("FROM base\nRUN --mount=type=cache,target=/x,source=/y id", "only together with `from`"),
        ("FROM base\nRUN --mount=target=/x,source=none id", "`none` is not in the build context"),
        ("FROM base\nEXPOSE x", "`x` is no port"),
        ("FROM base\nENV A=\"${B:?must be set}\"", "must be set"),
        ("FROM base\nRUN --network=some id", "none of: default, none, host"),
        ("FROM base\nCOPY --from=2 a b", "names no stage before this one"),
    ] {
        let told = scene.refused(text).await;
        assert!(told.contains(part) && told.starts_with("the Dockerfile cannot be built (line "), "{text}: {told}");
    }
    native.end().await;
}

/// Layers are in the repository while a later instruction runs; of a build that fails, nothing stays under way.
#[tokio::test(flavor = "multi_thread")]
async fn layers_are_sent_while_later_instructions_run() {
    let Some(native) = Native::start().await else { return };
    let Some(registry) = Registry::start() else { return };
    let scene = Scene::new(&native).await;
    let to = repo(&registry, "early");
    let sent = |text: &str| DockerfileBuild { to: Some(to.clone()), ..scene.order(text) };
    let waits = "--mount=type=cache,id=door,target=/door until [ -e /door/go ]; do sleep 0.1; done";
    let first = "FROM base AS other\nRUN head -c 3000000 /dev/urandom > /not-sent\nFROM base AS below\n\
                 RUN head -c 2000000 /dev/urandom > /large\n";
    let text = format!("{first}FROM below\nCOPY --from=other /not-sent /is-sent\nRUN {waits}\n");
    let listed = |of: &str| std::fs::read_dir(native.store().join(of)).expect("a listing").flatten();
    let notes = || listed("known").filter(|found| !found.file_name().to_string_lossy().starts_with('.')).count();
    let door = || listed("mounts").map(|found| found.path().join("data")).find(|path| path.is_dir());
    // What is random, and the copy of it, on the base.
    let expected = scene.config(&scene.base).await.rootfs.diff_ids.len() + 2;
    let go = async {
        let door = loop {
            match door() {
                Some(door) if notes() == expected => break door,
                _ => tokio::task::yield_now().await,
            }
        };
        std::fs::write(door.join("go"), "").expect("a file");
        notes()
    };
    let ((image, _), known) = tokio::join!(scene.made(sent(&text), &[]), go);
    assert_eq!(scene.config(&image).await.rootfs.diff_ids.len(), expected);
    assert_eq!((known, notes()), (expected, expected), "what the image has, and nothing else");
    native.backend.push(&image, &to, "attempt").await.expect("a push");
    let failing = "FROM base\nRUN head -c 9000000 /dev/urandom > /large\nRUN exit 3\n";
    let (failed, said) = scene.build(sent(failing), &[]).await;
    assert!(matches!(failed, Err(BackendError::Command { exit: 3, .. })), "{failed:?}: {said:?}");
    let uploads = registry.data().join("docker/registry/v2/repositories/early/_uploads");
    native.end().await;
    let open = |upload: std::io::Result<std::fs::DirEntry>| upload.expect("an entry").path().join("startedat").exists();
    assert_eq!(std::fs::read_dir(&uploads).map(|all| all.map(open).filter(|open| *open).count()).unwrap_or(0), 0);
}
