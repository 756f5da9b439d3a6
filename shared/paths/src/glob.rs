//! One glob: werf's doublestar rule.
