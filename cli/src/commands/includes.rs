//! `slipway includes update|ls-files|get-file`.

use std::{io::Write as _, path::Path};

use anyhow::Context as _;
use slipway_config::{GitRevision, includes::write_lock};
use slipway_git::GitView as _;
use slipway_paths::{Glob, PathFilter, Scope};
use slipway_process::random_id;

use super::session::Session;
use crate::{failure::Failure, includes, project::Project};

/// Writes the lock file: the commits that the includes are at now.
pub(crate) async fn update(session: Session) -> Result<(), Failure> {
    let (flags, reading) = (session.project_flags.clone(), session.reading());
    let (lock, locked) = session
        .blocking(move || {
            let project = Project::locate(&flags, &reading)?;
            let (name, locked) = includes::update(&project, &flags.including(&reading))?;
            let lock = project.directory.join(name);
            write(&lock, &write_lock(&locked))?;
            Ok((lock, locked))
        })
        .await?;
    for entry in &locked {
        let revision = match &entry.revision {
            GitRevision::Branch(name) | GitRevision::Tag(name) => format!("{name} "),
            GitRevision::Default | GitRevision::Commit(_) => String::new(),
        };
        session.printer.info(&format!("{} {revision}is at {}", entry.git, entry.commit));
    }
    session.printer.info(&format!("Written: {}", lock.display()));
    Ok(())
}

/// Replaces a file in one step.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let new = path.with_extension(format!("lock-{}", random_id()));
    let written = std::fs::File::create_new(&new).and_then(|mut file| file.write_all(text.as_bytes()));
    let moved = written.and_then(|()| std::fs::rename(&new, path));
    moved.with_context(|| format!("write {}", path.display())).map_err(Failure::from)
}

/// Lists the files of the project and of its includes, with where each comes from.
pub(crate) async fn ls_files(session: Session) -> Result<(), Failure> {
    let patterns: Result<Vec<Glob>, _> = session.patterns.iter().map(|pattern| Glob::new(pattern)).collect();
    let patterns = patterns.map_err(Failure::usage)?;
    let (flags, reading) = (session.project_flags.clone(), session.reading());
    let mut files = session
        .blocking(move || {
            let project = Project::with_includes(&flags, &reading)?;
            let scope = Scope::Filter(PathFilter { base: project.prefix.clone(), ..PathFilter::default() });
            let own = project.repository.list(project.commit, &scope).context("list the files of the project");
            let own = own.map_err(Failure::project)?.into_iter().map(|path| (path, "local".to_owned()));
            let included = project.includes.below(&project.prefix).map(|(path, source)| (path, source.to_owned()));
            Ok(own.chain(included).collect::<Vec<_>>())
        })
        .await?;
    files.retain(|(path, _)| patterns.is_empty() || patterns.iter().any(|pattern| pattern.selects(path)));
    files.sort();
    let width = files.iter().map(|(path, _)| path.to_string().chars().count()).max().unwrap_or(0).max("PATH".len());
    let mut text = format!("{:width$}  SOURCE\n", "PATH");
    for (path, source) in files {
        text.push_str(&format!("{:width$}  {source}\n", path.to_string()));
    }
    session.printer.data(text.as_bytes())?;
    Ok(())
}

/// Prints a file of the project or of its includes.
pub(crate) async fn get_file(session: Session) -> Result<(), Failure> {
    let [name] = session.patterns.as_slice() else {
        return Err(Failure::usage(anyhow::anyhow!("name one file: slipway includes get-file PATH")));
    };
    let (name, flags, reading) = (name.clone(), session.project_flags.clone(), session.reading());
    let bytes = session
        .blocking(move || {
            let project = Project::with_includes(&flags, &reading)?;
            let path = project.path(&name)?;
            let bytes = project.repository.read(project.configuration, &path).with_context(|| format!("read {name}"));
            bytes.map_err(Failure::project)?.ok_or_else(|| {
                Failure::project_text(format!(
                    "{name} is neither in the project nor in its includes; `slipway includes ls-files` lists them"
                ))
            })
        })
        .await?;
    session.printer.data(&bytes)?;
    Ok(())
}
