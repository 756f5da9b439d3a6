//! Wrong directives of Stapel images.

use super::{Row, check};

#[test]
fn stapel() {
    check(&[
        Row(
            "shell and ansible",
            "image: a\nfrom: b\nshell: {setup: x}\nansible: {setup: []}\n",
            "7:1: `shell` and `ansible` cannot stand together",
            "keep one",
        ),
        Row(
            "docker and imageSpec",
            "image: a\nfrom: b\ndocker: {USER: x}\nimageSpec: {}\n",
            "7:1: `docker` and `imageSpec` cannot stand together",
            "keep one",
        ),
        Row(
            "artifact docker",
            "artifact: a\nfrom: b\ndocker: {USER: x}\n",
            "6:1: an artifact cannot have `docker`",
            "final: false",
        ),
        Row(
            "artifact final",
            "artifact: a\nfrom: b\nfinal: false\n",
            "6:1: an artifact cannot have `final`",
            "final: false",
        ),
        Row(
            "artifact patch",
            "artifact: a\nfrom: b\ndisableGitAfterPatch: true\n",
            "6:1: an artifact cannot have `disableGitAfterPatch`",
            "final",
        ),
        Row(
            "artifact dependencies",
            "artifact: a\nfrom: b\ndependencies: []\n",
            "6:1: an artifact cannot have `dependencies`",
            "final",
        ),
    ]);
}

#[test]
fn commands_and_tasks() {
    check(&[
        Row(
            "unknown stage",
            "image: a\nfrom: b\nshell: {afterInstall: x}\n",
            "6:9: unknown key `afterInstall` in `shell`",
            "keys: beforeInstall",
        ),
        Row(
            "command mapping",
            "image: a\nfrom: b\nshell:\n  install:\n  - echo a: b\n",
            "8:5: `install`: array of strings expected, but this entry is a mapping",
            "quote the line",
        ),
        Row(
            "stage mapping",
            "image: a\nfrom: b\nshell: {install: {a: b}}\n",
            "6:18: `install`: single string or array of strings expected",
            "list of strings",
        ),
        Row(
            "nested list",
            "image: a\nfrom: b\nshell: {install: [[a]]}\n",
            "6:19: `install`: array of strings expected",
            "lists do not nest",
        ),
        Row("empty command", "image: a\nfrom: b\nshell:\n  install:\n  - a\n  -\n", "9:", "or remove the line"),
        Row(
            "cache version",
            "image: a\nfrom: b\nfromCacheVersion: [1]\n",
            "6:19: `fromCacheVersion` must be a string, not a list",
            "VALUE",
        ),
        Row(
            "shell is a list",
            "image: a\nfrom: b\nshell: [x]\n",
            "6:8: `shell` must be a mapping, not a list",
            "`key: value` lines under `shell`",
        ),
        Row(
            "ansible task",
            "image: a\nfrom: b\nansible:\n  install:\n  - {name: x, commnd: y}\n",
            "8:5: unsupported ansible task",
            "did you mean `command`?",
        ),
        Row(
            "two modules",
            "image: a\nfrom: b\nansible:\n  install:\n  - {apt: x, shell: y}\n",
            "8:14: invalid ansible task",
            "one task per module",
        ),
    ]);
}

#[test]
fn git() {
    check(&[
        Row(
            "no list",
            "image: a\nfrom: b\ngit: {add: /}\n",
            "6:6: `git` must be a list, not a mapping",
            "begin every entry",
        ),
        Row("no to", "image: a\nfrom: b\ngit:\n- add: /src\n", "7:3: `to` is missing", "write `to: /app`"),
        Row(
            "relative to",
            "image: a\nfrom: b\ngit:\n- to: app\n",
            "7:7: `to` must be an absolute path, not `app`",
            "write `to: /app`",
        ),
        Row(
            "relative add",
            "image: a\nfrom: b\ngit:\n- {add: src, to: /app}\n",
            "7:9: `add` must be an absolute path",
            "write `add: /src`",
        ),
        Row(
            "absolute include",
            "image: a\nfrom: b\ngit:\n- {to: /app, includePaths: /x}\n",
            "7:28: `includePaths` must be a relative path",
            "write `x`",
        ),
        Row(
            "absolute exclude",
            "image: a\nfrom: b\ngit:\n- {to: /app, excludePaths: [a, /x]}\n",
            "7:32: `excludePaths` must be a relative path",
            "write `x`",
        ),
        Row(
            "absolute dependency",
            "image: a\nfrom: b\ngit:\n- {to: /app, stageDependencies: {install: /x}}\n",
            "7:43: `install` must be a relative path",
            "relative to `add`",
        ),
        Row(
            "upward",
            "image: a\nfrom: b\ngit:\n- {to: /app, includePaths: ../x}\n",
            "7:28: `includePaths` leads outside",
            "remove `..`",
        ),
        Row(
            "bad glob",
            "image: a\nfrom: b\ngit:\n- {to: /app, includePaths: 'a['}\n",
            "7:28: `includePaths`: `a[` is no valid glob",
            "close every `[`",
        ),
        Row(
            "empty glob",
            "image: a\nfrom: b\ngit:\n- {to: /app, includePaths: ''}\n",
            "7:28: `includePaths` holds an empty path",
            "or remove it",
        ),
        Row(
            "stage",
            "image: a\nfrom: b\ngit:\n- {to: /app, stageDependencies: {beforeInstall: x}}\n",
            "7:34: unknown key `beforeInstall`",
            "keys: install, beforeSetup, setup",
        ),
    ]);
}

#[test]
fn repositories_and_conflicts() {
    check(&[
        Row(
            "branch without url",
            "image: a\nfrom: b\ngit:\n- {to: /app, branch: main}\n",
            "7:14: `branch` is for `git` with a `url`",
            "remove `branch`",
        ),
        Row(
            "branch and tag",
            "image: a\nfrom: b\ngit:\n- {url: x, to: /app, branch: main, tag: v1}\n",
            "7:36: `branch` and `tag` cannot stand",
            "keep one of",
        ),
        Row(
            "conflict",
            "image: a\nfrom: b\ngit:\n- {add: /x, to: /app}\n- {add: /y, to: /app/}\n",
            "8:3: conflict between imports: this `git` and the `git` in line 7 both bring `/app`",
            "different `to`",
        ),
        Row(
            "root conflict",
            "image: a\nfrom: b\ngit: [{to: /}]\nimport: [{image: c, add: /x, to: /, after: setup}]\n---\nimage: c\nfrom: d\n",
            "7:10: conflict between imports: this `import` and the `git` in line 6 both bring `/`",
            "different `to`",
        ),
    ]);
}

#[test]
fn imports() {
    let import = |import: &str| format!("image: s\nfrom: b\n---\nimage: a\nfrom: b\nimport:\n- {{{import}}}\n");
    for (name, row, message, hint) in [
        ("no name", "add: /x, before: setup", "10:3: an import needs a source", "image: NAME"),
        (
            "two sources",
            "image: s, artifact: s, add: /x, before: setup",
            "10:14: an import has one source, but `image` and `artifact`",
            "keep one",
        ),
        (
            "image and from",
            "image: s, from: s, add: /x, before: setup",
            "10:14: an import has one source, but `image` and `from`",
            "keep one",
        ),
        ("no stage", "image: s, add: /x", "10:3: an import needs a stage: `before` or `after`", "before: install"),
        (
            "both stages",
            "image: s, add: /x, before: setup, after: setup",
            "10:45: an import has either `before` or `after`",
            "before: install",
        ),
        (
            "unknown stage",
            "image: s, add: /x, before: beforeSetup",
            "10:31: `before` must be `install` or `setup`",
            "write `before: install`",
        ),
        ("relative add", "image: s, add: x, before: setup", "10:19: `add` must be an absolute path", "write `add: /x`"),
        (
            "relative to",
            "image: s, add: /x, to: x, before: setup",
            "10:27: `to` must be an absolute path",
            "write `to: /x`",
        ),
        ("no add", "image: s, before: setup", "10:3: `add` is missing", "write `add: "),
        ("all", "image: s, add: /, to: /x, before: setup", "10:3: `add: /` without `includePaths`", "name a directory"),
        (
            "source stage",
            "image: s, stage: build, add: /x, before: setup",
            "10:21: `stage` of an import cannot be `build`",
            "stages: beforeInstall",
        ),
        (
            "unknown image",
            "image: t2, add: /x, before: setup",
            "10:11: image `t2`, named by `import.image`, not found",
            "images of this file: s, a",
        ),
        (
            "itself",
            "image: a, add: /x, before: setup",
            "10:11: image `a` references itself by `import.image`",
            "another image",
        ),
        (
            "unknown key",
            "image: s, add: /x, before: setup, excludePath: y",
            "10:38: unknown key `excludePath` in `import`",
            "did you mean `excludePaths`?",
        ),
    ] {
        let text: &'static str = import(row).leak();
        check(&[Row(name, text, message, hint)]);
    }
}

#[test]
fn docker_section() {
    let docker = |line: &str| format!("image: a\nfrom: b\ndocker:\n  {line}\n");
    for (name, row, message, hint) in [
        ("unknown", "COMMAND: x", "7:3: unknown key `COMMAND` in `docker`", "keys: VOLUME"),
        ("lower case", "cmd: x", "7:3: unknown key `cmd` in `docker`", "did you mean `CMD`?"),
        ("env list", "ENV: [A=b]", "7:8: `ENV` must be a mapping, not a list", "`key: value` lines under `ENV`"),
        ("env name", "ENV: {A=b: c}", "7:9: `ENV` holds the name `A=b`", "no `=`"),
        ("env value", "ENV: {A: [b]}", "7:12: `ENV.A` must be a string, not a list", "single value"),
        ("port", "EXPOSE: 80:80", "7:11: `EXPOSE` holds `80:80`", "write `8080`"),
        ("port range", "EXPOSE: '9-1'", "7:11: `EXPOSE` holds `9-1`", "3000-3005"),
        ("volume", "VOLUME: data", "7:11: `VOLUME` must be an absolute path", "VOLUME: /data"),
        ("command mapping", "CMD: {a: b}", "7:8: `CMD`: single string or array of strings expected", "list of strings"),
        ("half a list", "CMD: '[\"a\", b]'", "7:8: `CMD` looks like a list but is not one", "write a YAML list"),
        (
            "healthcheck",
            "HEALTHCHECK: curl x",
            "7:16: `HEALTHCHECK`: `curl` stands where `CMD` or `NONE`",
            "--interval=30s",
        ),
        ("empty user", "USER: ''", "7:9: `USER` is empty", "or remove it"),
    ] {
        let text: &'static str = docker(row).leak();
        check(&[Row(name, text, message, hint)]);
    }
}

#[test]
fn mounts_and_secrets() {
    let texts = |key: &str, entries: &str| format!("image: a\nfrom: b\n{key}:\n{entries}\n");
    for (name, key, entries, message, hint) in [
        (
            "two sources",
            "mount",
            "- {from: tmp_dir, fromPath: /x, to: /y}",
            "7:29: a mount has either `from` or `fromPath`",
            "tmp_dir",
        ),
        ("no source", "mount", "- {to: /y}", "7:3: a mount has neither `from` nor `fromPath`", "tmp_dir"),
        ("unknown source", "mount", "- {from: cache, to: /y}", "7:10: unknown `from` of a mount: `cache`", "build_dir"),
        ("relative", "mount", "- {from: tmp_dir, to: y}", "7:23: `to` must be an absolute path", "write `to: /y`"),
        ("no target", "mount", "- {from: tmp_dir}", "7:3: `to` of a mount is missing", "write `to: "),
        (
            "same target",
            "mount",
            "- {from: tmp_dir, to: /y}\n- {from: build_dir, to: /y/}",
            "8:25: conflict between mounts",
            "line 7",
        ),
        ("no secret", "secrets", "- {id: x}", "7:3: a secret needs one of `env`, `src` and `value`", "env: NAME"),
        ("two secrets", "secrets", "- {env: X, src: y}", "7:3: a secret has one source", "env: NAME"),
        ("no id", "secrets", "- {value: x}", "7:3: a secret given by `value` needs an `id`", "write `id: NAME`"),
        ("same id", "secrets", "- {env: x}\n- {src: dir/x}", "8:3: duplicate secret id `x`", "line 7"),
    ] {
        let text: &'static str = texts(key, entries).leak();
        check(&[Row(name, text, message, hint)]);
    }
}
