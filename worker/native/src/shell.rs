//! A shell for the user in the room of a stage, on a terminal of its own whose other end is the user's.

use std::{collections::BTreeMap, sync::Arc};

use slipway_backend::{
    BackendError, Script, Setup, Terminal,
    script::{Marker, TOOLBOX_BIN, compose},
    terminal::{follow, pair},
};
use slipway_process::random_id;

use crate::{
    Shared, error,
    run::{Launch, launch},
    runtime::Kind,
    workspace::Room,
};

const DOING: &str = "open a shell in a stage";

/// Opens a shell and waits for its end. When the future is dropped, it is killed.
pub(crate) async fn shell(
    shared: &Arc<Shared>,
    room: Arc<Room>,
    setup: &Setup,
    image_variables: &[String],
    (variables, terminal): (&BTreeMap<String, String>, Terminal),
) -> Result<(), BackendError> {
    if shared.runtime.as_ref().is_some_and(|runtime| runtime.kind() == Kind::Runsc) {
        let why = "gVisor gives no terminal to what it runs so: leave --native-runtime away to look into a stage";
        return Err(BackendError::Refused(format!("not supported yet: {DOING} by runsc: {why}")));
    }
    let mut script = Script { variables: variables.clone(), ..Script::default() };
    script.variables.extend(terminal.variables());
    let text = compose(&[], &script, &setup.secrets, &Marker::new(&random_id()))?;
    let Terminal { input, output, mut size, .. } = terminal;
    let first = *size.borrow_and_update();
    let (ours, theirs) = pair(first).map_err(|error| error::system(DOING, error))?;
    // A runtime leads a session that has no terminal: whoever opens one in it makes it its own.
    let terminal = if shared.runtime.is_some() { "<>/dev/console >&0 2>&0" } else { "<&1" };
    let bootstrap = format!(
        "eval \"$(</dev/stdin)\"; exec {TOOLBOX_BIN}/bash --norc --noprofile -i {terminal} {}>&-",
        Marker::DESCRIPTOR
    );
    let what = Launch { bootstrap, text, tools: None, terminal: Some(theirs) };
    let (mut running, _) = launch(shared, room, setup, image_variables, what).await?;
    follow(&shared.tasks, Arc::new(ours), (input, output, size)).await;
    running.ended().await.map(drop)
}
