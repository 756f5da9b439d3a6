//! What one build makes: images for platforms, what each needs, and the sets in which a plan shows them.

mod parts;

pub use parts::{PartsError, UNKNOWN, foreseen_arguments};

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use slipway_config::{Image, ImageName};
use slipway_oci::Platform;

/// An image for one platform.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The image, by its place among the images of the build.
    pub image: usize,
    /// The platform; `None` = that of the build's settings.
    pub platform: Option<Platform>,
}

/// Images for platforms, with their dependencies, in the order of declaration. Every dependency is in the graph; there is
/// no cycle. An image needs others for its own platform.
#[derive(Clone, Debug)]
pub struct Graph {
    images: Arc<[Image]>,
    targets: Vec<Target>,
    needs: Vec<Vec<usize>>,
    /// Whether names alone do not tell targets apart.
    many: bool,
}

/// An image is not built for a platform for which another needs it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "image {image} is built for {platform} and needs image {needed} for that, which is built for {built} only: add \
     the platform to `platform` of {needed}"
)]
pub struct PlatformMissing {
    /// The image that needs the other.
    pub image: ImageName,
    /// For which platform.
    pub platform: Platform,
    /// The other.
    pub needed: ImageName,
    /// The platforms that it is built for.
    pub built: String,
}

impl Graph {
    /// The graph of `images`, which must hold everything they need (as a validated configuration's closure does), all for
    /// the platform of the build's settings.
    pub fn new(images: Vec<Image>) -> Self {
        let targets = (0..images.len()).map(|image| Target { image, platform: None }).collect();
        // Of one platform nothing can be missing.
        Self::of_targets(images.into(), targets).0
    }

    /// The same, each image for the platforms that `platforms` says of it.
    ///
    /// # Errors
    /// When an image needs another for a platform that it is not built for.
    pub fn for_platforms(
        images: Vec<Image>,
        platforms: impl Fn(&Image) -> Vec<Platform>,
    ) -> Result<Self, Box<PlatformMissing>> {
        let of = |(number, image): (usize, &Image)| {
            let each = platforms(image).into_iter();
            each.map(move |platform| Target { image: number, platform: Some(platform) }).collect::<Vec<_>>()
        };
        let targets: Vec<Target> = images.iter().enumerate().flat_map(of).collect();
        let (graph, missing) = Self::of_targets(images.into(), targets);
        missing.map_or(Ok(graph), Err)
    }

    /// The graph, and the first need that nothing meets.
    fn of_targets(images: Arc<[Image]>, targets: Vec<Target>) -> (Self, Option<Box<PlatformMissing>>) {
        let by_name: HashMap<&ImageName, usize> =
            images.iter().enumerate().flat_map(|(i, image)| image.names.iter().map(move |name| (name, i))).collect();
        let keyed = targets.iter().enumerate().map(|(number, target)| ((target.image, &target.platform), number));
        let by_target: HashMap<(usize, &Option<Platform>), usize> = keyed.collect();
        let mut missing = None;
        let mut of = |target: &Target| {
            let image = &images[target.image];
            let mut needs = Vec::new();
            for needed in image.needs().into_iter().filter_map(|name| by_name.get(name).copied()) {
                match by_target.get(&(needed, &target.platform)) {
                    Some(number) => needs.push(*number),
                    None if missing.is_none() => missing = lacks((image, target), (&images[needed], needed), &targets),
                    None => {}
                }
            }
            needs.sort_unstable();
            needs.dedup();
            needs
        };
        let needs: Vec<Vec<usize>> = targets.iter().map(&mut of).collect();
        let platforms: BTreeSet<&Option<Platform>> = targets.iter().map(|target| &target.platform).collect();
        let many = platforms.len() > 1;
        (Self { images: Arc::clone(&images), targets, needs, many }, missing)
    }

    /// The images, in the order of declaration.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The same graph of the same images, of which more is known now.
    pub fn renewed(&self, images: Vec<Image>) -> Self {
        Self { images: images.into(), ..self.clone() }
    }

    /// The images for their platforms, in the order of declaration.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The image of target number `target`.
    pub fn image(&self, target: usize) -> &Image {
        &self.images[self.targets[target].image]
    }

    /// What a target is called: its image's name, with the platform behind it when the build has several.
    pub fn shown(&self, target: usize) -> ImageName {
        self.shown_as(target, self.image(target).name())
    }

    /// The same by another name of the image.
    pub fn shown_as(&self, target: usize, name: &ImageName) -> ImageName {
        match &self.targets[target].platform {
            Some(platform) if self.many => ImageName(format!("{name} [{platform}]")),
            Some(_) | None => name.clone(),
        }
    }

    /// The platforms of all targets, each once.
    pub fn platforms(&self) -> Vec<&Platform> {
        let all: BTreeSet<&Platform> = self.targets.iter().filter_map(|target| target.platform.as_ref()).collect();
        all.into_iter().collect()
    }

    /// The images, shared.
    pub(crate) fn shared(&self) -> Arc<[Image]> {
        Arc::clone(&self.images)
    }

    /// What target number `target` needs, as numbers.
    pub fn needs(&self, target: usize) -> &[usize] {
        &self.needs[target]
    }

    /// Sets: each holds the targets that depend only on those of earlier sets, in the order of declaration.
    pub fn sets(&self) -> Vec<Vec<usize>> {
        let levels = self.levels();
        let mut sets = vec![Vec::new(); levels.iter().max().map_or(0, |deepest| deepest + 1)];
        levels.into_iter().enumerate().for_each(|(target, level)| sets[level].push(target));
        sets
    }

    /// The number of each target's set, from 0.
    pub(crate) fn levels(&self) -> Vec<usize> {
        let mut levels = vec![0_usize; self.targets.len()];
        for target in self.topological() {
            levels[target] = self.needs[target].iter().map(|need| levels[*need] + 1).max().unwrap_or(0);
        }
        levels
    }

    /// Every target after all that it needs.
    pub(crate) fn topological(&self) -> Vec<usize> {
        topological(&self.needs)
    }
}

/// What an image lacks; `None` when its platform is not said.
fn lacks(
    (image, target): (&Image, &Target),
    (needed, number): (&Image, usize),
    targets: &[Target],
) -> Option<Box<PlatformMissing>> {
    let built = targets.iter().filter(|target| target.image == number).filter_map(|target| target.platform.as_ref());
    let built: Vec<String> = built.map(ToString::to_string).collect();
    Some(Box::new(PlatformMissing {
        image: image.name().clone(),
        platform: target.platform.clone()?,
        needed: needed.name().clone(),
        built: built.join(", "),
    }))
}

/// Every target after all that it needs.
fn topological(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (image, needed) in needs.iter().enumerate() {
        needed.iter().for_each(|need| users[*need].push(image));
    }
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut ready: Vec<usize> = (0..needs.len()).rev().filter(|image| missing[*image] == 0).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(image) = ready.pop() {
        order.push(image);
        for user in &users[image] {
            missing[*user] -= 1;
            if missing[*user] == 0 {
                ready.push(*user);
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(text: &str) -> Vec<Image> {
        let text = format!("project: p\nconfigVersion: 1\n---\n{text}");
        slipway_config::parse("werf.yaml", &text).unwrap_or_else(|problems| panic!("{problems}")).images
    }

    fn built_for(image: &Image) -> Vec<Platform> {
        let all = if image.platforms.is_empty() { vec!["linux/amd64", "linux/arm64"] } else { vec!["linux/amd64"] };
        all.into_iter().map(|text| text.parse().expect("a platform")).collect()
    }

    #[test]
    fn an_image_needs_others_for_its_own_platform() {
        let text = "image: base\nfrom: a\n---\nimage: app\nfromImage: base\n";
        let graph = Graph::for_platforms(images(text), built_for).expect("all is there");
        let names: Vec<String> = (0..4).map(|target| graph.shown(target).to_string()).collect();
        assert_eq!(names, ["base [linux/amd64]", "base [linux/arm64]", "app [linux/amd64]", "app [linux/arm64]"]);
        assert_eq!((graph.needs(2), graph.needs(3)), (&[0_usize][..], &[1_usize][..]));
        assert_eq!(graph.sets(), [[0, 1], [2, 3]]);
        assert_eq!(graph.platforms().len(), 2);
    }

    #[test]
    fn one_platform_is_not_told_of() {
        let one = |_: &Image| vec!["linux/arm64".parse().expect("a platform")];
        let graph = Graph::for_platforms(images("image: app\nfrom: a\n"), one).expect("all is there");
        assert_eq!(graph.shown(0).to_string(), "app");
        assert_eq!(Graph::new(images("image: app\nfrom: a\n")).shown(0).to_string(), "app");
    }

    #[test]
    fn fixture_51_a_platform_that_an_image_needs_must_be_built() {
        for need in [
            "fromImage: app",
            "from: a\nimport: [{image: app, add: /a, to: /a, before: install}]",
            "from: a\ndependencies: [{image: app, before: install}]",
        ] {
            let text = format!("image: app\nplatform: [linux/amd64]\nfrom: a\n---\nimage: test\n{need}\n");
            let error = Graph::for_platforms(images(&text), built_for).expect_err(need).to_string();
            assert_eq!(
                error,
                "image test is built for linux/arm64 and needs image app for that, which is built for linux/amd64 only: \
                 add the platform to `platform` of app"
            );
        }
        // What comes from outside is not ours to build.
        let text = "image: test\nfrom: a\nimport: [{from: 'other:1', add: /a, to: /a, before: install}]\n";
        Graph::for_platforms(images(text), built_for).expect("nothing is missing");
    }
}
