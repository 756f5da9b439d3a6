//! Flags of werf that steer what does not happen in a build: accepted, listed with `--log-verbose`.

use super::flag::{Flag, Support};

const fn unneeded(flag: Flag) -> Flag {
    flag.support(Support::Unneeded)
}

const VENDOR: &str = "Kind of registry; only commands that delete from registries ask for it";
const TOKEN: &str = "Credentials for the interface of a registry's vendor; only commands that delete ask for them";

pub(super) const FLAGS: &[Flag] = &[
    unneeded(Flag::text("repo-container-registry", "VENDOR", VENDOR)),
    unneeded(Flag::text("repo-docker-hub-username", "NAME", TOKEN)),
    unneeded(Flag::text("repo-docker-hub-password", "SECRET", TOKEN).secret()),
    unneeded(Flag::text("repo-docker-hub-token", "SECRET", TOKEN).secret()),
    unneeded(Flag::text("repo-github-token", "SECRET", TOKEN).secret()),
    unneeded(Flag::text("repo-harbor-username", "NAME", TOKEN)),
    unneeded(Flag::text("repo-harbor-password", "SECRET", TOKEN).secret()),
    unneeded(Flag::text("repo-quay-token", "SECRET", TOKEN).secret()),
    unneeded(Flag::text("repo-selectel-username", "NAME", TOKEN)),
    unneeded(Flag::text("repo-selectel-password", "SECRET", TOKEN).secret()),
    unneeded(Flag::text("repo-selectel-account", "NAME", TOKEN)),
    unneeded(Flag::text("repo-selectel-vpc", "NAME", TOKEN)),
    unneeded(Flag::text("repo-selectel-vpc-id", "ID", TOKEN)),
];
