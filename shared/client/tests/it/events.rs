//! Following a build over broken connections and from one leader to the next.

use std::time::Duration;

use slipway_client::{Events, Told};
use slipway_config::ImageName;
use slipway_protocol::{BuildEvent, Code, EventId, TimedEvent};
use slipway_stages::{Progress, StageKind};

use crate::script::{Say, Script, client};

const PATIENCE: Duration = Duration::from_secs(30);

fn line(offset: u64) -> BuildEvent {
    let (image, line) = (ImageName("app".to_owned()), format!("line {offset}"));
    BuildEvent::Log { image, kind: StageKind::Install, attempt: "a".to_owned(), offset, line }
}

fn started() -> BuildEvent {
    BuildEvent::Progress(Progress::ImageStarted(ImageName("app".to_owned())))
}

fn written(events: &[(u64, u64, BuildEvent)]) -> Vec<u8> {
    let line = |(term, number, event): &(u64, u64, BuildEvent)| {
        let timed = TimedEvent { id: EventId { term: *term, number: *number }, event: event.clone() };
        format!("{}\n", serde_json::to_string(&timed).expect("JSON"))
    };
    events.iter().map(line).collect::<String>().into_bytes()
}

/// All that is told until the build is over.
async fn all(events: &mut Events) -> Vec<BuildEvent> {
    let mut told = Vec::new();
    loop {
        match events.next().await.expect("an event") {
            Told::Event(BuildEvent::Finished(_)) => return told,
            Told::Event(event) => told.push(event),
            Told::Lost(why) => assert!(why.contains("127.0.0.1"), "{why}"),
        }
    }
}

#[tokio::test]
async fn a_broken_stream_goes_on_where_it_broke_off() {
    let whole = written(&[(1, 1, started()), (1, 2, line(0)), (1, 3, line(1))]);
    // It breaks off within the third event, after chunks that end anywhere.
    let cut = whole.len() - 10;
    let chunks = whole[..cut].chunks(7).map(<[u8]>::to_vec).collect();
    let rest = written(&[(1, 3, line(1)), (1, 4, BuildEvent::Finished(Ok(Vec::new())))]);
    let script = Script::new(vec![Say::Broken(chunks), Say::Body(200, rest)]).await;
    let mut events = client(&[&script.url]).events("build-0001".parse().expect("a name"), PATIENCE);
    assert_eq!(all(&mut events).await, [started(), line(0), line(1)]);
    assert_eq!(script.paths(), ["/v1/builds/build-0001/events", "/v1/builds/build-0001/events?after=1.2"]);
}

#[tokio::test]
async fn the_next_leader_tells_it_again_and_nothing_is_shown_twice() {
    let next =
        written(&[(9, 1, started()), (9, 2, line(0)), (9, 3, line(1)), (9, 4, BuildEvent::Finished(Ok(Vec::new())))]);
    let next = Script::new(vec![Say::Body(200, next)]).await;
    let first = written(&[(1, 1, started()), (1, 2, line(0))]);
    let first = Script::new(vec![Say::Broken(vec![first])]).await;
    let mut events = client(&[&first.url, &next.url]).events("build-0001".parse().expect("a name"), PATIENCE);
    assert_eq!(all(&mut events).await, [started(), line(0), line(1)]);
    assert_eq!(next.paths(), ["/v1/builds/build-0001/events?after=1.2"]);
}

#[tokio::test]
async fn signs_of_life_are_no_events() {
    let mut bytes = b"\n\n".to_vec();
    bytes.extend(written(&[(1, 1, line(0))]));
    bytes.extend(b"\n");
    bytes.extend(written(&[(1, 2, BuildEvent::Finished(Ok(Vec::new())))]));
    let script = Script::new(vec![Say::Body(200, bytes)]).await;
    let mut events = client(&[&script.url]).events("build-0001".parse().expect("a name"), PATIENCE);
    assert_eq!(all(&mut events).await, [line(0)]);
}

#[tokio::test]
async fn a_build_that_is_not_there_ends_the_following() {
    let script = Script::new(vec![Say::refuse(Code::NotFound, None)]).await;
    let mut events = client(&[&script.url]).events("build-0001".parse().expect("a name"), PATIENCE);
    let error = events.next().await.expect_err("no build");
    assert_eq!(error.code(), Some(Code::NotFound));
}

#[tokio::test]
async fn a_coordinator_that_hangs_is_left() {
    let chunk = written(&[(1, 1, line(0))]);
    let next = written(&[(2, 1, line(0)), (2, 2, BuildEvent::Finished(Ok(Vec::new())))]);
    let next = Script::new(vec![Say::Body(200, next)]).await;
    let hung = hanging(chunk).await;
    let mut events = client(&[&hung, &next.url]).events("build-0001".parse().expect("a name"), PATIENCE);
    assert_eq!(all(&mut events).await, [line(0)]);
}

/// A coordinator that begins to tell, then is stopped: its connections stay, and nothing comes any more.
async fn hanging(chunk: Vec<u8>) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let tasks = slipway_process::Tasks::new();
    tasks.spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            if kept.is_empty() {
                let _ = stream.read(&mut [0; 4096]).await;
                let head = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n", chunk.len());
                let _ = stream.write_all(&[head.as_bytes(), &chunk, b"\r\n"].concat()).await;
            }
            kept.push(stream);
        }
    });
    url
}
