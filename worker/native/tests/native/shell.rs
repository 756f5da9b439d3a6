//! Tools beside the toolbox, and a shell of the user's after the commands.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _};

use slipway_backend::{
    ImageBuilder as _, Script, Secrets, Setup, Terminal, Tools, Workspace,
    conformance::{Harness, collect},
    script::TOOLBOX_BIN,
};
use slipway_oci::{ConfigChange, Platform};
use tokio::sync::{mpsc, watch};

use crate::parts::{Native, is_gvisor};

/// What is typed is shown too: answers are told apart from it.
const TYPED: &str = "echo state=$(</state)=; v=$(</run/secrets/token); echo secret=${v:7}-${v:0:6}=; [[ -t 0 && -t 1 ]] && echo on a term''inal\n\
    [[ $- == *m* ]] && echo j''obs; (:); echo $LINES $COLUMNS; echo shell > /by-shell; exit 9\n";

/// Types into a shell until it ends; answers what it shows.
async fn shown(workspace: &mut dyn Workspace, typed: &str) -> String {
    let (keys, input) = mpsc::channel(1);
    let (output, screen) = mpsc::channel(16);
    let (_size, size) = watch::channel((31, 77));
    let terminal = Terminal { input, output, size, kind: "dumb".to_owned(), prompt: "stage".to_owned() };
    let variables = BTreeMap::from([("PATH".to_owned(), TOOLBOX_BIN.to_owned())]);
    keys.send(typed.as_bytes().to_vec()).await.expect("keys are taken");
    let (ended, shown) = tokio::join!(workspace.shell(&variables, terminal), collect(screen));
    ended.expect("a shell");
    shown.concat()
}

/// Why a shell is not opened.
async fn refused(workspace: &mut dyn Workspace) -> String {
    let (_keys, input) = mpsc::channel(1);
    let (output, _screen) = mpsc::channel(1);
    let (_size, size) = watch::channel((31, 77));
    let terminal = Terminal { input, output, size, kind: "dumb".to_owned(), prompt: "stage".to_owned() };
    workspace.shell(&BTreeMap::new(), terminal).await.expect_err("no shell").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_lie_beside_the_toolbox_and_a_shell_follows_the_commands() {
    let Some(native) = Native::start().await else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let tools = tempfile::tempdir().expect("a directory");
    let bin = tools.path().join("embedded/bin");
    fs::create_dir_all(&bin).expect("directories");
    fs::write(bin.join("further"), format!("#!{TOOLBOX_BIN}/bash\necho a further tool\n")).expect("a file");
    for path in [tools.path(), bin.parent().expect("a directory"), &bin, &bin.join("further")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    let mut secrets = Secrets::none();
    secrets.add("token", b"sesame open".to_vec());
    let base = Setup::new(harness.attempt(), Platform::host());
    let setup = Setup { network: Some("none".to_owned()), secrets, ..base };
    let mut workspace = native.backend.open(Some(&native.base), setup).await.expect("a workspace");
    let text = format!(
        "PATH={TOOLBOX_BIN}:$PATH; further; echo commands > /state; (: > {TOOLBOX_BIN}/further) 2>/dev/null || echo kept"
    );
    let tools = Tools { version: "1".to_owned(), root: Some(tools.path().to_owned()) };
    let script = Script { commands: vec![(1, text)], tools: Some(tools), ..Script::default() };
    let (logs, lines) = mpsc::channel(16);
    let (ended, said) = tokio::join!(workspace.run(script, logs), collect(lines));
    ended.unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert_eq!(said, ["a further tool", "kept"]);

    if is_gvisor() {
        let why = refused(workspace.as_mut()).await;
        assert!(why.contains("leave --native-runtime away"), "{why}");
        drop(workspace);
        return native.end().await;
    }
    let shown = shown(workspace.as_mut(), TYPED).await;
    for part in ["[stage]", "state=commands=", "secret=open-sesame=", "on a terminal", "jobs", "31 77"] {
        assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
    }
    let image = workspace.commit(ConfigChange::default()).await.expect("an image");
    assert_eq!(harness.text(&image, "/state").await, "commands\n");
    assert_eq!(harness.text(&image, "/by-shell").await, "shell\n");
    let paths = harness.paths(&image, "/").await;
    assert!(paths.iter().all(|path| !path.contains("further") && !path.contains("console")), "{paths:?}");
    native.end().await;
}
