//! Where keys of Amazon's services come from: where its own tools have them.

use std::path::Path;

use slipway_process::Environment;
use slipway_registry::{AwsKeys, AwsSource, ContainerToken};

/// Where containers of ECS ask for the keys of their role.
const CONTAINER: &str = "http://169.254.170.2";
/// Where instances ask for theirs.
const INSTANCE: &str = "http://169.254.169.254";

/// Where they come from: variables, a file, the service of a container's role, that of an instance's; the first that there is.
/// Nobody is asked yet.
pub(crate) fn source(environment: &Environment) -> AwsSource {
    if let Some(keys) = keys(environment) {
        return AwsSource::Keys(keys);
    }
    let relative = environment.non_empty("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let relative = relative.map(|path| format!("{CONTAINER}/{}", path.trim_start_matches('/')));
    let full = || environment.non_empty("AWS_CONTAINER_CREDENTIALS_FULL_URI").map(str::to_owned);
    if let Some(address) = relative.or_else(full) {
        let file = environment.non_empty("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
        let text = || environment.non_empty("AWS_CONTAINER_AUTHORIZATION_TOKEN");
        let token = file.map(|file| ContainerToken::File(file.into()));
        let token = token.or_else(|| text().map(|text| ContainerToken::Text(text.to_owned())));
        return AwsSource::Container { address, token };
    }
    let is_off = |value: &str| value.eq_ignore_ascii_case("true");
    if environment.get("AWS_EC2_METADATA_DISABLED").is_some_and(is_off) {
        return AwsSource::Nowhere;
    }
    AwsSource::Instance(environment.non_empty("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or(INSTANCE).to_owned())
}

/// Those of the variables, else those of a profile (`AWS_PROFILE`, or `default`) in the file of keys. A file that cannot be read has
/// none: who needs them is told.
fn keys(environment: &Environment) -> Option<AwsKeys> {
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

    #[test]
    fn who_has_no_keys_asks_the_service_of_a_role() {
        let source = |pairs: &[(&str, &str)]| super::source(&pairs.iter().copied().collect());
        let relative = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/x");
        let full = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://localhost:1/y");
        let text = ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "t");
        let file = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/f");
        let off = |value| ("AWS_EC2_METADATA_DISABLED", value);
        let container = |address: &str, token| AwsSource::Container { address: address.to_owned(), token };
        let own = [("AWS_ACCESS_KEY_ID", "D"), ("AWS_SECRET_ACCESS_KEY", "w"), relative];
        assert!(matches!(source(&own), AwsSource::Keys(_)));
        let of_text = Some(ContainerToken::Text("t".to_owned()));
        assert_eq!(source(&[relative, full, off("true")]), container("http://169.254.170.2/v2/credentials/x", None));
        assert_eq!(source(&[full, text]), container("http://localhost:1/y", of_text));
        let of_file = Some(ContainerToken::File("/f".into()));
        assert_eq!(source(&[full, text, file]), container("http://localhost:1/y", of_file));
        assert_eq!(source(&[off("false")]), AwsSource::Instance("http://169.254.169.254".to_owned()));
        let elsewhere = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://[fd00:ec2::254]");
        assert_eq!(source(&[elsewhere]), AwsSource::Instance("http://[fd00:ec2::254]".to_owned()));
        assert_eq!(source(&[elsewhere, off("True")]), AwsSource::Nowhere);
        assert!(!format!("{:?}", source(&[full, ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "hush")])).contains("hush"));
    }
}
