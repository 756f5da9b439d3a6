//! A base image of Debian, made of what is installed on this host: nothing is fetched.

use std::{fs, process::Stdio, sync::OnceLock};

use anyhow::{Context as _, Result, ensure};
use slipway_parts::docker;
use slipway_process::child::command;

/// What it has, beside all that these need.
const PACKAGES: [&str; 14] = [
    "apt",
    "bash",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "grep",
    "gzip",
    "libc-bin",
    "mawk",
    "openssh-client",
    "passwd",
    "sed",
    "tar",
];

/// Copies packages of this host, with all that they need, to a directory: `$1`, then the packages.
const COPY: &str = r#"set -e
root=$1; shift
all=$(apt-cache --recurse --installed --no-suggests --no-recommends --no-enhances --no-breaks --no-conflicts --no-replaces \
    depends "$@" | grep '^[a-z0-9]' | sort -u)
for directory in usr/bin usr/sbin usr/lib usr/lib64 var/lib/dpkg/info var/lib/dpkg/updates var/lib/dpkg/triggers \
    var/lib/apt/lists/partial var/cache/apt/archives/partial var/log/apt etc/apt/sources.list.d etc/apt/preferences.d root run dev proc tmp; do mkdir -p "$root/$directory"; done
chmod 1777 "$root/tmp"
for name in bin sbin lib lib64; do ln -s "usr/$name" "$root/$name"; done
installed=$(dpkg-query -W -f '${Package}:${Architecture}\n' $all 2>/dev/null | sed 's/:all$//' | sort -u)
dpkg -L $installed | grep '^/' | grep -v -E '^/usr/share/(doc|man|locale|info|perl)' | sort -u > "$root/listed"
while read -r file; do if [ -e "$file" ] && [ ! -d "$file" ]; then echo "$file"; fi; done < "$root/listed" > "$root/files"
tar -C / -h -c -T "$root/files" 2>/dev/null | tar -C "$root" --keep-directory-symlink -x
rm "$root/listed" "$root/files"
[ -e "$root/bin/sh" ] || ln -s dash "$root/bin/sh"
: > "$root/etc/apt/sources.list"
for package in $installed; do dpkg-query -s "$package"; echo; done > "$root/var/lib/dpkg/status"
for package in $installed; do dpkg -L "$package" > "$root/var/lib/dpkg/info/$package.list"; done
cp /etc/login.defs "$root/etc"
echo root:x:0:0:root:/root:/bin/bash > "$root/etc/passwd"
printf 'root:x:0:\nstaff:x:50:\n' > "$root/etc/group"
echo 'root:*:19000:0:99999:7:::' > "$root/etc/shadow"
printf 'root:*::\nstaff:*::\n' > "$root/etc/gshadow"
chmod 0640 "$root/etc/shadow" "$root/etc/gshadow"
"#;

/// The image; `None`, said aloud, where this host is no Debian with these packages.
///
/// # Panics
/// When it cannot be made.
pub fn image() -> Option<&'static str> {
    static IMAGE: OnceLock<Option<String>> = OnceLock::new();
    IMAGE.get_or_init(|| make().expect("the Debian image can be made")).as_deref()
}

fn make() -> Result<Option<String>> {
    let installed = command("dpkg-query").args(["-W", "-f", "${db:Status-Status} "]).args(PACKAGES).output();
    let installed = installed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    if installed.split_whitespace().filter(|status| *status == "installed").count() < PACKAGES.len() {
        slipway_parts::skip("debian", &format!("this host is no Debian with the packages {}", PACKAGES.join(", ")));
        return Ok(None);
    }
    let root = tempfile::tempdir()?;
    let copied = command("sh").args(["-c", COPY, "sh"]).arg(root.path()).args(PACKAGES).output()?;
    ensure!(copied.status.success(), "copy packages: {}", String::from_utf8_lossy(&copied.stderr));
    let name = "localhost/slipway-e2e-debian:1".to_owned();
    let archive = root.path().with_extension("tar");
    let mut packing = command("tar");
    packing.arg("-C").arg(root.path()).args(["--numeric-owner", "--owner=0", "--group=0", "-cf"]);
    ensure!(packing.arg(&archive).arg(".").status()?.success(), "tar failed");
    let path = "--change=ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let imported = command(docker()).args(["import", path]).arg(&archive).arg(&name).stdout(Stdio::null()).status();
    fs::remove_file(&archive).context("remove an archive")?;
    ensure!(imported?.success(), "docker import failed");
    Ok(Some(name))
}
