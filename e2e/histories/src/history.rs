//! A history out of a seed: edits of trees, branches, merges, reverts; written by `git fast-import`.

use std::{
    collections::{BTreeMap, HashMap},
    io::Write as _,
    path::Path,
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use slipway_process::child;

/// Branches that grow.
const BRANCHES: usize = 4;
/// Names of files and directories: few, so that they meet; some differ only in case. None holds a line break: those cannot
/// be read out of an engine's archives.
const NAMES: [&[u8]; 15] = [
    b"a",
    b"A",
    b"b",
    b"B",
    b"dir",
    b"Dir",
    b"x.txt",
    b"X.txt",
    b"with space",
    b"quote'\"",
    b"back\\slash",
    b"\xff\xfe",
    "\u{fc}ml".as_bytes(),
    b"-dash",
    b"sub",
];

/// Chance that can be repeated.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % limit.max(1) as u64).expect("small")
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let at = self.below(of.len());
        of.get(at)
    }
}

/// A file: its mode as git writes it, and its content.
type File = (&'static str, Vec<u8>);
const PLAIN: &str = "100644";
const TOOL: &str = "100755";
const LINK: &str = "120000";

/// The files of a commit.
#[derive(Clone, Default)]
struct Tree(BTreeMap<Vec<u8>, File>);

impl Tree {
    /// Puts a file where it wants to be: what is in its way goes.
    fn put(&mut self, path: &[u8], file: File) {
        let above: Vec<Vec<u8>> =
            path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| path[..at].to_vec()).collect();
        above.iter().for_each(|path| drop(self.0.remove(path)));
        self.remove_below(path);
        self.0.insert(path.to_vec(), file);
    }

    fn remove_below(&mut self, directory: &[u8]) {
        let prefix = [directory, b"/"].concat();
        self.0.retain(|path, _| !path.starts_with(&prefix));
    }

    /// Moves a file, or a directory with all that is in it.
    fn rename(&mut self, from: &[u8], to: &[u8]) {
        let prefix = [from, b"/"].concat();
        let moved: Vec<(Vec<u8>, File)> = self
            .0
            .iter()
            .filter(|(path, _)| *path == from || path.starts_with(&prefix))
            .map(|(path, file)| ([to, &path[from.len()..]].concat(), file.clone()))
            .collect();
        self.0.retain(|path, _| path != from && !path.starts_with(&prefix));
        moved.into_iter().for_each(|(path, file)| self.put(&path, file));
    }

    /// Some path of a file, or of a directory above one.
    fn some_path(&self, chance: &mut Chance) -> Option<Vec<u8>> {
        let paths: Vec<&Vec<u8>> = self.0.keys().collect();
        let path = chance.one(&paths)?;
        let ends: Vec<usize> = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).collect();
        Some(match chance.one(&ends) {
            Some(end) if chance.below(2) == 0 => path[..*end].to_vec(),
            _ => path.to_vec(),
        })
    }
}

/// A commit and its place in the history.
struct Commit {
    tree: Tree,
    parents: Vec<usize>,
}

/// Commits, oldest first.
pub struct History {
    /// Their ids.
    pub commits: Vec<String>,
    /// How many of them have no parent.
    pub roots: usize,
}

impl History {
    /// Makes so many commits and writes them to the repository.
    ///
    /// # Errors
    /// When `git fast-import` fails.
    pub fn make(seed: u64, steps: usize, repository: &Path) -> Result<Self> {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut commits: Vec<Commit> = Vec::new();
        let mut heads: Vec<usize> = Vec::new();
        for number in 0..steps {
            let commit = next(&mut chance, &commits, &mut heads);
            heads.push(number);
            commits.push(commit);
        }
        let roots = commits.iter().filter(|commit| commit.parents.is_empty()).count();
        Ok(Self { commits: write(&commits, repository)?, roots })
    }
}

/// The next commit; the head that it stands on is taken away.
fn next(chance: &mut Chance, commits: &[Commit], heads: &mut Vec<usize>) -> Commit {
    let chosen = chance.below(100);
    if heads.is_empty() || chosen == 0 {
        if heads.len() >= BRANCHES {
            heads.remove(0);
        }
        return Commit { tree: edited(chance, &Tree::default(), 20), parents: Vec::new() };
    }
    let head = heads.remove(chance.below(heads.len()));
    let below = &commits[head].tree;
    match chosen {
        1..=10 => {
            // The branch stays, and one begins somewhere.
            heads.push(head);
            if heads.len() >= BRANCHES {
                heads.remove(0);
            }
            let from = commits.len().saturating_sub(1 + chance.below(20));
            Commit { tree: edited(chance, &commits[from].tree, 2), parents: vec![from] }
        }
        11..=22 if !heads.is_empty() => {
            let other = heads[chance.below(heads.len())];
            Commit { tree: merged(chance, below, &commits[other].tree), parents: vec![head, other] }
        }
        23..=30 if !commits[head].parents.is_empty() => {
            Commit { tree: commits[commits[head].parents[0]].tree.clone(), parents: vec![head] }
        }
        31..=33 => Commit { tree: below.clone(), parents: vec![head] },
        _ => {
            let edits = 1 + chance.below(4);
            Commit { tree: edited(chance, below, edits), parents: vec![head] }
        }
    }
}

fn merged(chance: &mut Chance, one: &Tree, other: &Tree) -> Tree {
    let mut tree = one.clone();
    for (path, file) in &other.0 {
        if chance.below(3) == 0 {
            tree.put(path, file.clone());
        }
    }
    kept(chance, tree)
}

fn edited(chance: &mut Chance, below: &Tree, edits: usize) -> Tree {
    let mut tree = below.clone();
    (0..edits).for_each(|_| edit(chance, &mut tree));
    kept(chance, tree)
}

/// What the configuration names is always there.
fn kept(chance: &mut Chance, mut tree: Tree) -> Tree {
    for path in [b"single".as_slice(), b"sub/keep", b"deps"] {
        if !matches!(tree.0.get(path), Some((PLAIN | TOOL, _))) {
            let file = content(chance);
            tree.put(path, (PLAIN, file));
        }
    }
    tree
}

fn edit(chance: &mut Chance, tree: &mut Tree) {
    let old = tree.some_path(chance);
    match (chance.below(100), old) {
        (0..=14, Some(path)) => {
            tree.0.remove(&path);
            tree.remove_below(&path);
        }
        (15..=24, Some(path)) => tree.rename(&path, &place(chance)),
        (25..=32, Some(path)) => tree.rename(&path, &other_case(&path)),
        (33..=42, Some(path)) => {
            if let Some((mode, _)) = tree.0.get_mut(&path).filter(|(mode, _)| *mode != LINK) {
                *mode = if *mode == PLAIN { TOOL } else { PLAIN };
            }
        }
        (43..=50, Some(path)) => tree.put(&path, (LINK, target(chance))),
        (51..=57, _) => tree.put(&place(chance), (LINK, target(chance))),
        (58..=68, Some(path)) => tree.put(&path, (PLAIN, content(chance))),
        (69..=71, _) => tree.put(b"single", (TOOL, content(chance))),
        (72, _) => tree.put(b"deps", (PLAIN, content(chance))),
        // A mebibyte and more: a stage of its own.
        (73, _) if chance.below(4) == 0 => {
            let byte = u8::try_from(chance.below(256)).expect("a byte");
            tree.put(&place(chance), (PLAIN, vec![byte; (1 << 20) + 1]));
        }
        (74..=80, _) => tree.put(&place(chance), (TOOL, content(chance))),
        _ => tree.put(&place(chance), (PLAIN, content(chance))),
    }
}

fn place(chance: &mut Chance) -> Vec<u8> {
    let depth = 1 + chance.below(4);
    let names: Vec<&[u8]> = (0..depth).map(|_| NAMES[chance.below(NAMES.len())]).collect();
    names.join(&b'/')
}

fn target(chance: &mut Chance) -> Vec<u8> {
    let targets: [&[u8]; 6] = [b"none", b"../a", b"/etc/passwd", b"sub", b"..", b"a/b"];
    targets[chance.below(targets.len())].to_vec()
}

fn content(chance: &mut Chance) -> Vec<u8> {
    let length = chance.below(60);
    let text = chance.below(2) == 0;
    let byte = |chance: &mut Chance| if text { b"ab \n"[chance.below(4)] } else { chance.below(256).to_le_bytes()[0] };
    (0..length).map(|_| byte(chance)).collect()
}

/// The same path with the last letters in the other case.
fn other_case(path: &[u8]) -> Vec<u8> {
    let name = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let flip =
        |byte: &u8| if byte.is_ascii_lowercase() { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
    path[..name].iter().copied().chain(path[name..].iter().map(flip)).collect()
}

/// Writes commits and answers their ids.
fn write(commits: &[Commit], repository: &Path) -> Result<Vec<String>> {
    let mut stream = Vec::new();
    let mut blobs: HashMap<&[u8], usize> = HashMap::new();
    for (number, commit) in commits.iter().enumerate() {
        for (_, content) in commit.tree.0.values() {
            let mark = commits.len() + 1 + blobs.len();
            if !blobs.contains_key(content.as_slice()) {
                blobs.insert(content, mark);
                write!(stream, "blob\nmark :{mark}\ndata {}\n", content.len())?;
                stream.extend_from_slice(content);
                stream.push(b'\n');
            }
        }
        let time = 1_600_000_000 + number;
        write!(stream, "commit refs/heads/c{number}\nmark :{}\n", number + 1)?;
        write!(stream, "committer T <t@localhost> {time} +0000\ndata 1\nx\n")?;
        for (at, parent) in commit.parents.iter().enumerate() {
            writeln!(stream, "{} :{}", if at == 0 { "from" } else { "merge" }, parent + 1)?;
        }
        stream.extend_from_slice(b"deleteall\n");
        for (path, (mode, content)) in &commit.tree.0 {
            let quoted: String = path.iter().map(|byte| format!("\\{byte:03o}")).collect();
            writeln!(stream, "M {mode} :{} \"{quoted}\"", blobs[content.as_slice()])?;
        }
    }
    let marks = repository.join("marks");
    let mut import = child::command("git");
    import.arg("-C").arg(repository).args(["fast-import", "--quiet", "--force"]);
    import.arg(format!("--export-marks={}", marks.display()));
    let mut running = import.stdin(Stdio::piped()).spawn().context("run git fast-import")?;
    running.stdin.take().context("a pipe")?.write_all(&stream)?;
    ensure!(running.wait()?.success(), "git fast-import failed");
    let text = std::fs::read_to_string(marks)?;
    let ids: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let id = |number: usize| ids.get(format!(":{}", number + 1).as_str()).map(|id| (*id).to_owned());
    (0..commits.len()).map(|number| id(number).context("a commit without a mark")).collect()
}
