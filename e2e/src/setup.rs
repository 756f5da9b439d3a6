//! A project beside a registry: what most scenarios begin with.

use anyhow::Result;

use crate::{Built, Part, Project, Registry, engine, require};

/// A project and the registry that its builds go to. Dropping it makes the engine forget the project's images.
pub struct Setup {
    /// Where stages are kept.
    pub registry: Registry,
    /// The project.
    pub project: Project,
}

impl Setup {
    /// A project with these documents, of which nothing is committed yet; `None`, said aloud, where a part is missing.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn new(name: &str, documents: &str) -> Result<Option<Self>> {
        let setup = Self::empty(name)?;
        if let Some(setup) = &setup {
            setup.project.config(documents)?;
        }
        Ok(setup)
    }

    /// The same, without a `werf.yaml`.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn empty(name: &str) -> Result<Option<Self>> {
        if !require(&[Part::Docker, Part::Registry, Part::Git]) {
            return Ok(None);
        }
        Ok(Some(Self { registry: Registry::start()?, project: Project::new(name)? }))
    }

    /// Where the project's stages are kept.
    pub fn repo(&self) -> String {
        self.registry.repo(self.project.name())
    }

    /// Commits everything and builds it.
    ///
    /// # Errors
    /// When the build fails.
    pub fn build(&self, message: &str) -> Result<Built> {
        self.project.commit(message)?;
        self.project.build(&["--repo", &self.repo()])
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        let _ = engine::forget_labelled(self.project.name());
    }
}
