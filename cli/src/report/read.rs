//! A report as later commands read it.

use std::{collections::BTreeMap, fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::Place;

/// Longest report that is read, in bytes.
const LONGEST: u64 = 256 << 20;

/// An image of a report.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Reported {
    /// Where it is.
    #[serde(flatten)]
    pub(crate) place: Place,
    /// The commit that it is of.
    #[serde(rename = "Commit", default)]
    pub(crate) commit: String,
    /// Its stages.
    #[serde(rename = "Stages", default)]
    pub(crate) stages: Vec<ReportedStage>,
}

/// A stage of an image of a report.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReportedStage {
    /// Where it is.
    #[serde(flatten)]
    pub(crate) place: Place,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    images: BTreeMap<String, Reported>,
}

/// The images of a report, by their names.
///
/// # Errors
/// When there is none, or it is none that a build wrote as JSON.
pub(crate) fn read(path: &Path) -> anyhow::Result<BTreeMap<String, Reported>> {
    let shown = path.display();
    if path.extension().is_some_and(|extension| extension == "env") {
        bail!(
            "read the build report {shown}: its form is that of variables; name one in JSON with --build-report-path"
        );
    }
    let mut text = Vec::new();
    let file = File::open(path)
        .with_context(|| format!("read the build report {shown}; a build with --save-build-report writes it"))?;
    file.take(LONGEST + 1).read_to_end(&mut text).with_context(|| format!("read the build report {shown}"))?;
    if text.len() as u64 > LONGEST {
        bail!("read the build report {shown}: it has more than {LONGEST} bytes");
    }
    let report: Report =
        serde_json::from_slice(&text).with_context(|| format!("read the build report {shown}: it is none"))?;
    Ok(report.images)
}
