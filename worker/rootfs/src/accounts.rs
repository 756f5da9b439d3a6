//! Users and groups of an image, by its own `/etc/passwd` and `/etc/group`.

use std::{fs::File, io::Read as _};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use slipway_backend::BackendError;
use slipway_layers::root::{Root, is_missing};

use crate::error;

/// More than any such file in an image takes.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// Groups of one user, as the kernel has them.
const MAX_GROUPS: usize = 65_536;
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

/// Whom commands run as.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// Numbers of its other groups.
    pub groups: Vec<u32>,
}

/// Somebody that commands run as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Person {
    /// Numbers.
    pub user: User,
    /// The home directory.
    pub home: String,
}

/// Whoever `USER` names: `NAME|NUMBER[:GROUP|NUMBER]`; nobody named is root. Other groups of a user count when no group is
/// named. Blocks.
///
/// # Errors
/// When a name is in no file of the image, or the disk fails.
pub fn person(root: &Root, text: &str) -> Result<Person, BackendError> {
    if text.is_empty() {
        let user = User { uid: 0, gid: 0, groups: Vec::new() };
        return Ok(Person { user, home: home(root)? });
    }
    let (name, group) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
    let group = group.filter(|group| !group.is_empty());
    let name = if name.is_empty() { "0" } else { name };
    let number: Option<u32> = name.parse().ok();
    let passwd = read(root, "/etc/passwd")?;
    let found = line(&passwd, |fields| fields[0] == name.as_bytes())
        .or_else(|| line(&passwd, |fields| number.is_some() && self::number(fields[2]) == number));
    let uid = match (&found, number) {
        (Some(fields), _) => self::number(fields[2]).unwrap_or(0),
        (None, Some(number)) => number,
        (None, None) => resolve(root, Account::User, name)?,
    };
    let field = |at: usize| found.as_ref().and_then(|fields| fields.get(at)).copied();
    let gid = match group {
        Some(group) => resolve(root, Account::Group, group)?,
        None => field(3).and_then(self::number).unwrap_or(0),
    };
    let groups = match (group, field(0)) {
        (None, Some(name)) => groups_of(root, name)?,
        _ => Vec::new(),
    };
    let home = field(5).and_then(|home| String::from_utf8(home.to_vec()).ok()).filter(|home| !home.is_empty());
    Ok(Person { user: User { uid, gid, groups }, home: home.unwrap_or_else(|| NO_HOME.to_owned()) })
}

/// The groups that list a user.
fn groups_of(root: &Root, name: &[u8]) -> Result<Vec<u32>, BackendError> {
    let text = read(root, "/etc/group")?;
    let mut groups = Vec::new();
    for fields in text.split(|byte| *byte == b'\n').map(|line| line.split(|byte| *byte == b':').collect::<Vec<_>>()) {
        let lists = fields.get(3).is_some_and(|members| members.split(|byte| *byte == b',').any(|one| one == name));
        if let Some(number) = fields.get(2).and_then(|field| number(field)).filter(|_| lists)
            && groups.len() < MAX_GROUPS
        {
            groups.push(number);
        }
    }
    Ok(groups)
}

/// A user by name, with the group that is its own; `None` when there is no such user.
pub(crate) fn user(root: &Root, name: &str) -> Result<Option<(u32, u32)>, BackendError> {
    let text = read(root, "/etc/passwd")?;
    let fields = line(&text, |fields| fields[0] == name.as_bytes());
    Ok(fields.and_then(|fields| Some((number(fields.get(2)?)?, number(fields.get(3)?)?))))
}

/// The home directory of root. Blocks.
///
/// # Errors
/// When the disk fails.
pub fn home(root: &Root) -> Result<String, BackendError> {
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
    fn users_have_their_groups_and_homes() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::open(directory.path()).expect("a root");
        let of = |text: &str| {
            let Person { user, home } = person(&root, text).map_err(|error| error.to_string())?;
            Ok::<_, String>((user.uid, user.gid, user.groups, home))
        };
        assert_eq!(of(""), Ok((0, 0, vec![], "/".to_owned())));
        assert_eq!(of("7"), Ok((7, 0, vec![], "/".to_owned())));
        assert!(of("app").is_err());
        fs::create_dir(directory.path().join("etc")).expect("a directory");
        fs::write(directory.path().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:1000:2000::/home/app:\n")
            .expect("a file");
        fs::write(directory.path().join("etc/group"), "root:x:0:\nweb:x:33:other,app\nlog:x:4:app\nno:x:5:apple\n")
            .expect("a file");
        let app = |groups: &[u32], gid| Ok((1000, gid, groups.to_vec(), "/home/app".to_owned()));
        assert_eq!(of("app"), app(&[33, 4], 2000));
        assert_eq!(of("1000"), app(&[33, 4], 2000));
        assert_eq!(of("app:web"), app(&[], 33));
        assert_eq!(of("1000:77"), app(&[], 77));
        assert_eq!(of("55:log"), Ok((55, 4, vec![], "/".to_owned())));
        assert_eq!(of("root"), Ok((0, 0, vec![], "/root".to_owned())));
        assert_eq!(of(""), Ok((0, 0, vec![], "/root".to_owned())));
        assert!(of("app:none").is_err() && of("none").is_err());
    }

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
