//! What is said, and how it looks.

use super::{
    flag::{EVERY, Flag, PROJECT},
    resolve::Values,
};

pub(crate) const LOG_QUIET: Flag =
    Flag::switch("log-quiet", "Say nothing but warnings and errors").on(EVERY).aliases(&["quiet"]);
pub(crate) const LOG_VERBOSE: Flag =
    Flag::switch("log-verbose", "Say more: decisions, ignored variables").on(EVERY).aliases(&["verbose"]);
pub(crate) const LOG_DEBUG: Flag = Flag::switch("log-debug", "Say everything").on(EVERY).aliases(&["debug"]);
pub(crate) const LOG_PRETTY: Flag =
    Flag::switch("log-pretty", "Use icons and a progress display").default("true").on(EVERY);
pub(crate) const LOG_COLOR_MODE: Flag =
    Flag::choice("log-color-mode", &["auto", "on", "off"], "Colours; auto: on a terminal, unless NO_COLOR is set")
        .default("auto")
        .on(EVERY);
pub(crate) const LOG_TERMINAL_WIDTH: Flag =
    Flag::number("log-terminal-width", "COLUMNS", "Width of the progress display; that of the terminal by default")
        .on(EVERY);
pub(crate) const LOG_TIME: Flag = Flag::switch("log-time", "Put the time before every line").on(EVERY);
pub(crate) const LOG_TIME_FORMAT: Flag = Flag::text(
    "log-time-format",
    "FORMAT",
    "Form of the time: of strftime if it holds a %, of Go's time package otherwise",
)
.default("2006-01-02T15:04:05Z07:00")
.on(EVERY);
pub(crate) const LOG_PROJECT_DIR: Flag =
    Flag::switch("log-project-dir", "Say which project directory is used").on(PROJECT);

pub(super) const FLAGS: &[Flag] = &[
    LOG_QUIET,
    LOG_VERBOSE,
    LOG_DEBUG,
    LOG_PRETTY,
    LOG_COLOR_MODE,
    LOG_TERMINAL_WIDTH,
    LOG_TIME,
    LOG_TIME_FORMAT,
    LOG_PROJECT_DIR,
];

/// How much is said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Level {
    /// Warnings and errors.
    Quiet,
    /// What happens.
    Normal,
    /// Also why.
    Verbose,
    /// Everything.
    Debug,
}

/// When output has colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ColorMode {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// What is said, and how it looks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LogFlags {
    /// `--log-quiet`, `--log-verbose`, `--log-debug`; the most talkative one wins, but quiet wins over all.
    pub(crate) level: Level,
    /// `--log-pretty`
    pub(crate) pretty: bool,
    /// `--log-color-mode`
    pub(crate) color: ColorMode,
    /// `--log-terminal-width`, in columns; `None` = the terminal's.
    pub(crate) width: Option<u16>,
    /// `--log-time` with its format; `None` = no time.
    pub(crate) time: Option<String>,
    /// `--log-project-dir`
    pub(crate) project_dir: bool,
}

impl LogFlags {
    /// What the flags and variables say.
    pub(crate) fn from_values(values: &Values) -> Self {
        let switches = [(&LOG_QUIET, Level::Quiet), (&LOG_DEBUG, Level::Debug), (&LOG_VERBOSE, Level::Verbose)];
        let level =
            switches.into_iter().find(|(flag, _)| values.switch(flag)).map_or(Level::Normal, |(_, level)| level);
        let color = match values.text(&LOG_COLOR_MODE).as_deref() {
            Some("on") => ColorMode::On,
            Some("off") => ColorMode::Off,
            _ => ColorMode::Auto,
        };
        let width = values.number(&LOG_TERMINAL_WIDTH).and_then(|width| u16::try_from(width).ok());
        Self {
            level,
            pretty: values.switch(&LOG_PRETTY),
            color,
            width: width.filter(|width| *width > 0),
            time: values.text(&LOG_TIME_FORMAT).filter(|_| values.switch(&LOG_TIME)),
            project_dir: values.switch(&LOG_PROJECT_DIR),
        }
    }
}
