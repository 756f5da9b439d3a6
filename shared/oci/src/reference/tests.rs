//! Names as users write them.

use super::*;

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn references_are_normalised_and_round_trip() {
    let cases = [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3.18", "docker.io/library/alpine:3.18"),
        ("bitnami/redis", "docker.io/bitnami/redis:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        ("index.docker.io/alpine:1", "docker.io/library/alpine:1"),
        ("docker.io/a/b/c", "docker.io/a/b/c:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000"),
        ("127.0.0.1:5000/a/b:v1", "127.0.0.1:5000/a/b:v1"),
        ("registry.example.com/a", "registry.example.com/a:latest"),
        ("Registry/a", "Registry/a:latest"),
        ("host:1/a--b__c.d_e", "host:1/a--b__c.d_e:latest"),
        ("a:_x.Y-z", "docker.io/library/a:_x.Y-z"),
    ];
    for (text, full) in cases {
        let reference: Reference = text.parse().expect(text);
        assert_eq!(reference.to_string(), full);
        assert_eq!(full.parse(), Ok(reference), "{full}");
    }
}

#[test]
fn digests_stand_with_and_without_a_tag() {
    for (text, full) in [("alpine@", "docker.io/library/alpine@"), ("h:1/a:t@", "h:1/a:t@")] {
        let text = format!("{text}sha256:{HEX}");
        let reference: Reference = text.parse().expect("a reference");
        assert_eq!(reference.to_string(), format!("{full}sha256:{HEX}"));
        assert_eq!(reference.digest.map(|digest| digest.short().to_owned()), Some(HEX[..12].to_owned()));
    }
}

#[test]
fn what_is_no_reference_says_why() {
    let long_path = "a".repeat(256);
    let long_tag = format!("a:{}", "t".repeat(129));
    let cases = [
        ("", "empty"),
        ("https://host.example/a", "scheme"),
        ("[::1]:5000/app", "IPv6"),
        ("a b", "white space"),
        ("a\n", "white space"),
        (HEX, "image id"),
        ("Alpine", "lower case"),
        ("host.example/App", "lower case"),
        ("host.example/", "path of the image is missing"),
        ("a//b", "each part"),
        ("-a", "each part"),
        ("a-", "each part"),
        ("a..b", "each part"),
        ("a___b", "each part"),
        ("a:", "tag after `:` is empty"),
        ("a:.x", "a tag holds"),
        ("a:x+y", "a tag holds"),
        ("a@sha256:12", "a digest is expected"),
        ("a@", "a digest is expected"),
        ("a@sha512:12", "a digest is expected"),
        ("host:0/a", "port"),
        ("host:65536/a", "port"),
        ("host:+1/a", "port"),
        ("host:/a", "port"),
        (":5000/a", "host name"),
        ("-h.example/a", "host name"),
        ("h_x.example/a", "host name"),
        ("h..example/a", "host name"),
        ("кот", "each part"),
        (long_path.as_str(), "255"),
        (long_tag.as_str(), "128"),
    ];
    for (text, why) in cases {
        let error = text.parse::<Reference>().expect_err(text);
        assert!(error.to_string().contains(why), "{text}: {error}");
    }
    assert!("a/".repeat(600).parse::<Reference>().is_err());
}

#[test]
fn repositories_carry_no_tag() {
    let cases = [
        ("alpine", "docker.io/library/alpine"),
        ("a/b", "docker.io/a/b"),
        ("localhost:5000/a", "localhost:5000/a"),
        ("registry.example.com/group/project", "registry.example.com/group/project"),
    ];
    for (text, full) in cases {
        let repo: Repo = text.parse().expect(text);
        assert_eq!(repo.to_string(), full);
        assert_eq!(full.parse(), Ok(repo));
    }
    for (text, why) in [("a:1", "without a tag"), ("h:1/a:t", "without a tag"), ("a@sha256:1", "without a digest")] {
        assert!(text.parse::<Repo>().expect_err(text).why().contains(why), "{text}");
    }
}

#[test]
fn loopback_registries_are_known() {
    let cases = [
        ("localhost/a", true),
        ("localhost:5000/a", true),
        ("127.0.0.1:5000/a", true),
        ("127.8.9.1/a", true),
        ("128.0.0.1/a", false),
        ("localhost.example.com/a", false),
        ("alpine", false),
    ];
    for (text, loopback) in cases {
        assert_eq!(text.parse::<Repo>().expect(text).is_loopback(), loopback, "{text}");
    }
    assert!(!Repo { host: String::new(), path: "project".to_owned() }.is_loopback());
}

#[test]
fn a_local_storage_prints_without_a_host() {
    let repo = Repo { host: String::new(), path: "project".to_owned() };
    assert_eq!(repo.tagged("t").expect("a tag").to_string(), "project:t");
    assert!(repo.tagged("a/b").is_err());
    let digest: BlobDigest = format!("sha256:{HEX}").parse().expect("a digest");
    assert_eq!(Reference::from(repo.at(digest)).to_string(), format!("project@sha256:{HEX}"));
}
