//! What goes over a network, as somebody on its wire sees it.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    net::Ipv4Addr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Protocol, Socket, Type};

/// `ETH_P_ALL` of `linux/if_ether.h`.
const EVERYTHING: u16 = 3;
/// `linux/if_ether.h`: two addresses and a type.
const ETHERNET: usize = 14;
const IPV4: [u8; 2] = [0x08, 0x00];
const TCP: u8 = 6;

/// Bytes of one TCP segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Who sent it, and from which port.
    pub from: (Ipv4Addr, u16),
    /// To whom.
    pub to: (Ipv4Addr, u16),
    /// At least one.
    pub payload: Vec<u8>,
}

/// Keeps all segments until it is asked.
#[derive(Debug)]
pub struct Wiretap {
    segments: Arc<Mutex<Vec<Segment>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wiretap {
    /// Listens in the network namespace of this file. What crosses a bridge is seen at several of its ends.
    pub fn start(namespace: &Path) -> Result<Self> {
        let namespace = File::open(namespace)?;
        let opened = thread::spawn(move || -> Result<Socket> {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            let protocol = Protocol::from(i32::from(EVERYTHING.to_be()));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
            socket.set_read_timeout(Some(Duration::from_millis(100)))?;
            socket.set_recv_buffer_size(8 << 20)?;
            Ok(socket)
        });
        let socket = opened.join().ok().context("the thread panicked")??;
        let segments = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (segments, is_over) = (Arc::clone(&segments), Arc::clone(&is_over));
            move || listen(socket, &segments, &is_over)
        });
        Ok(Self {
            segments,
            is_over,
            thread: Some(thread),
        })
    }

    /// Ends it: what it heard.
    pub fn stop(mut self) -> Vec<Segment> {
        self.end();
        let mut all = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *all)
    }

    fn end(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Wiretap {
    fn drop(&mut self) {
        self.end();
    }
}

fn listen(mut socket: Socket, segments: &Mutex<Vec<Segment>>, is_over: &AtomicBool) {
    let mut frame = vec![0; 1 << 16];
    while !is_over.load(Ordering::Relaxed) {
        match socket.read(&mut frame) {
            Ok(length) => {
                let mut all = segments.lock().unwrap_or_else(PoisonError::into_inner);
                all.extend(frame.get(..length).and_then(segment));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("the wiretap hears nothing more: {error}"),
        }
    }
}

/// `None`: no TCP over IPv4, or one that carries nothing.
fn segment(frame: &[u8]) -> Option<Segment> {
    let packet = frame.get(ETHERNET..)?;
    if frame.get(12..14)? != IPV4 || *packet.get(9)? != TCP {
        return None;
    }
    let word =
        |bytes: &[u8], at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let address = |at: usize| {
        Some(Ipv4Addr::from(
            <[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?,
        ))
    };
    let words = |nibble: u8| usize::from(nibble) * 4;
    // What is shorter than the least frame is filled up: the packet says where it ends.
    let total = usize::from(word(packet, 2)?);
    let tcp = packet.get(words(packet.first()? & 15)..total)?;
    let payload = tcp.get(words(tcp.get(12)? >> 4)..)?;
    (!payload.is_empty()).then_some(Segment {
        from: (address(12)?, word(tcp, 0)?),
        to: (address(16)?, word(tcp, 2)?),
        payload: payload.to_vec(),
    })
}
