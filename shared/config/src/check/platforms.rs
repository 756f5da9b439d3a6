//! An image needs what it is built from on each of its platforms.

use slipway_oci::Platform;

use super::references::Target;
use crate::raw::{Draft, LinkKind, Reader};

/// Adds a problem for every platform of an image that one of its sources is not built for. Images that name no
/// platform, when the project names none either, are built for whatever is asked for.
pub(super) fn check(reader: &mut Reader<'_>, drafts: &[Draft], targets: &[Vec<Target>], project: &[Platform]) {
    for (draft, targets) in drafts.iter().zip(targets) {
        for (link, target) in draft.links.iter().zip(targets) {
            let Target::Draft(number) = target else { continue };
            let source = &drafts[*number];
            let available = effective(source, project);
            let wanted = effective(draft, project);
            if available.is_empty() || wanted.is_empty() {
                continue;
            }
            let what = match link.kind {
                LinkKind::Base => "base",
                LinkKind::Import(_) => "import",
                LinkKind::Dependency => "dependency",
            };
            for platform in wanted.iter().filter(|platform| !available.contains(platform)) {
                let message = format!(
                    "image=\"{}\" platform=\"{platform}\" requires {what} image=\"{}\" platform=\"{platform}\" which is not present in configuration",
                    draft.image.name(),
                    link.name.text,
                );
                let hint = format!("add {platform} to the `platform` of `{}`", source.image.name());
                reader.refuse(link.name.position, message, hint);
            }
        }
    }
}

fn effective<'d>(draft: &'d Draft, project: &'d [Platform]) -> &'d [Platform] {
    if draft.image.platforms.is_empty() { project } else { &draft.image.platforms }
}
