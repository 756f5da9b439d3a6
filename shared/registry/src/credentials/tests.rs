//! Tables of configs and what they mean; helpers that are small shell scripts.

use slipway_process::SystemClock;

use super::*;

fn repo(host: &str, path: &str) -> Repo {
    Repo { host: host.to_owned(), path: path.to_owned() }
}

fn load(text: &str) -> Result<Credentials, RegistryError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, text).unwrap();
    Credentials::load(Some(&path), Arc::new(SystemClock::new(None)))
}

async fn of(config: &str, host: &str, path: &str) -> Option<Credential> {
    load(config).unwrap().of(&repo(host, path)).await.unwrap()
}

fn password(user: &str, password: &str) -> Option<Credential> {
    Some(Credential::Password { user: user.to_owned(), password: password.to_owned() })
}

#[tokio::test]
async fn entries_are_found_by_host() {
    // "YTpi" is "a:b".
    let config = r#"{"auths": {
        "r.example": {"auth": "YTpi"},
        "r.example:5000": {"username": "c", "password": "d"},
        "https://index.docker.io/v1/": {"auth": "aHViOnNlY3JldA=="},
        "https://old.example/v2/": {"identitytoken": "tok", "auth": "dTo="},
        "token.example": {"registrytoken": "raw"},
        "empty.example": {},
        "quay.example/team": {"auth": "dGVhbTp4"},
        "quay.example": {"auth": "YWxsOnk="}
    }, "HttpHeaders": {"a": "b"}, "credHelpers": null}"#;
    assert_eq!(of(config, "r.example", "x").await, password("a", "b"));
    assert_eq!(of(config, "R.example", "x").await, password("a", "b"));
    assert_eq!(of(config, "r.example:5000", "x").await, password("c", "d"));
    assert_eq!(of(config, "docker.io", "library/alpine").await, password("hub", "secret"));
    assert_eq!(of(config, "old.example", "x").await, Some(Credential::Identity("tok".to_owned())));
    assert_eq!(of(config, "token.example", "x").await, Some(Credential::Access("raw".to_owned())));
    assert_eq!(of(config, "quay.example", "team/app").await, password("team", "x"));
    assert_eq!(of(config, "quay.example", "teams/app").await, password("all", "y"));
    for host in ["empty.example", "other.example", "evil-r.example", "r.example.evil", "r.example:5001"] {
        assert_eq!(of(config, host, "x").await, None, "{host}");
    }
}

#[tokio::test]
async fn odd_configs() {
    assert_eq!(of("{}", "r.example", "x").await, None);
    assert_eq!(of("  \n", "r.example", "x").await, None);
    assert_eq!(of(r#"{"auths":{"r.example":{"auth":"YTpiAAA"}}}"#, "r.example", "x").await, password("a", "b"));
    let none = Credentials::load(Some(Path::new("/nonexistent/config.json")), Arc::new(SystemClock::new(None)));
    assert_eq!(none.unwrap().of(&repo("r.example", "x")).await, Ok(None));

    let error = load(r#"{"auths": {"r.example": {"auth": 12}}}"#).unwrap_err().to_string();
    assert!(error.contains("config.json") && error.contains("line 1"), "{error}");
    let secret = r#"{"auths": {"r.example": {"auth": "s3cr3t!"}}}"#;
    let error = load(secret).unwrap().of(&repo("r.example", "x")).await.unwrap_err();
    assert!(error.contains("`r.example`") && !error.contains("s3cr3t"), "{error}");
    let error = load(r#"{"auths": "s3cr3t"}"#).unwrap_err().to_string();
    assert!(!error.contains("s3cr3t"), "{error}");
}

#[tokio::test]
async fn a_helper_that_is_missing_is_named() {
    let config = r#"{"credHelpers": {"r.example": "slipway-absent"}, "auths": {"r.example": {"auth": "YTpi"}}}"#;
    let error = load(config).unwrap().of(&repo("r.example", "x")).await.unwrap_err();
    assert!(error.contains("docker-credential-slipway-absent"), "{error}");
    let stored = r#"{"credsStore": "slipway-absent", "auths": {"r.example": {"auth": "YTpi"}}}"#;
    assert_eq!(of(stored, "r.example", "x").await, password("a", "b"), "what stands in the file needs no helper");
}

#[test]
fn debug_shows_no_secret() {
    let config = load(r#"{"auths":{"r.example":{"auth":"YTpi"}}}"#).unwrap();
    assert!(!format!("{config:?}").contains("YTpi"));
    let shown = format!("{:?}", password("user", "hunter2"));
    assert!(!shown.contains("hunter2") && !shown.contains("user"), "{shown}");
}
