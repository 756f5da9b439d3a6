//! One flag.

pub(crate) use super::command::{
    BUILD, BUILDERS, CALLERS, CLEANING, CLUSTER, COMPOSE, CommandName, EVERY, HOMES, HOST, KEEPERS, LISTS,
    MANAGED_IMAGES, PROJECT, REGISTRIES, REGISTRY, REPOSITORY, SERVERS, STAGES, USERS, WORKING, joined,
};

/// What a value looks like, and how values of several sources come together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Yes or no.
    Switch,
    /// Any text.
    Text,
    /// A whole number.
    Number,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any number of texts, one per flag or variable; sources add up.
    List,
    /// Any number of texts, several flags or separated by commas; the strongest source wins.
    Words,
}

/// The variable of werf that stands for a flag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Werf {
    /// werf has no such flag.
    Absent,
    /// `WERF_` and the flag's name.
    Derived,
    /// A name of its own.
    Named(&'static str),
}

/// What becomes of a flag that was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Support {
    /// It is obeyed.
    Here,
    /// It is an error: what it asks for does not exist yet.
    NotYet,
    /// It is accepted and changes nothing: what it would steer does not happen in this command.
    Unneeded,
    /// It is obeyed, with a warning: this is its new spelling.
    Renamed(&'static str),
}

/// One flag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flag {
    /// Long name, without dashes.
    pub(crate) name: &'static str,
    /// One-letter name.
    pub(crate) short: Option<char>,
    /// Further long names.
    pub(crate) aliases: &'static [&'static str],
    /// What a value looks like.
    pub(crate) kind: Kind,
    /// What the help calls the value.
    pub(crate) value_name: &'static str,
    /// The value when nothing is given; `None` = none (off, for a switch).
    pub(crate) default: Option<&'static str>,
    /// The variable of werf.
    pub(crate) werf: Werf,
    /// A variable of other programs that is asked last.
    pub(crate) foreign: Option<&'static str>,
    /// Help text.
    pub(crate) help: &'static str,
    /// Which commands have it.
    pub(crate) commands: &'static [CommandName],
    /// What becomes of it.
    pub(crate) support: Support,
    /// Whether its value must never be shown.
    pub(crate) secret: bool,
}

impl Flag {
    const fn new(name: &'static str, kind: Kind, value_name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            short: None,
            aliases: &[],
            kind,
            value_name,
            default: None,
            werf: Werf::Derived,
            foreign: None,
            help,
            commands: BUILD,
            support: Support::Here,
            secret: false,
        }
    }

    /// A flag that is on or off.
    pub(crate) const fn switch(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Switch, "BOOL", help)
    }

    /// A flag with any text as its value.
    pub(crate) const fn text(name: &'static str, value_name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Text, value_name, help)
    }

    /// A flag with a whole number as its value.
    pub(crate) const fn number(name: &'static str, value_name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Number, value_name, help)
    }

    /// A flag with one of `words` as its value.
    pub(crate) const fn choice(name: &'static str, words: &'static [&'static str], help: &'static str) -> Self {
        Self::new(name, Kind::Choice(words), "WORD", help)
    }

    /// A flag that may be given several times, in addition to variables.
    pub(crate) const fn list(name: &'static str, value_name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::List, value_name, help)
    }

    /// A flag whose value is one or several words separated by commas.
    pub(crate) const fn words(name: &'static str, value_name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Words, value_name, help)
    }

    /// Gives it a one-letter name.
    pub(crate) const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    /// Gives it further long names.
    pub(crate) const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Gives it a default.
    pub(crate) const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// Says which variable of werf stands for it.
    pub(crate) const fn werf(mut self, werf: Werf) -> Self {
        self.werf = werf;
        self
    }

    /// Lets a variable of other programs stand for it.
    pub(crate) const fn foreign(mut self, variable: &'static str) -> Self {
        self.foreign = Some(variable);
        self
    }

    /// Says which commands have it; `build` and `plan` when nothing is said.
    pub(crate) const fn on(mut self, commands: &'static [CommandName]) -> Self {
        self.commands = commands;
        self
    }

    /// Says what becomes of it.
    pub(crate) const fn support(mut self, support: Support) -> Self {
        self.support = support;
        self
    }

    /// Keeps its value out of everything that is shown.
    pub(crate) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Its variable of Slipway.
    pub(crate) fn slipway_variable(&self) -> String {
        format!("SLIPWAY_{}", upper(self.name))
    }

    /// Its variable of werf, if there is one.
    pub(crate) fn werf_variable(&self) -> Option<String> {
        match self.werf {
            Werf::Absent => None,
            Werf::Derived => Some(format!("WERF_{}", upper(self.name))),
            Werf::Named(name) => Some(name.to_owned()),
        }
    }

    /// Its variables, the strongest first.
    pub(crate) fn variables(&self) -> Vec<String> {
        let foreign = self.foreign.map(str::to_owned);
        std::iter::once(self.slipway_variable()).chain(self.werf_variable()).chain(foreign).collect()
    }

    /// Whether a command has it.
    pub(crate) fn belongs_to(&self, command: CommandName) -> bool {
        self.commands.contains(&command)
    }
}

fn upper(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}
