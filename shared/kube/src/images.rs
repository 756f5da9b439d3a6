//! What workloads name.

use serde_json::Value;

/// A kind of workload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kind {
    /// What it is called, as in `kubectl get`.
    pub(crate) name: &'static str,
    /// Where the cluster lists them; older clusters have some elsewhere.
    pub(crate) groups: &'static [&'static str],
    /// Where the description of a pod is in one.
    pub(crate) pod: &'static str,
}

const TEMPLATE: &str = "/spec/template/spec";

/// All that run images.
pub(crate) const KINDS: [Kind; 8] = [
    Kind { name: "pods", groups: &["api/v1"], pod: "/spec" },
    Kind { name: "replicationcontrollers", groups: &["api/v1"], pod: TEMPLATE },
    Kind { name: "deployments", groups: &["apis/apps/v1"], pod: TEMPLATE },
    Kind { name: "statefulsets", groups: &["apis/apps/v1"], pod: TEMPLATE },
    Kind { name: "daemonsets", groups: &["apis/apps/v1"], pod: TEMPLATE },
    Kind { name: "replicasets", groups: &["apis/apps/v1"], pod: TEMPLATE },
    Kind {
        name: "cronjobs",
        groups: &["apis/batch/v1", "apis/batch/v1beta1"],
        pod: "/spec/jobTemplate/spec/template/spec",
    },
    Kind { name: "jobs", groups: &["apis/batch/v1"], pod: TEMPLATE },
];

/// The images of one workload, and what it is called: `NAMESPACE/NAME`.
pub(crate) fn of(kind: Kind, item: &Value) -> (String, Vec<String>) {
    let meta = |key: &str| item["metadata"][key].as_str().unwrap_or_default();
    let spec = item.pointer(kind.pod).unwrap_or(&Value::Null);
    let lists = ["containers", "initContainers", "ephemeralContainers"].map(|list| &spec[list]);
    let containers = lists.into_iter().filter_map(Value::as_array).flatten();
    let images = containers.filter_map(|container| container["image"].as_str()).map(str::to_owned).collect();
    (format!("{}/{}", meta("namespace"), meta("name")), images)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_every_kind_are_found() {
        let pod = serde_json::json!({
            "containers": [{"image": "r/app:1"}, {"name": "no image"}],
            "initContainers": [{"image": "r/init:1"}],
            "ephemeralContainers": [{"image": "r/debug:1"}],
        });
        for kind in KINDS {
            let mut item = pod.clone();
            for key in kind.pod.split('/').skip(1).collect::<Vec<_>>().into_iter().rev() {
                item = serde_json::json!({ key: item });
            }
            item["metadata"] = serde_json::json!({"namespace": "shop", "name": "web"});
            let (name, images) = of(kind, &item);
            assert_eq!(
                (name.as_str(), images.join(" ")),
                ("shop/web", "r/app:1 r/init:1 r/debug:1".to_owned()),
                "{kind:?}"
            );
        }
        assert_eq!(of(KINDS[0], &serde_json::json!({})).1, [""; 0]);
    }
}
