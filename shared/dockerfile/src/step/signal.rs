//! Names of signals, as `STOPSIGNAL` may have them.

const NAMES: [&str; 37] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
    "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "UNUSED", "URG",
    "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];
/// Signals between `RTMIN` and `RTMAX`.
const REAL_TIME: u32 = 30;

/// Whether it names a signal, in any case and with or without `SIG`, or is the number of one.
pub(super) fn is_known(text: &str) -> bool {
    if let Ok(number) = text.parse::<u32>() {
        return number != 0;
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = name.strip_prefix("RTMIN+").or_else(|| name.strip_prefix("RTMAX-"));
    match offset {
        Some(offset) => offset.parse::<u32>().is_ok_and(|number| (1..=REAL_TIME).contains(&number)),
        None => NAMES.contains(&name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known() {
        let known = ["SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX-14", "sigquit"].map(is_known);
        assert_eq!(known, [true; 6]);
        assert_eq!(["", "0", "-1", "SIGNONE", "RTMIN+31", "SIG"].map(is_known), [false; 6]);
    }
}
