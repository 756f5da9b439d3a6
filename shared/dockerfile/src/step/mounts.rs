//! `RUN --mount`.

use super::{Expand, flags::boolean};
use crate::{mount::Mount as Fields, shown};

/// Most bytes of a file system in memory: what a `size` may say.
const MOST_BYTES: u64 = 1 << 50;

/// What a command sees beside the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// What it is.
    pub kind: MountKind,
    /// Where it is seen, as it is written: it may be relative. Empty = not said.
    pub target: String,
    /// The path in what it comes from. Empty = all of it.
    pub source: String,
    /// The stage or image that it comes from, as it is written; `None` = the context, or nothing.
    pub from: Option<String>,
    /// Whether it may only be read.
    pub read_only: bool,
    /// Mode of what is made for it.
    pub mode: Option<u32>,
    /// Owner of what is made for it.
    pub uid: u32,
    /// Group of what is made for it.
    pub gid: u32,
    id: String,
    /// The values of what must be expanded first: `mode`, `uid`, `gid`.
    numbers: [Option<String>; 3],
}

/// Kinds of mounts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MountKind {
    /// Files of the context, a stage or an image; what is written to it is thrown away.
    Bind,
    /// A directory that lasts from build to build.
    Cache(Sharing),
    /// Memory: at most so many bytes.
    Tmpfs(Option<u64>),
    /// A secret.
    Secret {
        /// The variable that has it.
        env: Option<String>,
        /// Whether it must be there.
        required: bool,
    },
    /// An ssh agent.
    Ssh {
        /// Whether it must be there.
        required: bool,
    },
}

/// Who uses a cache at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// Everybody.
    Shared,
    /// Each its own.
    Private,
    /// One after the other.
    Locked,
}

/// The fields of one mount while they are read.
#[derive(Default)]
struct Read {
    kind: Option<String>,
    target: String,
    source: String,
    from: Option<String>,
    read_only: Option<bool>,
    required: bool,
    size: Option<u64>,
    id: String,
    sharing: Option<Sharing>,
    env: Option<String>,
    numbers: [Option<String>; 3],
}

impl Mount {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut read = Read::default();
        for (key, value) in Fields::read(text).fields() {
            match value {
                None => read.switch(key, true)?,
                Some(value) => read.field(key, value)?,
            }
        }
        read.mount().map_err(|why| format!("RUN: --mount={}: {why}", shown(text)))
    }

    pub(super) fn expanded(&self, word: &mut Expand<'_>) -> Result<Self, String> {
        let mut mount = self.clone();
        for text in [&mut mount.target, &mut mount.source, &mut mount.id] {
            *text = word(text)?;
        }
        mount.from = self.from.as_deref().map(&mut *word).transpose()?;
        if let MountKind::Secret { env: Some(env), .. } = &mut mount.kind {
            *env = word(env)?;
        }
        let mut number = |at: usize, radix: u32, name: &str| match &self.numbers[at] {
            None => Ok(None),
            Some(text) => {
                let text = word(text)?;
                let wrong = |_| format!("RUN: --mount: {name}={} is no number", shown(&text));
                u32::from_str_radix(&text, radix).map(Some).map_err(wrong)
            }
        };
        mount.mode = number(0, 8, "mode")?;
        mount.uid = number(1, 10, "uid")?.unwrap_or(0);
        mount.gid = number(2, 10, "gid")?.unwrap_or(0);
        Ok(mount)
    }

    /// The id of a cache, a secret or an agent: as it is given, else by what else is said.
    pub fn id(&self) -> &str {
        let last = |path: &'_ str| path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().len();
        match self.kind {
            _ if !self.id.is_empty() => &self.id,
            MountKind::Cache(_) => &self.target,
            MountKind::Secret { .. } if !self.source.is_empty() => &self.source,
            MountKind::Secret { .. } => {
                let path = self.target.trim_end_matches('/');
                &path[path.len() - last(path)..]
            }
            MountKind::Ssh { .. } => "default",
            MountKind::Bind | MountKind::Tmpfs(_) => "",
        }
    }
}

impl Read {
    fn switch(&mut self, key: &str, on: bool) -> Result<(), String> {
        match key {
            "readonly" | "ro" => self.read_only = Some(on),
            "readwrite" | "rw" => self.read_only = Some(!on),
            "required" => self.required = on,
            other => return Err(format!("RUN: --mount: `{}` needs a value, or is unknown", shown(other))),
        }
        Ok(())
    }

    fn field(&mut self, key: &str, value: &str) -> Result<(), String> {
        let text = || value.to_owned();
        match key {
            "type" => self.kind = Some(value.to_ascii_lowercase()),
            "from" => self.from = Some(text()),
            "source" | "src" => self.source = text(),
            "target" | "dst" | "destination" => self.target = text(),
            "readonly" | "ro" | "readwrite" | "rw" | "required" => {
                let on = boolean(value);
                return self.switch(key, on.ok_or_else(|| format!("RUN: --mount: {key} is neither true nor false"))?);
            }
            "size" => {
                self.size =
                    Some(bytes(value).ok_or_else(|| format!("RUN: --mount: size={} is no size", shown(value)))?);
            }
            "id" => self.id = text(),
            "sharing" => {
                self.sharing = Some(match value.to_ascii_lowercase().as_str() {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    _ => return Err("RUN: --mount: sharing is one of: shared, private, locked".to_owned()),
                });
            }
            "mode" => self.numbers[0] = Some(text()),
            "uid" => self.numbers[1] = Some(text()),
            "gid" => self.numbers[2] = Some(text()),
            "env" => self.env = Some(text()),
            other => return Err(format!("RUN: --mount: the field `{}` is unknown", shown(other))),
        }
        Ok(())
    }

    fn mount(self) -> Result<Mount, &'static str> {
        let kind = match self.kind.as_deref().unwrap_or("bind") {
            "bind" => MountKind::Bind,
            "cache" => MountKind::Cache(self.sharing.unwrap_or(Sharing::Shared)),
            "tmpfs" => MountKind::Tmpfs(self.size),
            "secret" => MountKind::Secret { env: self.env.clone(), required: self.required },
            "ssh" => MountKind::Ssh { required: self.required },
            _ => return Err("type is one of: bind, cache, tmpfs, secret, ssh"),
        };
        let is_cache = matches!(kind, MountKind::Cache(_));
        let is_secret = matches!(kind, MountKind::Secret { .. });
        let is_ssh = matches!(kind, MountKind::Ssh { .. });
        if self.sharing.is_some() && !is_cache {
            return Err("only a cache has `sharing`");
        }
        if self.size.is_some() && !matches!(kind, MountKind::Tmpfs(_)) {
            return Err("only a tmpfs has `size`");
        }
        if self.env.is_some() && !is_secret {
            return Err("only a secret has `env`");
        }
        if self.numbers.iter().any(Option::is_some) && !is_cache && !is_secret && !is_ssh {
            return Err("only a cache, a secret or an ssh agent has `mode`, `uid` and `gid`");
        }
        if self.from.is_some() && !is_cache && kind != MountKind::Bind {
            return Err("only a bind or a cache has `from`");
        }
        if is_cache && self.from.is_none() && !self.source.is_empty() {
            return Err("a cache has a `source` only together with `from`");
        }
        if is_secret && self.id.is_empty() && self.source.is_empty() && self.target.is_empty() {
            return Err("a secret needs an `id` or a `target`");
        }
        if is_secret && !self.id.is_empty() && !self.source.is_empty() {
            return Err("a secret has an `id` or a `source`, not both");
        }
        if !is_secret && !is_ssh && self.target.is_empty() {
            return Err("`target` is missing");
        }
        let read_only = self.read_only.unwrap_or(kind == MountKind::Bind);
        let Self { target, source, from, id, numbers, .. } = self;
        Ok(Mount { kind, target, source, from, read_only, mode: None, uid: 0, gid: 0, id, numbers })
    }
}

/// `64`, `64k`, `64MB`, `1.5GiB`: a thousand is 1024, as Docker takes it.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let number: f64 = lower[..end].parse().ok()?;
    let unit = lower[end..].trim();
    let letters = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit);
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == letters)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, and it is not negative"
    )]
    let total = (number * 1024_f64.powi(i32::try_from(power).ok()?)) as u64;
    (total <= MOST_BYTES).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let sizes = ["64", "2k", "1.5MB", "1GiB", "x", "-1", "9999999p", ""].map(bytes);
        assert_eq!(sizes, [Some(64), Some(2048), Some(1_572_864), Some(1 << 30), None, None, None, None]);
    }

    #[test]
    fn ids_have_usual_values() {
        let id = |text: &str| Mount::read(text).map(|mount| mount.id().to_owned());
        assert_eq!(id("type=cache,target=/root/.cache"), Ok("/root/.cache".to_owned()));
        assert_eq!(id("type=cache,id=npm,target=/c"), Ok("npm".to_owned()));
        assert_eq!(id("type=secret,target=/run/x/token"), Ok("token".to_owned()));
        assert_eq!(id("type=secret,id=a"), Ok("a".to_owned()));
        assert_eq!(id("type=ssh"), Ok("default".to_owned()));
        for bad in [
            "type=other,target=/x",
            "type=bind",
            "type=cache",
            "type=secret",
            "type=secret,id=a,source=b",
            "type=cache,target=/x,source=a",
            "type=bind,target=/x,uid=1",
            "type=tmpfs,target=/x,from=a",
            "type=bind,target=/x,sharing=locked",
            "type=cache,target=/x,sharing=none",
            "type=bind,target=/x,size=1",
            "type=bind,target=/x,what=1",
            "type=bind,target=/x,what",
            "type=bind,target=/x,ro=maybe",
        ] {
            assert!(Mount::read(bad).is_err(), "{bad}");
        }
    }
}
