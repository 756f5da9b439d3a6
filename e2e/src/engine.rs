//! The Docker engine, spoken to by its command line.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Stdio,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, bail};
use slipway_parts::docker;
use slipway_process::child;

/// Runs `docker` with arguments; answers its standard output.
///
/// # Errors
/// When it fails; the message holds its standard error.
pub fn run(arguments: &[&str]) -> Result<String> {
    let output = child::command(docker()).args(arguments).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("docker {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a shell command in a new container of `image`; answers its output.
///
/// # Errors
/// When the command fails.
pub fn sh(image: &str, command: &str) -> Result<String> {
    run(&["run", "--rm", "--network=none", "--entrypoint=/bin/sh", image, "-c", command])
}

/// The `config` part of a local image.
///
/// # Errors
/// When the image is not there.
pub fn config(image: &str) -> Result<serde_json::Value> {
    let inspected: serde_json::Value = serde_json::from_str(&run(&["image", "inspect", image])?)?;
    Ok(inspected[0]["Config"].clone())
}

/// Makes an engine forget every image of a repository.
///
/// # Errors
/// When the engine does not answer.
pub fn forget(repository: &str) -> Result<()> {
    let listed = run(&["image", "ls", "--no-trunc", "--format={{.Repository}}:{{.Tag}}", repository])?;
    for image in listed.lines().filter(|line| !line.is_empty() && !line.contains("<none>")) {
        run(&["image", "rm", "--force", image])?;
    }
    Ok(())
}

/// Makes an engine forget every image of a project, by the label that its stages have.
///
/// # Errors
/// When the engine does not answer.
pub fn forget_labelled(project: &str) -> Result<()> {
    let label = format!("label=werf={project}");
    // What another image stands on goes after that one.
    for _ in 0..10 {
        let listed = run(&["image", "ls", "--all", "--quiet", "--no-trunc", "--filter", &label])?;
        if listed.is_empty() {
            break;
        }
        let _ = run(&[&["image", "rm", "--force"], listed.lines().collect::<Vec<_>>().as_slice()].concat());
    }
    Ok(())
}

/// A small base image that every engine of a test run has: a static busybox with its links, `/etc/passwd` with the
/// user `app` (1050:1051), and no `CMD`.
///
/// # Panics
/// When it cannot be made.
pub fn base_image() -> &'static str {
    static BASE: OnceLock<String> = OnceLock::new();
    BASE.get_or_init(|| make_base_image().expect("the base image can be made"))
}

fn make_base_image() -> Result<String> {
    let name = "localhost/slipway-e2e-base:1".to_owned();
    let root = tempfile::tempdir()?;
    root_file_system(root.path())?;
    let mut tar = child::command("tar");
    tar.arg("-C").arg(root.path()).args(["--numeric-owner", "--owner=0", "--group=0"]);
    let packed = tar_output(tar.args(["-c", "."]))?;
    let mut import = child::command(docker())
        .args(["import", "--change=ENV PATH=/bin:/usr/bin", "-", &name])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    import.stdin.take().context("a pipe")?.write_all(&packed)?;
    if !import.wait()?.success() {
        bail!("docker import failed");
    }
    Ok(name)
}

fn tar_output(command: &mut std::process::Command) -> Result<Vec<u8>> {
    let output = command.output()?;
    if output.status.success() { Ok(output.stdout) } else { bail!("tar failed") }
}

/// Fills a directory with a static busybox and what a small system needs.
///
/// # Errors
/// When busybox is not installed.
pub fn root_file_system(root: &Path) -> Result<()> {
    for directory in ["bin", "etc", "usr/bin", "tmp", "root"] {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    let busybox = root.join("bin/busybox");
    fs::copy("/bin/busybox", &busybox).context("copy /bin/busybox (install busybox-static)")?;
    fs::set_permissions(&busybox, fs::Permissions::from_mode(0o755))?;
    let listed = child::command("/bin/busybox").arg("--list").output()?;
    for applet in String::from_utf8_lossy(&listed.stdout).lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\napp:x:1050:1051::/:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\napp:x:1051:\n")?;
    Ok(())
}
