use super::*;

const SECRET: &[u8] = b"s3cr3t/Tok en+9'quoted\"";

fn masks(values: &[&[u8]]) -> Masks {
    let mut secrets = Secrets::none();
    values.iter().for_each(|value| secrets.add("x", value.to_vec()));
    Masks::of(&secrets)
}

/// What comes out of a text, whole and byte by byte: it must be the same.
fn clean(masks: &Masks, text: &[u8]) -> String {
    let whole = masks.clean(text);
    let mut scrubber = Scrubber::new(masks.clone(), None);
    let mut pieces: Vec<u8> = text.chunks(1).flat_map(|byte| scrubber.push(byte)).collect();
    pieces.extend(scrubber.finish());
    assert_eq!(whole, pieces, "{}", String::from_utf8_lossy(text));
    String::from_utf8(whole).expect("it is text")
}

/// Base64 of GNU coreutils, which wraps lines at `width` unless it is zero.
fn base64(text: &[u8], width: usize) -> Vec<u8> {
    let mut bits = text.iter().flat_map(|byte| (0..8).rev().map(move |bit| (byte >> bit) & 1)).collect::<Vec<_>>();
    bits.resize(bits.len().next_multiple_of(6), 0);
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let number = |bits: &[u8]| bits.iter().fold(0_usize, |number, bit| (number << 1) | usize::from(*bit));
    let mut encoded: Vec<u8> = bits.chunks(6).map(|six| digits[number(six)]).collect();
    encoded.resize(encoded.len().next_multiple_of(4), b'=');
    match width {
        0 => encoded,
        _ => encoded.chunks(width).collect::<Vec<_>>().join(b"\n".as_slice()),
    }
}

#[test]
fn a_value_is_masked_in_all_its_forms() {
    let masks = masks(&[SECRET]);
    for form in [
        r#"s3cr3t/Tok en+9'quoted""#,
        "s3cr3t%2FTok%20en%2B9%27quoted%22",
        "s3cr3t%2fTok%20en%2b9%27quoted%22",
        "s3cr3t%2FTok+en%2B9%27quoted%22",
        r#"s3cr3t/Tok en+9'quoted\""#,
        r#"s3cr3t/Tok en+9'\''quoted""#,
    ] {
        assert_eq!(clean(&masks, format!("a {form} z\n").as_bytes()), "a *** z\n");
    }
    assert_eq!(clean(&masks, b"s3cr3t/Tok en+9 and no more\n"), "s3cr3t/Tok en+9 and no more\n");
}

#[test]
fn base64_is_masked_wherever_the_value_stands_and_lines_end() {
    let masks = masks(&[SECRET]);
    let core = String::from_utf8(base64(&SECRET[6..18], 0)).expect("text");
    for before in ["", "u", "us", "use", "user:", "a much longer text before the secret itself: "] {
        for after in ["", "\n", "!", "more of it"] {
            let text = [before.as_bytes(), SECRET, after.as_bytes()].concat();
            for width in [0, 64, 76, 20, 19, 8] {
                let encoded = base64(&text, width);
                let clean = clean(&masks, &[encoded.as_slice(), b"\n"].concat()).replace('\n', "");
                assert!(!clean.contains(&core), "{before} {after} {width}: {clean}");
                // A line end near the beginning shows a few digits, and nothing of the rest.
                let shown = clean.len().saturating_sub((before.len() + after.len()).div_ceil(3) * 4);
                assert!(clean.contains("***") && shown <= 18, "{before} {after} {width}: {clean}");
            }
        }
    }
}

#[test]
fn lines_of_a_value_are_masked_one_by_one() {
    let key = b"-----BEGIN KEY-----\nAAAABBBBCCCC\nDD\n-----END KEY-----\n";
    let masks = masks(&[key]);
    assert_eq!(clean(&masks, key), "***\n***\nDD\n***\n");
    assert_eq!(clean(&masks, b"x AAAABBBBCCCC\r\n"), "x ***\r\n");
    assert_eq!(
        clean(&masks, br#"{"k": "-----BEGIN KEY-----\nAAAABBBBCCCC\nDD\n-----END KEY-----"}"#),
        r#"{"k": "***"}"#
    );
    assert_eq!(clean(&self::masks(&[b"a\nb\nc"]), b"a\nb\nc\nb\n"), "***\nb\n");
}

#[test]
fn short_values_are_shown_and_longer_ones_win() {
    assert!(masks(&[b"abc", b" a \n", b""]).is_empty());
    let masks = masks(&[b"hush", b"hushhush!"]);
    assert_eq!(clean(&masks, b"hush hushhush! hushhus"), "*** *** ***hus");
    assert_eq!(clean(&masks, b"hu"), "hu");
}

#[test]
fn a_long_value_is_masked_piece_by_piece() {
    let long: Vec<u8> =
        (0..20_000_u32).map(|n| b"abcdefghijklmnopqrstuvwxyz0123456789"[(n * n % 36) as usize]).collect();
    let masks = masks(&[&long]);
    assert_eq!(clean(&masks, &[b"<".as_slice(), &long, b">"].concat()), "<***>");
    let encoded = clean(&masks, &base64(&long, 76));
    assert!(encoded.len() < 100, "{encoded}");
}

#[test]
fn markers_pass_whatever_is_secret() {
    let masks = masks(&[b"12345", b"tok:"]);
    let mut scrubber = Scrubber::new(masks, Some(Marker::new("tok")));
    let marked = b"\x1etok:12345\x1e\n12345 tok:\n";
    let clean: Vec<u8> = marked.chunks(3).flat_map(|bytes| scrubber.push(bytes)).collect();
    assert_eq!(clean, b"\x1etok:12345\x1e\n*** ***\n");
}
