//! The reference of the command line, made of the table; a test keeps the file what the table says.

use std::{fmt::Write as _, path::Path};

use super::{
    flag::{
        BUILD, CLUSTER, CommandName, EVERY, Flag, HOMES, HOST, Kind, PROJECT, REGISTRIES, REGISTRY, REPOSITORY, STAGES,
        Support,
    },
    table,
};

const HEAD: &str = "# The command line

Made of the table of flags (`cli/src/flags/`); `SLIPWAY_BLESS=1 cargo test -p slipway-cli` writes it anew.

| command | what it does | standard output |
|---|---|---|
| `slipway build [IMAGE…]` | builds images and all that they need | nothing |
| `slipway export [IMAGE…] --tag TEMPLATE` | builds images, and copies them out without the labels of builds: to a registry, the Docker engine, an OCI layout or a file; images with `final: false` only when they are named | nothing; with `--dry-run`, a copy a line |
| `slipway plan [IMAGE…]` | shows which images a build would take, in which sets | the plan |
| `slipway config render [IMAGE…]` | shows `werf.yaml` as it is read, or only the documents of the images named, without those that they need | the text |
| `slipway config list` | lists images and artifacts | a name a line |
| `slipway config graph [IMAGE…]` | shows what images need of each other | YAML, or what `--output` says |
| `slipway coordinator` | decides for a cluster until it is interrupted: [cluster.md](../operations/cluster.md) | nothing |
| `slipway worker` | runs jobs of a cluster until it is interrupted | nothing |
| `slipway attach BUILD` | follows a build of a cluster; an interrupt leaves it alone | nothing |
| `slipway cancel BUILD` | gives a build of a cluster up | nothing |
| `slipway logs [-f] BUILD` | shows the output of a build's commands, so far or until its end | the lines |
| `slipway explain BUILD` | says why each job runs where it runs, or waits | JSON |
| `slipway builds list` | lists the builds of a cluster, the newest first | a build a line |
| `slipway builds show BUILD` | shows one build of a cluster | its properties, one a line |
| `slipway stages attach` | records every stage of a repository in etcd | the state |
| `slipway stages import` | adopts the stages that were written past etcd | what was adopted |
| `slipway stages winners [DIGEST…]` | lists the recorded stages | a stage a line |
| `slipway stages verify [DIGEST…]` | checks that recorded stages are tagged and whole | what is wrong |
| `slipway stages reject STAGE…` | takes stages out of use | what was rejected |
| `slipway managed-images ls` | lists the images that cleanup looks after: all that were ever built, but for those taken off the list | a name a line |
| `slipway managed-images add NAME…` | puts images on that list | nothing |
| `slipway managed-images rm NAME…` | takes images off it; the next build that builds one puts it there again | nothing |
| `slipway host check` | tries what this host can do for builds, and says what mends what does not work; fails when no backend can build here | a finding a line |
| `slipway host df` | shows what is kept on this host, kind by kind | a kind a line |
| `slipway host cleanup` | removes what dead builds left, and the layers of the native backend that were not used for longest; what builds use stays | what went |
| `slipway version` | shows the version | `slipway VERSION` |
| `slipway completion [SHELL]` | writes a completion script, for bash by default | the script |

Log, warnings and errors go to standard error; `slipway coordinator` writes its log as JSON, an object a line.

`BUILD` is the name of a build, which `slipway build` says when it has submitted one. The commands *of a cluster* are `build`, `export` and
`plan`, with `--coordinator`, `worker`, `attach`, `cancel`, `logs`, `explain` and `builds`.

`IMAGE` is a name or a pattern: `*`, `?` and `[a-z]` stand for parts of a name without `/`, `!` before a pattern leaves out what
it matches. Only exclusions: every image but these. None: every image that is no artifact. An artifact is chosen by its exact
name only; the nameless image is `~`. A pattern that matches nothing is an error.

## Values

A flag wins over its variable `SLIPWAY_X`, that over `WERF_X`, that over a variable of other programs, that over the default.
An empty variable counts as unset. Lists add up: `WERF_X`, `WERF_X_*` by name, `SLIPWAY_X`, `SLIPWAY_X_*` by name, then the
flags in their order. A switch without a value means `true`; its values are `true`, `1`, `yes`, `false`, `0` and `no`.
A `SLIPWAY_X` that stands for no flag is warned of; a `WERF_X` that stands for none is ignored, and named with `--log-verbose`.

Read beside these: `WERF_BUILDAH_MODE` (`docker`; `auto` and `native-chroot` mean `--backend native`), `DOCKER_HOST`, `DOCKER_TLS_VERIFY` and
`DOCKER_CERT_PATH` (the engine, as for Docker's own client), `DOCKER_BUILDKIT` (`0` or `false`: the engine's classic builder;
another value: BuildKit), `NO_COLOR`, `TERM`, `HOME`, `XDG_DATA_HOME`, `SLIPWAY_TOKEN` (the token for the
coordinator), `TRACEPARENT` and OpenTelemetry's variables ([traces.md](../operations/traces.md)). How etcd is spoken to
([etcd.md](etcd.md)) is said by `SLIPWAY_ETCD_CA_FILE`
(the authority of its certificate; connections use TLS then), `SLIPWAY_ETCD_CERT_FILE` and `SLIPWAY_ETCD_KEY_FILE` (our own
certificate), `SLIPWAY_ETCD_USER`, `SLIPWAY_ETCD_PASSWORD` or `SLIPWAY_ETCD_PASSWORD_FILE`.

## Exit codes

| code | when |
|---|---|
| 0 | done |
| 1 | a stage, or anything else, failed |
| 2 | the command was used wrongly: unknown flags, values or images; a backend that does not exist |
| 3 | the project is wrong: its configuration, its repository, or a file that is used and not committed |
| 4 | a stage is missing, and `--require-built-images` forbids to build it |
| 130 | interrupted; the first interrupt stops and clears away what runs, a second one ends at once |

## Flags
";

fn reference() -> String {
    let mut text = HEAD.to_owned();
    for (heading, flags) in table::GROUPS {
        let heading = match *heading {
            "Not supported yet" => "Not supported yet: an error, exit code 2".to_owned(),
            other => other.to_owned(),
        };
        let columns = "| flag | value | default | commands | meaning | variables |\n|---|---|---|---|---|---|";
        write!(text, "\n### {heading}\n\n{columns}\n").expect("a string takes everything");
        flags.iter().for_each(|flag| row(&mut text, flag));
    }
    text
}

fn row(text: &mut String, flag: &Flag) {
    let short = flag.short.map(|short| format!("-{short}")).into_iter();
    let long = std::iter::once(flag.name).chain(flag.aliases.iter().copied()).map(|name| format!("--{name}"));
    let names: Vec<String> = short.chain(long).map(|name| format!("`{name}`")).collect();
    let many = if flag.kind == Kind::List { "_*" } else { "" };
    let variables: Vec<String> = flag.variables().iter().map(|name| variable(name, many)).collect();
    let meaning = match flag.support {
        Support::Renamed(new) => format!("{}; warned of: use `--{new}`", flag.help),
        Support::Here | Support::NotYet | Support::Unneeded => flag.help.to_owned(),
    };
    let cells = [
        names.join(" "),
        value(flag),
        flag.default.map(|default| format!("`{default}`")).unwrap_or_default(),
        commands(flag.commands),
        meaning.replace('|', "\\|"),
        variables.join(" "),
    ];
    writeln!(text, "| {} |", cells.join(" | ")).expect("a string takes everything");
}

fn variable(name: &str, many: &str) -> String {
    if many.is_empty() { format!("`{name}`") } else { format!("`{name}` `{name}{many}`") }
}

fn value(flag: &Flag) -> String {
    match flag.kind {
        Kind::Switch => "yes or no".to_owned(),
        Kind::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" "),
        Kind::Text | Kind::Number => flag.value_name.to_owned(),
        Kind::List => format!("{}, several times", flag.value_name),
        Kind::Words => format!("{}, several times or with commas", flag.value_name),
    }
}

fn commands(commands: &[CommandName]) -> String {
    let word = |command: &CommandName| match command {
        CommandName::Build => "build",
        CommandName::Export => "export",
        CommandName::Plan => "plan",
        CommandName::ConfigRender => "config render",
        CommandName::ConfigList => "config list",
        CommandName::ConfigGraph => "config graph",
        CommandName::IncludesUpdate => "includes update",
        CommandName::IncludesList => "includes ls-files",
        CommandName::IncludesGet => "includes get-file",
        CommandName::Coordinator => "coordinator",
        CommandName::Worker => "worker",
        CommandName::Attach => "attach",
        CommandName::Cancel => "cancel",
        CommandName::Logs => "logs",
        CommandName::Explain => "explain",
        CommandName::BuildsList => "builds list",
        CommandName::BuildsShow => "builds show",
        CommandName::StagesAttach => "stages attach",
        CommandName::StagesImport => "stages import",
        CommandName::StagesWinners => "stages winners",
        CommandName::StagesVerify => "stages verify",
        CommandName::StagesReject => "stages reject",
        CommandName::ManagedImagesList => "managed-images ls",
        CommandName::ManagedImagesAdd => "managed-images add",
        CommandName::ManagedImagesRemove => "managed-images rm",
        CommandName::HostCheck => "host check",
        CommandName::HostUsage => "host df",
        CommandName::HostCleanup => "host cleanup",
    };
    match commands {
        all if all == EVERY => "all".to_owned(),
        project if project == PROJECT => "build, export, plan, config, includes".to_owned(),
        both if both == BUILD => "build, export, plan".to_owned(),
        registry if registry == REGISTRY => "build, export, plan, coordinator, worker".to_owned(),
        registries if registries == REGISTRIES => "build, export, plan, coordinator, worker, stages".to_owned(),
        repository if repository == REPOSITORY => "build, export, plan, stages".to_owned(),
        host if host == HOST => "host".to_owned(),
        homes if homes == HOMES => "build, export, plan, config, includes, host, attach".to_owned(),
        stages if stages == STAGES => "stages".to_owned(),
        cluster if cluster == CLUSTER => "those of a cluster".to_owned(),
        some => some.iter().map(word).collect::<Vec<_>>().join(", "),
    }
}

#[test]
fn the_reference_is_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/command_line.md");
    let said = reference();
    if slipway_process::Environment::from_process().non_empty("SLIPWAY_BLESS").is_some() {
        std::fs::write(&path, &said).expect("the reference can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == said, "docs/reference/command_line.md is not what the table says: run with SLIPWAY_BLESS=1");
}
