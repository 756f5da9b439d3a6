//! Documents of both spellings, good and bad.

use super::*;

fn digest(number: u8) -> String {
    format!("sha256:{}", format!("{number:02x}").repeat(32))
}

fn docker_manifest() -> String {
    let layer =
        |kind: &str, number: u8| format!(r#"{{"mediaType":"{kind}","size":{number},"digest":"{}"}}"#, digest(number));
    let layers = [
        layer(DOCKER_LAYER_GZIP, 2),
        layer("application/vnd.docker.image.rootfs.diff.tar", 3),
        layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", 4)
            .replace('}', r#","urls":["https://mirror.example/x"]}"#),
        layer("application/x-odd", 5),
    ];
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{DOCKER_MANIFEST}","config":{},"layers":[{}]}}"#,
        layer(DOCKER_CONFIG, 1),
        layers.join(",")
    )
}

fn index_of(platforms: &[&str]) -> Index {
    let entry = |(number, text): (usize, &&str)| {
        let named = Descriptor::new(OCI_MANIFEST, BlobDigest::of(&[number as u8]), 1);
        named.with_platform(&text.parse().expect("a platform"))
    };
    Index::new(platforms.iter().enumerate().map(entry).collect())
}

#[test]
fn docker_manifests_become_oci() {
    let manifest = Manifest::parse(docker_manifest().as_bytes()).expect("a manifest");
    let notes = BTreeMap::from([("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())]);
    let (bytes, media_type) = manifest.to_oci_annotated(&notes);
    assert_eq!(media_type, OCI_MANIFEST);
    let expected = format!(
        concat!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
            r#""config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":1}},"#,
            r#""layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{}","size":2}},"#,
            r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":3}},"#,
            r#"{{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip","digest":"{}","size":4,"#,
            r#""urls":["https://mirror.example/x"]}},{{"mediaType":"application/x-odd","digest":"{}","size":5}}],"#,
            r#""annotations":{{"a":"1","b":"2"}}}}"#
        ),
        digest(1),
        digest(2),
        digest(3),
        digest(4),
        digest(5)
    );
    assert_eq!(String::from_utf8_lossy(&bytes), expected);
    assert_eq!(manifest.to_oci_annotated(&notes).0, bytes, "encoding is deterministic");
    let again = Manifest::parse(&bytes).expect("an OCI manifest");
    assert_eq!(again.to_oci_annotated(&BTreeMap::new()).0, bytes, "an OCI manifest stays what it is");
    let replaced = again.to_oci_annotated(&BTreeMap::from([("a".to_owned(), "9".to_owned())])).0;
    assert!(String::from_utf8_lossy(&replaced).contains(r#""annotations":{"a":"9","b":"2"}"#));
}

#[test]
fn documents_say_what_they_are() {
    let bare_index = r#"{"schemaVersion":2,"manifests":[]}"#;
    let bare_manifest = docker_manifest().replace(&format!(r#""mediaType":"{DOCKER_MANIFEST}","#), "");
    let is_index = |text: &str, header| matches!(Document::parse(text.as_bytes(), header), Ok(Document::Index(_)));
    let is_manifest =
        |text: &str, header| matches!(Document::parse(text.as_bytes(), header), Ok(Document::Manifest(_)));
    assert!(is_index(bare_index, None));
    assert!(is_index(bare_index, Some("application/json; charset=utf-8")));
    assert!(is_index(bare_index, Some(OCI_INDEX)));
    assert!(is_manifest(&docker_manifest(), None));
    assert!(is_manifest(&bare_manifest, None));
    assert!(is_manifest(&bare_manifest, Some(&format!("{DOCKER_MANIFEST}; charset=utf-8"))));
    let bare = Manifest::parse(bare_manifest.as_bytes()).expect("a manifest");
    assert_eq!(bare.media_type(), DOCKER_MANIFEST);
}

#[test]
fn what_is_no_manifest_says_why() {
    let layer = format!(r#"{{"mediaType":"x","size":1,"digest":"{}"}}"#, digest(1));
    let many =
        format!(r#"{{"schemaVersion":2,"config":{layer},"layers":[{}{layer}]}}"#, format!("{layer},").repeat(1000));
    let crowd = format!(r#"{{"schemaVersion":2,"manifests":[{}{layer}]}}"#, format!("{layer},").repeat(1000));
    let long = " ".repeat(MANIFEST_LIMIT + 1);
    let negative = docker_manifest().replace(r#""size":1,"#, r#""size":-1,"#);
    let short = docker_manifest().replace(&digest(1), "sha256:00");
    let odd = docker_manifest().replace(DOCKER_MANIFEST, "application/x");
    let future = docker_manifest().replace(r#""schemaVersion":2"#, r#""schemaVersion":3"#);
    let cases = [
        (many.as_str(), "1001 layers"),
        (&crowd, "1001 images"),
        (&long, "bytes, more than"),
        (&negative, "invalid value"),
        (&short, "no sha256 digest"),
        (&odd, "`application/x` is neither"),
        (&future, "schemaVersion is 3"),
        (r#"{"schemaVersion":1,"fsLayers":[]}"#, "schema 1"),
        (r#"{"schemaVersion":2,"layers":[]}"#, "missing field `config`"),
        ("{", "cannot be read"),
        ("", "cannot be read"),
        ("[]", "cannot be read"),
        (r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#, "could mean either"),
    ];
    for (text, part) in cases {
        let message = Document::parse(text.as_bytes(), None).expect_err(part).to_string();
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(Index::parse(docker_manifest().as_bytes()).is_err());
    assert!(Manifest::parse(br#"{"schemaVersion":2,"manifests":[]}"#).is_err());
}

#[test]
fn platforms_are_selected_with_their_variants() {
    let cases: &[(&[&str], &str, Option<usize>)] = &[
        (&["linux/amd64", "linux/arm64"], "linux/amd64", Some(0)),
        (&["linux/amd64", "linux/arm64"], "linux/arm64", Some(1)),
        (&["linux/arm64/v8"], "linux/arm64", Some(0)),
        (&["linux/arm64"], "linux/arm64/v8", Some(0)),
        (&["linux/arm64/v8", "linux/arm64"], "linux/arm64", Some(1)),
        (&["linux/arm64/v9"], "linux/arm64", None),
        (&["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"], "linux/arm", Some(2)),
        (&["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"], "linux/arm/v7", Some(2)),
        (&["linux/arm/v5", "linux/arm/v6"], "linux/arm/v7", Some(1)),
        (&["linux/arm/v5"], "linux/arm/v6", Some(0)),
        (&["linux/arm/v7", "linux/arm"], "linux/arm/v6", None),
        (&["linux/arm"], "linux/arm/v7", Some(0)),
        (&["linux/amd64/v3", "linux/amd64"], "linux/amd64", Some(1)),
        (&["linux/amd64/v3", "linux/amd64"], "linux/amd64/v3", Some(0)),
        (&["linux/amd64/v3", "linux/amd64"], "linux/amd64/v2", Some(1)),
        (&["linux/amd64/v1"], "linux/amd64", Some(0)),
        (&["windows/amd64"], "linux/amd64", None),
        (&["unknown/unknown", "linux/s390x"], "linux/s390x", Some(1)),
        (&["linux/ppc64le"], "linux/ppc64le/v1", None),
        (&[], "linux/amd64", None),
    ];
    for (have, want, chosen) in cases {
        let index = index_of(have);
        let selected = index.select(&want.parse().expect(want)).map(|entry| entry.digest.clone());
        assert_eq!(selected, chosen.map(|number| BlobDigest::of(&[number as u8])), "{want} of {have:?}");
    }
}

#[test]
fn indexes_round_trip() {
    let index = index_of(&["linux/amd64", "linux/arm/v7", "unknown/unknown"]);
    let bytes = index.to_bytes();
    let again = Index::parse(&bytes).expect("an index");
    assert_eq!(again, index);
    assert_eq!(again.to_bytes(), bytes);
    let names: Vec<String> = again.platforms().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["linux/amd64", "linux/arm/v7"]);
    let odd = r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","size":1,"digest":"D","platform":"linux"}]}"#;
    let odd = Index::parse(odd.replace('D', &digest(1)).as_bytes()).expect("an index");
    assert_eq!(odd.platforms(), []);
}
