//! The build report: whether, where and in which form.

use super::{
    flag::{Flag, Support},
    resolve::{FlagError, Values},
};

pub(crate) const SAVE_BUILD_REPORT: Flag = Flag::switch("save-build-report", "Write a report of the built images");
pub(crate) const BUILD_REPORT_PATH: Flag = Flag::text(
    "build-report-path",
    "FILE",
    "Where the report is written; its form is that of the extension, .json or .env",
)
.default(".werf-build-report.json");
pub(crate) const BY_PLATFORM: Flag =
    Flag::switch("enable-report-by-platform", "List images by platform in the report, too");
pub(crate) const REPORT_PATH: Flag = Flag::text("report-path", "FILE", "Old name of --build-report-path")
    .support(Support::Renamed("save-build-report --build-report-path"));
pub(crate) const REPORT_FORMAT: Flag =
    Flag::choice("report-format", &["json", "envfile"], "Old way to choose the form of the report")
        .support(Support::Renamed("build-report-path with the extension .json or .env"));

pub(super) const FLAGS: &[Flag] = &[SAVE_BUILD_REPORT, BUILD_REPORT_PATH, BY_PLATFORM, REPORT_PATH, REPORT_FORMAT];

/// The form of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReportFormat {
    /// JSON.
    Json,
    /// `NAME=VALUE` lines.
    Env,
}

/// A report that is to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ReportFlags {
    /// Where, relative to the current directory.
    pub(crate) path: String,
    /// In which form.
    pub(crate) format: ReportFormat,
    /// Whether images are listed by platform, too.
    pub(crate) by_platform: bool,
}

impl ReportFlags {
    /// What the flags and variables say; `None` = no report.
    ///
    /// # Errors
    /// When the path's extension is unknown, or old and new flags are mixed.
    pub(crate) fn from_values(values: &Values) -> Result<Option<Self>, FlagError> {
        let old: Vec<&Flag> = [&REPORT_PATH, &REPORT_FORMAT].into_iter().filter(|flag| values.is_given(flag)).collect();
        let new: Vec<&Flag> =
            [&SAVE_BUILD_REPORT, &BUILD_REPORT_PATH].into_iter().filter(|flag| values.is_given(flag)).collect();
        if let ([old, ..], [new, ..]) = (old.as_slice(), new.as_slice()) {
            let (old, new) = (values.spelling(old), values.spelling(new));
            return Err(FlagError(format!(
                "{old} is the old form of {new}: use --save-build-report and --build-report-path only"
            )));
        }
        if let Some(path) = values.text(&REPORT_PATH) {
            let env = values.text(&REPORT_FORMAT).as_deref() == Some("envfile");
            let format = if env { ReportFormat::Env } else { ReportFormat::Json };
            return Ok(Some(Self { path, format, by_platform: values.switch(&BY_PLATFORM) }));
        }
        if !values.switch(&SAVE_BUILD_REPORT) {
            return Ok(None);
        }
        let path = values.text(&BUILD_REPORT_PATH).unwrap_or_default();
        by_extension(&path).map(|report| Some(Self { by_platform: values.switch(&BY_PLATFORM), ..report }))
    }
}

/// The report at `path`, in the form of its extension.
///
/// # Errors
/// When the extension is unknown.
pub(crate) fn by_extension(path: &str) -> Result<ReportFlags, FlagError> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if name.is_empty() {
        return Err(FlagError(format!("--build-report-path: `{path}` is no file name")));
    }
    // A name such as `.env` is all extension.
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("json") => Ok(ReportFlags { path: path.to_owned(), format: ReportFormat::Json, by_platform: false }),
        Some("env") => Ok(ReportFlags { path: path.to_owned(), format: ReportFormat::Env, by_platform: false }),
        None => Ok(ReportFlags { path: format!("{path}.json"), format: ReportFormat::Json, by_platform: false }),
        Some(other) => Err(FlagError(format!(
            "--build-report-path: `{path}` ends in .{other}; write .json or .env, or no extension for JSON"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_chooses_the_form() {
        let form = |path: &str| by_extension(path).map(|report| (report.path, report.format)).ok();
        assert_eq!(form("a/report.json"), Some(("a/report.json".into(), ReportFormat::Json)));
        assert_eq!(form("a.b/report"), Some(("a.b/report.json".into(), ReportFormat::Json)));
        assert_eq!(form("a/.env"), Some(("a/.env".into(), ReportFormat::Env)));
        assert_eq!(form("x.env"), Some(("x.env".into(), ReportFormat::Env)));
        assert_eq!(form("x.yaml"), None);
        assert_eq!(form("dir/"), None);
    }
}
