//! A network namespace, and links to it that a test takes down.

use std::{net::Ipv4Addr, process::Stdio};

use anyhow::{Result, bail};
use slipway_process::{child, random_id};

/// A network of its own. It and its links are removed when this is dropped.
pub struct Net {
    name: String,
}

/// A link between this machine and a [`Net`].
pub struct Link {
    net: String,
    inner_device: String,
    /// The address of this machine on it.
    pub outer: Ipv4Addr,
    /// The address in the network.
    pub inner: Ipv4Addr,
    /// Addresses of this machine that are reached by it from within.
    routes: Vec<Ipv4Addr>,
}

impl Net {
    /// A network; `None`, said aloud, where that is not allowed.
    ///
    /// # Errors
    /// When it cannot be used once it is made.
    pub fn new() -> Result<Option<Self>> {
        let name = format!("slipway-test-{}", &random_id()[..8]);
        if let Err(why) = ip(&["netns", "add", &name]) {
            slipway_parts::skip("netns", &format!("no network namespaces can be made here: {why:#}"));
            return Ok(None);
        }
        let net = Self { name };
        ip(&["-netns", &net.name, "link", "set", "lo", "up"])?;
        Ok(Some(net))
    }

    /// What runs a program in it: to be put in front of the program.
    pub fn within(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.name].map(str::to_owned).to_vec()
    }

    /// A link to it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn link(&self) -> Result<Link> {
        let id = random_id();
        let (outer_device, inner_device) = (format!("sw{}o", &id[..8]), format!("sw{}i", &id[..8]));
        // 198.18.0.0/15 is for tests of networks; four addresses are a link.
        let place = u32::from_str_radix(&id[8..12], 16)? << 2 | u32::from(Ipv4Addr::new(198, 18, 0, 0));
        let (outer, inner) = (Ipv4Addr::from(place + 1), Ipv4Addr::from(place + 2));
        let name = self.name.as_str();
        ip(&["link", "add", &outer_device, "type", "veth", "peer", "name", &inner_device, "netns", name])?;
        ip(&["address", "add", &format!("{outer}/30"), "dev", &outer_device])?;
        ip(&["link", "set", &outer_device, "up"])?;
        ip(&["-netns", name, "address", "add", &format!("{inner}/30"), "dev", &inner_device])?;
        ip(&["-netns", name, "link", "set", &inner_device, "up"])?;
        Ok(Link { net: name.to_owned(), inner_device, outer, inner, routes: Vec::new() })
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // Its links go with it. What stays is seen by whoever looks at the machine.
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

impl Link {
    /// From now on an address of this machine is reached by this link from within.
    ///
    /// # Errors
    /// When that is refused.
    pub fn leads_to(&mut self, address: Ipv4Addr) -> Result<()> {
        if address != self.outer {
            self.routes.push(address);
        }
        self.route()
    }

    fn route(&self) -> Result<()> {
        for address in &self.routes {
            let (to, via) = (format!("{address}/32"), self.outer.to_string());
            ip(&["-netns", &self.net, "route", "replace", &to, "via", &via])?;
        }
        Ok(())
    }

    /// Takes it down, from within: whoever speaks to the other end hears nothing, not even that nobody is there.
    ///
    /// # Errors
    /// When that is refused.
    pub fn cut(&self) -> Result<()> {
        ip(&["-netns", &self.net, "link", "set", &self.inner_device, "down"])
    }

    /// Takes it up again.
    ///
    /// # Errors
    /// When that is refused.
    pub fn mend(&self) -> Result<()> {
        ip(&["-netns", &self.net, "link", "set", &self.inner_device, "up"])?;
        self.route()
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = child::command("ip").args(arguments).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
