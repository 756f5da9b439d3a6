//! The network that commands see unless they ask for another: one of their own, behind the host's address.
//!
//! A cable (a veth pair) leads from the host into each such network, which has four addresses. A network is made when
//! there is none at hand; when a sandbox has ended and left no socket in it, the next one of this process takes it over.
//! The rules that let it out are the same for all sandboxes of a host: the first user sets them, and they stay, for the
//! builds to come, until [`clear`] removes them.
//!
//! What is in use is told by locks in `/run/slipway/net-N`, where N is the number of the host's network: `users` is
//! shared by the processes that need the rules, `cable-M` is held by whoever has the cable M. They end with their
//! processes, however those end, and so do networks and cables: what nobody holds is garbage.

mod forward;
mod helped;
mod helper;
mod netlink;
mod pool;
mod resolve;
mod rules;
pub(crate) mod space;
mod standing;

use std::{
    fs::{self, File, OpenOptions},
    io,
    net::{Ipv4Addr, SocketAddr},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
};

use slipway_process::Tasks;

pub(crate) use self::{
    forward::Forward,
    helped::{Helped, HelperFor, close},
    helper::{Helper, Kind as HelperKind},
    netlink::Netlink,
};
use self::{
    pool::{BITS, Pool, ROOM},
    rules::{CABLES, Filter, STRANGERS},
};

/// Where the locks are.
const STATE: &str = "/run/slipway";
/// The interfaces of the host.
const INTERFACES: &str = "/sys/class/net";
/// The thread's own network, by number.
const OWN_NETWORK: &str = "/proc/thread-self/ns/net";
/// Cables that are tried before a host is said to be full.
const TRIES: u16 = ROOM;
/// Where a new cable is looked for: a few numbers by turns, so that few lock files are made.
const TURNS: u16 = 64;
/// The interface in a sandbox.
const INSIDE: &str = "eth0";
/// Bytes in a packet when the host does not say.
const USUAL_MTU: u32 = 1500;
/// Port of name servers.
const NAMES: u16 = 53;
/// Cables that a process keeps for later.
const MAX_IDLE: usize = 16;

/// What tells how many sockets this process's network has.
const SOCKETS: [&str; 2] = ["/proc/self/net/sockstat", "/proc/self/net/sockstat6"];

/// Whose commands run here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Commands {
    /// The user's, who runs the build: where no own network can be made, they see the host's.
    Own,
    /// Those of whoever sends jobs: where no own network can be made, none run; they never reach the host's services.
    Strangers,
}

/// Whether sandboxes on this host can have a network of their own; why not, otherwise. Blocks for some milliseconds.
/// `program` is the one that is started as a sandbox.
///
/// # Errors
/// What is missing, and what to do about it.
pub fn probe(program: &Path) -> Result<(), String> {
    if slipway_layers::userns::inside() {
        return HelperFor::find(program).map(drop);
    }
    as_root()?;
    find_filter()?;
    passes_on()?;
    let state = State::open().map_err(|error| format!("use {STATE}: {error}"))?;
    let tried = || -> io::Result<()> {
        let (number, _lock) = state.free()?;
        let (host, peer) = (format!("{CABLES}o{number}"), peer(number));
        let netlink = Netlink::open()?;
        netlink.make_pair(&host, &peer, USUAL_MTU)?;
        netlink.remove(&host)
    };
    tried().map_err(|error| {
        format!("make a veth pair: {error}; it needs the right to administer networks and the kernel's veth")
    })
}

/// Whether packets that come by one interface may leave by another: for the whole host, so that it is the user's to say.
fn passes_on() -> Result<(), String> {
    match read("/proc/sys/net/ipv4/ip_forward").trim() {
        "1" => Ok(()),
        _ => Err("this host passes no packets on; set it up with: sysctl -w net.ipv4.ip_forward=1".to_owned()),
    }
}

/// Only the host's root may change its network.
fn as_root() -> Result<(), String> {
    match slipway_layers::userns::inside() || !rustix::process::geteuid().is_root() {
        true => Err("only the host's root may lay cables".to_owned()),
        false => Ok(()),
    }
}

fn find_filter() -> Result<Filter, String> {
    Filter::find().ok_or_else(|| "neither iptables nor nft is installed; install iptables".to_owned())
}

/// The networks of a process.
#[derive(Debug)]
pub(crate) struct Networks {
    commands: Commands,
    /// This program, or one like it.
    program: PathBuf,
    used: Mutex<Option<Used>>,
    turn: AtomicU16,
    idle: Mutex<Idle>,
    /// Held by whoever makes a cable: the kernel makes one at a time anyway.
    making: Mutex<()>,
}

/// Cables that nobody uses now.
#[derive(Debug, Default)]
struct Idle {
    cables: Vec<Cable>,
    /// None are kept any more.
    closed: bool,
}

/// What a process that needs the rules holds.
#[derive(Debug)]
struct Used {
    pool: Pool,
    mtu: u32,
    _users: File,
}

/// A network for a sandbox, with the cable to it. When it is dropped, both go, at the kernel's leisure.
#[derive(Debug)]
pub(crate) struct Cable {
    /// The network.
    space: OwnedFd,
    /// The host's address on it.
    gateway: Ipv4Addr,
    /// Passes questions for names on, to this server.
    forward: Option<(SocketAddr, Forward)>,
    _lock: File,
}

impl Networks {
    pub(crate) fn new(commands: Commands, program: &Path) -> Self {
        // Two processes begin at different places: fewer locks are tried.
        let turn = AtomicU16::new(u16::try_from(std::process::id() % u32::from(TURNS)).unwrap_or(0));
        let (used, idle, making) = (Mutex::new(None), Mutex::default(), Mutex::new(()));
        Self { commands, program: program.to_owned(), used, turn, idle, making }
    }

    /// Whose commands run.
    pub(crate) fn commands(&self) -> Commands {
        self.commands
    }

    /// A cable of one's own, up. Sets the rules when they are not there. Blocks.
    pub(crate) fn cable(&self) -> io::Result<Cable> {
        as_root().map_err(io::Error::other)?;
        if let Some(cable) = self.idle().cables.pop() {
            return Ok(cable);
        }
        let _one_at_a_time = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        // One may have been made ready, or given back, meanwhile.
        let ready = self.idle().cables.pop();
        ready.map_or_else(|| self.make(), Ok)
    }

    /// Makes a cable for whoever asks next, unless there is one. Blocks.
    pub(crate) fn prepare(&self) {
        let _one_at_a_time = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if self.idle().closed || !self.idle().cables.is_empty() || as_root().is_err() {
            return;
        }
        match self.make() {
            Ok(cable) => self.keep(cable),
            // Whoever needs one is told.
            Err(error) => tracing::debug!("make a network ready: {error}"),
        }
    }

    /// Takes a cable back after its sandbox has ended and left nothing in it. Those of strangers' commands are not used
    /// again.
    pub(crate) fn give_back(&self, cable: Cable) {
        if self.commands == Commands::Own {
            self.keep(cable);
        }
    }

    fn keep(&self, cable: Cable) {
        let mut idle = self.idle();
        if !idle.closed && idle.cables.len() < MAX_IDLE {
            idle.cables.push(cable);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self) -> io::Result<Cable> {
        let state = State::open()?;
        let (pool, mtu) = self.rules(&state)?;
        let (number, lock) = state.free_from(self.turn.fetch_add(1, Ordering::Relaxed) % TURNS)?;
        let kind = if self.commands == Commands::Strangers { "s" } else { "o" };
        let name = format!("{CABLES}{kind}{number}");
        let gateway = pool.host(number);
        let wanted = space::Wanted { name: name.clone(), mtu, address: pool.sandbox(number), gateway };
        let cable = Cable { space: space::make(&self.program, &wanted)?, gateway, forward: None, _lock: lock };
        // Only the fourth version is translated: nothing else goes through.
        set(&format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1")?;
        // What pretends to be from elsewhere is not taken.
        set(&format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "1")?;
        let netlink = Netlink::open()?;
        netlink.address(&name, gateway, BITS)?;
        netlink.up(&name)?;
        Ok(cable)
    }

    fn rules(&self, state: &State) -> io::Result<(Pool, u32)> {
        let mut used = self.used.lock().map_err(|_| io::Error::other("a thread died while it set rules"))?;
        if let Some(used) = &*used {
            return Ok((used.pool, used.mtu));
        }
        let (pool, users) = state.begin()?;
        let table = read("/proc/net/route");
        let device = pool::way_out(&pool::routes(&table));
        let mtu = device.and_then(|device| read(&format!("/sys/class/net/{device}/mtu")).trim().parse().ok());
        let mtu = mtu.unwrap_or(USUAL_MTU);
        *used = Some(Used { pool, mtu, _users: users });
        Ok((pool, mtu))
    }

    /// Gives up what is not in use; nothing is kept from now on.
    pub(crate) fn release(&self) {
        let cables = {
            let mut idle = self.idle();
            idle.closed = true;
            std::mem::take(&mut idle.cables)
        };
        drop(cables);
    }

    /// Removes cables that nobody uses; answers how many there were. Blocks.
    pub(crate) fn sweep() -> io::Result<u32> {
        if as_root().is_err() || !Path::new(STATE).exists() {
            return Ok(0);
        }
        State::open()?.sweep_cables()
    }
}

/// Removes the rules, unless a build uses them; whether there were any. Blocks for some milliseconds.
///
/// # Errors
/// When they cannot be removed.
pub fn clear() -> io::Result<bool> {
    if as_root().is_err() || !Path::new(STATE).exists() {
        return Ok(false);
    }
    State::open()?.end()
}

impl Cable {
    /// The network, as a path for another process, while this lives.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.space.as_raw_fd()))
    }

    /// What `/etc/resolv.conf` is in the sandbox. Where only the host reaches a name server, questions are passed on to it.
    pub(crate) async fn names(&mut self, tasks: &Tasks) -> io::Result<String> {
        let names = resolve::through(&read("/etc/resolv.conf"), self.gateway);
        let now = self.forward.as_ref().map(|(server, _)| *server);
        if now != names.behind {
            self.forward = None;
        }
        if let (Some(server), None) = (names.behind, &self.forward) {
            self.forward = Some((server, forward::start(tasks, self.gateway, NAMES, server).await?));
        }
        Ok(names.text)
    }
}

/// What tells of the sockets in this process's network, to be read when `/proc` is another's.
pub(crate) fn sockets() -> io::Result<Vec<File>> {
    // The second is not there without the sixth version.
    let found = SOCKETS.map(File::open).into_iter().filter(|file| !is_missing(file));
    found.collect()
}

fn is_missing(file: &io::Result<File>) -> bool {
    matches!(file, Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Whether no socket is left that outlives its process: none in use, none of TCP that waits for late packets. The
/// listings of sockets would say so too, but to write one the kernel looks through all that the host could have.
pub(crate) fn is_clean(sockets: Vec<File>) -> bool {
    sockets.into_iter().all(|file| io::read_to_string(file).is_ok_and(|text| counts_none(&text)))
}

/// Whether every count of sockets is 0. What else stands there is of the whole host, or of sockets that are being freed.
fn counts_none(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let counts = words.windows(2).filter(|pair| matches!(pair[0], "inuse" | "tw"));
    words.contains(&"inuse") && counts.map(|pair| pair[1]).all(|count| count == "0")
}

/// Sets a new network of this process up: nothing but a loopback.
pub(crate) fn loopback() -> io::Result<()> {
    Netlink::open()?.up("lo")
}

fn peer(number: u16) -> String {
    format!("{CABLES}p{number}")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Writes a setting of an interface that the kernel may have been built without.
fn set(path: &str, value: &str) -> io::Result<()> {
    match fs::write(path, value) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The locks of a host's network.
struct State(PathBuf);

/// What rules were set, and for which pool.
#[derive(Clone, Copy, Debug)]
struct Noted {
    filter: Filter,
    pool: Pool,
    /// They are those that this program would set.
    current: bool,
}

impl State {
    fn open() -> io::Result<Self> {
        let network = fs::metadata(OWN_NETWORK)?.ino();
        let directory = Path::new(STATE).join(format!("net-{network}"));
        fs::create_dir_all(&directory)?;
        Ok(Self(directory))
    }

    fn file(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().create(true).truncate(false).read(true).write(true).open(self.0.join(name))
    }

    /// A number that nobody uses, with its lock; what a dead process left under it is gone.
    fn free(&self) -> io::Result<(u16, File)> {
        self.free_from(0)
    }

    fn free_from(&self, first: u16) -> io::Result<(u16, File)> {
        for number in (first..TRIES).chain(0..first) {
            let lock = self.file(&format!("cable-{number}"))?;
            if lock.try_lock().is_ok() {
                remove_cable(number);
                return Ok((number, lock));
            }
        }
        Err(io::Error::other(format!("all {ROOM} networks of sandboxes on this host are in use")))
    }

    /// Makes this process a user of the rules; answers the pool and the lock that says so.
    fn begin(&self) -> io::Result<(Pool, File)> {
        let _one_at_a_time = self.change()?;
        let users = self.file("users")?;
        let alone = users.try_lock().is_ok();
        let routes = pool::routes(&read("/proc/net/route"));
        let noted = self.noted();
        passes_on().map_err(io::Error::other)?;
        if let Some(Noted { filter, pool, current }) = noted
            // Others have cables with addresses of it.
            && (!alone || (current && pool.is_free(&routes)))
            && filter.is_there()
        {
            users.unlock()?;
            users.lock_shared()?;
            return Ok((pool, users));
        }
        if let Some(Noted { filter, .. }) = noted {
            filter.remove()?;
        }
        let filter = find_filter().map_err(io::Error::other)?;
        let pool = match noted {
            Some(Noted { pool, .. }) if !alone => Some(pool),
            _ => Pool::free(&routes),
        };
        let full = || io::Error::other("every range of addresses for sandboxes is in use on this host: see `ip route`");
        let pool = pool.ok_or_else(full)?;
        // First the note: what was begun is removed by whoever comes next.
        let note = format!("{} {} {}\n", filter.program(), pool.cidr(), filter.edition(pool));
        fs::write(self.0.join("rules"), note)?;
        filter.put(pool)?;
        users.unlock()?;
        users.lock_shared()?;
        Ok((pool, users))
    }

    /// Removes the rules unless somebody uses them; whether there were any.
    fn end(&self) -> io::Result<bool> {
        let _one_at_a_time = self.change()?;
        let Some(Noted { filter, .. }) = self.noted() else { return Ok(false) };
        let users = self.file("users")?;
        if users.try_lock().is_err() {
            return Ok(false);
        }
        filter.remove()?;
        fs::remove_file(self.0.join("rules"))?;
        Ok(true)
    }

    fn change(&self) -> io::Result<File> {
        let lock = self.file("change")?;
        lock.lock()?;
        Ok(lock)
    }

    /// What rules were set.
    fn noted(&self) -> Option<Noted> {
        let text = fs::read_to_string(self.0.join("rules")).ok()?;
        let mut words = text.split_whitespace();
        let (filter, pool) = (Filter::parse(words.next()?)?, Pool::parse(words.next()?)?);
        Some(Noted { filter, pool, current: words.next() == Some(&filter.edition(pool)) })
    }

    fn sweep_cables(&self) -> io::Result<u32> {
        let mut removed = 0;
        for found in fs::read_dir(INTERFACES)? {
            let name = found?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(CABLES)?.get(1..)?.parse::<u16>().ok());
            let Some(number) = number else { continue };
            let lock = self.file(&format!("cable-{number}"))?;
            if lock.try_lock().is_ok() {
                removed += u32::from(remove_cable(number));
            }
        }
        Ok(removed)
    }
}

/// Removes a cable, whoever's commands it was for; whether there was one.
fn remove_cable(number: u16) -> bool {
    let Ok(netlink) = Netlink::open() else { return false };
    let kinds = [format!("{STRANGERS}{number}"), format!("{CABLES}o{number}"), peer(number)];
    // Both ends are one.
    kinds.iter().filter(|name| netlink.remove(name).is_ok()).count() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_are_left_are_seen() {
        for (text, expected) in [
            ("sockets: used 2\nTCP: inuse 0 orphan 3 tw 0 alloc 6 mem 221\nUDP: inuse 0 mem 0\n", true),
            ("TCP6: inuse 0\nUDP6: inuse 0\n", true),
            ("sockets: used 0\nTCP: inuse 0 orphan 0 tw 1 alloc 6 mem 221\nUDP: inuse 0 mem 0\n", false),
            ("TCP: inuse 0 orphan 0 tw 0 alloc 6 mem 221\nUDP: inuse 1 mem 0\n", false),
            ("TCP6: inuse 1\n", false),
            ("", false),
        ] {
            assert_eq!(counts_none(text), expected, "{text}");
        }
    }
}
