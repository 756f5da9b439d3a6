//! What is ours in an engine goes, and what others have made or named, or use, stays. The engine is shared with other tests: only
//! images of this one are removed.

use std::{path::PathBuf, time::SystemTime};

use bollard::{models::ContainerCreateBody, query_parameters::CreateContainerOptions};
use slipway_backend::{ImageBuilder as _, Setup};
use slipway_docker::{Gone, HeldImage, Holdings, What};
use slipway_oci::{ConfigChange, Platform};
use slipway_stages::labels;

use super::{BuilderChoice, Engine};

const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef01234567";

async fn built(engine: &Engine, project: &str, salt: &str) -> slipway_backend::LocalImage {
    let setup = Setup {
        attempt: slipway_process::random_id(),
        platform: Platform::host(),
        network: None,
        to: None,
        mounts: Vec::new(),
        secrets: slipway_backend::Secrets::none(),
    };
    let mut change = ConfigChange::default();
    for (name, value) in [(labels::PROJECT, project), (labels::SCHEME, "1"), ("salt", salt)] {
        change.labels.insert(name.to_owned(), value.to_owned());
    }
    engine.backend.open(Some(&engine.base), setup).await.expect("a workspace").commit(change).await.expect("an image")
}

async fn own(holdings: &Holdings, project: &str) -> Vec<HeldImage> {
    let images = holdings.images(SystemTime::UNIX_EPOCH).await.expect("a list");
    let mut own: Vec<HeldImage> =
        images.into_iter().filter(|image| image.project.as_deref() == Some(project)).collect();
    own.sort_by_key(|image| image.what);
    own
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ours_is_known_and_nothing_else_goes() {
    let Some(engine) = Engine::start(BuilderChoice::Classic).await else { return };
    let at = |name: &str| -> PathBuf { engine.home().join(name) };
    let holdings = Holdings::open(None, None, (at("attempts"), at("used"))).await.expect("the engine answers");
    let stranger = Holdings::open(None, None, (at("other/attempts"), at("other/used"))).await.expect("it answers");
    assert!(holdings.root().await.expect("an answer").is_some());
    let project = format!("holdings-{}", slipway_process::random_id());
    let (nameless, cached) = (built(&engine, &project, "a").await, built(&engine, &project, "b").await);
    let (stage, shared) = (built(&engine, &project, "c").await, built(&engine, &project, "d").await);
    let mine = built(&engine, &project, "e").await;
    let tag = format!("{project}-test");
    for (image, repo, tag) in [
        (&cached, "slipway-cache", tag.as_str()),
        (&stage, project.as_str(), &format!("{DIGEST}-1700000000000")),
        (&shared, "slipway-cache", &format!("{tag}-2")),
        (&shared, "somebody-s-name", &tag),
        (&mine, "somebody-s-name", &format!("{tag}-2")),
    ] {
        engine.tag_image(image.id.as_str(), repo, tag).await;
    }
    let found = own(&holdings, &project).await;
    let expected =
        [(What::Cached, &cached), (What::Stage, &stage), (What::Nameless, &nameless), (What::Shared, &shared)];
    assert_eq!(
        found.iter().map(|image| (image.what, image.id.clone())).collect::<Vec<_>>(),
        expected.map(|(what, image)| (what, image.id.clone()))
    );
    assert!(found.iter().all(|image| image.known && image.bytes > 0 && image.used > SystemTime::UNIX_EPOCH));
    // Builds of another home directory know them not; when they were named counts then.
    assert!(own(&stranger, &project).await.iter().all(|image| !image.known && image.used > SystemTime::UNIX_EPOCH));
    // A container of somebody keeps its image.
    let user = format!("{project}-user");
    let options = CreateContainerOptions { name: Some(user.clone()), platform: String::new() };
    let body = ContainerCreateBody {
        image: Some(cached.id.to_string()),
        cmd: Some(vec!["true".to_owned()]),
        ..ContainerCreateBody::default()
    };
    engine.docker.create_container(Some(options), body).await.expect("a container");
    let used = own(&holdings, &project).await.remove(0);
    assert_eq!(used.containers, [user]);
    assert!(matches!(holdings.remove(&used, false).await.expect("an answer"), Gone::InUse(_)));
    assert_eq!(holdings.remove(&used, true).await.expect("an answer"), Gone::Gone);
    for image in &own(&holdings, &project).await {
        assert_eq!(holdings.remove(image, false).await.expect("an answer"), Gone::Gone, "{image:?}");
        assert_eq!(holdings.remove(image, false).await.expect("an answer"), Gone::Gone, "a second time");
    }
    assert_eq!(own(&holdings, &project).await, []);
    // What somebody has named is there, under that name.
    assert_eq!(engine.tags(&shared).await, [format!("somebody-s-name:{tag}")]);
    assert_eq!(engine.tags(&mine).await, [format!("somebody-s-name:{tag}-2")]);
    for name in [tag.clone(), format!("{tag}-2")] {
        engine.untag(&format!("somebody-s-name:{name}")).await;
    }
    engine.end().await;
}
