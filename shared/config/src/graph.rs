//! What `config list` and `config graph` print.

use crate::{Base, Config, Image, ImageKind, ImageName};

/// The names of the images, in the order of declaration; with `only_final` those alone that may be deployed.
/// Artifacts are no images.
pub fn image_names(config: &Config, only_final: bool) -> Vec<&ImageName> {
    let wanted = |image: &&Image| !image.artifact && (image.is_final || !only_final);
    config.images.iter().filter(wanted).flat_map(|image| &image.names).collect()
}

/// `images` and what each depends on, as a YAML list of `{image, dependsOn: {from, import, dependencies}}`; one
/// item per name, absent parts left out.
pub fn graph_yaml(config: &Config, images: &[&Image]) -> String {
    let mut text = String::new();
    for image in images {
        let relations = relations(config, image);
        for name in &image.names {
            text.push_str(&format!("- image: {}\n{relations}", scalar(&name.to_string())));
        }
    }
    if text.is_empty() { "[]\n".to_owned() } else { text }
}

/// The `dependsOn` of an item.
fn relations(config: &Config, image: &Image) -> String {
    let mut text = String::new();
    let mut imports: Vec<&ImageName> = Vec::new();
    if let ImageKind::Stapel(stapel) = &image.kind {
        if let Base::Image(name) = &stapel.base {
            text.push_str(&format!("    from: {}\n", scalar(&name.to_string())));
        }
        imports.extend(stapel.imports.iter().map(|import| &import.source));
    }
    let own = config.dependencies.iter().filter(|dependency| dependency.image == *image.name());
    text.push_str(&list("import", imports));
    text.push_str(&list("dependencies", own.map(|dependency| &dependency.target).collect()));
    if text.is_empty() { text } else { format!("  dependsOn:\n{text}") }
}

/// `key` with the names under it, each once.
fn list(key: &str, names: Vec<&ImageName>) -> String {
    let mut seen: Vec<&ImageName> = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    if seen.is_empty() {
        return String::new();
    }
    let items: String = seen.iter().map(|name| format!("    - {}\n", scalar(&name.to_string()))).collect();
    format!("    {key}:\n{items}")
}

/// `text` as a YAML scalar: quoted unless it can only be read as itself.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
        );
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{closure, parse, select};

    const TEXT: &str = "configVersion: 1\nproject: p\n---\nimage: base\nfrom: alpine\n---\nartifact: tools\nfrom: alpine\n\
        ---\nimage: [app, \"1x\"]\nfinal: false\nfromImage: base\nimport:\n- {artifact: tools, add: /a, after: setup}\n\
        - {artifact: tools, add: /b, after: setup}\ndependencies:\n- {image: web, after: setup}\n---\nimage: web\n\
        dockerfile: Dockerfile\n";

    #[test]
    fn the_graph_is_a_yaml_list() {
        let config = parse("werf.yaml", TEXT).expect("a configuration");
        let all = select(&config, &[]).expect("all images");
        let entry = "  dependsOn:\n    from: base\n    import:\n    - tools\n    dependencies:\n    - web\n";
        let expected = format!("- image: base\n- image: app\n{entry}- image: \"1x\"\n{entry}- image: web\n");
        assert_eq!(graph_yaml(&config, &all), expected);
        assert_eq!(graph_yaml(&config, &[]), "[]\n");
        let app = select(&config, &["app".to_owned()]).expect("one image");
        let needed: Vec<String> = closure(&config, &app).iter().map(|image| image.name().to_string()).collect();
        assert_eq!(needed, ["base", "tools", "app", "web"]);
    }

    #[test]
    fn names_are_listed() {
        let config = parse("werf.yaml", TEXT).expect("a configuration");
        let shown = |only_final| image_names(&config, only_final).iter().map(|name| name.0.clone()).collect::<Vec<_>>();
        assert_eq!(shown(false), ["base", "app", "1x", "web"]);
        assert_eq!(shown(true), ["base", "web"]);
    }
}
