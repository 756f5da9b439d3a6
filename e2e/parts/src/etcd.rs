//! An etcd of one test: one member or several.

mod member;

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
};

use slipway_process::{child::command, random_id};
use tempfile::TempDir;

use crate::{Part, Server, require};
use member::Member;

/// How often a start is tried with other ports, when a port was taken between its choice and its use.
const STARTS: u32 = 5;

/// A running etcd. Its members are killed, and their files are removed, when this is dropped.
///
/// Members have numbers from 0. Every etcd is at an address of 127.0.0.0/8 of its own, so that nobody takes the port of a
/// member that is down.
pub struct Etcd {
    members: Vec<Member>,
    arguments: Vec<String>,
    token: String,
    directory: TempDir,
}

impl Etcd {
    /// One member; `None`, said aloud, when this machine has no etcd.
    ///
    /// # Panics
    /// When it does not come up, or is required and missing.
    pub fn one() -> Option<Self> {
        Self::with(1, &[])
    }

    /// Three members; `None`, said aloud, when this machine has no etcd.
    ///
    /// # Panics
    /// When they do not come up, or are required and missing.
    pub fn three() -> Option<Self> {
        Self::with(3, &[])
    }

    /// So many members, each with further arguments of the program; `None`, said aloud, when this machine has no etcd.
    ///
    /// # Panics
    /// When they do not come up, or are required and missing.
    pub fn with(members: usize, arguments: &[&str]) -> Option<Self> {
        Self::start_at(own_address, members, arguments)
    }

    /// So many members at an address of this machine; `None`, said aloud, when this machine has no etcd.
    ///
    /// # Panics
    /// When they do not come up, or are required and missing.
    pub fn at(address: Ipv4Addr, members: usize) -> Option<Self> {
        Self::start_at(|| address, members, &[])
    }

    fn start_at(address: impl Fn() -> Ipv4Addr, members: usize, arguments: &[&str]) -> Option<Self> {
        if !require(&[Part::Etcd]) {
            return None;
        }
        let mut last = String::new();
        for _ in 0..STARTS {
            let mut etcd = Self::place(address(), members, arguments);
            match etcd.start_all() {
                Ok(()) => return Some(etcd),
                Err(log) if log.contains("address already in use") => last = log,
                Err(log) => panic!("etcd does not start:\n{log}"),
            }
        }
        panic!("etcd finds no port:\n{last}");
    }

    fn place(address: Ipv4Addr, members: usize, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // All are held until all are chosen, so that no two are the same.
        let listen = |_| TcpListener::bind((address, 0)).expect("a free port");
        let held: Vec<TcpListener> = (0..members * 2).map(listen).collect();
        let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().expect("an address"));
        let member = |number: usize| {
            let (client, peer) = (url(&held[number * 2]), url(&held[number * 2 + 1]));
            Member::new(number, client, peer, directory.path())
        };
        Self {
            members: (0..members).map(member).collect(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            token: random_id(),
            directory,
        }
    }

    fn start_all(&mut self) -> Result<(), String> {
        let arguments = self.common();
        self.members.iter_mut().for_each(|member| member.start(&arguments));
        self.members.iter_mut().try_for_each(Member::wait)
    }

    /// What all members are started with.
    fn common(&self) -> Vec<String> {
        let cluster: Vec<String> = self.members.iter().map(Member::in_cluster).collect();
        let mut arguments = vec![
            "--initial-cluster".to_owned(),
            cluster.join(","),
            "--initial-cluster-token".to_owned(),
            self.token.clone(),
            "--initial-cluster-state".to_owned(),
            "new".to_owned(),
        ];
        arguments.extend(self.arguments.iter().cloned());
        arguments
    }

    /// Where clients reach the members: `http://ADDRESS:PORT`, in the order of their numbers.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.client.clone()).collect()
    }

    /// The process of a member.
    ///
    /// # Panics
    /// When the member is down.
    pub fn server(&self, member: usize) -> &Server {
        self.members[member].server.as_ref().expect("the member is up")
    }

    /// Starts a member that is down, on its port and its data; waits until it serves, if enough others are up for that.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(&mut self, member: usize) {
        let arguments = self.common();
        self.members[member].start(&arguments);
        let up = self.members.iter().filter(|member| member.server.is_some()).count();
        if up * 2 > self.members.len() {
            self.members[member].wait().unwrap_or_else(|log| panic!("etcd does not start:\n{log}"));
        }
    }

    /// Asks a member to end, and waits until it has. Nothing happens when it is down.
    pub fn stop(&mut self, member: usize) {
        if let Some(server) = self.members[member].server.take() {
            server.stop();
        }
    }

    /// Kills a member. Nothing happens when it is down.
    pub fn kill(&mut self, member: usize) {
        self.members[member].server = None;
    }

    /// Halts a member where it is, as a machine that hangs.
    ///
    /// # Panics
    /// When the member is down.
    pub fn halt(&self, member: usize) {
        self.server(member).halt();
    }

    /// Lets a halted member go on.
    ///
    /// # Panics
    /// When the member is down.
    pub fn go_on(&self, member: usize) {
        self.server(member).go_on();
    }

    /// The number of the member that leads now.
    ///
    /// # Panics
    /// When no member answers.
    pub fn leader(&self) -> usize {
        let status = self.ctl(&["endpoint", "status", "--write-out=simple"]);
        // ENDPOINT, ID, VERSION, DB SIZE, IS LEADER, …
        let leads = |line: &&str| line.split(", ").nth(4) == Some("true");
        let line = status.lines().find(leads).unwrap_or_else(|| panic!("nobody leads: {status}"));
        let endpoint = line.split(',').next().unwrap_or_default();
        self.members.iter().position(|member| member.client == endpoint).expect("one of the members")
    }

    /// Runs `etcdctl` against the members that are up; answers what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let up = self.members.iter().filter(|member| member.server.is_some());
        let endpoints: Vec<&str> = up.map(|member| member.client.as_str()).collect();
        ctl(&[&["--endpoints", &endpoints.join(",")], arguments].concat())
    }

    /// Writes all that is stored to a file.
    ///
    /// # Panics
    /// When the first member does not answer, or the file cannot be written.
    pub fn save(&self, file: &Path) {
        let file = file.to_str().expect("a path of a test");
        ctl(&["--endpoints", &self.members[0].client, "snapshot", "save", file]);
    }

    /// Kills all members and starts them with what [`Etcd::save`] wrote: same ports, another cluster, revisions as they
    /// were then.
    ///
    /// # Panics
    /// When they do not come up.
    pub fn restore(&mut self, file: &Path) {
        self.token = random_id();
        let cluster: Vec<String> = self.members.iter().map(Member::in_cluster).collect();
        let (file, cluster) = (file.to_str().expect("a path of a test"), cluster.join(","));
        for (number, member) in self.members.iter_mut().enumerate() {
            member.server = None;
            member.data = self.directory.path().join(format!("restored-{number}-{}", self.token));
            let data = member.data.to_str().expect("a path of a test");
            let own = ["--name", &member.name, "--data-dir", data, "--initial-advertise-peer-urls", &member.peer];
            let shared = ["--initial-cluster", &cluster, "--initial-cluster-token", &self.token];
            ctl(&[["snapshot", "restore", file].as_slice(), &own, &shared].concat());
        }
        self.start_all().unwrap_or_else(|log| panic!("etcd does not start:\n{log}"));
    }
}

fn ctl(arguments: &[&str]) -> String {
    let output = command("etcdctl").env("ETCDCTL_API", "3").args(arguments).output().expect("etcdctl can be run");
    let failure = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "etcdctl {}: {failure}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An address of loopback that no other server of this machine uses, and that no connection comes from: its ports stay
/// free when the server that listened there is down.
pub fn own_address() -> Ipv4Addr {
    let random = u32::from_str_radix(&random_id()[..6], 16).expect("hexadecimal digits");
    let [_, a, b, c] = random.to_be_bytes();
    // Not 127.0.…, where everybody else is, and no broadcast address.
    Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(1, 254))
}
