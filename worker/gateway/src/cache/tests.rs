use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc;

use super::*;

const IDLE: Duration = Duration::from_secs(60);

fn cache(directory: &Path, limit: u64) -> Arc<Cache> {
    Arc::new(Cache::open(directory.to_owned(), limit, IDLE, Tasks::new()).unwrap())
}

/// A source that answers one script of chunks per fetch, and counts fetches. A chunk that is `None` breaks off.
fn scripted(wanted: &[u8], scripts: Vec<Vec<Option<&'static [u8]>>>) -> (Source, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, size) = (Arc::clone(&count), wanted.len() as u64);
    let fetch = move || {
        let turn = counted.fetch_add(1, Ordering::SeqCst);
        let chunks = scripts[turn.min(scripts.len() - 1)].clone();
        let chunk = |chunk: Option<&'static [u8]>| chunk.map(Bytes::from_static).ok_or(io::Error::other("cut"));
        async move { Ok((size, stream::iter(chunks.into_iter().map(chunk)).boxed())) }.boxed()
    };
    (Source { digest: BlobDigest::of(wanted), size, fetch: Arc::new(fetch) }, count)
}

async fn read(reading: Reading, range: std::ops::Range<u64>) -> Result<Vec<u8>, Failure> {
    reading
        .bytes(range)
        .try_fold(Vec::new(), |mut all, bytes| async move {
            all.extend(bytes);
            Ok(all)
        })
        .await
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn fetched_once_then_read_from_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (source, fetches) = scripted(b"hello world", vec![vec![Some(b"hello "), Some(b"world")]]);
    let first = cache(directory.path(), 1000);
    assert_eq!(read(first.get(source.clone()).await.unwrap(), 0..11).await.unwrap(), b"hello world");
    assert_eq!(read(first.get(source.clone()).await.unwrap(), 3..8).await.unwrap(), b"lo wo");
    let second = cache(directory.path(), 1000);
    assert_eq!(read(second.get(source.clone()).await.unwrap(), 0..11).await.unwrap(), b"hello world");
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
    assert_eq!(files(directory.path()), [source.digest.as_str().replace(':', "-")]);
}

#[tokio::test]
async fn readers_follow_one_download_and_its_end_is_held_back() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(directory.path(), u64::MAX);
    let blob: Vec<u8> = (0..600_000_u32).map(|index| index.to_le_bytes()[0]).collect();
    let (sender, receiver) = mpsc::channel::<Bytes>(4);
    let (receiver, size) = (Mutex::new(Some(receiver)), blob.len() as u64);
    let fetch = move || {
        let receiver = locked(&receiver).take().expect("one fetch");
        let chunks =
            stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|chunk| (Ok(chunk), receiver)) });
        async move { Ok((size, chunks.boxed())) }.boxed()
    };
    let source = Source { digest: BlobDigest::of(&blob), size, fetch: Arc::new(fetch) };
    let readings = [cache.get(source.clone()).await.unwrap(), cache.get(source.clone()).await.unwrap()];
    let whole = Bytes::from(blob.clone());
    sender.send(whole.slice(..300_000)).await.unwrap();
    let mut streams = readings.map(|reading| reading.bytes(0..size).boxed());
    for stream in &mut streams {
        assert_eq!(stream.next().await.unwrap().unwrap(), whole.slice(..256 * 1024), "read while it comes");
    }
    sender.send(whole.slice(300_000..)).await.unwrap();
    for stream in &mut streams {
        assert_eq!(stream.next().await.unwrap().unwrap(), whole.slice(256 * 1024..300_000));
    }
    let written = || {
        let lengths = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
        lengths.max() == Some(size)
    };
    while !written() {
        tokio::task::yield_now().await;
    }
    for stream in &mut streams {
        for _ in 0..100 {
            assert!(stream.next().now_or_never().is_none(), "the end waits for the verdict");
            cache.tasks.blocking(|| ()).await;
        }
    }
    drop(sender);
    for stream in streams {
        let rest: Vec<u8> = stream.try_collect::<Vec<_>>().await.unwrap().concat();
        assert_eq!(rest, &blob[300_000..]);
    }
    assert_eq!(read(cache.get(source).await.unwrap(), 0..size).await.unwrap(), blob);
}

#[tokio::test]
async fn many_who_come_at_once_make_one_fetch() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(directory.path(), 1000);
    let (source, fetches) = scripted(b"hello", vec![vec![Some(b"hello")]]);
    let reads = (0..5).map(|_| async { read(cache.get(source.clone()).await.unwrap(), 0..5).await.unwrap() });
    assert_eq!(futures::future::join_all(reads).await, vec![b"hello"; 5]);
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
    assert_eq!(files(directory.path()).len(), 1, "no partial file is left");
}

#[tokio::test]
async fn goes_on_after_it_broke_off() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(directory.path(), 1000);
    let scripts = vec![vec![Some(&b"hel"[..]), None], vec![Some(b"hello")], vec![Some(b"hello world")]];
    let (source, fetches) = scripted(b"hello world", scripts);
    assert_eq!(read(cache.get(source).await.unwrap(), 0..11).await.unwrap(), b"hello world");
    assert_eq!(fetches.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_goes_wrong_is_told_and_leaves_no_file() {
    let table: [(Vec<Option<&'static [u8]>>, &str); 4] = [
        (vec![Some(b"hello"), None], "broke off 3 times: cut"),
        (vec![Some(b"hello")], "broke off 3 times: only 5 of 11 bytes came"),
        (vec![Some(b"hello worms")], "its bytes have another digest"),
        (vec![Some(b"hello world and more")], "more than the 11 bytes"),
    ];
    for (script, expected) in table {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path(), 1000);
        let (source, _) = scripted(b"hello world", vec![script]);
        let failure = read(cache.get(source.clone()).await.unwrap(), 0..11).await.unwrap_err();
        assert!(failure.message.contains(expected), "{expected}: {failure:?}");
        cache.tasks.wait().await;
        assert_eq!(files(directory.path()), [""; 0]);
        assert!(locked(&cache.index).loading.is_empty());
    }
}

#[tokio::test]
async fn least_recently_used_go_first() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(directory.path(), 10);
    let blobs: [&'static [u8]; 4] = [b"aaaa", b"bbbb", b"cccc", b"dddddddddddddd"];
    let sources = blobs.map(|blob| scripted(blob, vec![vec![Some(blob)]]));
    for index in [0, 1, 0, 2] {
        let (source, _) = &sources[index];
        assert_eq!(read(cache.get(source.clone()).await.unwrap(), 0..4).await.unwrap(), blobs[index]);
    }
    let name = |index: usize| sources[index].0.digest.as_str().replace(':', "-");
    let mut expected = [name(0), name(2)];
    expected.sort();
    assert_eq!(files(directory.path()), expected, "b was used least recently");
    let reading = cache.get(sources[3].0.clone()).await.unwrap();
    assert_eq!(read(reading, 0..14).await.unwrap(), blobs[3], "larger than the cache, yet readable");
    assert_eq!(files(directory.path()), [""; 0]);
    assert_eq!(locked(&cache.index).total, 0);
}

#[tokio::test]
async fn damaged_files_are_fetched_again() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(directory.path(), 1000);
    let (source, fetches) = scripted(b"hello", vec![vec![Some(b"hello")]]);
    let path = directory.path().join(source.digest.as_str().replace(':', "-"));
    assert_eq!(read(cache.get(source.clone()).await.unwrap(), 0..5).await.unwrap(), b"hello");

    fs::write(&path, b"hollo").unwrap();
    let failure = read(cache.get(source.clone()).await.unwrap(), 0..5).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Broken);
    assert_eq!(read(cache.get(source.clone()).await.unwrap(), 0..5).await.unwrap(), b"hello");

    fs::write(&path, b"hel").unwrap();
    assert_eq!(read(cache.get(source.clone()).await.unwrap(), 0..5).await.unwrap(), b"hello");
    fs::remove_file(&path).unwrap();
    assert_eq!(read(cache.get(source.clone()).await.unwrap(), 0..5).await.unwrap(), b"hello");
    assert_eq!(fetches.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn only_partial_files_of_the_dead_are_garbage() {
    let directory = tempfile::tempdir().unwrap();
    let alive = Partial::create(directory.path().join("partial-alive")).unwrap();
    fs::write(directory.path().join("partial-dead"), b"x").unwrap();
    fs::write(directory.path().join("stranger"), b"x").unwrap();
    let _cache = cache(directory.path(), 1000);
    assert_eq!(files(directory.path()), ["partial-alive", "stranger"]);
    drop(alive);
    assert_eq!(files(directory.path()), ["stranger"]);
}
