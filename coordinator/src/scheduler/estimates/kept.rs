//! Estimates between runs: a list of what is known of each class, what was met last at its end. Neither way is there ever
//! a second copy of all of it in memory.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
};

use super::{CLASSES, Estimates, Known, REMEMBERED};

/// What is known of a class.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    #[serde(borrow)]
    class: KeptClass<'a>,
    /// The mean, in seconds.
    mean: f64,
    /// The latest durations in milliseconds, oldest first.
    latest: Cow<'a, [u32]>,
}

#[derive(Serialize, Deserialize)]
struct KeptClass<'a> {
    #[serde(borrow)]
    project: Cow<'a, str>,
    #[serde(borrow)]
    image: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
}

impl<'a> Kept<'a> {
    fn of(([project, image, kind], known): ([&'a str; 3], &'a Known)) -> Self {
        let [project, image, kind] = [project, image, kind].map(Cow::Borrowed);
        let latest = Cow::Borrowed(known.latest.as_slice());
        Self { class: KeptClass { project, image, kind }, mean: known.mean, latest }
    }

    fn is_sane(&self) -> bool {
        self.mean.is_finite() && (0.0..1e7).contains(&self.mean) && !self.latest.is_empty()
    }
}

impl Serialize for Estimates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut known: Vec<([&str; 3], &Known)> = self.all().collect();
        known.sort_unstable_by_key(|(_, known)| known.touched);
        serializer.collect_seq(known.into_iter().map(Kept::of))
    }
}

impl<'de> Deserialize<'de> for Estimates {
    /// Of too much, the last is taken. What makes no sense is left out.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Reading)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Estimates;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of classes with their durations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Estimates, A::Error> {
        let mut estimates = Estimates::default();
        while let Some(kept) = all.next_element::<Kept<'_>>()? {
            if kept.is_sane() {
                estimates.take(kept);
            }
        }
        Ok(estimates)
    }
}

impl Estimates {
    fn take(&mut self, Kept { class, mean, latest }: Kept<'_>) {
        self.counter += 1;
        let latest = latest[latest.len().saturating_sub(REMEMBERED)..].to_vec();
        let touched = self.counter;
        self.place([&class.project, &class.image, &class.kind], || Known { mean, latest, touched });
        if self.count > CLASSES {
            self.forget_oldest();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::estimates::Class;

    fn read(text: &str) -> Estimates {
        serde_json::from_str(text).expect("a list")
    }

    fn one(image: &str, mean: &str, latest: &str) -> String {
        format!(r#"{{"class":{{"project":"p","image":"{image}","kind":"setup"}},"mean":{mean},"latest":{latest}}}"#)
    }

    #[test]
    fn what_is_kept_comes_back_and_nonsense_does_not() {
        let mut estimates = Estimates::default();
        let class = Class { project: "p".to_owned(), image: "a\u{e9}\"".to_owned(), kind: "setup".to_owned() };
        estimates.learn(&class, std::time::Duration::from_secs(10));
        let kept = serde_json::to_string(&estimates).expect("text");
        assert_eq!(serde_json::to_string(&read(&kept)).expect("text"), kept);
        let nonsense = [one("a", "-1.0", "[1]"), one("b", "1e300", "[1]"), one("c", "1.0", "[]")];
        assert!(read(&format!("[{}]", nonsense.join(","))).is_empty());
        assert!(serde_json::from_str::<Estimates>("[{}]").is_err());
    }

    #[test]
    fn of_too_much_the_last_is_taken() {
        let all: Vec<String> = (0..=CLASSES).map(|number| one(&number.to_string(), "1.0", "[1000]")).collect();
        let estimates = read(&format!("[{}]", all.join(",")));
        assert!(estimates.len() <= CLASSES && estimates.len() > CLASSES / 2, "{}", estimates.len());
        let known = |image: usize| estimates.known(["p", &image.to_string(), "setup"]).is_some();
        assert_eq!((known(0), known(CLASSES)), (false, true));
        let long = read(&format!("[{}]", one("a", "1.0", &format!("{:?}", (0..100).collect::<Vec<u32>>()))));
        let latest = &long.known(["p", "a", "setup"]).expect("it was read").latest;
        assert_eq!((latest.len(), latest.last()), (REMEMBERED, Some(&99)));
    }
}
