//! How full volumes are, and how full they may be.

use std::path::Path;

use serde::Serialize;

use crate::flags::host::Limit;

/// What a volume holds, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Volume {
    /// All that can be used.
    pub(crate) total: u64,
    /// What is.
    pub(crate) used: u64,
}

impl Volume {
    /// The volume that a path is on, or will be on; `None` = nobody knows.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let found = path.ancestors().find_map(|path| rustix::fs::statvfs(path).ok())?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        let used = bytes(found.f_blocks.saturating_sub(found.f_bfree));
        // What is kept back for root is nobody's.
        Some(Self { total: used + bytes(found.f_bavail), used })
    }

    /// Its part in use, in percent, rounded up.
    pub(crate) fn percent(self) -> u64 {
        (self.used.saturating_mul(100)).div_ceil(self.total.max(1))
    }
}

/// How full a volume may be, and how far below that a cleanup goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Allowed {
    /// When there is more than this, something goes,
    pub(crate) usage: Limit,
    /// until there is this much less.
    pub(crate) margin: Limit,
}

impl Allowed {
    /// Whether it counts what something takes itself.
    pub(crate) fn is_of_own(self) -> bool {
        matches!(self.usage, Limit::Bytes(1..))
    }

    /// What must go of something of `own` bytes on a volume: a share is one of the volume, whoever fills it; an amount is what
    /// it may take itself. `None` = nobody knows.
    pub(crate) fn excess(self, own: u64, volume: Option<Volume>) -> Option<u64> {
        let (is, total) = match (self.usage, volume) {
            // Nothing may stay, whatever there is.
            (Limit::Share(0) | Limit::Bytes(0), _) => return Some(u64::MAX),
            (Limit::Share(_), Some(volume)) => (volume.used, volume.total),
            (Limit::Share(_), None) => return None,
            (Limit::Bytes(_), volume) => (own, volume.map_or(0, |volume| volume.total)),
        };
        let bytes = |limit: Limit| match limit {
            Limit::Share(percent) => total / 100 * percent,
            Limit::Bytes(bytes) => bytes,
        };
        let most = match self.usage {
            Limit::Share(100) => total,
            other => bytes(other),
        };
        Some(if is > most { is - most.saturating_sub(bytes(self.margin)) } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_goes_down_to_the_margin() {
        let volume = Some(Volume { total: 1000, used: 800 });
        let excess = |usage, margin, own, volume| Allowed { usage, margin }.excess(own, volume);
        let (share, bytes) = (Limit::Share, Limit::Bytes);
        for (usage, margin, own, volume, expected) in [
            (share(70), share(5), 10, volume, Some(150)),
            (share(80), share(5), 10, volume, Some(0)),
            (share(100), share(5), 10, volume, Some(0)),
            (share(3), share(5), 10, volume, Some(800)),
            (share(70), bytes(1), 10, volume, Some(101)),
            (share(70), share(5), 10, None, None),
            (share(0), share(5), 10, None, Some(u64::MAX)),
            (bytes(0), share(5), 0, volume, Some(u64::MAX)),
            (bytes(300), bytes(50), 300, volume, Some(0)),
            (bytes(300), bytes(50), 301, volume, Some(51)),
            (bytes(300), share(5), 400, volume, Some(150)),
            (bytes(300), share(5), 400, None, Some(100)),
        ] {
            assert_eq!(excess(usage, margin, own, volume), expected, "{usage:?} {margin:?} {own} {volume:?}");
        }
    }

    #[test]
    fn volumes_are_measured_where_something_will_be() {
        let home = tempfile::tempdir().expect("a directory");
        let volume = Volume::of(&home.path().join("not/there")).expect("a volume");
        assert!(volume.used <= volume.total && volume.percent() <= 100, "{volume:?}");
        assert_eq!(Volume { total: 1000, used: 701 }.percent(), 71);
    }
}
