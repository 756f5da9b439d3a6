//! The images of one build, what each needs, and the sets in which a plan shows them.

use std::{collections::HashMap, sync::Arc};

use slipway_config::{Image, ImageName};

/// Images with their dependencies, in the order of declaration. Every dependency is in the graph; there is no cycle.
#[derive(Clone, Debug)]
pub struct Graph {
    images: Arc<[Image]>,
    needs: Vec<Vec<usize>>,
}

impl Graph {
    /// The graph of `images`, which must hold everything they need (as a validated configuration's closure does).
    pub fn new(images: Vec<Image>) -> Self {
        let index: HashMap<&ImageName, usize> =
            images.iter().enumerate().flat_map(|(i, image)| image.names.iter().map(move |name| (name, i))).collect();
        let needs: Vec<Vec<usize>> = images
            .iter()
            .map(|image| {
                let mut needs: Vec<usize> = image.needs().iter().filter_map(|name| index.get(name).copied()).collect();
                needs.sort_unstable();
                needs.dedup();
                needs
            })
            .collect();
        Self { images: images.into(), needs }
    }

    /// The images, in the order of declaration.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The same, shared.
    pub(crate) fn shared(&self) -> Arc<[Image]> {
        Arc::clone(&self.images)
    }

    /// What image number `image` needs, as numbers.
    pub fn needs(&self, image: usize) -> &[usize] {
        &self.needs[image]
    }

    /// The number of the image with this name.
    pub fn find(&self, name: &ImageName) -> Option<usize> {
        self.images.iter().position(|image| image.names.contains(name))
    }

    /// Sets: each holds the images that depend only on images of earlier sets, in the order of declaration.
    pub fn sets(&self) -> Vec<Vec<&Image>> {
        let levels = self.levels();
        let mut sets = vec![Vec::new(); levels.iter().max().map_or(0, |deepest| deepest + 1)];
        self.images.iter().zip(levels).for_each(|(image, level)| sets[level].push(image));
        sets
    }

    /// The number of each image's set, from 0.
    pub(crate) fn levels(&self) -> Vec<usize> {
        let mut levels = vec![0_usize; self.images.len()];
        for image in self.topological() {
            levels[image] = self.needs[image].iter().map(|need| levels[*need] + 1).max().unwrap_or(0);
        }
        levels
    }

    /// Every image after all that it needs.
    pub(crate) fn topological(&self) -> Vec<usize> {
        topological(&self.needs)
    }
}

/// Every image after all that it needs.
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
