use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use slipway_process::{Environment, child};

use super::*;
use crate::conformance;

const LONG: Duration = Duration::from_secs(30);
const DIRECTORY: &str = "SLIPWAY_TEST_LOCK_DIRECTORY";

#[tokio::test(flavor = "multi_thread")]
async fn file_locks_conform() {
    let directory = tempfile::tempdir().unwrap();
    let one = FileLocks::new(directory.path().join("service/locks"));
    let other = FileLocks::new(directory.path().join("service/locks"));
    conformance::check_all(&one, &other, "shop").await;
    conformance::check_all(&one, &one.clone(), "shop").await;
    let left = std::fs::read_dir(directory.path().join("service/locks")).unwrap().count();
    assert_eq!(left, 0, "locks that were let go leave no files");
}

#[test]
fn a_lock_on_a_removed_file_is_no_lock() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.lock");
    let open = || File::options().read(true).write(true).open(&path).unwrap();
    let Attempt::Taken(first) = try_take(&path).unwrap() else { panic!("a free lock is taken") };
    let (slow, slower) = (open(), open());
    // As a child has it that does not run its program yet.
    let _inherited = first.file.try_clone().unwrap();
    drop(first);
    assert!(matches!(try_lock(slow, &path).unwrap(), Attempt::Replaced), "the file is gone");
    let Attempt::Taken(_second) = try_take(&path).unwrap() else { panic!("a free lock is taken") };
    assert!(matches!(try_lock(slower, &path).unwrap(), Attempt::Replaced), "another file is there");
    assert!(matches!(try_take(&path).unwrap(), Attempt::Held { .. }));
}

#[tokio::test]
async fn a_file_that_somebody_left_is_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let locks = FileLocks::new(directory.path());
    for note in ["", "process 1\n", "\0\0\0 not text \u{ff}"] {
        std::fs::write(locks.path("key"), note).unwrap();
        locks.acquire("key", Duration::ZERO).await.unwrap();
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_said() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = FileLocks::new(file.path().join("locks")).acquire("key", LONG).await.unwrap_err();
    assert!(!refused.is_retryable());
    assert!(refused.to_string().contains("--home-dir"), "{refused}");
}

/// The child of the next test: takes the lock, says so, and waits to be killed.
#[tokio::test]
#[ignore = "a child process of another test"]
async fn child_that_holds_a_lock() {
    let environment = Environment::from_process();
    let Some(directory) = environment.get(DIRECTORY) else { return };
    let _held = FileLocks::new(directory).acquire("key", Duration::ZERO).await.unwrap();
    println!("\nheld");
    std::thread::park();
}

#[tokio::test]
async fn a_killed_process_lets_go_and_a_living_one_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let locks = FileLocks::new(directory.path());
    let mut holder = child::command(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "files::tests::child_that_holds_a_lock"])
        .env(DIRECTORY, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "held"), "the child did not take the lock");
    let refused = locks.acquire("key", Duration::from_millis(5)).await.unwrap_err();
    assert!(refused.to_string().ends_with(&format!("which process {} holds", holder.id())), "{refused}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    locks.acquire("key", LONG).await.unwrap();
}
