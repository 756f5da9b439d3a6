//! Everything that works, on a real registry.

use bytes::Bytes;
use slipway_oci::{BlobDigest, Platform, Reference};
use slipway_parts::{
    Registry,
    registry::{PASSWORD, Setup},
};
use slipway_registry::{Client, Options, RegistryError};

use super::{CONFIG, OCI_INDEX, OCI_MANIFEST, client, download, manifest, noise, repo, upload};

#[tokio::test]
async fn blobs_go_up_and_come_back() {
    let Some(registry) = Registry::start() else { return };
    let (client, app) = (client(), repo(registry.host(), "team/app"));

    let config = client.put_blob(&app, Bytes::from_static(CONFIG)).await.unwrap();
    assert_eq!(config, BlobDigest::of(CONFIG));
    assert_eq!(client.put_blob(&app, Bytes::from_static(CONFIG)).await.unwrap(), config, "done again");
    assert_eq!(client.head_blob(&app, &config).await.unwrap(), Some(CONFIG.len() as u64));
    assert_eq!(client.blob(&app, &config).await.unwrap(), CONFIG);

    for size in [0, 1, 700_000, 4 << 20, (4 << 20) + 1, 21_000_000] {
        let bytes = noise(size);
        let digest = upload(&client, &app, &bytes).await.unwrap();
        assert_eq!(client.head_blob(&app, &digest).await.unwrap(), Some(size as u64), "{size}");
        assert!(download(&client, &app, &digest).await.unwrap() == bytes, "{size}");
    }
    let mut upload = client.start_upload(&app).await.unwrap();
    upload.write(noise(9 << 20)).await.unwrap();
    upload.finish(&BlobDigest::of(&noise(9 << 20))).await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_and_what_is_wrong() {
    let Some(registry) = Registry::start() else { return };
    let (client, app) = (client(), repo(registry.host(), "app"));
    let absent = BlobDigest::of(b"absent");

    assert_eq!(client.head_blob(&app, &absent).await.unwrap(), None);
    let error = client.blob(&app, &absent).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound(_)), "{error}");
    for part in ["read blob", absent.as_str(), app.to_string().as_str(), "404"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(matches!(client.blob_stream(&app, &absent).await.err(), Some(RegistryError::NotFound(_))));
    assert_eq!(client.manifest(&app, "absent").await.unwrap(), None);
    assert_eq!(client.head_manifest(&app, absent.as_str()).await.unwrap(), None);
    assert_eq!(client.tags(&app).await.unwrap(), [""; 0]);
    client.delete_manifest(&app, &absent).await.unwrap();

    for size in [10, 5 << 20] {
        let mut upload = client.start_upload(&app).await.unwrap();
        upload.write(noise(size)).await.unwrap();
        let error = upload.finish(&absent).await.unwrap_err();
        assert!(matches!(error, RegistryError::Corrupt(_)), "{size}: {error}");
    }
    let upload = client.start_upload(&app).await.unwrap();
    upload.cancel().await;

    let error = client.put_manifest(&app, "v1", OCI_MANIFEST, manifest("no config")).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound(_)), "its config is missing: {error}");
    let error = client.put_manifest(&app, "v1", OCI_MANIFEST, Bytes::from_static(b"no JSON")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Refused(_)), "{error}");
    let error = client.put_manifest(&app, absent.as_str(), OCI_MANIFEST, manifest("x")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Corrupt(_)), "{error}");
    let error = client.manifest(&app, "../../_catalog").await.unwrap_err();
    assert!(matches!(error, RegistryError::Refused(_)), "{error}");
    let error = client.tags(&repo("", "app")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Refused(_)), "{error}");
}

#[tokio::test]
async fn manifests_tags_and_deletion() {
    let Some(registry) = Registry::start() else { return };
    let (client, app) = (client(), repo(registry.host(), "app"));
    client.put_blob(&app, Bytes::from_static(CONFIG)).await.unwrap();

    let one = manifest("one");
    let digest = client.put_manifest(&app, "v1", OCI_MANIFEST, one.clone()).await.unwrap();
    assert_eq!(digest, BlobDigest::of(&one));
    client.put_manifest(&app, "v1-too", OCI_MANIFEST, one.clone()).await.unwrap();
    let two = manifest("two");
    let second = client.put_manifest(&app, BlobDigest::of(&two).as_str(), OCI_MANIFEST, two).await.unwrap();

    for selector in ["v1", "v1-too", digest.as_str()] {
        assert_eq!(client.head_manifest(&app, selector).await.unwrap().as_ref(), Some(&digest));
        let found = client.manifest(&app, selector).await.unwrap().unwrap();
        assert_eq!((&found.digest, found.media_type.as_str(), &found.bytes), (&digest, OCI_MANIFEST, &one));
    }
    let mut tags = client.tags(&app).await.unwrap();
    tags.sort();
    assert_eq!(tags, ["v1", "v1-too"]);

    client.delete_manifest(&app, &digest).await.unwrap();
    client.delete_manifest(&app, &digest).await.unwrap();
    assert_eq!(client.head_manifest(&app, "v1").await.unwrap(), None);
    assert_eq!(client.tags(&app).await.unwrap(), [""; 0]);
    assert_eq!(client.head_manifest(&app, second.as_str()).await.unwrap(), Some(second));
}

#[tokio::test]
async fn blobs_are_mounted() {
    let Some(registry) = Registry::start() else { return };
    let client = client();
    let (base, app) = (repo(registry.host(), "deep/base"), repo(registry.host(), "app"));
    let digest = client.put_blob(&base, Bytes::from_static(b"layer")).await.unwrap();
    assert_eq!(client.head_blob(&app, &digest).await.unwrap(), None);
    assert!(client.mount_blob(&base, &app, &digest).await.unwrap());
    assert_eq!(client.head_blob(&app, &digest).await.unwrap(), Some(5));
    assert!(!client.mount_blob(&base, &app, &BlobDigest::of(b"absent")).await.unwrap());
    assert!(!client.mount_blob(&repo("other.example", "base"), &app, &digest).await.unwrap());
}

#[tokio::test]
async fn references_are_resolved() {
    let Some(registry) = Registry::start() else { return };
    let (client, app) = (client(), repo(registry.host(), "app"));
    client.put_blob(&app, Bytes::from_static(CONFIG)).await.unwrap();
    let mut entries = Vec::new();
    for arch in ["amd64", "arm64"] {
        let bytes = manifest(arch);
        let size = bytes.len();
        let digest = client.put_manifest(&app, arch, OCI_MANIFEST, bytes).await.unwrap();
        entries.push(format!(
            r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":{size},"platform":{{"os":"linux","architecture":"{arch}"}}}}"#
        ));
    }
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#, entries.join(","));
    let index = client.put_manifest(&app, "latest", OCI_INDEX, index.into()).await.unwrap();
    let arm = client.head_manifest(&app, "arm64").await.unwrap().unwrap();

    let platform = |text: &str| -> Platform { text.parse().unwrap() };
    let latest = Reference { repo: app.clone(), tag: None, digest: None };
    let by_digest = Reference { repo: app.clone(), tag: Some("absent".to_owned()), digest: Some(index) };
    let single = Reference { repo: app.clone(), tag: Some("arm64".to_owned()), digest: None };
    let absent = Reference { repo: app.clone(), tag: Some("absent".to_owned()), digest: None };
    for reference in [&latest, &by_digest, &single] {
        let found = client.resolve(reference, &platform("linux/arm64")).await.unwrap().unwrap();
        assert_eq!((found.repo, found.digest), (app.clone(), arm.clone()), "{reference:?}");
    }
    let lacking = client.resolve(&latest, &platform("linux/s390x")).await.unwrap_err();
    assert!(matches!(lacking, RegistryError::NotFound(_)), "{lacking}");
    assert!(lacking.to_string().contains("no image for this platform; it has images for: linux/amd64"), "{lacking}");
    assert_eq!(client.resolve(&absent, &platform("linux/arm64")).await.unwrap(), None);
}

#[tokio::test]
async fn passwords_are_asked_for_and_shown() {
    let setup = Setup { password: true, ..Setup::default() };
    let Some(registry) = Registry::with(setup) else { return };
    let app = repo(registry.host(), "app");
    let with = |config| Client::new(Options { docker_config: config, ..Options::default() }).unwrap();

    let right = with(Some(registry.docker_config(true)));
    let digest = upload(&right, &app, &noise(5 << 20)).await.unwrap();
    assert_eq!(right.head_blob(&app, &digest).await.unwrap(), Some(5 << 20));
    right.put_blob(&app, Bytes::from_static(CONFIG)).await.unwrap();
    right.put_manifest(&app, "v1", OCI_MANIFEST, manifest("x")).await.unwrap();
    assert_eq!(right.tags(&app).await.unwrap(), ["v1"]);

    for config in [None, Some(registry.docker_config(false))] {
        let client = with(config);
        let errors = [
            client.tags(&app).await.unwrap_err(),
            client.head_manifest(&app, "v1").await.unwrap_err(),
            client.start_upload(&app).await.unwrap_err(),
        ];
        for error in errors {
            let text = error.to_string();
            assert!(matches!(error, RegistryError::Denied(_)), "{text}");
            assert!(text.contains(&format!("docker login {}", registry.host())), "{text}");
            assert!(!text.contains(PASSWORD) && !text.contains("wrong"), "{text}");
        }
    }
}

#[tokio::test]
async fn certificates_are_verified_unless_told() {
    let setup = Setup { tls: true, password: true, ..Setup::default() };
    let Some(registry) = Registry::with(setup) else { return };
    let app = repo(registry.host(), "app");
    let docker_config = Some(registry.docker_config(true));
    let options = Options { docker_config, ..Options::default() };

    for insecure in [false, true] {
        let strict = Client::new(Options { insecure, ..options.clone() }).unwrap();
        let error = strict.tags(&app).await.unwrap_err();
        assert!(matches!(error, RegistryError::Refused(_)) && error.to_string().contains("certificate"), "{error}");
    }
    let lax = Client::new(Options { skip_tls_verify: true, ..options }).unwrap();
    let digest = upload(&lax, &app, &noise(100)).await.unwrap();
    assert_eq!(lax.blob(&app, &digest).await.unwrap(), noise(100));
}

/// A machine that hangs: connections are taken, and nothing is ever said.
#[tokio::test]
async fn a_host_that_is_silent_from_the_beginning_is_asked_once_each_way() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let mut held = Vec::new();
    let (client, app) = (client(), repo(&host, "app"));
    let asked = client.tags(&app);
    tokio::pin!(asked);
    let error = loop {
        tokio::select! {
            answer = &mut asked => break answer.unwrap_err(),
            connection = listener.accept() => held.push(connection.unwrap()),
        }
    };
    assert!(matches!(error, RegistryError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("no answer from") && !error.to_string().contains("tried"), "{error}");
    assert_eq!(held.len(), 2, "once as HTTP, once as HTTPS");
}

#[tokio::test]
async fn without_a_registry() {
    // The port is taken, and nobody listens.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let host = taken.local_addr().unwrap().to_string();
    let error = client().tags(&repo(&host, "app")).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    for part in ["list the tags of", &host, "cannot connect", "tried 3 times"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}
