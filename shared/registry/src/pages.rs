//! Lists of tags, page by page.
//!
//! Registries differ: some give a `Link` to the next page, some want `last=` and give no link, some ignore how many we
//! ask for and give all at once. Whatever they do, this ends.

use std::collections::HashSet;

use http::{Method, StatusCode, header::LINK};
use serde::Deserialize;
use slipway_oci::Repo;
use url::{Url, form_urlencoded};

use crate::{
    Client, RegistryError,
    call::{Call, is_tag},
    scheme::{follow, same_origin},
    transport::Fetched,
};

/// Tags that are asked for at once: the most that all registries allow.
const PAGE: usize = 1000;
/// Bytes of all pages.
const LIMIT: usize = 64 * 1024 * 1024;
const MAX_PAGES: usize = 20_000;

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

/// All tags of a repository, in the registry's order, each once; none when the repository is not there.
pub(crate) async fn tags(client: &Client, repo: &Repo) -> Result<Vec<String>, RegistryError> {
    let first = format!("tags/list?n={PAGE}");
    let mut call = Call::new(Method::GET, repo, &first, "list the tags of")?.expect(&[StatusCode::NOT_FOUND]);
    let mut listing = Listing::default();
    let mut bytes_left = LIMIT;
    for _ in 0..MAX_PAGES {
        let fetched = client.transport().fetch(&call, bytes_left, None).await?;
        if fetched.status == StatusCode::NOT_FOUND {
            return Ok(listing.tags);
        }
        bytes_left -= fetched.body.len();
        match listing.add(&call, &fetched)? {
            Next::At(url) => call = call.at(&url),
            Next::After(tag) => {
                let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("last", &tag).finish();
                call = Call::new(Method::GET, repo, &format!("{first}&{query}"), "list the tags of")?;
            }
            Next::Nothing => return Ok(listing.tags),
        }
    }
    Err(RegistryError::Refused(call.say(format_args!("more than {MAX_PAGES} pages"))))
}

/// Where the list goes on.
#[derive(PartialEq, Eq, Debug)]
enum Next {
    At(Url),
    After(String),
    Nothing,
}

#[derive(Default)]
struct Listing {
    tags: Vec<String>,
    seen: HashSet<String>,
    pages: HashSet<Url>,
}

impl Listing {
    fn add(&mut self, call: &Call, fetched: &Fetched) -> Result<Next, RegistryError> {
        let refuse = |why: &dyn std::fmt::Display| RegistryError::Refused(call.say(why));
        let page: Page = serde_json::from_slice(&fetched.body)
            .map_err(|error| refuse(&format_args!("the answer is no list of tags ({error})")))?;
        let tags = page.tags.unwrap_or_default();
        let last = tags.last().cloned();
        let count = tags.len();
        let before = self.tags.len();
        // What cannot be a tag cannot be asked for either.
        for tag in tags.into_iter().filter(|tag| is_tag(tag)) {
            if self.seen.insert(tag.clone()) {
                self.tags.push(tag);
            }
        }
        if let Some(link) = next_link(fetched) {
            let url = follow(&fetched.url, &link)
                .map_err(|why| refuse(&format_args!("the link to the next page is not followed: {why}")))?;
            if !same_origin(&url, &fetched.url) {
                return Err(refuse(&"the link to the next page leads to another host"));
            }
            self.pages.insert(fetched.url.clone());
            if self.pages.contains(&url) {
                return Err(refuse(&"the links from page to page go round in a circle"));
            }
            return Ok(Next::At(url));
        }
        // Fewer is the end; more means that the registry gave all. Just as many and nothing new: it ignores `last`.
        let full = count == PAGE && self.tags.len() > before;
        Ok(last.filter(|_| full).map_or(Next::Nothing, Next::After))
    }
}

/// The target of the `Link` with `rel="next"`.
fn next_link(fetched: &Fetched) -> Option<String> {
    let texts = fetched.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(links).find(|(_, parameters)| is_next(parameters)).map(|(target, _)| target.to_owned())
}

/// The links of one header, `<TARGET>; PARAMETERS, <TARGET>…`.
fn links(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('<').skip(1).filter_map(|link| link.split_once('>'))
}

fn is_next(parameters: &str) -> bool {
    let of_one = |parameter: &str| {
        let (name, value) = parameter.trim().trim_end_matches(',').split_once('=')?;
        let relations = value.trim().trim_matches('"').to_ascii_lowercase();
        Some(name.trim().eq_ignore_ascii_case("rel") && relations.split_whitespace().any(|word| word == "next"))
    };
    parameters.split(';').filter_map(of_one).any(|next| next)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn fetched(url: &str, tags: &str, link: Option<&str>) -> Fetched {
        let link = link.map(|link| (LINK, HeaderValue::from_str(link).unwrap()));
        Fetched {
            status: StatusCode::OK,
            headers: HeaderMap::from_iter(link),
            body: format!(r#"{{"name":"a","tags":{tags}}}"#).into(),
            url: url.parse().unwrap(),
        }
    }

    fn call() -> Call {
        let repo = Repo { host: "r.example".to_owned(), path: "a".to_owned() };
        Call::new(Method::GET, &repo, "tags/list", "list the tags of").unwrap()
    }

    const HERE: &str = "https://r.example/v2/a/tags/list?n=1000";

    #[test]
    fn links_lead_on() {
        let cases = [
            (r#"</v2/a/tags/list?last=b&n=2>; rel="next""#, Some("/v2/a/tags/list?last=b&n=2")),
            (r#"<x>; rel=prev, <y,z>; title="a"; REL="last next""#, Some("y,z")),
            ("<x>; rel=next", Some("x")),
            ("<x>", None),
            ("x; rel=next", None),
            ("<x>; rel=nexts", None),
        ];
        for (link, expected) in cases {
            assert_eq!(next_link(&fetched(HERE, "[]", Some(link))).as_deref(), expected, "{link}");
        }
    }

    #[test]
    fn circles_and_other_hosts_are_refused() {
        let mut listing = Listing::default();
        let next = listing.add(&call(), &fetched(HERE, r#"["b"]"#, Some("</v2/p2>; rel=next"))).unwrap();
        assert_eq!(next, Next::At("https://r.example/v2/p2".parse().unwrap()));
        let back = format!("<{HERE}>; rel=next");
        let error = listing.add(&call(), &fetched("https://r.example/v2/p2", r#"["c"]"#, Some(&back))).unwrap_err();
        assert!(error.to_string().contains("circle"), "{error}");
        let itself = Listing::default().add(&call(), &fetched(HERE, "[]", Some(&back)));
        assert!(itself.is_err());
        let away = Some("<https://evil.example/p2>; rel=next");
        let error = Listing::default().add(&call(), &fetched(HERE, "null", away)).unwrap_err();
        assert!(error.to_string().contains("another host"), "{error}");
    }

    #[test]
    fn full_pages_without_a_link_lead_on_by_their_last_tag() {
        let page = |range: std::ops::Range<usize>| {
            serde_json::to_string(&range.map(|n| format!("t{n}")).collect::<Vec<_>>()).unwrap()
        };
        let mut listing = Listing::default();
        let mut add = |tags: &str| listing.add(&call(), &fetched(HERE, tags, None)).unwrap();
        assert_eq!(add(&page(0..PAGE)), Next::After("t999".to_owned()));
        assert_eq!(add(&page(0..PAGE)), Next::Nothing, "the registry ignores `last`");
        assert_eq!(add(&page(PAGE..PAGE + 10)), Next::Nothing);
        assert_eq!(add(&page(0..PAGE * 3)), Next::Nothing, "the registry ignores `n`");
        assert_eq!(listing.tags.len(), PAGE * 3);
        let odd = Listing::default().add(&call(), &fetched(HERE, r#"["ok", "../x", ""]"#, None)).unwrap();
        assert_eq!(odd, Next::Nothing);
        assert!(Listing::default().add(&call(), &fetched(HERE, "12", None)).is_err());
    }
}
