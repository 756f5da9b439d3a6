//! Names that commands ask the gateway for: passed on to the host's own server, which they do not reach.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use slipway_process::Tasks;
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Questions of one sandbox that are open at once; further ones are dropped, as name servers do.
const MAX_OPEN: usize = 256;
/// Longest message over UDP.
const MAX_MESSAGE: usize = 65_535;

/// Passes on until it is dropped.
#[derive(Debug)]
pub(crate) struct Forward {
    tasks: Vec<JoinHandle<Option<()>>>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Listens at a gateway.
pub(crate) async fn start(tasks: &Tasks, gateway: Ipv4Addr, port: u16, to: SocketAddr) -> io::Result<Forward> {
    Ok(pass_on(tasks, listen(gateway, port).await?, to))
}

/// Listens on one port in both ways.
async fn listen(at: Ipv4Addr, port: u16) -> io::Result<(UdpSocket, TcpListener)> {
    let asked = UdpSocket::bind((at, port)).await?;
    let called = TcpListener::bind((at, asked.local_addr()?.port())).await?;
    Ok((asked, called))
}

fn pass_on(tasks: &Tasks, (asked, called): (UdpSocket, TcpListener), to: SocketAddr) -> Forward {
    let asked = Arc::new(asked);
    let open = Arc::new(Semaphore::new(MAX_OPEN));
    let datagrams = tasks.spawn(datagrams(tasks.clone(), asked, to, Arc::clone(&open)));
    let streams = tasks.spawn(streams(tasks.clone(), called, to, open));
    Forward { tasks: vec![datagrams, streams] }
}

async fn datagrams(tasks: Tasks, asked: Arc<UdpSocket>, to: SocketAddr, open: Arc<Semaphore>) {
    let mut buffer = vec![0; MAX_MESSAGE];
    while let Ok((count, from)) = asked.recv_from(&mut buffer).await {
        let Ok(permit) = Arc::clone(&open).try_acquire_owned() else { continue };
        let (question, asked) = (buffer[..count].to_vec(), Arc::clone(&asked));
        tasks.spawn(async move {
            let _permit = permit;
            if let Ok(Ok(answer)) = timeout(PATIENCE, ask(&question, to)).await {
                // Whoever asked may be gone, and asks again otherwise.
                let _ = asked.send_to(&answer, from).await;
            }
        });
    }
}

async fn ask(question: &[u8], to: SocketAddr) -> io::Result<Vec<u8>> {
    let here: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(here).await?;
    // Only answers of that server come back.
    socket.connect(to).await?;
    socket.send(question).await?;
    let mut answer = vec![0; MAX_MESSAGE];
    let count = socket.recv(&mut answer).await?;
    answer.truncate(count);
    Ok(answer)
}

async fn streams(tasks: Tasks, called: TcpListener, to: SocketAddr, open: Arc<Semaphore>) {
    while let Ok((mut caller, _)) = called.accept().await {
        let Ok(permit) = Arc::clone(&open).try_acquire_owned() else { continue };
        tasks.spawn(async move {
            let _permit = permit;
            let pass = async {
                let mut server = TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut caller, &mut server).await
            };
            // Both ends see how it ends.
            let _ = timeout(PATIENCE, pass).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// On a port that nobody has in either way: one that is free for datagrams may be somebody's for streams.
    async fn listen_anywhere(at: Ipv4Addr) -> (UdpSocket, TcpListener) {
        for _ in 0..100 {
            match listen(at, 0).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                listening => return listening.expect("sockets"),
            }
        }
        panic!("no port is free");
    }

    #[tokio::test]
    async fn questions_go_on_and_answers_come_back() {
        let tasks = Tasks::new();
        let (server, listener) = listen_anywhere(Ipv4Addr::LOCALHOST).await;
        let to = server.local_addr().expect("an address");
        let gateway = Ipv4Addr::new(127, 0, 0, 9);
        let sockets = listen_anywhere(gateway).await;
        let port = sockets.0.local_addr().expect("an address").port();
        let forward = pass_on(&tasks, sockets, to);
        let client = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        client.send_to(b"who", (gateway, port)).await.expect("a question");
        let mut buffer = [0; 16];
        let (count, from) = server.recv_from(&mut buffer).await.expect("a question");
        assert_eq!(&buffer[..count], b"who");
        server.send_to(b"me", from).await.expect("an answer");
        let (count, from) = client.recv_from(&mut buffer).await.expect("an answer");
        assert_eq!((&buffer[..count], from), (b"me".as_slice(), (gateway, port).into()));

        let mut caller = TcpStream::connect((gateway, port)).await.expect("a call");
        caller.write_all(b"long").await.expect("a question");
        let (mut called, _) = listener.accept().await.expect("a call");
        called.read_exact(&mut buffer[..4]).await.expect("a question");
        called.write_all(b"answer").await.expect("an answer");
        drop(called);
        let mut answer = Vec::new();
        caller.shutdown().await.expect("an end");
        caller.read_to_end(&mut answer).await.expect("an answer");
        assert_eq!((&buffer[..4], answer.as_slice()), (b"long".as_slice(), b"answer".as_slice()));
        drop(forward);
        tasks.shut_down().await;
    }
}
