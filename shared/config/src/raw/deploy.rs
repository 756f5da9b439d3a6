//! `deploy`: for other commands; its shape is checked, its values are not kept.

use super::{Reader, section::Section};

const KEYS: [&str; 6] =
    ["helmChartDir", "helmChartConfig", "helmRelease", "helmReleaseSlug", "namespace", "namespaceSlug"];

/// Checks the `deploy` of the meta section.
pub(super) fn check(reader: &mut Reader<'_>, meta: &Section<'_>) {
    let Some(deploy) = reader.subsection(meta, "deploy", &KEYS) else { return };
    for key in ["helmChartDir", "helmRelease", "namespace"] {
        reader.filled(&deploy, key);
    }
    for key in ["helmReleaseSlug", "namespaceSlug"] {
        reader.flag(&deploy, key);
    }
    if let Some(chart) = reader.subsection(&deploy, "helmChartConfig", &["appVersion"]) {
        reader.text(&chart, "appVersion");
    }
}
