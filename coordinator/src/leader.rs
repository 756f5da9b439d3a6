//! Who leads: the process that has made the key `coordinator/leader`, which hangs on its lease.
//!
//! The revision at which the key came to be is the *term*. Everything that a leader writes is written under the
//! condition that the key is still the one of its term, so that one that has lost its lease without knowing writes
//! nothing.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use slipway_kv::{Do, Kv, KvError, LeaseId, Outcome, Revision, Session, Txn, Watched, When};
use slipway_process::random_id;
use tokio_util::sync::CancellationToken;

const KEY: &str = "coordinator/leader";
/// Pause before an absent store is asked again.
const PAUSE: Duration = Duration::from_millis(300);

/// What the key says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Sign {
    /// Unlike that of any other candidacy.
    id: String,
    /// Where the leader is called.
    url: Option<String>,
}

/// What a candidate hears while it waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum News {
    /// Another coordinator leads, there.
    Led(Option<String>),
    /// The store does not answer: nobody knows who leads.
    Away(String),
}

/// A candidate for leadership.
pub(crate) struct Candidate {
    kv: Arc<dyn Kv>,
    url: Option<String>,
    ttl: Duration,
}

/// Leadership, until it is lost.
pub(crate) struct Leadership {
    session: Session,
    term: Revision,
}

impl Candidate {
    /// A candidate that is called at `url`. It is followed by another `ttl` after it was last heard.
    pub(crate) fn new(kv: Arc<dyn Kv>, url: Option<String>, ttl: Duration) -> Self {
        Self { kv, url, ttl }
    }

    /// Waits until it leads.
    pub(crate) async fn win(&self, mut tell: impl FnMut(News)) -> Leadership {
        loop {
            match self.attempt(&mut tell).await {
                Ok(Some(leadership)) => return leadership,
                Ok(None) => {}
                Err(error) => {
                    tell(News::Away(error.to_string()));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Waits until nobody leads, and tries to; `None` when somebody else was faster.
    async fn attempt(&self, tell: &mut impl FnMut(News)) -> Result<Option<Leadership>, KvError> {
        let mut leader = Watched::open(Arc::clone(&self.kv), KEY).await?;
        let mut told = None;
        while let Some(entry) = leader.state().get(KEY) {
            if told.replace(entry.created) != Some(entry.created) {
                let sign = serde_json::from_slice::<Sign>(&entry.value).ok();
                tell(News::Led(sign.and_then(|sign| sign.url)));
            }
            // A store that hangs is as silent as one where nothing happens; one that is asked tells them apart.
            match tokio::time::timeout(self.ttl, leader.next()).await {
                Ok(changes) => drop(changes?),
                Err(_) => drop(slipway_kv::get(&*self.kv, KEY).await?),
            }
        }
        self.claim().await
    }

    async fn claim(&self) -> Result<Option<Leadership>, KvError> {
        let session = Session::open(Arc::clone(&self.kv), self.ttl).await?;
        let sign = Sign { id: random_id(), url: self.url.clone() };
        let value = serde_json::to_vec(&sign).expect("a sign is plain text");
        let put = Do::Put(KEY.to_owned(), value, Some(session.lease()));
        let txn = Txn { when: vec![When::Absent(KEY.to_owned())], then: vec![put] };
        let term = match slipway_kv::once(&*self.kv, txn).await {
            Ok(Outcome::Done(term)) => Ok(Some(term)),
            Ok(Outcome::Refused) => Ok(None),
            Err(KvError::Unknown(_)) => self.read_back(&sign).await,
            Err(error) => Err(error),
        };
        match term {
            Ok(Some(term)) => Ok(Some(Leadership { session, term })),
            other => {
                // Without it the key could yet appear, late, for nobody.
                let _ = session.close().await;
                other.map(|_| None)
            }
        }
    }

    /// Whether the key is ours although nobody said so.
    async fn read_back(&self, sign: &Sign) -> Result<Option<Revision>, KvError> {
        let entry = slipway_kv::get(&*self.kv, KEY).await?;
        let ours = |entry: &slipway_kv::Entry| serde_json::from_slice::<Sign>(&entry.value).ok().as_ref() == Some(sign);
        Ok(entry.filter(ours).map(|entry| entry.created))
    }
}

impl Leadership {
    /// Its term: greater than that of any leader before.
    pub(crate) fn term(&self) -> u64 {
        u64::try_from(self.term.0).unwrap_or(0)
    }

    /// What must hold for a leader of this term to write.
    pub(crate) fn fence(&self) -> Vec<When> {
        vec![When::CreatedAt(KEY.to_owned(), self.term)]
    }

    /// Ends with the leadership, and what hangs on it too.
    pub(crate) fn lease(&self) -> LeaseId {
        self.session.lease()
    }

    /// Cancelled when the leadership is lost or may be.
    pub(crate) fn lost(&self) -> CancellationToken {
        self.session.lost()
    }

    /// Gives it up at once, for another to take.
    pub(crate) async fn resign(self) {
        if let Err(error) = self.session.close().await {
            tracing::debug!("leadership ends with its time: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use slipway_kv::{Fault, Faulty, MemoryKv};
    use tokio::sync::mpsc;

    use super::*;

    fn candidate(kv: &Arc<dyn Kv>, url: &str) -> Candidate {
        Candidate::new(Arc::clone(kv), Some(url.to_owned()), Duration::from_secs(5))
    }

    #[tokio::test]
    async fn one_leads_and_the_other_follows_when_it_ends() {
        let kv: Arc<dyn Kv> = Arc::new(MemoryKv::default());
        let first = candidate(&kv, "http://one").win(|_| {}).await;
        let (heard, mut news) = mpsc::unbounded_channel();
        let second = candidate(&kv, "http://two");
        let tasks = slipway_process::Tasks::new();
        let waiting = tasks.spawn(async move { second.win(move |news| drop(heard.send(news))).await });
        assert_eq!(news.recv().await, Some(News::Led(Some("http://one".to_owned()))));
        let put = |leader: &Leadership| Txn { when: leader.fence(), then: vec![Do::put("x", "y")] };
        let (early, term) = (put(&first), first.term());
        assert!(matches!(slipway_kv::once(&*kv, early.clone()).await, Ok(Outcome::Done(_))));
        first.resign().await;
        let second = waiting.await.ok().flatten().expect("it wins");
        assert!(second.term() > term);
        assert_eq!(slipway_kv::once(&*kv, early).await, Ok(Outcome::Refused), "the fence of the first holds it off");
        assert!(matches!(slipway_kv::once(&*kv, put(&second)).await, Ok(Outcome::Done(_))));
    }

    #[tokio::test]
    async fn one_that_waits_notices_that_the_store_answers_no_more() {
        let kv: Arc<dyn Kv> = Arc::new(MemoryKv::default());
        let _first = candidate(&kv, "http://one").win(|_| {}).await;
        let away = Arc::new(AtomicBool::new(false));
        let (is_away, led) = (Arc::clone(&away), News::Led(Some("http://one".to_owned())));
        // What the store tells by itself still comes: nothing does.
        let plan = move |_: &[Txn]| is_away.load(Ordering::Acquire).then_some(Fault::Away);
        let faulty: Arc<dyn Kv> = Arc::new(Faulty::new(kv, Box::new(plan)));
        let (heard, mut news) = mpsc::unbounded_channel();
        let second = Candidate::new(faulty, None, Duration::from_millis(20));
        let tasks = slipway_process::Tasks::new();
        let _waiting = tasks.spawn(async move { second.win(move |news| drop(heard.send(news))).await.term() });
        assert_eq!(news.recv().await.as_ref(), Some(&led));
        away.store(true, Ordering::Release);
        while news.recv().await.expect("it still waits") == led {}
        away.store(false, Ordering::Release);
        while news.recv().await.expect("it still waits") != led {}
        tasks.shut_down().await;
    }
}
