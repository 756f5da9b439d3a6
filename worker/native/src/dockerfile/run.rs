//! `RUN`.

mod agent;
mod caches;
mod mounts;

use std::{collections::BTreeMap, sync::Arc};

use slipway_backend::{
    BackendError,
    dockerfile::{history, network},
    output::{Output, shortened},
};
use slipway_dockerfile::{Process, Run};
use slipway_layers::Layer;
use slipway_rootfs::{accounts::person, place::ensure};

use super::{
    Build,
    cache::{self, Key},
    cursor::Cursor,
    held::Held,
    platforms,
    step::Place,
};
use crate::{
    commit,
    run::{self as sandbox, Plan},
    sandbox::Confided,
    stubs::Places,
    workspace::Room,
};
use mounts::{Mounts, Opened};

/// Runs a command, and keeps what it changes.
pub(super) async fn run(build: &Build, cursor: &mut Cursor, place: &Place<'_>, run: &Run) -> Result<(), BackendError> {
    // What a base has postponed was not foreseen.
    platforms::runs(&build.shared, &cursor.platform).await.map_err(|error| place.told(error))?;
    let process = run.process(&cursor.shell());
    let by = history::run(&process.arguments, &cursor.variables);
    let mounts = Mounts::of(build, cursor, place, run).await?;
    let variables = cursor.seen();
    let network = network(&build.order, run);
    let mut key = Key::new("run", cursor);
    key.list(process.arguments.iter().map(String::as_str));
    key.list(process.script.iter().flat_map(|(path, text)| [path.as_str(), text.as_str()]));
    key.list(variables.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]));
    key.list([cursor.directory(), &cursor.config.config.user, network.as_deref().unwrap_or("default")]);
    key.list(build.order.add_hosts.iter().map(String::as_str));
    mounts.enter(&mut key);
    let command = Started { process, variables, network };
    cache::through(build, cursor, place, (key, &by), async |cursor| command.start(build, cursor, place, &mounts).await)
        .await
}

/// A command that is to be started.
struct Started {
    process: Process,
    variables: BTreeMap<String, String>,
    network: Option<String>,
}

impl Started {
    async fn start(
        self,
        build: &Build,
        cursor: &Cursor,
        place: &Place<'_>,
        mounts: &Mounts,
    ) -> Result<Option<Layer>, BackendError> {
        let Self { process, mut variables, network } = self;
        for (name, value) in build.program.predeclared() {
            variables.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        let shared = Arc::clone(&build.shared);
        let opened = mounts.open(build).await?;
        let script = process.script.map(|(target, text)| Confided {
            target,
            content: text.into_bytes(),
            owner: (0, 0),
            mode: 0o755,
            program: true,
        });
        let (room, layers, directory) = (build.room_name(), cursor.layers.clone(), cursor.directory().to_owned());
        let mut places = Places::usual();
        opened.places().chain(script.iter().map(|file| (file.target.as_str(), false))).for_each(
            |(path, is_directory)| {
                places.add(path, is_directory);
            },
        );
        let (owned, below, start_at) = (Arc::clone(&shared), layers.clone(), directory.clone());
        let make = move || {
            let room = Arc::new(Room::make(&owned, &below, &room, &places)?);
            ensure(&room.tree.root, &start_at, (0, 0))?;
            Ok(room)
        };
        let hosts = hosts(&build.order.add_hosts)?;
        // The sandbox comes up meanwhile.
        let prepared = sandbox::prepare(&shared, network.as_deref(), None);
        let (room, prepared) = tokio::join!(shared.tasks.blocking(make), prepared);
        let room: Held<Room> = Held::new(&shared.tasks, room?);
        let prepared = prepared?;
        let user = cursor.config.config.user.clone();
        let Opened { mounts, seen, whole, mut confided, memory, variables: more, held, caches } = opened;
        // Caches are measured when they are given back.
        let held = Held::new(&shared.tasks, Arc::new((held, caches)));
        confided.extend(script);
        variables.extend(more);
        let plan = move |_: &crate::Shared, room: &Room| {
            let person = person(&room.tree.root, &user)?;
            variables.entry("HOME".to_owned()).or_insert(person.home);
            Ok(Plan {
                command: process.arguments,
                variables,
                directory,
                user: (!user.is_empty()).then_some(person.user),
                toolbox: None,
                tools: None,
                hosts,
                mounts,
                seen: seen.into_iter().map(|(seen, _)| seen).collect(),
                whole,
                confided,
                memory,
                input: Vec::new(),
            })
        };
        let (mut guard, spoken) = sandbox::start(prepared, room.get(), plan).await?;
        let output = Output::new(build.logs.clone(), None, &build.masks);
        let (exit, _, tail) = guard.said(spoken, output).await?;
        drop(guard);
        if exit != 0 {
            let command = Some(shortened(&place.written.text));
            return Err(BackendError::Command { command, exit, line: Some(place.written.line), tail });
        }
        commit::layer(&shared, room.take(), &layers, move || drop(held.take())).await
    }
}

/// `HOST:IP` entries as lines of `/etc/hosts`.
fn hosts(entries: &[String]) -> Result<Vec<String>, BackendError> {
    let one = |entry: &String| match entry.split_once([':', '=']) {
        Some((name, address)) if !name.is_empty() => {
            let bare = address.trim_start_matches('[').trim_end_matches(']');
            match bare.parse::<std::net::IpAddr>() {
                Ok(address) => Ok(format!("{address}\t{name}")),
                Err(_) => Err(BackendError::Refused(format!("the host `{entry}`: `{address}` is no IP address"))),
            }
        }
        _ => Err(BackendError::Refused(format!("`{entry}` is no HOST:IP"))),
    };
    entries.iter().map(one).collect()
}
