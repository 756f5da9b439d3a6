//! Stages that are built when somebody wants them, beside each other.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use slipway_backend::BackendError;
use tokio::sync::{mpsc, watch};

/// The stages of a build and what came of them.
pub(super) struct Stages<T> {
    built: Vec<watch::Sender<Option<Arc<T>>>>,
    wanted: Mutex<BTreeSet<usize>>,
    wishes: mpsc::Sender<usize>,
    granted: tokio::sync::Mutex<mpsc::Receiver<usize>>,
}

impl<T> Stages<T> {
    /// So many stages, none of them begun.
    pub(super) fn new(count: usize) -> Self {
        let (wishes, granted) = mpsc::channel(count);
        let built = (0..count).map(|_| watch::Sender::new(None)).collect();
        Self { built, wanted: Mutex::default(), wishes, granted: tokio::sync::Mutex::new(granted) }
    }

    /// Has a stage begun.
    pub(super) fn want(&self, at: usize) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if at < self.built.len() && wanted.insert(at) {
            // Each is wished for once, so there is a place for it.
            let _ = self.wishes.try_send(at);
        }
    }

    /// Tells what came of a stage that was built before.
    pub(super) fn know(&self, at: usize, built: T) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(at);
        if let Some(stage) = self.built.get(at) {
            stage.send_replace(Some(Arc::new(built)));
        }
    }

    /// Waits until somebody wants a stage that nobody builds, and says which.
    pub(super) async fn lacking(&self) -> usize {
        match self.granted.lock().await.recv().await {
            Some(at) => at,
            // The stages hold both ends.
            None => std::future::pending().await,
        }
    }

    /// What came of a stage, once it is built. It never is when another fails: then nobody waits any more.
    pub(super) async fn get(&self, at: usize) -> Arc<T> {
        self.want(at);
        let mut built = self.built[at].subscribe();
        loop {
            if let Some(found) = built.borrow_and_update().as_ref() {
                return Arc::clone(found);
            }
            if built.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Builds a stage, and by `one` each that is wanted meanwhile. The first failure is that of all: the others are given up.
    pub(super) async fn run<F>(&self, target: usize, one: impl Fn(usize) -> F) -> Result<Arc<T>, BackendError>
    where
        F: Future<Output = Result<T, BackendError>>,
    {
        self.want(target);
        let mut granted = self.granted.lock().await;
        let mut running = FuturesUnordered::new();
        let one = |at: usize| {
            let stage = one(at);
            async move { (at, stage.await) }
        };
        loop {
            tokio::select! {
                biased;
                Some(at) = granted.recv() => running.push(one(at)),
                Some((at, ended)) = running.next() => {
                    let built = Arc::new(ended?);
                    self.built[at].send_replace(Some(Arc::clone(&built)));
                    if at == target {
                        return Ok(built);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_is_wanted_is_built_and_once() {
        let stages = Stages::new(5);
        let begun = Mutex::new(Vec::new());
        let one = |at: usize| {
            begun.lock().expect("a list").push(at);
            let stages = &stages;
            async move {
                Ok(match at {
                    4 => *stages.get(2).await + *stages.get(1).await,
                    2 => *stages.get(1).await * 10,
                    other => other,
                })
            }
        };
        assert_eq!(*stages.run(4, one).await.expect("a result"), 11);
        assert_eq!(*begun.lock().expect("a list"), [4, 2, 1]);
    }

    #[tokio::test]
    async fn a_failure_ends_all() {
        let stages = Stages::<()>::new(3);
        let one = |at: usize| {
            let stages = &stages;
            async move {
                match at {
                    2 => {
                        stages.want(1);
                        stages.get(0).await;
                        Ok(())
                    }
                    1 => std::future::pending().await,
                    _ => Err(BackendError::Refused("no".to_owned())),
                }
            }
        };
        assert!(matches!(stages.run(2, one).await, Err(BackendError::Refused(why)) if why == "no"));
    }
}
