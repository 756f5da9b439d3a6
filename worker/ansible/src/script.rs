//! What bash runs in the build container.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use slipway_backend::script::TOOLBOX_BIN;

use crate::{ROOT, playbook::Playbook};

/// What the tasks of a stage may write to and the image does not keep.
const PLACE: &str = "/.werf/ansible-tmpdir";
/// Where programs are looked for when the image does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The command that runs a playbook. Its variables are gone when it ends, and so is what it wrote for itself.
pub(crate) fn text(playbook: &Playbook, arguments: &[String]) -> String {
    let (text, lines) = (STANDARD.encode(&playbook.text), STANDARD.encode(&playbook.lines));
    let arguments: String =
        arguments.iter().map(|argument| format!(" '{}'", argument.replace('\'', r"'\''"))).collect();
    format!(
        r#"(
[[ -e {ROOT}/start.py ]] || {{ builtin echo "the toolbox has no Ansible: there is no {ROOT}" >&2; exit 1; }}
{TOOLBOX_BIN}/mkdir -p {PLACE}/home {PLACE}/local {PLACE}/remote || exit 1
builtin printf %s {text} | LC_ALL=C {TOOLBOX_BIN}/base64 --decode >{PLACE}/werf.yaml || exit 1
builtin printf %s {lines} | LC_ALL=C {TOOLBOX_BIN}/base64 --decode >{PLACE}/lines || exit 1
export PATH="${{PATH:-{PATH}}}:{TOOLBOX_BIN}" HOME="${{HOME:-/root}}" USER=root LOGNAME=root LOCPATH={ROOT}/libraries
export ANSIBLE_CONFIG={ROOT}/ansible.cfg
export ANSIBLE_HOME={PLACE}/home ANSIBLE_LOCAL_TEMP={PLACE}/local ANSIBLE_REMOTE_TEMP={PLACE}/remote
export SLIPWAY_PLAYBOOK={PLACE}/werf.yaml SLIPWAY_LINES={PLACE}/lines
[[ -x /bin/sh ]] || export ANSIBLE_EXECUTABLE={TOOLBOX_BIN}/bash
{ROOT}/bin/python3 {ROOT}/start.py --inventory localhost,{arguments} {PLACE}/werf.yaml
) || {{ __slipway_status=$?; {TOOLBOX_BIN}/rm -rf {PLACE}; exit $__slipway_status; }}
{TOOLBOX_BIN}/rm -rf {PLACE}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_task_is_read_by_the_shell() {
        let playbook = Playbook { text: "'; rm -rf /; '\n".to_owned(), lines: "1 1\n".to_owned() };
        let text = text(&playbook, &["-v".to_owned(), "it's".to_owned()]);
        assert!(!text.contains("rm -rf /;"), "{text}");
        assert!(text.contains(r"localhost, '-v' 'it'\''s' /.werf"), "{text}");
    }
}
