//! Paths and globs as directives hold them.

use super::{Reader, section::Section, value::Written};
use crate::yaml::shorten;

impl Reader<'_> {
    /// `path`, the value of `key`, as an absolute and cleaned path in a container; a problem when it is relative.
    pub(crate) fn absolute(&mut self, path: &Written, key: &str) -> Option<String> {
        let cleaned = clean_absolute(&path.text);
        if cleaned.is_none() {
            let message = format!("`{key}` must be an absolute path, not `{}`", shorten(&path.text));
            self.refuse(
                path.position,
                message,
                format!("write `{key}: /{}`", shorten(path.text.trim_start_matches("./"))),
            );
        }
        cleaned
    }

    /// The globs under `key`, cleaned; a problem for each that is absolute, leads upwards or is malformed.
    pub(crate) fn globs(&mut self, section: &Section<'_>, key: &str) -> Vec<String> {
        let written = self.texts(section, key);
        written.iter().filter_map(|glob| self.glob(glob, key)).collect()
    }

    /// One glob of `key`, cleaned.
    pub(crate) fn glob(&mut self, glob: &Written, key: &str) -> Option<String> {
        let shown = shorten(&glob.text);
        let (message, hint) = if glob.text.trim().is_empty() {
            (format!("`{key}` holds an empty path"), "write a path or a glob, or remove it".to_owned())
        } else if glob.text.starts_with('/') {
            let relative = glob.text.trim_start_matches('/');
            let message = format!("`{key}` must be a relative path, not `{shown}`");
            (message, format!("paths are relative to `add`: write `{}`", shorten(relative)))
        } else {
            match clean_relative(&glob.text) {
                Some(cleaned) => return self.well_formed(glob, key, cleaned),
                None => {
                    let message = format!("`{key}` leads outside of `add`: `{shown}`");
                    (message, "remove `..`, or choose another `add`".to_owned())
                }
            }
        };
        self.refuse(glob.position, message, hint);
        None
    }

    fn well_formed(&mut self, glob: &Written, key: &str, cleaned: String) -> Option<String> {
        match slipway_paths::glob::validate(&cleaned) {
            Ok(()) => Some(cleaned),
            Err(error) => {
                let hint = "close every `[` and `{`; put `\\` before a special character that is meant as it is";
                self.refuse(glob.position, format!("`{key}`: {error}"), hint);
                None
            }
        }
    }
}

/// `path` without `.`, `..`, empty segments and a trailing separator. `None` = it is not absolute.
pub(crate) fn clean_absolute(path: &str) -> Option<String> {
    let rest = path.strip_prefix('/')?;
    let mut kept: Vec<&str> = Vec::new();
    for segment in rest.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    Some(format!("/{}", kept.join("/")))
}

/// A relative `path`, cleaned likewise; `**` for the directory itself. `None` = it leads upwards.
fn clean_relative(path: &str) -> Option<String> {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop()?;
            }
            other => kept.push(other),
        }
    }
    Some(if kept.is_empty() { "**".to_owned() } else { kept.join("/") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (given, cleaned) in
            [("/", Some("/")), ("/a//b/./c/", Some("/a/b/c")), ("/a/../../b", Some("/b")), ("a", None), ("", None)]
        {
            assert_eq!(clean_absolute(given).as_deref(), cleaned, "{given}");
        }
        for (given, cleaned) in [
            ("./a/", Some("a")),
            ("a/../b", Some("b")),
            (".", Some("**")),
            ("../a", None),
            ("**/*.js", Some("**/*.js")),
        ] {
            assert_eq!(clean_relative(given).as_deref(), cleaned, "{given}");
        }
    }
}
