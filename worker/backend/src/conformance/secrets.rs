//! Secrets: files in memory while a script runs, and nowhere else.

use slipway_oci::{ConfigChange, Platform};

use super::harness::Harness;
use crate::{Secrets, Setup, script::TOOLBOX_BIN};

/// What commands see, what they say of it, and what is left.
pub(super) async fn secrets_are_seen_and_leave_nothing(harness: &Harness<'_>) {
    let mut secrets = Secrets::none();
    secrets.add("token", b"open sesame".to_vec());
    secrets.add("key", b"-----BEGIN-----\nAAAABBBBCCCC\n".to_vec());
    let base = Setup::new(harness.attempt(), Platform::host());
    let setup = Setup { network: Some("none".to_owned()), secrets, ..base };
    let mut workspace = harness.backend.open(Some(harness.base), setup).await.expect("a workspace");
    let look = format!(
        "PATH={TOOLBOX_BIN}:$PATH; cd /run/secrets; for f in *; do stat -c '%n %a %u' $f; done; cat token key; printf open; \
         printf ' sesame\\n' >&2; base64 token; [[ $(<token) == 'open sesame' ]] && echo equal"
    );
    let kind = "while read -r _ at kind _; do if [[ $at == /run/secrets ]]; then echo $kind; fi; done </proc/mounts";
    let (ended, mut said) = harness.run(workspace.as_mut(), &[(1, &look), (2, kind)], &[]).await;
    ended.unwrap_or_else(|error| panic!("{error}: {said:?}"));
    // Streams are told apart, so that half a secret on each is none.
    said.retain(|line| line != " sesame" && line != "open");
    let clean = |line: &String| !line.contains("sesame") && !line.contains("AAAA") && !line.contains("b3Blbi");
    assert!(said.iter().all(clean), "{said:?}");
    // By gVisor, whatever is mounted is of its own kind.
    let kinds = said.iter().filter(|line| ["tmpfs", "9p"].contains(&line.as_str())).count();
    assert_eq!(kinds, 1, "{said:?}");
    for line in ["token 400 0", "key 400 0", "equal"] {
        assert!(said.iter().any(|found| found == line), "{line}: {said:?}");
    }
    let image = workspace.commit(ConfigChange::default()).await.expect("an image");
    let left = harness.items(&image, "/").await;
    assert!(
        left.iter().all(|item| !item.path.starts_with("run/secrets/") && !item.text.contains("sesame")),
        "{left:?}"
    );
    let config = harness.backend.config(&image).await.expect("a config");
    assert!(!format!("{config:?}").contains("sesame"));
}
