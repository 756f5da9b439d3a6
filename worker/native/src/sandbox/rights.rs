//! Rights that commands of a build keep: those of a container of Docker.

use std::io;

use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs, set_thread_gid, set_thread_groups, set_thread_uid,
};
use slipway_rootfs::accounts::User;

/// What is kept.
const KEPT: CapabilitySet = CapabilitySet::AUDIT_WRITE
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SYS_CHROOT);

/// Names of what is kept, as runtimes know them. Without `raw`, commands cannot make packets of their own.
pub(super) fn names(raw: bool) -> Vec<String> {
    kept(raw).iter_names().map(|(name, _)| format!("CAP_{name}")).collect()
}

fn kept(raw: bool) -> CapabilitySet {
    if raw { KEPT } else { KEPT.difference(CapabilitySet::NET_RAW) }
}

/// Gives everything else up, for good.
pub(super) fn give_up(raw: bool) -> io::Result<()> {
    let kept = kept(raw);
    set_thread_groups(&[])?;
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(one) {
            continue;
        }
        match remove_capability_from_bounding_set(one) {
            // A right that this kernel does not know yet.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // Kernels before 4.3 have no such set.
    let _ = clear_ambient_capability_set();
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets)?;
    Ok(set_no_new_privs(true)?)
}

/// Becomes a user of the image. One other than root has no rights any more then.
pub(super) fn take_on(user: &User) -> io::Result<()> {
    let groups: Vec<Gid> = user.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    set_thread_groups(&groups)?;
    set_thread_gid(Gid::from_raw(user.gid))?;
    Ok(set_thread_uid(Uid::from_raw(user.uid))?)
}
