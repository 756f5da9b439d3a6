//! The store on etcd. The only place that names `etcd_client`.
//!
//! Calls go to one member at a time, with a short deadline; when it does not answer, the next is asked from then on. A
//! transaction that may have reached a member is not sent to another: its outcome is unknown.

mod convert;
mod failure;
mod member;
mod watching;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use etcd_client::{Client, Error};
use tokio::time::timeout;

use crate::{
    Changes, EtcdAddress, EtcdOptions, Granted, Kv, KvError, LeaseId, Outcome, Page, Prefixed, Range, Revision, Txn,
    check,
};
use failure::Failure;
use member::Member;

/// The largest message that is taken from etcd, in bytes: a page of the largest values.
const MAX_MESSAGE: usize = 64 << 20;

/// An etcd cluster. Clones share its connections.
#[derive(Clone)]
pub struct EtcdKv {
    members: Arc<[Member]>,
    current: Arc<AtomicUsize>,
    call_timeout: Duration,
    name: Arc<str>,
}

/// Whether a call that may have been carried out may be sent again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    Yes,
    No,
}

impl EtcdKv {
    /// The cluster at `address`, without its prefix. Connections are made when they are needed.
    ///
    /// # Errors
    /// When the options do not fit the address, or hold no certificates.
    pub fn new(address: &EtcdAddress, options: &EtcdOptions) -> Result<Self, KvError> {
        options.check(address).map_err(KvError::Invalid)?;
        let members: Vec<Member> =
            address.members().iter().map(|member| Member::new(address, member, options)).collect();
        Ok(Self {
            members: members.into(),
            current: Arc::default(),
            call_timeout: options.call_timeout,
            name: address.members().join(",").into(),
        })
    }

    /// The store at `address`, under its prefix, after it has answered once.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn open(address: &EtcdAddress, options: &EtcdOptions) -> Result<Arc<dyn Kv>, KvError> {
        let kv: Arc<dyn Kv> = Arc::new(Self::new(address, options)?);
        let kv = if address.prefix().is_empty() { kv } else { Arc::new(Prefixed::new(kv, address.prefix())) };
        kv.range(&Range::key("slipway")).await?;
        Ok(kv)
    }

    /// Asks the current member, and the others when it does not answer.
    async fn call<T, F>(&self, again: Again, what: &str, run: impl Fn(Client) -> F) -> Result<T, KvError>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let mut last = String::new();
        // Once more than there are members: a connection may only have been stale.
        for _ in 0..=self.members.len() {
            let number = self.current.load(Ordering::Relaxed) % self.members.len();
            let member = &self.members[number];
            match self.call_one(member, &run).await {
                Ok(result) => return Ok(result),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Unsent(why)) => last = why,
                Err(Failure::Away(why)) if again == Again::Yes => last = why,
                Err(Failure::Away(why)) => {
                    self.leave(number);
                    return Err(KvError::Unknown(self.said(what, &why)));
                }
            }
            self.leave(number);
        }
        Err(KvError::Unavailable(self.said(what, &last)))
    }

    async fn call_one<T, F>(&self, member: &Member, run: &impl Fn(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let client = member.client(self.call_timeout).await?;
        match timeout(self.call_timeout, run(client)).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) => Err(Failure::of(&error)),
            Err(_) => Err(Failure::Away(format!("no answer within {} ms", self.call_timeout.as_millis()))),
        }
    }

    /// Asks another member from now on, unless somebody has moved on already.
    fn leave(&self, number: usize) {
        let next = (number + 1) % self.members.len();
        let _ = self.current.compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn said(&self, what: &str, why: &str) -> String {
        format!("{what} etcd at {}: {why}", self.name)
    }
}

#[async_trait]
impl Kv for EtcdKv {
    async fn range(&self, range: &Range) -> Result<Page, KvError> {
        let response = self.call(Again::Yes, "read", |client| async move {
            let mut kv = client.kv_client().max_decoding_message_size(MAX_MESSAGE);
            kv.get(convert::start(range), Some(convert::range(range))).await
        });
        convert::page(response.await?)
    }

    async fn txn(&self, parts: &[Txn]) -> Result<Vec<Outcome>, KvError> {
        check(parts)?;
        let request = convert::txn(parts);
        let response = self.call(Again::No, "write to", |client| {
            let request = request.clone();
            async move { client.kv_client().txn(request).await }
        });
        convert::outcomes(&response.await?, parts.len())
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, KvError> {
        let stream = self.call(Again::Yes, "watch", |client| watching::begin(client, prefix, after));
        Ok(watching::changes(stream.await?))
    }

    async fn grant(&self, ttl: Duration) -> Result<Granted, KvError> {
        let seconds =
            i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).saturating_add(i64::from(ttl.subsec_nanos() > 0));
        let granted = self.call(Again::Yes, "take a lease of", |client| async move {
            client.lease_client().grant(seconds.max(1), None).await
        });
        let granted = granted.await?;
        Ok(Granted { lease: LeaseId(granted.id()), ttl: seconds_of(granted.ttl()) })
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration, KvError> {
        let ttl = self.call(Again::Yes, "renew a lease of", |client| async move {
            // The first answer is kept by the library; the second says how long.
            let (mut keeper, mut answers) = client.lease_client().keep_alive(lease.0).await?;
            keeper.keep_alive().await?;
            Ok(answers.message().await?.map_or(0, |answer| answer.ttl()))
        });
        match ttl.await? {
            ttl if ttl > 0 => Ok(seconds_of(ttl)),
            _ => Err(KvError::LeaseGone),
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), KvError> {
        let revoked = self
            .call(Again::Yes, "end a lease of", |client| async move { client.lease_client().revoke(lease.0).await });
        match revoked.await {
            Ok(_) | Err(KvError::LeaseGone) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn seconds_of(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}
