//! Which cluster, and who asks it.

use std::{path::Path, sync::Arc};

use slipway_client::{Addresses, Client, Token};
use slipway_process::{Clock, Environment};

use super::{
    flag::{CALLERS, CLUSTER, CommandName, Flag, Werf},
    resolve::{FlagError, Values},
};

/// The variable that holds the token itself. There is no flag for it: command lines are seen by everybody on a host.
pub(crate) const TOKEN: &str = "SLIPWAY_TOKEN";
/// Longest file of a token, in bytes.
const LONGEST: u64 = 4096;

pub(crate) const COORDINATOR: Flag = Flag::words(
    "coordinator",
    "URL",
    "Coordinators of a cluster, which builds in place of this host; several are tried in turn",
)
.werf(Werf::Absent)
.on(CLUSTER);
pub(crate) const TOKEN_FILE: Flag =
    Flag::text("token-file", "FILE", "File with the token for the coordinator; the variable SLIPWAY_TOKEN by default")
        .werf(Werf::Absent)
        .on(CALLERS);
pub(crate) const DETACH: Flag =
    Flag::switch("detach", "Submit the build to the coordinator, print its name, and do not wait for it")
        .werf(Werf::Absent)
        .on(&[CommandName::Build]);
pub(crate) const FOLLOW: Flag =
    Flag::switch("follow", "Go on until the build is over").short('f').werf(Werf::Absent).on(&[CommandName::Logs]);

pub(super) const FLAGS: &[Flag] = &[COORDINATOR, TOKEN_FILE, DETACH, FOLLOW];

/// The coordinators that the flags and variables name; `None` = there is no cluster. Reads the token's file, relative to
/// the directory `here`.
///
/// # Errors
/// When an address or the token is malformed.
pub(crate) fn client(
    values: &Values,
    environment: &Environment,
    here: &Path,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Client>, FlagError> {
    let urls = values.list(&COORDINATOR);
    if urls.is_empty() {
        return Ok(None);
    }
    let spelled = values.spelling(&COORDINATOR);
    let addresses = Addresses::new(&urls).map_err(|error| FlagError(format!("{spelled}: {error}")))?;
    let token = token(values, environment, here)?;
    Client::new(addresses, token, Arc::clone(clock)).map(Some).map_err(|error| FlagError(error.to_string()))
}

/// What names this process to a coordinator, if anything does.
///
/// # Errors
/// When it cannot be read, or is malformed.
pub(crate) fn token(values: &Values, environment: &Environment, here: &Path) -> Result<Option<Token>, FlagError> {
    let (spelled, text) = match values.text(&TOKEN_FILE) {
        Some(file) => {
            let spelled = format!("{} {file}", values.spelling(&TOKEN_FILE));
            let read = read(&here.join(file)).map_err(|error| FlagError(format!("{spelled}: {error}")))?;
            (spelled, read)
        }
        None => match environment.non_empty(TOKEN) {
            Some(text) => (TOKEN.to_owned(), text.to_owned()),
            None => return Ok(None),
        },
    };
    Token::new(&text).map(Some).map_err(|error| FlagError(format!("{spelled}: {error}")))
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_comes_from_the_variable_and_is_never_shown() {
        let environment: Environment = [(TOKEN, "hush")].into_iter().collect();
        let token = token(&Values::default(), &environment, Path::new("/")).expect("a token").expect("one");
        assert_eq!((token.secret(), format!("{token:?}").as_str()), ("hush", "Token(***)"));
        let wrong: Environment = [(TOKEN, "two hush-words")].into_iter().collect();
        let error = super::token(&Values::default(), &wrong, Path::new("/")).expect_err("two words").to_string();
        assert!(error.starts_with("SLIPWAY_TOKEN: ") && !error.contains("hush-words"), "{error}");
    }
}
