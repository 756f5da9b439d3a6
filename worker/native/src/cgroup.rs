//! A control group for each sandbox: what it may use all together, and its end as a whole.
//!
//! Groups lie in `slipway/` of each hierarchy. Each is locked by its owner; one whose lock can be taken is garbage.
//! Version 2 does everything where it has the controllers; where the host gave them to version 1, that limits, and
//! version 2, which is there too on most such hosts, only ends.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use slipway_process::random_id;

use crate::limits::Limits;

/// Where hierarchies are.
const MOUNT: &str = "/sys/fs/cgroup";
/// Where version 2 is beside version 1.
const BESIDE: &str = "/sys/fs/cgroup/unified";
/// The directory of ours in each.
const OURS: &str = "slipway";
/// Controllers that are used.
const MEMORY: &str = "memory";
const PIDS: &str = "pids";
/// How often a group is made anew when a sweep was faster than its lock.
const TRIES: usize = 16;

/// The groups of one sandbox. When it is dropped, everything in them is ended, and they are gone.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its directories, with their locks.
    places: Vec<(PathBuf, File)>,
}

impl Group {
    /// Makes a group. Without limits none is made: all that is in a sandbox ends with its namespace of processes, and
    /// the kernel takes ten milliseconds and more to let a process enter a group.
    pub(crate) fn make(limits: &Limits) -> io::Result<Self> {
        if limits.memory.is_none() && limits.pids.is_none() {
            return Ok(Self { places: Vec::new() });
        }
        let name = random_id();
        let wanted: Vec<&str> = [(MEMORY, limits.memory), (PIDS, limits.pids)]
            .into_iter()
            .filter_map(|(name, limit)| limit.map(|_| name))
            .collect();
        let mut group = Self { places: Vec::new() };
        let second = second();
        let served = second.as_deref().map(controllers).unwrap_or_default();
        let by_second = |name: &&str| served.iter().any(|served| served == name);
        if let Some(root) = &second {
            let enabled: Vec<&str> = wanted.iter().copied().filter(by_second).collect();
            match enable(root, &enabled).and_then(|()| group.add(root, &name)) {
                Err(error) if !enabled.is_empty() => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        for controller in wanted.iter().filter(|name| !by_second(name)) {
            let root = Path::new(MOUNT).join(controller);
            if !root.join("cgroup.procs").exists() {
                let why = format!("this host has no control group for {controller}: run without its limit");
                return Err(io::Error::new(io::ErrorKind::Unsupported, why));
            }
            group.add(&root, &name)?;
        }
        for (place, _) in &group.places {
            limit(place, limits)?;
        }
        Ok(group)
    }

    fn add(&mut self, root: &Path, name: &str) -> io::Result<()> {
        let ours = root.join(OURS);
        let place = ours.join(name);
        for _ in 0..TRIES {
            present(fs::create_dir(&ours))?;
            present(fs::create_dir(&place))?;
            let Ok(lock) = File::open(&place) else { continue };
            lock.try_lock().map_err(io::Error::from)?;
            // It may have been taken for garbage before it was locked.
            if place.join("cgroup.procs").exists() {
                self.places.push((place, lock));
                return Ok(());
            }
        }
        Err(io::Error::other(format!("{} goes away as fast as it is made", place.display())))
    }

    /// What a process writes a `0` to, to be in it.
    pub(crate) fn doors(&self) -> Vec<PathBuf> {
        self.places.iter().map(|(place, _)| place.join("cgroup.procs")).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for (place, _) in &self.places {
            end(place);
        }
    }
}

/// Removes the control groups that dead builds left; answers how many. Blocks.
pub fn sweep() -> u32 {
    let roots = second().into_iter().chain([MEMORY, PIDS].map(|name| Path::new(MOUNT).join(name)));
    let places = roots.filter_map(|root| fs::read_dir(root.join(OURS)).ok()).flatten().flatten();
    let groups = places.map(|found| found.path()).filter(|place| place.is_dir());
    let dead = groups.filter(|place| File::open(place).is_ok_and(|lock| lock.try_lock().is_ok() && end(place)));
    u32::try_from(dead.count()).unwrap_or(u32::MAX)
}

/// Ends what is in a group and removes it; whether it is gone.
fn end(place: &Path) -> bool {
    // Version 1 has no such file: what was in there has ended with its namespaces.
    let kill = place.join("cgroup.kill");
    if kill.exists() {
        let _ = fs::write(kill, "1");
    }
    // What is still ending keeps it for a moment: the next sweep finds it.
    fs::remove_dir(place).is_ok()
}

/// Where version 2 is.
fn second() -> Option<PathBuf> {
    [MOUNT, BESIDE].into_iter().map(PathBuf::from).find(|root| root.join("cgroup.controllers").exists())
}

fn controllers(root: &Path) -> Vec<String> {
    let text = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Lets groups of ours have controllers.
fn enable(root: &Path, controllers: &[&str]) -> io::Result<()> {
    let ours = root.join(OURS);
    present(fs::create_dir(&ours))?;
    for controller in controllers {
        for directory in [root, &ours] {
            let file = directory.join("cgroup.subtree_control");
            let failed = |error: io::Error| {
                let file = file.display();
                io::Error::new(
                    error.kind(),
                    format!("give {controller} to groups by {file}: {error}; run without its limit"),
                )
            };
            fs::write(&file, format!("+{controller}")).map_err(failed)?;
        }
    }
    Ok(())
}

fn limit(place: &Path, limits: &Limits) -> io::Result<()> {
    // What is swapped out is memory too: not all kernels count it.
    let settings = [
        ("memory.max", limits.memory, true),
        ("memory.swap.max", limits.memory.map(|_| 0), false),
        ("memory.limit_in_bytes", limits.memory, true),
        ("memory.memsw.limit_in_bytes", limits.memory, false),
        ("pids.max", limits.pids, true),
    ];
    for (name, value, needed) in settings {
        let file = place.join(name);
        if let Some(value) = value.filter(|_| file.exists()) {
            match fs::write(&file, value.to_string()) {
                Err(error) if needed => {
                    return Err(io::Error::new(error.kind(), format!("write {value} to {}: {error}", file.display())));
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
    Ok(())
}

fn present(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
