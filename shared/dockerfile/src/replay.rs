//! What one instruction alone must know of those before it: for a builder that has only their images.

use crate::{DockerfileError, Head, Origin, Program, Variables, Written};

impl Program {
    /// How the lowest of the stages begins that the stage at a position stands on.
    ///
    /// # Errors
    /// As [`Program::head`].
    pub fn lowest(&self, stage: usize) -> Result<Head, DockerfileError> {
        let lowest = self.chain(stage)?.first().copied().unwrap_or(stage);
        self.head(lowest)
    }

    /// Whether the stage at a position has set `CMD` before its instruction `index`.
    ///
    /// # Errors
    /// As [`Program::triggers`].
    pub fn has_command(&self, stage: usize, index: usize) -> Result<bool, DockerfileError> {
        let postponed = self.postponed(stage)?;
        Ok(postponed.iter().chain(&self.steps(stage)[..index]).any(Written::sets_command))
    }

    /// Whether the stage at a position stands on no other.
    ///
    /// # Errors
    /// As [`Program::head`].
    pub fn is_lowest(&self, stage: usize) -> Result<bool, DockerfileError> {
        self.chain(stage).map(|chain| chain.len() == 1)
    }

    /// The variables in force before the instruction `index` of the stage at a position, or at its end (`None`); `variables` =
    /// those behind the `FROM` of the lowest stage. Arguments had their values when they were declared, so everything that sets
    /// a variable is done once more from there.
    ///
    /// # Errors
    /// As [`Program::expand`].
    pub fn replayed(
        &self,
        stage: usize,
        index: Option<usize>,
        mut variables: Variables,
    ) -> Result<Variables, DockerfileError> {
        for below in self.chain(stage)? {
            let own = self.steps(below);
            let own = &own[..index.filter(|_| below == stage).unwrap_or(own.len())];
            let postponed = self.postponed(below)?;
            for written in postponed.iter().chain(own).filter(|written| written.sets_variables()) {
                self.expand(written, &mut variables)?;
            }
        }
        Ok(variables)
    }

    /// The stages that a stage stands on, the lowest first, and itself.
    fn chain(&self, stage: usize) -> Result<Vec<usize>, DockerfileError> {
        let mut chain = vec![stage];
        while let Some(top) = chain.last()
            && let Origin::Stage(below) = self.head(*top)?.base
        {
            chain.push(below);
        }
        chain.reverse();
        Ok(chain)
    }

    /// What the stage below another, of this Dockerfile, has postponed for it.
    fn postponed(&self, stage: usize) -> Result<Vec<Written>, DockerfileError> {
        let Origin::Stage(below) = self.head(stage)?.base else { return Ok(Vec::new()) };
        let texts: Vec<String> =
            self.steps(below).iter().filter_map(|written| written.postpones().map(str::to_owned)).collect();
        self.triggers(stage, &texts)
    }
}
