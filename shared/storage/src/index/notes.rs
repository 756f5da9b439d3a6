//! What was read from a repository, so that another build need not read it again: stages, and which of them images have.
//!
//! What a manifest and its config say never changes; so the note of a stage is true for as long as its tag leads to that manifest,
//! and that is asked every time. Which stages an image has is only a hint.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use slipway_digest::{Checksum, StageId};
use slipway_oci::Descriptor;
use slipway_stages::StageRecord;

/// A file that is larger is begun anew, in bytes: some 15,000 notes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// A stage, and the layers of its image where they are known.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Note {
    pub(crate) stage: StageRecord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layers: Option<Vec<Descriptor>>,
}

/// One line of the file.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Line {
    Stage(Box<Note>),
    Image { image: Checksum, stages: Vec<StageId> },
}

/// Notes of one repository.
#[derive(Debug)]
pub(crate) struct Notes {
    path: PathBuf,
    known: Mutex<Known>,
    open: Mutex<Option<File>>,
}

#[derive(Debug, Default)]
struct Known {
    stages: HashMap<StageId, Note>,
    images: HashMap<Checksum, Vec<StageId>>,
}

impl Notes {
    /// Reads what was noted. A line that is none is left out.
    pub(crate) fn load(path: PathBuf) -> Self {
        if fs::metadata(&path).is_ok_and(|found| found.len() > LARGEST) {
            // It is noted anew as it is needed.
            let _ = fs::remove_file(&path);
        }
        let text = fs::read(&path).unwrap_or_default();
        let mut known = Known::default();
        let lines = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        lines.for_each(|line| known.take(line));
        Self { path, known: Mutex::new(known), open: Mutex::default() }
    }

    /// What is noted under a tag.
    pub(crate) fn stage(&self, id: StageId) -> Option<Note> {
        self.known().stages.get(&id).cloned()
    }

    /// The stages that an image had.
    pub(crate) fn image(&self, key: &Checksum) -> Option<Vec<StageId>> {
        self.known().images.get(key).cloned()
    }

    /// Notes a stage.
    pub(crate) fn add_stage(&self, note: Note) {
        self.add(Line::Stage(Box::new(note)));
    }

    /// Notes which stages an image has.
    pub(crate) fn add_image(&self, image: Checksum, stages: Vec<StageId>) {
        self.add(Line::Image { image, stages });
    }

    fn add(&self, line: Line) {
        if let Err(error) = self.append(&line) {
            tracing::debug!("note what was found in {}: {error}", self.path.display());
        }
        self.known().take(line);
    }

    fn append(&self, line: &Line) -> io::Result<()> {
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() {
            fs::create_dir_all(self.path.parent().unwrap_or(&self.path))?;
            *open = Some(OpenOptions::new().append(true).create(true).open(&self.path)?);
        }
        // A line end in front, too: the line before may have been cut off by a crash.
        open.as_mut().map_or(Ok(()), |file| file.write_all(&[b"\n", line.as_slice()].concat()))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn take(&mut self, line: Line) {
        match line {
            Line::Stage(note) => drop(self.stages.insert(note.stage.id, *note)),
            Line::Image { image, stages } => drop(self.images.insert(image, stages)),
        }
    }
}
