//! What was tried as builds do it, in words.

use super::Finding;
use crate::runtime::{Kind, Runtime};

/// What stands before the command that mends something, in messages of this crate.
const SIGNS: [&str; 3] = ["set it up with: ", "install one: ", "installed: "];

/// A network of commands' own.
pub(super) fn network(root: bool, tried: Result<(), String>) -> Finding {
    const NAME: &str = "network";
    let (found, instead) = if root {
        ("commands have one of their own, that rules of this host let out, by IPv4 only", "apt-get install iptables")
    } else {
        ("commands have one of their own, connected by pasta or slirp4netns", "apt-get install passt")
    };
    match tried {
        Ok(()) => Finding::works(NAME, found),
        Err(why) => {
            let mend = mend(&why).unwrap_or_else(|| instead.to_owned());
            Finding::fails(NAME, format!("{why}; commands see the network of this host"), mend)
        }
    }
}

/// A way for layers to lie on each other.
pub(super) fn driver(name: &str, tried: Result<(), String>) -> Finding {
    match tried {
        Ok(()) if name == "vfs" => Finding::works(
            name,
            "a command ran on a copy of layers: slow, so used with --native-storage-driver vfs only",
        ),
        Ok(()) => Finding::works(
            name,
            "a command ran on layers that lie on each other by it, which is for where overlay fails",
        ),
        Err(why) if why.contains("is not installed") => {
            let with = format!("--native-storage-driver {name}");
            Finding::absent(name, &with, mend(&why).unwrap_or_else(|| format!("apt-get install {name}")))
        }
        Err(why) => {
            let mend =
                mend(&why).unwrap_or_else(|| "choose a writable place on ext4 or xfs with --home-dir".to_owned());
            Finding::fails(name, why, mend)
        }
    }
}

/// A runtime.
pub(super) fn runtime(runtime: &Runtime, tried: Result<(), String>) -> Finding {
    let name = runtime.kind().name();
    match tried {
        Ok(()) => {
            Finding::works(name, format!("{} ran a command: --native-runtime {name}", runtime.program().display()))
        }
        Err(why) => {
            let mend = match runtime.kind() {
                // It starts itself again where no libraries are.
                Kind::Runsc => {
                    "use a runsc that is linked statically, as gvisor.dev has it; or leave --native-runtime away"
                }
                Kind::Runc | Kind::Crun | Kind::Kata => "do without it: leave --native-runtime away",
            };
            Finding::fails(name, why, mend)
        }
    }
}

fn mend(why: &str) -> Option<String> {
    let found = SIGNS.iter().find_map(|sign| why.split_once(sign))?.1;
    Some(found.split(';').next().unwrap_or(found).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::State;

    #[test]
    fn what_mends_is_taken_from_what_was_said() {
        let fails = |why: &str| Err::<(), _>(why.to_owned());
        let found =
            network(true, fails("this host passes no packets on; set it up with: sysctl -w net.ipv4.ip_forward=1"));
        assert_eq!(found.mend.as_deref(), Some("sysctl -w net.ipv4.ip_forward=1"));
        let found =
            network(false, fails("open /dev/net/tun: no; set it up with: modprobe tun && chmod 666 /dev/net/tun"));
        assert_eq!(found.mend.as_deref(), Some("modprobe tun && chmod 666 /dev/net/tun"));
        let found = network(false, fails("something else"));
        assert_eq!(found.mend.as_deref(), Some("apt-get install passt"));
        let found = driver("fuse-overlayfs", fails("fuse-overlayfs is not installed: apt-get install fuse-overlayfs"));
        assert_eq!((found.state, found.mend.as_deref()), (State::Absent, Some("apt-get install fuse-overlayfs")));
        assert_eq!(driver("vfs", Ok(())).state, State::Works);
    }
}
