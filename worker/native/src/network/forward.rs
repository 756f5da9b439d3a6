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
    #[cfg(test)]
    port: u16,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Listens at a gateway.
pub(crate) async fn start(tasks: &Tasks, gateway: Ipv4Addr, port: u16, to: SocketAddr) -> io::Result<Forward> {
    let asked = Arc::new(UdpSocket::bind((gateway, port)).await?);
    let port = asked.local_addr()?.port();
    let called = TcpListener::bind((gateway, port)).await?;
    let open = Arc::new(Semaphore::new(MAX_OPEN));
    let datagrams = tasks.spawn(datagrams(tasks.clone(), asked, to, Arc::clone(&open)));
    let streams = tasks.spawn(streams(tasks.clone(), called, to, open));
    Ok(Forward {
        tasks: vec![datagrams, streams],
        #[cfg(test)]
        port,
    })
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

    #[tokio::test]
    async fn questions_go_on_and_answers_come_back() {
        let tasks = Tasks::new();
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let to = server.local_addr().expect("an address");
        let listener = TcpListener::bind(to).await.expect("a listener");
        let gateway = Ipv4Addr::new(127, 0, 0, 9);
        let forward = start(&tasks, gateway, 0, to).await.expect("a forwarder");
        let port = forward.port;
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
