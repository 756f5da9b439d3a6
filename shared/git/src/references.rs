//! The branches and tags of `origin`.
//!
//! What `origin` has now is asked for, and commits that are not here are fetched; no ref of the user's repository is
//! written.

use std::{collections::BTreeMap, fs::File, time::Duration};

use gix::ObjectId;
use slipway_digest::CommitId;

use crate::{GitError, Repository, history, program::Git};

/// How long `origin` may take to say what it has.
const LONGEST_LOOK: Duration = Duration::from_secs(300);
/// How long commits may take to come.
const LONGEST_FETCH: Duration = Duration::from_secs(60 * 60);
/// More than any list of refs, in bytes.
const MAX_LIST: u64 = 256 << 20;
/// Refs that are fetched by one call.
const AT_ONCE: usize = 500;
/// How often refs may vanish while they are fetched.
const TRIES: u32 = 3;
const REMOTE: &str = "refs/remotes/origin/";
const HEADS: &str = "refs/heads/";
const TAGS: &str = "refs/tags/";

/// A branch of `origin`, or a tag.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ref {
    /// Whether it is a tag.
    pub is_tag: bool,
    /// Its name, without anything in front.
    pub name: String,
    /// The commit that it leads to.
    pub head: CommitId,
    /// When that was committed, or the tag was made, in seconds since the Unix epoch.
    pub time: i64,
}

impl Repository {
    /// The branches and tags that `origin` has now. Commits that are not here are fetched: objects, and no refs. Blocks.
    ///
    /// # Errors
    /// [`GitError::Program`] when there is no `origin`, or it does not answer, or `git` is missing.
    pub fn fetch_references(&self) -> Result<Vec<Ref>, GitError> {
        let mut tries = 1;
        loop {
            let (listed, objects) = (self.remote_list()?, self.objects());
            let missing = listed.iter().filter(|(_, id)| !objects.has_object(**id));
            let missing: Vec<&String> = missing.map(|(name, _)| name).collect();
            match self.fetch_objects(&missing) {
                Ok(()) => return self.described(listed),
                Err(error) if tries >= TRIES => return Err(error),
                // One of them may have been deleted meanwhile.
                Err(_) => tries += 1,
            }
        }
    }

    /// Whether there is an `origin`.
    pub fn has_origin(&self) -> bool {
        self.main().try_find_remote("origin").is_some()
    }

    /// The branches of `origin` and the tags as they are here. Blocks.
    ///
    /// # Errors
    /// [`GitError::Program`] when `git` is missing, others when the repository cannot be read.
    pub fn known_references(&self) -> Result<Vec<Ref>, GitError> {
        let format = "--format=%(objectname) %(refname)";
        let git = Git::bare(self.git_dir(), "list branches and tags").args(["for-each-ref", format, REMOTE, TAGS]);
        let listed = parse(&git.read_for(LONGEST_LOOK, MAX_LIST)?, ' ');
        let own = listed.into_iter().filter(|(name, _)| name != "refs/remotes/origin/HEAD");
        let named = own.map(|(name, id)| match name.strip_prefix(REMOTE) {
            Some(branch) => (format!("{HEADS}{branch}"), id),
            None => (name, id),
        });
        self.described(named.collect())
    }

    fn remote_list(&self) -> Result<BTreeMap<String, ObjectId>, GitError> {
        let ask = ["ls-remote", "--quiet", "--refs", "--heads", "--tags", "origin"];
        let git = Git::speaking(self, "ask origin for its branches and tags").args(ask);
        Ok(parse(&git.read_for(LONGEST_LOOK, MAX_LIST)?, '\t'))
    }

    fn fetch_objects(&self, names: &[&String]) -> Result<(), GitError> {
        for names in names.chunks(AT_ONCE) {
            let options = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"];
            let git = Git::speaking(self, "fetch the commits of origin").args(options);
            let git = git.args(["--refmap=", "--no-recurse-submodules", "origin"]).args(names);
            let nothing =
                File::open("/dev/null").map_err(|error| GitError::Program(format!("open /dev/null: {error}")))?;
            git.run_for(nothing, LONGEST_FETCH)?;
        }
        Ok(())
    }

    /// What the refs lead to. Those of no commit are left out.
    fn described(&self, listed: BTreeMap<String, ObjectId>) -> Result<Vec<Ref>, GitError> {
        let objects = self.objects();
        let mut refs = Vec::with_capacity(listed.len());
        for (full, id) in listed {
            let (is_tag, name) = match (full.strip_prefix(HEADS), full.strip_prefix(TAGS)) {
                (Some(name), _) => (false, name.to_owned()),
                (None, Some(name)) => (true, name.to_owned()),
                (None, None) => continue,
            };
            let Some((head, tagged)) = peel(&objects, &full, id)? else { continue };
            let time = match tagged {
                Some(time) => time,
                None => history::commit(&objects, head)?.time,
            };
            refs.push(Ref { is_tag, name, head, time });
        }
        Ok(refs)
    }
}

/// The commit that a ref leads to, and when its tag was made, if it is one with a date; `None` = it leads to no commit.
fn peel(objects: &gix::Repository, name: &str, id: ObjectId) -> Result<Option<(CommitId, Option<i64>)>, GitError> {
    let broken = |error| GitError::broken(format_args!("read {name}"), &error);
    let object = objects.try_find_object(id).map_err(broken)?;
    let object = object.ok_or_else(|| GitError::Missing(format!("the object {id} of {name}")))?;
    let tagged = match object.kind {
        gix::object::Kind::Tag => {
            let text = String::from_utf8_lossy(&object.data).into_owned();
            // `tagger NAME <ADDRESS> SECONDS ZONE`
            let tagger = text.lines().take_while(|line| !line.is_empty()).find(|line| line.starts_with("tagger "));
            tagger.and_then(|line| line.rsplit(' ').nth(1)?.parse().ok())
        }
        _ => None,
    };
    match object.peel_to_commit() {
        Ok(commit) => Ok(Some((history::commit_id(commit.id), tagged))),
        Err(_) => Ok(None),
    }
}

/// Lines of an object's id and a name.
fn parse(printed: &[u8], between: char) -> BTreeMap<String, ObjectId> {
    let text = String::from_utf8_lossy(printed);
    let line = |line: &str| {
        let (id, name) = line.split_once(between)?;
        Some((name.to_owned(), ObjectId::from_hex(id.as_bytes()).ok()?))
    };
    text.lines().filter_map(line).collect()
}
