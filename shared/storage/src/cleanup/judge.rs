//! What goes, by what must stay.
//!
//! What leads to stages is read first; then the labels of the stages that stay, and of those that they are made of, and so on.
//! Of the stages that go, nothing is read.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering},
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use slipway_cleanup::{Hit, ImageHistory, Keeping, Reason, Verdict, Why};
use slipway_digest::{Millis, StageId};
use slipway_oci::BlobDigest;
use slipway_stages::labels;

use super::{
    Listed, Place, Progress,
    place::made_of,
    plan::{Going, Guarded, Kind, Plan, Side},
    read::{Content, Custom, Import, Leads, Noted},
};
use crate::{StorageError, names};

/// Stages whose labels are asked for in one go.
const AT_ONCE: usize = 1000;

/// What must stay.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The images that are looked after.
    pub images: Vec<ImageHistory>,
    /// Records that branches and tags lead to.
    pub hits: BTreeMap<Hit, Reason>,
    /// What runs.
    pub in_use: Vec<InUse>,
    /// Stages that are not older than this many hours; 0 = for that, none.
    pub hours: u64,
    /// The time.
    pub now: Millis,
    /// Only these stages may go: builds were kept from them, and from no others; `None` = all.
    pub claimed: Option<Arc<BTreeSet<StageId>>>,
}

/// An image that runs, or is to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InUse {
    /// In which of the repositories.
    pub side: Side,
    /// Its tag or digest.
    pub selector: String,
    /// Who says so.
    pub who: Arc<str>,
}

/// Reads what is not known of a repository, and says what goes of it. `last` = the final repository.
///
/// # Errors
/// When a repository does not answer, or refuses; when it holds stages of another project.
pub async fn judge(
    (primary, listed): (&Place, &Listed),
    last: Option<(&Place, &Listed)>,
    wanted: &Wanted,
    told: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Plan, StorageError> {
    let keeping = Keeping::new(listed.stages.iter().copied(), listed.rejected.iter().copied());
    let (guarded, warnings) = (Guarded::default(), Vec::new());
    let mut judge = Judge { primary, keeping, guarded, warnings, told, read: AtomicUsize::new(0) };
    let imports = primary.each(&listed.imports, |tag| judge.count(primary.import(tag))).await?;
    join_imports(&mut judge.keeping, &imports);
    for (hit, reason) in &wanted.hits {
        judge.keeping.keep(hit.stage, reason.clone());
    }
    for used in &wanted.in_use {
        judge.keep_used(used, last.map(|(place, _)| place)).await?;
    }
    judge.settle().await?;
    if wanted.hours > 0 {
        judge.keeping.keep_young(wanted.hours, wanted.now);
        judge.settle().await?;
    }
    if let Some(claimed) = &wanted.claimed {
        let others = listed.stages.iter().filter(|stage| !claimed.contains(stage));
        others.for_each(|stage| judge.keeping.keep(*stage, Reason::Building));
        judge.settle().await?;
    }
    let indexes = primary.each(&listed.indexes, |tag| judge.count(primary.leads(tag))).await?;
    let kept_indexes = judge.keep_indexes(&indexes).await?;
    let customs = primary.each(&listed.custom, |tag| judge.count(primary.custom(tag))).await?;
    let notes = primary.each(&listed.notes, |tag| judge.count(primary.noted(tag))).await?;

    let mut going = Vec::new();
    judge.notes(notes, &mut going);
    judge.imports(imports, &mut going);
    judge.customs(customs, (&kept_indexes, listed, last.map(|(_, listed)| listed)), &mut going);
    commits(listed, wanted, &judge.keeping, &mut going);
    let unneeded = |leads: &Leads| !kept_indexes.contains(&leads.tag);
    going.extend(indexes.into_iter().filter(unneeded).map(|leads| Going {
        digest: Some(leads.digest),
        ..primary_tag(Kind::Index, leads.tag, "none of its images stays")
    }));
    judge.stages(listed, &mut going);
    if let Some((place, tags)) = last {
        judge.last((place, tags), (&kept_indexes, wanted), &mut going).await?;
    }
    judge.guard_others(primary, Side::Primary, listed, &going).await?;
    going.sort_by_key(|one| one.kind);
    Ok(Plan { keeping: judge.keeping, going, guarded: judge.guarded, warnings: judge.warnings, stays: true })
}

/// A plan after which nothing of the project is left. Tags of users stay, unless they are recorded as custom tags.
///
/// # Errors
/// As [`judge`].
pub async fn everything(
    (primary, listed): (&Place, &Listed),
    last: Option<(&Place, &Listed)>,
    told: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Plan, StorageError> {
    let keeping = Keeping::new(listed.stages.iter().copied(), listed.rejected.iter().copied());
    let (guarded, warnings) = (Guarded::default(), Vec::new());
    let mut judge = Judge { primary, keeping, guarded, warnings, told, read: AtomicUsize::new(0) };
    let customs = primary.each(&listed.custom, |tag| judge.count(primary.custom(tag))).await?;
    let mut going = Vec::new();
    judge.customs(customs, (&HashSet::new(), listed, last.map(|(_, listed)| listed)), &mut going);
    // Of records that nobody can read, only the tags are known.
    going.retain(|one| one.kind == Kind::CustomTag);
    let why = "the project is purged";
    let mut add = |kind, tags: Vec<String>| going.extend(tags.into_iter().map(|tag| primary_tag(kind, tag, why)));
    add(Kind::Note, listed.notes.clone());
    add(Kind::Import, listed.imports.clone());
    add(Kind::CustomRecord, listed.custom.clone());
    add(Kind::Commit, listed.commits.iter().map(super::listed::CommitRecord::tag).collect());
    add(Kind::Index, listed.indexes.clone());
    add(Kind::Image, listed.images.iter().map(|image| names::managed_image(image)).collect());
    add(Kind::Own, listed.own.clone());
    judge.stages(listed, &mut going);
    if let Some((place, tags)) = last {
        judge.last((place, tags), (&HashSet::new(), &Wanted::default()), &mut going).await?;
    }
    judge.guard_others(primary, Side::Primary, listed, &going).await?;
    going.sort_by_key(|one| one.kind);
    Ok(Plan { keeping: judge.keeping, going, guarded: judge.guarded, warnings: judge.warnings, stays: false })
}

/// A judgement under way.
struct Judge<'a> {
    primary: &'a Place,
    keeping: Keeping,
    guarded: Guarded,
    warnings: Vec<String>,
    told: &'a (dyn Fn(Progress) + Send + Sync),
    read: AtomicUsize,
}

impl Judge<'_> {
    async fn count<T>(&self, reading: impl Future<Output = T>) -> T {
        let found = reading.await;
        (self.told)(Progress::Read(self.read.fetch_add(1, Ordering::Relaxed) + 1));
        found
    }

    /// Keeps what runs. What is no stage may be a name of one: its image says of which.
    async fn keep_used(&mut self, used: &InUse, last: Option<&Place>) -> Result<(), StorageError> {
        let reason = Reason::InUse(Arc::clone(&used.who));
        if let Ok(stage) = used.selector.parse::<StageId>()
            && (used.side == Side::Primary || self.keeping.has(stage))
        {
            self.keeping.keep(stage, reason);
            return Ok(());
        }
        let place = match used.side {
            Side::Primary => Some(self.primary),
            Side::Final => last,
        };
        let Some(place) = place else { return Ok(()) };
        for digest in place.stage_digests(&used.selector).await? {
            self.keeping.keep_all_of(digest, &reason);
        }
        Ok(())
    }

    /// Reads the labels of what stays, until nothing is new.
    async fn settle(&mut self) -> Result<(), StorageError> {
        loop {
            let asked = self.keeping.ask(AT_ONCE);
            if asked.is_empty() {
                return Ok(());
            }
            let this: &Self = self;
            let read = |stage: StageId| async move {
                let record = this.count(this.primary.record(&stage.to_string())).await?;
                Ok::<_, StorageError>((stage, record))
            };
            let read = stream::iter(asked).map(read).buffer_unordered(self.primary.at_once);
            for (stage, record) in read.try_collect::<Vec<_>>().await? {
                let Some((digest, labels)) = record else { continue };
                self.guarded.add_stage(Side::Primary, digest);
                if labels.is_empty() {
                    self.warnings.push(format!("the stage {stage} cannot be read: what it is made of may go"));
                }
                self.check_project(stage, &labels)?;
                self.keeping.tell(stage, &made_of(&labels));
            }
        }
    }

    fn check_project(&self, stage: StageId, labels: &BTreeMap<String, String>) -> Result<(), StorageError> {
        match labels.get(labels::PROJECT) {
            Some(other) if *other != self.primary.project => Err(StorageError::Denied(format!(
                "stage {stage} of {} is of project `{other}`, not of `{}`: a repository that two projects share cannot be cleaned \
                 up, for neither knows what the other needs; give each one of its own",
                self.primary.repo, self.primary.project
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// Keeps the indexes that lead to a stage that stays, and with them all stages that they lead to.
    async fn keep_indexes(&mut self, indexes: &[Leads]) -> Result<HashSet<String>, StorageError> {
        let mut kept = HashSet::new();
        loop {
            let stays = |digest: &BlobDigest| self.guarded.has_stage(Side::Primary, digest);
            let new = |index: &&Leads| !kept.contains(&index.tag) && index.images.iter().any(stays);
            let found: Vec<&Leads> = indexes.iter().filter(new).collect();
            if found.is_empty() {
                return Ok(kept);
            }
            for index in found {
                kept.insert(index.tag.clone());
                self.guarded.add_stage(Side::Primary, index.digest.clone());
                let reason = Reason::Index(index.tag.as_str().into());
                for image in &index.images {
                    if self.guarded.has_stage(Side::Primary, image) {
                        continue;
                    }
                    for digest in self.primary.stage_digests(image.as_str()).await? {
                        self.keeping.keep_all_of(digest, &reason);
                    }
                }
            }
            self.settle().await?;
        }
    }

    fn notes(&self, notes: Vec<Noted>, going: &mut Vec<Going>) {
        for noted in notes {
            let stays = |stages: &Vec<StageId>| stages.iter().all(|stage| self.keeping.reason(*stage).is_some());
            if !noted.stages.as_ref().is_some_and(stays) {
                let one = primary_tag(Kind::Note, noted.tag, "a stage that it names goes");
                going.push(Going { digest: Some(noted.digest), ..one });
            }
        }
    }

    fn imports(&self, imports: Vec<Import>, going: &mut Vec<Going>) {
        for import in imports {
            if import.source.is_some_and(|source| self.keeping.reason(source).is_none()) {
                let one = primary_tag(Kind::Import, import.tag, "its source goes");
                going.push(Going { digest: Some(import.digest), ..one });
            }
        }
    }

    fn customs(
        &self,
        customs: Vec<Custom>,
        (indexes, listed, last): (&HashSet<String>, &Listed, Option<&Listed>),
        going: &mut Vec<Going>,
    ) {
        let others: HashSet<&String> = listed.others.iter().collect();
        let last: HashSet<&String> = last.iter().flat_map(|listed| &listed.others).collect();
        for custom in customs {
            let stays = match &custom.content {
                Some(Content::Stage(stage)) => self.keeping.reason(*stage).is_some(),
                Some(Content::Index(index)) => indexes.contains(index),
                // Nobody can tell.
                None => true,
            };
            if stays {
                continue;
            }
            let why = "its stage goes";
            if let Some(tag) = custom.tag {
                let tagged = |side| Going { side, ..primary_tag(Kind::CustomTag, tag.clone(), why) };
                going.extend(others.contains(&tag).then(|| tagged(Side::Primary)));
                going.extend(last.contains(&tag).then(|| tagged(Side::Final)));
            }
            going.push(Going { digest: Some(custom.digest), ..primary_tag(Kind::CustomRecord, custom.record, why) });
        }
    }

    /// The stages, those first that stand on others; and what says that they were rejected.
    fn stages(&self, listed: &Listed, going: &mut Vec<Going>) {
        for stage in self.keeping.gone().into_iter().rev() {
            let why = match self.keeping.verdict(stage) {
                Verdict::Go(Why::Rejected) => "it was rejected",
                _ => "nothing needs it",
            };
            going.push(primary_tag(Kind::Stage, stage.to_string(), why));
        }
        let lonely = listed.rejected.iter().filter(|stage| self.keeping.reason(**stage).is_none());
        going.extend(lonely.map(|stage| primary_tag(Kind::Rejected, names::rejected(*stage), "its stage goes")));
    }

    /// What goes of the final repository: what the primary one does not have any more.
    async fn last(
        &mut self,
        (place, listed): (&Place, &Listed),
        (indexes, wanted): (&HashSet<String>, &Wanted),
        going: &mut Vec<Going>,
    ) -> Result<(), StorageError> {
        let in_use = || wanted.in_use.iter().filter(|used| used.side == Side::Final);
        let mut used: HashSet<String> = in_use().map(|used| used.selector.clone()).collect();
        let mut digests = BTreeSet::new();
        for one in in_use().filter(|used| used.selector.parse::<StageId>().is_err()) {
            digests.extend(place.stage_digests(&one.selector).await?);
        }
        used.extend(listed.stages.iter().filter(|id| digests.contains(&id.digest)).map(ToString::to_string));
        let stages = listed.stages.iter().filter(|stage| self.keeping.reason(**stage).is_none());
        let tags = stages.map(|stage| (Kind::Stage, stage.to_string()));
        let indexes = listed.indexes.iter().filter(|tag| !indexes.contains(*tag));
        let tags = tags.chain(indexes.map(|tag| (Kind::Index, tag.clone())));
        let gone: Vec<Going> = tags
            .filter(|(_, tag)| !used.contains(tag))
            .map(|(kind, tag)| Going {
                side: Side::Final,
                ..primary_tag(kind, tag, "the primary repository has it no more")
            })
            .collect();
        let goes: HashSet<&String> = gone.iter().map(|one| &one.tag).collect();
        // Tags of users may be of the same manifests as stages that stay; those that go must not take either along.
        let stays = listed.stages.iter().map(ToString::to_string).chain(listed.indexes.iter().cloned());
        let stays: Vec<String> = stays.filter(|tag| !goes.contains(tag)).collect();
        if !gone.is_empty() {
            for leads in place.each(&stays, |tag| self.count(place.leads(tag))).await? {
                self.guarded.add_stage(Side::Final, leads.digest);
            }
        }
        going.extend(gone);
        self.guard_others(place, Side::Final, listed, going).await
    }

    /// Guards what tags of users lead to, unless they go.
    async fn guard_others(
        &mut self,
        place: &Place,
        side: Side,
        listed: &Listed,
        going: &[Going],
    ) -> Result<(), StorageError> {
        let gone: HashSet<&String> = going.iter().filter(|one| one.side == side).map(|one| &one.tag).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let others: Vec<String> = listed.others.iter().filter(|tag| !gone.contains(tag)).cloned().collect();
        for leads in place.each(&others, |tag| self.count(place.leads(tag))).await? {
            let all = std::iter::once(leads.digest).chain(leads.images);
            all.for_each(|digest| self.guarded.add_users(side, digest));
        }
        Ok(())
    }
}

/// The records of commits that nothing leads to.
fn commits(listed: &Listed, wanted: &Wanted, keeping: &Keeping, going: &mut Vec<Going>) {
    let number = |hit: &Hit| names::image_number(&wanted.images[hit.image].name);
    let hits: HashSet<_> = wanted.hits.keys().map(|hit| (number(hit), hit.commit, hit.stage)).collect();
    let images: HashSet<u32> = wanted.images.iter().map(|image| names::image_number(&image.name)).collect();
    for record in &listed.commits {
        let why = if !images.contains(&record.image) {
            "the project has no such image"
        } else if !hits.contains(&(record.image, record.commit, record.stage)) {
            "no branch or tag needs it"
        } else if keeping.reason(record.stage).is_none() {
            "its stage goes"
        } else {
            continue;
        };
        going.push(primary_tag(Kind::Commit, record.tag(), why));
    }
}

fn primary_tag(kind: Kind, tag: String, why: &'static str) -> Going {
    Going { side: Side::Primary, kind, tag, digest: None, why }
}

/// Sources whose imported files are the same stay together.
fn join_imports(keeping: &mut Keeping, imports: &[Import]) {
    let mut same: HashMap<&str, Vec<StageId>> = HashMap::new();
    for import in imports {
        if let (Some(source), Some(checksum)) = (import.source, import.checksum.as_deref()) {
            same.entry(checksum).or_default().push(source);
        }
    }
    same.into_values().for_each(|sources| keeping.same_imports(sources));
}
