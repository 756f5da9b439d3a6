//! Tags as one text of sorted lines: what is kept on the disk, and searched as it is.

/// Tags, sorted, each once. A look-up costs the logarithm of their number, and reading them in costs next to nothing.
#[derive(Debug, Default)]
pub(crate) struct SortedTags {
    /// Each line ends.
    text: String,
}

impl SortedTags {
    /// These tags in any order. One with a line end in it is none.
    pub(crate) fn new(mut tags: Vec<String>) -> Self {
        tags.retain(|tag| !tag.is_empty() && !tag.contains('\n'));
        tags.sort_unstable();
        tags.dedup();
        let mut text = String::with_capacity(tags.iter().map(|tag| tag.len() + 1).sum());
        for tag in tags {
            text.push_str(&tag);
            text.push('\n');
        }
        Self { text }
    }

    /// What [`text`](Self::text) gave.
    pub(crate) fn from_text(text: String) -> Self {
        Self { text }
    }

    /// All of it, to be kept.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether a tag is among them.
    pub(crate) fn contains(&self, tag: &str) -> bool {
        self.with_prefix(tag).next() == Some(tag)
    }

    /// The tags that begin with `prefix`, in order.
    pub(crate) fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let rest = self.text.get(self.lower_bound(prefix)..).unwrap_or_default();
        rest.lines().take_while(move |tag| tag.starts_with(prefix))
    }

    /// Where the first line begins that is not less than `key`.
    fn lower_bound(&self, key: &str) -> usize {
        let bytes = self.text.as_bytes();
        let (mut low, mut high) = (0, bytes.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let start = bytes[low..middle].iter().rposition(|byte| *byte == b'\n').map_or(low, |at| low + at + 1);
            let end = bytes[start..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| start + at);
            if &bytes[start..end] < key.as_bytes() {
                low = (end + 1).min(bytes.len());
            } else {
                high = start;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_as_in_a_list() {
        let words = ["b", "a-1", "a-2", "a", "a-10", "", "c\nd", "a-1", "zz", "B"];
        for count in 0..=words.len() {
            let given: Vec<String> = words[..count].iter().map(|word| (*word).to_owned()).collect();
            let tags = SortedTags::new(given.clone());
            let mut plain: Vec<&str> = given.iter().map(String::as_str).collect();
            plain.retain(|tag| !tag.is_empty() && !tag.contains('\n'));
            plain.sort_unstable();
            plain.dedup();
            assert_eq!(tags.text().lines().collect::<Vec<_>>(), plain);
            for key in ["", "a", "a-", "a-1", "a-3", "b", "z", "zzz", "A", "B"] {
                let expected: Vec<&str> = plain.iter().copied().filter(|tag| tag.starts_with(key)).collect();
                assert_eq!(tags.with_prefix(key).collect::<Vec<_>>(), expected, "{key} of {plain:?}");
                assert_eq!(tags.contains(key), plain.contains(&key), "{key} of {plain:?}");
            }
        }
    }
}
