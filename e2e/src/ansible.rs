//! Ansible, set up once for all tests.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::Result;

/// What is said when Ansible cannot be set up on a machine.
const MISSING: [&str; 4] =
    ["install Ansible from PyPI", "make a virtual environment", "this host has none", "C.UTF-8:"];

/// Gives a home or data directory what was set up in `shared` by any other, and the locks of it.
///
/// # Errors
/// When it cannot be written.
pub fn share(home: &Path, shared: &Path) -> Result<()> {
    let service = home.join("service");
    fs::create_dir_all(&service)?;
    for (name, at) in [("trees", home.join("ansible")), ("locks", service.join("locks"))] {
        fs::create_dir_all(shared.join(name))?;
        symlink(shared.join(name), at)?;
    }
    Ok(())
}

/// Whether a build failed because Ansible cannot be set up here.
pub fn is_missing(said: &str) -> bool {
    MISSING.iter().any(|part| said.contains(part))
}
