//! Lists of tags, as registries differ in giving them.

use http::StatusCode;

use super::{
    client,
    fake::{Act, Fake, Seen, say, say_with},
    repo,
};

fn query(seen: &Seen, name: &str) -> Option<String> {
    let (_, query) = seen.path.split_once('?')?;
    url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("tag-{number:05}")).collect()
}

fn list(tags: &[String]) -> String {
    serde_json::json!({ "name": "app", "tags": tags }).to_string()
}

#[tokio::test]
async fn links_are_followed_to_the_end() {
    let fake = Fake::start(|seen| {
        let from: usize = query(seen, "from").map_or(0, |from| from.parse().unwrap());
        let link = format!("</v2/app/tags/list?from={}>; rel=\"next\"", from + 100);
        let headers: &[(&str, &str)] = if from < 900 { &[("link", &link)] } else { &[] };
        Act::Answer(say_with(StatusCode::OK, headers, list(&names(from..from + 100))))
    })
    .await;
    assert_eq!(client().tags(&repo(&fake.host, "app")).await.unwrap(), names(0..1000));
    assert_eq!(fake.seen().len(), 10);
}

#[tokio::test]
async fn full_pages_are_continued_after_their_last_tag() {
    let fake = Fake::start(|seen| {
        let size: usize = query(seen, "n").unwrap().parse().unwrap();
        let after = query(seen, "last").unwrap_or_default();
        let page: Vec<String> = names(0..2500).into_iter().filter(|tag| *tag > after).take(size).collect();
        Act::Answer(say(StatusCode::OK, list(&page)))
    })
    .await;
    assert_eq!(client().tags(&repo(&fake.host, "app")).await.unwrap(), names(0..2500));
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test]
async fn a_registry_that_gives_all_at_once_is_believed() {
    for (count, requests) in [(0, 1), (1, 1), (1000, 2), (5000, 1)] {
        let fake = Fake::start(move |_| Act::Answer(say(StatusCode::OK, list(&names(0..count))))).await;
        assert_eq!(client().tags(&repo(&fake.host, "app")).await.unwrap(), names(0..count));
        assert_eq!(fake.seen().len(), requests, "{count}");
    }
}

#[tokio::test]
async fn circles_end() {
    let fake = Fake::start(|seen| {
        let next = if seen.path.contains("p=1") { "2" } else { "1" };
        let link = format!("</v2/app/tags/list?p={next}>; rel=next");
        Act::Answer(say_with(StatusCode::OK, &[("link", &link)], list(&names(0..2))))
    })
    .await;
    let error = client().tags(&repo(&fake.host, "app")).await.unwrap_err();
    assert!(error.to_string().contains("circle"), "{error}");
    assert!(fake.seen().len() <= 4);
}
