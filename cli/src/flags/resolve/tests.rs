//! The order of sources, for every flag of the table.

use clap::Command;

use super::*;
use crate::flags::{
    arguments,
    flag::Werf,
    table::{all, of},
};

fn resolve_with(
    command: CommandName,
    arguments: &[String],
    variables: &[(String, String)],
) -> Result<Values, FlagError> {
    let program = Command::new("slipway").no_binary_name(true).args(super::super::arguments::of(command));
    let matches = program.try_get_matches_from(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    resolve(command, &matches, &variables.iter().cloned().collect())
}

/// Three values that a flag may have, none of them its default where that is possible.
fn samples(flag: &Flag) -> [String; 3] {
    let all = match flag.kind {
        Kind::Switch => ["true", "false", "true"],
        Kind::Text | Kind::List | Kind::Words => ["one", "two", "three"],
        Kind::Number => ["1", "2", "3"],
        Kind::Choice(words) => [words[0], words[1], words[words.len() - 1]],
    };
    all.map(str::to_owned)
}

fn expected(flag: &Flag, text: &str) -> Value {
    parse(flag, "test", &[text.to_owned()]).expect("a sample is valid")
}

/// A flag resolved by itself, whatever becomes of it.
fn value_of(flag: &Flag, arguments: &[String], variables: &[(String, String)]) -> Resolved {
    let program = Command::new("slipway").no_binary_name(true).args(arguments::of(flag.commands[0]));
    let matches = program.try_get_matches_from(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    resolve_one(flag, &matches, &variables.iter().cloned().collect()).expect("samples are valid")
}

#[test]
fn flag_over_slipway_over_werf_over_default() {
    for flag in all().filter(|flag| flag.kind != Kind::List) {
        let [line, slipway, werf] = samples(flag);
        let argument = vec![format!("--{}={line}", flag.name)];
        let both: Vec<(String, String)> = std::iter::once((flag.slipway_variable(), slipway.clone()))
            .chain(flag.werf_variable().map(|name| (name, werf.clone())))
            .collect();
        assert_eq!(value_of(flag, &argument, &both).value, expected(flag, &line), "--{} over variables", flag.name);
        let found = value_of(flag, &[], &both);
        assert_eq!(found.value, expected(flag, &slipway), "{}", flag.slipway_variable());
        assert_eq!(found.origin, Origin::Variable(flag.slipway_variable()));
        if flag.werf != Werf::Absent {
            assert_eq!(value_of(flag, &[], &both[1..]).value, expected(flag, &werf), "{:?}", flag.werf_variable());
        }
        let default = value_of(flag, &[], &[]);
        assert_eq!(default.origin, Origin::Default);
        assert_eq!(default.value, expected(flag, flag.default.unwrap_or_default()), "default of --{}", flag.name);
    }
}

#[test]
fn empty_variables_count_as_unset() {
    for flag in all().filter(|flag| flag.kind != Kind::List) {
        let [_, _, werf] = samples(flag);
        let mut variables = vec![(flag.slipway_variable(), String::new())];
        variables.extend(flag.werf_variable().map(|name| (name, werf.clone())));
        let wanted = if flag.werf == Werf::Absent { flag.default.unwrap_or_default() } else { &werf };
        assert_eq!(value_of(flag, &[], &variables).value, expected(flag, wanted), "--{}", flag.name);
    }
}

#[test]
fn lists_add_up_werf_first_then_slipway_then_flags() {
    for flag in all().filter(|flag| flag.kind == Kind::List) {
        let slipway = flag.slipway_variable();
        let mut variables =
            vec![(format!("{slipway}_B"), "s-b".to_owned()), (format!("{slipway}_A"), "s-a".to_owned())];
        let mut wanted = ["s-a", "s-b", "f1", "f2,x"].map(str::to_owned).to_vec();
        if let Some(werf) = flag.werf_variable() {
            let of_werf = [("_2", "w-2"), ("_10", "w-10"), ("_3", ""), ("", "w")];
            variables.extend(of_werf.map(|(end, value)| (format!("{werf}{end}"), value.to_owned())));
            wanted.splice(0..0, ["w", "w-10", "w-2"].map(str::to_owned));
        }
        let arguments = [format!("--{}", flag.name), "f1".into(), format!("--{}=f2,x", flag.name)];
        assert_eq!(value_of(flag, &arguments, &variables).value, Value::List(wanted), "--{}", flag.name);
    }
}

#[test]
fn a_flag_given_twice_counts_once() {
    let values = resolve_with(CommandName::Build, &["--repo=a".into(), "--repo=b".into(), "-p".into()], &[]);
    let values = values.expect("valid");
    assert_eq!(values.text(&crate::flags::storage::REPO), Some("b".into()));
}

#[test]
fn an_empty_flag_undoes_a_variable() {
    let variables = [("WERF_REPO".to_owned(), "r".to_owned())];
    let values = resolve_with(CommandName::Build, &["--repo=".into()], &variables).expect("valid");
    assert_eq!(values.text(&crate::flags::storage::REPO), None);
}

#[test]
fn malformed_variables_are_named() {
    for (name, value, message) in [
        ("WERF_PARALLEL", "maybe", "WERF_PARALLEL: `maybe` is neither yes nor no; write true or false"),
        ("SLIPWAY_PARALLEL_TASKS_LIMIT", "x", "SLIPWAY_PARALLEL_TASKS_LIMIT: `x` is no whole number"),
        ("WERF_LOG_COLOR_MODE", "blue", "WERF_LOG_COLOR_MODE: `blue` is none of: auto, on, off"),
    ] {
        let error = resolve_with(CommandName::Build, &[], &[(name.into(), value.into())]).expect_err(name);
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn what_is_not_supported_yet_is_an_error_when_it_is_set() {
    let refused = |arguments: &[&str], variables: &[(&str, &str)]| {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let variables: Vec<(String, String)> = variables.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        resolve_with(CommandName::Build, &arguments, &variables).err().map(|error| error.0)
    };
    assert_eq!(refused(&["--meta-repo", "r"], &[]).as_deref(), Some("not supported yet: --meta-repo"));
    assert_eq!(
        refused(&[], &[("WERF_META_REPO", "r")]).as_deref(),
        Some("not supported yet: --meta-repo (set by the variable WERF_META_REPO)")
    );
    assert_eq!(
        refused(&["--disable-git-commit-ancestry-check", "--meta-repo=r"], &[]).map(|text| text.lines().count()),
        Some(2)
    );
    assert_eq!(
        refused(
            &["--disable-git-commit-ancestry-check=false", "-S", ":local"],
            &[("WERF_DISABLE_GIT_COMMIT_ANCESTRY_CHECK", "0")]
        ),
        None
    );
}

#[test]
fn every_unfinished_flag_is_refused() {
    for flag in all().filter(|flag| flag.support == Support::NotYet) {
        let [sample, _, _] = samples(flag);
        let error = resolve_with(flag.commands[0], &[format!("--{}={sample}", flag.name)], &[]).expect_err(flag.name);
        assert_eq!(error.0, format!("not supported yet: --{}", flag.name));
    }
}

#[test]
fn old_names_work_and_warn_once() {
    let values = resolve_with(CommandName::Build, &["-Z".into(), "-Z".into()], &[]).expect("valid");
    assert_eq!(values.warnings, ["--skip-build is an old name: use --require-built-images"]);
    assert!(crate::flags::building::BuildingFlags::from_values(&values).require_built);
}

#[test]
fn names_variables_and_letters_are_unique_in_a_command() {
    for command in crate::flags::flag::EVERY.iter().copied() {
        let flags = || of(command);
        let mut names: Vec<String> = flags()
            .flat_map(|flag| std::iter::once(flag.name).chain(flag.aliases.iter().copied()))
            .map(str::to_owned)
            .collect();
        names.extend(flags().filter_map(|flag| flag.short).map(String::from));
        names.extend(flags().flat_map(Flag::variables));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "{command:?}");
    }
}

#[test]
fn what_is_accepted_without_effect_is_noted() {
    let variables = [("WERF_DEV_BRANCH".to_owned(), "mine".to_owned())];
    let values = resolve_with(CommandName::Build, &[], &variables).expect("valid");
    let expected =
        "WERF_DEV_BRANCH has no effect: branch for the snapshots of --dev; none is needed, nothing is written";
    assert_eq!(values.notes, [expected]);
}
