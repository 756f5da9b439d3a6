//! What the tags of a repository say, sorted by what they mean.

use std::collections::HashMap;

use slipway_cleanup::ImageHistory;
use slipway_digest::{CommitId, StageDigest, StageId};

use crate::names;

/// An image at a commit, as a tag tells it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CommitRecord {
    /// What stands for the image's name.
    pub image: u32,
    /// The commit.
    pub commit: CommitId,
    /// The image's last stage there.
    pub stage: StageId,
}

impl CommitRecord {
    /// Its tag.
    pub fn tag(&self) -> String {
        names::commit_tag(self.image, self.commit, self.stage)
    }
}

/// The tags of a repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listed {
    /// Stages.
    pub stages: Vec<StageId>,
    /// Images for several platforms.
    pub indexes: Vec<String>,
    /// Stages that are marked as rejected.
    pub rejected: Vec<StageId>,
    /// Images at commits.
    pub commits: Vec<CommitRecord>,
    /// Names of images that the project has or had.
    pub images: Vec<String>,
    /// Tags of the checksums of imports.
    pub imports: Vec<String>,
    /// Tags of records about custom tags.
    pub custom: Vec<String>,
    /// Tags of notes of images' stages.
    pub notes: Vec<String>,
    /// Tags that belong to the repository as a whole.
    pub own: Vec<String>,
    /// All others: of users, and of other programs.
    pub others: Vec<String>,
}

impl Listed {
    /// Sorts tags.
    pub fn new(tags: impl IntoIterator<Item = String>) -> Self {
        let mut listed = Self::default();
        tags.into_iter().for_each(|tag| listed.add(tag));
        listed
    }

    fn add(&mut self, tag: String) {
        let rejected = tag.strip_suffix(names::REJECTED_SUFFIX).and_then(|rest| rest.parse().ok());
        if let Ok(stage) = tag.parse() {
            self.stages.push(stage);
        } else if let Some((image, commit, stage)) = names::commit_record(&tag) {
            self.commits.push(CommitRecord { image, commit, stage });
        } else if tag.parse::<StageDigest>().is_ok() {
            self.indexes.push(tag);
        } else if let Some(stage) = rejected {
            self.rejected.push(stage);
        } else if let Some(image) = names::managed_name(&tag) {
            self.images.push(image);
        } else if names::is_import(&tag) {
            self.imports.push(tag);
        } else if names::is_custom_record(&tag) {
            self.custom.push(tag);
        } else if names::is_image_note(&tag) {
            self.notes.push(tag);
        } else if names::is_record(&tag) && !tag.starts_with(names::COMMIT) {
            self.own.push(tag);
        } else {
            self.others.push(tag);
        }
    }

    /// The histories of the images that are looked after: those of these names and those on the list. Records of stages that
    /// are not there do not count.
    pub fn histories(&self, names: &[String]) -> Vec<ImageHistory> {
        let mut places: HashMap<u32, usize> = HashMap::new();
        let mut histories: Vec<ImageHistory> = Vec::new();
        for name in names.iter().chain(&self.images) {
            places.entry(names::image_number(name)).or_insert_with(|| {
                histories.push(ImageHistory::new(name.clone()));
                histories.len() - 1
            });
        }
        let stages: std::collections::HashSet<&StageId> = self.stages.iter().collect();
        for record in self.commits.iter().filter(|record| stages.contains(&record.stage)) {
            if let Some(place) = places.get(&record.image) {
                histories[*place].add(record.commit, record.stage);
            }
        }
        histories
    }

    /// How many tags there are.
    pub fn len(&self) -> usize {
        let lists = [&self.indexes, &self.images, &self.imports, &self.custom, &self.notes, &self.own, &self.others];
        self.stages.len() + self.rejected.len() + self.commits.len() + lists.map(Vec::len).iter().sum::<usize>()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "9f3a82975136d66d04ebcb9ce90b14428077099417b6c170e2ef2fef";

    #[test]
    fn tags_are_sorted_by_what_they_mean() {
        let stage = format!("{DIGEST}-1589786063772");
        let commit = "ab".repeat(20);
        let meta = names::image_commit("app", commit.parse().unwrap(), stage.parse().unwrap());
        let tags = [
            stage.as_str(),
            &format!("{stage}-rejected"),
            DIGEST,
            &meta,
            "meta-zz_1_2",
            "managed-image-app",
            "managed-image-__nameless__",
            "import-metadata-00",
            "custom-tag-meta-latest",
            "image-stages-00",
            "slipway-index",
            "cleanup",
            "latest",
            "client-id-x-1",
        ];
        let listed = Listed::new(tags.map(str::to_owned));
        assert_eq!(listed.len(), tags.len());
        assert_eq!((listed.stages.len(), listed.rejected.len(), listed.indexes.len()), (1, 1, 1));
        assert_eq!(listed.images, ["app", ""]);
        assert_eq!(listed.own, ["slipway-index", "cleanup"]);
        assert_eq!(listed.others, ["meta-zz_1_2", "latest", "client-id-x-1"]);
        assert_eq!((listed.imports.len(), listed.custom.len(), listed.notes.len()), (1, 1, 1));
        assert_eq!(listed.commits[0].tag(), meta);
    }

    #[test]
    fn histories_are_of_images_that_are_looked_after() {
        let (here, gone) = (format!("{DIGEST}-1589786063772"), format!("{DIGEST}-1589786063773"));
        let commit: CommitId = "ab".repeat(20).parse().unwrap();
        let meta = |image: &str, stage: &str| names::image_commit(image, commit, stage.parse().unwrap());
        let tags = [
            here.clone(),
            meta("app", &here),
            meta("app", &gone),
            meta("old", &here),
            meta("stranger", &here),
            "managed-image-old".to_owned(),
            "managed-image-app".to_owned(),
        ];
        let histories = Listed::new(tags).histories(&["app".to_owned(), "new".to_owned()]);
        let said: Vec<(&str, usize)> =
            histories.iter().map(|image| (image.name.as_str(), image.at.values().map(|it| it.len()).sum())).collect();
        assert_eq!(said, [("app", 1), ("new", 0), ("old", 1)]);
    }
}
