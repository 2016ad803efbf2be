//! Sockets → connections: each goes to the worker with the fewest.
//!
//! All workers wait on the same listener, and whoever wakes first hands out. `SO_REUSEPORT` would let the
//! kernel's hash choose: with a sidecar's few, long HTTP/2 connections that puts all of them on one core.

mod arrival;

use std::{
    io,
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::sleep,
};
use usher_config::{model::ServiceTarget, value::Port};

use crate::worker::Load;

pub use arrival::Arrival;

/// Connections of one worker; more are reset at once. With 32 KiB each, which only those hold more than whose other side
/// is slow, this bounds a worker at 256 MiB.
pub const CONNECTIONS_MAX: u32 = 8_192;

/// After the process ran out of descriptors: long enough not to spin, short enough not to be noticed.
const PAUSE: Duration = Duration::from_millis(50);

/// What a connection is for, by the listener it came to.
#[derive(Debug, Clone)]
pub enum Purpose {
    /// HTTP from our application, its authority naming the service.
    Outbound,
    /// From another sidecar, or a plaintext caller.
    Inbound,
    /// Opaque bytes from our application.
    Tcp(Arc<ServiceTarget>),
    /// From outside the mesh, to this port of the gateway that we are.
    Gateway(Port),
}

/// A connection on its way to its worker. A std socket: it must not be registered with another's reactor.
#[derive(Debug)]
pub struct Handoff {
    /// The connection.
    pub stream: TcpStream,
    /// What for.
    pub purpose: Purpose,
}

/// A worker, as acceptors see it.
#[derive(Debug)]
pub struct Seat {
    /// How much it has.
    pub load: Arc<Load>,
    /// How to hand it more.
    pub sender: mpsc::Sender<Handoff>,
}

/// What becomes of callers that cannot be served.
#[derive(Debug)]
pub enum Lost<'a> {
    /// One was reset at once: every worker has as many as it takes.
    Refused,
    /// Nobody's connection ended, but somebody waits for one.
    Waiting(&'a io::Error),
}

/// Accepts for ever. `lost` hears of callers that cannot be served.
pub async fn accept(
    listener: Arc<TcpListener>,
    purpose: Purpose,
    seats: Arc<[Seat]>,
    lost: impl Fn(Lost<'_>),
) {
    // A descriptor of our own: the listener stays with whoever may have to begin anew.
    let listener = loop {
        let own = listener.try_clone();
        match own.and_then(tokio::net::TcpListener::from_std) {
            Ok(own) => break own,
            Err(error) => {
                lost(Lost::Waiting(&error));
                sleep(PAUSE).await;
            }
        }
    };
    loop {
        // `into_std` takes the connection out of this worker's reactor: the next one puts it into its own.
        match listener
            .accept()
            .await
            .and_then(|(stream, _)| stream.into_std())
        {
            Ok(stream) => {
                if !hand_out(stream, &purpose, &seats) {
                    lost(Lost::Refused);
                }
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                lost(Lost::Waiting(&error));
                sleep(PAUSE).await;
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Gives the connection to the idlest worker; if all are full, it closes by being dropped
/// (false).
fn hand_out(stream: TcpStream, purpose: &Purpose, seats: &[Seat]) -> bool {
    let Some(seat) = seats.iter().min_by_key(|seat| seat.load.connections()) else {
        return false;
    };
    if seat.load.connections() >= CONNECTIONS_MAX {
        refuse(&stream);
        return false;
    }
    seat.load.add_connection(purpose);
    let handed = seat.sender.try_send(Handoff {
        stream,
        purpose: purpose.clone(),
    });
    let Err(TrySendError::Full(handoff) | TrySendError::Closed(handoff)) = handed else {
        return true;
    };
    seat.load.remove_connection(purpose);
    refuse(&handoff.stream);
    false
}

/// Its end would be a whole answer without a byte.
fn refuse(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
