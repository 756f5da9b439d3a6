//! The three layouts of repositories (`docs/reference/storages.md`), each on every registry that this machine has: what each of
//! its registries was asked for, by what passes in front of it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result};
use slipway_e2e::{Action, Built, Part, Project, Proxy, Registry, engine, registry, require};
use slipway_parts::OtherRegistry;

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];
const SHOP: &str = "image: app\nfrom: BASE\ngit: [{add: /, to: /app}]\nshell: {setup: date +%s%N > /date}\n---\n\
    image: tools\nfinal: false\nfrom: BASE\nshell: {setup: date +%s%N > /tools}\n";

/// What serves.
enum Served {
    Docker(Registry),
    Other(OtherRegistry),
}

/// A registry, with what it was asked for.
struct Place {
    _served: Served,
    proxy: Proxy,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Place {
    fn of(served: Served) -> Result<Self> {
        let host = match &served {
            Served::Docker(registry) => registry.host(),
            Served::Other(registry) => registry.host(),
        };
        let (proxy, asked) = (Proxy::start(host)?, Arc::new(Mutex::new(Vec::new())));
        let log = Arc::clone(&asked);
        proxy.rule(move |request| {
            log.lock().expect("a lock").push(format!("{} {}", request.method, request.path));
            Action::Pass
        });
        Ok(Self { _served: served, proxy, asked })
    }

    fn repo(&self) -> String {
        self.proxy.repo("shop")
    }

    /// What it was asked for since this was last called.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("a lock"))
    }

    fn stages(&self) -> Result<Vec<String>> {
        let stages = registry::tags(&self.repo())?.into_iter().filter(|tag| registry::is_stage(tag)).collect();
        self.asked();
        Ok(stages)
    }

    /// The layers of its stages.
    fn layers(&self) -> Result<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for tag in self.stages()? {
            let (_, manifest) = registry::manifest(&self.repo(), &tag)?;
            let layers = manifest["layers"].as_array().context("layers")?.iter();
            all.extend(layers.filter_map(|layer| Some(layer["digest"].as_str()?.to_owned())));
        }
        self.asked();
        Ok(all)
    }
}

/// Runs a layout on registries of each make, as many as it needs.
fn on_each<const N: usize>(layout: impl Fn([Place; N], &Project) -> Result<()>) -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let docker = || Some(Served::Docker(Registry::start().expect("a registry")));
    let other = || OtherRegistry::start().map(Served::Other);
    let makes: [&dyn Fn() -> Option<Served>; 2] = [&docker, &other];
    for make in makes {
        let served: Option<Vec<Served>> = (0..N).map(|_| make()).collect();
        let Some(served) = served else { continue };
        let places = served.into_iter().map(Place::of).collect::<Result<Vec<_>>>()?;
        let places: [Place; N] = places.try_into().ok().context("as many as it needs")?;
        let project = Project::new("layouts")?;
        project.config(SHOP)?;
        project.write("file", "1")?;
        project.commit("first")?;
        layout(places, &project)?;
    }
    Ok(())
}

/// As another host, which has nothing of the project.
fn on_another_host(project: &Project, arguments: &[&str]) -> Result<Built> {
    for directory in ["local_cache", "native", "service"] {
        let _ = std::fs::remove_dir_all(project.home().join(directory));
    }
    engine::forget_labelled(project.name())?;
    project.build(arguments)
}

fn writes(asked: &[String]) -> Vec<&String> {
    asked.iter().filter(|line| !line.starts_with("GET ") && !line.starts_with("HEAD ")).collect()
}

/// The layers among these that were sent from here.
fn served(asked: &[String], layers: &BTreeSet<String>) -> BTreeSet<String> {
    let gets = asked.iter().filter(|line| line.starts_with("GET ") && line.contains("/blobs/"));
    let digests = gets.filter_map(|line| line.rsplit('/').next().map(str::to_owned));
    digests.filter(|digest| layers.contains(digest)).collect()
}

#[test]
fn one_repository_for_all() -> Result<()> {
    on_each(|[primary], project| {
        let repo = primary.repo();
        let first = project.build(&["--repo", &repo])?;
        assert!(
            writes(&primary.asked()).iter().any(|line| line.contains("/blobs/uploads/")),
            "it received what was built"
        );
        assert_eq!(primary.stages()?.len(), first.run.built().len());
        let layers = primary.layers()?;
        let again = on_another_host(project, &["--repo", &repo])?;
        let asked = primary.asked();
        assert_eq!((again.run.built().len(), again.image("app")), (0, first.image("app")));
        assert_eq!((writes(&asked), served(&asked, &layers)), (vec![], BTreeSet::new()), "{asked:#?}");
        // What is built on is pulled, and only what is new goes up.
        project.write("file", "2")?;
        project.commit("second")?;
        assert_eq!(on_another_host(project, &["--repo", &repo])?.run.built(), ["app/gitLatestPatch"]);
        assert!(!served(&primary.asked(), &layers).is_empty());
        let more = primary.layers()?.difference(&layers).count();
        assert_eq!(more, 1, "one layer more");
        Ok(())
    })
}

#[test]
fn a_cache_near_the_builders() -> Result<()> {
    on_each(|[primary, cache], project| {
        let (far, near) = (primary.repo(), cache.repo());
        let flags = ["--repo", far.as_str(), "--cache-repo", near.as_str()];
        project.build(&flags)?;
        let layers = primary.layers()?;
        assert_eq!((cache.stages()?, cache.layers()?), (primary.stages()?, layers.clone()), "both received all");
        project.write("file", "2")?;
        project.commit("second")?;
        let second = on_another_host(project, &flags)?;
        assert_eq!(second.run.built(), ["app/gitLatestPatch"]);
        let (of_far, of_near) = (primary.asked(), cache.asked());
        assert_eq!(served(&of_far, &layers), BTreeSet::new(), "{of_far:#?}");
        assert!(!served(&of_near, &layers).is_empty(), "layers come from near: {of_near:#?}");
        assert_eq!(cache.stages()?, primary.stages()?);
        assert!(!second.report.to_string().contains(&near), "nobody is told of the cache");
        Ok(())
    })
}

#[test]
fn all_near_the_builders_and_what_runs_elsewhere() -> Result<()> {
    on_each(|[primary, cache, run], project| {
        let (main, near, last) = (primary.repo(), cache.repo(), run.repo());
        let flags = ["--repo", main.as_str(), "--cache-repo", near.as_str(), "--final-repo", last.as_str()];
        let first = project.build(&flags)?;
        let app = first.image("app");
        let (of, tag) = app.rsplit_once(':').context("a tag")?;
        assert_eq!((of, registry::tags(&last)?), (last.as_str(), vec![tag.to_owned()]), "the image that runs");
        let delivered = run.layers()?;
        let all = primary.layers()?;
        assert!(delivered.is_subset(&all) && delivered.len() < all.len(), "and no layer of another");
        assert_eq!(registry::manifest(&last, tag)?, registry::manifest(&main, tag)?);
        for place in [&primary, &cache, &run] {
            place.asked();
        }
        let again = on_another_host(project, &flags)?;
        assert_eq!((again.run.built().len(), again.image("app")), (0, app.clone()));
        let of_run = run.asked();
        assert_eq!((writes(&of_run), served(&of_run, &all)), (vec![], BTreeSet::new()), "{of_run:#?}");
        project.write("file", "2")?;
        project.commit("second")?;
        assert_eq!(on_another_host(project, &flags)?.run.built(), ["app/gitLatestPatch"]);
        // Builders never read from where images run, but to see what is there.
        let of_run = run.asked();
        assert_eq!(served(&of_run, &all), BTreeSet::new(), "{of_run:#?}");
        assert_eq!(registry::tags(&last)?.len(), 2);
        Ok(())
    })
}
