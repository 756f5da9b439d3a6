use super::*;

#[test]
fn addresses_are_read_and_printed() {
    let table = [
        ("etcd://a:1", "etcd://a:1", ""),
        ("etcd://a", "etcd://a:2379", ""),
        ("etcd://a:80", "etcd://a:80", ""),
        ("etcd://a:1,b,[::1]:3", "etcd://a:1,b:2379,[::1]:3", ""),
        ("etcd://127.0.0.1:2379/", "etcd://127.0.0.1:2379", ""),
        ("etcd://a:1/shop", "etcd://a:1/shop", "shop/"),
        ("etcd://a:1//teams/shop-1/", "etcd://a:1/teams/shop-1", "teams/shop-1/"),
    ];
    for (text, printed, prefix) in table {
        let address: EtcdAddress = text.parse().unwrap();
        assert_eq!((address.to_string().as_str(), address.prefix()), (printed, prefix), "{text}");
        assert_eq!(printed.parse::<EtcdAddress>().unwrap(), address);
    }
}

#[test]
fn what_is_no_address_is_said_without_passwords() {
    let bad = ["", "etcd://", "etcd:///x", "http://a:1", "etcd://a:x", "etcd://a:1,,b", "etcd://a:99999", "etcd://a b"];
    let prefixes = ["etcd://a/x y", "etcd://a/x//y", "etcd://a/ä", "etcd://a/?q=1", "etcd://a#f"];
    for text in bad.into_iter().chain(prefixes) {
        let error = text.parse::<EtcdAddress>().unwrap_err().to_string();
        assert!(error.contains("etcd://HOST:PORT"), "{error}");
    }
    let many = vec!["a"; 17].join(",");
    assert!(format!("etcd://{many}").parse::<EtcdAddress>().is_err());
    let error = "etcd://root:secret@a:1".parse::<EtcdAddress>().unwrap_err().to_string();
    assert!(error.contains(USER) && !error.contains("secret"), "{error}");
}

#[test]
fn members_may_be_urls() {
    let address = EtcdAddress::of_members(["http://a:1", "b:2", "http://c:3/"]).unwrap();
    assert_eq!(address.members(), ["a:1", "b:2", "c:3"]);
    let address = EtcdAddress::of_members(["https://a:1"]).unwrap().under("x").unwrap();
    assert_eq!((address.tls, address.prefix()), (true, "x/"));
    assert!(EtcdOptions::default().check(&address).unwrap_err().contains(CA_FILE));
    let empty: [&str; 0] = [];
    assert!(EtcdAddress::of_members(empty).is_err());
    let mixed = EtcdAddress::of_members(["https://a:1", "http://b:1"]).unwrap_err().to_string();
    assert!(mixed.contains("for all"), "{mixed}");
    let secret = EtcdAddress::of_members(["http://root:secret@a:1"]).unwrap_err().to_string();
    assert!(!secret.contains("secret"), "{secret}");
}

#[test]
fn options_come_from_variables_and_never_show_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    for (name, text) in [("ca", "authority"), ("cert", "certificate"), ("key", "private"), ("password", "s3cret\n")] {
        std::fs::write(path(name), text).unwrap();
    }
    let all = [
        (CA_FILE, path("ca")),
        (CERT_FILE, path("cert")),
        (KEY_FILE, path("key")),
        (USER, "slipway".to_owned()),
        (PASSWORD_FILE, path("password")),
    ];
    let options = EtcdOptions::from_environment(&all.clone().into_iter().collect()).unwrap();
    assert_eq!(options.authorities.as_deref(), Some("authority".as_bytes()));
    assert_eq!(options.user, Some(("slipway".to_owned(), "s3cret".to_owned())));
    let shown = format!("{options:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("private"), "{shown}");
    for missing in [CA_FILE, CERT_FILE, KEY_FILE, USER, PASSWORD_FILE] {
        let rest = all.iter().filter(|(name, _)| *name != missing).cloned();
        let error = EtcdOptions::from_environment(&rest.collect()).unwrap_err();
        assert!(error.contains("SLIPWAY_ETCD_"), "{error}");
    }
    let absent = [(CA_FILE, path("absent"))].into_iter().collect();
    assert!(EtcdOptions::from_environment(&absent).unwrap_err().contains("absent"));
    assert_eq!(EtcdOptions::from_environment(&Environment::default()).unwrap(), EtcdOptions::default());
}
