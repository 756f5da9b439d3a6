//! Reports, byte for byte.

use slipway_stages::{StageKind, build::ImageIndex};

use super::*;

const APP: &str = r#""DockerRepo": "127.0.0.1:5000/project""#;

#[test]
fn json_lists_every_name_and_no_artifact() {
    let text = json(&samples::images(), "c0ffee", false);
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let names: Vec<&String> = report["Images"].as_object().expect("a map").keys().collect();
    assert_eq!(names, ["", "app", "web"]);
    let app = &report["Images"]["app"];
    assert_eq!(app["WerfImageName"], "app");
    assert_eq!(app["DockerTag"], format!("{}2", samples::TAG));
    assert_eq!(app["DockerImageName"], format!("127.0.0.1:5000/project:{}2", samples::TAG));
    assert_eq!(app["DockerImageDigest"].as_str().map(str::len), Some(71));
    assert_eq!(app["Rebuilt"], true);
    assert_eq!(app["Final"], true);
    assert_eq!(app["BuildTime"], "1.50");
    assert_eq!(app["Commit"], "c0ffee");
    assert_eq!(app["TargetPlatform"], "linux/amd64");
    assert_eq!(app["Stages"][0]["Name"], "from");
    assert_eq!(app["Stages"][0]["Rebuilt"], false);
    assert_eq!(app["Stages"][0]["SourceType"], "repo");
    assert_eq!(app["Stages"][1]["Name"], "setup");
    assert_eq!(app["Stages"][1]["CreatedAt"], 1_589_786_063_772_000_000_u64);
    assert_eq!(report["Images"][""]["WerfImageName"], "");
    assert_eq!(report["Images"][""]["Rebuilt"], false);
    assert_eq!(report["ImagesByPlatform"], serde_json::json!({}));
}

#[test]
fn json_is_indented_with_tabs_and_ends_with_a_line() {
    let text = json(&samples::images()[2..], "c0ffee", false);
    assert!(text.starts_with("{\n\t\"Images\": {\n\t\t\"\": {\n\t\t\t\"WerfImageName\": \"\",\n\t\t\t"), "{text}");
    assert!(text.contains(APP), "{text}");
    assert!(text.ends_with("\t\"ImagesByPlatform\": {}\n}\n"), "{text}");
    let keys: Vec<&str> = text.lines().filter(|line| line.starts_with("\t\t\t\"")).map(str::trim_start).collect();
    let order = ["WerfImageName", "DockerRepo", "DockerTag", "DockerImageID", "DockerImageDigest", "DockerImageName"];
    assert!(keys.iter().zip(order).all(|(line, key)| line.starts_with(&format!("\"{key}\""))), "{keys:?}");
}

#[test]
fn a_local_image_has_no_manifest_digest() {
    let mut image = samples::images().remove(2);
    image.platforms[0].stages = vec![samples::stage(1, "", StageKind::From, Source::Reused)];
    let report: serde_json::Value = serde_json::from_str(&json(&[image], "c0ffee", false)).expect("JSON");
    assert_eq!(report["Images"][""]["DockerImageDigest"], "");
    assert_eq!(report["Images"][""]["DockerImageName"], format!("project:{}1", samples::TAG));
}

#[test]
fn variables_are_made_of_names() {
    let place = |number: u64| format!("127.0.0.1:5000/project:{}{number}", samples::TAG);
    assert_eq!(
        env(&samples::images()),
        format!(
            "WERF_APP_DOCKER_IMAGE_NAME={}\nWERF_DOCKER_IMAGE_NAME={}\nWERF_WEB_DOCKER_IMAGE_NAME={}\n",
            place(2),
            place(1),
            place(2)
        )
    );
    assert_eq!(variable("front-end/api.v2"), "WERF_FRONT_END_API_V2_DOCKER_IMAGE_NAME");
}

#[test]
fn a_report_replaces_the_file_and_leaves_nothing_beside_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let flags = ReportFlags { path: "report.json".into(), format: ReportFormat::Json, by_platform: false };
    std::fs::write(directory.path().join("report.json"), "old").expect("written");
    let file = ReportFile::new(&flags, directory.path()).expect("a place");
    file.write(&samples::images(), "c0ffee").expect("written");
    let text = std::fs::read_to_string(directory.path().join("report.json")).expect("read");
    assert_eq!(text, json(&samples::images(), "c0ffee", false));
    assert_eq!(std::fs::read_dir(directory.path()).expect("read").count(), 1);
}

#[test]
fn a_place_that_cannot_be_written_is_refused_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(directory.path().join("sub.json")).expect("made");
    for (path, why) in [("missing/report.json", "does not exist"), ("sub.json", "it is a directory")] {
        let flags = ReportFlags { path: path.into(), format: ReportFormat::Json, by_platform: false };
        let error = ReportFile::new(&flags, directory.path()).expect_err(path).to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn several_platforms_are_one_image_and_each_of_them() {
    let mut image = samples::images().remove(2);
    let stages = vec![samples::stage(3, "127.0.0.1:5000", StageKind::From, Source::Built)];
    image.platforms.push(BuiltTarget { platform: samples::platform("linux/arm64"), stages, key: None });
    let at = image.platforms[0].stages[0].record.at.clone();
    image.index = Some(ImageIndex { tag: "0".repeat(56), at: at.clone() });
    let read = |image: &BuiltImage, by_platform| -> serde_json::Value {
        serde_json::from_str(&json(std::slice::from_ref(image), "c0ffee", by_platform)).expect("JSON")
    };
    let report = read(&image, true);
    let whole = &report["Images"][""];
    assert_eq!(whole["DockerImageName"], format!("127.0.0.1:5000/project:{}", "0".repeat(56)));
    assert_eq!((&whole["DockerImageDigest"], &whole["DockerImageID"]), (&at.digest.to_string().into(), &"".into()));
    assert_eq!((&whole["TargetPlatform"], &whole["Rebuilt"]), (&"linux/amd64,linux/arm64".into(), &true.into()));
    let each = &report["ImagesByPlatform"][""];
    assert_eq!(each["linux/amd64"]["DockerTag"], format!("{}1", samples::TAG));
    assert_eq!(each["linux/arm64"]["DockerTag"], format!("{}3", samples::TAG));
    assert_eq!((&each["linux/amd64"]["Rebuilt"], &each["linux/arm64"]["Rebuilt"]), (&false.into(), &true.into()));
    assert_eq!(read(&image, false)["ImagesByPlatform"], serde_json::json!({}));
    assert_eq!(env(&[image]), format!("WERF_DOCKER_IMAGE_NAME=127.0.0.1:5000/project:{}\n", "0".repeat(56)));
}
