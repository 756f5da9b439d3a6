//! Variables that mean nothing to a command: misspelled ones are warned of, those of other tools are listed on
//! request.

use slipway_kv::address as etcd;
use slipway_process::Environment;

use super::{
    cluster,
    flag::{CommandName, Flag, Kind},
    table,
};

/// Variables of Slipway and werf that are no flags, and that this program reads.
const READ: &[&str] = &[
    "WERF_BUILDAH_MODE",
    cluster::TOKEN,
    etcd::CA_FILE,
    etcd::CERT_FILE,
    etcd::KEY_FILE,
    etcd::USER,
    etcd::PASSWORD,
    etcd::PASSWORD_FILE,
];
/// Variables of Slipway that are for its tests.
const TESTS: &[&str] = &["SLIPWAY_FAILPOINT", "SLIPWAY_TEST_REQUIRE"];

/// What is to be said of variables that no flag of any command reads.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Strangers {
    /// Warnings: `SLIPWAY_*` variables that do not exist.
    pub(crate) warnings: Vec<String>,
    /// `WERF_*` variables that are ignored, by name.
    pub(crate) ignored: Vec<String>,
}

/// Looks through the environment for `command`. Values are never shown.
pub(crate) fn strangers(command: CommandName, environment: &Environment) -> Strangers {
    let slipway =
        environment.with_prefix("SLIPWAY_").map(|(name, _)| name).filter(|name| !is_known(name, table::all()));
    let warnings = slipway.filter(|name| !TESTS.contains(name) && !name.starts_with("SLIPWAY_TEST_")).map(|name| {
        near(name).map_or_else(
            || format!("the variable {name} means nothing to Slipway; it is ignored"),
            |near| format!("the variable {name} means nothing to Slipway; it is ignored. Did you mean {near}?"),
        )
    });
    let werf = environment.with_prefix("WERF_").map(|(name, _)| name);
    let ignored = werf.filter(|name| !is_known(name, table::of(command))).map(str::to_owned);
    Strangers { warnings: warnings.collect(), ignored: ignored.collect() }
}

fn is_known(name: &str, mut flags: impl Iterator<Item = &'static Flag>) -> bool {
    READ.contains(&name) || flags.any(|flag| flag.variables().iter().any(|variable| stands_for(flag, variable, name)))
}

fn stands_for(flag: &Flag, variable: &str, name: &str) -> bool {
    let numbered = || name.strip_prefix(variable).is_some_and(|rest| rest.starts_with('_'));
    name == variable || (flag.kind == Kind::List && numbered())
}

/// The variable that was probably meant.
fn near(name: &str) -> Option<String> {
    let candidates = table::all().map(Flag::slipway_variable);
    let scored = candidates.map(|candidate| (strsim::damerau_levenshtein(name, &candidate), candidate));
    let (distance, candidate) = scored.min()?;
    // Three slips at most, and fewer in a short name.
    (distance <= 3.min((name.len() - "SLIPWAY_".len()) / 2)).then_some(candidate)
}

/// Values that must not be shown: of flags that are secret, on the command line excepted.
pub(crate) fn secrets(environment: &Environment) -> Vec<String> {
    let names = table::all().filter(|flag| flag.secret).flat_map(Flag::variables);
    let others = [cluster::TOKEN, etcd::PASSWORD].into_iter().chain(slipway_telemetry::settings::HEADERS);
    let names = names.chain(others.map(str::to_owned));
    names.filter_map(|name| environment.non_empty(&name).map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_variables_are_warned_of_with_the_near_name() {
        let environment: Environment =
            [("SLIPWAY_PARALEL", "1"), ("SLIPWAY_XYZZY", "1"), ("SLIPWAY_DEV_IGNORE_1", "a"), ("SLIPWAY_REPO", "r")]
                .into_iter()
                .collect();
        let warnings = strangers(CommandName::Build, &environment).warnings;
        assert_eq!(
            warnings,
            [
                "the variable SLIPWAY_PARALEL means nothing to Slipway; it is ignored. Did you mean SLIPWAY_PARALLEL?",
                "the variable SLIPWAY_XYZZY means nothing to Slipway; it is ignored",
            ]
        );
    }

    #[test]
    fn variables_of_other_tools_are_listed() {
        let environment: Environment = [
            ("WERF_NAMESPACE", "x"),
            ("WERF_REPO", "r"),
            ("WERF_SECONDARY_REPO_1", "r"),
            ("WERF_BUILDAH_MODE", "auto"),
            ("WERF_SET_1", "a=b"),
        ]
        .into_iter()
        .collect();
        assert_eq!(strangers(CommandName::Build, &environment).ignored, ["WERF_NAMESPACE", "WERF_SET_1"]);
    }

    #[test]
    fn secrets_are_the_values_of_secret_flags() {
        let environment: Environment =
            [("WERF_REPO_QUAY_TOKEN", "hush"), ("WERF_REPO", "r"), ("SLIPWAY_REPO_GITHUB_TOKEN", "psst")]
                .into_iter()
                .collect();
        assert_eq!(secrets(&environment), ["psst", "hush"]);
    }
}
