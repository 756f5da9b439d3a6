//! sprig's functions (v3), each with sprig's name, arguments, results and errors.
//!
//! They are pure: the clock and randomness come from a [`World`]. Left out on purpose: `expandenv` and `env`, which
//! read the machine's environment. Present but refusing with a clear error: `getHostByName`, which asks the network.
//!
//! Where Go's functions walk a map in random order (`keys`, `values`), these walk it in the order of its keys.

mod arguments;
mod case;
mod civil;
mod crypto;
mod date;
mod decimal;
mod defaults;
mod dict;
mod duration;
mod encoding;
mod flow;
mod json;
mod json_read;
mod layout;
mod list;
mod math;
mod merge;
mod path;
mod pattern;
mod random;
mod regex;
mod runes;
mod semver;
mod semver_functions;
mod strings;
mod strings_wrap;
mod time;
mod url;
mod world;
mod x509;

use std::sync::Arc;

pub use json::to_json;
pub use world::{Frozen, World};

use crate::function::Functions;

/// All of sprig's functions for templates.
pub fn functions(world: Arc<dyn World>) -> Functions {
    let mut all = Functions::new();
    strings::register(&mut all);
    strings_wrap::register(&mut all);
    case::register(&mut all);
    list::register(&mut all);
    dict::register(&mut all);
    merge::register(&mut all);
    math::register(&mut all);
    decimal::register(&mut all);
    defaults::register(&mut all);
    json::register(&mut all);
    flow::register(&mut all);
    encoding::register(&mut all);
    path::register(&mut all);
    regex::register(&mut all);
    semver_functions::register(&mut all);
    url::register(&mut all);
    crypto::register(&mut all, &world);
    x509::register(&mut all, &world);
    random::register(&mut all, &world);
    date::register(&mut all, &world);
    all
}
