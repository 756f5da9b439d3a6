//! What a worker can do, and what a job needs.

use std::collections::BTreeMap;

use slipway_oci::Platform;

/// What a worker can do.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// What runs its jobs: `docker`, ….
    pub backend: String,
    /// Platforms whose programs it runs, by itself or by emulation; empty = any.
    pub platforms: Vec<Platform>,
    /// Networks that the commands of its jobs can have: `default`, `host`, `none`; empty = any.
    pub networks: Vec<String>,
    /// Thousandths of a CPU that its jobs share; 0 = not said, so it limits nothing.
    pub cpu_millis: u64,
    /// Memory in MiB that its jobs share; 0 = not said, so it limits nothing.
    pub memory_mib: u64,
    /// Whether it can do one instruction of a Dockerfile alone.
    pub instructions: bool,
    /// What its owner says of it.
    pub labels: BTreeMap<String, String>,
}

impl Capabilities {
    /// Whether it runs programs of a platform.
    pub fn runs(&self, platform: &str) -> bool {
        let wanted = platform.parse::<Platform>();
        self.platforms.is_empty() || wanted.is_ok_and(|wanted| self.platforms.iter().any(|known| known.covers(&wanted)))
    }
}

/// What a job needs of a worker.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Requirements {
    /// What must run it; `None` = anything.
    pub backend: Option<String>,
    /// Whose programs it runs, as text; `None` = it runs none.
    pub platform: Option<String>,
    /// The network that its commands see; `None` = it runs none.
    pub network: Option<String>,
    /// Whether it is one instruction of a Dockerfile.
    pub instructions: bool,
    /// Thousandths of a CPU that it takes while it runs.
    pub cpu_millis: u64,
    /// Memory in MiB that it takes while it runs.
    pub memory_mib: u64,
    /// Labels that the worker must have.
    pub labels: BTreeMap<String, String>,
}

impl Requirements {
    /// What a worker lacks for the job even when it has nothing else to do, in words; empty = it can take it.
    pub fn missing(&self, worker: &Capabilities) -> Vec<String> {
        let mut missing = Vec::new();
        if let Some(backend) = self.backend.as_ref().filter(|backend| **backend != worker.backend) {
            missing.push(format!("backend {backend}"));
        }
        if let Some(platform) = self.platform.as_ref().filter(|platform| !worker.runs(platform)) {
            missing.push(format!("platform {platform}"));
        }
        let has = |network: &String| worker.networks.is_empty() || worker.networks.contains(network);
        if let Some(network) = self.network.as_ref().filter(|network| !has(network)) {
            missing.push(format!("the network {network} for commands"));
        }
        if self.instructions && !worker.instructions {
            missing.push("a backend for instructions of Dockerfiles as stages (`staged`)".to_owned());
        }
        if worker.cpu_millis > 0 && self.cpu_millis > worker.cpu_millis {
            missing.push(format!("{} thousandths of a CPU", self.cpu_millis));
        }
        if worker.memory_mib > 0 && self.memory_mib > worker.memory_mib {
            missing.push(format!("{} MiB of memory", self.memory_mib));
        }
        let lacks = |(name, value): &(&String, &String)| worker.labels.get(*name) != Some(*value);
        missing.extend(self.labels.iter().filter(lacks).map(|(name, value)| format!("label {name}={value}")));
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn what_a_worker_lacks_is_named() {
        let arm = Platform { os: "linux".to_owned(), arch: "arm64".to_owned(), variant: None };
        let worker = Capabilities {
            backend: "docker".to_owned(),
            platforms: vec![arm],
            networks: vec!["none".to_owned()],
            cpu_millis: 2000,
            memory_mib: 1024,
            instructions: false,
            labels: labels("disk", "ssd"),
        };
        let needs = |change: fn(&mut Requirements)| {
            let mut requirements = Requirements::default();
            change(&mut requirements);
            requirements.missing(&worker).join(", ")
        };
        assert_eq!(needs(|_| {}), "");
        assert_eq!(needs(|needs| needs.platform = Some("linux/arm64".to_owned())), "");
        assert_eq!(needs(|needs| needs.platform = Some("linux/arm64/v8".to_owned())), "");
        assert_eq!(needs(|needs| needs.platform = Some("linux/amd64".to_owned())), "platform linux/amd64");
        assert_eq!(needs(|needs| needs.network = Some("none".to_owned())), "");
        assert_eq!(needs(|needs| needs.network = Some("default".to_owned())), "the network default for commands");
        assert_eq!(needs(|needs| needs.backend = Some("buildah".to_owned())), "backend buildah");
        let alone = "a backend for instructions of Dockerfiles as stages (`staged`)";
        assert_eq!(needs(|needs| needs.instructions = true), alone);
        assert_eq!(needs(|needs| (needs.cpu_millis, needs.memory_mib) = (2000, 1024)), "");
        assert_eq!(needs(|needs| needs.cpu_millis = 2001), "2001 thousandths of a CPU");
        assert_eq!(needs(|needs| needs.memory_mib = 1025), "1025 MiB of memory");
        assert_eq!(needs(|needs| needs.labels = labels("disk", "ssd")), "");
        assert_eq!(needs(|needs| needs.labels = labels("disk", "nvme")), "label disk=nvme");
        let able = Capabilities { instructions: true, ..Capabilities::default() };
        assert!(Requirements { instructions: true, ..Requirements::default() }.missing(&able).is_empty());
        // What a worker does not say of itself limits nothing.
        let anything = Requirements { cpu_millis: 9999, memory_mib: 9999, ..Requirements::default() };
        assert!(anything.missing(&Capabilities::default()).is_empty());
    }
}
