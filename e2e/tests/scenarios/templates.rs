//! A configuration is a template: which files and variables it may read, what it is told, and where its problems are.

use anyhow::Result;
use slipway_e2e::{Part, Project, Run, require};

use crate::giterminism::{permit, refused};

const META: &str = "project: shop\nconfigVersion: 1\n---\n";
const GIT: [Part; 1] = [Part::Git];

fn prints(run: &Run, text: &str) {
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.stdout, text, "{}", run.stderr);
}

/// A project whose configuration is `text` after the meta section, and nothing committed yet.
fn project(text: &str) -> Result<Project> {
    let project = Project::new("templates")?;
    project.write("werf.yaml", format!("{META}{text}"))?;
    Ok(project)
}

#[test]
fn fixture_56_templates_are_committed_or_allowed_not_to_be() -> Result<()> {
    if !require(&GIT) {
        return Ok(());
    }
    let file = ".werf/templates/1.tmpl";
    let project = project("{{ include \"templates/1.tmpl\" . }}")?;
    project.commit("without the template")?;
    let render = || project.slipway(&["config", "render"]);
    refused(&render()?, "werf.yaml:4:4: error calling include: template: no template \"templates/1.tmpl\"");
    project.write(file, "# first\n")?;
    let untracked =
        "unable to read werf config templates: the untracked file \".werf/templates/1.tmpl\" must be committed";
    refused(&render()?, untracked);
    project.commit("the template")?;
    prints(&render()?, &format!("{META}# first\n"));
    project.write(file, "# second\n")?;
    let changed = "unable to read werf config templates: the file \".werf/templates/1.tmpl\" must be committed";
    refused(&render()?, changed);
    prints(&project.slipway(&["config", "render", "--loose-giterminism"])?, &format!("{META}# second\n"));
    prints(&project.slipway(&["config", "render", "--dev"])?, &format!("{META}# second\n"));
    for (allowed, is_allowed) in
        [(file, true), (".werf/**/*.tmpl", true), ("/.werf/other.tmpl", false), ("*.tmpl", false)]
    {
        project.write(file, "# first\n")?;
        permit(&project, &format!("config: {{allowUncommittedTemplates: ['{allowed}']}}\n"))?;
        project.commit("allow")?;
        project.write(file, "# third\n")?;
        let run = render()?;
        if is_allowed { prints(&run, &format!("{META}# third\n")) } else { refused(&run, changed) }
    }
    Ok(())
}

#[test]
fn fixture_57_files_are_committed_or_allowed_not_to_be() -> Result<()> {
    if !require(&GIT) {
        return Ok(());
    }
    let get = |text: &str| format!("error calling Get: {{{{ .Files.Get \".werf/file\" }}}}: {text}");
    let project = project("# {{ .Files.Get \".werf/file\" }}\n")?;
    project.commit("without the file")?;
    let render = || project.slipway(&["config", "render"]);
    refused(&render()?, &get("the file \".werf/file\" not found in the project git repository"));
    project.write(".werf/file", "content")?;
    refused(&render()?, &get("the untracked file \".werf/file\" must be committed"));
    project.commit("the file")?;
    prints(&render()?, &format!("{META}# content\n"));
    project.write(".werf/file", "changed")?;
    refused(&render()?, &get("the file \".werf/file\" must be committed"));
    prints(&project.slipway(&["config", "render", "--loose-giterminism"])?, &format!("{META}# changed\n"));
    for allowed in [".werf/file", ".werf/*", "**/file"] {
        project.write(".werf/file", "content")?;
        permit(&project, &format!("config: {{goTemplateRendering: {{allowUncommittedFiles: ['{allowed}']}}}}\n"))?;
        project.commit("allow")?;
        project.write(".werf/file", "changed")?;
        prints(&render()?, &format!("{META}# changed\n"));
    }
    std::fs::remove_file(project.path().join(".werf/file"))?;
    refused(&render()?, &get("the file \".werf/file\" not found in the project directory"));
    Ok(())
}

#[test]
fn fixture_57_globs_name_what_is_not_committed() -> Result<()> {
    if !require(&GIT) {
        return Ok(());
    }
    let project =
        project("{{ range $path, $text := .Files.Glob \".werf/**/*.txt\" }}# {{ $path }}: {{ $text }}\n{{ end }}")?;
    project.commit("without files")?;
    let render = || project.slipway(&["config", "render"]);
    refused(&render()?, "error calling Glob: {{ .Files.Glob \".werf/**/*.txt\" }}: no matches found");
    project.write(".werf/a.txt", "A")?;
    project.write(".werf/b/c.txt", "C")?;
    project.write(".werf/b/c.tx", "no")?;
    let run = render()?;
    refused(&run, "the following untracked files must be committed:\n\n - .werf/a.txt\n - .werf/b/c.txt\n");
    project.commit("files")?;
    prints(&render()?, &format!("{META}# .werf/a.txt: A\n# .werf/b/c.txt: C\n"));
    project.write(".werf/a.txt", "changed")?;
    refused(&render()?, "the file \".werf/a.txt\" must be committed");
    project.write(".werf/b/d.txt", "D")?;
    let loose = project.slipway(&["config", "render", "--loose-giterminism"])?;
    prints(&loose, &format!("{META}# .werf/a.txt: changed\n# .werf/b/c.txt: C\n# .werf/b/d.txt: D\n"));
    prints(&project.slipway(&["config", "render", "--dev"])?, &loose.stdout);
    project.git(&["checkout", "--quiet", ".werf/a.txt"])?;
    permit(&project, "config: {goTemplateRendering: {allowUncommittedFiles: ['.werf/**/*.txt']}}\n")?;
    project.git(&["add", "werf-giterminism.yaml"])?;
    project.git(&["commit", "--quiet", "--message", "allow"])?;
    project.write(".werf/a.txt", "changed")?;
    prints(&render()?, &loose.stdout);
    Ok(())
}

#[test]
fn fixture_58_variables_are_allowed_by_name() -> Result<()> {
    if !require(&GIT) {
        return Ok(());
    }
    let project = project("# {{ env \"NAME\" }}\n")?;
    project.commit("denied")?;
    let render = |value: &[(&str, &str)]| project.slipway_with(&["config", "render"], value);
    let set = [("NAME", "value")];
    let denied = "env name \"NAME\" not allowed by giterminism";
    let run = render(&set)?;
    refused(&run, denied);
    assert!(run.stderr.contains("werf-giterminism.yaml"), "{}", run.stderr);
    let unset = "the environment variable \"NAME\" must be set or default must be provided";
    for (allowed, is_allowed) in [("NAME", true), ("/NA.*/", true), ("NA.*", false), ("/NA./", false), ("name", false)]
    {
        permit(&project, &format!("config: {{goTemplateRendering: {{allowEnvVariables: ['{allowed}']}}}}\n"))?;
        project.commit("allow")?;
        if is_allowed {
            prints(&render(&set)?, &format!("{META}# value\n"));
            prints(&render(&[("NAME", "")])?, &format!("{META}# \n"));
            refused(&render(&[])?, unset);
        } else {
            refused(&render(&set)?, denied);
        }
    }
    prints(&project.slipway(&["config", "render", "--loose-giterminism"])?, &format!("{META}# \n"));
    permit(&project, "config: {goTemplateRendering: {allowEnvVariables: [NAME]}}\n")?;
    project.write("werf.yaml", format!("{META}# {{{{ env \"NAME\" \"default\" }}}}\n"))?;
    project.commit("a default")?;
    prints(&render(&[])?, &format!("{META}# default\n"));
    prints(&render(&[("NAME", "")])?, &format!("{META}# default\n"));
    prints(&render(&set)?, &format!("{META}# value\n"));
    Ok(())
}

#[test]
fn fixture_61_documents_of_images_are_rendered() -> Result<()> {
    if !require(&GIT) {
        return Ok(());
    }
    let project = Project::new("templates")?;
    let text = "project: none\nconfigVersion: 1.0\n---\nimage: image_a\nfrom: alpine\nshell:\n  install:\n  {{- include \"(component) ruby\" . | nindent 2 }}\n---\nimage: image_b\nfrom: alpine\nshell:\n  install:\n  {{- include \"(component) ruby\" . | nindent 2 }}\n  - echo {{`{{ item | quote }}`}}\n{{- define \"(component) ruby\" }}\n- apt install ruby\n- gem install bundler\n{{- end }}\n";
    project.write("werf.yaml", text)?;
    project.commit("two images")?;
    let meta = "project: none\nconfigVersion: 1.0\n---\n";
    let body = "shell:\n  install:\n  \n  - apt install ruby\n  - gem install bundler\n";
    let a = format!("image: image_a\nfrom: alpine\n{body}");
    let b = format!("image: image_b\nfrom: alpine\n{body}  - echo {{{{ item | quote }}}}\n");
    let render = |images: &[&str]| project.slipway(&[&["config", "render"], images].concat());
    prints(&render(&[])?, &format!("{meta}{a}---\n{b}"));
    for (pattern, expected) in [
        ("image_a", a.clone()),
        ("!image_b", a.clone()),
        ("*_a", a.clone()),
        ("image_b", b.clone()),
        ("image_*", format!("{a}---\n{b}")),
    ] {
        prints(&render(&[pattern])?, &expected);
    }
    let both = project.slipway(&["config", "list"])?;
    prints(&both, "image_a\nimage_b\n");
    prints(&project.slipway(&["plan", "-o", "json"])?, "{\"sets\":[[\"image_a\",\"image_b\"]]}\n");
    Ok(())
}

#[test]
fn templates_are_told_the_commit_and_the_environment() -> Result<()> {
    if !require(&GIT) {
        return Ok(());
    }
    let project = project(
        "# {{ .Env }}|{{ .Commit.Hash }}|{{ .Commit.Date.Unix }}|{{ mul .Commit.Date.Unix 2 }}|{{ .Commit.Date.Human }}\n",
    )?;
    project.git(&["add", "-A"])?;
    let dated = slipway_process::child::command("git")
        .args(["commit", "--quiet", "--message", "x"])
        .env("GIT_AUTHOR_DATE", "2024-05-06T10:08:09+0300")
        .env("GIT_COMMITTER_DATE", "2025-01-01T00:00:00+0000")
        .current_dir(project.path())
        .status()?;
    assert!(dated.success());
    let hash = project.git(&["rev-parse", "HEAD"])?;
    let rest = format!("|{hash}|1714979289|3429958578|2024-05-06 10:08:09 +0300 +0300\n");
    prints(&project.slipway(&["config", "render"])?, &format!("{META}# {rest}"));
    prints(&project.slipway(&["config", "render", "--env", "prod"])?, &format!("{META}# prod{rest}"));
    for name in ["WERF_ENV", "SLIPWAY_ENV"] {
        prints(&project.slipway_with(&["config", "render"], &[(name, "stage")])?, &format!("{META}# stage{rest}"));
    }
    Ok(())
}

#[test]
fn a_warning_names_its_place_in_the_template() -> Result<()> {
    if !require(&GIT) {
        return Ok(());
    }
    let project = project("{{ include \"images/app.tmpl\" (dict \"name\" \"app\") }}\n")?;
    project.write(
        ".werf/images/app.tmpl",
        "{{- range until 3 }}\n# {{ . }}\n{{- end }}\nimage: {{ .name }}\nfrom: alpine:3\ngit:\n- to: /app/\n",
    )?;
    project.commit("config")?;
    let output = project.slipway(&["config", "list"])?;
    let warning = "WARNING: .werf/images/app.tmpl:7:7: `to` ends in a slash, which has no meaning; write `to: /app`\n";
    assert!(output.code == 0 && output.stderr.contains(warning), "{output:?}");
    Ok(())
}

#[test]
fn a_problem_is_shown_where_it_stands_in_the_template() -> Result<()> {
    if !require(&GIT) {
        return Ok(());
    }
    let project = project("{{ include \"images/app.tmpl\" . }}\n{{- tpl (.Files.Get \"web/werf.inc.yaml\") . }}\n")?;
    project.write(".werf/images/app.tmpl", "{{ $name := \"app\" -}}\nimage: {{ $name }}\nfrm: alpine:3\n")?;
    project.write(
        "web/werf.inc.yaml",
        "---\nimage: web\n{{- if true }}\nfrom: alpine:3\nshell: {instal: [make]}\n{{ end }}",
    )?;
    project.commit("wrong")?;
    let run = project.slipway(&["config", "list"])?;
    let frm = ".werf/images/app.tmpl:3:1: unknown key `frm`\n   3 | frm: alpine:3\n     | ^\n  as rendered, line 5:\n   5 | frm: alpine:3\n     | ^\n";
    refused(&run, frm);
    refused(
        &run,
        "web/werf.inc.yaml:5:9: unknown key `instal` in `shell`\n   5 | shell: {instal: [make]}\n     |         ^\n",
    );
    project.write(".werf/images/app.tmpl", "image: app\nfrom: alpine:3\nmount: [{from: tmp_dir, to: /x}]\n")?;
    project.write("web/werf.inc.yaml", "---\nimage: web\nfrom: {{ index .Files 1 }}\n")?;
    project.commit("wrong otherwise")?;
    let run = project.slipway(&["plan"])?;
    refused(&run, "web/werf.inc.yaml:3:10: error calling index: ");
    refused(
        &run,
        "   3 | from: {{ index .Files 1 }}\n     |          ^\n  template: werf.yaml:5:4: executing \"werf.yaml\" at <tpl ",
    );
    project.write("web/werf.inc.yaml", "---\nimage: web\nfrom: {{ if }}\n")?;
    project.commit("no template")?;
    refused(&project.slipway(&["plan"])?, "web/werf.inc.yaml:3: missing value for if\n   3 | from: {{ if }}\n");
    Ok(())
}

#[test]
fn a_template_reads_nothing_outside_of_the_repository() -> Result<()> {
    if !require(&GIT) {
        return Ok(());
    }
    let project = Project::new("templates")?;
    project.write("shared.txt", "shared")?;
    project.write("sub/file", "")?;
    project.link("sub/out", "/etc/hostname")?;
    project.link("sub/up", "../../../../../../../../etc/hostname")?;
    let ask = |path: &str| -> Result<Run> {
        project.write("sub/werf.yaml", format!("{META}# {{{{ .Files.Get \"{path}\" }}}}\n"))?;
        project.commit("ask")?;
        project.slipway(&["config", "render", "--dir", "sub"])
    };
    // Beside the project directory, but in the commit.
    prints(&ask("../shared.txt")?, &format!("{META}# shared\n"));
    for path in
        ["../../etc/hostname", "/../../../etc/hostname", "/etc/hostname", "out", "up", ".git/config", "../.git/config"]
    {
        refused(&ask(path)?, "not found in the project git repository");
        let loose = project.slipway(&["config", "render", "--dir", "sub", "--loose-giterminism"])?;
        refused(&loose, "not found in the project");
    }
    Ok(())
}

#[test]
fn debugging_is_shown_when_asked_for() -> Result<()> {
    if !require(&GIT) {
        return Ok(());
    }
    let project = project(
        "{{ printf_debug \"%d things\" 3 }}{{ dump_debug (dict \"a\" (list 1 \"x\")) }}{{ include_debug \"t.tmpl\" . }}{{ tpl_debug \"# {{ .Env }}\\n\" . }}",
    )?;
    project.write(".werf/t.tmpl", "# t\n")?;
    project.commit("debug")?;
    let text = format!("{META}# t\n# \n");
    let quiet = project.slipway(&["config", "render"])?;
    prints(&quiet, &text);
    assert!(!quiet.stderr.contains("_debug"), "{}", quiet.stderr);
    let loud = project.slipway(&["config", "render", "--debug-templates"])?;
    prints(&loud, &text);
    for said in [
        "printf_debug",
        "3 things",
        "(map[string]interface {}) (len=1) {\n (string) (len=1) \"a\": ([]interface {}) (len=2",
        "include_debug",
        "tpl_debug",
    ] {
        assert!(loud.stderr.contains(said), "`{said}` is not in:\n{}", loud.stderr);
    }
    let path = project.home().join("rendered.yaml");
    let path = path.to_str().expect("a UTF-8 path");
    prints(&project.slipway(&["config", "list", "--config-render-path", path])?, "");
    assert_eq!(std::fs::read_to_string(path)?, text);
    Ok(())
}
