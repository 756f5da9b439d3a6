//! What the flags of a build say, checked before anything is read.

use anyhow::Context as _;
use slipway_client::{Client, Token};
use slipway_oci::Repo;
use slipway_protocol::{CustomTag, Requirements};
use slipway_stages::Place;

use crate::{
    commands::session::Session,
    failure::Failure,
    flags::{
        CommandName,
        backend::{ANSIBLE_PATH, BACKEND, BackendFlags, COMPRESSION, STAPEL_IMAGE_NAME, STAPEL_IMAGE_VERSION},
        building::{ADD_CUSTOM_TAG, BuildingFlags},
        capacity,
        capacity::{JOB_CPU, JOB_LABEL, JOB_MEMORY},
        cluster as cluster_flags,
        cluster::{COORDINATOR, DETACH},
        introspect::{
            FOLLOW, INTROSPECT_AFTER, INTROSPECT_BEFORE, INTROSPECT_BEFORE_ERROR, INTROSPECT_ERROR, INTROSPECT_STAGE,
            IntrospectFlags,
        },
        project::SSH_KEY,
        report::{ReportFlags, SAVE_BUILD_REPORT},
        storage::{REPO, SYNCHRONIZATION, StorageFlags},
    },
    report::ReportFile,
    synchronization::Synchronization,
};

/// What the flags say, checked before anything is read.
pub(super) struct Flags {
    pub(super) building: BuildingFlags,
    pub(super) backend: BackendFlags,
    pub(super) storage: StorageFlags,
    pub(super) repo: Option<Repo>,
    pub(super) synchronization: Synchronization,
    /// For the coordinator by which builds agree.
    pub(super) token: Option<Token>,
    pub(super) report: Option<ReportFile>,
    /// The cluster that builds; `None` = this process does.
    pub(super) cluster: Option<Client>,
    /// What its jobs need of a worker of the cluster.
    pub(super) requires: Requirements,
    pub(super) detach: bool,
    pub(super) introspect: IntrospectFlags,
    /// Further tags of its images; known when the configuration is.
    pub(super) custom_tags: Vec<CustomTag>,
}

impl Flags {
    /// Reads them.
    ///
    /// # Errors
    /// When a value is none, or some cannot go together.
    pub(super) fn new(session: &Session) -> Result<Self, Failure> {
        let storage = StorageFlags::from_values(&session.values).map_err(Failure::usage)?;
        let repo = storage.repo.as_deref().map(str::parse::<Repo>).transpose();
        let report = ReportFlags::from_values(&session.values).map_err(Failure::usage)?;
        let report = report.map(|report| ReportFile::new(&report, &session.here)).transpose();
        let world = &session.world;
        let cluster = cluster_flags::client(&session.values, &world.environment, &session.here, &world.clock);
        let cluster = cluster.map_err(Failure::usage)?;
        check_cluster(session, cluster.is_some(), storage.repo.is_some()).map_err(Failure::usage)?;
        let synchronization =
            Synchronization::new(&storage.synchronization, storage.repo.is_some(), &world.environment);
        let token = cluster_flags::token(&session.values, &world.environment, &session.here);
        let mut building = BuildingFlags::from_values(&session.values);
        // Only what is built already is asked for.
        building.require_built |= matches!(session.command, CommandName::StageImage | CommandName::StagesCopy);
        Ok(Self {
            synchronization: synchronization.map_err(Failure::usage)?,
            token: token.map_err(Failure::usage)?,
            cluster,
            requires: capacity::requirements(&session.values).map_err(Failure::usage)?,
            detach: session.values.switch(&DETACH),
            introspect: IntrospectFlags::from_values(&session.values).map_err(Failure::usage)?,
            building,
            backend: BackendFlags::from_values(&session.values).map_err(Failure::usage)?,
            repo: repo.context("--repo").map_err(Failure::usage)?,
            report: report.map_err(Failure::usage)?,
            storage,
            custom_tags: Vec::new(),
        })
    }

    /// Where this process looks for stages that the primary repository lacks.
    pub(super) fn places(&self) -> Vec<Place> {
        let local = self.repo.is_some().then_some(Place::Local);
        local.into_iter().chain(self.storage.others.sources()).collect()
    }
}

/// Refuses what cannot go together.
fn check_cluster(session: &Session, cluster: bool, repo: bool) -> anyhow::Result<()> {
    let values = &session.values;
    if cluster && !repo {
        let spelled = values.spelling(&COORDINATOR);
        anyhow::bail!("{spelled}: a cluster keeps stages in a repository: give one with --{}", REPO.name);
    }
    let others = [&SYNCHRONIZATION, &BACKEND, &STAPEL_IMAGE_NAME, &STAPEL_IMAGE_VERSION, &ANSIBLE_PATH, &COMPRESSION];
    if let Some(flag) = others.into_iter().find(|flag| cluster && values.is_given(flag)) {
        anyhow::bail!("{}: the cluster decides on it: leave it out", values.spelling(flag));
    }
    let alone = [&INTROSPECT_ERROR, &INTROSPECT_BEFORE_ERROR, &INTROSPECT_STAGE, &INTROSPECT_AFTER, &INTROSPECT_BEFORE];
    if let Some(flag) = alone.into_iter().find(|flag| cluster && values.is_given(flag)) {
        let spelled = values.spelling(flag);
        anyhow::bail!(
            "{spelled} opens a shell on your terminal, which workers of a cluster do not have: build without {}",
            values.spelling(&COORDINATOR)
        );
    }
    if values.switch(&DETACH) && values.is_given(&SSH_KEY) {
        let (detach, key) = (values.spelling(&DETACH), values.spelling(&SSH_KEY));
        anyhow::bail!(
            "{key} keeps keys in memory alone, and with {detach} nobody could send them again: leave one of them out"
        );
    }
    if values.is_given(&ADD_CUSTOM_TAG) && !repo {
        let spelled = values.spelling(&ADD_CUSTOM_TAG);
        anyhow::bail!("{spelled}: images are tagged in a repository: give one with --{}", REPO.name);
    }
    if values.switch(&FOLLOW) && values.switch(&DETACH) {
        let (follow, detach) = (values.spelling(&FOLLOW), values.spelling(&DETACH));
        anyhow::bail!("{follow} waits for the end of a build, and {detach} does not: leave one of them out");
    }
    let of_cluster = [&JOB_CPU, &JOB_MEMORY, &JOB_LABEL];
    if let Some(flag) = of_cluster.into_iter().find(|flag| !cluster && values.is_given(flag)) {
        let spelled = values.spelling(flag);
        anyhow::bail!("{spelled}: only a cluster has workers to choose from: give one with --coordinator");
    }
    if values.switch(&DETACH) && !cluster {
        anyhow::bail!("{}: only a cluster goes on by itself: give one with --coordinator", values.spelling(&DETACH));
    }
    if values.switch(&DETACH) && values.switch(&SAVE_BUILD_REPORT) {
        let (detach, report) = (values.spelling(&DETACH), values.spelling(&SAVE_BUILD_REPORT));
        anyhow::bail!("{detach} does not wait for what {report} is to hold: leave one of them out");
    }
    Ok(())
}
