//! Programs that connect a sandbox without root: they pass on, from the host's network, what the sandbox sends.

use std::{
    fs::File,
    net::Ipv4Addr,
    os::fd::RawFd,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde::{Deserialize, Serialize};
use slipway_process::{Environment, child::command};

use super::INSIDE;

/// What lets a program be a network of others.
const TUN: &str = "/dev/net/tun";
/// The sandbox's own network, as the program sees it: on its standard input, since the way through `/proc` of another
/// process takes rights that such programs give up before they go it.
const NETWORK: &str = "/proc/self/fd/0";
/// An address that never is anybody's: questions for names go there.
const PASTA_NAMES: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
const SLIRP_NAMES: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// The programs that are known, the better one first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// `pasta`, of passt.
    Pasta,
    /// `slirp4netns`.
    Slirp,
}

/// One that is installed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Helper {
    /// Which one.
    pub(crate) kind: Kind,
    program: PathBuf,
}

impl Kind {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Pasta, Self::Slirp];

    /// Name of the program.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pasta => "pasta",
            Self::Slirp => "slirp4netns",
        }
    }
}

impl Helper {
    /// Those that are installed, the better one first.
    ///
    /// # Errors
    /// What is missing, and what to do about it.
    pub(crate) fn installed() -> Result<Vec<Self>, String> {
        let path = Environment::from_process().get("PATH").unwrap_or("/usr/bin:/bin").to_owned();
        let found: Vec<Self> = Kind::ALL.into_iter().filter_map(|kind| Self::look(kind, &path)).collect();
        if found.is_empty() {
            return Err("neither pasta nor slirp4netns is installed; install one: apt-get install passt".to_owned());
        }
        match File::options().read(true).write(true).open(TUN) {
            Ok(_) => Ok(found),
            Err(error) => Err(format!("open {TUN}: {error}; set it up with: modprobe tun && chmod 666 {TUN}")),
        }
    }

    fn look(kind: Kind, path: &str) -> Option<Self> {
        let program =
            path.split(':').map(|directory| Path::new(directory).join(kind.name())).find(|at| at.is_file())?;
        let mut asked = command(&program);
        asked.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success()).then_some(Self { kind, program })
    }

    /// Where commands ask for names that only the host's own server knows.
    pub(crate) fn names(&self) -> Ipv4Addr {
        match self.kind {
            Kind::Pasta => PASTA_NAMES,
            Kind::Slirp => SLIRP_NAMES,
        }
    }

    /// The program with its arguments. It connects the network on its standard input, lets nobody in, and reaches nothing
    /// on the host's loopback. `ready` = where [`Kind::Slirp`] says that it is up; [`Kind::Pasta`] goes into the
    /// background then.
    pub(crate) fn command(&self, only_ipv4: bool, ready: RawFd) -> std::process::Command {
        let mut command = command(&self.program);
        match self.kind {
            Kind::Pasta => {
                let closed = ["-t", "none", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw"];
                command.args(["--config-net", "--quiet", "--no-netns-quit", "--ns-ifname", INSIDE]).args(closed);
                command.args(["--dns-forward", &PASTA_NAMES.to_string(), "--netns", NETWORK]);
                if only_ipv4 {
                    command.arg("-4");
                }
            }
            Kind::Slirp => {
                command.args(["--configure", "--mtu=65520", "--disable-host-loopback", "--enable-sandbox"]);
                command.args([&format!("--ready-fd={ready}"), "--netns-type=path", NETWORK, INSIDE]);
            }
        }
        command
    }
}

/// Addresses of the host itself, but for its loopback, in the kernel's listing of routes (`/proc/net/fib_trie`).
pub(crate) fn own_addresses(listing: &str) -> Vec<Ipv4Addr> {
    let mut last = None;
    let mut found: Vec<Ipv4Addr> = Vec::new();
    for line in listing.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line.ends_with("host LOCAL")
            && let Some(address) = last.filter(|address: &Ipv4Addr| !address.is_loopback())
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_host_are_those_that_end_at_it() {
        let listing = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 172.17.0.0/16 2 0 2\n\
                       Local:\n  |-- 127.0.0.1\n     /32 host LOCAL\n  |-- 172.17.0.1\n     /32 host LOCAL\n\
                       |-- 192.0.2.2\n /32 host LOCAL\n |-- 192.0.2.255\n /32 link BROADCAST\n|-- 192.0.2.2\n /32 host LOCAL\n";
        let found: Vec<String> = own_addresses(listing).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["172.17.0.1", "192.0.2.2"]);
        assert_eq!(own_addresses("broken\n/32 host LOCAL\n"), [] as [Ipv4Addr; 0]);
    }

    #[test]
    fn the_hosts_loopback_is_out_of_reach() {
        let words = |kind| {
            let helper = Helper { kind, program: "helper".into() };
            let command = helper.command(true, 7);
            command.get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        let pasta = words(Kind::Pasta);
        for option in ["--no-map-gw", "-4"] {
            assert!(pasta.iter().any(|word| word == option), "{pasta:?}");
        }
        // Ports of the sandbox are not the host's, nor the other way round.
        assert_eq!(pasta.iter().filter(|word| *word == "none").count(), 4, "{pasta:?}");
        let slirp = words(Kind::Slirp);
        assert!(slirp.iter().any(|word| word == "--disable-host-loopback"), "{slirp:?}");
    }
}
