//! `.Commit`.

use slipway_template::{Map, Type, Value};

/// The commit that is built, as templates see it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Commit {
    /// `.Commit.Hash`
    pub hash: String,
    /// `.Commit.Date.Human`: as Go prints a time.
    pub human: String,
    /// `.Commit.Date.Unix`: seconds since the Unix epoch, a text in templates.
    pub unix: i64,
}

impl Commit {
    pub(crate) fn to_value(&self) -> Value {
        let date = Map::typed(Type::String, Type::String);
        let texts = [("Human", self.human.clone()), ("Unix", self.unix.to_string())];
        for (key, text) in texts {
            date.set(key, Value::from(text)).expect("the map is not nil");
        }
        Value::map([("Hash", Value::from(self.hash.as_str())), ("Date", Value::Map(date))])
    }
}
