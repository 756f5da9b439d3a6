//! Dockerfiles: instructions, commands and their mounts, what is done again and what is not.

use std::collections::BTreeMap;

use slipway_backend::{
    BackendError, DockerfileBuild, ImageBuilder as _, ImageStore as _, LocalImage, Secrets,
    conformance::{Harness, Item, archive, build_of, collect, file},
};
use slipway_oci::{ImageAt, ImageConfig, Repo};
use tokio::sync::mpsc;

use crate::parts::Native;

/// A backend and a base with a shell, which Dockerfiles call `base`.
struct Scene<'a> {
    harness: Harness<'a>,
    base: LocalImage,
}

impl<'a> Scene<'a> {
    async fn new(native: &'a Native) -> Self {
        let harness = Harness::new(&native.backend, &native.base);
        let make = "B=/.werf/stapel/embedded/bin/busybox; $B cp $B /bin/busybox; /bin/busybox --install -s /bin; \
                    $B mkdir -m 1777 /tmp; echo 'app:x:1000:2000::/home/app:/bin/sh' >>/etc/passwd; \
                    echo 'web:x:33:app' >/etc/group";
        let base = harness.built(&native.base, &[(1, make)]).await;
        Self { harness, base }
    }

    fn order(&self, text: &str) -> DockerfileBuild {
        let at = ImageAt { repo: Repo { host: String::new(), path: "base".to_owned() }, digest: self.base.id.clone() };
        DockerfileBuild { bases: vec![("base".to_owned(), Some(at))], ..build_of(self.harness.attempt(), text) }
    }

    async fn build(
        &self,
        order: DockerfileBuild,
        context: &[Item],
    ) -> (Result<LocalImage, BackendError>, Vec<String>) {
        let (logs, lines) = mpsc::channel(16);
        tokio::join!(self.harness.backend.dockerfile(order, archive(context), logs), collect(lines))
    }

    /// Builds what can be built; answers the image and what was said.
    async fn built(&self, text: &str, context: &[Item]) -> (LocalImage, Vec<String>) {
        self.made(self.order(text), context).await
    }

    async fn made(&self, order: DockerfileBuild, context: &[Item]) -> (LocalImage, Vec<String>) {
        let (built, said) = self.build(order, context).await;
        (built.unwrap_or_else(|error| panic!("{error:?}: {said:#?}")), said)
    }

    async fn refused(&self, text: &str) -> String {
        let (built, said) = self.build(self.order(text), &[file("f", "x")]).await;
        match built {
            Err(BackendError::Refused(why)) => why,
            other => panic!("{text}: {other:?} {said:?}"),
        }
    }

    async fn text(&self, image: &LocalImage, path: &str) -> String {
        self.harness.text(image, path).await
    }

    async fn config(&self, image: &LocalImage) -> ImageConfig {
        self.harness.backend.config(image).await.expect("a config")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_dockerfile_is_built() {
    let Some(native) = Native::start().await else { return };
    let scene = Scene::new(&native).await;
    let text = "ARG TAG=base\nFROM $TAG AS first\nARG WORD=w\nENV A=1 B=\"two words\"\nWORKDIR /app/sub\n\
                RUN echo \"$A $B $WORD $PWD\" > seen && id >> seen\nFROM base\n\
                COPY --from=first /app /app\nCOPY f /app/\nCMD [\"x\"]\n";
    let (image, said) = scene.built(text, &[file("f", "content")]).await;
    assert_eq!(scene.text(&image, "/app/f").await, "content");
    let seen = scene.text(&image, "/app/sub/seen").await;
    assert!(seen.starts_with("1 two words w /app/sub\nuid=0(root) gid=0"), "{seen} {said:#?}");
    let config = scene.config(&image).await;
    assert_eq!(config.config.cmd, Some(vec!["x".to_owned()]));
    assert!(said.iter().any(|line| line.starts_with("[first 3/3] RUN echo")), "{said:#?}");
    // Again: nothing is run.
    let (again, said) = scene.built(text, &[file("f", "content")]).await;
    assert_eq!(again.id, image.id);
    assert_eq!(said.iter().filter(|line| line.ends_with(" (cached)")).count(), 4, "{said:#?}");
    native.end().await;
}
