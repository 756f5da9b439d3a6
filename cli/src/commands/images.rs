//! The images of a project, where they are: as a build leaves them, or as its report says; and `slipway stage image`.

use anyhow::{Context as _, anyhow};
use slipway_config::{Config, select};

use super::{build, session::Session};
use crate::{
    choose::Backend,
    failure::Failure,
    flags::{
        bridge::USE_BUILD_REPORT,
        report::{BUILD_REPORT_PATH, by_extension},
    },
    host::HostOptions,
    report::{self, Place, Reported},
};

/// An image, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Located {
    /// Its name in the configuration; empty for the one without.
    pub(super) name: String,
    /// Where it is.
    pub(super) place: Place,
}

/// The images that a command is about.
pub(super) struct Images {
    /// Each of their names, in the order of the configuration.
    pub(super) all: Vec<Located>,
    /// What on this host has them, where no registry and no engine does.
    pub(super) keeper: Option<HostOptions>,
}

/// Prints where the last stage of an image is.
pub(crate) async fn name(session: Session) -> Result<(), Failure> {
    let (image, _) = one(&session).await?;
    session.printer.data(format!("{}\n", image.place.name()).as_bytes())?;
    Ok(())
}

/// The only image that the command is about, and what has it where no registry and no engine does.
pub(super) async fn one(session: &Session) -> Result<(Located, Option<HostOptions>), Failure> {
    let mut wanted = None;
    let images = obtain(session, |config| {
        wanted = Some(single(config, &session.patterns)?);
        Ok(())
    })
    .await?;
    let wanted = wanted.unwrap_or_default();
    let found = images.all.into_iter().find(|image| image.name == wanted);
    Ok((found.with_context(|| format!("image {wanted} was not built"))?, images.keeper))
}

/// The name of the one image that patterns select; without any, of the only one that may be deployed.
fn single(config: &Config, patterns: &[String]) -> Result<String, Failure> {
    let mut chosen = select(config, patterns).map_err(Failure::usage)?;
    if patterns.is_empty() {
        chosen.retain(|image| image.is_final && !image.artifact);
    }
    if let [image] = chosen.as_slice() {
        let named = patterns.first().and_then(|pattern| image.names.iter().find(|name| name.0 == *pattern));
        return Ok(named.unwrap_or(&image.names[0]).0.clone());
    }
    let names: Vec<String> = chosen.iter().map(|image| image.name().to_string()).collect();
    let why =
        if names.is_empty() { "there is no image".to_owned() } else { format!("name one of {}", names.join(", ")) };
    Err(Failure::usage(anyhow!("the command is about one image: {why}")))
}

/// Builds the images that are selected, or takes them from the report when the flag says so. `check` sees the
/// configuration before anything is built.
pub(super) async fn obtain(
    session: &Session,
    check: impl FnOnce(&Config) -> Result<(), Failure>,
) -> Result<Images, Failure> {
    if session.values.switch(&USE_BUILD_REPORT) {
        let (_, config) = session.open().await?;
        check(&config)?;
        return Ok(Images { all: reported(session, &config)?, keeper: None });
    }
    let built = Box::pin(build::build(session, |config| check(config).map(|()| true))).await?;
    let built = built.context("the build did not wait for its end")?;
    let exported = built.outcome.images.iter().filter(|image| !image.is_within());
    let all = exported.filter_map(|image| Some((image, Place::of_image(image)?))).flat_map(|(image, place)| {
        image.names.iter().map(move |name| Located { name: name.0.clone(), place: place.clone() })
    });
    let all: Vec<Located> = all.collect();
    let is_local = all.iter().any(|image| image.place.image_digest.is_empty());
    let keeper = built.host.filter(|host| is_local && host.backend != Backend::Docker);
    Ok(Images { all, keeper })
}

/// The images that are selected, as the report has them.
pub(super) fn reported(session: &Session, config: &Config) -> Result<Vec<Located>, Failure> {
    let entries = entries(session, config)?.into_iter();
    Ok(entries.map(|(name, entry)| Located { name, place: entry.place }).collect())
}

/// The same with all that the report says of them.
pub(super) fn entries(session: &Session, config: &Config) -> Result<Vec<(String, Reported)>, Failure> {
    let path = session.values.text(&BUILD_REPORT_PATH).unwrap_or_default();
    let flags = by_extension(&path).map_err(Failure::usage)?;
    let mut all = report::read(&session.here.join(&flags.path))?;
    let chosen = select(config, &session.patterns).map_err(Failure::usage)?;
    let mut found = Vec::new();
    for name in chosen.into_iter().filter(|image| !image.artifact).flat_map(|image| &image.names) {
        match all.remove(&name.0) {
            Some(entry) => found.push((name.0.clone(), entry)),
            None if session.patterns.is_empty() => {}
            None => {
                return Err(
                    anyhow!("the build report {} does not hold image {name}: build it first", flags.path).into()
                );
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_image_is_named_or_the_only_one() {
        let config = |text: &str| {
            let text = format!("project: p\nconfigVersion: 1\n---\n{text}");
            slipway_config::parse("werf.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"))
        };
        let two = config("image: [app, web]\nfrom: a\n---\nimage: base\nfinal: false\nfrom: a\n");
        let name = |config: &Config, patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
            single(config, &patterns).map_err(|failure| failure.text())
        };
        assert_eq!(name(&two, &[]).as_deref(), Ok("app"));
        assert_eq!(name(&two, &["web"]).as_deref(), Ok("web"));
        assert_eq!(name(&two, &["base"]).as_deref(), Ok("base"));
        let many = config("image: a\nfrom: a\n---\nimage: b\nfrom: a\n");
        assert_eq!(name(&many, &[]), Err("the command is about one image: name one of a, b".to_owned()));
    }
}
