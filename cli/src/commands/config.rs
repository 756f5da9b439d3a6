//! `slipway config render|list|graph`.

use slipway_config::{closure, graph_yaml, image_names, select, select_documents};

use super::session::Session;
use crate::{failure::Failure, flags::building::FINAL_IMAGES_ONLY};

/// Prints the configuration as it is read, or the documents of some images.
pub(crate) async fn render(session: Session) -> Result<(), Failure> {
    let (project, config) = session.open().await?;
    let text = select_documents(&config, &project.config_text, &session.patterns).map_err(Failure::usage)?;
    session.printer.data(text.as_bytes())?;
    Ok(())
}

/// Prints the names of images, one per line.
pub(crate) async fn list(session: Session) -> Result<(), Failure> {
    let (_, config) = session.open().await?;
    let names = image_names(&config, session.values.switch(&FINAL_IMAGES_ONLY));
    let text: String = names.into_iter().map(|name| format!("{name}\n")).collect();
    session.printer.data(text.as_bytes())?;
    Ok(())
}

/// Prints what images need of each other.
pub(crate) async fn graph(session: Session) -> Result<(), Failure> {
    let (_, config) = session.open().await?;
    let chosen = select(&config, &session.patterns).map_err(Failure::usage)?;
    session.printer.data(graph_yaml(&config, &closure(&config, &chosen)).as_bytes())?;
    Ok(())
}
