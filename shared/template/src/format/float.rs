//! Floating-point numbers as `strconv.FormatFloat` writes them.

use crate::value::FloatKind;

/// More digits than these are zeros in any number of 64 bits.
const EXACT_DIGITS: usize = 1100;

/// Decimal digits without sign: `0.DIGITS × 10^point`.
struct Decimal {
    digits: Vec<u8>,
    point: i32,
}

/// The number by the verb (`e E f g G b x X`), with so many digits, or with as few as tell it from its neighbours.
pub fn format_float(number: f64, kind: FloatKind, verb: u8, precision: Option<usize>) -> Vec<u8> {
    if number.is_nan() {
        return b"NaN".to_vec();
    }
    if number.is_infinite() {
        return if number > 0.0 { b"+Inf".to_vec() } else { b"-Inf".to_vec() };
    }
    let mut out = Vec::new();
    if number.is_sign_negative() {
        out.push(b'-');
    }
    let size = number.abs();
    match verb {
        b'b' => write_binary(&mut out, size, kind),
        b'x' | b'X' => write_hexadecimal(&mut out, size, kind, verb, precision),
        b'e' | b'E' => {
            let decimal = match precision {
                Some(precision) => rounded(size, precision.saturating_add(1)),
                None => shortest(size, kind),
            };
            let after = precision.unwrap_or(decimal.digits.len().saturating_sub(1));
            write_exponent(&mut out, &decimal, after, verb);
        }
        b'f' => match precision {
            Some(precision) => {
                out.extend_from_slice(format!("{size:.*}", precision.min(EXACT_DIGITS)).as_bytes());
                out.resize(out.len() + precision.saturating_sub(EXACT_DIGITS), b'0');
            }
            None => {
                let decimal = shortest(size, kind);
                let after = usize::try_from(decimal.digits.len() as i64 - i64::from(decimal.point)).unwrap_or(0);
                write_plain(&mut out, &decimal, after);
            }
        },
        _ => write_general(&mut out, size, kind, verb, precision),
    }
    out
}

fn write_general(out: &mut Vec<u8>, size: f64, kind: FloatKind, verb: u8, precision: Option<usize>) {
    let mut decimal = match precision {
        Some(precision) => rounded(size, precision.max(1)),
        None => shortest(size, kind),
    };
    let wanted = precision.map_or(decimal.digits.len(), |precision| precision.max(1));
    while decimal.digits.last() == Some(&b'0') {
        decimal.digits.pop();
    }
    if decimal.digits.is_empty() {
        decimal.point = 0;
    }
    let count = decimal.digits.len();
    let threshold = match precision {
        None => 6,
        Some(_) if wanted > count && count as i64 >= i64::from(decimal.point) => count,
        Some(_) => wanted,
    };
    let exponent = i64::from(decimal.point) - 1;
    if exponent < -4 || exponent >= i64::try_from(threshold).unwrap_or(i64::MAX) {
        let after = wanted.min(count.max(1)) - 1;
        write_exponent(out, &decimal, after, verb - 2);
    } else {
        let after = usize::try_from(count as i64 - i64::from(decimal.point)).unwrap_or(0);
        write_plain(out, &decimal, after);
    }
}

/// `d.ddde±dd`.
fn write_exponent(out: &mut Vec<u8>, decimal: &Decimal, after: usize, letter: u8) {
    out.push(decimal.digits.first().copied().unwrap_or(b'0'));
    if after > 0 {
        out.push(b'.');
        let tail = decimal.digits.get(1..).unwrap_or_default();
        let shown = tail.len().min(after);
        out.extend_from_slice(&tail[..shown]);
        out.resize(out.len() + after - shown, b'0');
    }
    let exponent = if decimal.digits.iter().all(|digit| *digit == b'0') { 0 } else { decimal.point - 1 };
    let sign = if exponent < 0 { '-' } else { '+' };
    out.extend_from_slice(format!("{}{sign}{:02}", char::from(letter), exponent.abs()).as_bytes());
}

/// `ddd.ddd`.
fn write_plain(out: &mut Vec<u8>, decimal: &Decimal, after: usize) {
    let digit = |place: i64| usize::try_from(place).ok().and_then(|at| decimal.digits.get(at)).copied().unwrap_or(b'0');
    let point = i64::from(decimal.point);
    if point > 0 {
        out.extend((0..point).map(digit));
    } else {
        out.push(b'0');
    }
    if after > 0 {
        out.push(b'.');
        out.extend((0..after as i64).map(|place| digit(point + place)));
    }
}

/// As few digits as tell the number from its neighbours of the same type.
fn shortest(size: f64, kind: FloatKind) -> Decimal {
    let text = match kind {
        FloatKind::Float32 => format!("{:e}", size as f32),
        FloatKind::Float64 => format!("{size:e}"),
    };
    decimal_of(&text)
}

/// Exactly so many digits, the rest rounded to even.
fn rounded(size: f64, digits: usize) -> Decimal {
    let asked = digits.clamp(1, EXACT_DIGITS);
    let mut decimal = decimal_of(&format!("{size:.*e}", asked - 1));
    decimal.digits.resize(digits.max(1), b'0');
    decimal
}

/// Reads back `d.ddde±d`.
fn decimal_of(text: &str) -> Decimal {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    Decimal { digits, point: exponent.parse::<i32>().unwrap_or(0).saturating_add(1) }
}

/// Mantissa, exponent of its lowest bit, and the width of the mantissa without the leading bit.
fn parts(size: f64, kind: FloatKind) -> (u64, i32, i32) {
    let (bits, width, exponent_bits, bias) = match kind {
        FloatKind::Float32 => (u64::from((size as f32).to_bits()), 23, 8, 127),
        FloatKind::Float64 => (size.to_bits(), 52, 11, 1023),
    };
    let fraction = bits & ((1 << width) - 1);
    let raw = i32::try_from((bits >> width) & ((1 << exponent_bits) - 1)).unwrap_or(0);
    if raw == 0 { (fraction, 1 - bias - width, width) } else { (fraction | (1 << width), raw - bias - width, width) }
}

/// `MANTISSAp±EXPONENT`.
fn write_binary(out: &mut Vec<u8>, size: f64, kind: FloatKind) {
    let (mantissa, exponent, _) = parts(size, kind);
    out.extend_from_slice(format!("{mantissa}p{exponent:+}").as_bytes());
}

/// `0x1.hhhp±dd`.
fn write_hexadecimal(out: &mut Vec<u8>, size: f64, kind: FloatKind, verb: u8, precision: Option<usize>) {
    const LEAD: u32 = 60;
    let (mantissa, exponent, width) = parts(size, kind);
    let mut exponent = if mantissa == 0 { 0 } else { exponent + width };
    let mut bits = mantissa << (LEAD - width.unsigned_abs());
    while bits != 0 && bits & (1 << LEAD) == 0 {
        bits <<= 1;
        exponent -= 1;
    }
    if let Some(precision) = precision.filter(|precision| *precision < 15) {
        let dropped = LEAD - 4 * precision as u32;
        let rest = bits & ((1 << dropped) - 1);
        bits >>= dropped;
        let half = 1_u64 << (dropped - 1);
        if rest > half || (rest == half && bits & 1 == 1) {
            bits += 1;
        }
        bits <<= dropped;
        if bits & (1 << (LEAD + 1)) != 0 {
            bits >>= 1;
            exponent += 1;
        }
    }
    let digits: &[u8; 16] = if verb == b'X' { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    out.extend_from_slice(&[b'0', verb, b'0' + ((bits >> LEAD) & 1) as u8]);
    let mut fraction = bits << 4;
    let count = precision.unwrap_or_else(|| 16 - (fraction.trailing_zeros() / 4) as usize);
    if count > 0 {
        out.push(b'.');
    }
    for _ in 0..count {
        out.push(digits[((fraction >> LEAD) & 15) as usize]);
        fraction <<= 4;
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    let letter = if verb == b'X' { 'P' } else { 'p' };
    out.extend_from_slice(format!("{letter}{sign}{:02}", exponent.abs()).as_bytes());
}
