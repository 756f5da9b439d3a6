//! The images of one build, what each needs, and the sets in which a plan shows them.

use std::collections::HashMap;

use slipway_config::{Image, ImageName};

/// Images with their dependencies, in the order of declaration. Every dependency is in the graph; there is no cycle.
#[derive(Clone, Debug)]
pub struct Graph {
    images: Vec<Image>,
    needs: Vec<Vec<usize>>,
    ranks: Vec<usize>,
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
        let ranks = ranks(&needs);
        Self { images, needs, ranks }
    }

    /// The images, in the order of declaration.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// What image number `image` needs, as numbers.
    pub fn needs(&self, image: usize) -> &[usize] {
        &self.needs[image]
    }

    /// The length of the longest chain of images that wait for this one, itself included: the more, the sooner.
    pub fn rank(&self, image: usize) -> usize {
        self.ranks[image]
    }

    /// The number of the image with this name.
    pub fn find(&self, name: &ImageName) -> Option<usize> {
        self.images.iter().position(|image| image.names.contains(name))
    }

    /// Sets: each holds the images that depend only on images of earlier sets, in the order of declaration.
    pub fn sets(&self) -> Vec<Vec<&Image>> {
        let mut level = vec![0_usize; self.images.len()];
        for image in self.topological() {
            level[image] = self.needs[image].iter().map(|need| level[*need] + 1).max().unwrap_or(0);
        }
        let depth = level.iter().max().map_or(0, |deepest| deepest + 1);
        let at =
            |wanted: usize| self.images.iter().zip(&level).filter(move |(_, l)| **l == wanted).map(|(image, _)| image);
        (0..depth).map(|wanted| at(wanted).collect()).collect()
    }

    fn topological(&self) -> Vec<usize> {
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

fn ranks(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut ranks = vec![1; needs.len()];
    for image in topological(needs).into_iter().rev() {
        for need in &needs[image] {
            ranks[*need] = ranks[*need].max(ranks[image] + 1);
        }
    }
    ranks
}
