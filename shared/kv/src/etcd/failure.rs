//! What a failed call means.

use etcd_client::Error;

use crate::KvError;

/// Why a call did not succeed.
pub(super) enum Failure {
    /// Asking another member changes nothing.
    Final(KvError),
    /// It surely did not reach the member.
    Unsent(String),
    /// The member did not answer; it may have carried it out.
    Away(String),
}

/// gRPC's numbers of what can be wrong with a call.
mod code {
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const FAILED_PRECONDITION: i32 = 9;
    pub(super) const OUT_OF_RANGE: i32 = 11;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

impl Failure {
    pub(super) fn of(error: &Error) -> Self {
        let status = match error {
            Error::GRpcStatus(status) => status,
            Error::LeaseKeepAliveError(why) if why == "lease not found" => return Self::Final(KvError::LeaseGone),
            Error::InvalidArgs(why) => return Self::Final(KvError::Invalid(why.clone())),
            other => return Self::Away(other.to_string()),
        };
        let said = status.message().to_owned();
        match status.code() as i32 {
            code::OUT_OF_RANGE if said.contains("compacted") => Self::Final(KvError::Compacted),
            code::NOT_FOUND if said.contains("lease") => Self::Final(KvError::LeaseGone),
            code::PERMISSION_DENIED | code::UNAUTHENTICATED => Self::Final(denied(&said)),
            code::FAILED_PRECONDITION if said.contains("auth") => Self::Final(denied(&said)),
            code::INVALID_ARGUMENT if said.contains("authentication failed") || said.contains("user name is empty") => {
                Self::Final(denied(&said))
            }
            code::INVALID_ARGUMENT | code::OUT_OF_RANGE => Self::Final(KvError::Invalid(format!("etcd: {said}"))),
            // The quota of the database: nothing is written until the operator makes room.
            code::RESOURCE_EXHAUSTED if said.contains("space") => Self::Final(KvError::Unavailable(format!(
                "etcd: {said}; compact and defragment it, disarm the alarm, or raise its quota"
            ))),
            _ if was_refused(status) => Self::Unsent(said),
            _ => Self::Away(said),
        }
    }

    /// A call that failed while the connection was being made, before it was sent.
    pub(super) fn of_connecting(error: &Error) -> Self {
        match Self::of(error) {
            Self::Away(why) => Self::Unsent(why),
            other => other,
        }
    }
}

fn denied(said: &str) -> KvError {
    KvError::Denied(format!(
        "etcd refuses: {said}; check SLIPWAY_ETCD_USER, its password and its role, which must grant reading and \
         writing of our prefix"
    ))
}

/// Whether there was nobody to send it to.
fn was_refused(status: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}
