//! Subordinate user and group ids: what a build without root gives to the users of its images.

use std::{fs, path::Path};

use super::{Finding, ROOTLESS, State, Surroundings, namespaces::Tried, programs};

/// How many ids an image may use.
pub(crate) const WANTED: u32 = 65_536;
const NAME: &str = "subordinate-ids";

/// Lets the helpers map the ids of this user into a new user namespace.
pub(super) async fn subordinate(surroundings: &Surroundings, root: bool) -> Finding {
    if root {
        return Finding::new(NAME, State::Unneeded, "root has all ids");
    }
    let uid = rustix::process::getuid().as_raw();
    let user = name_of(uid).unwrap_or_else(|| uid.to_string());
    mapped(surroundings, uid, &user).await.unwrap_or_else(|finding| finding).needed_by(&[ROOTLESS])
}

async fn mapped(surroundings: &Surroundings, uid: u32, user: &str) -> Result<Finding, Finding> {
    let mut tried = Tried::start(surroundings, "ids", Path::new("/"))
        .map_err(|error| Finding::fails(NAME, error.to_string(), "mount /proc"))?;
    tried.step().await.map_err(|why| Finding::new(NAME, State::Fails, format!("no user namespace: {why}")))?;
    let gid = rustix::process::getgid().as_raw();
    let mut said = Vec::new();
    for (file, flag, helper, own) in
        [("/etc/subuid", "--add-subuids", "newuidmap", uid), ("/etc/subgid", "--add-subgids", "newgidmap", gid)]
    {
        let text = fs::read_to_string(file).unwrap_or_default();
        let Some((start, count)) = range(&text, user, uid) else {
            let why = format!("{file} gives {user} fewer than {WANTED} ids");
            return Err(Finding::fails(NAME, why, format!("usermod {flag} 100000-165535 {user}")));
        };
        let ids: Vec<String> = [tried.pid(), 0, own, 1, 1, start, count.min(WANTED)].map(|id| id.to_string()).into();
        match programs::answer(helper, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await {
            Ok(_) => said.push(format!("{start}+{count} of {file}")),
            Err(programs::Trouble::Absent) => {
                return Err(Finding::absent(
                    NAME,
                    "a build without root",
                    format!("install {helper}: apt-get install uidmap"),
                ));
            }
            Err(programs::Trouble::Failed(why)) => {
                let mend = format!("chmod u+s $(command -v {helper})");
                return Err(Finding::fails(NAME, format!("{helper}: {why}"), mend));
            }
        }
    }
    Ok(Finding::works(NAME, format!("mapped: {}", said.join(", "))))
}

/// The name of a user.
pub(crate) fn name_of(uid: u32) -> Option<String> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    let found = text.lines().find(|line| line.split(':').nth(2).and_then(|id| id.parse().ok()) == Some(uid))?;
    found.split(':').next().map(str::to_owned)
}

/// The first range of a user that is long enough: its start and its length.
pub(crate) fn range(text: &str, user: &str, uid: u32) -> Option<(u32, u32)> {
    let ranges = text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let whose = fields.next()?;
        let start: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        (whose == user || whose.parse() == Ok(uid)).then_some((start, count))
    });
    ranges.into_iter().find(|(_, count)| *count >= WANTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_user_and_long_enough() {
        let text = "other:1:99999\n# a comment\nme:100:10\nme:100000:65536\n1000:300000:65536\n";
        assert_eq!(range(text, "me", 7), Some((100_000, 65_536)));
        assert_eq!(range(text, "you", 1000), Some((300_000, 65_536)));
        assert_eq!(range(text, "nobody", 7), None);
        assert_eq!(range("me:1\nme:x:y\n", "me", 7), None);
    }

    #[test]
    fn the_superuser_has_a_name() {
        assert_eq!(name_of(0).as_deref(), Some("root"));
        assert_eq!(name_of(u32::MAX), None);
    }
}
