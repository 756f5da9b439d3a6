//! TLS and users.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use etcd_client::{Client, Permission, PermissionType};
use slipway_kv::{
    Do, EtcdAddress, EtcdKv, EtcdOptions, Kv, KvError, Outcome, Prefixed, Range, Session, Txn, Watched, conformance,
    once,
};
use slipway_parts::{Etcd, Part, Server, etcd::own_address, require};
use slipway_process::child;

use crate::part::{answers, first, handle, open, read, soon};

fn openssl(directory: &Path, arguments: &str) {
    let output = child::command("openssl").args(arguments.split(' ')).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Two authorities; a certificate of the first for the server at an address, one of each for a client.
fn certificates(directory: &Path, address: Ipv4Addr) {
    std::fs::write(directory.join("server.ext"), format!("subjectAltName=IP:{address}\n")).unwrap();
    std::fs::write(directory.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    for authority in ["ca", "stranger"] {
        openssl(
            directory,
            &format!(
                "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={authority} -keyout {authority}.key -out {authority}.pem"
            ),
        );
    }
    for (name, authority, extension) in
        [("server", "ca", "server"), ("client", "ca", "client"), ("other", "stranger", "client")]
    {
        openssl(directory, &format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        openssl(
            directory,
            &format!(
                "x509 -req -days 2 -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -extfile {extension}.ext -out {name}.pem"
            ),
        );
    }
}

fn tls(directory: &Path, authority: &str, identity: Option<&str>) -> EtcdOptions {
    let pair = |name: &str| (read(directory, &format!("{name}.pem")), read(directory, &format!("{name}.key")));
    EtcdOptions {
        authorities: Some(read(directory, &format!("{authority}.pem"))),
        identity: identity.map(pair),
        // A busy machine may need seconds for a handshake or a write.
        call_timeout: Duration::from_secs(10),
        ..EtcdOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_with_tls_conforms_and_strangers_stay_out() {
    if !require(&[Part::Openssl, Part::Etcd]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    // Nobody else is there, and so nobody takes the port before the server does.
    let own = own_address();
    certificates(directory.path(), own);
    let path = |name: &str| directory.path().join(name).display().to_string();
    let port = TcpListener::bind((own, 0)).unwrap().local_addr().unwrap().port();
    let (member, url) = (format!("{own}:{port}"), format!("https://{own}:{port}"));
    let mut program = child::command("etcd");
    program.args(["--data-dir", &path("data"), "--listen-client-urls", &url, "--advertise-client-urls", &url]);
    program.args(["--listen-peer-urls", "http://127.0.0.1:0", "--client-cert-auth", "--trusted-ca-file"]);
    program.args([&path("ca.pem"), "--cert-file", &path("server.pem"), "--key-file", &path("server.key")]);
    let _etcd = Server::start(&mut program, &directory.path().join("log"));
    let (address, files): (EtcdAddress, _) = (format!("etcd://{member}").parse().unwrap(), directory.path());
    let kv = open(&address, &tls(files, "ca", Some("client"))).await;
    conformance::check_all(kv.clone(), kv, "shop").await;
    let https = EtcdAddress::of_members([url.as_str()]).unwrap();
    open(&https, &tls(files, "ca", Some("client"))).await;
    for (authority, identity) in [("ca", None), ("ca", Some("other")), ("stranger", Some("client"))] {
        let options = EtcdOptions { call_timeout: Duration::from_secs(2), ..tls(files, authority, identity) };
        let kv = EtcdKv::new(&address, &options).unwrap();
        let error = kv.range(&Range::key("shop")).await.unwrap_err();
        assert!(matches!(error, KvError::Unavailable(_)), "{authority} {identity:?}: {error}");
    }
    let plain = EtcdKv::new(&address, &EtcdOptions::default()).unwrap();
    assert!(plain.range(&Range::key("shop")).await.is_err());
}

async fn make_users(etcd: &Etcd) {
    answers(&*handle(etcd).await).await;
    let mut client = Client::connect(etcd.endpoints(), None).await.unwrap();
    client.user_add("root", "root-password", None).await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.user_add("slipway", "s3cret", None).await.unwrap();
    client.role_add("slipway").await.unwrap();
    let all = Permission::new(PermissionType::Readwrite, "slipway/").with_prefix();
    client.role_grant_permission("slipway", all).await.unwrap();
    client.user_grant_role("slipway", "slipway").await.unwrap();
    client.auth_enable().await.unwrap();
}

fn user(name: &str, password: &str) -> EtcdOptions {
    EtcdOptions { user: Some((name.to_owned(), password.to_owned())), ..EtcdOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_works_within_his_prefix_and_tokens_that_run_out_are_renewed() {
    if !require(&[Part::Openssl, Part::Etcd]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    openssl(directory.path(), "genrsa -out jwt.key 2048");
    openssl(directory.path(), "rsa -in jwt.key -pubout -out jwt.pub");
    let path = |name: &str| directory.path().join(name).display().to_string();
    // A token lives for a second: every check below outlives several.
    let jwt = format!("jwt,pub-key={},priv-key={},sign-method=RS256,ttl=1s", path("jwt.pub"), path("jwt.key"));
    let Some(etcd) = Etcd::with(1, &["--auth-token", &jwt]) else { return };
    make_users(&etcd).await;
    let address: EtcdAddress = format!("etcd://{}/slipway", first(&etcd)).parse().unwrap();
    let kv = EtcdKv::open(&address, &user("slipway", "s3cret")).await.unwrap();
    conformance::check_all(kv.clone(), kv.clone(), "shop").await;
    let mut watched = Watched::open(kv.clone(), "watched/").await.unwrap();
    // Renewed every three seconds, which is before the key vanishes, and after its token has run out.
    let session = Session::open(kv.clone(), Duration::from_secs(9)).await.unwrap();
    let lease = kv.grant(Duration::from_secs(4)).await.unwrap().lease;
    let put = |key: &str, lease| Txn { when: vec![], then: vec![Do::Put(key.to_owned(), vec![], lease)] };
    once(&*kv, put("watched/short", Some(lease))).await.unwrap();
    soon("a key comes", watched.next()).await.unwrap();
    soon("a key goes", watched.next()).await.unwrap();
    assert!(matches!(once(&*kv, put("watched/late", None)).await, Ok(Outcome::Done(_))));
    soon("a key comes", watched.next()).await.unwrap();
    assert!(!session.is_lost());

    let elsewhere = EtcdKv::new(&address, &user("slipway", "s3cret")).unwrap();
    let elsewhere = Prefixed::new(Arc::new(elsewhere), "elsewhere/");
    let denied = once(&elsewhere, put("key", None)).await.unwrap_err();
    assert!(matches!(denied, KvError::Denied(_)), "{denied}");
    let denied = Watched::open(Arc::new(elsewhere), "key").await.err().unwrap();
    assert!(matches!(denied, KvError::Denied(_)), "{denied}");
    for options in [user("slipway", "wrong"), user("nobody", "s3cret"), EtcdOptions::default()] {
        let Err(error) = EtcdKv::open(&address, &options).await else { panic!("{options:?} is let in") };
        assert!(matches!(error, KvError::Denied(_)), "{options:?}: {error}");
        assert!(!error.to_string().contains("s3cret") && !error.to_string().contains("wrong"), "{error}");
    }
}

#[test]
fn what_options_hold_is_never_shown() {
    let shown = format!("{:?}", user("slipway", "s3cret"));
    assert!(shown.contains("slipway") && !shown.contains("s3cret"), "{shown}");
}
