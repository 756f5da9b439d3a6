use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use slipway_oci::{BaseName, manifest::DOCKER_LAYER_GZIP};

use super::*;
use crate::{
    codec::{Compression, Press},
    entry::{Entry, Kind},
    tar::TarWriter,
};

/// A project directory with archives in it.
struct Project(tempfile::TempDir);

impl Project {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self, name: &str) -> Result<ArchivedImage, String> {
        self.open_for(name, "linux/amd64")
    }

    fn open_for(&self, name: &str, platform: &str) -> Result<ArchivedImage, String> {
        let Ok(BaseName::Archive(name)) = name.parse() else { panic!("{name} names an archive") };
        open(self.0.path(), &name, &platform.parse().expect("a platform")).map_err(|error| error.to_string())
    }

    fn refusal(&self, name: &str) -> String {
        self.open(name).expect_err("it is refused")
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, bytes).expect("a file");
    }

    fn blob(&self, layout: &str, bytes: &[u8]) -> BlobDigest {
        let digest = BlobDigest::of(bytes);
        self.write(&blob_path(layout, &digest), bytes);
        digest
    }

    /// A layout whose index lists `entries`.
    fn layout(&self, layout: &str, entries: Vec<Descriptor>) {
        self.write(&format!("{layout}/oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#);
        let index = slipway_oci::Index::new(entries);
        self.write(&format!("{layout}/index.json"), &index.to_bytes());
    }

    /// An image of one layer in a layout; answers its manifest.
    fn image(&self, layout: &str, text: &str, arch: &str) -> Descriptor {
        let layer = layer(text);
        let packed = packed(&layer, Compression::Gzip);
        let config = config(arch, &[BlobDigest::of(&layer)]);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some("application/vnd.docker.distribution.manifest.v2+json".to_owned()),
            config: Descriptor::new("c", self.blob(layout, &config), config.len() as u64),
            layers: vec![Descriptor::new(DOCKER_LAYER_GZIP, self.blob(layout, &packed), packed.len() as u64)],
            annotations: Default::default(),
        };
        let bytes = manifest.to_bytes();
        Descriptor::new(manifest.media_type(), self.blob(layout, &bytes), bytes.len() as u64)
    }
}

fn blob_path(layout: &str, digest: &BlobDigest) -> String {
    format!("{layout}/blobs/sha256/{}", digest.as_str().trim_start_matches("sha256:"))
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for (name, bytes) in files {
        tar.append(&Entry::file(*name, bytes.len() as u64), *bytes).expect("memory takes it");
    }
    tar.finish().expect("an end")
}

fn layer(text: &str) -> Vec<u8> {
    tar(&[("file", text.as_bytes())])
}

fn packed(bytes: &[u8], compression: Compression) -> Vec<u8> {
    Press::new(compression).press(bytes, Vec::new()).expect("memory takes it")
}

fn config(arch: &str, diff_ids: &[BlobDigest]) -> Vec<u8> {
    let ids: Vec<&str> = diff_ids.iter().map(BlobDigest::as_str).collect();
    let document =
        serde_json::json!({"os": "linux", "architecture": arch, "rootfs": {"type": "layers", "diff_ids": ids}});
    document.to_string().into_bytes()
}

fn named(mut entry: Descriptor, name: &str) -> Descriptor {
    entry.annotations.insert("org.opencontainers.image.ref.name".to_owned(), name.to_owned());
    entry
}

/// All parts are where they are said to be.
fn check_parts(image: &ArchivedImage) {
    assert_eq!(BlobDigest::of(&image.manifest), image.digest);
    let manifest = Manifest::parse(&image.manifest).expect("a manifest");
    let blobs: Vec<&BlobDigest> = distinct(&manifest).into_iter().map(|blob| &blob.digest).collect();
    assert_eq!(image.parts.iter().map(|part| &part.digest).collect::<Vec<_>>(), blobs);
    for part in &image.parts {
        let mut bytes = Vec::new();
        part.open().expect("a file").take(part.size).read_to_end(&mut bytes).expect("its bytes");
        assert_eq!(BlobDigest::of(&bytes), part.digest);
    }
}

#[test]
fn images_of_a_layout_are_found_by_name_digest_and_platform() {
    let project = Project::new();
    let (amd, arm) = (project.image("base", "amd", "amd64"), project.image("base", "arm", "arm64"));
    let platform = |text: &str| text.parse::<Platform>().expect("a platform");
    let nested = slipway_oci::Index::new(vec![
        arm.clone().with_platform(&platform("linux/arm64")),
        amd.clone().with_platform(&platform("linux/amd64")),
    ])
    .to_bytes();
    let index = Descriptor::new("application/vnd.oci.image.index.v1+json", project.blob("base", &nested), 0);
    project.layout("base", vec![named(amd.clone(), "one"), named(index.clone(), "many")]);
    let both = [(&format!("oci-layout://base@{}", arm.digest), "linux/arm64", &arm)];
    let all = [("oci-layout://base:one", "linux/amd64", &amd), ("oci-layout://base:many", "linux/arm64", &arm)];
    for (name, platform, expected) in all.into_iter().chain(both.map(|(name, on, image)| (name.as_str(), on, image))) {
        let image = project.open_for(name, platform).expect(name);
        assert_eq!(image.digest, expected.digest, "{name}");
        assert_eq!(image.media_type, "application/vnd.docker.distribution.manifest.v2+json");
        check_parts(&image);
    }
    let several = project.refusal("oci-layout://base");
    assert!(several.contains("several images; name one as `:TAG`: `many`, `one`"), "{several}");
    let unknown = project.refusal("oci-layout://base:two");
    assert!(unknown.contains("no image `two`; it has: `many`, `one`"), "{unknown}");
    let missing = project.open_for("oci-layout://base:many", "linux/s390x").expect_err("no such platform");
    assert!(missing.contains("no image for linux/s390x; it has images for: `linux/arm64`, `linux/amd64`"), "{missing}");
    let other = project.open_for("oci-layout://base:one", "linux/arm64").expect_err("another platform");
    assert!(other.contains("its image is for linux/amd64, and what is built is for linux/arm64"), "{other}");
    project.layout("base", vec![amd.clone()]);
    assert_eq!(project.open("oci-layout://base").expect("the only one").digest, amd.digest);
}

#[test]
fn damaged_layouts_are_refused() {
    let project = Project::new();
    let image = project.image("base", "text", "amd64");
    project.layout("base", vec![image.clone()]);
    let good = project.open("oci-layout://base").expect("an image");
    let layer = blob_path("base", &good.parts[1].digest);
    let bytes = fs::read(project.path(&layer)).expect("a layer");
    project.write(&layer, &bytes[1..]);
    let short = project.refusal("oci-layout://base");
    assert!(short.contains(good.parts[1].digest.as_str()) && short.contains("were promised"), "{short}");
    fs::remove_file(project.path(&layer)).expect("it is removed");
    let lost = project.refusal("oci-layout://base");
    assert!(lost.contains("is not in `blobs/sha256`") && lost.contains(good.parts[1].digest.as_str()), "{lost}");
    project.write(&layer, &bytes);
    project.write(&blob_path("base", &image.digest), b"{}");
    let other = project.refusal("oci-layout://base");
    assert!(other.contains("has the digest") && other.contains("damaged"), "{other}");
    project.write("base/oci-layout", br#"{"imageLayoutVersion":"2"}"#);
    assert!(project.refusal("oci-layout://base").contains("says the version `2`"));
    fs::remove_file(project.path("base/oci-layout")).expect("it is removed");
    assert!(project.refusal("oci-layout://base").contains("it has no file `oci-layout`"));
    assert!(project.refusal("oci-layout://nowhere").contains("no OCI layout"));
}

#[test]
fn indexes_that_are_too_large_or_too_deep_are_refused() {
    let project = Project::new();
    let image = project.image("base", "text", "amd64");
    project.layout("base", (0..1001).map(|number| named(image.clone(), &number.to_string())).collect());
    assert!(project.refusal("oci-layout://base:7").contains("more than the 1000 that are taken"));
    project.write("base/index.json", &vec![b' '; 5 << 20]);
    assert!(project.refusal("oci-layout://base").contains("more than the 4194304 that are read"));
    let mut entry = image;
    for _ in 0..5 {
        let nested = slipway_oci::Index::new(vec![entry]).to_bytes();
        let digest = project.blob("base", &nested);
        entry = Descriptor::new("application/vnd.oci.image.index.v1+json", digest, nested.len() as u64);
    }
    project.layout("base", vec![entry]);
    assert!(project.refusal("oci-layout://base").contains("more than 4 indexes within each other"));
}

#[test]
fn links_do_not_lead_out_of_the_project() {
    let (project, outside) = (Project::new(), Project::new());
    let image = outside.image("base", "secret", "amd64");
    outside.layout("base", vec![image]);
    outside.write("archive.tar", b"x");
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, project.path(name)).expect("a link");
    link(&outside.path("base"), "base");
    link(&outside.path("archive.tar"), "archive.tar");
    link(Path::new("../../../../../../../../etc/hostname"), "up.tar");
    assert!(project.refusal("oci-layout://base").contains("no OCI layout"));
    assert!(project.refusal("docker-archive://archive.tar").contains("there is no file `archive.tar`"));
    assert!(project.refusal("docker-archive://up.tar").contains("there is no file `up.tar`"));
    let pipe = Root::open(project.0.path()).and_then(|root| root.directory(b"")).expect("the directory");
    pipe.make(b"pipe", &Kind::Fifo).expect("a pipe");
    assert!(project.refusal("docker-archive://pipe").contains("no regular file"));
}

/// A Docker archive with the files that `docker save` writes, and `more`.
fn saved(manifest: &str, more: &[(&str, &[u8])]) -> Vec<u8> {
    let mut files = vec![("manifest.json", manifest.as_bytes())];
    files.extend_from_slice(more);
    tar(&files)
}

#[test]
fn images_of_a_docker_archive_are_found() {
    let project = Project::new();
    let (one, two) = (layer("one"), layer("two"));
    let zipped = packed(&two, Compression::Gzip);
    let config = config("amd64", &[BlobDigest::of(&one), BlobDigest::of(&two), BlobDigest::of(&one)]);
    let name = format!("{}.json", BlobDigest::of(&config).as_str().trim_start_matches("sha256:"));
    let image = |tags: &str| {
        format!(r#"{{"Config":"{name}","RepoTags":{tags},"Layers":["1/layer.tar","2.tgz","3/layer.tar"]}}"#)
    };
    let mut archive = TarWriter::new(Vec::new());
    let manifest = format!("[{}]", image(r#"["app:1"]"#));
    let files: [(&str, &[u8]); 4] =
        [("1/layer.tar", &one), ("2.tgz", &zipped), (&name, &config), ("manifest.json", manifest.as_bytes())];
    for (name, bytes) in files {
        archive.append(&Entry::file(name, bytes.len() as u64), bytes).expect("memory takes it");
    }
    let link = Entry { kind: Kind::Symlink(b"../1/layer.tar".to_vec()), ..Entry::directory("3/layer.tar") };
    archive.append(&link, std::io::empty()).expect("memory takes it");
    project.write("base.tar", &archive.finish().expect("an end"));
    for name in [
        "docker-archive://base.tar",
        "docker-archive://base.tar:app:1",
        "docker-archive://base.tar:docker.io/library/app:1",
    ] {
        let found = project.open(name).expect(name);
        check_parts(&found);
        let manifest = Manifest::parse(&found.manifest).expect("a manifest");
        let layers: Vec<&str> = manifest.layers.iter().map(|layer| layer.digest.as_str()).collect();
        let zipped = BlobDigest::of(&zipped);
        let plain = BlobDigest::of(&one);
        assert_eq!(layers, [plain.as_str(), zipped.as_str(), plain.as_str()]);
    }
    let unknown = project.refusal("docker-archive://base.tar:app:2");
    assert!(unknown.contains("no image `app:2`; it has: `app:1`"), "{unknown}");
    let other = project.open_for("docker-archive://base.tar", "linux/arm64").expect_err("another platform");
    assert!(other.contains("its image is for linux/amd64"), "{other}");
    let two = format!("[{},{}]", image(r#"["app:1"]"#), image(r#"["app:2"]"#));
    project.write("two.tar", &saved(&two, &[]));
    assert!(project.refusal("docker-archive://two.tar").contains("name one as `:NAME:TAG`: `app:1`, `app:2`"));
}

#[test]
fn hostile_docker_archives_are_refused() {
    let project = Project::new();
    let layer = layer("text");
    let config = config("amd64", &[BlobDigest::of(&layer)]);
    let wrong = format!("{}.json", "0".repeat(64));
    let image =
        |config: &str, layer: &str| format!(r#"[{{"Config":"{config}","RepoTags":null,"Layers":["{layer}"]}}]"#);
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("config", saved(&image(&wrong, "l"), &[(&wrong, &config), ("l", &layer)]), "the archive is damaged"),
        ("layer", saved(&image("c", "l"), &[("c", &config)]), "it has no file `l`"),
        ("outside", saved(&image("../../etc/passwd", "l"), &[]), "it has no file"),
        ("count", saved(&image("c", "l"), &[("c", b"{}"), ("l", &layer)]), "lists 1 layers, and its config 0"),
        ("twice", saved(&image("c", "l"), &[("c", &config), ("./c", &config)]), "it holds `./c` twice"),
        ("json", saved("{", &[]), "its `manifest.json`"),
        ("none", tar(&[("x", b"y")]), "no file `manifest.json`"),
        ("layout", tar(&[("oci-layout", b"{}")]), "unpack it, and name the directory"),
        ("zipped", packed(&saved("[]", &[]), Compression::Gzip), "it is compressed; decompress it first"),
    ];
    for (name, bytes, part) in cases {
        project.write("base.tar", &bytes);
        let refused = project.refusal("docker-archive://base.tar");
        assert!(
            refused.contains(part) && refused.starts_with("read the archive docker-archive://base.tar"),
            "{name}: {refused}"
        );
    }
    let cut = saved(&image("c", "l"), &[("c", &config), ("l", &layer)]);
    project.write("base.tar", &cut[..cut.len() - 2048]);
    assert!(project.refusal("docker-archive://base.tar").contains("it ends in the middle"));
    project.write("base.tar", &saved(&format!("[{}]", " ".repeat(5 << 20)), &[]));
    assert!(project.refusal("docker-archive://base.tar").contains("more than the 4194304 that are read"));
    // Links that lead to each other, and out.
    let mut tar = TarWriter::new(Vec::new());
    let manifest = image("a", "l");
    tar.append(&Entry::file("manifest.json", manifest.len() as u64), manifest.as_bytes()).expect("memory takes it");
    for (name, to) in [("a", "b"), ("b", "a"), ("l", "/etc/passwd")] {
        let link = Entry { kind: Kind::Symlink(to.into()), ..Entry::directory(name) };
        tar.append(&link, std::io::empty()).expect("memory takes it");
    }
    project.write("base.tar", &tar.finish().expect("an end"));
    assert!(project.refusal("docker-archive://base.tar").contains("it has no file"));
}
