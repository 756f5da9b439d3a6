//! Who owns what is made.

use slipway_backend::BackendError;
use slipway_layers::root::Root;

use crate::accounts::{Account, resolve, user};

/// The user and group that `text` names, as `USER` or `USER:GROUP`, by the image's own files. Without a group it is a
/// named user's own, or the number of the user. Blocks.
///
/// # Errors
/// When it names no owner, or the disk fails.
pub fn of(image: &Root, text: &str) -> Result<(u32, u32), BackendError> {
    let (name, group) = match text.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (text, None),
    };
    if name.is_empty() || group.is_some_and(|group| group.is_empty() || group.contains(':')) {
        return Err(BackendError::Refused(format!("`{text}` names no owner: write USER or USER:GROUP")));
    }
    let uid = resolve(image, Account::User, name)?;
    let gid = match group {
        Some(group) => resolve(image, Account::Group, group)?,
        None if name.parse::<u32>().is_ok() => uid,
        None => user(image, name)?.map_or(uid, |(_, gid)| gid),
    };
    Ok((uid, gid))
}
