//! A filter of system calls as the kernel runs it: a search for the range that a number lies in.
//!
//! The kernel translates a filter whenever it is set, and tries it for every call there is. One that compares number by number,
//! some 400 times, took a tenth of what a small command takes.

use seccompiler::{BpfProgram, sock_filter};

/// Codes of instructions (`linux/bpf_common.h`).
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;
/// Where things are in what a filter is shown (`struct seccomp_data`, on machines that write the low half first).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_LOW: u32 = 16;
const FIRST_HIGH: u32 = 20;
/// Answers (`linux/seccomp.h`).
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL: u32 = 0x8000_0000;
/// This machine (`linux/audit.h`).
#[cfg(target_arch = "x86_64")]
const HERE: u32 = 0xc000_003e;
/// This machine.
#[cfg(target_arch = "aarch64")]
const HERE: u32 = 0xc000_00b7;
/// This machine.
#[cfg(target_arch = "riscv64")]
const HERE: u32 = 0xc000_00f3;

/// What becomes of calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    Allowed,
    /// They fail with this error.
    Fails(u16),
    /// They are allowed when the first argument has none of these bits, else they fail with this error.
    Without(u32, u16),
    /// They are allowed when the first argument is one of these, else they fail with this error.
    OneOf(Vec<u32>, u16),
}

/// The program for calls with their answers, sorted by number, each for its number and those after it. Calls of another
/// architecture end the process. `None` when it is too long to be jumped over.
pub(super) fn program(ranges: &[(u32, Answer)]) -> Option<BpfProgram> {
    let mut program =
        vec![plain(LOAD, ARCHITECTURE), jump(JUMP_EQUAL, HERE, 1, 0), plain(RETURN, KILL), plain(LOAD, NUMBER)];
    program.extend(search(ranges)?);
    Some(program)
}

fn search(ranges: &[(u32, Answer)]) -> Option<BpfProgram> {
    if let [(_, answer)] = ranges {
        return give(answer);
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let (first, _) = upper.first()?;
    let (lower, upper) = (search(lower)?, search(upper)?);
    let over = u8::try_from(lower.len()).ok()?;
    let first = jump(JUMP_GREATER_OR_EQUAL, *first, over, 0);
    Some(std::iter::once(first).chain(lower).chain(upper).collect())
}

fn give(answer: &Answer) -> Option<BpfProgram> {
    let failure = |error: &u16| plain(RETURN, ERRNO | u32::from(*error));
    let allowed = plain(RETURN, ALLOW);
    Some(match answer {
        Answer::Allowed => vec![allowed],
        Answer::Fails(error) => vec![failure(error)],
        Answer::Without(bits, error) => {
            vec![plain(LOAD, FIRST_LOW), plain(AND, *bits), jump(JUMP_EQUAL, 0, 0, 1), allowed, failure(error)]
        }
        Answer::OneOf(values, error) => {
            let count = u8::try_from(values.len()).ok()?;
            // Over the second load, the comparisons and the failure.
            let mut program = vec![plain(LOAD, FIRST_HIGH), jump(JUMP_EQUAL, 0, 0, count.checked_add(1)?)];
            program.push(plain(LOAD, FIRST_LOW));
            program.extend((0..count).zip(values).map(|(place, value)| jump(JUMP_EQUAL, *value, count - place, 0)));
            program.extend([failure(error), allowed]);
            program
        }
    })
}

fn plain(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// What a program answers to a call, as the kernel would run it.
#[cfg(test)]
pub(super) fn answer(program: &[sock_filter], architecture: u32, number: u32, first: u64) -> u32 {
    let (mut at, mut value) = (0, 0_u32);
    loop {
        let sock_filter { code, jt, jf, k } = program[at].clone();
        at += 1;
        let mut jump = |holds: bool| at += usize::from(if holds { jt } else { jf });
        match code {
            LOAD => {
                value = match k {
                    NUMBER => number,
                    ARCHITECTURE => architecture,
                    FIRST_LOW => u32::try_from(first & 0xffff_ffff).expect("masked"),
                    FIRST_HIGH => u32::try_from(first >> 32).expect("shifted"),
                    _ => panic!("a load of {k}"),
                }
            }
            AND => value &= k,
            JUMP_EQUAL => jump(value == k),
            JUMP_GREATER_OR_EQUAL => jump(value >= k),
            RETURN => return k,
            _ => panic!("code {code:x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO: u32 = ERRNO | 38;

    #[test]
    fn every_number_gets_the_answer_of_its_range() {
        for count in 1..60_u32 {
            let ranges: Vec<_> =
                (0..count).map(|place| (place * 3, Answer::Fails(u16::try_from(place).expect("few")))).collect();
            let program = program(&ranges).expect("a program");
            for number in 0..count * 3 {
                assert_eq!(answer(&program, HERE, number, 0), ERRNO | (number / 3), "{number} of {count}");
            }
            assert_eq!(answer(&program, HERE, u32::MAX, 0), ERRNO | (count - 1));
            assert_eq!(answer(&program, HERE ^ 1, 0, 0), KILL);
        }
    }

    #[test]
    fn arguments_count() {
        let values = vec![0, 8, 0xffff_ffff];
        let ranges = [(0, Answer::Without(0x30, 38)), (1, Answer::OneOf(values, 38)), (2, Answer::Allowed)];
        let program = program(&ranges).expect("a program");
        for (number, first, expected) in [
            (0, 0, ALLOW),
            (0, 0x0f, ALLOW),
            (0, 0x10, NO),
            (0, 0x2f, NO),
            (0, 0x1_0000_0000, ALLOW),
            (1, 0, ALLOW),
            (1, 8, ALLOW),
            (1, 0xffff_ffff, ALLOW),
            (1, 9, NO),
            (1, 0x1_0000_0008, NO),
            (2, 9, ALLOW),
        ] {
            assert_eq!(answer(&program, HERE, number, first), expected, "{number} {first:x}");
        }
    }
}
