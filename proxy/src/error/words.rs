//! Messages that take more than a format string.

use usher_config::value::{Port, ServiceName};

/// What to do about a host outside the mesh.
pub(super) const OUTSIDE: &str =
    "to call it directly, add it to no_proxy, as in no_proxy=localhost,127.0.0.1";

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
