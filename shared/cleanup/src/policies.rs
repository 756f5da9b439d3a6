//! Which branches and tags count, and how many images of each: `cleanup.keepPolicies`.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use regex::Regex;
use slipway_config::{Cleanup, KeepLimit, KeepPolicy, Operator, ReferenceKind};
use slipway_digest::CommitId;

/// A branch or tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reference {
    /// Which of the two.
    pub kind: ReferenceKind,
    /// Its name: that of a branch of `origin` without `origin/`.
    pub name: String,
    /// The commit that it is at.
    pub head: CommitId,
    /// When that was made, or the tag, in seconds since the Unix epoch.
    pub time: i64,
}

/// How many images of a reference are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImagesLimit {
    /// The newest so many; `None` = all.
    pub last: Option<u64>,
    /// Those whose commits are not older than this.
    pub within: Option<Duration>,
    /// How the two go together.
    pub operator: Operator,
}

/// A reference that counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chosen {
    /// Which.
    pub reference: Reference,
    /// How many of its images.
    pub images: ImagesLimit,
    /// Which policy says so, from 1.
    pub policy: usize,
}

/// Why policies cannot be followed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PolicyError {
    /// An expression is none.
    #[error("`cleanup.keepPolicies`, entry {policy}: `{pattern}` is no regular expression: {why}")]
    Expression {
        /// Which policy, from 1.
        policy: usize,
        /// The expression.
        pattern: String,
        /// What is wrong.
        why: String,
    },
}

/// Policies, ready to be followed.
#[derive(Clone, Debug)]
pub struct Policies {
    policies: Vec<Policy>,
    /// Whether they are the ones that hold when none are given.
    default: bool,
}

#[derive(Clone, Debug)]
struct Policy {
    kind: ReferenceKind,
    pattern: Pattern,
    references: Option<KeepLimit>,
    images: Option<KeepLimit>,
}

#[derive(Clone, Debug)]
enum Pattern {
    Name(String),
    Expression(Regex),
}

/// Images that are kept of a reference unless said otherwise.
const DEFAULT_IMAGES: u64 = 1;
/// How old the branch of an image may be that is kept by default.
const WEEK: Duration = Duration::from_secs(168 * 3600);

impl Policies {
    /// The policies of a configuration; those that hold by default where it has none.
    ///
    /// # Errors
    /// When a pattern cannot be used.
    pub fn new(cleanup: Option<&Cleanup>) -> Result<Self, PolicyError> {
        let given = cleanup.and_then(|cleanup| cleanup.keep_policies.as_deref()).unwrap_or_default();
        if given.is_empty() {
            return Ok(Self { policies: defaults(), default: true });
        }
        let policies = given.iter().enumerate().map(|(at, policy)| Policy::new(at + 1, policy));
        Ok(Self { policies: policies.collect::<Result<_, _>>()?, default: false })
    }

    /// What users should know of them.
    pub fn notes(&self) -> Vec<String> {
        if self.default {
            return vec![
                "No `cleanup.keepPolicies` are given; these hold: the newest image of the last 10 tags; the last 2 images within \
                 168 h of the last 10 branches within 168 h; the last 2 images of main, master, staging and production"
                    .to_owned(),
            ];
        }
        let mut notes = Vec::new();
        for (at, policy) in self.policies.iter().enumerate() {
            let said = policy.images.as_ref().and_then(|images| images.last);
            match (said, policy.kind) {
                (None, ReferenceKind::Branch) => notes.push(format!(
                    "`cleanup.keepPolicies`, entry {}: `imagesPerReference.last` is not given; it is {DEFAULT_IMAGES}",
                    at + 1
                )),
                (Some(last), ReferenceKind::Tag) if last > 1 => notes.push(format!(
                    "`cleanup.keepPolicies`, entry {}: `imagesPerReference.last: {last}` says the same as 1, for a tag is one commit",
                    at + 1
                )),
                (None | Some(_), _) => {}
            }
        }
        notes
    }

    /// The references that count at `now` (seconds since the Unix epoch), the oldest first. One that several policies take
    /// follows the last of them.
    pub fn choose(&self, references: &[Reference], now: i64) -> Vec<Chosen> {
        let mut chosen: BTreeMap<usize, Chosen> = BTreeMap::new();
        for (at, policy) in self.policies.iter().enumerate() {
            for index in policy.select(references, now) {
                let reference = references[index].clone();
                chosen.insert(index, Chosen { reference, images: policy.images(), policy: at + 1 });
            }
        }
        let mut chosen: Vec<Chosen> = chosen.into_values().collect();
        chosen.sort_by(|one, other| {
            let key = |it: &Chosen| (it.reference.time, it.reference.name.clone());
            key(one).cmp(&key(other))
        });
        chosen
    }
}

impl Policy {
    fn new(number: usize, given: &KeepPolicy) -> Result<Self, PolicyError> {
        let text = given.references.pattern.as_str();
        let pattern = match text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            Some(expression) => Pattern::Expression(compile(number, text, expression)?),
            None => Pattern::Name(text.to_owned()),
        };
        let (kind, references) = (given.references.kind, given.references.limit);
        Ok(Self { kind, pattern, references, images: given.images })
    }

    /// The places of the references that it takes.
    fn select(&self, references: &[Reference], now: i64) -> Vec<usize> {
        let is_ours = |reference: &Reference| reference.kind == self.kind && self.pattern.takes(&reference.name);
        let mut taken: Vec<usize> = (0..references.len()).filter(|at| is_ours(&references[*at])).collect();
        taken.sort_by_key(|at| (Reverse(references[*at].time), references[*at].name.clone()));
        let Some(limit) = self.references else { return taken };
        let newest = |place: usize| limit.last.map(|last| is_among(place, last));
        let young = |at: usize| limit.within.map(|within| is_young(references[at].time, within, now));
        let both = |(place, at): &(usize, usize)| together(limit.operator, newest(*place), young(*at));
        taken.into_iter().enumerate().filter(both).map(|(_, at)| at).collect()
    }

    fn images(&self) -> ImagesLimit {
        let given = self.images;
        let last = given.and_then(|given| given.last).unwrap_or(DEFAULT_IMAGES.cast_signed());
        ImagesLimit {
            last: u64::try_from(last).ok(),
            within: given.and_then(|given| given.within),
            operator: given.map(|given| given.operator).unwrap_or_default(),
        }
    }
}

impl Pattern {
    fn takes(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Expression(expression) => expression.is_match(name),
        }
    }
}

/// An expression that must match a whole name.
fn compile(policy: usize, pattern: &str, expression: &str) -> Result<Regex, PolicyError> {
    Regex::new(&format!("^(?:{expression})$")).map_err(|error| {
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        PolicyError::Expression { policy, pattern: pattern.to_owned(), why }
    })
}

/// Whether the thing at `place`, from 0, is among the newest `last`; -1 = all.
fn is_among(place: usize, last: i64) -> bool {
    u64::try_from(last).is_ok_and(|last| (place as u64) < last) || last < 0
}

/// Whether a time is not longer ago than `within`.
pub(crate) fn is_young(time: i64, within: Duration, now: i64) -> bool {
    let longest = i64::try_from(within.as_secs()).unwrap_or(i64::MAX);
    now.saturating_sub(time) <= longest
}

/// What limits say of something; those that are not given say nothing.
pub(crate) fn together(operator: Operator, newest: Option<bool>, young: Option<bool>) -> bool {
    match (operator, newest, young) {
        (_, None, None) => true,
        (Operator::And, newest, young) => newest.unwrap_or(true) && young.unwrap_or(true),
        (Operator::Or, newest, young) => newest.unwrap_or(false) || young.unwrap_or(false),
    }
}

/// What holds when nothing is said.
fn defaults() -> Vec<Policy> {
    let limit = |last, within| Some(KeepLimit { last: Some(last), within, operator: Operator::And });
    let expression = |text: &str| Pattern::Expression(Regex::new(text).expect("a constant expression"));
    vec![
        Policy { kind: ReferenceKind::Tag, pattern: expression(".*"), references: limit(10, None), images: None },
        Policy {
            kind: ReferenceKind::Branch,
            pattern: expression(".*"),
            references: limit(10, Some(WEEK)),
            images: limit(2, Some(WEEK)),
        },
        Policy {
            kind: ReferenceKind::Branch,
            pattern: expression("^(main|master|staging|production)$"),
            references: None,
            images: limit(2, None),
        },
    ]
}

#[cfg(test)]
mod tests {
    use slipway_config::KeepReferences;

    use super::*;

    const NOW: i64 = 1_700_000_000;
    const HOUR: i64 = 3600;

    fn reference(kind: ReferenceKind, name: &str, hours: i64) -> Reference {
        Reference { kind, name: name.to_owned(), head: CommitId([1; 20]), time: NOW - hours * HOUR }
    }

    fn branch(name: &str, hours: i64) -> Reference {
        reference(ReferenceKind::Branch, name, hours)
    }

    fn limit(last: Option<i64>, hours: Option<u64>, operator: Operator) -> Option<KeepLimit> {
        Some(KeepLimit { last, within: hours.map(|hours| Duration::from_secs(hours * 3600)), operator })
    }

    fn policies(given: &[(&str, Option<KeepLimit>, Option<KeepLimit>)]) -> Policies {
        let policy = |(pattern, limit, images): &(&str, Option<KeepLimit>, Option<KeepLimit>)| KeepPolicy {
            references: KeepReferences { kind: ReferenceKind::Branch, pattern: (*pattern).to_owned(), limit: *limit },
            images: *images,
        };
        let cleanup = Cleanup {
            disable: false,
            disable_kubernetes_policy: false,
            disable_git_history_policy: false,
            disable_built_within_policy: false,
            keep_built_within_hours: 2,
            keep_policies: Some(given.iter().map(policy).collect()),
        };
        Policies::new(Some(&cleanup)).unwrap()
    }

    fn names(chosen: &[Chosen]) -> Vec<&str> {
        chosen.iter().map(|chosen| chosen.reference.name.as_str()).collect()
    }

    #[test]
    fn names_are_exact_and_expressions_match_whole_names() {
        let all = [branch("main", 1), branch("main2", 2), branch("feature/main", 3)];
        let chosen = |pattern: &str| {
            let chosen = policies(&[(pattern, None, None)]).choose(&all, NOW);
            chosen.iter().map(|chosen| chosen.reference.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(chosen("main"), ["main"]);
        assert_eq!(chosen("/main/"), ["main"]);
        assert_eq!(chosen("/main.*/"), ["main2", "main"]);
        assert_eq!(chosen("/main|feature/"), ["main"], "the whole of each alternative");
        assert_eq!(chosen("/.*/"), ["feature/main", "main2", "main"]);
        assert_eq!(chosen("main."), [""; 0]);
        assert_eq!(chosen("/"), [""; 0]);
    }

    #[test]
    fn limits_go_together_as_the_operator_says() {
        let all: Vec<Reference> = (0..5).map(|age| branch(&format!("b{age}"), age * 10)).collect();
        let chosen = |last, hours, operator| {
            let chosen = policies(&[("/.*/", limit(last, hours, operator), None)]).choose(&all, NOW);
            chosen.iter().map(|chosen| chosen.reference.name.clone()).collect::<Vec<_>>().concat()
        };
        assert_eq!(chosen(Some(2), None, Operator::And), "b1b0");
        assert_eq!(chosen(Some(-1), None, Operator::And), "b4b3b2b1b0");
        assert_eq!(chosen(Some(0), None, Operator::And), "");
        assert_eq!(chosen(None, Some(10), Operator::And), "b1b0");
        assert_eq!(chosen(Some(1), Some(10), Operator::And), "b0");
        assert_eq!(chosen(Some(1), Some(10), Operator::Or), "b1b0");
        assert_eq!(chosen(Some(4), Some(10), Operator::Or), "b3b2b1b0");
        assert_eq!(chosen(None, Some(10), Operator::Or), "b1b0", "what is not given says nothing");
        assert_eq!(chosen(None, None, Operator::Or), "b4b3b2b1b0");
    }

    #[test]
    fn the_last_policy_of_a_reference_counts() {
        let both = policies(&[
            ("/.*/", None, limit(Some(5), None, Operator::And)),
            ("main", None, limit(Some(7), Some(1), Operator::Or)),
        ]);
        let all = [branch("main", 1), branch("x", 2)];
        let chosen = both.choose(&all, NOW);
        assert_eq!(names(&chosen), ["x", "main"]);
        assert_eq!((chosen[0].policy, chosen[0].images.last), (1, Some(5)));
        assert_eq!((chosen[1].policy, chosen[1].images.last), (2, Some(7)));
    }

    #[test]
    fn defaults_are_werfs() {
        let policies = Policies::new(None).unwrap();
        let mut all: Vec<Reference> = (0..12).map(|age| branch(&format!("b{age:02}"), age)).collect();
        all.extend((0..12).map(|age| reference(ReferenceKind::Tag, &format!("v{age:02}"), age * 1000)));
        all.extend([branch("main", 9000), branch("old", 200)]);
        let chosen = policies.choose(&all, NOW);
        let branches = chosen.iter().filter(|it| it.policy == 2).count();
        let tags = chosen.iter().filter(|it| it.policy == 1).count();
        assert_eq!((branches, tags), (10, 10));
        assert!(!names(&chosen).contains(&"old") && !names(&chosen).contains(&"v11"));
        let main = chosen.iter().find(|it| it.reference.name == "main").unwrap();
        assert_eq!((main.policy, main.images.last, main.images.within), (3, Some(2), None));
        let tag = chosen.iter().find(|it| it.policy == 1).unwrap();
        assert_eq!(tag.images, ImagesLimit { last: Some(1), within: None, operator: Operator::And });
        assert!(policies.notes()[0].contains("these hold"));
    }

    #[test]
    fn what_is_not_said_is_told() {
        let notes = policies(&[("main", None, None), ("x", None, limit(Some(3), None, Operator::And))]).notes();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains("entry 1") && notes[0].contains("it is 1"), "{notes:?}");
    }

    #[test]
    fn an_expression_that_is_none_is_named() {
        let policy = KeepPolicy {
            references: KeepReferences { kind: ReferenceKind::Tag, pattern: "/a(?=b)/".to_owned(), limit: None },
            images: None,
        };
        let error = Policy::new(3, &policy).unwrap_err().to_string();
        assert!(error.contains("entry 3") && error.contains("`/a(?=b)/`") && error.contains("look-around"), "{error}");
    }
}
