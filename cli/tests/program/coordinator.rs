//! `slipway coordinator`: how it refuses to start, and how it starts and ends.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::Stdio,
};

use slipway_process::child::command;

use super::harness::Sandbox;

#[test]
fn what_would_let_everybody_in_is_refused() {
    let sandbox = Sandbox::new();
    let tokens = format!("submit:ci:{}\n", "0".repeat(64));
    sandbox.write("tokens", &tokens);
    sandbox.write("broken", "submit:ci\n");
    let start = ["coordinator", "--data-dir=data"];
    for (arguments, text) in [
        (&["--etcd=memory", "--no-auth", "--listen=0.0.0.0:0"][..], "--no-auth lets everybody call"),
        (&["--etcd=memory", "--tokens-file=tokens", "--listen=0.0.0.0:0"], "is for trials on one machine"),
        (&["--etcd=memory"], "say who may call"),
        (&["--etcd=memory", "--no-auth", "--tokens-file=tokens"], "contradict each other"),
        (&["--etcd=memory", "--tokens-file=broken"], "broken:1: it has fewer than three parts"),
        (&["--etcd=memory", "--tokens-file=absent"], "read the tokens file"),
        (&["--no-auth"], "--etcd is missing"),
        (&["--no-auth", "--etcd=http://a:1,https://b:2"], "for all of its members or for none"),
        (&["--etcd=memory", "--no-auth", "--listen=nowhere"], "not an address with a port"),
        (&["--etcd=memory", "--no-auth", "--tls-cert=x"], "--tls-cert needs --tls-key"),
        (&["--etcd=memory", "--no-auth", "--repo=x"], "--repo"),
    ] {
        sandbox.run(&[&start[..], arguments].concat()).ends(2, &[text]);
    }
}

#[test]
fn it_listens_says_so_in_json_and_ends_when_it_is_told() {
    let sandbox = Sandbox::new();
    let arguments =
        ["coordinator", "--data-dir=data", "--etcd=memory", "--no-auth", "--listen=127.0.0.1:0", "--log-debug"];
    let mut program = sandbox.command(&arguments).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut log = BufReader::new(program.stderr.take().expect("a pipe")).lines();
    let mut objects = log.by_ref().map(|line| {
        let line = line.expect("a line");
        serde_json::from_str::<serde_json::Value>(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    let listening = objects.find(|object| object["message"] == "listening").expect("it listens");
    let address = listening["address"].as_str().expect("an address").to_owned();
    assert!(listening["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{listening}");
    assert_eq!(listening["level"], "info");
    let mut call = TcpStream::connect(&address).expect("it answers");
    call.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("it listens");
    let mut answer = String::new();
    call.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    let second = sandbox.run(&["coordinator", "--data-dir=data", "--etcd=memory", "--no-auth", "--listen=127.0.0.1:0"]);
    second.ends(1, &["belongs to another coordinator that runs"]);
    let told = command("kill").args(["-TERM", &program.id().to_string()]).status().expect("kill runs");
    assert!(told.success());
    assert!(objects.any(|object| object["message"] == "giving up leadership" || object["message"] == "ending"));
    drop(objects);
    assert_eq!(program.wait().expect("it ends").code(), Some(0));
}
