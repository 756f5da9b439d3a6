//! Mounts that come down from the image below.

use std::collections::HashSet;

use super::Index;
use crate::{Base, ImageKind, Mount, raw::Draft};

/// Gives every image the mounts of the images of this file that it is built on, the nearest first where two have one
/// place. Circles, which are a problem of their own, end the search.
pub(super) fn inherit(drafts: &mut [Draft], index: &Index) {
    if drafts.iter().all(|draft| own(draft).is_empty()) {
        return;
    }
    let mut all: Vec<Option<Vec<Mount>>> = vec![None; drafts.len()];
    for start in 0..drafts.len() {
        let (mut path, mut next) = (Vec::new(), Some(start));
        let mut on_path = HashSet::new();
        while let Some(number) = next.filter(|number| all[*number].is_none() && on_path.insert(*number)) {
            path.push(number);
            next = base(&drafts[number], index);
        }
        for number in path.into_iter().rev() {
            let below = base(&drafts[number], index).and_then(|below| all[below].as_deref()).unwrap_or_default();
            let own = own(&drafts[number]);
            let is_new = |mount: &&Mount| own.iter().all(|own| own.to != mount.to);
            let inherited: Vec<Mount> = below.iter().filter(is_new).cloned().collect();
            all[number] = Some(own.iter().chain(&inherited).cloned().collect());
            if let ImageKind::Stapel(stapel) = &mut drafts[number].image.kind {
                stapel.inherited_mounts = inherited;
            }
        }
    }
}

fn own(draft: &Draft) -> &[Mount] {
    match &draft.image.kind {
        ImageKind::Stapel(stapel) => &stapel.mounts,
        ImageKind::Dockerfile(_) => &[],
    }
}

fn base(draft: &Draft, index: &Index) -> Option<usize> {
    match &draft.image.kind {
        ImageKind::Stapel(stapel) => match &stapel.base {
            Base::Image(name) => index.get(&name.0).copied(),
            Base::Reference(_) => None,
        },
        ImageKind::Dockerfile(_) => None,
    }
}
