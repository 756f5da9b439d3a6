//! Where things are kept between runs.

use std::path::PathBuf;

use anyhow::anyhow;
use slipway_process::Environment;

use crate::failure::Failure;

/// The directory for everything kept on this host: the one that a flag gives, or one of the user's data.
///
/// # Errors
/// When there is neither a flag nor a home.
pub(crate) fn directory(given: Option<&str>, environment: &Environment) -> Result<PathBuf, Failure> {
    let absolute = |name: &str| environment.non_empty(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(given) = given {
        // Other programs are told of files below it: it must not depend on where they run.
        return std::path::absolute(given)
            .map_err(|error| Failure::usage(anyhow!("use the directory {given}: {error}")));
    }
    let data = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    let missing = || Failure::usage(anyhow!("there is no place to keep things: set HOME, or give a directory"));
    data.map(|data| data.join("slipway")).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_xdg_over_home() {
        let place = |given: Option<&str>, variables: &[(&str, &str)]| {
            directory(given, &variables.iter().copied().collect()).map(|path| path.display().to_string()).ok()
        };
        let both = [("XDG_DATA_HOME", "/data"), ("HOME", "/home/me")];
        assert_eq!(place(Some("/given"), &both).as_deref(), Some("/given"));
        assert_eq!(place(None, &both).as_deref(), Some("/data/slipway"));
        assert_eq!(place(None, &both[1..]).as_deref(), Some("/home/me/.local/share/slipway"));
        assert_eq!(place(None, &[("XDG_DATA_HOME", "relative")]), None);
    }
}
