//! Which toolbox build containers get, and what one must have.

use crate::Places;

/// What scripts of stages call, all of it below the directory of the toolbox's programs.
pub const REQUIRED: [&str; 4] = ["bash", "base64", "rm", "true"];

/// Which toolbox build containers get.
#[derive(Clone, Debug)]
pub enum Source {
    /// Made here, of the programs that are found in these places.
    Own(Places),
    /// An image that the user names (`WERF_STAPEL_IMAGE_NAME`, `WERF_STAPEL_IMAGE_VERSION`).
    Image {
        /// Repository.
        name: String,
        /// Tag.
        version: String,
    },
}

/// What is wrong with a toolbox image that lacks these programs; `None` = nothing, as it lacks none.
pub fn complaint(image: &str, missing: &[&str]) -> Option<String> {
    if missing.is_empty() {
        return None;
    }
    Some(format!(
        "the toolbox image {image} (WERF_STAPEL_IMAGE_NAME) has no {} in {}: take another, or make one of \
         docker/toolbox/Dockerfile of this program's sources",
        missing.join(", "),
        slipway_backend::script::TOOLBOX_BIN
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(complaint("r/t:1", &[]), None);
        let said = complaint("r/t:1", &["base64", "rm"]).expect("a complaint");
        assert!(said.contains("r/t:1") && said.contains("has no base64, rm in /.werf/stapel/embedded/bin"), "{said}");
    }
}
