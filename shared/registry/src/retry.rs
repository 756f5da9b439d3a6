//! When a request is tried again, and how long to wait before.
//!
//! At most [`MAX_TRIES`] tries. Waits grow from under half a second to about half a minute (48 s in all at most) with
//! jitter, so that many clients do not come back at once. A `Retry-After` header is obeyed instead, up to two minutes
//! each time and three minutes in all.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

use crate::RegistryError;

/// Tries of one request, the first included.
pub(crate) const MAX_TRIES: u32 = 6;
/// Tries for a host that never answered and refuses at once: it is more likely misspelt than busy.
pub(crate) const TRIES_FOR_STRANGERS: u32 = 3;
/// Tries where there is another way.
const SHORT_TRIES: u32 = 2;
/// Tries when bytes do not match their digest, or something just written is not seen yet.
pub(crate) const TRIES_FOR_DOUBT: u32 = 4;

const FIRST_WAIT: Duration = Duration::from_millis(400);
const GROWTH: u32 = 3;
const MAX_RETRY_AFTER: Duration = Duration::from_secs(120);
const MAX_WAIT_IN_ALL: Duration = Duration::from_secs(180);

/// Why a try did not succeed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Another try would end the same.
    Final(RegistryError),
    /// Another try may succeed.
    Passing {
        /// What to report when no try is left.
        error: RegistryError,
        /// What the registry asks to wait.
        retry_after: Option<Duration>,
        /// Tries that this kind of trouble is worth, the first included.
        tries: u32,
    },
}

impl Trouble {
    /// Trouble that is worth all tries, with no wish of the registry's about the wait.
    pub(crate) fn passing(error: RegistryError) -> Self {
        Self::Passing { error, retry_after: None, tries: MAX_TRIES }
    }
}

impl From<RegistryError> for Trouble {
    fn from(error: RegistryError) -> Self {
        Self::Final(error)
    }
}

/// Counts the tries and the waiting of one request.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    failed: u32,
    waited: Duration,
    /// There is another way, if this one is not good at once.
    short: bool,
}

impl Patience {
    /// Of one who has another way to go: a second try at once is all.
    pub(crate) fn short() -> Self {
        Self { short: true, ..Self::default() }
    }

    /// Waits before the next try, or answers the error when there is none.
    pub(crate) async fn wait(&mut self, trouble: Trouble) -> Result<(), RegistryError> {
        let (error, retry_after, tries) = match trouble {
            Trouble::Final(error) => return Err(error),
            Trouble::Passing { error, retry_after, tries } => (error, retry_after, tries),
        };
        let Some(delay) = self.next_delay(retry_after, tries, jitter()) else {
            return Err(self.tell_tries(error));
        };
        tracing::debug!(%error, ?delay, failed = self.failed, "registry request will be tried again");
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// Counts a failure; the wait before the next try, or `None` when tries or time are used up. `jitter` is in 0..1.
    fn next_delay(&mut self, retry_after: Option<Duration>, tries: u32, jitter: f64) -> Option<Duration> {
        self.failed += 1;
        if self.failed >= tries.min(if self.short { SHORT_TRIES } else { MAX_TRIES }) {
            return None;
        }
        let retry_after = retry_after.filter(|_| !self.short);
        let own = FIRST_WAIT * GROWTH.saturating_pow(self.failed - 1);
        // A wish is a lower bound: jitter comes on top of it, a little.
        let delay = match retry_after {
            Some(wish) => wish.min(MAX_RETRY_AFTER) + Duration::from_millis(100).mul_f64(jitter),
            None => own.mul_f64(0.5 + jitter / 2.0),
        };
        self.waited += delay;
        (self.waited <= MAX_WAIT_IN_ALL).then_some(delay)
    }

    fn tell_tries(&self, error: RegistryError) -> RegistryError {
        match error {
            RegistryError::Unavailable(text) if self.failed > 1 => {
                RegistryError::Unavailable(format!("{text} (tried {} times)", self.failed))
            }
            error @ (RegistryError::Unavailable(_)
            | RegistryError::NotFound(_)
            | RegistryError::Denied(_)
            | RegistryError::Refused(_)
            | RegistryError::Corrupt(_)) => error,
        }
    }
}

/// What `Retry-After` asks to wait, given in seconds or as a date; `None` when absent or unreadable.
pub(crate) fn retry_after(headers: &HeaderMap, now_unix_millis: u64) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let when: SystemTime = httpdate::parse_http_date(text).ok()?;
    let when = when.duration_since(UNIX_EPOCH).ok()?;
    Some(when.saturating_sub(Duration::from_millis(now_unix_millis)))
}

/// Whether an interface says that it was asked too often. GitHub says so by 403, too.
pub(crate) fn is_limited(status: StatusCode, headers: &HeaderMap) -> bool {
    let nothing_left = || headers.get("x-ratelimit-remaining").is_some_and(|left| left == "0");
    status == StatusCode::TOO_MANY_REQUESTS
        || (status == StatusCode::FORBIDDEN && (headers.contains_key(RETRY_AFTER) || nothing_left()))
}

/// How long an interface that was asked too often wants to be left alone: by `Retry-After`, or by the moment that Docker Hub and GitHub
/// name, in seconds since the Unix epoch.
pub(crate) fn limited_until(headers: &HeaderMap, now_unix_millis: u64) -> Option<Duration> {
    let moment = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    retry_after(headers, now_unix_millis).or_else(|| {
        let at = moment("x-retry-after").or_else(|| moment("x-ratelimit-reset"))?;
        Some(Duration::from_secs(at).saturating_sub(Duration::from_millis(now_unix_millis)))
    })
}

/// A random number in 0..1.
fn jitter() -> f64 {
    let id = slipway_process::random_id();
    let number = id.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_default();
    f64::from(number) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(retry_after: Option<Duration>, tries: u32, jitter: f64) -> Vec<u64> {
        let mut patience = Patience::default();
        std::iter::from_fn(|| patience.next_delay(retry_after, tries, jitter))
            .map(|delay| u64::try_from(delay.as_millis()).unwrap())
            .collect()
    }

    #[test]
    fn waits_grow_and_end_with_the_tries() {
        assert_eq!(delays(None, MAX_TRIES, 1.0), [400, 1200, 3600, 10_800, 32_400]);
        assert_eq!(delays(None, MAX_TRIES, 0.0), [200, 600, 1800, 5400, 16_200]);
        assert_eq!(delays(None, TRIES_FOR_STRANGERS, 1.0), [400, 1200]);
        assert_eq!(delays(None, 1, 1.0), [0_u64; 0]);
        assert_eq!(delays(None, 100, 0.0).len(), 5, "no trouble is worth more than six tries");
    }

    #[test]
    fn a_wish_is_obeyed_up_to_a_limit() {
        let seconds = Duration::from_secs;
        assert_eq!(delays(Some(seconds(0)), MAX_TRIES, 0.0), [0; 5]);
        assert_eq!(delays(Some(seconds(7)), MAX_TRIES, 0.0), [7000; 5]);
        assert_eq!(delays(Some(seconds(50)), MAX_TRIES, 0.0), [50_000; 3], "three minutes in all");
        assert_eq!(delays(Some(seconds(86_400)), MAX_TRIES, 0.0), [120_000], "two minutes at once");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            retry_after(&headers, 1_445_412_470_000)
        };
        assert_eq!(read("3"), Some(Duration::from_secs(3)));
        assert_eq!(read("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(read("Wed, 21 Oct 2015 07:00:00 GMT"), Some(Duration::ZERO), "a date that has passed");
        assert_eq!(read("soon"), None);
        assert_eq!(read("-1"), None);
        assert_eq!(retry_after(&HeaderMap::new(), 0), None);
    }

    #[test]
    fn interfaces_say_in_their_own_ways_that_they_were_asked_too_often() {
        let headers = |pairs: &[(&'static str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
        };
        let now = 1_445_412_470_500;
        let hub = headers(&[("x-retry-after", "1445412480"), ("x-ratelimit-reset", "1445412490")]);
        assert!(is_limited(StatusCode::TOO_MANY_REQUESTS, &hub));
        assert_eq!(limited_until(&hub, now), Some(Duration::from_millis(9500)));
        let github = headers(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1445412490")]);
        assert!(is_limited(StatusCode::FORBIDDEN, &github) && !is_limited(StatusCode::NOT_FOUND, &github));
        assert_eq!(limited_until(&github, now), Some(Duration::from_millis(19_500)));
        assert!(!is_limited(StatusCode::FORBIDDEN, &headers(&[("x-ratelimit-remaining", "12")])));
        assert_eq!(
            limited_until(&headers(&[("retry-after", "3"), ("x-ratelimit-reset", "9")]), now),
            Some(Duration::from_secs(3))
        );
        assert_eq!(limited_until(&HeaderMap::new(), now), None);
    }

    #[test]
    fn jitter_is_a_fraction() {
        for _ in 0..100 {
            assert!((0.0..1.0).contains(&jitter()));
        }
    }

    #[tokio::test]
    async fn the_last_error_tells_the_tries_and_final_trouble_is_not_waited_for() {
        let mut patience = Patience::default();
        let trouble = || Trouble::Passing {
            error: RegistryError::Unavailable("read it".to_owned()),
            retry_after: Some(Duration::ZERO),
            tries: 2,
        };
        patience.wait(trouble()).await.unwrap();
        assert_eq!(patience.wait(trouble()).await.unwrap_err().to_string(), "read it (tried 2 times)");
        let denied = Trouble::Final(RegistryError::Denied("no".to_owned()));
        assert!(matches!(Patience::default().wait(denied).await, Err(RegistryError::Denied(_))));
    }
}
