//! A way between two programs that can be cut, or swallow what passes, as networks do.

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What a way does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Link {
    /// They pass.
    #[default]
    Open,
    /// They are kept until they pass again; connections are taken, and lead nowhere.
    Stalled,
    /// Connections are ended, and none lasts.
    Cut,
}

/// A way to an address.
#[derive(Debug)]
pub struct Way {
    address: String,
    link: watch::Sender<Link>,
    target: String,
    task: JoinHandle<()>,
}

impl Way {
    /// To there, from a free port.
    pub async fn to(target: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let link = watch::Sender::default();
        let target = target.to_owned();
        let task = tokio::spawn(pass(listener, target.clone(), link.clone()));
        Ok(Self {
            address,
            link,
            target,
            task,
        })
    }

    /// `host:port` of its beginning.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it leads.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// What happens to bytes from now on.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }

    /// Ends what passes, and lets nothing pass.
    pub fn cut(&self) {
        self.set(Link::Cut);
    }

    /// Lets bytes pass again.
    pub fn mend(&self) {
        self.set(Link::Open);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(listener: TcpListener, target: String, link: watch::Sender<Link>) {
    while let Ok((from, _)) = listener.accept().await {
        let (target, link) = (target.clone(), link.subscribe());
        tokio::spawn(async move {
            let mut until = link.clone();
            tokio::select! {
                _ = until.wait_for(|link| *link == Link::Cut) => {}
                () = carry(from, target, link) => {}
            }
        });
    }
}

async fn carry(from: TcpStream, target: String, mut link: watch::Receiver<Link>) {
    if !opens(&mut link).await {
        return;
    }
    let Ok(to) = TcpStream::connect(&target).await else {
        return;
    };
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    let ((from_read, from_write), (to_read, to_write)) = (from.into_split(), to.into_split());
    tokio::join!(
        pump(from_read, to_write, link.clone()),
        pump(to_read, from_write, link)
    );
}

/// One direction, until it is closed.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut link: watch::Receiver<Link>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await;
        if !opens(&mut link).await {
            return;
        }
        match read {
            Ok(0) | Err(_) => {
                let _ = to.shutdown().await;
                return;
            }
            Ok(length) => {
                if to.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Waits as long as bytes are kept.
async fn opens(link: &mut watch::Receiver<Link>) -> bool {
    let open = link.wait_for(|link| *link == Link::Open).await;
    open.is_ok()
}
