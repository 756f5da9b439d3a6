//! Connections: TLS, proxies, the shortest of all time-outs.

use std::{error::Error as _, time::Duration};

use crate::{Addresses, ClientError};

/// How long a coordinator may take to take a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Idle connections that are kept, per coordinator.
const IDLE: usize = 4;

/// Connections to these addresses. What is on this machine is never reached through a proxy.
pub(crate) fn open(addresses: &Addresses) -> Result<reqwest::Client, ClientError> {
    // Another part of the program may have installed one already: any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .tcp_keepalive(Duration::from_secs(15))
            .tcp_nodelay(true)
            .pool_max_idle_per_host(IDLE)
            .redirect(reqwest::redirect::Policy::none());
        if addresses.are_here() { builder.no_proxy() } else { builder }
    };
    // A machine without any certificates can still talk plain HTTP; HTTPS will say that nothing is trusted.
    let client = builder().build().or_else(|_| builder().tls_certs_only([]).build());
    client.map_err(|error| ClientError::Setup(cause(&error)))
}

/// The innermost reason: what a user can do something about. Addresses are named by whoever says it.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    let mut inner = error.source();
    let mut text = None;
    while let Some(error) = inner {
        text = Some(error.to_string());
        inner = error.source();
    }
    text.unwrap_or_else(|| if error.is_timeout() { "it took too long".to_owned() } else { "it failed".to_owned() })
}
