//! Users and groups of an image, by its own `/etc/passwd` and `/etc/group`.

use futures::TryStreamExt as _;
use slipway_backend::BackendError;

use bollard::query_parameters::DownloadFromContainerOptions;

use crate::{
    container::{Container, Found},
    error::{failed, is_missing},
};

/// More than any passwd file in an image takes.
const MAX_FILE: usize = 4 * 1024 * 1024;

/// Which of the two files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Account {
    /// A user.
    User,
    /// A group.
    Group,
}

impl Account {
    fn file(self) -> &'static str {
        match self {
            Self::User => "/etc/passwd",
            Self::Group => "/etc/group",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
        }
    }
}

/// The number of a user or group: a number is taken as it is, a name is looked up in the container's files.
pub(crate) async fn resolve(container: &Container, which: Account, name: &str) -> Result<u64, BackendError> {
    if let Ok(number) = name.parse::<u32>() {
        return Ok(u64::from(number));
    }
    let (file, word) = (which.file(), which.word());
    let text = read(container, file).await?;
    find(&text, name).ok_or_else(|| {
        BackendError::Refused(format!(
            "{word} `{name}` is not in {file} of the image: name one that is, or write its number"
        ))
    })
}

/// The third field of the line whose first one is `name`.
fn find(text: &[u8], name: &str) -> Option<u64> {
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let matches = fields.next()? == name.as_bytes();
        let number = std::str::from_utf8(fields.nth(1)?).ok()?.trim().parse::<u32>().ok()?;
        matches.then_some(u64::from(number))
    })
}

/// Content of a file of the container; empty when it has none.
async fn read(container: &Container, path: &str) -> Result<Vec<u8>, BackendError> {
    let path = match container.look(path).await? {
        Found::Missing => return Ok(Vec::new()),
        Found::Link(target) => target,
        Found::File | Found::Directory => path.to_owned(),
    };
    let doing = format!("read {path} of the image");
    let options = DownloadFromContainerOptions { path: path.clone() };
    let mut parts = std::pin::pin!(container.engine().docker.download_from_container(container.name(), Some(options)));
    let mut bytes = Vec::new();
    loop {
        match parts.try_next().await {
            Ok(None) => break,
            Ok(Some(part)) => bytes.extend_from_slice(&part),
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(failed(&doing, error)),
        }
        if bytes.len() > MAX_FILE {
            return Err(BackendError::Refused(format!("{doing}: it is larger than {MAX_FILE} bytes")));
        }
    }
    first_file(&bytes).map_err(|error| BackendError::Engine(format!("{doing}: {error}")))
}

fn first_file(archive: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let mut content = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() {
            std::io::copy(&mut entry, &mut content)?;
            break;
        }
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn names_are_found_in_whole_fields() {
        let text =
            b"root:x:0:0::/:/bin/sh\n# note\nbroken:x\napp:x:1000:2000::/:/bin/sh\n+::::::\nbig:x:99999999999:1\n";
        let found = ["root", "app", "ap", "broken", "x", "big", ""].map(|name| find(text, name));
        assert_eq!(found, [Some(0), Some(1000), None, None, None, None, None]);
    }
}
