//! How much a run may take, and the meter that counts it.

/// What a run of templates may take at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the text of one template file, and of one text given to a running parse.
    pub source_bytes: usize,
    /// Bytes of output.
    pub output_bytes: usize,
    /// Steps: actions executed, commands evaluated, items walked.
    pub steps: u64,
    /// Templates executing within templates.
    pub depth: usize,
    /// Bytes of all values that functions make during the run.
    pub memory_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { source_bytes: 16 << 20, output_bytes: 64 << 20, steps: 50_000_000, depth: 1000, memory_bytes: 1 << 30 }
    }
}

/// The limit that a run reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// The text of a template is too long.
    #[error("the template is longer than the limit of {0} bytes")]
    Source(usize),
    /// The output is too long.
    #[error("the output is longer than the limit of {0} bytes")]
    Output(usize),
    /// The run takes too long.
    #[error("the run takes more than the limit of {0} steps; does a template repeat itself without end?")]
    Steps(u64),
    /// Templates call one another too deep.
    #[error("templates are executing within templates deeper than the limit of {0} levels; does one call itself?")]
    Depth(usize),
    /// Actions, parentheses and values are nested too deep.
    #[error("nested deeper than the limit of {0} levels")]
    Nesting(usize),
    /// Values take too much memory.
    #[error("the values made during the run take more than the limit of {0} bytes")]
    Memory(usize),
    /// The system refused the memory for the run's stack.
    #[error("no memory for the stack of the run: {0} bytes were asked for")]
    Stack(usize),
}

/// Counts what a run takes.
#[derive(Debug)]
pub struct Meter {
    limits: Limits,
    steps: u64,
    memory: usize,
}

impl Meter {
    /// A meter at zero.
    pub fn new(limits: Limits) -> Meter {
        Meter { limits, steps: 0, memory: 0 }
    }

    /// The limits it watches.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Counts steps.
    pub fn step(&mut self, steps: u64) -> Result<(), LimitError> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > self.limits.steps { Err(LimitError::Steps(self.limits.steps)) } else { Ok(()) }
    }

    /// Counts bytes of values.
    pub fn charge(&mut self, bytes: usize) -> Result<(), LimitError> {
        self.memory = self.memory.saturating_add(bytes);
        if self.memory > self.limits.memory_bytes { Err(LimitError::Memory(self.limits.memory_bytes)) } else { Ok(()) }
    }
}
