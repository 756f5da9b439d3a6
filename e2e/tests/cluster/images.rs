//! The files of `docker/`.

use std::path::Path;

use anyhow::Result;
use slipway_process::child;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the checkout")
}

#[test]
fn the_compose_file_is_valid() -> Result<()> {
    let composed = child::command("docker-compose")
        .args(["--file", "docker/compose.yaml", "config", "--quiet"])
        .current_dir(root())
        .output();
    match composed {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => slipway_parts::skip("docker-compose", &format!("docker-compose cannot be run: {error}")),
    }
    Ok(())
}

/// The Dockerfile names targets that the compose file asks for, and files that are there.
#[test]
fn the_dockerfile_has_what_the_compose_file_asks_for() -> Result<()> {
    let dockerfile = std::fs::read_to_string(root().join("docker/Dockerfile"))?;
    let compose = std::fs::read_to_string(root().join("docker/compose.yaml"))?;
    let targets = compose.split("target: ").skip(1).filter_map(|rest| rest.split('}').next());
    for target in targets {
        assert!(dockerfile.lines().any(|line| line.ends_with(&format!(" AS {target}"))), "{target}");
    }
    let copied = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY docker/"));
    for file in copied.filter_map(|rest| rest.split(' ').next()) {
        assert!(root().join("docker").join(file).exists(), "{file}");
    }
    Ok(())
}
