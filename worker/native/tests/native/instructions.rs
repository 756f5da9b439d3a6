//! Instructions whose matter is not the image that they stand on: other platforms, layers of their own, agents, room, other
//! processes.

use slipway_backend::emulation;
use slipway_backend::{
    BackendError, DockerfileBuild, ImageStore as _, LocalImage, SshAgent,
    conformance::{build_of, file},
};
use slipway_oci::{BlobDigest, Platform, Repo};
use slipway_parts::Registry;

use crate::{
    dockerfile::{Scene, spoken},
    parts::{Native, client},
    repo,
};

/// Of a platform that this machine is not of.
fn foreign() -> Platform {
    let arch = if Platform::host().arch == "s390x" { "amd64" } else { "s390x" };
    Platform { os: "linux".to_owned(), arch: arch.to_owned(), variant: None }
}

/// Stores images of platforms under one name, `multi`.
async fn index(native: &Native, to: &Repo, images: &[(&LocalImage, &Platform)]) -> String {
    let mut manifests = Vec::new();
    for (image, platform) in images {
        let pushed = native.backend.push(image, to, "attempt").await.expect("a push");
        let bytes =
            client().manifest(to, pushed.manifest.as_str()).await.expect("an answer").expect("a manifest").bytes;
        manifests.push(format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{},"platform":{{"os":"{}","architecture":"{}"}}}}"#,
            pushed.manifest,
            bytes.len(),
            platform.os,
            platform.arch
        ));
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{}]}}"#, manifests.join(","));
    client().put_manifest(to, "multi", media_type, index.into_bytes().into()).await.expect("an index");
    format!("{to}:multi")
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_of_another_platform_are_copied_from_and_run_only_where_that_works() {
    let Some(native) = Native::start().await else { return };
    let Some(registry) = Registry::start() else { return };
    let scene = Scene::new(&native).await;
    let (host, other, to) = (Platform::host(), foreign(), repo(&registry, "several"));
    let mut made = Vec::new();
    for platform in [&host, &other] {
        let text = "FROM scratch\nCOPY f /f\n";
        let order = DockerfileBuild { platform: platform.clone(), ..build_of(scene.harness.attempt(), text) };
        made.push(scene.made(order, &[file("f", &platform.arch)]).await.0);
    }
    let several = index(&native, &to, &[(&made[0], &host), (&made[1], &other)]).await;
    let text = format!(
        "FROM --platform={other} {several} AS other\nFROM --platform=$BUILDPLATFORM {several} AS own\nFROM base\n\
         COPY --from=other /f /other\nCOPY --from=own /f /own\n"
    );
    let (image, said) = scene.built(&text, &[]).await;
    assert_eq!(scene.text(&image, "/other").await, other.arch, "{said:#?}");
    assert_eq!(scene.text(&image, "/own").await, host.arch, "{said:#?}");
    let (image, _) = scene.built(&format!("FROM --platform={other} {several}\nLABEL a=b\n"), &[]).await;
    assert_eq!(scene.config(&image).await.architecture, other.arch);
    let room = tempfile::tempdir().expect("a directory");
    let Some(binfmt) = emulation::missing(&other, room.path()) else {
        slipway_parts::skip("emulation", "this machine runs programs of other platforms");
        return native.end().await;
    };
    // It is said before anything runs.
    let text = format!(
        "FROM base AS before\nRUN echo ran\nFROM --platform={other} {several} AS other\nFROM other\n\
         COPY --from=before /etc /etc\nRUN true\n"
    );
    let (refused, said) = scene.build(scene.order(&text), &[]).await;
    match refused {
        Err(BackendError::Instruction { line: 6, error }) => {
            let why = error.to_string();
            assert!(!error.is_retryable() && why.contains(&format!("{binfmt} in binfmt_misc")), "{why}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(said, Vec::<String>::new());
    native.end().await;
}

/// What `--link` makes is the same layer on whatever it lies.
#[tokio::test(flavor = "multi_thread")]
async fn linked_files_are_one_layer_on_all_images() {
    let Some(native) = Native::start().await else { return };
    let scene = Scene::new(&native).await;
    let context = [file("f", "content")];
    let top = async |base: &str| -> (LocalImage, BlobDigest) {
        let text = format!("{base}COPY --link --chown=app f /opt/deep/f\n");
        let (image, said) = scene.built(&text, &context).await;
        assert_eq!(scene.text(&image, "/opt/deep/f").await, "content", "{said:#?}");
        let ids = scene.config(&image).await.rootfs.diff_ids;
        (image, ids.last().expect("a layer").parse().expect("a digest"))
    };
    let (_, plain) = top("FROM base\n").await;
    let (image, other) = top("FROM base\nRUN mkdir -m 700 /opt && echo kept > /opt/kept\n").await;
    assert_eq!(plain, other);
    assert_eq!(scene.text(&image, "/opt/kept").await, "kept\n");
    // Without it, the layer has what was there before.
    let (image, _) = scene.built("FROM base\nRUN mkdir -m 700 /opt\nCOPY --chown=app f /opt/deep/f\n", &context).await;
    assert_ne!(scene.config(&image).await.rootfs.diff_ids.last(), Some(&plain.to_string()));
    native.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_whose_it_is_to_be() {
    let Some(native) = Native::start().await else { return };
    let scene = Scene::new(&native).await;
    let home = tempfile::tempdir().expect("a directory");
    let socket = home.path().join("agent");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let before = std::fs::metadata(&socket).expect("a socket");
    let agent = Some(SshAgent { socket: socket.clone(), ids: vec!["default".to_owned()] });
    let text =
        "FROM base\nUSER app\nRUN --mount=type=ssh,uid=1000,gid=2000,mode=0620 stat -c '%F %u:%g %a' $SSH_AUTH_SOCK\n";
    let (_, said) = scene.made(DockerfileBuild { agent, ..scene.order(text) }, &[]).await;
    assert_eq!(spoken(&said), ["socket 1000:2000 620"]);
    let after = std::fs::metadata(&socket).expect("a socket");
    assert_eq!(before.permissions(), after.permissions());
    native.end().await;
}

/// A context for which there is no room is refused before all of it is on the disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_context_has_its_room_in_the_store() {
    let Some(native) = Native::with(Some(16 << 20)).await else { return };
    let scene = Scene::new(&native).await;
    let large = [file("large", &"x".repeat(18 << 20))];
    let (refused, said) = scene.build(scene.order("FROM base\nCOPY large /\n"), &large).await;
    let why = refused.expect_err("no room").to_string();
    assert!(why.contains("unpack the build context") && why.contains("free some space"), "{why} {said:?}");
    let (image, _) = scene.built("FROM base\nCOPY small /\n", &[file("small", "y")]).await;
    assert_eq!(scene.text(&image, "/small").await, "y");
    native.end().await;
}

/// Of two processes that build the same, one does each instruction, and the other takes what came of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_instruction_is_done_by_one_process_at_a_time() {
    let Some(native) = Native::start().await else { return };
    let scene = Scene::new(&native).await;
    let process = native.again().await;
    let text =
        "FROM base\nRUN head -c 20 /dev/urandom > /random; echo ran\nRUN head -c 20 /dev/urandom > /more; echo ran\n";
    let (first, second) =
        tokio::join!(scene.build(scene.order(text), &[]), scene.build_with(&process, scene.order(text), &[]));
    let (one, other) = (first.0.expect("an image"), second.0.expect("an image"));
    let ids = async |image: &LocalImage| scene.config(image).await.rootfs.diff_ids;
    assert_eq!(ids(&one).await, ids(&other).await);
    let ran = spoken(&first.1).len() + spoken(&second.1).len();
    assert_eq!(ran, 2, "{:#?} {:#?}", first.1, second.1);
    process.shut_down().await.expect("an end");
    native.end().await;
}

/// As the fixture, but that the here-documents of `COPY` and `ADD` are files here.
#[tokio::test(flavor = "multi_thread")]
async fn fixture_46_here_documents_are_commands_and_files() {
    let Some(native) = Native::start().await else { return };
    let scene = Scene::new(&native).await;
    let text = "FROM base\nARG FOO=bar\nENV BAR=baz\nRUN <<EOT\necho FOO=$FOO BAR=$BAR > /seen\nEOT\n\
                RUN <<ONE cat > /one && cat <<TWO >> /one\nfirst\nONE\nsecond\nTWO\n\
                COPY <<F /copied\n$FOO\nF\nADD <<\"F\" /added\n$FOO\nF\n";
    let (image, said) = scene.built(text, &[]).await;
    for (path, expected) in
        [("/seen", "FOO=bar BAR=baz\n"), ("/one", "first\nsecond\n"), ("/copied", "bar\n"), ("/added", "$FOO\n")]
    {
        assert_eq!(scene.text(&image, path).await, expected, "{path}: {said:#?}");
    }
    native.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fixture_47_files_go_through_a_chain_of_stages_and_come_from_images() {
    let Some(native) = Native::start().await else { return };
    let scene = Scene::new(&native).await;
    let text = "FROM base AS sources\nRUN echo made > /made\nFROM sources AS built\nRUN cat /made /made > /twice\n\
                FROM scratch AS runtime-env\nCOPY --from=base /etc/passwd /passwd\nCOPY --from=built /twice /twice\n\
                FROM runtime-env AS app\nCOPY --from=sources /made /app/\nCMD [\"app\"]\n";
    let (image, said) = scene.built(text, &[]).await;
    assert_eq!(scene.text(&image, "/twice").await, "made\nmade\n", "{said:#?}");
    assert_eq!(scene.text(&image, "/app/made").await, "made\n");
    assert!(scene.text(&image, "/passwd").await.contains("app:x:1000"));
    assert_eq!(scene.config(&image).await.config.cmd, Some(vec!["app".to_owned()]));
    native.end().await;
}
