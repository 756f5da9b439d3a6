//! How a coordinator is set up.

use std::time::Duration;

use super::{
    flag::{CommandName, Flag, Werf},
    resolve::{FlagError, Values},
    service::{DATA_DIR, seconds},
};

const ONLY: &[CommandName] = &[CommandName::Coordinator];

const fn own(flag: Flag) -> Flag {
    flag.on(ONLY).werf(Werf::Absent)
}

pub(crate) const LISTEN: Flag =
    own(Flag::text("listen", "ADDRESS", "Address and port to listen at, such as 0.0.0.0:8470")
        .default("127.0.0.1:8470"));
pub(crate) const ADVERTISE: Flag = own(Flag::text(
    "advertise",
    "URL",
    "Where clients and workers are told to call this coordinator when it leads; made of --listen by default",
));
pub(crate) const ETCD: Flag = own(Flag::words(
    "etcd",
    "URL",
    "Members of the etcd that all coordinators of the cluster share; `memory`: nothing outlives the process, on loopback only",
));
pub(crate) const ETCD_PREFIX: Flag =
    own(Flag::text("etcd-prefix", "PREFIX", "What all keys of the cluster begin with, when several share an etcd"));
pub(crate) const TOKENS_FILE: Flag = own(Flag::text(
    "tokens-file",
    "FILE",
    "Who may call: lines ROLE:NAME:SHA256, where ROLE is submit, worker, cleanup or admin; read again when it changes",
));
pub(crate) const NO_AUTH: Flag =
    Flag::switch("no-auth", "Let everybody call; only when the address is of loopback").on(ONLY).werf(Werf::Absent);
pub(crate) const TLS_CERT: Flag = own(Flag::text("tls-cert", "FILE", "Certificate chain, as PEM; needs --tls-key"));
pub(crate) const TLS_KEY: Flag = own(Flag::text("tls-key", "FILE", "Key of the certificate, as PEM"));

pub(crate) const JOB_QUIET: Flag = own(Flag::number(
    "job-quiet",
    "SECONDS",
    "How long a job may show no sign of progress before it is stopped and tried elsewhere; 0: for ever",
)
.default("600"));
pub(crate) const JOB_DEADLINE: Flag = own(Flag::number(
    "job-deadline",
    "SECONDS",
    "How long an attempt at a job may run before it is stopped and the job fails; 0: for ever",
)
.default("21600"));

pub(super) const FLAGS: &[Flag] =
    &[LISTEN, ADVERTISE, ETCD, ETCD_PREFIX, TOKENS_FILE, NO_AUTH, TLS_CERT, TLS_KEY, JOB_QUIET, JOB_DEADLINE];

/// How a coordinator is set up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CoordinatorFlags {
    /// `--listen`
    pub(crate) listen: String,
    /// `--advertise`
    pub(crate) advertise: Option<String>,
    /// `--etcd`
    pub(crate) etcd: Vec<String>,
    /// `--etcd-prefix`
    pub(crate) etcd_prefix: Option<String>,
    /// `--data-dir`
    pub(crate) data_dir: Option<String>,
    /// `--tokens-file`
    pub(crate) tokens_file: Option<String>,
    /// `--no-auth`
    pub(crate) no_auth: bool,
    /// `--tls-cert` and `--tls-key`
    pub(crate) tls: (Option<String>, Option<String>),
    /// `--job-quiet`; `None` = for ever.
    pub(crate) job_quiet: Option<Duration>,
    /// `--job-deadline`; `None` = for ever.
    pub(crate) job_deadline: Option<Duration>,
}

impl CoordinatorFlags {
    /// What the flags and variables say.
    ///
    /// # Errors
    /// When a value is out of its range.
    pub(crate) fn from_values(values: &Values) -> Result<Self, FlagError> {
        let limit = |flag| Ok::<_, FlagError>(Some(seconds(values, flag, 0)?).filter(|limit| !limit.is_zero()));
        Ok(Self {
            listen: values.text(&LISTEN).unwrap_or_default(),
            advertise: values.text(&ADVERTISE),
            etcd: values.list(&ETCD),
            etcd_prefix: values.text(&ETCD_PREFIX),
            data_dir: values.text(&DATA_DIR),
            tokens_file: values.text(&TOKENS_FILE),
            no_auth: values.switch(&NO_AUTH),
            tls: (values.text(&TLS_CERT), values.text(&TLS_KEY)),
            job_quiet: limit(&JOB_QUIET)?,
            job_deadline: limit(&JOB_DEADLINE)?,
        })
    }
}
