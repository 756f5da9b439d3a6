//! Secrets of images, read where the configuration says.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use slipway_backend::scrub;
use slipway_config::{Image, Secret, SecretSource};
use slipway_process::Environment;
use slipway_protocol::{
    Hidden, SecretValues,
    secrets::{LONGEST_SECRET, MOST_SECRETS},
};

use crate::{failure::Failure, output::Printer, project::Project};

/// Reads the secrets of images. Blocks.
///
/// # Errors
/// When one is not there, or is too long; says which, and never what it holds.
pub(crate) fn take(
    project: &Project,
    images: &[Image],
    environment: &Environment,
    printer: &Printer,
) -> Result<SecretValues, Failure> {
    let mut values = SecretValues::new();
    for image in images {
        for secret in &image.secrets {
            let place = project.rendering.place(secret.position);
            let doing = || format!("{place}: image {}: the secret `{}`", image.name(), secret.id);
            let content =
                read(secret, &project.directory, environment).with_context(doing).map_err(Failure::project)?;
            let shown = content.trim_ascii().len();
            if (1..scrub::SHORTEST).contains(&shown) {
                printer.warn(&format!(
                    "{}: it has fewer than {} characters, so that output which holds it is not masked",
                    doing(),
                    scrub::SHORTEST
                ));
            }
            values.insert(secret.key(image), Hidden::new(content));
        }
    }
    let bytes: usize = values.values().map(|secret| secret.reveal().len()).sum();
    if bytes > MOST_SECRETS {
        let why = format!("the secrets of all images have {bytes} bytes; at most {MOST_SECRETS} are taken");
        return Err(Failure::project_text(why));
    }
    Ok(values)
}

/// The text of the configuration without the secrets that it spells out: as it may be stored.
///
/// # Errors
/// When one cannot be taken out.
pub(crate) fn hidden(project: &Project) -> Result<String, Failure> {
    let hidden = slipway_config::hide_values(&project.config_name, &project.rendering.text);
    let hidden = hidden.map_err(|error| {
        let place = project.rendering.place(error.position);
        Failure::project(anyhow!("{place}: {error}"))
    })?;
    Ok(hidden.into_owned())
}

fn read(secret: &Secret, directory: &Path, environment: &Environment) -> anyhow::Result<Vec<u8>> {
    let content = match &secret.source {
        SecretSource::Env(name) => {
            let value = environment.get(name).with_context(|| format!("the variable {name} is not set: set it"))?;
            value.as_bytes().to_vec()
        }
        SecretSource::Value(value) => value.clone().into_bytes(),
        SecretSource::File(path) => {
            let path = located(path, directory, environment)?;
            let mut content = Vec::new();
            let opened = File::open(&path).and_then(|file| {
                let limit = u64::try_from(LONGEST_SECRET).unwrap_or(u64::MAX);
                file.take(limit + 1).read_to_end(&mut content)
            });
            opened.with_context(|| format!("read {}", path.display()))?;
            content
        }
    };
    if content.len() > LONGEST_SECRET {
        return Err(anyhow!("it is longer than {LONGEST_SECRET} bytes"));
    }
    Ok(content)
}

/// Where a file of `src` is: relative to the project directory, or below the user's own.
fn located(path: &str, directory: &Path, environment: &Environment) -> anyhow::Result<PathBuf> {
    match path.strip_prefix("~/") {
        Some(rest) => {
            let home = environment.non_empty("HOME").context("HOME is not set, and `~` stands for it")?;
            Ok(Path::new(home).join(rest))
        }
        None => Ok(directory.join(path)),
    }
}

#[cfg(test)]
mod tests {
    use slipway_config::Position;

    use super::*;

    #[test]
    fn values_come_from_where_they_are_said_to_be() {
        let home = tempfile::tempdir().expect("a directory");
        let project = tempfile::tempdir().expect("a directory");
        std::fs::write(home.path().join("token"), "of home").expect("a file");
        std::fs::write(project.path().join("token"), "of the project").expect("a file");
        std::fs::write(project.path().join("long"), vec![b'x'; LONGEST_SECRET + 1]).expect("a file");
        let home = home.path().display().to_string();
        let environment: Environment = [("HOME", home.as_str()), ("TOKEN", "of a variable")].into_iter().collect();
        let absolute = project.path().join("token").display().to_string();
        let of = |source| {
            let secret = Secret { id: "x".to_owned(), source, position: Position { line: 1, column: 1 } };
            let read = read(&secret, project.path(), &environment);
            read.map(|content| String::from_utf8(content).expect("text")).map_err(|error| format!("{error:#}"))
        };
        let file = |path: &str| SecretSource::File(path.to_owned());
        assert_eq!(of(file("~/token")), Ok("of home".to_owned()));
        assert_eq!(of(file("token")), Ok("of the project".to_owned()));
        assert_eq!(of(file(&absolute)), Ok("of the project".to_owned()));
        assert_eq!(of(SecretSource::Env("TOKEN".to_owned())), Ok("of a variable".to_owned()));
        assert_eq!(of(SecretSource::Value("written".to_owned())), Ok("written".to_owned()));
        for (source, why) in [
            (SecretSource::Env("NONE".to_owned()), "the variable NONE is not set"),
            (file("none"), "No such file"),
            (file("long"), "longer than 65536 bytes"),
        ] {
            let error = of(source).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }
}
