//! Messages that take more than a format string.

use std::net::IpAddr;

use usher_config::value::{Port, ServiceName};

/// What to do about a host outside the mesh.
pub(super) const OUTSIDE: &str =
    "to call it directly, add it to no_proxy, as in no_proxy=localhost,127.0.0.1";

/// A slug, and what to do about it where that is not the slug itself.
pub(super) fn refused(slug: &str) -> String {
    match slug {
        "host-missing" => format!(
            "{slug}: say in a Host header (or :authority) whom you call, as in `Host: NAME`"
        ),
        "field-name-malformed" => {
            format!("{slug}: each header is a line `Name: value`, without a blank before the colon")
        }
        slug => slug.to_owned(),
    }
}

/// Who names this machine most often means the sidecar's own address, and has left out whom to call.
pub(super) fn no_such_host(host: &str) -> String {
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if is_here {
        return format!(
            "{host} is no service of the mesh: who calls the sidecar's own address says whom it means in Host (curl -H \
             'Host: NAME'), or uses it as http_proxy; other programs on this machine are called directly with \
             no_proxy=localhost,127.0.0.1"
        );
    }
    format!(
        "{host} is no service of the mesh, and nothing else is reached through this sidecar: {OUTSIDE},{host}"
    )
}

/// Names the ports that there are: whoever mistyped one finds theirs.
pub(super) fn no_such_port(service: &ServiceName, asked: Option<Port>, known: &[Port]) -> String {
    let known: Vec<String> = known.iter().map(ToString::to_string).collect();
    let known = match known.as_slice() {
        [] => "it has none".to_owned(),
        [only] => format!("its only port is {only}"),
        several => format!("its ports are {}", several.join(", ")),
    };
    match asked {
        Some(port) => format!("service {service} has no port {port}: {known}"),
        None => format!("which port of service {service} is meant? {known}"),
    }
}

#[cfg(test)]
mod tests;
