//! Reading more than a page, and writing a single transaction.

use crate::{Entry, Kv, KvError, Outcome, Range, Revision, Txn};

/// Entries of one page.
const PAGE: usize = 1000;
/// How often a listing begins anew because its revision was forgotten under way.
const MAX_RESTARTS: u32 = 3;

/// All entries under `prefix` as of one revision, read page by page.
///
/// # Errors
/// As [`Kv::range`] has them.
pub async fn list(kv: &dyn Kv, prefix: &str) -> Result<(Vec<Entry>, Revision), KvError> {
    let mut restarts = 0;
    loop {
        match list_once(kv, prefix).await {
            Err(KvError::Compacted) if restarts < MAX_RESTARTS => restarts += 1,
            other => return other,
        }
    }
}

async fn list_once(kv: &dyn Kv, prefix: &str) -> Result<(Vec<Entry>, Revision), KvError> {
    let mut range = Range { limit: PAGE, ..Range::under(prefix) };
    let mut entries = Vec::new();
    loop {
        let page = kv.range(&range).await?;
        let revision = range.at.unwrap_or(page.revision);
        entries.extend(page.entries);
        match entries.last() {
            Some(last) if page.more => range.after = Some(last.key.clone()),
            _ => return Ok((entries, revision)),
        }
        range.at = Some(revision);
    }
}

/// One key.
///
/// # Errors
/// As [`Kv::range`] has them.
pub async fn get(kv: &dyn Kv, key: &str) -> Result<Option<Entry>, KvError> {
    Ok(kv.range(&Range::key(key)).await?.entries.pop())
}

/// One transaction.
///
/// # Errors
/// As [`Kv::txn`] has them.
pub async fn once(kv: &dyn Kv, txn: Txn) -> Result<Outcome, KvError> {
    let outcomes = kv.txn(&[txn]).await?;
    outcomes
        .first()
        .copied()
        .ok_or_else(|| KvError::Unknown("the store answered a transaction with nothing".to_owned()))
}
