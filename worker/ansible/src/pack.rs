//! The tree that build containers see: a Python with its loader and libraries, what is installed with it, and our own
//! files. Nothing in it refers to the base image.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use slipway_backend::script::TOOLBOX_BIN;

use crate::{ROOT, python::Layout};

const START: &str = include_str!("../files/start.py");
const OUTPUT: &str = include_str!("../files/slipway.py");
const LIVE: &str = include_str!("../files/sitecustomize.py");
const CONFIGURATION: &str = include_str!("../files/ansible.cfg");

/// Our own files, which are a part of what a controller is.
pub(crate) const OWN: [&str; 4] = [START, OUTPUT, LIVE, CONFIGURATION];

/// The locale of the controller; base images need not have it.
const LOCALE: &str = "/usr/lib/locale/C.utf8";
/// Parts of the standard library that no task needs.
const SPARE: [&str; 12] = [
    "EXTERNALLY-MANAGED",
    "dist-packages",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "sitecustomize.py",
    "test",
    "tkinter",
    "turtledemo",
    "usercustomize.py",
];
/// Beginnings of the names of installed things that are not for tasks: what installs, tests and collections.
const NOT_FOR_TASKS: [&str; 8] = [
    "_distutils_hack",
    "ansible_collections",
    "ansible_test",
    "pip",
    "pkg_resources",
    "setuptools",
    "sitecustomize",
    "wheel",
];
/// The most that is copied.
const MAX_FILES: u32 = 50_000;
const MAX_BYTES: u64 = 1 << 30;
/// The deepest directory.
const MAX_DEPTH: u32 = 40;

/// A tree that is being made.
pub(crate) struct Pack {
    root: PathBuf,
    library: PathBuf,
    files: u32,
    bytes: u64,
}

impl Pack {
    /// Copies a Python and what is installed into the new directory `root`. Blocks.
    pub(crate) fn copy(root: &Path, layout: &Layout) -> io::Result<Self> {
        let library = root.join(format!("lib/python{}", layout.version));
        for directory in ["bin", "libraries", "plugins"] {
            fs::create_dir_all(root.join(directory))?;
        }
        fs::create_dir_all(&library)?;
        let mut pack = Self { root: root.to_owned(), library: library.clone(), files: 0, bytes: 0 };
        let standard = |name: &str| !SPARE.contains(&name) && !name.starts_with("config-");
        pack.entries(&layout.standard, &library, &standard)?;
        // Beside the standard library, where every Python looks.
        let installed = |name: &str| !name.ends_with(".pth") && !NOT_FOR_TASKS.iter().any(|not| name.starts_with(not));
        for packages in layout.packages.iter().filter(|packages| packages.is_dir()) {
            pack.entries(packages, &library, &installed)?;
        }
        for path in &layout.apt {
            let name = path.file_name().unwrap_or_default();
            pack.path(path, &library.join(name), 0)?;
        }
        pack.path(&layout.executable, &root.join("bin/python3.real"), 0)?;
        pack.path(Path::new(LOCALE), &root.join("libraries/C.utf8"), 0).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                io::Error::other(format!("this host has no {LOCALE}: install the locale C.UTF-8"))
            }
            _ => error,
        })?;
        Ok(pack)
    }

    /// The programs and libraries in the tree, whose own libraries are needed too.
    pub(crate) fn binaries(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut waiting = vec![self.library.clone()];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    waiting.push(entry.path());
                } else if entry.file_name().to_string_lossy().contains(".so") {
                    found.push(entry.path());
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Copies the libraries of this host that `ldd` has named, and writes our own files. Blocks.
    pub(crate) fn finish(mut self, needed: &str) -> io::Result<()> {
        let needed = needed_libraries(needed);
        let loader =
            needed.iter().find_map(|path| path.file_name()?.to_str().filter(|name| name.starts_with("ld-linux")));
        let loader = loader.map(str::to_owned).ok_or_else(|| {
            io::Error::other("this host's Python is not one of the GNU C library, and no other can be packed")
        })?;
        let root = self.root.clone();
        for path in needed.iter().filter(|path| !path.starts_with(&root)) {
            let name = path.file_name().unwrap_or_default();
            self.path(path, &root.join("libraries").join(name), 0)?;
        }
        let write = |path: &str, text: &str, mode: u32| {
            let path = root.join(path);
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
        };
        write("bin/python3", &launcher(&loader), 0o755)?;
        write("start.py", START, 0o644)?;
        write("ansible.cfg", CONFIGURATION, 0o644)?;
        write("plugins/slipway.py", OUTPUT, 0o644)?;
        let live = self.library.join("sitecustomize.py");
        fs::write(&live, LIVE)?;
        fs::set_permissions(&live, fs::Permissions::from_mode(0o644))
    }

    /// Copies the entries of a directory that `wanted` takes by their names.
    fn entries(&mut self, from: &Path, to: &Path, wanted: &dyn Fn(&str) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(from).map_err(|error| at(from, &error))? {
            let name = entry?.file_name();
            if name.to_str().is_some_and(wanted) {
                self.path(&from.join(&name), &to.join(&name), 0)?;
            }
        }
        Ok(())
    }

    /// Copies a file or a directory, links as what they lead to, readable for everybody.
    fn path(&mut self, from: &Path, to: &Path, depth: u32) -> io::Result<()> {
        let found = match fs::metadata(from) {
            // A link that leads nowhere leads nowhere in a container either.
            Err(error) if error.kind() == io::ErrorKind::NotFound && depth > 0 => return Ok(()),
            other => other.map_err(|error| at(from, &error))?,
        };
        if found.is_dir() {
            if depth > MAX_DEPTH {
                return Err(io::Error::other(format!("{}: directories are nested too deeply", from.display())));
            }
            fs::create_dir_all(to)?;
            fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
            for entry in fs::read_dir(from).map_err(|error| at(from, &error))? {
                let name = entry?.file_name();
                if name != "__pycache__" {
                    self.path(&from.join(&name), &to.join(&name), depth + 1)?;
                }
            }
        } else if found.is_file() {
            self.files += 1;
            self.bytes += found.len();
            if self.files > MAX_FILES || self.bytes > MAX_BYTES {
                let why = format!("more than {MAX_FILES} files or {MAX_BYTES} bytes would be copied for Ansible");
                return Err(io::Error::other(why));
            }
            fs::copy(from, to).map_err(|error| at(from, &error))?;
            let mode = if found.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
            fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Starts Python by its own loader: the libraries are its alone, and what it starts sees nothing of them.
fn launcher(loader: &str) -> String {
    let libraries = format!("{ROOT}/libraries");
    format!(
        "#!{TOOLBOX_BIN}/busybox sh\nexec {libraries}/{loader} --inhibit-cache --library-path {libraries} \
         --argv0 \"$0\" {ROOT}/bin/python3.real \"$@\"\n"
    )
}

/// The files that the output of `ldd` names.
fn needed_libraries(output: &str) -> BTreeSet<PathBuf> {
    let path = |line: &str| {
        let line = line.trim();
        let found = line.split_once(" => ").map_or(line, |(_, found)| found);
        let (path, _) = found.split_once(" (")?;
        path.starts_with('/').then(|| PathBuf::from(path))
    };
    output.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_read_of_ldd() {
        let output = "/usr/bin/python3.11:\n\tlinux-vdso.so.1 (0x00007fff)\n\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f)\n\
                      \tlibtk.so => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n/x/y.so:\n\tstatically linked\n";
        let found: Vec<String> = needed_libraries(output).iter().map(|path| path.display().to_string()).collect();
        assert_eq!(found, ["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/ld-linux-x86-64.so.2"]);
    }

    #[test]
    fn what_is_copied_is_readable_and_ends_somewhere() {
        let home = tempfile::tempdir().expect("a directory");
        let from = home.path().join("from");
        fs::create_dir_all(from.join("a/__pycache__")).expect("a directory");
        fs::write(from.join("a/secret"), "x").expect("a file");
        fs::set_permissions(from.join("a/secret"), fs::Permissions::from_mode(0o600)).expect("a mode");
        std::os::unix::fs::symlink("nowhere", from.join("a/lost")).expect("a link");
        let to = home.path().join("to");
        let mut pack = Pack { root: to.clone(), library: to.clone(), files: 0, bytes: 0 };
        pack.path(&from, &to, 0).expect("a copy");
        assert_eq!(fs::metadata(to.join("a/secret")).expect("a copy").permissions().mode() & 0o777, 0o644);
        assert!(!to.join("a/__pycache__").exists() && !to.join("a/lost").exists());
        std::os::unix::fs::symlink(".", from.join("a/loop")).expect("a link");
        assert!(pack.path(&from, &to, 0).is_err(), "a loop ends");
    }
}
