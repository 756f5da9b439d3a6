//! What takes a while to be given back: never on the thread of a task.

use std::sync::Arc;

use slipway_process::Tasks;

/// Something that is given back in the background, however the work with it ends.
pub(super) struct Held<T: Send + Sync + 'static> {
    tasks: Tasks,
    thing: Option<Arc<T>>,
}

impl<T: Send + Sync + 'static> Held<T> {
    /// Holds something.
    pub(super) fn new(tasks: &Tasks, thing: Arc<T>) -> Self {
        Self { tasks: tasks.clone(), thing: Some(thing) }
    }

    /// The thing, to be used and given back.
    pub(super) fn get(&self) -> Arc<T> {
        Arc::clone(self.thing.as_ref().expect("it is taken last"))
    }

    /// The thing, when nobody else uses it any more.
    pub(super) fn take(mut self) -> Arc<T> {
        self.thing.take().expect("it is taken once")
    }
}

impl<T: Send + Sync + 'static> Drop for Held<T> {
    fn drop(&mut self) {
        if let Some(thing) = self.thing.take() {
            let tasks = self.tasks.clone();
            self.tasks.spawn(async move { tasks.blocking(move || drop(thing)).await });
        }
    }
}
