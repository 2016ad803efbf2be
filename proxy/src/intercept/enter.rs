//! `usher-proxy intercept enter`: becomes a command whose connections are intercepted, once that is proven.
//!
//! A rule that matches nothing looks like one that does: in a container, say, older kernels count a control group's depth
//! from the machine's root, and its connections would leave past the mesh, in plaintext. So this process calls
//! itself first, from inside the group, on the address that only a group's rules hand over, whatever else they say. A
//! sidecar that takes the connection closes it.

use std::{
    ffi::OsString,
    io::{self, Read as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::Command,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, poll};

use super::{Cgroup, nft::InterceptError, ruleset::WITNESS_OF_CGROUP};

/// Within one machine a connection takes microseconds; a machine that is busy is given more.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
const POLL_MS: u16 = 5_000;

/// How many others may call in between; nobody has a reason to.
const STRANGERS_MAX: usize = 16;

/// Returns only if the command was not started.
pub(super) fn enter(cgroup: &Cgroup, command: &[OsString]) -> Result<String, InterceptError> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(String::new());
    };
    cgroup.must_exist()?;
    cgroup
        .enter()
        .map_err(|source| InterceptError::NotEntered {
            cgroup: cgroup.to_string(),
            source,
        })?;
    if !is_handed_over().map_err(|source| InterceptError::Unproven { source })? {
        return Err(InterceptError::NotHandedOver {
            cgroup: cgroup.to_string(),
        });
    }
    let source = Command::new(program).args(arguments).exec();
    Err(InterceptError::NotStarted {
        program: program.to_string_lossy().into_owned(),
        source,
    })
}

/// Whether a connection to ourselves comes to a sidecar instead.
fn is_handed_over() -> io::Result<bool> {
    let listener = TcpListener::bind(SocketAddr::from((WITNESS_OF_CGROUP, 0)))?;
    listener.set_nonblocking(true)?;
    let mut called = TcpStream::connect_timeout(&listener.local_addr()?, ANSWERS_WITHIN)?;
    called.set_nonblocking(true)?;
    let own = called.local_addr()?;
    for _ in 0..STRANGERS_MAX {
        let mut either = [
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(called.as_fd(), PollFlags::POLLIN),
        ];
        if poll(&mut either, POLL_MS)? == 0 {
            break;
        }
        match listener.accept() {
            Ok((_, peer)) if peer == own => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return match called.read(&mut [0]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    // Closed, in whichever way.
                    Ok(_) | Err(_) => Ok(true),
                };
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

#[cfg(test)]
mod tests;
