//! A cluster each of whose coordinators is in a network of its own.

use anyhow::{Context as _, Result, bail};
use slipway_parts::Etcd;
use slipway_process::{child, random_id};

use super::{Cluster, process::Process};
use crate::{
    Registry,
    net::{Link, Net},
};

/// The port of every coordinator.
const PORT: u16 = 8470;

/// The network of a coordinator, and its links.
pub struct Island {
    net: Net,
    /// To etcd.
    pub to_etcd: Link,
    /// To the registry, to clients and to workers.
    pub to_all: Link,
    /// To one worker that a test cuts off.
    pub to_one: Link,
}

impl Island {
    /// A network with its links; `None`, said aloud, where that is not allowed.
    ///
    /// # Errors
    /// When it cannot be used once it is made.
    pub fn new() -> Result<Option<Self>> {
        let Some(net) = Net::new()? else { return Ok(None) };
        let (to_etcd, to_all, to_one) = (net.link()?, net.link()?, net.link()?);
        Ok(Some(Self { net, to_etcd, to_all, to_one }))
    }

    /// The address of its coordinator by a link.
    pub fn url(link: &Link) -> String {
        format!("http://{}:{PORT}", link.inner)
    }
}

impl Cluster {
    /// An etcd of three members and a registry on this machine, a coordinator on each island, all down, and no workers.
    ///
    /// # Errors
    /// When a part is missing or does not come up.
    pub fn apart(islands: &mut [Island]) -> Result<Self> {
        let first = islands.first().context("an island")?;
        let (etcd_at, registry_at) = (first.to_etcd.outer, first.to_all.outer);
        for island in islands.iter_mut() {
            island.to_etcd.leads_to(etcd_at)?;
            island.to_all.leads_to(registry_at)?;
        }
        let etcd = Etcd::at(etcd_at, 3).context("there is no etcd")?;
        let (dir, registry) = (tempfile::tempdir()?, Registry::everywhere()?);
        let port = registry.host().rsplit(':').next().context("a port")?;
        let (host, token, tokens) = (format!("{registry_at}:{port}"), random_id(), dir.path().join("tokens"));
        std::fs::write(&tokens, format!("admin:test:{}\n", checksum(dir.path(), &token)?))?;
        let (endpoints, tokens) = (etcd.endpoints().join(","), tokens.display().to_string());
        let variables = [("SLIPWAY_TOKEN", token.as_str()), ("SLIPWAY_INSECURE_REGISTRY", "true")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let coordinator = |(number, island): (usize, &Island)| {
            let (listen, url) = (format!("0.0.0.0:{PORT}"), Island::url(&island.to_all));
            let own = ["--listen", &listen, "--advertise", &url, "--etcd", &endpoints, "--tokens-file", &tokens];
            let mut process = Process::new(dir.path(), "coordinator", number, own.map(str::to_owned).to_vec());
            process.within = island.net.within();
            process.variables.clone_from(&variables);
            process
        };
        Ok(Self {
            coordinators: islands.iter().enumerate().map(coordinator).collect(),
            urls: islands.iter().map(|island| Island::url(&island.to_all)).collect(),
            workers: Vec::new(),
            host,
            registry,
            etcd,
            of_clients: variables.clone(),
            variables,
            dir,
        })
    }
}

/// The checksum of a token, as a file of tokens has it.
fn checksum(dir: &std::path::Path, token: &str) -> Result<String> {
    let file = dir.join("token");
    std::fs::write(&file, token)?;
    let output = child::command("sha256sum").arg(&file).output()?;
    let line = String::from_utf8(output.stdout)?;
    match line.split_whitespace().next() {
        Some(checksum) => Ok(checksum.to_owned()),
        None => bail!("sha256sum says nothing"),
    }
}
