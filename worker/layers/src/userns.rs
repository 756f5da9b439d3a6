//! Whether this process is in a user namespace: overlay keeps its marks in other attributes there.

use std::{fs, sync::OnceLock};

/// The map of a host's first namespace: all ids are what they are.
const ALL: [&str; 3] = ["0", "0", "4294967295"];

/// Whether ids of this process are others than the host's.
pub fn inside() -> bool {
    static INSIDE: OnceLock<bool> = OnceLock::new();
    *INSIDE.get_or_init(|| fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !is_all(&map)))
}

fn is_all(map: &str) -> bool {
    map.split_whitespace().eq(ALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_namespace_has_all_ids() {
        assert!(is_all("         0          0 4294967295\n"));
        assert!(!is_all("         0       1000          1\n         1     100000      65536\n"));
        assert!(!is_all(""));
    }
}
