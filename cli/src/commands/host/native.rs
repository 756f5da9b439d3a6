//! The store of the native backend: what dead builds left, and the layers and shared directories that were not used for
//! longest.

use std::path::Path;

use slipway_layers::{Store, store::Options};

use super::{
    usage::Cleaned,
    volume::{Allowed, Volume},
};
use crate::{engine, failure::Failure};

/// Cleans it. Blocks.
pub(super) fn clean(home: &Path, allowed: Allowed, dry_run: bool) -> Result<Cleaned, Failure> {
    let store = engine::store(home);
    if !dry_run {
        use anyhow::Context as _;
        slipway_native::network::clear().context("remove the rules of the sandboxes' network")?;
        slipway_native::sweep_groups();
    }
    if !store.exists() {
        return Ok(Cleaned::new(&store, Default::default(), dry_run));
    }
    let limit = allowed.usage.bytes(home);
    let opened = Store::open(&store, &Options { limit: Some(limit) })?;
    let usage = opened.usage()?;
    let taken = usage.bytes + usage.shared;
    // It may take no more than its limit either, of a volume that has room.
    let own = if taken > limit { taken - limit.saturating_sub(allowed.margin.bytes(home)) } else { 0 };
    let excess = allowed.excess(taken, Volume::of(&store)).unwrap_or(0).max(own);
    let reclaimed = opened.reclaim(taken.saturating_sub(excess), dry_run)?;
    let used = opened.inventory()?.used;
    Ok(Cleaned::new(&store, reclaimed, dry_run).with_use(used))
}
