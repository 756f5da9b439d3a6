//! What `config list` and `config graph` print.

use serde_json::{Map, Value};

use crate::{Config, Image, ImageKind, ImageName, Import};

/// The names of the images, in the order of declaration; with `only_final` those alone that may be deployed.
/// Artifacts are no images.
pub fn image_names(config: &Config, only_final: bool) -> Vec<&ImageName> {
    let wanted = |image: &&Image| !image.artifact && (image.is_final || !only_final);
    config.images.iter().filter(wanted).flat_map(|image| &image.names).collect()
}

/// What an image depends on.
struct Relations<'c> {
    from: Option<&'c ImageName>,
    import: Vec<&'c ImageName>,
    dependencies: Vec<&'c ImageName>,
}

impl<'c> Relations<'c> {
    fn of(image: &'c Image) -> Self {
        let imports = match &image.kind {
            ImageKind::Dockerfile(_) => [].as_slice(),
            ImageKind::Stapel(stapel) => stapel.imports.as_slice(),
        };
        let reads = image.part().map_or([].as_slice(), |part| part.reads.as_slice());
        Self {
            from: image.base(),
            import: unique(imports.iter().filter_map(Import::image).chain(reads)),
            dependencies: unique(image.dependencies.iter().map(|dependency| &dependency.image)),
        }
    }
}

/// `images` and what each depends on, as a YAML list of `{image, dependsOn: {from, import, dependencies}}`; one
/// item per name, absent parts left out.
pub fn graph_yaml(images: &[&Image]) -> String {
    let mut text = String::new();
    for image in images {
        let Relations { from, import, dependencies } = Relations::of(image);
        let from = from.map(|name| format!("    from: {}\n", scalar(&name.to_string()))).unwrap_or_default();
        let relations = from + &list("import", &import) + &list("dependencies", &dependencies);
        let relations = if relations.is_empty() { relations } else { format!("  dependsOn:\n{relations}") };
        for name in &image.names {
            text.push_str(&format!("- image: {}\n{relations}", scalar(&name.to_string())));
        }
    }
    if text.is_empty() { "[]\n".to_owned() } else { text }
}

/// The list of [`graph_yaml`] in JSON.
pub fn graph_json(images: &[&Image]) -> String {
    let mut items = Vec::new();
    for image in images {
        let Relations { from, import, dependencies } = Relations::of(image);
        let names = |names: &[&ImageName]| Value::from(names.iter().map(ToString::to_string).collect::<Vec<_>>());
        let mut relations = Map::new();
        relations.extend(from.map(|name| ("from".to_owned(), Value::from(name.to_string()))));
        relations.extend((!import.is_empty()).then(|| ("import".to_owned(), names(&import))));
        relations.extend((!dependencies.is_empty()).then(|| ("dependencies".to_owned(), names(&dependencies))));
        for name in &image.names {
            let mut item = Map::from_iter([("image".to_owned(), Value::from(name.to_string()))]);
            if !relations.is_empty() {
                item.insert("dependsOn".to_owned(), Value::from(relations.clone()));
            }
            items.push(Value::from(item));
        }
    }
    format!("{:#}\n", Value::from(items))
}

/// `images` and what each depends on, as a directed graph in Graphviz' language: an edge leads from an image to what
/// must be built before it and says why. Intermediate images have dashed borders.
pub fn graph_dot(images: &[&Image]) -> String {
    let mut text = "digraph images {\n".to_owned();
    let quoted = |name: &ImageName| Value::from(name.to_string()).to_string();
    for image in images {
        let Relations { from, import, dependencies } = Relations::of(image);
        for name in &image.names {
            let name = quoted(name);
            let style = if image.is_final { "" } else { " [style=dashed]" };
            text.push_str(&format!("  {name}{style};\n"));
            let edges = from.iter().map(|name| ("from", *name));
            let edges = edges.chain(import.iter().map(|name| ("import", *name)));
            for (why, need) in edges.chain(dependencies.iter().map(|name| ("dependencies", *name))) {
                text.push_str(&format!("  {name} -> {} [label={why}];\n", quoted(need)));
            }
        }
    }
    text + "}\n"
}

fn unique<'c>(names: impl Iterator<Item = &'c ImageName>) -> Vec<&'c ImageName> {
    let mut seen: Vec<&ImageName> = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

/// `key` with the names under it.
fn list(key: &str, names: &[&ImageName]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let items: String = names.iter().map(|name| format!("    - {}\n", scalar(&name.to_string()))).collect();
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
    if plain { text.to_owned() } else { Value::from(text).to_string() }
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
        assert_eq!(graph_yaml(&all), expected);
        assert_eq!(graph_yaml(&[]), "[]\n");
        let graph: Value = serde_json::from_str(&graph_json(&all)).expect("JSON");
        let relations = serde_json::json!({"from": "base", "import": ["tools"], "dependencies": ["web"]});
        assert_eq!(graph[0], serde_json::json!({"image": "base"}));
        assert_eq!(graph[2], serde_json::json!({"image": "1x", "dependsOn": relations}));
        let dot = graph_dot(&all);
        assert!(dot.starts_with("digraph images {\n  \"base\";\n  \"app\" [style=dashed];\n"), "{dot}");
        assert!(dot.contains("  \"1x\" -> \"web\" [label=dependencies];\n"), "{dot}");
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
