//! YAML as data of any shape: what a template's `fromYaml` reads and its `toYaml` writes.
//!
//! Both follow Go's yaml.v2 where no type is known: YAML 1.1 scalars (`yes`, `0755`, `1_000`), keys of any scalar type,
//! of equal keys the last one, merge keys; and in writing its quotes, its block scalars and its order of keys. `read`
//! builds values, `scalar` says what a scalar is, `write` prints.

mod read;
mod scalar;
mod write;

pub use read::read_mapping;
pub(crate) use scalar::plain;
pub use write::write_value;

/// How deep lists and mappings may nest.
const DEPTH: usize = 500;
/// Values that one text may hold, aliases counted as often as they are used.
const VALUES: usize = 2_000_000;
/// Bytes that the values of one text may hold, aliases counted as often as they are used.
const BYTES: usize = 256 << 20;

/// A value of a YAML document.
#[derive(Clone, PartialEq, Debug)]
pub enum YamlValue {
    /// `~`, `null` or nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number that only fits without a sign.
    Uint(u64),
    /// A floating-point number.
    Float(f64),
    /// A text; bytes, as `!!binary` may hold any.
    Text(Vec<u8>),
    /// A list.
    List(Vec<YamlValue>),
    /// A mapping in the order of the text: of equal keys the last one counts.
    Mapping(Vec<(YamlValue, YamlValue)>),
}

/// A text that is no YAML, YAML that is no mapping, or a value that cannot be written. `Display` begins with `yaml:`, as
/// Go's errors do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("yaml: {0}")]
pub struct YamlError(String);

#[cfg(test)]
mod tests;
