use slipway_config::ImageName;
use slipway_protocol::{BuildEvent, EventId, TimedEvent};
use slipway_stages::{
    Progress, StageKind,
    build::{BuildFailure, BuiltImage},
};

use super::*;

fn log(offset: u64) -> BuildEvent {
    BuildEvent::Log {
        image: ImageName("app".to_owned()),
        kind: StageKind::Setup,
        attempt: "a".to_owned(),
        offset,
        line: format!("line {offset}"),
    }
}

async fn numbers(spool: &Spool, after: u64) -> Vec<u64> {
    let mut follower = Follower::new(spool, after);
    let mut text = Vec::new();
    while let Some(piece) = follower.next().await.expect("the file is there") {
        text.extend_from_slice(&piece);
    }
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice::<TimedEvent>(line).expect("an event").id.number).collect()
}

#[tokio::test]
async fn a_follower_goes_on_after_any_event() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut writer, spool) = Writer::new(directory.path().join("events"), 7, 1 << 20);
    for part in 0..10 {
        writer.append((0..100).map(|line| log(part * 100 + line))).await;
    }
    writer.close();
    for after in [0, 1, 255, 256, 257, 511, 513, 999, 1000] {
        let expected: Vec<u64> = (after + 1..=1000).collect();
        assert_eq!(numbers(&spool, after).await, expected, "after {after}");
    }
}

#[tokio::test]
async fn a_follower_waits_for_what_comes() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut writer, spool) = Writer::new(directory.path().join("events"), 7, 1 << 20);
    let tasks = slipway_process::Tasks::new();
    let following = tasks.spawn(async move { numbers(&spool, 0).await });
    for number in 0..5 {
        writer.append([log(number)]).await;
        tokio::task::yield_now().await;
    }
    writer.close();
    assert_eq!(following.await.ok().flatten().expect("it ends"), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn output_beyond_its_room_is_left_out_and_said_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut writer, spool) = Writer::new(directory.path().join("events"), 7, 10);
    writer.append([log(0), log(1), log(2)]).await;
    writer.append([BuildEvent::Progress(Progress::ImageDone(ImageName("app".to_owned())))]).await;
    writer.close();
    let text = std::fs::read_to_string(directory.path().join("events")).expect("the file");
    let events: Vec<TimedEvent> = text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    assert!(matches!(events[0].event, BuildEvent::Log { .. }));
    assert!(matches!(&events[1].event, BuildEvent::Notice(text) if text.contains("too long")));
    assert!(matches!(events[2].event, BuildEvent::Progress(_)));
    assert_eq!(numbers(&spool, 0).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_disk_that_fails_costs_output_but_no_other_event() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("absent/events");
    let (mut writer, spool) = Writer::new(path.clone(), 7, 1 << 20);
    writer.append([log(0), BuildEvent::Notice("n".to_owned())]).await;
    assert!(writer.is_behind());
    std::fs::create_dir(path.parent().expect("a parent")).expect("the directory");
    writer.append([log(1)]).await;
    writer.close();
    assert!(!writer.is_behind());
    let text = std::fs::read_to_string(&path).expect("the file");
    assert!(text.contains("Notice") || text.contains("notice"), "{text}");
    assert_eq!(numbers(&spool, 0).await, [1, 2]);
}

#[tokio::test]
async fn the_last_event_is_written_as_its_text_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("absent/events");
    let (mut writer, spool) = Writer::new(path.clone(), 7, 1 << 20);
    let ending: Result<Vec<BuiltImage>, BuildFailure> = Err(BuildFailure::Cancelled);
    writer.append([BuildEvent::Notice("n".to_owned())]).await;
    writer.finish(Arc::new(serde_json::to_string(&ending).expect("it is text"))).await;
    assert!(writer.is_behind(), "the disk does not take it yet");
    std::fs::create_dir(path.parent().expect("a parent")).expect("the directory");
    writer.append([]).await;
    writer.close();
    let text = std::fs::read_to_string(&path).expect("the file");
    let last: TimedEvent = serde_json::from_str(text.lines().last().expect("a line")).expect("an event");
    assert_eq!(last, TimedEvent { id: EventId { term: 7, number: 2 }, event: BuildEvent::Finished(ending) });
    assert_eq!(numbers(&spool, 1).await, [2]);
}
