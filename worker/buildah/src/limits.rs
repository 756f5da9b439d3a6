//! What one process of a command may use: what the user says, and else what this process may.

use std::fs;

use slipway_backend::BackendError;
use slipway_backend::limits::ProcessLimit;

/// Where the kernel says what this process may do.
const STATUS: &str = "/proc/self/status";
/// The bit of the right to go above a hard limit.
const CAP_SYS_RESOURCE: u32 = 24;

/// The limits as the program takes them.
pub(crate) fn arguments(asked: &[ProcessLimit]) -> Result<Vec<String>, BackendError> {
    let may_raise = !slipway_layers::userns::inside() && may_raise(&fs::read_to_string(STATUS).unwrap_or_default());
    let own = ProcessLimit::of_this_process();
    if let Some(refused) = asked.iter().find_map(|limit| above(limit, &own)).filter(|_| !may_raise) {
        return Err(BackendError::Refused(refused));
    }
    Ok(merged(asked, own).iter().map(spelled).collect())
}

/// The own ones, with those that are asked for in their place: the last of a kind counts.
fn merged(asked: &[ProcessLimit], own: Vec<ProcessLimit>) -> Vec<ProcessLimit> {
    let asked_for = |kind: &str| asked.iter().rev().find(|limit| limit.kind() == kind).cloned();
    own.into_iter().map(|limit| asked_for(limit.kind()).unwrap_or(limit)).collect()
}

/// What is wrong with a limit that is above what this process may have.
fn above(limit: &ProcessLimit, own: &[ProcessLimit]) -> Option<String> {
    let hard = own.iter().find(|own| own.kind() == limit.kind())?.hard()?;
    let asked = limit.hard();
    asked.is_none_or(|asked| asked > hard).then(|| {
        let asked = asked.map_or_else(|| "no limit".to_owned(), |asked| asked.to_string());
        format!(
            "the limit {} of commands cannot be {asked}: this process may have {hard}, and going above needs \
             CAP_SYS_RESOURCE; ask for less, or raise it for this process (ulimit -H, LimitNOFILE= and its like of systemd)",
            limit.kind()
        )
    })
}

fn spelled(limit: &ProcessLimit) -> String {
    let number = |value: Option<u64>| value.map_or_else(|| "-1".to_owned(), |value| value.to_string());
    format!("{}={}:{}", limit.kind(), number(limit.soft()), number(limit.hard()))
}

fn may_raise(status: &str) -> bool {
    let rights = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let rights = rights.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
    rights & (1 << CAP_SYS_RESOURCE) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(text: &str) -> Vec<ProcessLimit> {
        ProcessLimit::parse_all(text).expect("limits")
    }

    #[test]
    fn what_is_not_asked_for_is_as_here() {
        let merged =
            merged(&limits("nofile:1000:2000,core:5,core:0"), limits("core:9,nofile:1024:4096,stack:8:unlimited"));
        let spelled: Vec<String> = merged.iter().map(spelled).collect();
        assert_eq!(spelled, ["core=0:0", "nofile=1000:2000", "stack=8:-1"]);
    }

    #[test]
    fn a_limit_above_the_own_is_refused_with_what_helps() {
        let own = limits("core:0,nofile:1024:4096,cpu:-1");
        let said = |text: &str| limits(text).iter().find_map(|limit| above(limit, &own));
        assert_eq!(said("nofile:4096,cpu:7"), None);
        assert!(said("core:1").is_some_and(|why| why.contains("limit core of commands cannot be 1")));
        assert!(said("nofile:1000:unlimited").is_some_and(|why| why.contains("no limit")));
        assert!(
            may_raise("CapEff:\t0000000001000000\n") && !may_raise("CapEff:\t00000000a80425fb\n") && !may_raise("")
        );
    }
}
