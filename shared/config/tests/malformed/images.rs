//! Wrong names, bases and references, and wrong Dockerfile images.

use super::{Row, check};

#[test]
fn images() {
    check(&[
        Row(
            "no kind",
            "from: alpine\n",
            "4:1: the document has none of the keys `configVersion`, `dockerfile`, `image`",
            "image: NAME",
        ),
        Row(
            "misspelt kind",
            "imge: a\n",
            "4:1: the document has none of the keys",
            "did you mean `image` instead of `imge`?",
        ),
        Row("number as name", "image: 1\nfrom: b\n", "4:8: invalid image name: `1` is a number", "quote it: `\"1\"`"),
        Row(
            "mapping as name",
            "image: {a: b}\nfrom: b\n",
            "4:8: invalid image name: a string is expected",
            "image: NAME",
        ),
        Row("blank name", "image: a b\nfrom: b\n", "4:8: invalid image name: `a b`", "use letters"),
        Row("empty list", "image: []\nfrom: b\n", "4:8: invalid image name: the list is empty", "image: NAME"),
        Row("null in list", "image: [a, ~]\nfrom: b\n", "4:12: invalid image name", "write a name"),
        Row(
            "nameless artifact",
            "artifact: ~\nfrom: b\n",
            "4:11: invalid image name: an artifact has one name",
            "artifact: NAME",
        ),
        Row(
            "both kinds",
            "image: a\nartifact: b\nfrom: c\n",
            "4:1: a document declares either `image` or `artifact`",
            "not both\n",
        ),
        Row(
            "nameless of two",
            "image: ~\nfrom: b\n---\nimage: c\nfrom: d\n",
            "4:1: an image without a name must be the only image",
            "give every",
        ),
        Row(
            "duplicate",
            "image: a\nfrom: b\n---\nartifact: a\nfrom: b\n",
            "7:11: duplicate image name `a`",
            "it stands in line 4",
        ),
        Row(
            "duplicate in list",
            "image: [a, b, a]\nfrom: c\n",
            "4:15: duplicate image name `a`",
            "it stands in line 4",
        ),
        Row("unknown key", "image: a\nfrom: b\nshel: {}\n", "6:1: unknown key `shel`", "did you mean `shell`?"),
        Row(
            "other kind's key",
            "image: a\nfrom: b\nargs: {}\n",
            "6:1: `args` is for images with a `dockerfile`",
            "the other way",
        ),
        Row("stapel key", "image: a\ndockerfile: D\nshell: {}\n", "6:1: `shell` is for Stapel images", "the other way"),
        Row(
            "platform",
            "image: a\nfrom: b\nplatform: [linux/amd64, linux/amd64]\n",
            "6:25: `platform` names linux/amd64 twice",
            "once",
        ),
        Row("final", "image: a\nfrom: b\nfinal: maybe\n", "6:8: `final` must be a boolean", "final: true"),
    ]);
}

#[test]
fn bases_and_references() {
    check(&[
        Row(
            "no base",
            "image: a\n",
            "4:1: one of `from`, `fromImage` and `fromArtifact` is required",
            "from: IMAGE:TAG",
        ),
        Row(
            "two bases",
            "image: a\nfrom: b\nfromImage: c\n",
            "6:1: conflict between `from` and `fromImage`",
            "remove one",
        ),
        Row("empty base", "image: a\nfrom: ''\n", "5:7: `from` is empty", "give `from` a value"),
        Row("blank base", "image: a\nfrom: a b\n", "5:7: `from` holds blanks", "without blanks"),
        Row(
            "bad reference",
            "image: a\nfrom: UPPER:case\n",
            "5:7: `from`: `UPPER:case` is no image reference",
            "alpine:3.20",
        ),
        Row(
            "unknown image",
            "image: base\nfrom: b\n---\nimage: a\nfromImage: bsae\n",
            "8:12: image `bsae`, named by `fromImage`, not found",
            "did you mean `base`?",
        ),
        Row(
            "unknown of few",
            "image: a\nfromImage: zzz\n",
            "5:12: image `zzz`, named by `fromImage`, not found",
            "images of this file: a",
        ),
        Row(
            "unknown artifact",
            "image: a\nfromArtifact: zzz\n",
            "5:15: artifact `zzz`, named by `fromArtifact`, not found",
            "images of this file: a",
        ),
        Row(
            "itself",
            "image: a\nfromImage: a\n",
            "5:12: image `a` references itself by `fromImage`",
            "name another image",
        ),
        Row(
            "circle",
            "image: a\nfromImage: b\n---\nimage: b\nfromImage: c\n---\nimage: c\nfromImage: a\n",
            "11:12: images need each other in a circle: a -> b -> c -> a",
            "remove one of these references",
        ),
        Row(
            "circle by import",
            "image: a\nfromImage: b\n---\nimage: b\nfrom: x\nimport:\n- {image: a, add: /a, before: setup}\n",
            "10:11: images need each other in a circle: a -> b -> a",
            "remove one",
        ),
        Row(
            "platform",
            "image: app\nfrom: x\nplatform: linux/amd64\n---\nimage: t\nfrom: x\nplatform: [linux/arm64, linux/amd64]\nimport:\n- {image: app, add: /a, before: setup}\n",
            "12:11: image=\"t\" platform=\"linux/arm64\" requires import image=\"app\" platform=\"linux/arm64\" which is not present in configuration",
            "add linux/arm64 to the `platform` of `app`",
        ),
    ]);
}

#[test]
fn dockerfile_images() {
    check(&[
        Row(
            "no dockerfile",
            "image: a\ndockerfile:\n",
            "4:1: `dockerfile` is missing or empty",
            "write `dockerfile: Dockerfile`",
        ),
        Row("empty dockerfile", "image: a\ndockerfile: ''\n", "5:13: `dockerfile` is missing or empty", "Dockerfile"),
        Row(
            "absolute",
            "image: a\ndockerfile: /Dockerfile\n",
            "5:13: `dockerfile` must be a relative path",
            "write `Dockerfile`",
        ),
        Row("escaping", "image: a\ndockerfile: ../D\n", "5:13: `dockerfile` leads outside of `context`", "remove `..`"),
        Row(
            "absolute context",
            "image: a\ndockerfile: D\ncontext: /app\n",
            "6:10: `context` must be a relative path",
            "write `app`",
        ),
        Row(
            "escaping context",
            "image: a\ndockerfile: D\ncontext: a/../..\n",
            "6:10: `context` leads outside of the project",
            "remove",
        ),
        Row(
            "context files",
            "image: a\ndockerfile: D\ncontextAddFile: x\ncontextAddFiles: y\n",
            "6:1: `contextAddFile` and `contextAddFiles` cannot",
            "put all",
        ),
        Row(
            "absolute file",
            "image: a\ndockerfile: D\ncontextAddFiles: [x, /y]\n",
            "6:22: `contextAddFiles` must be a relative path",
            "write `y`",
        ),
        Row(
            "args list",
            "image: a\ndockerfile: D\nargs: [A=b]\n",
            "6:7: `args` must be a mapping, not a list",
            "under `args`",
        ),
        Row("host", "image: a\ndockerfile: D\naddHost: db\n", "6:10: `addHost` holds `db`", "HOST:ADDRESS"),
        Row(
            "artifact",
            "artifact: a\ndockerfile: D\n",
            "4:1: an artifact cannot be built from a `dockerfile`",
            "final: false",
        ),
    ]);
}

#[test]
fn dependencies() {
    let texts =
        |kind: &str, entry: &str| format!("image: s\nfrom: b\n---\nimage: a\n{kind}\ndependencies:\n- {entry}\n");
    let (stapel, docker) = ("from: b", "dockerfile: D\nargs: {X: y}");
    for (name, kind, entry, message, hint) in [
        ("no image", stapel, "{before: setup}", "10:3: a dependency has no `image`", "image: NAME"),
        (
            "unknown",
            stapel,
            "{image: t2, before: setup}",
            "10:11: image `t2`, named by `dependencies`, not found",
            "images of this file",
        ),
        (
            "itself",
            stapel,
            "{image: a, before: setup}",
            "10:11: image `a` references itself by `dependencies`",
            "another",
        ),
        ("no moment", stapel, "{image: s}", "10:3: a dependency needs a stage", "before: install"),
        (
            "moment",
            docker,
            "{image: s, before: setup}",
            "11:14: a dependency of a `dockerfile` image has no `before`",
            "one stage",
        ),
        (
            "no type",
            stapel,
            "{image: s, before: setup, imports: [{targetEnv: A}]}",
            "10:39: an import of a dependency has no `type`",
            "types: ImageName",
        ),
        (
            "bad type",
            stapel,
            "{image: s, before: setup, imports: [{type: ImageNam, targetEnv: A}]}",
            "10:46: unknown `type` `ImageNam`",
            "did you mean `ImageName`?",
        ),
        (
            "no env",
            stapel,
            "{image: s, before: setup, imports: [{type: ImageTag}]}",
            "10:39: an import of a dependency has no `targetEnv`",
            "targetEnv: NAME",
        ),
        (
            "argument",
            stapel,
            "{image: s, before: setup, imports: [{type: ImageTag, targetEnv: A, targetBuildArg: B}]}",
            "10:70: `targetBuildArg` is not for this kind",
            "`targetEnv` instead",
        ),
        (
            "env",
            docker,
            "{image: s, imports: [{type: ImageTag, targetEnv: A}]}",
            "11:41: `targetEnv` is not for this kind",
            "`targetBuildArg` instead",
        ),
        (
            "twice",
            stapel,
            "{image: s, before: setup, imports: [{type: ImageTag, targetEnv: A}, {type: ImageID, targetEnv: A}]}",
            "10:98: `targetEnv: A` stands twice",
            "a name of its own",
        ),
        (
            "in args",
            docker,
            "{image: s, imports: [{type: ImageTag, targetBuildArg: X}]}",
            "11:57: the build argument `X` is set by `args` and",
            "remove it from `args`",
        ),
    ] {
        let text: &'static str = texts(kind, entry).leak();
        check(&[Row(name, text, message, hint)]);
    }
}

#[test]
fn artifacts_as_dependencies() {
    check(&[Row(
        "artifact",
        "artifact: s\nfrom: b\n---\nimage: a\nfrom: b\ndependencies:\n- {image: s, before: setup}\n",
        "10:11: `dependencies` names `s`, which is an artifact",
        "final: false",
    )]);
}
