//! Texts → [`Bootstrap`], collecting every mistake.

use std::{
    net::{Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    time::Duration,
};

use usher_config::{
    model::ServiceTarget,
    value::{InvalidValue, Name, Port, ServiceName, parse_duration},
};

use super::{
    AccessLogTarget, Advertise, Again, Bootstrap, EndsWith, InvalidBootstrap, Mistake, Source,
    TcpForward, Transparent, layers::Layers, probes::probes,
};

mod gateway;

const CONTROL_PLANE: &str = "127.0.0.1:15012";
const INBOUND: &str = "0.0.0.0:15006";
const OUTBOUND: &str = "127.0.0.1:15001";
const METRICS: &str = "127.0.0.1:15020";
/// Long enough for usual requests; longer than any of them is the operator's decision.
const DRAIN_GRACE: Duration = Duration::from_secs(10);

type Parsed<T> = Result<T, InvalidValue>;

pub(super) fn bootstrap(
    layers: &Layers,
    mistakes: Vec<Mistake>,
) -> Result<Bootstrap, InvalidBootstrap> {
    let mut reader = Reader { layers, mistakes };
    let name = reader.required("service", |text| text.parse::<Name>());
    let namespace = reader.required("namespace", |text| text.parse::<Name>());
    let instance = reader.optional("instance", |text| text.parse::<Name>());
    let control_plane = reader.optional("control-plane", hosts_and_ports);
    let token_file = reader.optional("token-file", path);
    let root_file = reader.optional("root-file", path);
    let service_account = reader.optional("service-account", |text| text.parse::<Name>());
    let state_dir = reader.required("state-dir", path);
    let application_port = reader.optional("application-port", |text| text.parse::<Port>());
    let inbound = reader.or_default("inbound", INBOUND, socket_address);
    let advertise = reader.optional("advertise", advertise);
    let outbound = reader.or_default("outbound", OUTBOUND, loopback);
    let metrics = reader.or_default("metrics", METRICS, socket_address);
    let admin_socket = reader.optional("admin-socket", path);
    let own = namespace.clone();
    let tcp = reader.list("tcp", |text| tcp_forward(text, own.as_ref()));
    let workers = reader.optional("workers", workers);
    let drain_grace = reader.optional("drain-grace", parse_duration);
    let access_log = reader.optional("access-log", |text| Ok(access_log(text)));
    let zone = reader.optional("zone", |text| Ok(text.to_owned()));
    let transparent = reader.optional("transparent", transparent);
    let gateway = gateway::role(&mut reader, drain_grace.unwrap_or(DRAIN_GRACE));
    let danger_exposed_application = reader.optional("danger-exposed-application", boolean);
    let probes = reader.optional("probes", probes);
    let ends_with = reader.optional("ends-with", ends_with);

    let identity = name.zip(namespace).zip(state_dir);
    let listeners = inbound.zip(outbound).zip(metrics);
    let (Some(((name, namespace), state_dir)), Some(((inbound, outbound), metrics)), []) =
        (identity, listeners, reader.mistakes.as_slice())
    else {
        return Err(InvalidBootstrap {
            mistakes: reader.mistakes,
        });
    };
    Ok(Bootstrap {
        service: ServiceName { namespace, name },
        instance,
        control_plane: control_plane.unwrap_or_else(|| CONTROL_PLANE.to_owned()),
        token_file,
        root_file,
        service_account,
        application_port,
        inbound,
        advertise,
        outbound,
        metrics,
        admin_socket: admin_socket.unwrap_or_else(|| state_dir.join("admin.sock")),
        state_dir,
        tcp,
        workers: workers.unwrap_or_else(available_cpus),
        drain_grace: drain_grace.unwrap_or(DRAIN_GRACE),
        access_log: access_log.unwrap_or(AccessLogTarget::Stdout),
        zone: zone.unwrap_or_default(),
        transparent,
        gateway,
        danger_exposed_application: danger_exposed_application.unwrap_or(false),
        probes: probes.unwrap_or_default(),
        ends_with,
    })
}

struct Reader<'a> {
    layers: &'a Layers,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn list<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Parsed<T>) -> Vec<T> {
        let Some((source, texts)) = self.layers.all(name) else {
            return Vec::new();
        };
        let mut values = Vec::new();
        for text in texts {
            match parse(text) {
                Ok(value) => values.push(value),
                Err(error) => {
                    self.mistakes.push(Mistake {
                        source: source.clone(),
                        message: error.to_string(),
                    });
                }
            }
        }
        values
    }

    fn optional<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        self.list(name, parse).pop()
    }

    fn or_default<T>(
        &mut self,
        name: &'static str,
        default: &str,
        parse: impl Fn(&str) -> Parsed<T>,
    ) -> Option<T> {
        match self.layers.all(name) {
            Some(_) => self.optional(name, parse),
            None => parse(default).ok(),
        }
    }

    fn required<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        if self.layers.all(name).is_none() {
            self.mistakes.push(Mistake {
                source: Source::Flag(name),
                message: "required".to_owned(),
            });
        }
        self.optional(name, parse)
    }
}

fn path(text: &str) -> Parsed<PathBuf> {
    if text.is_empty() {
        Err(InvalidValue::new(text, "a path"))
    } else {
        Ok(text.into())
    }
}

fn socket_address(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| {
        InvalidValue::new(
            text,
            "an IP address and a port, such as 127.0.0.1:15001; port 0: any that is free",
        )
    })
}

fn loopback(text: &str) -> Parsed<SocketAddr> {
    let address = socket_address(text)?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(InvalidValue::new(
            text,
            "a loopback address: whoever reaches it speaks with this workload's identity",
        ))
    }
}

/// With commas between.
fn hosts_and_ports(text: &str) -> Parsed<String> {
    text.split(',')
        .try_for_each(|one| host_and_port(one).map(drop))?;
    Ok(text.to_owned())
}

fn host_and_port(text: &str) -> Parsed<String> {
    let is_name = |host: &str| {
        let mut bytes = host.bytes();
        !host.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    let is_ipv6 = |host: &str| {
        let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        inner.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok())
    };
    match text.rsplit_once(':') {
        Some((host, port)) if (is_name(host) || is_ipv6(host)) && port.parse::<Port>().is_ok() => {
            Ok(text.to_owned())
        }
        _ => Err(InvalidValue::new(
            text,
            "HOST:PORT, such as mesh.internal:15012, 10.0.0.7:15012 or [fd00::7]:15012; several with commas between",
        )),
    }
}

fn advertise(text: &str) -> Parsed<Advertise> {
    let invalid = || InvalidValue::new(text, "IP or IP:PORT that other sidecars can reach");
    let advertise = match text.parse::<SocketAddr>() {
        Ok(address) => {
            let port = Port::try_from(u32::from(address.port())).map_err(|_| invalid())?;
            Advertise {
                ip: address.ip(),
                port: Some(port),
            }
        }
        Err(_) => Advertise {
            ip: text.parse().map_err(|_| invalid())?,
            port: None,
        },
    };
    if advertise.ip.is_unspecified() {
        Err(invalid())
    } else {
        Ok(advertise)
    }
}

/// `own`: the namespace of a service whose own is not written; `None`: there is none, which is a mistake by itself.
fn tcp_forward(text: &str, own: Option<&Name>) -> Parsed<TcpForward> {
    let invalid = || {
        InvalidValue::new(
            text,
            "LOCAL=NAME.NAMESPACE:PORT, such as 127.0.0.1:5432=postgres.bank:5432; without .NAMESPACE it is our own",
        )
    };
    let (local, target) = text.split_once('=').ok_or_else(invalid)?;
    let (host, port) = target.rsplit_once(':').ok_or_else(invalid)?;
    let (name, namespace) = match host.split_once('.') {
        Some((name, namespace)) => (name, namespace.parse().map_err(|_| invalid())?),
        None => (host, own.cloned().ok_or_else(invalid)?),
    };
    let service = ServiceName {
        namespace,
        name: name.parse().map_err(|_| invalid())?,
    };
    let port = port.parse().map_err(|_| invalid())?;
    if local.parse::<SocketAddr>().is_err() {
        return Err(InvalidValue::new(
            local,
            "before `=` a loopback address and a port, such as 127.0.0.1:5432",
        ));
    }
    Ok(TcpForward {
        local: loopback(local)?,
        target: ServiceTarget { service, port },
    })
}

fn workers(text: &str) -> Parsed<NonZeroUsize> {
    match text.parse::<NonZeroUsize>() {
        Ok(count) if count.get() <= 1024 => Ok(count),
        _ => Err(InvalidValue::new(
            text,
            "a number of threads from 1 to 1024",
        )),
    }
}

fn access_log(text: &str) -> AccessLogTarget {
    match text {
        "off" => AccessLogTarget::Off,
        "-" => AccessLogTarget::Stdout,
        path => AccessLogTarget::File(path.into()),
    }
}

fn transparent(text: &str) -> Parsed<Transparent> {
    match text {
        "redirect" => Ok(Transparent::Redirect),
        "tproxy" => Ok(Transparent::Tproxy),
        "outbound" => Ok(Transparent::OutboundOnly),
        _ => Err(InvalidValue::new(
            text,
            "redirect, or tproxy or outbound as in usher-proxy intercept install --inbound tproxy or off",
        )),
    }
}

fn ends_with(text: &str) -> Parsed<EndsWith> {
    let invalid = || {
        let allowed = "DIR,never or on-failure,NAME,..., such as /usher/notes,never,job";
        InvalidValue::new(text, allowed)
    };
    let mut parts = text.split(',');
    let notes = parts
        .next()
        .filter(|notes| !notes.is_empty())
        .ok_or_else(invalid)?;
    let again = match parts.next() {
        Some("never") => Again::Never,
        Some("on-failure") => Again::OnFailure,
        _ => return Err(invalid()),
    };
    let containers: Result<Vec<Name>, _> = parts.map(str::parse).collect();
    let containers = containers.map_err(|_| invalid())?;
    if containers.is_empty() {
        return Err(invalid());
    }
    Ok(EndsWith {
        notes: notes.into(),
        again,
        containers,
    })
}

fn boolean(text: &str) -> Parsed<bool> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(InvalidValue::new(text, "true or false")),
    }
}

/// Honours CPU affinity and the cgroup's quota, hence a pod's CPU limit.
fn available_cpus() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
