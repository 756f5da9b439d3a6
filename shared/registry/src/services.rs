//! What some services delete by: interfaces of their own, beside that of their registries.
//!
//! [`hub`] is Docker Hub's, [`packages`] GitHub's, [`ecr`] Amazon's, whose requests are signed as [`signature`] says, with the keys that
//! [`keys`] has.

mod ecr;
mod hub;
mod keys;
mod packages;
mod signature;

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use slipway_oci::BlobDigest;
use slipway_process::Clock;
use url::Url;

use self::{ecr::Ecr, hub::Hub, packages::Packages};
pub use self::{
    keys::{AwsSource, ContainerToken},
    signature::AwsKeys,
};
use crate::{Client, RegistryError, Removed, call::Call, credentials::Credential, vendors::Vendor};

/// The interfaces, with what they have handed out.
pub(crate) struct Services {
    hub: Hub,
    packages: Packages,
    ecr: Ecr,
    interfaces: Vec<(Vendor, Url)>,
}

impl Services {
    /// Nothing is asked of the network yet.
    pub(crate) fn new(interfaces: Vec<(Vendor, Url)>, aws: AwsSource, clock: Arc<dyn Clock>) -> Self {
        let (hub, packages) = (Hub::new(Arc::clone(&clock)), Packages::default());
        Self { hub, packages, ecr: Ecr::new(aws, clock), interfaces }
    }

    /// Deletes what a selector names, which is a digest or else a tag; `call` is the same to the registry.
    pub(crate) async fn remove(
        &self,
        client: &Client,
        call: Call,
        (selector, digest): (&str, Option<BlobDigest>),
    ) -> Result<Removed, RegistryError> {
        let vendor = client.vendor(&call.repo);
        let told = self.interfaces.iter().find(|(of, _)| *of == vendor).map(|(_, url)| url);
        let desk = Desk { client, call, told };
        match (vendor, digest) {
            (Vendor::DockerHub, None) => self.hub.remove(&desk, selector).await,
            (Vendor::Ghcr, Some(digest)) => self.packages.remove(&desk, &digest).await,
            (Vendor::Ecr, _) => self.ecr.remove(&desk, selector).await,
            _ => Ok(Removed::Unsupported),
        }
    }
}

/// What is being done, and by which client.
struct Desk<'a> {
    client: &'a Client,
    call: Call,
    /// Where the interface is, if not where it usually is.
    told: Option<&'a Url>,
}

impl Desk<'_> {
    /// An address of the interface, which is usually below `usual`.
    fn address(&self, usual: &str, path: &str) -> Result<Url, RegistryError> {
        let base = self.told.map_or(usual, Url::as_str).trim_end_matches('/');
        Url::parse(&format!("{base}{path}")).map_err(|error| self.refused(&format!("malformed address ({error})")))
    }

    /// User and password of the registry, for what wants the password; without a user, a token.
    async fn password(&self) -> Result<(String, String), RegistryError> {
        let denied = |why: &str| RegistryError::Denied(self.call.say(why));
        match self.client.transport().credential(&self.call).await? {
            Some(Credential::Password { user, password }) => Ok((user, password)),
            Some(Credential::Access(token)) => Ok((String::new(), token)),
            Some(Credential::Identity(_)) => {
                Err(denied("deleting here takes a password or an access token, not an identity token"))
            }
            None => Err(denied("deleting here takes a login")),
        }
    }

    fn refused(&self, why: &str) -> RegistryError {
        RegistryError::Refused(self.call.say(why))
    }
}

impl Call {
    /// The same with a header that must not be shown.
    fn secret_header(self, name: HeaderName, value: HeaderValue) -> Self {
        let mut value = value;
        value.set_sensitive(true);
        self.header(name, value)
    }
}
