//! `.Files`: files of the project.

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use slipway_template::{Call, Function, FunctionError, GoString, Map, Object, Type, Value};

use crate::functions::Reporter;
use crate::surroundings::Surroundings;
use crate::yaml::text;

/// The value of `.Files`; a clone is the same.
#[derive(Clone)]
pub(crate) struct Files {
    surroundings: Arc<dyn Surroundings>,
    reporter: Reporter,
    known: Arc<Mutex<Known>>,
}

/// What was read already.
#[derive(Default)]
struct Known {
    contents: HashMap<String, GoString>,
    globs: HashMap<String, Arc<[(GoString, GoString)]>>,
    /// Which file a text is the content of, by its address: it stays that text's, as contents are kept.
    names: HashMap<usize, Arc<str>>,
}

impl Files {
    pub(crate) fn new(surroundings: Arc<dyn Surroundings>, reporter: Reporter) -> Files {
        Files { surroundings, reporter, known: Arc::default() }
    }

    /// The file whose whole content a text is.
    pub(crate) fn file_of(&self, text: &GoString) -> Option<Arc<str>> {
        self.known().names.get(&text.as_ptr().addr()).cloned()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, call: &mut Call<'_>, path: &str) -> Result<Value, FunctionError> {
        let refused = |message: String| format!("{{{{ .Files.Get {} }}}}: {message}", quoted(path));
        self.content(call, path, refused).map(Value::String)
    }

    fn content(
        &self,
        call: &mut Call<'_>,
        path: &str,
        refused: impl FnOnce(String) -> String,
    ) -> Result<GoString, FunctionError> {
        if let Some(content) = self.known().contents.get(path) {
            return Ok(content.clone());
        }
        let bytes = self.surroundings.read(path).map_err(|refusal| self.reporter.refuse(refusal, refused))?;
        call.charge(bytes.len())?;
        let content = GoString::from(bytes);
        let mut known = self.known();
        if !content.is_empty() {
            known.names.insert(content.as_ptr().addr(), path.into());
        }
        known.contents.insert(path.to_owned(), content.clone());
        Ok(content)
    }

    fn glob(&self, call: &mut Call<'_>, pattern: &str) -> Result<Value, FunctionError> {
        let found = self.known().globs.get(pattern).cloned();
        let found = match found {
            Some(found) => found,
            None => self.look_up(call, pattern)?,
        };
        call.step(found.len() as u64)?;
        call.charge(found.len() * 2 * size_of::<Value>())?;
        // Every call gives a map of its own, as templates may set in it.
        Ok(Value::Map(Map::from_entries(found.iter().map(|(path, content)| (path, Value::String(content.clone()))))))
    }

    fn look_up(&self, call: &mut Call<'_>, pattern: &str) -> Result<Arc<[(GoString, GoString)]>, FunctionError> {
        let refused = |message: String| format!("{{{{ .Files.Glob {} }}}}: {message}", quoted(pattern));
        let paths = self.surroundings.glob(pattern).map_err(|refusal| self.reporter.refuse(refusal, refused))?;
        if paths.is_empty() {
            return Err(FunctionError::new(refused("no matches found".to_owned())));
        }
        let mut found = Vec::with_capacity(paths.len());
        for path in paths {
            let content = self.content(call, &path, refused)?;
            found.push((GoString::from(path), content));
        }
        let found: Arc<[(GoString, GoString)]> = found.into();
        self.known().globs.insert(pattern.to_owned(), Arc::clone(&found));
        Ok(found)
    }

    fn answer(
        &self,
        method: &str,
        path: &str,
        ask: fn(&dyn Surroundings, &str) -> Result<bool, crate::Refusal>,
    ) -> Result<Value, FunctionError> {
        let refused = |message: String| format!("{{{{ .Files.{method} {} }}}}: {message}", quoted(path));
        ask(&*self.surroundings, path).map(Value::Bool).map_err(|refusal| self.reporter.refuse(refusal, refused))
    }
}

impl Object for Files {
    fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed("config.files")
    }

    fn method(&self, name: &str) -> Option<Function> {
        let files = self.clone();
        Some(match name {
            "Get" => Function::new([Type::String], move |call, arguments| files.get(call, &text(&arguments[0])))
                .returning(Type::String),
            "Glob" => Function::new([Type::String], move |call, arguments| files.glob(call, &text(&arguments[0])))
                .returning(Type::any_map()),
            "Exists" => Function::new([Type::String], move |_, arguments| {
                files.answer("Exists", &text(&arguments[0]), |surroundings, path| surroundings.is_file(path))
            })
            .returning(Type::Bool),
            "IsDir" => Function::new([Type::String], move |_, arguments| {
                files.answer("IsDir", &text(&arguments[0]), |surroundings, path| surroundings.is_directory(path))
            })
            .returning(Type::Bool),
            _ => return None,
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A text in Go's quotes.
pub(crate) fn quoted(text: &str) -> String {
    use slipway_template::format::quote::{Style, quote};
    String::from_utf8_lossy(&quote(text.as_bytes(), Style::Printable)).into_owned()
}
