//! One member and the connection to it.

use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use tokio::{sync::Mutex, time::timeout};

use super::failure::Failure;
use crate::{EtcdAddress, EtcdOptions};

/// How often an idle connection is tried, and how long the answer may take: a watch notices a member that vanished.
const PING: Duration = Duration::from_secs(5);
const PONG: Duration = Duration::from_secs(3);

/// A member. Its connection is made once and heals by itself.
pub(super) struct Member {
    url: String,
    options: ConnectOptions,
    client: Mutex<Option<Client>>,
}

impl Member {
    pub(super) fn new(address: &EtcdAddress, member: &str, options: &EtcdOptions) -> Self {
        let mut connect = ConnectOptions::new()
            .with_connect_timeout(options.call_timeout)
            .with_keep_alive(PING, PONG)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some(authorities) = &options.authorities {
            let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(authorities));
            if let Some((certificate, key)) = &options.identity {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            connect = connect.with_tls(tls);
        }
        if let Some((name, password)) = &options.user {
            connect = connect.with_user(name, password);
        }
        Self { url: options.url(address, member), options: connect, client: Mutex::new(None) }
    }

    /// The connection; with a user, it is made by logging in.
    pub(super) async fn client(&self, wait: Duration) -> Result<Client, Failure> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let made = match timeout(wait, Client::connect([&self.url], Some(self.options.clone()))).await {
            Ok(Ok(made)) => made,
            Ok(Err(error)) => return Err(Failure::of_connecting(&error)),
            Err(_) => return Err(Failure::Unsent(format!("{} does not let us log in in time", self.url))),
        };
        Ok(client.insert(made).clone())
    }
}
