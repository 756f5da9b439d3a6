//! Public registries of Amazon, and the services that hand out keys of a role, as fakes that do what is published of them. None of
//! this is verified against the services themselves.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use slipway_registry::{AwsKeys, AwsSource, ContainerToken, RegistryError, Removed, Vendor};

use super::{
    deletes::client_of,
    fake::{Act, Fake, Seen, say},
    repo,
};

/// Keys as services hand them out; the moment is when they end.
fn handed(id: &str, end: &str) -> Act {
    let keys = json!({
        "Code": "Success", "AccessKeyId": id, "SecretAccessKey": "hunter2", "Token": format!("session of {id}"), "Expiration": end,
    });
    Act::Answer(say(StatusCode::OK, keys.to_string()))
}

/// Which key a request is signed with, and the token of its session.
fn signed(seen: &Seen) -> (String, String) {
    let proof = seen.header("authorization").expect("a signature");
    let id = proof.strip_prefix("AWS4-HMAC-SHA256 Credential=").and_then(|rest| rest.split('/').next());
    (id.expect("a key").to_owned(), seen.header("x-amz-security-token").unwrap_or_default().to_owned())
}

fn deleted() -> Act {
    Act::Answer(say(StatusCode::OK, json!({ "imageIds": [], "failures": [] }).to_string()))
}

#[tokio::test]
async fn a_public_registry_is_deleted_from_by_its_owner_only() {
    let public = |seen: &Seen| {
        assert!(seen.header("authorization").unwrap().contains("/us-east-1/ecr-public/aws4_request"));
        match seen.header("x-amz-target") {
            Some("SpencerFrontendService.DescribeRegistries") => {
                let alias = |name: &str, status: &str| json!({ "name": name, "status": status });
                let aliases = [alias("a1b2c3", "ACTIVE"), alias("shop", "ACTIVE"), alias("soon", "PENDING")];
                let registry = json!({ "registryId": "123456789012", "aliases": aliases });
                Act::Answer(say(StatusCode::OK, json!({ "registries": [registry] }).to_string()))
            }
            Some("SpencerFrontendService.BatchDeleteImage") => {
                let asked: Value = serde_json::from_slice(&seen.body).unwrap();
                assert_eq!(
                    (&asked["registryId"], &asked["repositoryName"]),
                    (&json!("123456789012"), &json!("team/app"))
                );
                let missing = json!({ "imageTag": "gone" });
                let failures = match asked["imageIds"] == json!([missing]) {
                    true => json!([{ "imageId": missing, "failureCode": "ImageNotFound", "failureReason": "no" }]),
                    false => json!([]),
                };
                Act::Answer(say(StatusCode::OK, json!({ "imageIds": [], "failures": failures }).to_string()))
            }
            other => panic!("{other:?}"),
        }
    };
    let fake = Fake::start(public).await;
    let keys = AwsKeys { id: "AKID".to_owned(), secret: "hunter2".to_owned(), token: None };
    let (client, _home) = client_of(Vendor::Ecr, &fake, true, AwsSource::Keys(keys));
    let at = |path: &str| repo("public.ecr.aws", path);
    assert_eq!(client.remove(&at("shop/team/app"), "v1").await.unwrap(), Removed::Done);
    assert_eq!(client.remove(&at("shop/team/app"), "gone").await.unwrap(), Removed::Absent);
    assert_eq!(client.remove(&at("a1b2c3/team/app"), "v1").await.unwrap(), Removed::Done);
    assert_eq!(fake.seen().len(), 5, "an alias is asked about once");
    for other in ["theirs/team/app", "soon/team/app"] {
        let error = client.remove(&at(other), "v1").await.unwrap_err();
        assert!(
            matches!(&error, RegistryError::Denied(why) if why.contains("whose public registry is not")),
            "{error}"
        );
    }
    assert!(client.remove(&at("shop"), "v1").await.is_err());
    assert_eq!(fake.seen().len(), 7, "nothing of others is deleted");
}

#[tokio::test]
async fn a_container_asks_for_the_keys_of_its_role() {
    let service = |seen: &Seen| match seen.path.as_str() {
        "/v2/credentials/hush" => {
            assert_eq!((&seen.method, seen.header("authorization")), (&Method::GET, Some("Bearer hush")));
            // The first ones have as good as ended; the next hold for long.
            handed(
                &format!("KEY{}", seen.earlier),
                if seen.earlier == 0 { "2001-01-01T00:00:00Z" } else { "2999-01-01T00:00:00Z" },
            )
        }
        "/" => deleted(),
        path => panic!("{path}"),
    };
    let fake = Fake::start(service).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "Bearer hush\n").unwrap();
    let token = Some(ContainerToken::File(file.path().to_owned()));
    let address = format!("http://{}/v2/credentials/hush", fake.host);
    let (client, _home) = client_of(Vendor::Ecr, &fake, true, AwsSource::Container { address, token });
    let app = repo(&fake.host, "shop/app");
    for tag in ["v1", "v2", "v3"] {
        assert_eq!(client.remove(&app, tag).await.unwrap(), Removed::Done);
    }
    let used: Vec<(String, String)> = fake.seen().iter().filter(|seen| seen.path == "/").map(signed).collect();
    let expected = ["KEY0", "KEY1", "KEY1"].map(|id| (id.to_owned(), format!("session of {id}")));
    assert_eq!(used, expected);
}

#[tokio::test]
async fn an_instance_asks_for_the_keys_of_its_role_with_a_token() {
    let service = |seen: &Seen| {
        let token = || assert_eq!(seen.header("x-aws-ec2-metadata-token"), Some("a token"));
        match (&seen.method, seen.path.as_str()) {
            (&Method::PUT, "/latest/api/token") => {
                assert!(seen.header("x-aws-ec2-metadata-token-ttl-seconds").is_some());
                Act::Answer(say(StatusCode::OK, "a token"))
            }
            (&Method::GET, "/latest/meta-data/iam/security-credentials/") => {
                token();
                Act::Answer(say(StatusCode::OK, "cleaner\n"))
            }
            (&Method::GET, "/latest/meta-data/iam/security-credentials/cleaner") => {
                token();
                handed("KEY", "2999-01-01T00:00:00Z")
            }
            (&Method::POST, "/") => deleted(),
            other => panic!("{other:?}"),
        }
    };
    let fake = Fake::start(service).await;
    let (client, _home) = client_of(Vendor::Ecr, &fake, true, AwsSource::Instance(format!("http://{}", fake.host)));
    let app = repo(&fake.host, "shop/app");
    for tag in ["v1", "v2"] {
        assert_eq!(client.remove(&app, tag).await.unwrap(), Removed::Done);
    }
    assert_eq!(fake.seen().len(), 5, "keys are asked for once");
    assert_eq!(signed(&fake.seen()[4]), ("KEY".to_owned(), "session of KEY".to_owned()));
}

/// What such a service answers is not believed without measure, and never told.
#[tokio::test]
async fn what_hands_out_no_keys_is_said_without_secrets() {
    for (answer, expected) in [
        (say(StatusCode::FORBIDDEN, "hunter2"), "it answered 403"),
        (say(StatusCode::FOUND, "hunter2"), "it answered 302"),
        (say(StatusCode::OK, r#"{"AccessKeyId":"hunter2","SecretAccessKey":7}"#), "its answer has no keys"),
        (say(StatusCode::OK, "hunter2".repeat(10_000)), "its answer is too long"),
    ] {
        let answer = Arc::new(std::sync::Mutex::new(Some(answer)));
        let fake = Fake::start(move |_: &Seen| Act::Answer(answer.lock().unwrap().take().expect("one question"))).await;
        let token = Some(ContainerToken::Text("hunter2".to_owned()));
        let address = format!("http://{}/hunter2", fake.host);
        let (client, _home) = client_of(Vendor::Ecr, &fake, true, AwsSource::Container { address, token });
        let error = client.remove(&repo(&fake.host, "shop/app"), "v1").await.unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("AWS_ACCESS_KEY_ID"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let fake = Fake::start(|_: &Seen| panic!("nobody is asked")).await;
    let address = "http://keys.example/hunter2".to_owned();
    let (client, _home) = client_of(Vendor::Ecr, &fake, true, AwsSource::Container { address, token: None });
    let error = client.remove(&repo(&fake.host, "shop/app"), "v1").await.unwrap_err().to_string();
    assert!(error.contains("it is not asked") && !error.contains("hunter2"), "{error}");
}
