//! Functions whose results are new every time: what they give is checked by its form.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use slipway_template::sprig::{self, World};
use slipway_template::{Limits, TemplateSet, Value};

/// A clock at one second past 2020-09-13 12:26:39, and bytes that look random and differ from call to call.
struct Seeded(AtomicU64);

impl World for Seeded {
    fn now(&self) -> (i64, u32) {
        (1_600_000_000, 5)
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let state = self.0.load(Ordering::Relaxed).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.0.store(state, Ordering::Relaxed);
            *byte = (state >> 56) as u8;
        }
    }
}

fn render(template: &str) -> Result<String, String> {
    let functions = sprig::functions(Arc::new(Seeded(AtomicU64::new(7))));
    let limits = Limits { memory_bytes: 16 << 20, steps: 2_000_000, ..Limits::default() };
    let mut set = TemplateSet::new(functions, limits);
    set.parse("t", template).map_err(|error| error.to_string())?;
    set.execute("t", Value::Nil).map(|rendered| rendered.text).map_err(|error| error.to_string())
}

#[test]
fn results_have_the_form_that_sprig_gives() {
    let table = [
        (r#"{{ randAlpha 40 }}"#, "^[a-zA-Z]{40}$"),
        (r#"{{ randAlphaNum 40 }}"#, "^[a-zA-Z0-9]{40}$"),
        (r#"{{ randNumeric 40 }}"#, "^[0-9]{40}$"),
        (r#"{{ randAscii 40 }}"#, "^[ -~]{40}$"),
        (r#"{{ randBytes 16 }}"#, "^[A-Za-z0-9+/]{22}==$"),
        (r#"{{ randInt 5 8 }}"#, "^[567]$"),
        (r#"{{ uuidv4 }}"#, "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"),
        (r#"{{ shuffle "abc" }}"#, "^(abc|acb|bac|bca|cab|cba)$"),
        (r#"{{ bcrypt "password" }}"#, r"^\$2a\$10\$[./A-Za-z0-9]{53}$"),
        (r#"{{ htpasswd "user" "password" }}"#, r"^user:\$2a\$10\$[./A-Za-z0-9]{53}$"),
        (r#"{{ bcrypt (repeat 73 "x") }}"#, "password length exceeds 72 bytes"),
        (r#"{{ encryptAES "key" "text" }}"#, "^[A-Za-z0-9+/]{43}=$"),
        (r#"{{ now }}"#, r"^2020-09-13 12:26:40.000000005 \+0000 UTC$"),
        (r#"{{ now | date "2006-01-02" }}"#, "^2020-09-13$"),
        (r#"{{ date "15:04" "not a date" }}"#, "^12:26$"),
        (r#"{{ ago (now | dateModify "-1h30m") }}"#, "^1h30m0s$"),
        (r#"{{ ago 1599999995 }}"#, "^5s$"),
        (r#"{{ durationRound (now | dateModify "-49h") }}"#, "^2d$"),
        (r#"{{ now.Year }} {{ now.Month }} {{ now.Unix }}"#, "^2020 September 1600000000$"),
    ];
    for (template, form) in table {
        let text = render(template).unwrap_or_else(|error| panic!("{template}: {error}"));
        assert!(regex::Regex::new(form).expect("a well-formed case").is_match(&text), "{template} gave {text:?}");
    }
}

#[test]
fn what_is_refused_says_so() {
    let error = render(r#"{{ getHostByName "localhost" }}"#).unwrap_err();
    assert!(error.contains("getHostByName is not allowed"), "{error}");
    let key = "-----BEGIN EC PRIVATE KEY-----\\nMCcCAQEEGQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxigBwYFK4EEACE=\\n\
               -----END EC PRIVATE KEY-----\\n";
    let error = render(&format!("{{{{ genCAWithKey \"x\" 1 \"{key}\" }}}}")).unwrap_err();
    assert!(error.ends_with("not supported yet: keys on the curve P-224"), "{error}");
}

#[test]
fn limits_hold_for_what_functions_make() {
    let greedy = [
        r#"{{ repeat 9223372036854775807 "x" }}"#,
        r#"{{ repeat 5000000000 "x" }}"#,
        "{{ until 9000000000000 }}",
        "{{ seq 1 9000000000000 }}",
        r#"{{ indent 5000000000 "x" }}"#,
        r#"{{ randAlpha 9000000000 }}"#,
        r#"{{ $x := "xxxxxxxxxxxxxxxx" }}{{ range until 40 }}{{ $x = replace "x" "xx" $x }}{{ end }}"#,
        r#"{{ $x := "xxxxxxxxxxxxxxxx" }}{{ range until 40 }}{{ $x = regexReplaceAll "x" $x "yx" | replace "y" "x" }}{{ end }}"#,
        r#"{{ $l := list 1 }}{{ range until 40 }}{{ $l = concat $l $l }}{{ end }}"#,
        r#"{{ range until 100 }}{{ $k := genPrivateKey "dsa" }}{{ end }}"#,
        r#"{{ $d := dict }}{{ $_ := set $d "self" $d }}{{ deepCopy $d }}"#,
        r#"{{ $d := dict }}{{ $_ := set $d "self" $d }}{{ mustToJson $d }}"#,
    ];
    for template in greedy {
        let error = render(template).expect_err(template);
        let words = ["limit", "cycle", "overflow"];
        assert!(words.iter().any(|word| error.contains(word)), "{template}: {error}");
    }
}
