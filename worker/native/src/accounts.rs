//! Users and groups of an image, by its own `/etc/passwd` and `/etc/group`.

use std::{fs::File, io::Read as _};

use rustix::fs::OFlags;
use slipway_backend::BackendError;
use slipway_layers::root::{Root, is_missing};

use crate::error;

/// More than any such file in an image takes.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// Home of a user who is in no file.
const NO_HOME: &str = "/";

/// Which of the two files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Account {
    /// A user.
    User,
    /// A group.
    Group,
}

/// The number of a user or group: a number is taken as it is, a name is looked up.
pub(crate) fn resolve(root: &Root, which: Account, name: &str) -> Result<u32, BackendError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let (file, word) = match which {
        Account::User => ("/etc/passwd", "user"),
        Account::Group => ("/etc/group", "group"),
    };
    let text = read(root, file)?;
    let number = line(&text, |fields| fields[0] == name.as_bytes()).and_then(|fields| number(fields.get(2)?));
    number.ok_or_else(|| {
        BackendError::Refused(format!(
            "{word} `{name}` is not in {file} of the image: name one that is, or write its number"
        ))
    })
}

/// A user by name, with the group that is its own; `None` when there is no such user.
pub(crate) fn user(root: &Root, name: &str) -> Result<Option<(u32, u32)>, BackendError> {
    let text = read(root, "/etc/passwd")?;
    let fields = line(&text, |fields| fields[0] == name.as_bytes());
    Ok(fields.and_then(|fields| Some((number(fields.get(2)?)?, number(fields.get(3)?)?))))
}

/// The home directory of root.
pub(crate) fn home(root: &Root) -> Result<String, BackendError> {
    let text = read(root, "/etc/passwd")?;
    let fields = line(&text, |fields| fields.get(2).and_then(|field| number(field)) == Some(0));
    let home = fields.and_then(|fields| String::from_utf8(fields.get(5)?.to_vec()).ok());
    Ok(home.filter(|home| !home.is_empty()).unwrap_or_else(|| NO_HOME.to_owned()))
}

fn line(text: &[u8], is_it: impl Fn(&[&[u8]]) -> bool) -> Option<Vec<&[u8]>> {
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.split(|byte| *byte == b':').collect::<Vec<_>>());
    lines.into_iter().find(|fields| fields.len() > 2 && number(fields[2]).is_some() && is_it(fields))
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.trim().parse().ok()
}

/// Content of a file of the image; empty when it has none.
fn read(root: &Root, path: &str) -> Result<Vec<u8>, BackendError> {
    let doing = format!("read {path} of the image");
    let file = match root.at(path.as_bytes(), OFlags::RDONLY | OFlags::NONBLOCK) {
        Ok(file) => File::from(file),
        Err(error) if is_missing(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error::system(&doing, error)),
    };
    let is_file = file.metadata().map_err(|error| error::system(&doing, error))?.is_file();
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| error::system(&doing, error))?;
    if !is_file || bytes.len() as u64 > MAX_FILE {
        return Err(BackendError::Refused(format!("{doing}: it is no file of at most {MAX_FILE} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn names_are_found_in_whole_fields() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::open(directory.path()).expect("a root");
        assert_eq!(home(&root).expect("no file"), "/");
        fs::create_dir(directory.path().join("etc")).expect("a directory");
        let text = "# note\nbroken:x\nroot:x:0:0::/root:/bin/sh\napp:x:1000:2000::/:/bin/sh\nbig:x:99999999999:1\n";
        fs::write(directory.path().join("etc/users"), text).expect("a file");
        // Links of the image lead inside the image.
        std::os::unix::fs::symlink("/etc/users", directory.path().join("etc/passwd")).expect("a link");
        let found =
            ["root", "app", "7", "ap", "broken", "big", ""].map(|name| resolve(&root, Account::User, name).ok());
        assert_eq!(found, [Some(0), Some(1000), Some(7), None, None, None, None]);
        assert!(resolve(&root, Account::Group, "app").is_err());
        assert_eq!(home(&root).expect("a home"), "/root");
    }
}
