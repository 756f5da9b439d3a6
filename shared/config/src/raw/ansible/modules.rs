//! Modules and keywords of Ansible tasks.

/// The modules of ansible-core that tasks may name.
pub(super) const CORE: &[&str] = &[
    "command",
    "shell",
    "raw",
    "script",
    "apt",
    "apt_key",
    "apt_repository",
    "assemble",
    "assert",
    "blockinfile",
    "copy",
    "cron",
    "deb822_repository",
    "debconf",
    "debug",
    "dnf",
    "dnf5",
    "dpkg_selections",
    "expect",
    "fail",
    "file",
    "find",
    "get_url",
    "getent",
    "git",
    "group",
    "known_hosts",
    "lineinfile",
    "meta",
    "package",
    "package_facts",
    "pip",
    "replace",
    "rpm_key",
    "set_fact",
    "setup",
    "slurp",
    "stat",
    "subversion",
    "tempfile",
    "template",
    "unarchive",
    "uri",
    "user",
    "wait_for",
    "yum",
    "yum_repository",
];

/// Modules that are not in ansible-core, by the collection that has them.
const COLLECTIONS: &[(&str, &[&str])] = &[
    (
        "ansible.posix",
        &[
            "acl",
            "at",
            "authorized_key",
            "firewalld",
            "mount",
            "patch",
            "seboolean",
            "selinux",
            "synchronize",
            "sysctl",
        ],
    ),
    (
        "community.crypto",
        &[
            "openssl_certificate",
            "openssl_csr",
            "openssl_dhparam",
            "openssl_pkcs12",
            "openssl_privatekey",
            "openssl_publickey",
            "x509_certificate",
        ],
    ),
    ("community.docker", &["docker_container", "docker_image", "docker_login", "docker_network", "docker_volume"]),
    ("community.mysql", &["mysql_db", "mysql_query", "mysql_user"]),
    ("community.postgresql", &["postgresql_db", "postgresql_query", "postgresql_user"]),
    ("ansible.windows", &["win_command", "win_copy", "win_file", "win_shell"]),
    (
        "community.general",
        &[
            "alternatives",
            "apk",
            "apt_rpm",
            "archive",
            "bower",
            "bundler",
            "capabilities",
            "composer",
            "cpanm",
            "easy_install",
            "flatpak",
            "gem",
            "git_config",
            "htpasswd",
            "homebrew",
            "homebrew_cask",
            "homebrew_tap",
            "ini_file",
            "iso_extract",
            "java_cert",
            "layman",
            "locale_gen",
            "macports",
            "make",
            "maven_artifact",
            "modprobe",
            "npm",
            "openbsd_pkg",
            "opkg",
            "pacman",
            "pam_limits",
            "pear",
            "pipx",
            "pkg5",
            "pkg5_publisher",
            "pkgin",
            "pkgng",
            "pkgutil",
            "portage",
            "portinstall",
            "pulp_repo",
            "redhat_subscription",
            "rhn_channel",
            "rhn_register",
            "slackpkg",
            "snap",
            "sorcery",
            "svr4pkg",
            "swdepot",
            "swupd",
            "timezone",
            "urpmi",
            "xattr",
            "xbps",
            "xml",
            "yarn",
            "zypper",
            "zypper_repository",
        ],
    ),
];

/// What a task may say beside its module, or a block beside its tasks.
pub(super) const KEYWORDS: &[&str] = &[
    "name",
    "when",
    "vars",
    "loop",
    "loop_control",
    "register",
    "args",
    "environment",
    "changed_when",
    "failed_when",
    "ignore_errors",
    "no_log",
    "become",
    "become_user",
    "become_method",
    "become_flags",
    "become_exe",
    "until",
    "retries",
    "delay",
    "timeout",
    "tags",
    "any_errors_fatal",
    "async",
    "check_mode",
    "collections",
    "delegate_facts",
    "diff",
    "ignore_unreachable",
    "module_defaults",
    "poll",
    "run_once",
    "throttle",
];

/// Keywords that make no sense in a build, and why.
pub(super) const SENSELESS: &[(&str, &str)] = &[
    ("action", "name the module itself, such as `apt: {name: curl}`"),
    ("local_action", "name the module itself, such as `apt: {name: curl}`"),
    ("connection", "tasks run in the build container: remove it"),
    ("debugger", "nobody can answer a debugger in a build: remove it"),
    ("delegate_to", "tasks run in the build container: remove it"),
    ("notify", "a stage has no handlers: write a task with `when: RESULT is changed`"),
    ("listen", "a stage has no handlers: write a task with `when: RESULT is changed`"),
    ("port", "tasks run in the build container: remove it"),
    ("remote_user", "tasks run in the build container as root: use `become` and `become_user`"),
];

/// The module of ansible-core that a key names, with or without its collection.
pub(super) fn core(key: &str) -> Option<&'static str> {
    let name = key.strip_prefix("ansible.builtin.").or(key.strip_prefix("ansible.legacy.")).unwrap_or(key);
    CORE.iter().find(|module| **module == name).copied()
}

/// The collection beside ansible-core that a key belongs to.
pub(super) fn collection(key: &str) -> Option<String> {
    let listed = COLLECTIONS.iter().find(|(_, modules)| modules.contains(&key)).map(|(collection, _)| *collection);
    let full = || match key.split('.').collect::<Vec<_>>().as_slice() {
        ["ansible", "builtin" | "legacy", ..] => None,
        [namespace, collection, module, ..] if ![namespace, collection, module].iter().any(|part| part.is_empty()) => {
            Some(format!("{namespace}.{collection}"))
        }
        _ => None,
    };
    listed.map(str::to_owned).or_else(full)
}

/// Whether a key is a keyword of tasks.
pub(super) fn is_keyword(key: &str) -> bool {
    KEYWORDS.contains(&key) || key.strip_prefix("with_").is_some_and(|lookup| !lookup.is_empty())
}
