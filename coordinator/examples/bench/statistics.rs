//! Numbers about numbers.

/// The value that `of_hundred` per cent do not exceed.
pub(crate) fn quantile(values: &[f64], of_hundred: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * of_hundred).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// The mean.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// What the process has in memory now, in MiB; 0 where the system does not say.
pub(crate) fn resident_mib() -> f64 {
    status("VmRSS:")
}

/// The most that the process has ever had in memory, in MiB.
pub(crate) fn most_resident_mib() -> f64 {
    status("VmHWM:")
}

/// Lets [`most_resident_mib`] begin anew.
pub(crate) fn forget_most_resident() {
    // Where the system does not offer it, what was before counts as well.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn status(name: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}
