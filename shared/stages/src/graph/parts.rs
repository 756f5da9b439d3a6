//! Staged Dockerfiles in a graph: each part that a target reaches is an image for itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use slipway_config::{DockerfileImage, DockerfilePart, Image, ImageKind, ImageName};
use slipway_dockerfile::{Origin, Outline, OutlinedStage};
use slipway_oci::Platform;

use super::{Graph, Target};

/// Before what a dependency hands over is known, this stands for it: it names no stage and no file.
pub const UNKNOWN: &str = "dependency.invalid/of/this/build";

/// The build arguments of a Dockerfile before its dependencies are built: [`UNKNOWN`] stands for what they hand over.
pub fn foreseen_arguments(image: &Image, dockerfile: &DockerfileImage) -> BTreeMap<String, String> {
    let handed = image.dependencies.iter().flat_map(|dependency| &dependency.imports);
    let handed = handed.map(|import| (import.target.clone(), UNKNOWN.to_owned()));
    dockerfile.args.clone().into_iter().chain(handed).collect()
}

/// Why a staged Dockerfile cannot be taken apart.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("image {image}: {why}")]
pub struct PartsError {
    /// Whose Dockerfile it is.
    pub image: ImageName,
    /// Line of `werf.yaml` where the image begins.
    pub line: u32,
    /// What is wrong.
    pub why: String,
}

impl Graph {
    /// The same graph with an image for every part of staged Dockerfiles that some platform needs. `read` gives the path and the
    /// text of an image's Dockerfile; `otherwise` is the platform of targets that name none.
    ///
    /// # Errors
    /// When a Dockerfile cannot be read or is wrong, or a part has the name of another image.
    pub fn with_parts(
        &self,
        otherwise: &Platform,
        mut read: impl FnMut(&Image, &DockerfileImage) -> Result<(String, String), String>,
    ) -> Result<Self, PartsError> {
        let mut images: Vec<Split> = Vec::with_capacity(self.images.len());
        for (number, image) in self.images.iter().enumerate() {
            let fail = |why: String| PartsError { image: image.name().clone(), line: image.position.line, why };
            images.push(match &image.kind {
                ImageKind::Dockerfile(dockerfile) if dockerfile.staged && dockerfile.part.is_none() => {
                    let (path, text) = read(image, dockerfile).map_err(fail)?;
                    let platforms = self.targets.iter().filter(|target| target.image == number);
                    let platforms = platforms.map(|target| &target.platform);
                    Split::of(image, dockerfile, (&path, &text), platforms, otherwise).map_err(fail)?
                }
                ImageKind::Dockerfile(_) | ImageKind::Stapel(_) => Split::whole(image),
            });
        }
        check_names(&images)?;
        Ok(self.assembled(images))
    }

    fn assembled(&self, split: Vec<Split>) -> Self {
        let mut begins = Vec::with_capacity(split.len());
        let mut images = Vec::new();
        for split in &split {
            begins.push(images.len());
            images.extend(split.images.iter().map(|(_, image)| image.clone()));
        }
        // By target of this graph, the new targets of the parts that it needs, by position; the last one is itself.
        let mut targets: Vec<Target> = Vec::new();
        let mut of: Vec<BTreeMap<usize, usize>> = Vec::with_capacity(self.targets.len());
        let mut own: Vec<usize> = Vec::with_capacity(self.targets.len());
        for old in &self.targets {
            let split = &split[old.image];
            let mut positions = BTreeMap::new();
            let wanted = split.reached.get(&old.platform);
            for (place, (position, _)) in split.images.iter().enumerate() {
                if wanted.is_none_or(|needs| needs.contains_key(position)) {
                    positions.insert(*position, targets.len());
                    targets.push(Target { image: begins[old.image] + place, platform: old.platform.clone() });
                }
            }
            own.push(targets.len() - 1);
            of.push(positions);
        }
        let mut needs = vec![Vec::new(); targets.len()];
        for (number, old) in self.targets.iter().enumerate() {
            let outer: Vec<usize> = self.needs[number].iter().map(|need| own[*need]).collect();
            let reached = split[old.image].reached.get(&old.platform);
            for (position, target) in &of[number] {
                let inner = reached.and_then(|reached| reached.get(position)).into_iter().flatten();
                let mut all: Vec<usize> = inner.filter_map(|need| of[number].get(need).copied()).collect();
                all.extend(&outer);
                all.sort_unstable();
                all.dedup();
                needs[*target] = all;
            }
        }
        Self { images: images.into(), targets, needs, many: self.many }
    }
}

/// The parts that each part needs, by position.
type Needs = BTreeMap<usize, BTreeSet<usize>>;

/// What becomes of an image.
struct Split {
    /// Its parts by position, the image itself last.
    images: Vec<(usize, Image)>,
    /// What each platform needs of them; nothing for an image that stays whole.
    reached: BTreeMap<Option<Platform>, Needs>,
}

impl Split {
    fn whole(image: &Image) -> Self {
        Self { images: vec![(0, image.clone())], reached: BTreeMap::new() }
    }

    fn of<'p>(
        image: &Image,
        dockerfile: &DockerfileImage,
        (path, text): (&str, &str),
        platforms: impl Iterator<Item = &'p Option<Platform>>,
        otherwise: &Platform,
    ) -> Result<Self, String> {
        let args = foreseen_arguments(image, dockerfile);
        let (mut reached, mut stages) = (BTreeMap::new(), BTreeMap::new());
        let mut target = None;
        for platform in platforms {
            let named = platform.as_ref().unwrap_or(otherwise).to_string();
            let outline = slipway_dockerfile::outline(path, text, dockerfile.target.as_deref(), &args, &named);
            let outline: Outline = outline.map_err(|error| error.to_string())?;
            target = outline.stages.last().map(|stage| stage.position);
            reached.insert(platform.clone(), needs(&outline));
            for stage in outline.stages {
                let needed: &mut Part = stages.entry(stage.position).or_insert_with(|| Part::of(&stage));
                needed.add(&stage);
            }
        }
        let Some(target) = target else { return Ok(Self::whole(image)) };
        let name = |(position, part): (&usize, &Part)| {
            let own = image.name();
            let name =
                if *position == target { own.clone() } else { ImageName(format!("{}/stage/{}", own.0, part.name)) };
            (*position, name)
        };
        let names: Arc<BTreeMap<usize, ImageName>> = Arc::new(stages.iter().map(name).collect());
        // The target is the last one: a part can only need those before it.
        let images =
            stages.iter().map(|(position, part)| (*position, part.image(image, dockerfile, *position, &names)));
        Ok(Self { images: images.collect(), reached })
    }
}

fn needs(outline: &Outline) -> Needs {
    let of = |stage: &OutlinedStage| (stage.position, named(stage).collect());
    outline.stages.iter().map(of).collect()
}

/// The positions of the parts that a part names, its base among them.
fn named(stage: &OutlinedStage) -> impl Iterator<Item = usize> {
    let lines = stage.from.iter().chain(stage.instructions.iter().map(|instruction| &instruction.text));
    lines.flat_map(|line| &line.origins).filter_map(position)
}

fn position(origin: &Origin) -> Option<usize> {
    match origin {
        Origin::Stage(position) => Some(*position),
        Origin::Scratch | Origin::Image(_) => None,
    }
}

/// What is the same of a part for all platforms, and what any of them needs.
struct Part {
    name: String,
    instructions: Vec<(u16, String)>,
    base: Option<usize>,
    reads: BTreeSet<usize>,
}

impl Part {
    fn of(stage: &OutlinedStage) -> Self {
        let instructions = stage.instructions.iter();
        // There is a limit to them, so the numbers of those that there can be fit.
        let numbered =
            instructions.filter_map(|own| Some((u16::try_from(own.number).ok()?, own.keyword.name().to_owned())));
        Self { name: stage.name.clone(), instructions: numbered.collect(), base: None, reads: BTreeSet::new() }
    }

    fn add(&mut self, stage: &OutlinedStage) {
        self.base = position(&stage.base).or(self.base);
        self.reads.extend(named(stage).filter(|named| Some(*named) != position(&stage.base)));
    }

    fn image(
        &self,
        whole: &Image,
        dockerfile: &DockerfileImage,
        position: usize,
        names: &Arc<BTreeMap<usize, ImageName>>,
    ) -> Image {
        let part = DockerfilePart {
            of: whole.name().clone(),
            position,
            instructions: self.instructions.clone(),
            base: self.base.and_then(|base| names.get(&base).cloned()),
            reads: self.reads.iter().filter_map(|read| names.get(read).cloned()).collect(),
            parts: Arc::clone(names),
        };
        let kind = ImageKind::Dockerfile(DockerfileImage { part: Some(Box::new(part)), ..dockerfile.clone() });
        let own = names.get(&position).filter(|name| *name != whole.name());
        match own {
            None => Image { kind, ..whole.clone() },
            Some(name) => Image { names: vec![name.clone()], is_final: false, spec: None, kind, ..whole.clone() },
        }
    }
}

/// Refuses parts that are called as an image is.
fn check_names(images: &[Split]) -> Result<(), PartsError> {
    let mut known: BTreeSet<&ImageName> = BTreeSet::new();
    let all = || images.iter().flat_map(|split| split.images.iter().map(|(_, image)| image));
    known.extend(all().filter(|image| !image.is_inner()).flat_map(|image| &image.names));
    for image in all().filter(|image| image.is_inner()) {
        if !known.insert(image.name()) {
            let of = image.part().map_or(image.name(), |part| &part.of);
            let why = format!(
                "its Dockerfile has a stage that is called `{}` as another image is: rename one of them",
                image.name()
            );
            return Err(PartsError { image: of.clone(), line: image.position.line, why });
        }
    }
    Ok(())
}
