//! Our values as etcd's, and back.

use etcd_client::{
    Compare, CompareOp, GetOptions, GetResponse, KeyValue, PutOptions, ResponseHeader, Txn as EtcdTxn, TxnOp,
    TxnOpResponse, TxnResponse,
};

use crate::{Do, Entry, KvError, LeaseId, Outcome, Page, Range, Revision, Txn, When};

/// The key that a read begins with.
pub(super) fn start(range: &Range) -> Vec<u8> {
    match &range.after {
        Some(after) if *after >= range.prefix => {
            let mut start = after.clone().into_bytes();
            start.push(0);
            start
        }
        _ => first(&range.prefix),
    }
}

/// The first key that begins with `prefix`; etcd takes no empty key.
pub(super) fn first(prefix: &str) -> Vec<u8> {
    if prefix.is_empty() { vec![0] } else { prefix.as_bytes().to_vec() }
}

pub(super) fn range(range: &Range) -> GetOptions {
    let mut options = GetOptions::new().with_limit(i64::try_from(range.limit).unwrap_or(0));
    if !range.exact {
        options = options.with_range(end(&range.prefix));
    }
    match range.at {
        Some(at) => options.with_revision(at.0),
        None => options,
    }
}

/// The first key after all that begin with `prefix`; a zero byte when there is none.
pub(super) fn end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

pub(super) fn page(mut response: GetResponse) -> Result<Page, KvError> {
    let revision = revision(response.header());
    let store = response.header().map(ResponseHeader::cluster_id).unwrap_or_default();
    let more = response.more();
    let entries: Result<Vec<Entry>, KvError> = response.take_kvs().iter().map(entry).collect();
    Ok(Page { entries: entries?, revision, more, store })
}

pub(super) fn entry(found: &KeyValue) -> Result<Entry, KvError> {
    Ok(Entry {
        key: key(found)?,
        value: found.value().to_vec(),
        created: Revision(found.create_revision()),
        modified: Revision(found.mod_revision()),
        lease: Some(LeaseId(found.lease())).filter(|lease| lease.0 != 0),
    })
}

pub(super) fn key(found: &KeyValue) -> Result<String, KvError> {
    let text = found.key_str().map(str::to_owned);
    text.map_err(|_| KvError::Invalid("etcd has a key that is no text under our prefix; it is not ours".to_owned()))
}

pub(super) fn revision(header: Option<&ResponseHeader>) -> Revision {
    Revision(header.map(ResponseHeader::revision).unwrap_or_default())
}

/// A call of several parts is a transaction of transactions: one proposal.
pub(super) fn txn(parts: &[Txn]) -> EtcdTxn {
    match parts {
        [one] => flat(one),
        parts => EtcdTxn::new().and_then(parts.iter().map(|part| TxnOp::txn(flat(part))).collect::<Vec<_>>()),
    }
}

fn flat(txn: &Txn) -> EtcdTxn {
    let when = txn.when.iter().map(|when| match when {
        When::Absent(key) => Compare::create_revision(key.as_str(), CompareOp::Equal, 0),
        When::CreatedAt(key, at) => Compare::create_revision(key.as_str(), CompareOp::Equal, at.0),
        When::ModifiedAt(key, at) => Compare::mod_revision(key.as_str(), CompareOp::Equal, at.0),
    });
    let then = txn.then.iter().map(|done| match done {
        Do::Put(key, value, lease) => {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
            TxnOp::put(key.as_str(), value.clone(), options)
        }
        Do::Delete(key) => TxnOp::delete(key.as_str(), None),
    });
    EtcdTxn::new().when(when.collect::<Vec<_>>()).and_then(then.collect::<Vec<_>>())
}

pub(super) fn outcomes(response: &TxnResponse, parts: usize) -> Result<Vec<Outcome>, KvError> {
    let revision = revision(response.header());
    let outcome = |done: bool| if done { Outcome::Done(revision) } else { Outcome::Refused };
    if parts == 1 {
        return Ok(vec![outcome(response.succeeded())]);
    }
    let outcomes: Vec<Outcome> = response
        .op_responses()
        .iter()
        .filter_map(|part| match part {
            TxnOpResponse::Txn(part) => Some(outcome(part.succeeded())),
            _ => None,
        })
        .collect();
    match outcomes.len() == parts {
        true => Ok(outcomes),
        false => Err(KvError::Unknown(format!("etcd answered {parts} transactions with {}", outcomes.len()))),
    }
}
