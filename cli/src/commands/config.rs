//! `slipway config render|list|graph`.

use std::collections::BTreeMap;

use slipway_config::{Image, graph_dot, graph_json, graph_yaml, select_documents};

use super::{selection, session::Session};
use crate::{
    failure::Failure,
    flags::building::{FINAL_IMAGES_ONLY, GRAPH_OUTPUT},
    parts,
};

/// Prints the configuration as it is read, or the documents of some images.
pub(crate) async fn render(session: Session) -> Result<(), Failure> {
    let (project, config) = session.open().await?;
    let text = select_documents(&config, &project.rendering.text, &session.patterns).map_err(Failure::usage)?;
    session.printer.data(text.as_bytes())?;
    Ok(())
}

/// Prints the names of images and artifacts, one per line.
pub(crate) async fn list(session: Session) -> Result<(), Failure> {
    let (_, config) = session.open().await?;
    let only_final = session.values.switch(&FINAL_IMAGES_ONLY);
    let images = config.images.iter().filter(|image| image.is_final || !only_final);
    let text: String = images.flat_map(|image| &image.names).map(|name| format!("{name}\n")).collect();
    session.printer.data(text.as_bytes())?;
    Ok(())
}

/// Prints what images need of each other.
pub(crate) async fn graph(session: Session) -> Result<(), Failure> {
    let (project, config) = session.open().await?;
    let platforms = selection::platforms(&[])?;
    let graph = selection::graph(&config, &session.patterns, (false, &platforms))?;
    let apart = move || parts::apart(&project, &graph, &BTreeMap::new(), &platforms.otherwise);
    let graph = session.blocking(apart).await?;
    let images: Vec<&Image> = graph.images().iter().collect();
    let text = match session.values.text(&GRAPH_OUTPUT).as_deref() {
        Some("json") => graph_json(&images),
        Some("dot") => graph_dot(&images),
        _ => graph_yaml(&images),
    };
    session.printer.data(text.as_bytes())?;
    Ok(())
}
