//! Instructions that change the config alone.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use slipway_dockerfile::{Command, Health, Step};
use slipway_oci::{Healthcheck, RunConfig, change::ports};

use super::{
    Draft, ON_BUILD,
    history::{self, quoted},
};

impl Draft {
    /// Does an instruction that makes no layer; others are left alone.
    pub fn apply(&mut self, step: &Step) {
        if let Some(by) = apply(self, step) {
            self.note(&by);
        }
    }
}

/// How it is called in the history; `None` = it is not in there.
fn apply(draft: &mut Draft, step: &Step) -> Option<String> {
    let shell = draft.shell();
    let config = &mut draft.config.config;
    Some(match step {
        Step::Env(pairs) => {
            pairs.iter().for_each(|(name, value)| set_variable(config, name, value));
            format!("ENV{}", listed(pairs))
        }
        Step::Label(pairs) => {
            config.labels.get_or_insert_default().extend(pairs.iter().cloned());
            format!("LABEL{}", listed(pairs))
        }
        Step::Arg(pairs) => {
            let one = |(name, value): &(String, Option<String>)| match value {
                Some(value) => format!(" {name}={value}"),
                None => format!(" {name}"),
            };
            format!("ARG{}", pairs.iter().map(one).collect::<String>())
        }
        Step::Cmd(command) => {
            let list = command.arguments(&shell);
            draft.has_command = true;
            let by = format!("CMD {}", quoted(&list));
            config.cmd = Some(list);
            by
        }
        Step::Entrypoint(command) => {
            let list = command.arguments(&shell);
            let by = format!("ENTRYPOINT {}", quoted(&list));
            config.entrypoint = Some(list);
            // That of the base was for its entrypoint.
            if !draft.has_command {
                config.cmd = None;
            }
            by
        }
        Step::Shell(list) => {
            draft.set_shell(list);
            format!("SHELL [{}]", list.join(" "))
        }
        Step::Healthcheck(health) => healthcheck(config, health.as_ref(), &shell),
        Step::Expose(list) => expose(config, list),
        Step::Volume(list) => {
            config.volumes = Some(united(config.volumes.take(), list.iter().cloned()));
            format!("VOLUME [{}]", list.join(" "))
        }
        Step::User(name) => {
            config.user.clone_from(name);
            format!("USER {name}")
        }
        Step::Stopsignal(name) => {
            config.stop_signal = Some(name.clone());
            format!("STOPSIGNAL {name}")
        }
        Step::Maintainer(name) => {
            draft.config.other.insert("author".to_owned(), Value::from(name.clone()));
            format!("MAINTAINER {name}")
        }
        Step::Onbuild(text) => {
            postpone(config, text);
            return None;
        }
        Step::Run(_) | Step::Files(_) | Step::Workdir(_) => return None,
    })
}

fn listed(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(name, value)| format!(" {name}={value}")).collect()
}

/// In its place when it is there, else behind all others.
pub(super) fn set_variable(config: &mut RunConfig, name: &str, value: &str) {
    let entry = format!("{name}={value}");
    let all = config.env.get_or_insert_default();
    let same = |own: &&mut String| own.split('=').next() == Some(name);
    match all.iter_mut().find(same) {
        Some(own) => *own = entry,
        None => all.push(entry),
    }
}

fn expose(config: &mut RunConfig, list: &[String]) -> String {
    let all: Vec<String> = list.iter().flat_map(|text| ports(text)).collect();
    let mut sorted: Vec<String> = all.iter().map(|port| format!("{port}:{{}}")).collect();
    sorted.sort();
    sorted.dedup();
    config.exposed_ports = Some(united(config.exposed_ports.take(), all.into_iter()));
    format!("EXPOSE map[{}]", sorted.join(" "))
}

fn united(base: Option<BTreeMap<String, Value>>, more: impl Iterator<Item = String>) -> BTreeMap<String, Value> {
    let mut all = base.unwrap_or_default();
    for key in more {
        all.entry(key).or_insert_with(|| Value::Object(Map::new()));
    }
    all
}

fn healthcheck(config: &mut RunConfig, health: Option<&Health>, shell: &[String]) -> String {
    let Some(health) = health else {
        config.healthcheck = Some(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() });
        return "HEALTHCHECK NONE".to_owned();
    };
    let test: Vec<String> = match &health.command {
        Command::Shell(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
        exec @ Command::Exec(_) => ["CMD".to_owned()].into_iter().chain(exec.arguments(shell)).collect(),
    };
    let times = [health.interval, health.timeout, health.start_period, health.start_interval].map(history::time);
    let by = format!("HEALTHCHECK &{{{} {} {}}}", quoted(&test), times.join(" "), history::count(health.retries));
    config.healthcheck = Some(Healthcheck {
        test,
        interval: health.interval,
        timeout: health.timeout,
        start_period: health.start_period,
        start_interval: health.start_interval,
        retries: health.retries,
    });
    by
}

fn postpone(config: &mut RunConfig, text: &str) {
    let list = config.other.entry(ON_BUILD.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
    if !list.is_array() {
        *list = Value::Array(Vec::new());
    }
    if let Some(list) = list.as_array_mut() {
        list.push(Value::from(text));
    }
}
