use std::{
    fs,
    sync::Barrier,
    thread,
    time::{Duration, SystemTime},
};

use slipway_oci::{BlobDigest, Repo, manifest::Descriptor};

use super::*;

fn store(limit: u64) -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path(), limit);
    (directory, store)
}

fn open(directory: &Path, limit: u64) -> Store {
    Store::open(&directory.join("store"), &Options { limit: Some(limit) }).expect("a store")
}

/// Makes a layer with one file.
fn make(store: &Store, below: Option<&Layer>, name: &str, size: u64) -> Layer {
    let diff_id = BlobDigest::of(name.as_bytes());
    let chain = ChainId::of(below.map(|layer| &layer.chain), &diff_id);
    let about = About { diff_id, below: below.map(|layer| layer.chain.hex().to_owned()), size };
    match store.claim(&chain).expect("a claim") {
        Claimed::There(layer) => layer,
        Claimed::Ours(claim) => {
            fs::write(claim.diff().join(name), name).expect("a file");
            claim.finish(&about).expect("a layer")
        }
    }
}

fn has(store: &Store, chain: &ChainId) -> bool {
    store.path("layers").join(chain.hex()).exists()
}

#[test]
fn chains_are_those_of_the_specification() {
    let ids = [BlobDigest::of(b"a"), BlobDigest::of(b"b")];
    let stacks = ChainId::stacks(&ids);
    assert_eq!(stacks[0].to_string(), ids[0].to_string());
    let expected = BlobDigest::of(format!("{} {}", ids[0], ids[1]).as_bytes());
    assert_eq!(stacks[1].to_string(), expected.to_string());
}

#[test]
fn a_layer_is_made_once_however_many_ask() {
    let (directory, _store) = store(1000);
    let barrier = Barrier::new(4);
    let made = thread::scope(|scope| {
        let makers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    // Another process has a store of its own in the same directory.
                    let own = open(directory.path(), 1000);
                    barrier.wait();
                    let chain = ChainId::of(None, &BlobDigest::of(b"f"));
                    let about = About { diff_id: BlobDigest::of(b"f"), below: None, size: 1 };
                    let ours = match own.claim(&chain).expect("a claim") {
                        Claimed::Ours(claim) => claim.finish(&about).is_ok(),
                        Claimed::There(_) => false,
                    };
                    usize::from(ours)
                })
            })
            .collect();
        makers.into_iter().map(|maker| maker.join().expect("a maker")).sum::<usize>()
    });
    assert_eq!(made, 1);
}

#[test]
fn a_stack_is_measured_without_holding_it_and_its_top_counts_as_used() {
    let (_directory, store) = store(100);
    let ids = [BlobDigest::of(b"base"), BlobDigest::of(b"top")];
    let base = make(&store, None, "base", 40);
    assert_eq!(store.stack_size(&ids).expect("an answer"), None, "the top is missing");
    let top = make(&store, Some(&base), "top", 20);
    let lease = store.path("layers").join(top.chain.hex()).join(lease::FILE);
    let past = fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
    drop((base, top));
    fs::File::options().write(true).open(&lease).and_then(|file| file.set_times(past)).expect("a time");
    assert_eq!(store.stack_size(&ids).expect("an answer"), Some(60));
    let used = fs::metadata(&lease).and_then(|found| found.modified()).expect("a time");
    assert!(used > SystemTime::UNIX_EPOCH);
    assert_eq!(store.evict_bytes(1).expect("nobody uses it"), 20);
    assert_eq!(store.stack_size(&ids).expect("an answer"), None);
    assert_eq!(
        (store.stack_size(&ids[..1]).expect("an answer"), store.stack_size(&[]).expect("an answer")),
        (Some(40), Some(0))
    );
    fs::remove_dir_all(store.path("layers").join(ChainId::of(None, &ids[0]).hex())).expect("it is there");
    make(&store, None, "other", 1);
    assert_eq!(store.stack_size(&ids[..1]).expect("an answer"), None);
}

#[test]
fn room_is_made_by_the_longest_unused_leaf() {
    let (_directory, store) = store(100);
    let base = make(&store, None, "base", 40);
    let old = make(&store, Some(&base), "old", 20);
    let new = make(&store, Some(&base), "new", 20);
    let chains = [base.chain.clone(), old.chain.clone(), new.chain.clone()];
    // Equal times would be told apart by name.
    let past = fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
    let lease = store.path("layers").join(old.chain.hex()).join(lease::FILE);
    fs::File::options().write(true).open(lease).and_then(|file| file.set_times(past)).expect("a time");
    drop(old);
    let held = store.admit(30).expect("the old one goes");
    assert_eq!(chains.clone().map(|chain| has(&store, &chain)), [true, false, true]);
    // What is reserved counts, and what is used stays.
    let refused = store.admit(15).expect_err("all is in use");
    assert!(refused.is_full(), "{refused}");
    assert!(has(&store, &new.chain));
    drop(held);
    drop(new);
    store.admit(60).expect("the other leaf goes");
    assert_eq!(chains.clone().map(|chain| has(&store, &chain)), [true, false, false]);
    drop(base);
    store.admit(100).expect("the base goes");
    assert_eq!(store.usage().expect("a measure").layers, 0);
    assert!(store.admit(101).is_err());
}

#[test]
fn what_is_leased_elsewhere_is_not_evicted() {
    let (directory, store) = store(100);
    let other = open(directory.path(), 100);
    let layer = make(&store, None, "one", 60);
    let chain = layer.chain.clone();
    let theirs = other.layer(&chain).expect("a look").expect("it is there");
    drop(layer);
    assert!(store.admit(60).is_err());
    drop(theirs);
    store.admit(60).expect("nobody uses it now");
    assert!(other.layer(&chain).expect("a look").is_none());
}

#[test]
fn only_the_dead_are_swept() {
    let (_directory, store) = store(100);
    let alive = store.work("alive").expect("a directory");
    assert!(store.work("alive").is_err());
    for bad in ["", "a/b", "..", ".x"] {
        assert!(store.work(bad).is_err(), "{bad}");
    }
    let dead = store.path("work/dead");
    fs::create_dir_all(dead.join("upper/deep")).expect("a directory");
    fs::write(dead.join("lock"), "").expect("a lock");
    assert_eq!(store.sweep().expect("a sweep"), 1);
    assert!(alive.path().exists() && !dead.exists());
    let path = alive.path().to_owned();
    drop(alive);
    assert!(!path.exists());
}

#[test]
fn a_directory_made_ahead_takes_a_name_that_is_free() {
    let (_directory, store) = store(u64::MAX);
    let ahead = store.work("ahead").expect("a directory");
    fs::write(ahead.path().join("in-it"), "").expect("a file");
    let named = ahead.renamed("mine").expect("the name is free");
    assert_eq!(named.path(), store.path("work/mine"));
    assert!(named.path().join("in-it").exists());
    assert!(store.work("mine").is_err(), "it is taken");
    assert_eq!(store.sweep().expect("a sweep"), 0, "its owner lives");
    for taken in ["mine", "not/plain"] {
        let other = store.work("other").expect("a directory");
        assert!(other.renamed(taken).is_err(), "{taken}");
        assert!(!store.path("work/other").exists(), "what is not taken goes");
    }
    drop(named);
    store.work("mine").expect("the name is free again");
}

/// A directory that is being made is nobody's garbage, however many sweep meanwhile.
#[test]
fn a_name_is_free_before_what_is_left_is_gone() {
    let (_directory, store) = store(u64::MAX);
    let left = store.work("mine").expect("a directory").aside();
    let again = store.work("mine").expect("the name once more");
    assert_ne!(left.path(), again.path());
    assert_eq!(store.sweep().expect("a sweep"), 0, "both are somebody's");
    drop((left, again));
    assert_eq!(fs::read_dir(store.path("work")).expect("a list").count(), 0);
}

#[test]
fn what_is_being_made_is_not_swept() {
    let (directory, store) = store(100);
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for sweeper in 0..4 {
            let (store, barrier, directory) = (&store, &barrier, &directory);
            scope.spawn(move || {
                let own = open(directory.path(), 100);
                barrier.wait();
                for round in 0..200 {
                    if sweeper % 2 == 0 {
                        own.sweep().expect("a sweep");
                        continue;
                    }
                    let work = store.work(&format!("made-{sweeper}-{round}")).expect("a directory");
                    fs::create_dir(work.path().join("upper")).expect("it is still there");
                }
            });
        }
    });
}

/// After a stop of the machine only what was settled counts.
#[test]
fn what_was_not_settled_is_thrown_away_at_another_boot() {
    let (directory, store) = store(100);
    let kept = make(&store, None, "kept", 1).chain;
    store.settle().expect("the disk takes it");
    let lost = make(&store, None, "lost", 1).chain;
    let image = store.put_image(b"{}").expect("an image");
    store.tag("shop", "d", "1", &image).expect("a tag");
    drop(open(directory.path(), 100));
    assert!(has(&store, &lost), "the machine still runs");
    let unsettled = store.path("unsettled");
    fs::rename(unsettled.join(&store.0.boot), unsettled.join("boot-before")).expect("another boot");
    let after = open(directory.path(), 100);
    assert!(has(&after, &kept) && !has(&after, &lost));
    assert!(after.image(&image).expect("a look").is_none());
    assert!(after.stages("shop", "d").expect("a listing").is_empty());
    assert_eq!(fs::read_dir(unsettled).expect("a listing").count(), 0);
}

/// What is new waits for company.
#[test]
fn what_has_waited_long_is_settled_with_all_else() {
    let (_directory, store) = store(100);
    store.settle_in_time().expect("nothing to do");
    let marks = store.path("unsettled").join(&store.0.boot);
    let waiting = || {
        let marks = fs::read_dir(&marks).expect("a listing").flatten();
        marks.filter(|mark| mark.file_name().to_string_lossy().starts_with("layers-")).count()
    };
    make(&store, None, "one", 1);
    store.settle_in_time().expect("it is not due");
    assert_eq!(waiting(), 1);
    let past = store.now().expect("a time") - Duration::from_secs(61);
    let times = fs::FileTimes::new().set_modified(past);
    fs::File::options().write(true).open(marks.join("first")).and_then(|file| file.set_times(times)).expect("a time");
    make(&store, None, "two", 1);
    assert_eq!(waiting(), 2);
    store.settle_in_time().expect("the disk takes it");
    assert_eq!(waiting(), 0);
}

#[test]
fn old_notes_and_free_locks_go() {
    let (_directory, store) = store(100);
    let [old, named, new] =
        ["{}", r#"{"os":"a"}"#, r#"{"os":"b"}"#].map(|text| store.put_image(text.as_bytes()).expect("an image"));
    store.tag("shop", "d", "1", &named).expect("a tag");
    let past = fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
    for image in [&old, &named] {
        let path = store.path("images").join(names::hex_of(image));
        fs::File::options().write(true).open(path).and_then(|file| file.set_times(past)).expect("a time");
    }
    let chain = ChainId::of(None, &BlobDigest::of(b"claimed"));
    let Claimed::Ours(claim) = store.claim(&chain).expect("a claim") else { panic!("nobody made it") };
    make(&store, None, "made", 1);
    store.sweep().expect("a sweep");
    let there = [&old, &named, &new].map(|image| store.image_bytes(image).expect("a look").is_some());
    assert_eq!(there, [false, true, true]);
    let locks = fs::read_dir(store.path("locks")).expect("a listing").map(|found| found.expect("a file").file_name());
    let chains = locks.filter(|name| name.as_os_str() != work::MAKERS);
    assert_eq!(chains.collect::<Vec<_>>(), [chain.hex()]);
    drop(claim);
}

#[test]
fn images_are_what_their_digest_says() {
    let (_directory, store) = store(100);
    let id = store.put_image(br#"{"os":"linux"}"#).expect("an image");
    assert_eq!(store.image(&id).expect("a look").expect("it is there").os, "linux");
    fs::write(store.path("images").join(names::hex_of(&id)), "{}").expect("damage");
    assert!(store.image(&id).expect("a look").is_none());
    store.forget(&id).expect("it is gone already");
}

#[test]
fn places_are_remembered_by_repository() {
    let (_directory, store) = store(100);
    let diff_id = BlobDigest::of(b"layer");
    let place = |path: &str, blob: &[u8]| Place {
        repo: Repo { host: "example.org".to_owned(), path: path.to_owned() },
        descriptor: Descriptor::new("application/x", BlobDigest::of(blob), 1),
    };
    for (path, blob) in [("a", b"1"), ("b", b"1"), ("a", b"2"), ("a", b"2")] {
        store.put_place(&diff_id, place(path, blob)).expect("a note");
    }
    assert_eq!(store.places(&diff_id).expect("notes"), [place("a", b"2"), place("b", b"1")]);
    for number in 0..20 {
        store.put_place(&diff_id, place(&number.to_string(), b"1")).expect("a note");
    }
    assert_eq!(store.places(&diff_id).expect("notes").len(), 16);
}

#[test]
fn stages_name_images() {
    let (_directory, store) = store(100);
    let [one, two] = ["{}", r#"{"os":"linux"}"#].map(|text| store.put_image(text.as_bytes()).expect("an image"));
    assert!(store.tag("shop", "d", "12", &one).expect("a tag"));
    assert!(store.tag("shop", "d", "12", &one).expect("again"));
    assert!(!store.tag("shop", "d", "12", &two).expect("another image has the name"));
    store.tag("shop", "d", "7", &two).expect("a tag");
    let found = store.stages("shop", "d").expect("a listing");
    let names: Vec<_> = found.iter().map(|found| (found.stamp.as_str(), found.image.clone())).collect();
    assert_eq!(names, [("12", one.clone()), ("7", two.clone())]);
    assert_eq!(found[0].config, b"{}");
    assert!(store.is_named(&one).expect("a look"));
    store.put_image(b"{}").expect("the same again");
    assert!(store.is_named(&one).expect("a look"), "it stays one file");
    assert!(store.stages("shop", "other").expect("a listing").is_empty());
    for bad in ["../x", "a/b", "", "."] {
        assert!(store.tag(bad, "d", "1", &one).is_err(), "{bad}");
        assert!(store.stages("shop", bad).is_err(), "{bad}");
    }
    assert!(store.tag("shop", "d", "1", &BlobDigest::of(b"no such image")).is_err());
}

#[test]
fn others_may_not_look_in() {
    use std::os::unix::fs::MetadataExt as _;
    let (_directory, store) = store(100);
    assert_eq!(fs::metadata(store.root()).expect("it is there").mode() & 0o777, 0o700);
}

#[test]
fn an_inventory_tells_kinds_apart() {
    let (directory, store) = store(1000);
    let base = make(&store, None, "base", 40);
    drop(make(&store, Some(&base), "top", 20));
    let config = |id: &BlobDigest| format!(r#"{{"os":"linux","rootfs":{{"type":"layers","diff_ids":["{id}"]}}}}"#);
    let whole = store.put_image(config(&BlobDigest::of(b"base")).as_bytes()).expect("an image");
    let broken = store.put_image(config(&BlobDigest::of(b"never made")).as_bytes()).expect("an image");
    for (stamp, image) in [("1", &whole), ("2", &broken)] {
        store.tag("shop", "d", stamp, image).expect("a tag");
    }
    let alive = store.work("alive").expect("a directory");
    let dead = store.path("work/dead");
    fs::create_dir_all(&dead).expect("a directory");
    fs::write(dead.join("lock"), "").expect("a lock");
    // What this process uses is in use for others, too.
    let seen = open(directory.path(), 1000).inventory().expect("an inventory");
    assert_eq!((seen.layers, seen.used), (Tally { number: 2, bytes: 60 }, Tally { number: 1, bytes: 40 }));
    let counted = (seen.stages, seen.broken, seen.images.number, seen.building.number, seen.leftovers.number);
    assert_eq!(counted, (2, 1, 2, 1, 1));
    assert_eq!((seen.limit, seen.reserved), (1000, 0));
    drop(alive);
}

#[test]
fn a_dry_run_tells_what_a_cleanup_then_does() {
    let (_directory, store) = store(1000);
    let base = make(&store, None, "base", 40);
    let used = make(&store, Some(&base), "used", 20);
    let free = make(&store, Some(&base), "free", 30);
    let above = make(&store, Some(&free), "above", 10);
    let chains = [&base, &used, &free, &above].map(|layer| layer.chain.clone());
    let there = || chains.clone().map(|chain| has(&store, &chain));
    drop((free, above));
    let dead = store.path("work/dead");
    fs::create_dir_all(&dead).expect("a directory");
    fs::write(dead.join("lock"), "").expect("a lock");
    let lost = BlobDigest::of(b"above");
    let config = format!(r#"{{"os":"linux","rootfs":{{"type":"layers","diff_ids":["{lost}"]}}}}"#);
    let image = store.put_image(config.as_bytes()).expect("an image");
    store.tag("shop", "d", "1", &image).expect("a tag");
    let said = store.reclaim(0, true).expect("a dry run");
    assert_eq!((said.layers, said.leftovers.number, said.stages), (Tally { number: 2, bytes: 40 }, 1, 1));
    assert!(there() == [true; 4] && dead.exists(), "a dry run removes nothing");
    // No more goes than has to.
    assert_eq!(store.reclaim(95, true).expect("a dry run").layers, Tally { number: 1, bytes: 10 });
    assert_eq!(store.reclaim(0, false).expect("a cleanup"), said);
    assert_eq!(there(), [true, true, false, false]);
    assert!(!dead.exists() && store.stages("shop", "d").expect("a listing").is_empty());
    assert!(!store.path("stages/shop").exists());
    assert!(store.tag("shop", "d", "2", &image).expect("the directory is made again"));
}
