//! Versions and constraints on them, by the rules of the library that sprig uses: a version may lack its minor and patch
//! numbers, and a constraint's `x`, or a missing number, makes it a range.

use std::cmp::Ordering;
use std::sync::LazyLock;

use regex::{Captures, Regex};

const INVALID: &str = "Invalid Semantic Version";
const TAIL: &str = r"(-([0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*))?(\+([0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*))?";
const LOOSE: &str = r"v?([0-9|xX*]+)(\.[0-9|xX*]+)?(\.[0-9|xX*]+)?";
const OPERATORS: &str = r"=||!=|>|<|>=|=>|<=|=<|~|~>|\^";

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant")
}

static VERSION: LazyLock<Regex> = LazyLock::new(|| regex(&format!(r"^v?([0-9]+)(\.[0-9]+)?(\.[0-9]+)?{TAIL}$")));
static ONE: LazyLock<Regex> =
    LazyLock::new(|| regex(&format!(r"^[\t\n\f\r ]*({OPERATORS})[\t\n\f\r ]*({LOOSE}{TAIL})[\t\n\f\r ]*$")));
static EACH: LazyLock<Regex> = LazyLock::new(|| regex(&format!(r"({OPERATORS})[\t\n\f\r ]*({LOOSE}{TAIL})")));
static HYPHEN: LazyLock<Regex> = LazyLock::new(|| {
    regex(&format!(r"[\t\n\f\r ]*({LOOSE}{TAIL})[\t\n\f\r ]+-[\t\n\f\r ]+({LOOSE}{TAIL})[\t\n\f\r ]*"))
});
static ALL: LazyLock<Regex> = LazyLock::new(|| {
    let one = format!(r"(?:{OPERATORS})[\t\n\f\r ]*(?:{LOOSE}{TAIL})[\t\n\f\r ]*");
    regex(&format!(r"^([\t\n\f\r ]*{one})((?:[\t\n\f\r ]+|,[\t\n\f\r ]*){one})*$"))
});

/// A version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) major: u64,
    pub(super) minor: u64,
    pub(super) patch: u64,
    pub(super) prerelease: String,
    pub(super) metadata: String,
    /// As it was given.
    pub(super) original: String,
}

fn part<'a>(captures: &Captures<'a>, index: usize) -> &'a str {
    captures.get(index).map_or("", |found| found.as_str())
}

fn number(text: &str) -> Result<u64, String> {
    let digits = text.trim_start_matches('.');
    if digits.is_empty() {
        return Ok(0);
    }
    digits.parse().map_err(|_| {
        format!("Error parsing version segment: strconv.ParseUint: parsing {digits:?}: value out of range")
    })
}

impl Version {
    /// Reads a version. The error is the library's.
    pub(super) fn parse(text: &str) -> Result<Version, String> {
        let captures = VERSION.captures(text).ok_or(INVALID)?;
        let version = Version {
            major: number(part(&captures, 1))?,
            minor: number(part(&captures, 2))?,
            patch: number(part(&captures, 3))?,
            prerelease: part(&captures, 5).to_owned(),
            metadata: part(&captures, 7).to_owned(),
            original: text.to_owned(),
        };
        let leading_zero =
            |piece: &str| piece.len() > 1 && piece.starts_with('0') && piece.bytes().all(|byte| byte.is_ascii_digit());
        if !version.prerelease.is_empty() && version.prerelease.split('.').any(leading_zero) {
            return Err("Version segment starts with 0".to_owned());
        }
        Ok(version)
    }

    /// Order by precedence; metadata does not count.
    pub(super) fn compare(&self, other: &Version) -> Ordering {
        let numbers = |version: &Version| (version.major, version.minor, version.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| match (&*self.prerelease, &*other.prerelease) {
            ("", "") => Ordering::Equal,
            ("", _) => Ordering::Greater,
            (_, "") => Ordering::Less,
            (one, two) => compare_prereleases(one, two),
        })
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.prerelease.is_empty() {
            write!(formatter, "-{}", self.prerelease)?;
        }
        if !self.metadata.is_empty() {
            write!(formatter, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

fn compare_prereleases(one: &str, two: &str) -> Ordering {
    let (mut ones, mut twos) = (one.split('.'), two.split('.'));
    loop {
        let (one, two) = match (ones.next(), twos.next()) {
            (None, None) => return Ordering::Equal,
            (one, two) => (one.unwrap_or(""), two.unwrap_or("")),
        };
        let order = match (one.parse::<u64>(), two.parse::<u64>()) {
            _ if one == two => Ordering::Equal,
            _ if one.is_empty() => Ordering::Less,
            _ if two.is_empty() => Ordering::Greater,
            (Ok(one), Ok(two)) => one.cmp(&two),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => one.cmp(two),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Whether the version satisfies the constraint: groups parted by `||`, of which one must hold in full.
pub(super) fn satisfies(constraint: &str, version: &str) -> Result<bool, String> {
    let rewritten = rewrite_ranges(constraint);
    let mut groups = Vec::new();
    for group in rewritten.split("||") {
        if !ALL.is_match(group) {
            return Err(format!("improper constraint: {group}"));
        }
        let constraints: Result<Vec<Constraint>, String> =
            EACH.find_iter(group).map(|found| Constraint::parse(found.as_str())).collect();
        groups.push(constraints?);
    }
    let version = Version::parse(version)?;
    Ok(groups.iter().any(|group| group.iter().all(|constraint| constraint.holds(&version))))
}

/// `1.2 - 3` is `>= 1.2, <= 3`.
fn rewrite_ranges(text: &str) -> String {
    HYPHEN
        .replace_all(text, |captures: &Captures<'_>| format!(">= {}, <= {} ", part(captures, 1), part(captures, 9)))
        .into_owned()
}

struct Constraint {
    operator: String,
    version: Version,
    /// The minor number is open, and with it the patch.
    minor_open: bool,
    /// The patch number alone is open.
    patch_open: bool,
    /// Some number is open.
    open: bool,
}

impl Constraint {
    fn parse(text: &str) -> Result<Constraint, String> {
        let captures = ONE.captures(text).ok_or_else(|| format!("improper constraint: {text}"))?;
        let is_open = |text: &str| matches!(text.trim_start_matches('.'), "" | "x" | "X" | "*");
        let [major, minor, patch, tail] = [3, 4, 5, 6].map(|index| part(&captures, index));
        let (numbers, minor_open, patch_open) = if is_open(major) {
            (format!("0.0.0{tail}"), false, false)
        } else if is_open(minor) {
            (format!("{major}.0.0{tail}"), true, false)
        } else if is_open(patch) {
            (format!("{major}{minor}.0{tail}"), false, true)
        } else {
            (part(&captures, 2).to_owned(), false, false)
        };
        let open = is_open(major) || minor_open || patch_open;
        let version = Version::parse(&numbers).map_err(|_| "constraint Parser Error".to_owned())?;
        Ok(Constraint { operator: part(&captures, 1).to_owned(), version, minor_open, patch_open, open })
    }

    fn holds(&self, version: &Version) -> bool {
        let own = &self.version;
        let unwanted_prerelease = !version.prerelease.is_empty() && own.prerelease.is_empty();
        if self.operator == "!=" {
            return self.differs(version, unwanted_prerelease);
        }
        if unwanted_prerelease {
            return false;
        }
        let order = version.compare(own);
        match self.operator.as_str() {
            ">" => self.exceeds(version, order),
            "<" => order.is_lt(),
            ">=" | "=>" => order.is_ge(),
            "<=" | "=<" if !self.open => order.is_le(),
            "<=" | "=<" => {
                version.major < own.major
                    || version.major == own.major && (version.minor <= own.minor || self.minor_open)
            }
            "~" | "~>" => self.tilde(version, order),
            "^" => self.caret(version, order),
            _ if self.open => self.tilde(version, order),
            _ => order.is_eq(),
        }
    }

    fn differs(&self, version: &Version, unwanted_prerelease: bool) -> bool {
        let own = &self.version;
        if !self.open {
            return version.compare(own).is_ne();
        }
        if unwanted_prerelease {
            return false;
        }
        if own.major != version.major {
            return true;
        }
        if self.minor_open {
            return false;
        }
        if own.minor != version.minor {
            return true;
        }
        if self.patch_open {
            let both = !version.prerelease.is_empty() || !own.prerelease.is_empty();
            return both && compare_prereleases(&version.prerelease, &own.prerelease).is_ne();
        }
        own.patch != version.patch || version.compare(own).is_ne()
    }

    fn exceeds(&self, version: &Version, order: Ordering) -> bool {
        let own = &self.version;
        match version.major.cmp(&own.major) {
            _ if !self.open => order.is_gt(),
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal if self.minor_open => false,
            Ordering::Equal if self.patch_open => version.minor > own.minor,
            Ordering::Equal => order.is_gt(),
        }
    }

    fn tilde(&self, version: &Version, order: Ordering) -> bool {
        let own = &self.version;
        if order.is_lt() {
            return false;
        }
        let anything = (own.major, own.minor, own.patch) == (0, 0, 0) && !self.minor_open && !self.patch_open;
        anything || version.major == own.major && (version.minor == own.minor || self.minor_open)
    }

    fn caret(&self, version: &Version, order: Ordering) -> bool {
        let own = &self.version;
        if order.is_lt() {
            return false;
        }
        if own.major > 0 || self.minor_open {
            return version.major == own.major;
        }
        if version.major > 0 {
            return false;
        }
        if own.minor > 0 || self.patch_open {
            return version.minor == own.minor;
        }
        version.minor == 0 && version.patch == own.patch
    }
}
