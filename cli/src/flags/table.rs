//! The table of all flags.

use super::{
    backend, bridge, building, capacity, cleanup, cluster, coordinator, export,
    flag::{CommandName, Flag},
    host, introspect, later, log, project, report, service, stages, storage, unneeded,
};

/// Groups of flags: the heading in the help, and the flags.
pub(crate) const GROUPS: &[(&str, &[Flag])] = &[
    ("Project", project::FLAGS),
    ("Storage", storage::FLAGS),
    ("Stages that are copied and listed", stages::FLAGS),
    ("Building", building::FLAGS),
    ("Backend", backend::FLAGS),
    ("Looking into a build", introspect::FLAGS),
    ("Export", export::FLAGS),
    ("Report", report::FLAGS),
    ("Built images in other hands", bridge::FLAGS),
    ("Cleaning up", cleanup::FLAGS),
    ("Cluster", cluster::FLAGS),
    ("Jobs in a cluster", capacity::BUILD),
    ("Coordinator", coordinator::FLAGS),
    ("Worker", service::FLAGS),
    ("What a worker has", capacity::WORKER),
    ("Host", host::FLAGS),
    ("Log", log::FLAGS),
    ("Not supported yet", later::FLAGS),
    ("Accepted without effect", unneeded::FLAGS),
];

/// All flags.
pub(crate) fn all() -> impl Iterator<Item = &'static Flag> {
    GROUPS.iter().flat_map(|(_, flags)| flags.iter())
}

/// The flags of one command.
pub(crate) fn of(command: CommandName) -> impl Iterator<Item = &'static Flag> {
    all().filter(move |flag| flag.belongs_to(command))
}
