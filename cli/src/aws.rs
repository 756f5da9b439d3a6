//! Keys of Amazon's services, from where its own tools have them.

use std::path::Path;

use slipway_process::Environment;
use slipway_registry::AwsKeys;

/// Those of the variables, else those of a profile (`AWS_PROFILE`, or `default`) in the file of keys. A file that cannot be read has
/// none: who needs them is told.
pub(crate) fn keys(environment: &Environment) -> Option<AwsKeys> {
    let variable = |name: &str| environment.non_empty(name).map(str::to_owned);
    if let (Some(id), Some(secret)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        return Some(AwsKeys { id, secret, token: variable("AWS_SESSION_TOKEN") });
    }
    let usual = || Some(Path::new(environment.non_empty("HOME")?).join(".aws/credentials"));
    let file = environment.non_empty("AWS_SHARED_CREDENTIALS_FILE").map(Into::into).or_else(usual)?;
    let text = std::fs::read_to_string(file).ok()?;
    of_profile(&text, environment.non_empty("AWS_PROFILE").unwrap_or("default"))
}

fn of_profile(text: &str, profile: &str) -> Option<AwsKeys> {
    let lines = text.lines().map(str::trim).skip_while(|line| section(line) != Some(profile)).skip(1);
    let own: Vec<(&str, &str)> = lines
        .take_while(|line| section(line).is_none())
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let value = |wanted: &str| own.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
    let (id, secret) = (value("aws_access_key_id")?, value("aws_secret_access_key")?);
    Some(AwsKeys { id, secret, token: value("aws_session_token") })
}

/// The name in a line `[NAME]`.
fn section(line: &str) -> Option<&str> {
    Some(line.strip_prefix('[')?.strip_suffix(']')?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_as_amazons_tools_find_them() {
        let home = tempfile::tempdir().expect("a directory");
        let file = home.path().join("credentials");
        let text = "[default]\naws_access_key_id = A\naws_secret_access_key = x=\n\n[ other ]\n# a note\naws_access_key_id=B\n\
                    aws_secret_access_key=y\naws_session_token=z\n[half]\naws_access_key_id=C\n";
        std::fs::write(&file, text).expect("written");
        let file = file.to_str().expect("UTF-8");
        let found = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().copied().chain([("AWS_SHARED_CREDENTIALS_FILE", file)]);
            keys(&pairs.collect::<Environment>()).map(|keys| (keys.id, keys.secret, keys.token))
        };
        let keys = |id: &str, secret: &str, token: Option<&str>| {
            Some((id.to_owned(), secret.to_owned(), token.map(str::to_owned)))
        };
        assert_eq!(found(&[]), keys("A", "x=", None));
        assert_eq!(found(&[("AWS_PROFILE", "other")]), keys("B", "y", Some("z")));
        assert_eq!(found(&[("AWS_PROFILE", "half")]), None);
        assert_eq!(found(&[("AWS_PROFILE", "none")]), None);
        let own = [("AWS_ACCESS_KEY_ID", "D"), ("AWS_SECRET_ACCESS_KEY", "w"), ("AWS_SESSION_TOKEN", "v")];
        assert_eq!(found(&own), keys("D", "w", Some("v")));
        assert_eq!(super::keys(&Environment::default()).map(|keys| keys.id), None);
    }
}
