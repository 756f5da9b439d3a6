//! A kubeconfig: where clusters are, and who we are there.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use slipway_config::YamlValue;
use slipway_process::Environment;

use crate::KubeError;

/// The largest kubeconfig that is read, in bytes.
const LARGEST: usize = 4 << 20;
/// Where a pod finds who it is.
const IN_CLUSTER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Some bytes that a kubeconfig has, or names the file of.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Bytes(Vec<u8>),
    File(PathBuf),
}

/// How one shows who one is. Never shown itself.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct User {
    pub(crate) token: Option<Source>,
    pub(crate) password: Option<(String, String)>,
    pub(crate) certificate: Option<(Source, Source)>,
    pub(crate) exec: Option<Exec>,
}

/// A program that says who one is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Exec {
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) version: String,
}

/// A cluster, as somebody sees it.
#[derive(Clone)]
pub struct Context {
    /// Its name.
    pub name: String,
    /// The namespace that it is about; `None` = not said.
    pub namespace: Option<String>,
    pub(crate) server: String,
    pub(crate) authority: Option<Source>,
    pub(crate) insecure: bool,
    pub(crate) user: User,
}

/// What a kubeconfig says.
#[derive(Clone, Default)]
pub struct Access {
    /// Its contexts, in its order.
    pub contexts: Vec<Context>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context({})", self.name)
    }
}

impl Access {
    /// Finds it: what is `given` as text in base64, or the file that is named, or those of `KUBECONFIG`, or `~/.kube/config`, or what
    /// a pod has; `None` = there is none. Blocks.
    ///
    /// # Errors
    /// When one is there and cannot be read.
    pub fn find(text: Option<&str>, file: Option<&Path>, environment: &Environment) -> Result<Option<Self>, KubeError> {
        if let Some(text) = text {
            let bytes =
                STANDARD.decode(text.trim()).map_err(|_| error("the kubeconfig is not in base64".to_owned()))?;
            let text = String::from_utf8(bytes).map_err(|_| error("the kubeconfig is no text".to_owned()))?;
            return Self::parse(&text, Path::new(".")).map(Some);
        }
        let named = environment.non_empty("KUBECONFIG").map(|list| std::env::split_paths(list).collect::<Vec<_>>());
        let home = environment.non_empty("HOME").map(|home| vec![PathBuf::from(home).join(".kube/config")]);
        let files = match file {
            Some(file) => vec![file.to_owned()],
            None => named.or(home).unwrap_or_default(),
        };
        let mut found = Self::default();
        let mut any = false;
        for path in files {
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                Err(why) if why.kind() == std::io::ErrorKind::NotFound && file.is_none() => continue,
                Err(why) => return Err(error(format!("read the kubeconfig {}: {why}", path.display()))),
            };
            any = true;
            let own = Self::parse(&text, path.parent().unwrap_or(Path::new(".")))
                .map_err(|why| error(format!("{}: {why}", path.display())))?;
            // Of contexts of one name, the first counts.
            for context in own.contexts {
                if found.contexts.iter().all(|known| known.name != context.name) {
                    found.contexts.push(context);
                }
            }
        }
        if any { Ok(Some(found)) } else { Ok(Self::in_cluster(environment)) }
    }

    /// The one context of a pod.
    fn in_cluster(environment: &Environment) -> Option<Self> {
        let host = environment.non_empty("KUBERNETES_SERVICE_HOST")?;
        let port = environment.non_empty("KUBERNETES_SERVICE_PORT").unwrap_or("443");
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let own = Path::new(IN_CLUSTER);
        let context = Context {
            name: "in-cluster".to_owned(),
            namespace: std::fs::read_to_string(own.join("namespace")).ok().map(|text| text.trim().to_owned()),
            server: format!("https://{host}:{port}"),
            authority: Some(Source::File(own.join("ca.crt"))),
            insecure: false,
            user: User { token: Some(Source::File(own.join("token"))), ..User::default() },
        };
        own.join("token").exists().then(|| Self { contexts: vec![context] })
    }

    /// Reads one; relative paths are below `directory`.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str, directory: &Path) -> Result<Self, KubeError> {
        if text.len() > LARGEST {
            return Err(error(format!("the kubeconfig has {} bytes; up to {LARGEST} are read", text.len())));
        }
        let document = slipway_config::value::read_mapping(text)
            .map_err(|why| error(format!("the kubeconfig cannot be read: {why}")))?;
        let document = json(YamlValue::Mapping(document));
        let mut contexts = Vec::new();
        for (name, context) in named(&document, "contexts", "context") {
            let part = |list: &str, kind: &'static str| {
                let wanted = context[kind].as_str().unwrap_or_default();
                named(&document, list, kind).find(|(name, _)| *name == wanted).map(|(_, value)| value)
            };
            let cluster = part("clusters", "cluster")
                .ok_or_else(|| error(format!("the context `{name}` of the kubeconfig names no cluster of it")))?;
            let user = part("users", "user").map(|user| read_user(user, directory)).transpose();
            let user = user.map_err(|why| error(format!("the user of the context `{name}`: {why}")))?;
            let server = cluster["server"].as_str().unwrap_or_default();
            if server.is_empty() {
                return Err(error(format!("the cluster of the context `{name}` has no `server`")));
            }
            contexts.push(Context {
                name: name.to_owned(),
                namespace: context["namespace"].as_str().map(str::to_owned),
                server: server.to_owned(),
                authority: source(cluster, "certificate-authority", directory)?,
                insecure: cluster["insecure-skip-tls-verify"].as_bool().unwrap_or(false),
                user: user.unwrap_or_default(),
            });
        }
        Ok(Self { contexts })
    }
}

fn read_user(user: &Value, directory: &Path) -> Result<User, KubeError> {
    if !user["auth-provider"].is_null() {
        return Err(error("not supported yet: `auth-provider`, which kubectl has given up: use `exec`".to_owned()));
    }
    let text = |key: &str| user[key].as_str().map(str::to_owned);
    let token_file = text("tokenFile").map(|file| Source::File(directory.join(file)));
    let certificate = source(user, "client-certificate", directory)?.zip(source(user, "client-key", directory)?);
    Ok(User {
        token: token_file.or(text("token").map(|token| Source::Bytes(token.into_bytes()))),
        password: text("username").zip(text("password")),
        certificate,
        exec: (!user["exec"].is_null()).then(|| read_exec(&user["exec"], directory)),
    })
}

fn read_exec(exec: &Value, directory: &Path) -> Exec {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let program = text(&exec["command"]);
    // A name without slashes is looked for in PATH.
    let program = if program.contains('/') { directory.join(program).display().to_string() } else { program };
    Exec {
        program,
        arguments: list(&exec["args"]).iter().map(text).collect(),
        variables: list(&exec["env"]).iter().map(|pair| (text(&pair["name"]), text(&pair["value"]))).collect(),
        version: text(&exec["apiVersion"]),
    }
}

/// `NAME-data` in base64, or the file that `NAME` names.
fn source(value: &Value, name: &str, directory: &Path) -> Result<Option<Source>, KubeError> {
    let data = value[format!("{name}-data")].as_str().filter(|text| !text.is_empty());
    if let Some(text) = data {
        let bytes = STANDARD.decode(text.trim());
        return bytes
            .map(|bytes| Some(Source::Bytes(bytes)))
            .map_err(|_| error(format!("`{name}-data` is not in base64")));
    }
    Ok(value[name].as_str().filter(|text| !text.is_empty()).map(|file| Source::File(directory.join(file))))
}

/// YAML as JSON; keys that are no texts are left out.
fn json(value: YamlValue) -> Value {
    match value {
        YamlValue::Null => Value::Null,
        YamlValue::Bool(truth) => truth.into(),
        YamlValue::Int(number) => number.into(),
        YamlValue::Uint(number) => number.into(),
        YamlValue::Float(number) => number.into(),
        YamlValue::Text(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
        YamlValue::List(list) => list.into_iter().map(json).collect(),
        YamlValue::Mapping(entries) => {
            let entries = entries.into_iter().filter_map(|(key, value)| match key {
                YamlValue::Text(key) => Some((String::from_utf8_lossy(&key).into_owned(), json(value))),
                _ => None,
            });
            Value::Object(entries.collect())
        }
    }
}

/// The entries of a list of `{name: …, KIND: …}`.
fn named<'a>(document: &'a Value, list: &str, kind: &'static str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let entries = document[list].as_array().into_iter().flatten();
    entries.filter_map(move |entry| Some((entry["name"].as_str()?, &entry[kind])))
}

pub(crate) fn error(text: String) -> KubeError {
    KubeError(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
apiVersion: v1
kind: Config
current-context: prod
contexts:
- {name: prod, context: {cluster: one, user: me, namespace: shop}}
- name: test
  context: {cluster: two, user: robot}
clusters:
- {name: one, cluster: {server: 'https://one:6443', certificate-authority-data: aGVsbG8=}}
- {name: two, cluster: {server: 'http://two', insecure-skip-tls-verify: true}}
users:
- {name: me, user: {client-certificate: me.crt, client-key-data: aGVsbG8=}}
- {name: robot, user: {exec: {command: aws, args: [eks, get-token], env: [{name: A, value: b}], apiVersion: v1beta1}}}
";

    #[test]
    fn contexts_are_read_with_clusters_and_users() {
        let access = Access::parse(TEXT, Path::new("/etc/kube")).expect("a kubeconfig");
        let [prod, test] = access.contexts.as_slice() else { panic!("two contexts") };
        assert_eq!((prod.name.as_str(), prod.namespace.as_deref()), ("prod", Some("shop")));
        assert!(prod.authority == Some(Source::Bytes(b"hello".to_vec())) && !prod.insecure);
        let certificate = prod.user.certificate.as_ref().map(|(certificate, _)| certificate);
        assert!(certificate == Some(&Source::File("/etc/kube/me.crt".into())));
        assert!(test.insecure && test.server == "http://two");
        let exec = test.user.exec.as_ref().expect("a program");
        assert_eq!((exec.program.as_str(), exec.arguments.len(), exec.variables.len()), ("aws", 2, 1));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said =
            |text: &str| Access::parse(text, Path::new(".")).err().map(|why| why.to_string()).unwrap_or_default();
        assert!(said("[").contains("cannot be read"));
        let context = "contexts: [{name: x, context: {cluster: a, user: u}}]\n";
        assert!(said(context).contains("names no cluster"));
        assert!(said(&format!("{context}clusters: [{{name: a, cluster: {{}}}}]")).contains("no `server`"));
        let cluster = format!("{context}clusters: [{{name: a, cluster: {{server: 'http://a'}}}}]\n");
        assert!(
            said(&format!("{cluster}users: [{{name: u, user: {{auth-provider: {{name: gcp}}}}}}]")).contains("exec")
        );
        assert_eq!(said(&cluster), "");
    }
}
