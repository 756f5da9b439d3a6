//! Watches.

use etcd_client::{Client, Error, Event, EventType, GetOptions, WatchOptions, WatchResponse, WatchStream};
use futures::{StreamExt as _, stream};

use super::{MAX_MESSAGE, convert, failure::Failure};
use crate::{Change, Changed, Changes, KvError, Revision};

/// Begins a watch. A read goes first: it renews an access token that has run out, which a watch does not.
pub(super) async fn begin(client: Client, prefix: &str, after: Revision) -> Result<WatchStream, Error> {
    let probe = GetOptions::new().with_limit(1).with_keys_only().with_range(convert::end(prefix));
    client.kv_client().get(convert::first(prefix), Some(probe)).await?;
    let options = WatchOptions::new().with_range(convert::end(prefix)).with_start_revision(after.0 + 1);
    client.watch_client().max_decoding_message_size(MAX_MESSAGE).watch(convert::first(prefix), Some(options)).await
}

/// The changes that a watch brings; it ends after an error.
pub(super) fn changes(watch: WatchStream) -> Changes {
    let changes = stream::unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        loop {
            let next = match watch.message().await {
                Ok(Some(response)) => changed(&response),
                Ok(None) => Err(KvError::Unavailable("watch etcd: the connection was closed".to_owned())),
                Err(error) => Err(failed(&error)),
            };
            match next {
                Ok(None) => {}
                Ok(Some(changed)) => return Some((Ok(changed), Some(watch))),
                Err(error) => return Some((Err(error), None)),
            }
        }
    });
    changes.boxed()
}

/// `None` for a message that tells of no change.
fn changed(response: &WatchResponse) -> Result<Option<Changed>, KvError> {
    if response.compact_revision() != 0 {
        return Err(KvError::Compacted);
    }
    if response.canceled() {
        let why = response.cancel_reason();
        return Err(match why.contains("permission denied") || why.contains("PermissionDenied") {
            true => {
                KvError::Denied(format!("watch etcd: {why}; the role of our user must grant reading of our prefix"))
            }
            false => KvError::Unavailable(format!("watch etcd: it was ended: {why}")),
        });
    }
    if response.events().is_empty() {
        return Ok(None);
    }
    let changes: Result<Vec<Change>, KvError> = response.events().iter().filter_map(change).collect();
    // The last event's revision, not the header's: messages may be split between revisions.
    let last = response.events().iter().filter_map(|event| Some(event.kv()?.mod_revision())).max();
    Ok(Some(Changed { revision: Revision(last.unwrap_or_default()), changes: changes? }))
}

fn change(event: &Event) -> Option<Result<Change, KvError>> {
    let kv = event.kv()?;
    Some(match event.event_type() {
        EventType::Put => convert::entry(kv).map(Change::Put),
        EventType::Delete => convert::key(kv).map(Change::Deleted),
    })
}

fn failed(error: &Error) -> KvError {
    match Failure::of(error) {
        Failure::Final(error) => error,
        Failure::Unsent(why) | Failure::Away(why) => KvError::Unavailable(format!("watch etcd: {why}")),
    }
}
