//! `usher.v1.Registry`: instances come, stay while they renew, and go without losing a request.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant, SystemTime},
};

use prometheus::IntCounter;
use tonic::{Request, Response, Status};
use tracing::warn;
use usher_config::{
    model::PlaintextCallers,
    value::{InstanceName, Name, ServiceName, SpiffeId},
    wire::v1::{
        self, AdmitRequest, AdmitResponse, DeregisterRequest, DeregisterResponse, Endpoint, Lease,
        ListServicesRequest, ListServicesResponse, RegisterRequest, RenewLeaseRequest,
        ServiceStatus, WatchRequest, registry_server::Registry,
    },
};

use crate::{
    state::{NotWritten, State},
    watch::{Asker, Filter, Watchers},
    xds::authenticate::{authenticate, came_from},
};

use super::{
    callers::{Heard, heard},
    instances::{Instance, LEASE, NotRegistered, Renewal},
    watching::{Responses, responses},
};

/// How long `Deregister` may be made to wait. Longer than any drain; bounds what a caller can hold.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Longest zone name.
const ZONE_LENGTH_MAX: usize = 63;

/// What is kept of a sidecar's words on a failing check, in characters: a line on a terminal.
const HEALTH_REASON_MAX: usize = 200;

/// How many remarks of a proxy are kept, and how many characters of each: a listener's has two names of 63.
const REMARKS_MAX: usize = 16;
const REMARK_MAX: usize = 500;

/// The registry for sidecars.
#[derive(Debug, Clone)]
pub struct RegistryService {
    state: State,
    watchers: Watchers,
    /// Calls in the name of a service that the caller may not be.
    impostors: IntCounter,
}

impl RegistryService {
    /// Registers into `state`; counts in `impostors` who claims to be a service that it may not be.
    pub fn new(state: State, watchers: Watchers, impostors: IntCounter) -> Self {
        Self {
            state,
            watchers,
            impostors,
        }
    }

    fn not_written(&self, name: &InstanceName, error: &NotWritten) -> Status {
        match error {
            NotWritten::LeaseGone(_) => Status::not_found(error.to_string()),
            NotWritten::Store(_) => Status::unavailable(error.to_string()),
            NotWritten::NotRegistered(NotRegistered::TooMany) => {
                Status::resource_exhausted(error.to_string())
            }
            NotWritten::NotRegistered(NotRegistered::Taken { holder }) => {
                self.impostors.inc();
                warn!(instance = %name, %holder, "refused an instance name that another identity holds");
                Status::already_exists(error.to_string())
            }
        }
    }

    /// The instance a request is about, if its sender may be that service.
    fn permitted(&self, identity: &SpiffeId, name: [&str; 3]) -> Result<InstanceName, Status> {
        let [namespace, service, instance] = name;
        let part = |text: &str| {
            text.parse::<Name>()
                .map_err(|error| Status::invalid_argument(error.to_string()))
        };
        let service = ServiceName {
            namespace: part(namespace)?,
            name: part(service)?,
        };
        let name = InstanceName {
            service,
            instance: part(instance)?,
        };
        if self.state.may_be(identity, &name.service) {
            return Ok(name);
        }
        self.impostors.inc();
        warn!(%identity, service = %name.service, "refused an identity that may not be this service");
        let accounts = self.state.service_account_of(&name.service);
        let expected = if accounts.is_empty() {
            format!(
                "no Workload with that service account is selected by a Service {}, or has that name",
                name.service
            )
        } else {
            let accounts: Vec<&str> = accounts.iter().map(Name::as_str).collect();
            format!("its service accounts are {}", accounts.join(", "))
        };
        Err(Status::permission_denied(format!(
            "{identity} may not be service {}: {expected}",
            name.service
        )))
    }
}

#[tonic::async_trait]
impl Registry for RegistryService {
    type WatchStream = Responses;

    async fn admit(
        &self,
        request: Request<AdmitRequest>,
    ) -> Result<Response<AdmitResponse>, Status> {
        let identity = authenticate(request.extensions())?;
        let request = request.into_inner();
        let name = self.permitted(
            &identity,
            [&request.namespace, &request.service, &request.instance],
        )?;
        let remarks = request.remarks.iter().take(REMARKS_MAX);
        let remarks = remarks.map(|remark| one_line(remark, REMARK_MAX)).collect();
        self.state.connected().remarked(&name, remarks);
        let service = &name.service;
        let warning = if request.serves && !self.state.has_service(service) {
            format!(
                "there is no Service {service}, so nobody can call the application behind --port: write one whose selector \
                 fits the Workload's labels, or leave --port out if it only calls others"
            )
        } else {
            String::new()
        };
        Ok(Response::new(AdmitResponse { warning }))
    }

    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<Lease>, Status> {
        let identity = authenticate(request.extensions())?;
        let from = came_from(request.extensions());
        let request = request.into_inner();
        let name = self.permitted(
            &identity,
            [&request.namespace, &request.service, &request.instance],
        )?;
        let address = reachable(&request.address)?;
        if request.zone.len() > ZONE_LENGTH_MAX || request.zone.contains(char::is_control) {
            return Err(Status::invalid_argument(
                "a zone is at most 63 characters, none of them a control character",
            ));
        }
        let instance = Instance {
            address,
            address_is_own: from.is_some_and(|from| is_own(address.ip(), from)),
            healthy: request.healthy,
            health_reason: one_line(&request.health_reason, HEALTH_REASON_MAX),
            zone: request.zone,
            identity: identity.clone(),
            revision: 0,
            callers: callers(request.plaintext_callers, &name).unwrap_or_default(),
        };
        let lease = self
            .state
            .enter(&name, instance)
            .await
            .map_err(|error| self.not_written(&name, &error))?;
        // Not yet: another pod of that name may have been the one to end.
        Ok(Response::new(as_lease(lease, false)))
    }

    async fn renew(&self, request: Request<RenewLeaseRequest>) -> Result<Response<Lease>, Status> {
        let identity = authenticate(request.extensions())?;
        let request = request.into_inner();
        let name = self.permitted(
            &identity,
            [&request.namespace, &request.service, &request.instance],
        )?;
        let health_reason = one_line(&request.health_reason, HEALTH_REASON_MAX);
        let callers = callers(request.plaintext_callers, &name);
        let renewal = Renewal {
            lease: &request.lease_id,
            identity: &identity,
            healthy: request.healthy,
            health_reason: &health_reason,
            revision: request.revision,
            callers: callers.as_ref(),
        };
        let renewed = self.state.stay(&name, &renewal).await;
        renewed.map_err(|error| self.not_written(&name, &error))?;
        let leave = self.state.should_leave(&name, &identity);
        Ok(Response::new(as_lease(request.lease_id, leave)))
    }

    async fn deregister(
        &self,
        request: Request<DeregisterRequest>,
    ) -> Result<Response<DeregisterResponse>, Status> {
        let identity = authenticate(request.extensions())?;
        let request = request.into_inner();
        let name = self.permitted(
            &identity,
            [&request.namespace, &request.service, &request.instance],
        )?;
        let deadline = Instant::now() + Duration::from_millis(request.wait_ms).min(WAIT_MAX);
        let left = self.state.leave(&name, &request.lease_id, &identity).await;
        let departure = left.map_err(|error| self.not_written(&name, &error))?;
        let service = &name.service;
        let confirmed = self.state.has_left(service, departure, deadline).await;
        Ok(Response::new(DeregisterResponse { confirmed }))
    }

    async fn list_services(
        &self,
        request: Request<ListServicesRequest>,
    ) -> Result<Response<ListServicesResponse>, Status> {
        authenticate(request.extensions())?;
        let services = self
            .state
            .endpoints()
            .into_iter()
            .map(|(service, endpoints)| ServiceStatus {
                namespace: service.namespace.to_string(),
                name: service.name.to_string(),
                endpoints: endpoints.iter().map(Endpoint::from).collect(),
            });
        Ok(Response::new(ListServicesResponse {
            services: services.collect(),
        }))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Responses>, Status> {
        let asker = Asker::Proven(authenticate(request.extensions())?);
        let WatchRequest { namespace, service } = request.into_inner();
        let filter = Filter {
            namespace: Some(namespace).filter(|namespace| !namespace.is_empty()),
            service: Some(service).filter(|service| !service.is_empty()),
            ..Filter::default()
        };
        let watch = self.watchers.watch(&asker, filter);
        let watch = watch.map_err(|error| Status::resource_exhausted(error.to_string()))?;
        Ok(Response::new(responses(watch)))
    }
}

fn as_lease(lease_id: String, leave: bool) -> Lease {
    Lease {
        lease_id,
        leave,
        ttl_ms: u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Who calls an instance without the mesh's TLS; `None`: nothing new. What cannot be understood ends no lease.
fn callers(told: Option<v1::PlaintextCallers>, instance: &InstanceName) -> Option<Heard> {
    match PlaintextCallers::try_from(told?) {
        Ok(told) => Some(heard(&told, SystemTime::now())),
        Err(error) => {
            warn!(%instance, %error, "cannot read who calls an instance in plaintext");
            None
        }
    }
}

/// For a terminal: no control characters, and not long.
fn one_line(text: &str, most: usize) -> String {
    let shown = text.chars().filter(|letter| !letter.is_control());
    shown.take(most).collect()
}

/// Whether who registers from `from` is at `address`. Else whoever has an identity could have what others send to any
/// address, a payment provider's say, taken for calls to itself.
fn is_own(address: IpAddr, from: IpAddr) -> bool {
    let address = address.to_canonical();
    // From this machine, and so its addresses are the instance's.
    address == from || from.is_loopback() && UdpSocket::bind((address, 0)).is_ok()
}

fn reachable(text: &str) -> Result<SocketAddr, Status> {
    let address: Option<SocketAddr> = text.parse().ok();
    address
        .filter(|address| {
            address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast()
        })
        .ok_or_else(|| {
            Status::invalid_argument(format!(
                "{text:?} is not an address others can call: an IP address and a port, not 0.0.0.0"
            ))
        })
}

#[cfg(test)]
mod tests;
