//! Asks Go's own engine: the program beside this file, built when there is Go.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use slipway_process::child;

/// What is asked: the fields of `testCase` in `oracle/main.go`.
#[derive(Clone)]
pub(crate) struct Question {
    pub(crate) folder: PathBuf,
    pub(crate) listing: PathBuf,
    pub(crate) config: String,
    pub(crate) prefix: String,
    pub(crate) env: String,
    pub(crate) variable: String,
    pub(crate) repeat: u32,
}

/// What Go says.
pub(crate) struct Answer {
    pub(crate) text: String,
    /// Empty when it was rendered.
    pub(crate) error: String,
    /// What is wrong with the documents of the text.
    pub(crate) yaml: Vec<String>,
    /// Of the shortest run.
    pub(crate) nanoseconds: u64,
}

/// The program.
pub(crate) struct Oracle {
    directory: tempfile::TempDir,
}

impl Oracle {
    /// Builds the program.
    pub(crate) fn build() -> Result<Oracle, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/oracle");
        let built = child::command("go")
            .args(["build", "-o"])
            .arg(directory.path().join("oracle"))
            .arg(".")
            .current_dir(source)
            .output()
            .map_err(|error| format!("go: {error}"))?;
        if !built.status.success() {
            return Err(String::from_utf8_lossy(&built.stderr).trim().to_owned());
        }
        Ok(Oracle { directory })
    }

    /// The answers to all questions, in their order.
    pub(crate) fn ask(&self, questions: &[Question]) -> Vec<Answer> {
        let cases: Vec<serde_json::Value> = questions.iter().map(Question::to_json).collect();
        let mut go = child::command(self.directory.path().join("oracle"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut input = go.stdin.take().expect("it has an input");
        let cases = serde_json::to_vec(&cases).expect("cases are JSON");
        input.write_all(&cases).expect("it reads the cases before it answers");
        drop(input);
        let output = go.wait_with_output().expect("it ends");
        assert!(output.status.success(), "the program fails: {}", String::from_utf8_lossy(&output.stderr));
        let answers: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("answers are JSON");
        assert_eq!(answers.len(), questions.len());
        answers.iter().map(Answer::from_json).collect()
    }
}

impl Question {
    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "Folder": self.folder,
            "Listing": self.listing,
            "Config": self.config,
            "Prefix": self.prefix,
            "Env": self.env,
            "Variable": self.variable,
            "Repeat": self.repeat,
        })
    }
}

impl Answer {
    fn from_json(json: &serde_json::Value) -> Answer {
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        let yaml = json["Yaml"].as_array().into_iter().flatten();
        Answer {
            text: text("Text"),
            error: text("Error"),
            yaml: yaml.filter_map(|fault| fault.as_str().map(str::to_owned)).collect(),
            nanoseconds: json["Nanoseconds"].as_u64().unwrap_or_default(),
        }
    }
}
