//! The command line: commands, their texts, and the flags of the table.

mod bridge;

use clap::{Arg, Command};
use clap_complete::Shell;

use crate::flags::{CommandName, arguments};

/// Id of the argument that holds image names and patterns.
pub(crate) const IMAGES: &str = "IMAGE";
/// Id of the argument that holds what another program is given.
pub(crate) const ARGUMENTS: &str = "ARGUMENT";
/// Id of the argument that names a build.
pub(crate) const BUILD: &str = "BUILD";
/// Commands of a cluster that stand by themselves.
const OF_CLUSTER: [(&str, CommandName, &str); 6] = [
    ("coordinator", CommandName::Coordinator, "Decide for a cluster: take builds from clients, give jobs to workers"),
    ("worker", CommandName::Worker, "Run jobs of a cluster"),
    ("attach", CommandName::Attach, "Follow a build of a cluster"),
    ("cancel", CommandName::Cancel, "Give a build of a cluster up"),
    ("logs", CommandName::Logs, "Show the output of the commands of a build"),
    ("explain", CommandName::Explain, "Say why each job of a build runs where it runs, or waits"),
];

/// The whole command line.
pub(crate) fn program() -> Command {
    Command::new("slipway")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Builds the container images that werf.yaml describes")
        .after_help(
            "Every flag has a variable, SLIPWAY_X; those that werf has also WERF_X. A flag wins over SLIPWAY_X, that over \
             WERF_X. Lists add up.\n\nExit codes: 0 done; 1 a stage or anything else failed; 2 wrong usage; 3 the \
             configuration is wrong or a used file is not committed; 4 a required stage is missing; 130 interrupted.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(of(CommandName::Build, "build", "Build images").arg(images("build")))
        .subcommand(
            of(CommandName::Export, "export", "Build images, and copy them out under names of your own").arg(images("export")),
        )
        .subcommand(of(CommandName::Plan, "plan", "Show which images a build would take, in which sets").arg(images("plan")))
        .subcommands(bridge::commands())
        .subcommand(config())
        .subcommand(includes())
        .subcommands(OF_CLUSTER.iter().map(|(word, name, about)| {
            let command = of(*name, word, about);
            let server = matches!(name, CommandName::Coordinator | CommandName::Worker);
            if server { command } else { command.arg(build()) }
        }))
        .subcommand(builds())
        .subcommand(stages())
        .subcommand(of(
            CommandName::Cleanup,
            "cleanup",
            "Delete the stages of a repository that nothing needs any more, by the history of git",
        ))
        .subcommand(of(CommandName::Purge, "purge", "Delete all stages and records of a project from its repositories"))
        .subcommand(managed_images())
        .subcommand(host())
        .subcommand(Command::new("version").about("Show the version"))
        .subcommand(completion())
}

fn config() -> Command {
    Command::new("config")
        .about("Look at the configuration")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            of(
                CommandName::ConfigRender,
                "render",
                "Show werf.yaml as it is read, or only the documents of some images",
            )
            .arg(images("show")),
        )
        .subcommand(of(CommandName::ConfigList, "list", "List the names of images and artifacts"))
        .subcommand(
            of(CommandName::ConfigGraph, "graph", "Show what images need of each other, as YAML").arg(images("show")),
        )
}

fn includes() -> Command {
    let files = |help: &'static str| Arg::new(IMAGES).value_name("PATH").help(help);
    Command::new("includes")
        .about("Look after files of the configuration that come from other repositories")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(of(
            CommandName::IncludesUpdate,
            "update",
            "Write the lock file: the commits that the includes of werf-includes.yaml are at now",
        ))
        .subcommand(
            of(CommandName::IncludesList, "ls-files", "List the files of the project and of its includes")
                .arg(files("Files, directories and globs to list; all by default").num_args(0..)),
        )
        .subcommand(
            of(CommandName::IncludesGet, "get-file", "Show a file of the project or of its includes")
                .arg(files("The file").required(true)),
        )
}

fn builds() -> Command {
    Command::new("builds")
        .about("Look at the builds of a cluster")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(of(CommandName::BuildsList, "list", "List builds, the newest first"))
        .subcommand(of(CommandName::BuildsShow, "show", "Show one build").arg(build()))
}

fn build() -> Arg {
    Arg::new(BUILD).required(true).help("Name of the build, as `slipway build --coordinator` says it")
}

fn stages() -> Command {
    let given = |name: &'static str, help: &'static str| Arg::new(IMAGES).value_name(name).num_args(0..).help(help);
    let digests = || given("DIGEST", "Only the stages of these digests; all by default");
    Command::new("stages")
        .about("Look after the stages of a repository, and their records that many hosts share")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            of(CommandName::StagesCopy, "copy", "Copy stages from one repository to another").arg(images("copy")),
        )
        .subcommand(
            of(CommandName::StagesList, "list", "List the stages of a repository, the oldest first")
                .arg(given("STAGE", "Only stages of these tags or digests, or what they begin with; all by default")),
        )
        .subcommand(
            of(CommandName::StagesShow, "show", "Show one stage: its image, layers and labels")
                .arg(Arg::new(IMAGES).value_name("STAGE").required(true).help("The stage, as DIGEST-TIMESTAMP")),
        )
        .subcommand(of(
            CommandName::StagesAttach,
            "attach",
            "Record every stage of the repository, unless that was done",
        ))
        .subcommand(of(CommandName::StagesImport, "import", "Adopt the stages that were written past the records"))
        .subcommand(of(CommandName::StagesWinners, "winners", "List the recorded stages").arg(digests()))
        .subcommand(
            of(CommandName::StagesVerify, "verify", "Check that recorded stages are tagged and whole").arg(digests()),
        )
        .subcommand(
            of(CommandName::StagesReject, "reject", "Take stages out of use; builds make them anew")
                .arg(given("STAGE", "The stages, as DIGEST-TIMESTAMP").required(true)),
        )
}

fn managed_images() -> Command {
    let names = || Arg::new(IMAGES).num_args(1..).required(true).help("Names of images; `~` is the one without a name");
    Command::new("managed-images")
        .about("Look after the list of images that cleanup looks after (with --repo); builds put theirs on it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(of(CommandName::ManagedImagesList, "ls", "List the images").visible_alias("list"))
        .subcommand(of(CommandName::ManagedImagesAdd, "add", "Put images on the list").arg(names()))
        .subcommand(of(CommandName::ManagedImagesRemove, "rm", "Take images off the list").arg(names()))
}

fn host() -> Command {
    Command::new("host")
        .about("Look after this host")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(of(
            CommandName::HostCheck,
            "check",
            "Try what this host can do for builds, and say what mends what does not work",
        ))
        .subcommand(of(CommandName::HostUsage, "df", "Show what is kept on this host, kind by kind"))
        .subcommand(of(
            CommandName::HostCleanup,
            "cleanup",
            "Remove what killed builds left, and, where a volume is too full, what was not used for longest",
        ))
        .subcommand(of(CommandName::HostPurge, "purge", "Delete all that Slipway keeps on this host"))
}

fn completion() -> Command {
    let shell = |id: &'static str| Arg::new(id).value_parser(clap::value_parser!(Shell)).value_name("SHELL");
    Command::new("completion")
        .about("Write a completion script for a shell")
        .arg(shell("shell").help("Which shell [default: bash]"))
        .arg(shell("shell-flag").long("shell").conflicts_with("shell").hide(true))
}

fn of(name: CommandName, word: &'static str, about: &'static str) -> Command {
    Command::new(word).about(about).args(arguments::of(name))
}

fn images(verb: &str) -> Arg {
    Arg::new(IMAGES).num_args(0..).help(format!(
        "Names or patterns (`*`, `!name`) of images to {verb}, with all that they need; every image that is no artifact \
         by default"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        program().debug_assert();
    }

    #[test]
    fn images_and_flags_mix() {
        let matches = program()
            .try_get_matches_from(["slipway", "build", "a", "-p", "b", "--repo", "r", "--parallel=false", "!c"])
            .expect("valid");
        let (_, matches) = matches.subcommand().expect("a command");
        let names: Vec<&String> = matches.get_many(IMAGES).expect("images").collect();
        assert_eq!(names, ["a", "b", "!c"]);
    }
}
