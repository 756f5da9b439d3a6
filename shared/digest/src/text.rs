//! Values that travel as text: what `Display` writes, `FromStr` reads back.

/// Gives a type its `serde` form: the text that its `Display` writes and its `FromStr` checks.
#[macro_export]
macro_rules! travels_as_text {
    ($($type:ty),+ $(,)?) => {$(
        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> ::std::result::Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> ::std::result::Result<Self, D::Error> {
                let text = <::std::string::String as ::serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(::serde::de::Error::custom)
            }
        }
    )+};
}

crate::travels_as_text!(crate::Checksum, crate::StageDigest, crate::CommitId, crate::StageId);
