//! Rules of the host's packet filter: translation of addresses, and who reaches whom.
//!
//! Sandboxes reach what the host reaches, not each other, and nobody reaches them. Those of strangers reach neither the
//! host itself, but for its name servers, nor link-local addresses, where clouds tell machines their secrets.

use std::{io, io::Write as _, process::Stdio};

use slipway_oci::BlobDigest;
use slipway_process::child::command;

use super::{pool::Pool, standing};

/// Beginning of the names of cables to all sandboxes, and of those to sandboxes of strangers.
pub(crate) const CABLES: &str = "slw";
pub(crate) const STRANGERS: &str = "slws";
/// Addresses of one link.
const LINK_LOCAL: &str = "169.254.0.0/16";
/// Longest complaint of a program that is passed on.
const MAX_COMPLAINT: usize = 400;

/// What sets rules. The first that is installed does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Filter {
    /// `iptables`: a host with Docker has it, and Docker's rules stop what these do not let through.
    Iptables,
    /// `nft`.
    Nft,
}

impl Filter {
    /// The one to use.
    pub(crate) fn find() -> Option<Self> {
        [Self::Iptables, Self::Nft].into_iter().find(|filter| runs(filter.program(), &["--version"]))
    }

    /// By the name that [`Self::program`] gives.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Iptables, Self::Nft].into_iter().find(|filter| filter.program() == name.trim())
    }

    /// Name of the program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Iptables => "iptables",
            Self::Nft => "nft",
        }
    }

    /// Names the rules: others have another name.
    pub(crate) fn edition(self, pool: Pool) -> String {
        BlobDigest::of(self.text(pool).as_bytes()).short().to_owned()
    }

    fn text(self, pool: Pool) -> String {
        match self {
            Self::Iptables => iptables(pool),
            Self::Nft => nft(pool),
        }
    }

    /// Sets the rules, which are not there yet.
    pub(crate) fn put(self, pool: Pool) -> io::Result<()> {
        match self {
            Self::Iptables => feed("iptables-restore", &["-w", "10", "--noflush"], &self.text(pool)),
            Self::Nft => feed("nft", &["-f", "-"], &self.text(pool)),
        }
    }

    /// Whether they are there.
    pub(crate) fn is_there(self) -> bool {
        match self {
            Self::Iptables => {
                let stands = |(table, from, to): &(&str, &str, &str)| standing::leads(table, from, to).unwrap_or(false);
                let called = |(table, from, to): &(&str, &str, &str)| {
                    runs("iptables", &["-w", "10", "-t", table, "-C", from, "-j", to])
                };
                JUMPS.iter().all(stands) || JUMPS.iter().all(called)
            }
            Self::Nft => runs("nft", &["list", "table", "ip", "slipway"]),
        }
    }

    /// Removes them, however many of them are there.
    pub(crate) fn remove(self) -> io::Result<()> {
        if self == Self::Nft {
            return feed("nft", &["-f", "-"], "table ip slipway\ndelete table ip slipway\n");
        }
        for (table, from, to) in JUMPS {
            while runs("iptables", &["-w", "10", "-t", table, "-D", from, "-j", to]) {}
        }
        // Naming a chain makes it or empties it.
        let text = "*nat\n:SLIPWAY-NAT - [0:0]\n-X SLIPWAY-NAT\nCOMMIT\n*filter\n:SLIPWAY-FORWARD - [0:0]\n:SLIPWAY-INPUT - [0:0]\n\
                    -X SLIPWAY-FORWARD\n-X SLIPWAY-INPUT\nCOMMIT\n";
        feed("iptables-restore", &["-w", "10", "--noflush"], text)
    }
}

/// Where the chains are called from: table, chain, chain of ours.
const JUMPS: [(&str, &str, &str); 3] = [
    ("nat", "POSTROUTING", "SLIPWAY-NAT"),
    ("filter", "FORWARD", "SLIPWAY-FORWARD"),
    ("filter", "INPUT", "SLIPWAY-INPUT"),
];

fn iptables(pool: Pool) -> String {
    let pool = pool.cidr();
    format!(
        "*nat\n:SLIPWAY-NAT - [0:0]\n-A SLIPWAY-NAT -s {pool} ! -o {CABLES}+ -j MASQUERADE\n\
         -A POSTROUTING -j SLIPWAY-NAT\nCOMMIT\n\
         *filter\n:SLIPWAY-FORWARD - [0:0]\n:SLIPWAY-INPUT - [0:0]\n\
         -A SLIPWAY-FORWARD -i {CABLES}+ -o {CABLES}+ -j DROP\n\
         -A SLIPWAY-FORWARD -i {CABLES}+ ! -s {pool} -j DROP\n\
         -A SLIPWAY-FORWARD -i {STRANGERS}+ -d {LINK_LOCAL} -j REJECT\n\
         -A SLIPWAY-FORWARD -i {CABLES}+ -j ACCEPT\n\
         -A SLIPWAY-FORWARD -o {CABLES}+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
         -A SLIPWAY-FORWARD -o {CABLES}+ -j DROP\n\
         -A SLIPWAY-INPUT -i {CABLES}+ ! -s {pool} -j DROP\n\
         -A SLIPWAY-INPUT -i {CABLES}+ -d {pool} -p udp --dport 53 -j ACCEPT\n\
         -A SLIPWAY-INPUT -i {CABLES}+ -d {pool} -p tcp --dport 53 -j ACCEPT\n\
         -A SLIPWAY-INPUT -i {STRANGERS}+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
         -A SLIPWAY-INPUT -i {STRANGERS}+ -j REJECT\n\
         -I FORWARD 1 -j SLIPWAY-FORWARD\n-I INPUT 1 -j SLIPWAY-INPUT\nCOMMIT\n"
    )
}

fn nft(pool: Pool) -> String {
    let pool = pool.cidr();
    format!(
        "table ip slipway {{\n\
         chain nat {{ type nat hook postrouting priority 100; ip saddr {pool} oifname != \"{CABLES}*\" masquerade; }}\n\
         chain forward {{ type filter hook forward priority 0;\n\
         iifname \"{CABLES}*\" oifname \"{CABLES}*\" drop;\n\
         iifname \"{CABLES}*\" ip saddr != {pool} drop;\n\
         iifname \"{STRANGERS}*\" ip daddr {LINK_LOCAL} reject;\n\
         iifname \"{CABLES}*\" accept;\n\
         oifname \"{CABLES}*\" ct state related,established accept;\n\
         oifname \"{CABLES}*\" drop; }}\n\
         chain input {{ type filter hook input priority 0;\n\
         iifname \"{CABLES}*\" ip saddr != {pool} drop;\n\
         iifname \"{CABLES}*\" ip daddr {pool} udp dport 53 accept;\n\
         iifname \"{CABLES}*\" ip daddr {pool} tcp dport 53 accept;\n\
         iifname \"{STRANGERS}*\" ct state related,established accept;\n\
         iifname \"{STRANGERS}*\" reject; }}\n}}\n"
    )
}

/// Whether a program is there and is content.
fn runs(program: &str, arguments: &[&str]) -> bool {
    let mut command = command(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a program with a text to read.
fn feed(program: &str, arguments: &[&str], text: &str) -> io::Result<()> {
    let mut command = command(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child =
        command.spawn().map_err(|error| io::Error::new(error.kind(), format!("start {program}: {error}")))?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read says why below.
        let _ = input.write_all(text.as_bytes());
    }
    let ended = child.wait_with_output()?;
    if ended.status.success() {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(&ended.stderr).trim().chars().take(MAX_COMPLAINT).collect();
    Err(io::Error::other(format!("{program} refuses the rules: {}", said.replace('\n', "; "))))
}
