//! What certificates hold and whether they verify, as `openssl` sees it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use slipway_process::child;
use slipway_template::sprig::{self, World};
use slipway_template::{Limits, TemplateSet, Value};

/// 2024-01-01, and bytes that differ from call to call.
struct Seeded(AtomicU64);

impl World for Seeded {
    fn now(&self) -> (i64, u32) {
        (1_704_067_200, 999)
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let state = self.0.load(Ordering::Relaxed).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.0.store(state, Ordering::Relaxed);
            *byte = (state >> 56) as u8;
        }
    }
}

fn render(template: &str) -> String {
    let mut set = TemplateSet::new(sprig::functions(Arc::new(Seeded(AtomicU64::new(3)))), Limits::default());
    set.parse("t", template).expect("it is parsed");
    set.execute("t", Value::Nil).expect("it is executed").text
}

/// `None`, said aloud, where there is no openssl.
fn openssl() -> Option<String> {
    match child::command("openssl").arg("version").output() {
        Ok(output) if output.status.success() => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(_) | Err(_) => {
            drop(std::io::Write::write_all(&mut std::io::stderr(), b"skipped: there is no openssl\n"));
            None
        }
    }
}

fn run(directory: &Path, arguments: &[&str]) -> String {
    let output = child::command("openssl").args(arguments).current_dir(directory).output().expect("openssl starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {}: {said}", arguments.join(" "));
    said
}

/// What each template writes: parts between lines of `%`.
fn write(directory: &Path, names: &[&str], text: &str) {
    let parts: Vec<&str> = text.split("%\n").collect();
    assert_eq!(parts.len(), names.len(), "{text}");
    for (name, part) in names.iter().zip(parts) {
        std::fs::write(directory.join(name), part).expect("written");
    }
}

#[test]
fn openssl_takes_new_keys() {
    if openssl().is_none() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let kinds = [
        ("rsa", "4096 bit"),
        ("ecdsa", "prime256v1"),
        ("ed25519", "ED25519 Private-Key"),
        ("dsa", "Private-Key: (2048 bit)"),
    ];
    for (kind, form) in kinds {
        write(directory.path(), &["key"], &render(&format!(r#"{{{{ genPrivateKey "{kind}" }}}}"#)));
        let shown = run(directory.path(), &["pkey", "-in", "key", "-noout", "-text", "-check"]);
        assert!(shown.contains(form) && shown.contains("Key is valid"), "{kind}: {shown}");
    }
}

#[test]
fn openssl_verifies_certificates_of_every_kind_of_key() {
    if openssl().is_none() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    run(directory.path(), &["ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", "p384"]);
    run(directory.path(), &["ecparam", "-name", "secp521r1", "-genkey", "-noout", "-out", "p521"]);
    let read = |name: &str| format!("{:?}", std::fs::read_to_string(directory.path().join(name)).expect("a key"));
    let keys = [
        r#"(genPrivateKey "ecdsa")"#.to_owned(),
        r#"(genPrivateKey "ed25519")"#.to_owned(),
        read("p384"),
        read("p521"),
        r#"(genCA "for its key" 1).Key"#.to_owned(),
    ];
    for (at, authority) in keys.iter().enumerate() {
        let own = &keys[(at + 1) % keys.len()];
        let template = format!(
            r#"{{{{ $ca := genCAWithKey "an authority" 36500 ({authority}) }}}}{{{{ $ca.Cert }}}}%
{{{{ $own := genSignedCertWithKey "a.example" (list "10.0.0.1" "::1") (list "a.example" "*.b.example") 36500 $ca ({own}) }}}}{{{{ $own.Cert }}}}%
{{{{ $own.Key }}}}"#
        );
        write(directory.path(), &["ca", "cert", "key"], &render(&template));
        let verified = run(directory.path(), &["verify", "-x509_strict", "-CAfile", "ca", "cert"]);
        assert_eq!(verified, "cert: OK\n", "{authority}");
        let of_cert = run(directory.path(), &["x509", "-in", "cert", "-noout", "-pubkey"]);
        assert_eq!(
            of_cert,
            run(directory.path(), &["pkey", "-in", "key", "-pubout"]),
            "the key is that of the certificate"
        );
    }
}

#[test]
fn certificates_say_what_sprig_has_them_say() {
    if openssl().is_none() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let template = r#"{{ $ca := genCA "an authority" 365 }}{{ $ca.Cert }}%
{{ (genSignedCert "a.example" (list "10.0.0.1" "::ffff:1.2.3.4") (list "b.example") 10 $ca).Cert }}%
{{ $self := genSelfSignedCert "" nil (list "c.example") 40000 }}{{ $self.Cert }}%
{{ $self.Key }}"#;
    write(directory.path(), &["ca", "cert", "self", "key"], &render(template));
    let show = |name: &str| run(directory.path(), &["x509", "-in", name, "-noout", "-text"]);
    let (ca, cert, own) = (show("ca"), show("cert"), show("self"));
    let usage = "X509v3 Key Usage: critical\n                Digital Signature, Key Encipherment";
    let both =
        "X509v3 Extended Key Usage: \n                TLS Web Server Authentication, TLS Web Client Authentication";
    for (shown, parts) in [
        (
            &ca,
            &["Subject: CN = an authority", "Issuer: CN = an authority", "CA:TRUE", "Certificate Sign", "(2048 bit)"][..],
        ),
        (
            &ca,
            &["Not Before: Jan  1 00:00:00 2024 GMT", "Not After : Dec 31 00:00:00 2024 GMT", "Subject Key Identifier"],
        ),
        (&cert, &["Subject: CN = a.example", "Issuer: CN = an authority", "CA:FALSE", "Authority Key Identifier"]),
        (&cert, &["DNS:b.example, IP Address:10.0.0.1, IP Address:1.2.3.4", "Not After : Jan 11 00:00:00 2024 GMT"]),
        (&own, &["Subject: \n", "Alternative Name: critical\n                DNS:c.example", "2133 GMT", "CA:FALSE"]),
    ] {
        for part in parts.iter().chain(&[usage, both, "Version: 3", "sha256WithRSAEncryption"]) {
            assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
        }
    }
    let serial = |shown: &str| shown.lines().skip_while(|line| !line.contains("Serial")).nth(1).map(str::to_owned);
    assert_ne!(serial(&ca), serial(&cert));
    let at = "1704500000";
    let verified = run(directory.path(), &["verify", "-x509_strict", "-attime", at, "-CAfile", "ca", "cert"]);
    assert_eq!(verified, "cert: OK\n");
    run(directory.path(), &["rsa", "-in", "key", "-check", "-noout"]);
}
