//! `semver` and `semverCompare`, and the version as an object of templates.

use std::any::Any;
use std::borrow::Cow;

use super::arguments::{Outcome, text};
use super::semver::{Version, satisfies};
use crate::function::{Function, FunctionError, Functions};
use crate::value::{GoString, Kind, Object, Type, UintKind, Value};

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions) {
    all.insert(
        "semver",
        Function::new([Type::String], |_, arguments| {
            let version = Version::parse(&text(&arguments[0])).map_err(FunctionError::new)?;
            Ok(Value::object(VersionObject { version, pointer: true }))
        })
        .returning(pointer_type()),
    );
    all.insert(
        "semverCompare",
        Function::new([Type::String, Type::String], |_, arguments| {
            let holds = satisfies(&text(&arguments[0]), &text(&arguments[1])).map_err(FunctionError::new)?;
            Ok(Value::Bool(holds))
        }),
    );
}

/// A `*semver.Version`, or the plain struct that the `Inc…` methods give.
struct VersionObject {
    version: Version,
    pointer: bool,
}

fn pointer_type() -> Type {
    Type::Named(Cow::Borrowed("*semver.Version"), Kind::Pointer)
}

impl Object for VersionObject {
    fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed(if self.pointer { "*semver.Version" } else { "semver.Version" })
    }

    fn kind(&self) -> Kind {
        if self.pointer { Kind::Pointer } else { Kind::Struct }
    }

    fn method(&self, name: &str) -> Option<Function> {
        let version = self.version.clone();
        let number = |number: u64| Some(Value::Uint(number, UintKind::Uint64));
        let plain = match name {
            "Major" => number(version.major),
            "Minor" => number(version.minor),
            "Patch" => number(version.patch),
            "Prerelease" => Some(Value::from(version.prerelease.as_str())),
            "Metadata" => Some(Value::from(version.metadata.as_str())),
            "Original" => Some(Value::from(version.original.as_str())),
            "String" => Some(Value::from(version.to_string())),
            "IncMajor" => Some(raised(Version { major: version.major + 1, minor: 0, patch: 0, ..version.clone() })),
            "IncMinor" => Some(raised(Version { minor: version.minor + 1, patch: 0, ..version.clone() })),
            "IncPatch" => {
                let step = u64::from(version.prerelease.is_empty());
                Some(raised(Version { patch: version.patch + step, ..version.clone() }))
            }
            _ => None,
        };
        if let Some(value) = plain {
            return Some(Function::new([], move |_, _| Ok(value.clone())));
        }
        let comparison: fn(std::cmp::Ordering) -> Value = match name {
            "Compare" => |order| Value::int(order as i64),
            "Equal" => |order| Value::Bool(order.is_eq()),
            "LessThan" => |order| Value::Bool(order.is_lt()),
            "LessThanEqual" => |order| Value::Bool(order.is_le()),
            "GreaterThan" => |order| Value::Bool(order.is_gt()),
            "GreaterThanEqual" => |order| Value::Bool(order.is_ge()),
            _ => return None,
        };
        Some(Function::new([pointer_type()], move |_, arguments| compare(&version, &arguments[0], comparison)))
    }

    fn text(&self) -> Option<GoString> {
        Some(GoString::from(self.version.to_string()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn raised(mut version: Version) -> Value {
    version.prerelease.clear();
    version.metadata.clear();
    let prefix = if version.original.starts_with('v') { "v" } else { "" };
    version.original = format!("{prefix}{version}");
    Value::object(VersionObject { version, pointer: false })
}

fn compare(version: &Version, other: &Value, result: fn(std::cmp::Ordering) -> Value) -> Outcome {
    let other = match other {
        Value::Object(object) => object.as_any().downcast_ref::<VersionObject>(),
        _ => None,
    };
    match other {
        Some(other) => Ok(result(version.compare(&other.version))),
        None => super::arguments::fail(super::arguments::NIL_POINTER),
    }
}
