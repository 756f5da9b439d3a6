//! One instruction as a build of its own: what it stands on and what it reads are images that were made before.
//!
//! What changes the config alone is done by us. For all others the program is given a Dockerfile of that one instruction,
//! in which nothing is left to be expanded; of what comes of it only the layers are taken.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex, PoisonError},
};

use slipway_backend::{
    BackendError, ByteStream, DockerfileBuild, InstructionBuild, LocalImage, Logs, Secrets,
    dockerfile::{
        Draft, Follows, Postponed, at, follows, has_command, head_text, history, network, not_built, platform_of, read,
        scratch, variables_before, wrong,
    },
    emulation,
};
use slipway_dockerfile::{Content, Files, Head, Origin, Program, Run, Source, Step, Variables, Written};
use slipway_oci::{BlobDigest, ImageConfig, Platform, Reference};
use slipway_process::random_id;
use slipway_rootfs::{error::registry, place};

use super::{arguments, bases::Bases, failure::explain_one, interpret, made, spelled, unpack, write};
use crate::{
    Shared, commit,
    container::Container,
    document::{self, Kept, expect},
    error::system,
    images,
    memory::Memory,
    run::Network,
};

/// Does the instruction; output goes to `logs`.
pub(crate) async fn instruct(
    shared: &Arc<Shared>,
    order: InstructionBuild,
    context: ByteStream,
    logs: Logs,
) -> Result<LocalImage, BackendError> {
    let program = read(&order.file)?;
    let follows = follows(&program, order.stage, order.number, order.base.as_ref())?;
    let platform = platform_of(&program.lowest(order.stage).map_err(wrong)?, &order.file.platform)?;
    let room = Container::room(&shared.program, &order.file.attempt)?;
    let names = Bases::none(&order.file.attempt);
    let mut alone = Alone {
        shared,
        order,
        program,
        platform,
        room,
        names,
        context: Mutex::new(Some(context)),
        logs,
        passing: Vec::new(),
    };
    let cursor = match follows {
        None => alone.begin().await?,
        Some(follows) => alone.go_on(follows).await?,
    };
    let now = shared.now();
    let config = cursor.config(&alone.order.file.labels, &now);
    let image = document::store(&shared.program, &config, &cursor.manifest()).await?;
    alone.passing.retain(|passed| *passed != image);
    Ok(image)
}

/// How far a stage has come.
struct Cursor {
    /// What its config is to be.
    draft: Draft,
    /// The image that has its layers; `None` = it has none.
    layers: Option<Kept>,
}

impl Cursor {
    fn on(kept: Kept, variables: Variables) -> Self {
        Self { draft: Draft::on(kept.config.clone(), variables), layers: Some(kept) }
    }

    fn manifest(&self) -> serde_json::Value {
        self.layers.as_ref().map_or_else(document::no_layers, |kept| kept.manifest.clone())
    }

    fn config(&self, labels: &BTreeMap<String, String>, now: &str) -> ImageConfig {
        let diff_ids = self.layers.as_ref().map(|kept| kept.config.rootfs.diff_ids.clone());
        self.draft.image(diff_ids.unwrap_or_default(), labels, now)
    }
}

/// An instruction under way.
struct Alone<'a> {
    shared: &'a Arc<Shared>,
    order: InstructionBuild,
    program: Program,
    /// What the stage is of.
    platform: Platform,
    room: Container,
    /// Names that the program is told; they go with the room.
    names: Bases,
    /// The context, until it is unpacked.
    context: Mutex<Option<ByteStream>>,
    logs: Logs,
    /// Images that are only on the way to the last one: they go with this.
    passing: Vec<LocalImage>,
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.passing.drain(..).for_each(|passed| commit::forget(&self.shared.program, passed));
    }
}

impl Alone<'_> {
    /// The beginning of the stage, with what its base has postponed.
    async fn begin(&mut self) -> Result<Cursor, BackendError> {
        let stage = self.order.stage;
        let head = self.program.head(stage).map_err(wrong)?;
        let mut cursor = match &head.base {
            Origin::Stage(below) => {
                let kept = expect(&self.shared.program, &self.stage(*below)?).await?;
                let variables = self.variables(*below, None, &kept.config).await?;
                self.say(&head_text(&self.program, &head)).await;
                Cursor::on(kept, variables)
            }
            Origin::Scratch => {
                self.say(&head_text(&self.program, &head)).await;
                Cursor { draft: Draft::on(scratch(&self.platform), self.program.variables(&[])), layers: None }
            }
            Origin::Image(name) => {
                self.say(&head_text(&self.program, &head)).await;
                let image = self.image(&head, name).await.map_err(|error| at(head.line, "FROM", error))?;
                let mut kept = expect(&self.shared.program, &image).await?;
                Postponed::forget(&mut kept.config);
                Cursor::on(kept, self.program.variables(&[]))
            }
        };
        let postponed = cursor.draft.begin().map_err(|error| at(head.line, "FROM", error))?;
        if !matches!(head.base, Origin::Stage(_)) {
            let environment = cursor.draft.config.config.env.as_deref().unwrap_or_default();
            cursor.draft.variables = self.program.variables(environment);
        }
        let steps = self.program.triggers(stage, &postponed).map_err(wrong)?;
        for written in &steps {
            self.one(&mut cursor, written).await?;
        }
        if matches!(head.base, Origin::Image(_)) {
            // What follows is done by others.
            Postponed::note(&mut cursor.draft, &steps);
        }
        Ok(cursor)
    }

    /// The instruction at a place behind the `FROM`.
    async fn go_on(&mut self, follows: Follows) -> Result<Cursor, BackendError> {
        let stage = self.order.stage;
        let Follows { index, written, base } = follows;
        let kept = expect(&self.shared.program, &base).await?;
        let variables = self.variables(stage, Some(index), &kept.config).await?;
        let mut cursor = Cursor::on(kept, variables);
        cursor.draft.has_command = has_command(&self.program, (stage, index), &cursor.draft.config).map_err(wrong)?;
        self.one(&mut cursor, &written).await?;
        Ok(cursor)
    }

    /// The variables in force before an instruction, or at the end of a stage whose image has this config.
    async fn variables(
        &self,
        stage: usize,
        index: Option<usize>,
        config: &ImageConfig,
    ) -> Result<Variables, BackendError> {
        let beginning = match &self.order.beginning {
            Some(image) => Some(expect(&self.shared.program, image).await?.config),
            None => None,
        };
        variables_before(&self.program, (stage, index), config, beginning.as_ref()).map_err(wrong)
    }

    async fn say(&self, line: &str) {
        // Nobody who reads on is missed when the build is being given up.
        let _ = self.logs.send(line.as_bytes().to_vec()).await;
    }

    /// Does one instruction.
    async fn one(&mut self, cursor: &mut Cursor, written: &Written) -> Result<(), BackendError> {
        let step = self.program.expand(written, &mut cursor.draft.variables).map_err(wrong)?;
        if !written.makes_files() {
            self.say(&written.text).await;
            cursor.draft.apply(&step);
            return Ok(());
        }
        let told = |error| at(written.line, &written.text, error);
        let task = match &step {
            Step::Run(run) => self.command(cursor, written, run).await.map_err(told)?,
            Step::Files(files) => self.files(written, files).await.map_err(told)?,
            Step::Workdir(path) => return self.enter(cursor, written, path).await.map_err(told),
            _ => return Ok(()),
        };
        self.interpret(cursor, written, task).await
    }

    /// Makes a directory for what follows: the program would not have it owned by the image's user.
    async fn enter(&mut self, cursor: &mut Cursor, written: &Written, path: &str) -> Result<(), BackendError> {
        self.say(&written.text).await;
        let (below, is_passing) = self.so_far(cursor).await?;
        self.passing.extend(is_passing.then(|| below.clone()));
        let container =
            Container::create(&self.shared.program, &format!("workdir-{}", random_id()), Some(&below), &[]).await?;
        let by = cursor.draft.enter(path);
        let (directory, user) = (cursor.draft.directory().to_owned(), cursor.draft.config.config.user.clone());
        let root = container.root()?;
        let make = move || -> Result<bool, BackendError> {
            let system = |error| system("look at the files of a build container", error);
            let before = place::is_directory(&root, &directory).map_err(system)?;
            place::directory(&root, &directory, &user).map(|()| !before)
        };
        if self.shared.program.tasks.blocking(make).await? {
            let kept = commit::layers(&container).await?;
            self.take(cursor, kept, &by);
        } else {
            cursor.draft.add(false, &self.shared.now(), &by);
        }
        Ok(())
    }

    /// The image of what is done so far, and whether it was made for this: most often it is the one that is stood on.
    async fn so_far(&self, cursor: &Cursor) -> Result<(LocalImage, bool), BackendError> {
        let config = cursor.config(&BTreeMap::new(), &self.shared.now());
        if let Some(kept) = &cursor.layers
            && kept.image.id == BlobDigest::of(&config.to_bytes())
        {
            return Ok((kept.image.clone(), false));
        }
        let image = document::store(&self.shared.program, &config, &cursor.manifest()).await?;
        Ok((image, true))
    }

    /// Takes the layers of what was made.
    fn take(&mut self, cursor: &mut Cursor, kept: Kept, by: &str) {
        let before = cursor.layers.as_ref().map_or(0, |below| below.config.rootfs.diff_ids.len());
        cursor.draft.add(kept.config.rootfs.diff_ids.len() > before, &self.shared.now(), by);
        cursor.draft.config.rootfs.diff_ids.clone_from(&kept.config.rootfs.diff_ids);
        self.passing.push(kept.image.clone());
        cursor.layers = Some(kept);
    }

    /// What a `RUN` is for the program.
    async fn command(&mut self, cursor: &Cursor, written: &Written, run: &Run) -> Result<Task, BackendError> {
        let draft = &cursor.draft;
        let process = run.process(&draft.shell());
        let mut mounts = Vec::with_capacity(run.mounts.len());
        for mount in &run.mounts {
            let from = match &mount.from {
                Some(from) => Some(self.source(written, from).await?),
                None => None,
            };
            mounts.push((mount.clone(), from));
        }
        let environment = draft.config.config.env.as_deref().unwrap_or_default();
        let seen = spelled::variables(draft.seen(), environment)?;
        let mut task = Task::of(history::run(&process.arguments, &draft.variables), seen.lines);
        task.lines.push(spelled::run(&process, &mounts)?);
        task.given = seen.given;
        task.given.extend(self.program.predeclared().map(|(name, value)| (name.to_owned(), value.to_owned())));
        task.network = network(&self.order.file, run);
        task.runs = true;
        Ok(task)
    }

    /// What a `COPY` or an `ADD` is for the program.
    async fn files(&mut self, written: &Written, files: &Files) -> Result<Task, BackendError> {
        let from = match &files.from {
            Some(from) => Some(self.source(written, from).await?),
            None => None,
        };
        let mut task = Task::of(history::files(files), spelled::files(files, from.as_deref())?);
        let contents = files.sources.iter().filter_map(|source| match source {
            Source::Content(content) => Some(content.clone()),
            Source::Path(_) => None,
        });
        task.contents = contents.collect();
        Ok(task)
    }

    /// Has the program do it, on an image with the config so far.
    async fn interpret(&mut self, cursor: &mut Cursor, written: &Written, task: Task) -> Result<(), BackendError> {
        let told = |error| at(written.line, &written.text, error);
        let network = Network::parse(task.network.as_deref()).map_err(told)?;
        if task.runs {
            self.shared.check_network(network).map_err(told)?;
            self.can_run().await.map_err(told)?;
        }
        self.say(&written.text).await;
        let (below, is_passing) = self.so_far(cursor).await?;
        let name = self.names.add(&self.shared.program, Vec::new(), &below).await?;
        if is_passing {
            // It goes with that name.
            images::kept(&self.shared.program, &below).await;
        }
        write(&self.room, &format!("FROM {name}\n{}\n", task.lines.join("\n")))?;
        self.lay(&task.contents)?;
        let context = self.context.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(context) = context {
            unpack(self.shared, &self.room, context).await?;
        }
        let mut file = Cow::Borrowed(&self.order.file);
        if !task.runs {
            // Secrets and agents are for commands.
            file = Cow::Owned(DockerfileBuild { secrets: Secrets::none(), agent: None, ..file.into_owned() });
        }
        let memory = Memory::write(&file.attempt, &file.secrets, file.agent.is_some())?;
        let given = task.given.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let (build, has_documents) = ((&*file, network), !task.contents.is_empty());
        let words =
            arguments::alone(self.shared, build, (&self.platform, &memory), self.room.place(), given, has_documents);
        let ended =
            interpret(self.shared, build, (&self.room, &memory), (words, 1 + task.lines.len()), self.logs.clone())
                .await?;
        if !ended.status.success() {
            return Err(explain_one(written.line, &written.text, ended));
        }
        let kept = expect(&self.shared.program, &made(&self.room)?).await?;
        self.take(cursor, kept, &task.by);
        Ok(())
    }

    /// Refuses commands of a platform whose programs this host cannot run: the program would tell of a bad format only.
    async fn can_run(&self) -> Result<(), BackendError> {
        let platform = self.platform.clone();
        if Platform::host().covers(&platform) {
            return Ok(());
        }
        let room = self.room.place().to_owned();
        let tried = self.shared.program.tasks.blocking(move || emulation::refusal(&platform, &room));
        tried.await.map_or(Ok(()), |why| Err(BackendError::Refused(why)))
    }

    /// Puts here-documents where the program finds them.
    fn lay(&self, contents: &[Content]) -> Result<(), BackendError> {
        let place = self.room.place().join(spelled::HERE);
        let lay = || -> std::io::Result<()> {
            match fs::remove_dir_all(&place) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            if contents.is_empty() {
                return Ok(());
            }
            fs::create_dir(&place)?;
            contents.iter().try_for_each(|content| fs::write(place.join(&content.name), &content.text))
        };
        lay().map_err(|error| system("make room for here-documents", error))
    }

    /// What the program calls the stage or image that an instruction reads.
    async fn source(&mut self, written: &Written, from: &str) -> Result<String, BackendError> {
        let stage = self.order.stage;
        let image = match self.program.origin(from, stage, written.line).map_err(wrong)? {
            Origin::Stage(position) => self.stage(position)?,
            Origin::Image(name) => {
                let head = Head { platform: None, ..self.program.head(stage).map_err(wrong)? };
                self.image(&head, &name).await?
            }
            Origin::Scratch => {
                document::store(
                    &self.shared.program,
                    &Draft::on(scratch(&self.platform), self.program.variables(&[])).image(
                        Vec::new(),
                        &BTreeMap::new(),
                        &self.shared.now(),
                    ),
                    &document::no_layers(),
                )
                .await?
            }
        };
        self.names.add(&self.shared.program, Vec::new(), &image).await
    }

    /// A stage that was built before.
    fn stage(&self, position: usize) -> Result<LocalImage, BackendError> {
        let found = self.order.stages.iter().find(|(own, _)| *own == position);
        found.map(|(_, image)| image.clone()).ok_or_else(|| not_built(&self.program, position))
    }

    /// An image from elsewhere.
    async fn image(&self, head: &Head, name: &str) -> Result<LocalImage, BackendError> {
        let (shared, file) = (self.shared, &self.order.file);
        let platform = platform_of(head, &file.platform)?;
        let known = file.bases.iter().find(|(own, _)| own == name && platform == file.platform);
        let found = match known {
            Some((_, found)) => found.clone(),
            // What a base has postponed may name images that the file does not; and what is built for is not what all stages are of.
            None => {
                let found = shared.client.resolve(&reference(name)?, &platform).await;
                found.map_err(|error| registry(&format!("look for the image `{name}`"), error))?
            }
        };
        match found {
            Some(at) => images::pull(&shared.program, &shared.pulls, shared.link.as_ref(), &at).await,
            None => self.local(name, &platform).await,
        }
    }

    /// What is found in no registry is local.
    async fn local(&self, name: &str, platform: &Platform) -> Result<LocalImage, BackendError> {
        let program = &self.shared.program;
        if let Some(found) = images::find(program, &reference(name)?, platform).await? {
            return Ok(found);
        }
        let stored = document::inspect(program, &format!("{}{name}", images::LOCAL)).await?;
        stored.map(|kept| kept.image).ok_or_else(|| {
            BackendError::Refused(format!(
                "the image `{name}` is not in its registry for {platform}, and buildah does not have it: check its name"
            ))
        })
    }
}

fn reference(name: &str) -> Result<Reference, BackendError> {
    name.parse().map_err(|error| BackendError::Refused(format!("the image `{name}`: {error}")))
}

/// What the program is to do.
struct Task {
    /// How the history calls it.
    by: String,
    /// The Dockerfile, but for its `FROM`.
    lines: Vec<String>,
    /// Arguments.
    given: BTreeMap<String, String>,
    /// Here-documents.
    contents: Vec<Content>,
    /// The network of a command.
    network: Option<String>,
    /// Whether it is a command.
    runs: bool,
}

impl Task {
    fn of(by: String, lines: Vec<String>) -> Self {
        Self { by, lines, given: BTreeMap::new(), contents: Vec::new(), network: None, runs: false }
    }
}
