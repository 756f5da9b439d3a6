//! Golden vectors of stage digests, computed from `docs/reference/digest.md` by an independent program. A test that
//! fails here means: every stage of every user would be built again.

use crate::world::World;

const CONFIG: &str = "
image: app
from: base:1
git: [{add: /src, to: /app, includePaths: ['**/*.rs'], owner: app}]
shell:
  beforeInstall: [apk add curl]
  beforeInstallCacheVersion: v1
  setup: [make]
docker: {ENV: {A: '1'}, USER: app, CMD: [run]}
---
image: child
fromImage: app
fromCacheVersion: '2'
";

#[test]
fn digests_are_what_the_specification_says() {
    let mut world = World::new();
    world.commit(1, None, &[("src/main.rs", "x", 1)]);
    let built = world.build(CONFIG, 1);
    let digests: Vec<String> =
        built.plans.iter().map(|plan| format!("{} {} {}", plan.kind, plan.digest, plan.content)).collect();
    let expected = [
        "from aa67c965027b79bd08ccab57ce7a310981ea9aeeb656731c2aee05fe f877bce371aa3e9966710d81daa4e6a5e91e34cab0b891e1a62c76c5",
        "beforeInstall 9d11c2ba47965544af4972e24c98483948f1de809977b68dfa2d2c27 4cd78d53f913204148eff076cf0797fc8d7f83bb498487f842430c25",
        "gitArchive 9d28508ae1bae875f8f0ceff204dfceee5bfbb46ab6292df8c87a01f 6add0da6826cb9f75ee392c1fdcef038737b85cc8365ea71921c0186",
        "setup ee723fbec84be64f35e8edcc2f29e55b6ba3c97a061b8c335ea09f45 5297ab1ef07ec2435dfaf487a5ad8132a74eb6395dbe145702f8b14c",
        "dockerInstructions b743dfeaa94fe60150bcb5ba757226a29e10fe20cda435e1b756a9a7 7a42c496c942829c9600b065bc094112451db9eb2a05f860f4af0760",
        "from 997da919795d27679cb90737e7bd5369dccf0c21a88e9c9064f3f164 0b109d07c71d6a34ac24e10e6b519ff8ef8615f4df8b1ed19588eee4",
    ];
    assert_eq!(digests, expected);
}

#[test]
fn tasks_count_by_their_content() {
    let digest = |tasks: &str| {
        let mut world = World::new();
        world.commit(1, None, &[("src/main.rs", "x", 1)]);
        let versions = "  cacheVersion: all\n  beforeInstallCacheVersion: v1\n";
        let built = world.build(&format!("image: app\nfrom: base:1\nansible:\n{versions}  beforeInstall:\n{tasks}"), 1);
        format!("{} {} {}", built.plans[1].kind, built.plans[1].digest, built.plans[1].content)
    };
    let written = digest(
        "  - {name: packages, apt: {update_cache: yes, name: [curl]}}\n  - copy: {mode: 0644, dest: /x, content: \"é\\n\"}\n",
    );
    let expected = "beforeInstall 2d9e4fdbc24de36a758f87bb2b11a7f7d8e03e7b9cdcd9faa529b4d3 717f2eb64c81158e1ca10c9143a6395910d92c4de8c4b3deaf4b2681";
    assert_eq!(written, expected);
    let otherwise = "  - apt:\n      name:\n      - curl\n      update_cache: true\n    name: packages\n  # moved\n  - copy:\n      content: |\n        é\n      dest: /x\n      mode: 420\n";
    assert_eq!(digest(otherwise), expected);
    assert_ne!(digest(&otherwise.replace("420", "'420'")), expected);
}

#[test]
fn instructions_count_by_what_they_say_and_read() {
    let mut world = World::new();
    let dockerfile = "ARG T=1\nFROM base:$T AS tools\nARG FLAGS=-O2\nARG NONE\nCOPY src/ /src\nRUN make $FLAGS\n\
        FROM scratch\nENV A=b\nCOPY --from=tools /out /\n";
    world.commit(1, None, &[("Dockerfile", dockerfile, 1), ("src/main.rs", "x", 1)]);
    let built = world.build("image: app\ndockerfile: Dockerfile\nstaged: true\naddHost: ['a:10.0.0.1']\n", 1);
    let digests: Vec<String> =
        built.plans.iter().map(|plan| format!("{} {} {}", plan.kind, plan.digest, plan.content)).collect();
    let expected = [
        "FROM 767e1ea2b711ed29f0a1644a3e178a5ea6bf60d5f34ea6069a3ab9aa 86915e99458eeff1de2c216414e43ef37f65a44ff527fcbe3c4b6a92",
        "COPY3 000488864d444987d1212767e9888518e2f2868db2338331f5f3f500 6c422ef983a4bc06ee756396a79cfc9276f02c87b8c0793f471ef2e8",
        "RUN4 8b1361570c77bf6f4ed983eb688a2f5366996eb4a4f56d9e9c67d3c2 0df723703751b15f8bf8913484ea505992c32e81f315a94db163910f",
        "FROM 9e8ca3afebd705121d877a300d9d27303800f37a4c3981990ea18393 e31e0fadbe53e8c231ef837a612093dc6d6cacef950eef73afb6eec8",
        "ENV1 79103e4fde617eab98c1c5a62627463f52ea7ca2cd550e42760c9c20 375dbd85327626bdc13a258eab93e98ddf369b764f36f483fdceaba4",
        "COPY2 adc75253018ef0e17175070bdc66ccd69d61869d59fd0610b0f00a34 beeb5f20a1a2ae6c27595e0a803a88fa0f7280e7ee908064114fc11e",
    ];
    assert_eq!(digests, expected);
}
