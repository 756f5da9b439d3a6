//! Scenarios on a cluster of real processes, a file each, in one program.

mod agreed;
mod apart;
mod basic;
mod beside;
mod coordinators;
mod etcd;
mod example;
mod images;
mod limits;
mod native;
mod once;
mod reporting;
mod secrets;
mod stapel;
mod traces;
mod workers;

use slipway_e2e::{Part, require};

/// What every scenario needs.
fn can_run() -> bool {
    require(&[Part::Docker, Part::Busybox, Part::Registry, Part::Git, Part::Etcd])
}
