//! An origin and a caller that deal in bytes: what exactly went over the wire, and nothing helpful in between.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

/// What an origin does when bytes have come: all of a connection so far, and how many there were before.
pub type Script = dyn Fn(&[u8], usize) -> Act + Send + Sync;

/// A step of an origin.
#[derive(Debug, Clone, Default)]
pub struct Act {
    /// Written at once.
    pub write: Vec<u8>,
    /// Ends the connection afterwards.
    pub close: bool,
}

/// A TCP server that records what it gets, connection by connection.
#[derive(Debug)]
pub struct RawOrigin {
    port: u16,
    connections: Arc<Mutex<Vec<Vec<u8>>>>,
    task: JoinHandle<()>,
}

impl RawOrigin {
    /// Does what the script says after every read.
    pub async fn start(
        script: impl Fn(&[u8], usize) -> Act + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(serve(listener, connections.clone(), Arc::new(script)));
        Ok(Self {
            port,
            connections,
            task,
        })
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Forgets what was recorded so far.
    pub fn forget(&self) {
        let all = self.connections.lock();
        for bytes in all.unwrap_or_else(PoisonError::into_inner).iter_mut() {
            bytes.clear();
        }
    }

    /// The bytes of each connection that brought any.
    pub fn recorded(&self) -> Vec<Vec<u8>> {
        let all = self.connections.lock();
        let all = all.unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .filter(|bytes| !bytes.is_empty())
            .cloned()
            .collect()
    }
}

impl Drop for RawOrigin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, connections: Arc<Mutex<Vec<Vec<u8>>>>, script: Arc<Script>) {
    let mut tasks = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = {
            let mut all = connections.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(Vec::new());
            all.len() - 1
        };
        tasks.spawn(one(stream, number, connections.clone(), script.clone()));
    }
}

async fn one(
    mut stream: TcpStream,
    number: usize,
    connections: Arc<Mutex<Vec<Vec<u8>>>>,
    script: Arc<Script>,
) {
    let _ = stream.set_nodelay(true);
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let act = {
            let mut all = connections.lock().unwrap_or_else(PoisonError::into_inner);
            let before = all[number].len();
            all[number].extend_from_slice(&buffer[..read]);
            script(&all[number], before)
        };
        if stream.write_all(&act.write).await.is_err() || act.close {
            return;
        }
    }
}

/// What a caller got back.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// All bytes, as text.
    pub text: String,
    /// The other side ended the connection.
    pub closed: bool,
}

impl Heard {
    /// The statuses of all answers in it, interim ones included.
    pub fn statuses(&self) -> Vec<u16> {
        let lines = self.text.split("HTTP/1.").skip(1);
        lines
            .filter_map(|rest| rest.get(2..5)?.parse().ok())
            .collect()
    }
}

/// Sends the pieces, a moment apart, and listens until the connection ends or is silent for `patience`.
pub async fn say(address: &str, pieces: &[&[u8]], patience: Duration) -> Result<Heard> {
    let address: SocketAddr = address.parse()?;
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 {
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        // A proxy that has heard enough may be gone already; what it said can still be read.
        if stream.write_all(piece).await.is_err() {
            break;
        }
    }
    let (mut bytes, mut heard) = (Vec::new(), Heard::default());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match timeout(patience, stream.read(&mut buffer)).await {
            Ok(Ok(read @ 1..)) => bytes.extend_from_slice(&buffer[..read]),
            Ok(_) => {
                heard.closed = true;
                break;
            }
            Err(_) => break,
        }
    }
    heard.text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(heard)
}
