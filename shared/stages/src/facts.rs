//! Questions and facts: what a conveyor needs to know, as values, and what is known.
//!
//! Equal questions are one look-up, whoever asks. `Err(Need)` is no failure: "ask these and call me again".

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use slipway_digest::{Checksum, CommitId, Millis, StageDigest, StageId};
use slipway_dockerfile::{DockerfileError, Outline};
use slipway_oci::{ImageAt, Platform};
use slipway_paths::{Scope, TreePath};

use crate::plan::{BaseImage, ImportInput, Place, SourceId, StagePlan, StageRecord};

/// Something a conveyor must know.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Question {
    /// The content of a file of a commit. → [`Answer::File`]
    File {
        /// Which commit of the project's repository.
        commit: CommitId,
        /// Path from the root of the repository.
        path: TreePath,
    },
    /// What a scope holds. → [`Answer::Tree`]
    Tree {
        /// Which repository.
        source: SourceId,
        /// At which commit.
        commit: CommitId,
        /// Which files.
        scope: Scope,
    },
    /// What changed in a scope. → [`Answer::Changes`]
    Changes {
        /// Which repository.
        source: SourceId,
        /// Before.
        from: CommitId,
        /// After.
        to: CommitId,
        /// Which files.
        scope: Scope,
    },
    /// Whether a commit is an ancestor of (or equal to) another. → [`Answer::Ancestor`]
    Ancestor {
        /// Which repository.
        source: SourceId,
        /// The older commit.
        old: CommitId,
        /// The newer commit.
        new: CommitId,
    },
    /// Stored stages of a digest, not older than their parent. → [`Answer::Stored`]
    Stored {
        /// Where to look.
        place: Place,
        /// Which digest.
        digest: StageDigest,
        /// For which platform.
        platform: Platform,
        /// Only timestamps greater than this.
        not_before: Millis,
    },
    /// What is stored under the digests that an image is expected to have. Only a hint: whatever the answer, the image's stages are
    /// found one by one. → [`Answer::Foreseen`]
    Foreseen {
        /// What the image is made of, see [`Conveyor::key`](crate::conveyor::Conveyor::key).
        key: Checksum,
        /// For which platform.
        platform: Platform,
    },
    /// An external image. Pinned for the whole build. → [`Answer::Base`]
    Base {
        /// As the user wrote it.
        reference: String,
        /// For which platform.
        platform: Platform,
    },
    /// The checksum of files to be imported. → [`Answer::Imported`]
    Imported {
        /// The source stage; `None` = an external image.
        stage: Option<StageId>,
        /// Content of the source: a record under this key is as good as reading the files. `None` = only the local
        /// engine has it, under a name that may lead to another image tomorrow.
        content: Option<Checksum>,
        /// Which files of which image.
        input: Box<ImportInput>,
    },
}

/// What was found out.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// The file's bytes; `None` = there is no such file.
    File(Option<Arc<[u8]>>),
    /// What the scope holds.
    Tree(TreeFact),
    /// What changed.
    Changes(ChangesFact),
    /// Yes, no, or unknown (a shallow history).
    Ancestor(Option<bool>),
    /// Stages, oldest first.
    Stored(Vec<StageRecord>),
    /// What will be asked of the primary storage.
    Foreseen(Foreseen),
    /// The image.
    Base(BaseImage),
    /// The checksum.
    Imported(Checksum),
}

/// The stages of an image as they were found the last time, and what is stored under their digests now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Foreseen {
    /// Its stages, lowest first; none when nothing is known of the image.
    pub stages: Vec<StageId>,
    /// All stages that the primary storage has under each of their digests.
    pub stored: Vec<(StageDigest, Vec<StageRecord>)>,
}

/// What a scope holds at a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TreeFact {
    /// Whether the scope's base is a single file.
    pub base_is_file: bool,
    /// Number of selected files.
    pub files: u64,
    /// Over type, mode, path and content of them.
    pub checksum: Checksum,
}

/// What changed in a scope between two commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChangesFact {
    /// Whether the scope's base is a single file.
    pub base_is_file: bool,
    /// Number of changed paths.
    pub files: u64,
    /// Sum of the new blobs' sizes, a deleted path counting its old one.
    pub bytes: u64,
    /// Over the sorted list of (path, old mode and blob, new mode and blob).
    pub checksum: Checksum,
}

/// Why a step cannot go on: either more must be known, or the project is wrong.
#[derive(Clone, PartialEq, Debug)]
pub enum Stop {
    /// No failure: ask these and step again.
    Need(Vec<Question>),
    /// Something that only the user can mend.
    Invalid(Invalid),
}

/// What is wrong in a project, seen only when its files are.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[error("{message}")]
pub struct Invalid {
    /// What is wrong and what to do about it.
    pub message: String,
    /// Line of `werf.yaml`, when one is to blame.
    pub line: Option<u32>,
}

/// A value, or what stands before it.
pub type Asked<T> = Result<T, Stop>;

/// Everything that is known so far.
#[derive(Debug, Default)]
pub struct Facts {
    known: HashMap<Question, Answer>,
    /// What was asked about each digest.
    stored: HashMap<StageDigest, Vec<Question>>,
    /// What is stored under digests that nobody has asked for yet.
    foreseen: HashMap<(StageDigest, Platform), Vec<StageRecord>>,
    /// Dockerfiles that were read: every instruction of a staged one asks for the whole.
    outlines: Mutex<HashMap<OutlineKey, Arc<Outline>>>,
}

/// What a Dockerfile is read with.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct OutlineKey {
    /// The commit that it is of.
    pub(crate) commit: CommitId,
    /// Its path in the repository.
    pub(crate) path: String,
    /// Its target; the last stage when `None`.
    pub(crate) target: Option<String>,
    /// Build arguments.
    pub(crate) args: BTreeMap<String, String>,
    /// The target platform.
    pub(crate) platform: String,
}

impl Facts {
    /// Remembers an answer.
    pub fn learn(&mut self, question: Question, answer: Answer) {
        if let (Question::Stored { digest, .. }, false) = (&question, self.knows(&question)) {
            self.stored.entry(*digest).or_default().push(question.clone());
        }
        if let (Question::Foreseen { platform, .. }, Answer::Foreseen(foreseen)) = (&question, &answer) {
            let stored = foreseen.stored.iter();
            self.foreseen.extend(stored.map(|(digest, records)| ((*digest, platform.clone()), records.clone())));
        }
        self.known.insert(question, answer);
    }

    /// Answers those of the questions whose answers were foreseen; whether there are any.
    pub(crate) fn learn_foreseen(&mut self, questions: &[Question]) -> bool {
        let mut learned = false;
        for question in questions {
            let Question::Stored { place: Place::Primary, digest, platform, not_before } = question else { continue };
            let Some(records) = self.foreseen.get(&(*digest, platform.clone())) else { continue };
            // As the storage would answer.
            let mut found: Vec<StageRecord> =
                records.iter().filter(|record| record.id.stamp > *not_before).cloned().collect();
            found.sort_by_key(|record| record.id.stamp);
            self.learn(question.clone(), Answer::Stored(found));
            learned = true;
        }
        learned
    }

    /// A Dockerfile, of which `text` is the text, instruction by instruction.
    pub(crate) fn outline(&self, key: OutlineKey, text: &str) -> Result<Arc<Outline>, DockerfileError> {
        let mut outlines = self.outlines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = outlines.get(&key) {
            return Ok(Arc::clone(known));
        }
        let OutlineKey { path, target, args, platform, .. } = &key;
        let outline = Arc::new(slipway_dockerfile::outline(path, text, target.as_deref(), args, platform)?);
        outlines.insert(key, Arc::clone(&outline));
        Ok(outline)
    }

    /// Whether a question is answered.
    pub fn knows(&self, question: &Question) -> bool {
        self.known.contains_key(question)
    }

    /// Whether an image was foreseen as it is.
    pub(crate) fn foresaw(&self, wanted: &Checksum, stages: impl Iterator<Item = StageId>) -> bool {
        // A build is of one platform.
        let found = self.known.iter().find_map(|(question, answer)| match (question, answer) {
            (Question::Foreseen { key, .. }, Answer::Foreseen(foreseen)) if key == wanted => Some(foreseen),
            _ => None,
        });
        found.is_some_and(|foreseen| foreseen.stages.iter().copied().eq(stages))
    }

    /// Forgets what is stored under a digest: it has changed.
    pub fn forget_stored(&mut self, changed: StageDigest) {
        self.foreseen.retain(|(digest, _), _| *digest != changed);
        for question in self.stored.remove(&changed).unwrap_or_default() {
            self.known.remove(&question);
        }
    }

    /// Forgets an image that is stored no more.
    pub fn forget_image(&mut self, at: &ImageAt) {
        self.foreseen.values_mut().for_each(|records| records.retain(|record| record.at != *at));
        for answer in self.known.values_mut() {
            if let Answer::Stored(records) = answer {
                records.retain(|record| record.at != *at);
            }
        }
    }

    /// A commit of the newest stored stage of a plan's digest that is not one of the plan's own.
    pub(crate) fn other_commit(&self, plan: &StagePlan) -> Option<CommitId> {
        let questions = self.stored.get(&plan.digest).into_iter().flatten();
        let answers = questions.filter_map(|question| match self.known.get(question) {
            Some(Answer::Stored(records)) => Some(records),
            _ => None,
        });
        let newest = answers.flatten().max_by_key(|record| record.id.stamp)?;
        let mut commits = newest.commits.iter();
        commits.find_map(|(key, commit)| (plan.commits.get(key)? != commit).then_some(*commit))
    }

    /// The answer to one question.
    pub(crate) fn one(&self, question: Question) -> Asked<&Answer> {
        self.known.get(&question).ok_or_else(|| Stop::Need(vec![question]))
    }

    /// The answers to all questions in their order; every missing one is asked at once.
    pub(crate) fn all(&self, questions: &[Question]) -> Asked<Vec<&Answer>> {
        let missing: Vec<Question> = questions.iter().filter(|q| !self.knows(q)).cloned().collect();
        if missing.is_empty() {
            Ok(questions.iter().map(|question| &self.known[question]).collect())
        } else {
            Err(Stop::Need(missing))
        }
    }
}
