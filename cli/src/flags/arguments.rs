//! The table as the command line reads it.

use clap::{
    Arg, ArgAction,
    builder::{PossibleValuesParser, TypedValueParser, ValueParser},
};

use super::{
    flag::{CommandName, Flag, Kind, Support},
    table,
};

/// The arguments of a command, in groups. None of them has a default here: [`resolve`](super::resolve) knows it.
pub(crate) fn of(command: CommandName) -> Vec<Arg> {
    let group = |(heading, flags): &(&'static str, &'static [Flag])| {
        let heading = *heading;
        flags.iter().filter(move |flag| flag.belongs_to(command)).map(move |flag| argument(flag).help_heading(heading))
    };
    table::GROUPS.iter().flat_map(group).collect()
}

fn argument(flag: &'static Flag) -> Arg {
    let argument = Arg::new(flag.name)
        .long(flag.name)
        .visible_aliases(flag.aliases.iter().copied())
        .help(help(flag))
        .value_name(flag.value_name)
        .value_parser(parser(flag))
        .hide(flag.support != Support::Here)
        .hide_possible_values(true)
        .ignore_case(flag.kind == Kind::Switch)
        .action(ArgAction::Append);
    let argument = match flag.short {
        Some(short) => argument.short(short),
        None => argument,
    };
    match flag.kind {
        Kind::Switch => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::Number => argument.num_args(1).allow_negative_numbers(true),
        Kind::Text | Kind::Choice(_) | Kind::List | Kind::Words => argument.num_args(1),
    }
}

fn parser(flag: &'static Flag) -> ValueParser {
    match flag.kind {
        Kind::Switch => PossibleValuesParser::new(["true", "false", "1", "0", "yes", "no"]).into(),
        Kind::Choice(words) => PossibleValuesParser::new(words.iter().copied()).into(),
        Kind::Number => clap::value_parser!(i64).map(|number: i64| number.to_string()).into(),
        Kind::Text | Kind::List | Kind::Words => ValueParser::string(),
    }
}

fn help(flag: &Flag) -> String {
    let mut help = flag.help.to_owned();
    if let Kind::Choice(words) = flag.kind {
        help.push_str(&format!(" ({})", words.join(", ")));
    }
    if let Some(default) = flag.default {
        help.push_str(&format!(" [default: {default}]"));
    }
    let mut variables = flag.variables();
    if flag.kind == Kind::List {
        variables = variables.into_iter().map(|name| format!("{name}_*")).collect();
    }
    help.push_str(&format!(" [variables: {}]", variables.join(", ")));
    help
}

#[cfg(test)]
mod tests {
    use crate::flags::resolve::switch_word;

    #[test]
    fn every_switch_word_of_the_command_line_has_a_meaning() {
        for word in ["true", "false", "1", "0", "yes", "no"] {
            assert!(switch_word(word).is_some(), "{word}");
        }
    }
}
