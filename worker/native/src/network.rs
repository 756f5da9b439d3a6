//! The network that commands see unless they ask for another: one of their own, behind the host's address.
//!
//! A cable (a veth pair) leads from the host into each sandbox, with a network of four addresses. The rules that let it
//! out are the same for all sandboxes of a host: the first user sets them, the last one removes them.
//!
//! What is in use is told by locks in `/run/slipway/net-N`, where N is the number of the host's network: `users` is
//! shared by the processes that need the rules, `cable-M` is held by whoever has the cable M. They end with their
//! processes, however those end; what nobody holds is garbage.

mod forward;
mod netlink;
mod pool;
mod resolve;
mod rules;

use std::{
    fs::{self, File, OpenOptions},
    io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

use slipway_process::Tasks;

pub(crate) use self::{forward::Forward, netlink::Netlink};
use self::{
    pool::{BITS, Pool, ROOM},
    rules::{CABLES, Filter, STRANGERS},
};

/// Where the locks are.
const STATE: &str = "/run/slipway";
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

/// Whose commands run here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Commands {
    /// The user's, who runs the build: where no own network can be made, they see the host's.
    Own,
    /// Those of whoever sends jobs: where no own network can be made, none run; they never reach the host's services.
    Strangers,
}

/// Whether sandboxes on this host can have a network of their own; why not, otherwise. Blocks for some milliseconds.
///
/// # Errors
/// What is missing, and what to do about it.
pub fn probe() -> Result<(), String> {
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
        true => Err("not supported yet: networks for commands of builds without root".to_owned()),
        false => Ok(()),
    }
}

fn find_filter() -> Result<Filter, String> {
    Filter::find().ok_or_else(|| "neither iptables nor nft is installed; install iptables".to_owned())
}

/// The networks of a process. Dropping it does not remove rules: [`Networks::release`] does, and else the next process.
#[derive(Debug)]
pub(crate) struct Networks {
    commands: Commands,
    used: Mutex<Option<Used>>,
    turn: AtomicU16,
}

/// What a process that needs the rules holds.
#[derive(Debug)]
struct Used {
    pool: Pool,
    mtu: u32,
    _users: File,
}

/// The cable to one sandbox. When it is dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Cable {
    /// The end on the host.
    name: String,
    /// The other end, until it is in the sandbox.
    pub(crate) peer: String,
    /// The host's address on it.
    pub(crate) gateway: Ipv4Addr,
    /// The sandbox's.
    pub(crate) address: Ipv4Addr,
    _lock: File,
}

impl Networks {
    pub(crate) fn new(commands: Commands) -> Self {
        // Two processes begin at different places: fewer locks are tried.
        let turn = AtomicU16::new(u16::try_from(std::process::id() % u32::from(TURNS)).unwrap_or(0));
        Self { commands, used: Mutex::new(None), turn }
    }

    /// Whose commands run.
    pub(crate) fn commands(&self) -> Commands {
        self.commands
    }

    /// A cable of one's own, up on the host's side. Sets the rules when this process is their first user. Blocks.
    pub(crate) fn cable(&self) -> io::Result<Cable> {
        as_root().map_err(io::Error::other)?;
        let state = State::open()?;
        let (pool, mtu) = self.rules(&state)?;
        let (number, lock) = state.free_from(self.turn.fetch_add(1, Ordering::Relaxed) % TURNS)?;
        let kind = if self.commands == Commands::Strangers { "s" } else { "o" };
        let name = format!("{CABLES}{kind}{number}");
        let cable = Cable {
            peer: peer(number),
            gateway: pool.host(number),
            address: pool.sandbox(number),
            name: name.clone(),
            _lock: lock,
        };
        let netlink = Netlink::open()?;
        netlink.make_pair(&name, &cable.peer, mtu)?;
        // Only the fourth version is translated: nothing else goes through.
        for end in [&name, &cable.peer] {
            set(&format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1")?;
        }
        // What pretends to be from elsewhere is not taken.
        set(&format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "1")?;
        netlink.address(&name, cable.gateway, BITS)?;
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

    /// Gives the rules up. Blocks.
    pub(crate) fn release(&self) -> io::Result<()> {
        let Ok(mut used) = self.used.lock() else { return Ok(()) };
        if used.take().is_none() {
            return Ok(());
        }
        State::open()?.end()
    }

    /// Removes cables and rules that nobody uses; answers how many there were. Blocks.
    pub(crate) fn sweep() -> io::Result<u32> {
        if as_root().is_err() || !Path::new(STATE).exists() {
            return Ok(0);
        }
        let state = State::open()?;
        let removed = state.sweep_cables()?;
        state.end()?;
        Ok(removed)
    }
}

impl Cable {
    /// What `/etc/resolv.conf` is in the sandbox, and what passes questions on when it has to be done.
    pub(crate) fn names(&self) -> (String, Option<SocketAddr>) {
        let names = resolve::through(&read("/etc/resolv.conf"), self.gateway);
        (names.text, names.behind)
    }

    /// Passes questions for names on to a server of the host.
    pub(crate) async fn forward(&self, tasks: &Tasks, to: SocketAddr) -> io::Result<Forward> {
        forward::start(tasks, self.gateway, NAMES, to).await
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // Usually it goes with the sandbox's network, at some time: here it is known to be gone.
        if let Ok(netlink) = Netlink::open() {
            let _ = netlink.remove(&self.name);
        }
    }
}

/// Sets a new network of this thread up: nothing but a loopback.
pub(crate) fn loopback() -> io::Result<()> {
    Netlink::open()?.up("lo")
}

/// Connects this thread's network to its end of a cable, which is there already.
pub(crate) fn connect(address: Ipv4Addr, gateway: Ipv4Addr) -> io::Result<()> {
    let netlink = Netlink::open()?;
    netlink.address(INSIDE, address, BITS)?;
    netlink.up(INSIDE)?;
    netlink.default_route(INSIDE, gateway)
}

/// Gives an end of a cable from the network of `from` to that of this process.
pub(crate) fn take(from: &Netlink, peer: &str) -> io::Result<()> {
    from.give(peer, std::process::id(), INSIDE)
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
        let noted = self.noted();
        if let Some((filter, pool)) = noted
            && !alone
            && filter.is_there()
        {
            users.lock_shared()?;
            return Ok((pool, users));
        }
        if let Some((filter, _)) = noted {
            filter.remove()?;
        }
        passes_on().map_err(io::Error::other)?;
        let filter = find_filter().map_err(io::Error::other)?;
        let pool = match noted {
            // Others have cables with addresses of it.
            Some((_, pool)) if !alone => Some(pool),
            _ => Pool::free(&pool::routes(&read("/proc/net/route"))),
        };
        let full = || io::Error::other("every range of addresses for sandboxes is in use on this host: see `ip route`");
        let pool = pool.ok_or_else(full)?;
        // First the note: what was begun is removed by whoever comes next.
        fs::write(self.0.join("rules"), format!("{} {}\n", filter.program(), pool.cidr()))?;
        filter.put(pool)?;
        users.unlock()?;
        users.lock_shared()?;
        Ok((pool, users))
    }

    /// Removes the rules unless somebody uses them.
    fn end(&self) -> io::Result<()> {
        let _one_at_a_time = self.change()?;
        let Some((filter, _)) = self.noted() else { return Ok(()) };
        let users = self.file("users")?;
        if users.try_lock().is_err() {
            return Ok(());
        }
        filter.remove()?;
        fs::remove_file(self.0.join("rules"))
    }

    fn change(&self) -> io::Result<File> {
        let lock = self.file("change")?;
        lock.lock()?;
        Ok(lock)
    }

    /// What rules were set, and for which pool.
    fn noted(&self) -> Option<(Filter, Pool)> {
        let text = fs::read_to_string(self.0.join("rules")).ok()?;
        let (filter, pool) = text.split_once(' ')?;
        Some((Filter::parse(filter)?, Pool::parse(pool)?))
    }

    fn sweep_cables(&self) -> io::Result<u32> {
        let mut removed = 0;
        for found in fs::read_dir(&self.0)? {
            let name = found?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("cable-")?.parse::<u16>().ok());
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
