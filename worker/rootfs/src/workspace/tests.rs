//! What a workspace does by itself, on a directory whose commands only look.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use futures::StreamExt as _;
use slipway_oci::BlobDigest;
use tokio::sync::mpsc;

use super::*;

/// A directory; notes what was seen of a file when.
struct Directory {
    place: PathBuf,
    tasks: Tasks,
    seen: Arc<Mutex<Vec<(&'static str, bool)>>>,
}

impl Directory {
    fn note(&self, when: &'static str) {
        self.seen.lock().expect("a lock").push((when, self.place.join("srv/file").exists()));
    }
}

#[async_trait]
impl Rooted for Directory {
    type Held = Root;

    async fn hold(&mut self) -> Result<Root, BackendError> {
        Root::open(&self.place).map_err(|error| crate::error::system("open a directory", error))
    }

    fn root(held: &Root) -> &Root {
        held
    }

    fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    async fn run(&mut self, _script: Script, _logs: Logs) -> Result<(), BackendError> {
        self.note("run");
        Ok(())
    }

    async fn shell(
        &mut self,
        _ran: bool,
        _variables: &BTreeMap<String, String>,
        _terminal: Terminal,
    ) -> Result<(), BackendError> {
        Ok(())
    }

    async fn commit(self, _change: ConfigChange) -> Result<LocalImage, BackendError> {
        self.note("commit");
        Ok(LocalImage { id: BlobDigest::of(b"") })
    }
}

#[tokio::test]
async fn files_go_before_the_commands_and_nothing_changes_after_them() {
    let home = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(home.path().join("srv/kept")).expect("a directory");
    let (seen, logs) = (Arc::<Mutex<_>>::default(), mpsc::channel(1).0);
    let script = Script { commands: vec![(1, "true".to_owned())], ..Script::default() };
    let paths = || vec![TreePath::new("file").expect("a path")];
    for with_commands in [true, false] {
        fs::write(home.path().join("srv/file"), "x").expect("a file");
        let directory = Directory { place: home.path().to_owned(), tasks: Tasks::new(), seen: Arc::clone(&seen) };
        let mut workspace = Box::new(RootWorkspace::new(directory));
        workspace.delete("/srv", paths()).await.expect("a deletion");
        workspace.run(Script::default(), logs.clone()).await.expect("no commands");
        workspace.rooted.note("before");
        if with_commands {
            workspace.run(script.clone(), logs.clone()).await.expect("commands");
            let none = || futures::stream::empty().boxed();
            let refused = [
                workspace.run(script.clone(), logs.clone()).await,
                workspace.delete("/srv", paths()).await,
                workspace.extract(none(), "/srv", None, None).await,
                workspace.extract_file(none(), "/srv/file", None, None).await,
            ];
            assert!(refused.iter().all(|one| matches!(one, Err(BackendError::Refused(_)))), "{refused:?}");
        }
        workspace.commit(ConfigChange::default()).await.expect("an image");
    }
    let seen = seen.lock().expect("a lock").clone();
    let expected = [("before", true), ("run", false), ("commit", false), ("before", true), ("commit", false)];
    assert_eq!(seen, expected);
}
