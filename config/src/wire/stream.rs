//! Routes for connections: a service's and a gateway's.

use prost::Message as _;

use crate::model::StreamRoute;

use super::{
    route::{FRAME, decode_backend},
    scalar::{Decoded, list, optional, ports},
    v1,
};

/// Bytes that routes for connections take in a resource: never too few.
pub fn streams_size<'a>(routes: impl IntoIterator<Item = &'a StreamRoute>) -> usize {
    let routes = routes.into_iter();
    let sizes = routes.map(|route| v1::StreamRoute::from(route).encoded_len() + FRAME);
    sizes.sum()
}

impl From<&StreamRoute> for v1::StreamRoute {
    fn from(route: &StreamRoute) -> Self {
        let (hostname, callers) = (route.hostname.as_ref(), route.callers.as_ref());
        Self {
            name: route.name.to_string(),
            hostname: hostname.map(ToString::to_string).unwrap_or_default(),
            backends: route.backends.iter().map(Into::into).collect(),
            ports: route.ports.iter().map(|port| port.get().into()).collect(),
            callers: callers.map(ToString::to_string).unwrap_or_default(),
        }
    }
}

pub(super) fn decode_stream(message: v1::StreamRoute) -> Decoded<StreamRoute> {
    Ok(StreamRoute {
        name: message.name.into(),
        callers: optional("callers", &message.callers)?,
        ports: ports("ports", &message.ports)?,
        hostname: optional("hostname", &message.hostname)?,
        backends: list("backends", message.backends, decode_backend)?,
    })
}
