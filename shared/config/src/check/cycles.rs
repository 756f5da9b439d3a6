//! Images that need each other in a circle.

use super::references::Target;
use crate::{
    Position,
    raw::{Draft, Reader},
    yaml::shorten,
};

/// Names shown of a circle; the middle of a longer one is left out.
const SHOWN: usize = 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    /// On the way that is being walked.
    Open,
    Done,
}

/// Adds a problem for every mention that closes a circle. Walks without recursion: chains may be long.
pub(super) fn check(reader: &mut Reader<'_>, drafts: &[Draft], targets: &[Vec<Target>]) {
    let mut marks = vec![Mark::New; drafts.len()];
    for start in 0..drafts.len() {
        if marks[start] != Mark::New {
            continue;
        }
        marks[start] = Mark::Open;
        // The way from `start`: a draft, and the link of it that is looked at next.
        let mut way = vec![(start, 0_usize)];
        while let Some((draft, next)) = way.last_mut() {
            let (draft, link) = (*draft, *next);
            *next += 1;
            match targets[draft].get(link) {
                None => {
                    marks[draft] = Mark::Done;
                    way.pop();
                }
                Some(Target::Draft(target)) => match marks[*target] {
                    Mark::New => {
                        marks[*target] = Mark::Open;
                        way.push((*target, 0));
                    }
                    Mark::Open => {
                        let position = drafts[draft].links[link].name.position;
                        refuse(reader, drafts, (&way, *target), position);
                    }
                    Mark::Done => {}
                },
                Some(Target::External | Target::Unknown) => {}
            }
        }
    }
}

/// A circle: the part of `way` from `first` on, back to `first`.
fn refuse(reader: &mut Reader<'_>, drafts: &[Draft], (way, first): (&[(usize, usize)], usize), position: Position) {
    let start = way.iter().position(|(draft, _)| *draft == first).unwrap_or(0);
    let circle: Vec<usize> = way[start..].iter().map(|(draft, _)| *draft).chain([first]).collect();
    let name = |number: &usize| shorten(&drafts[*number].image.name().to_string());
    let chain = if circle.len() <= SHOWN {
        circle.iter().map(name).collect::<Vec<_>>().join(" -> ")
    } else {
        let (head, tail) = (&circle[..SHOWN / 2], &circle[circle.len() - SHOWN / 2..]);
        let join = |part: &[usize]| part.iter().map(name).collect::<Vec<_>>().join(" -> ");
        format!("{} -> … -> {}", join(head), join(tail))
    };
    reader.refuse(position, format!("images need each other in a circle: {chain}"), "remove one of these references");
}
