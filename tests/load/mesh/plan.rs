//! Who is in the simulated mesh: services, their instances, the accounts they run as, and which sidecar calls whom.
//!
//! Everything follows from the numbers asked for and one seed, so two runs are the same mesh.

use std::{collections::BTreeSet, ops::Range};

/// Called by the first [`FEW`] sidecars and by nobody else: its subscribers are the same however many sidecars there are.
pub(super) const CALLED_BY_FEW: usize = 0;

/// Called by every sidecar.
pub(super) const CALLED_BY_ALL: usize = 1;

/// As many as any service has on average in the mesh of the bars: 5,000 sidecars with 10 of 2,000 services each.
pub(super) const FEW: usize = 25;

/// One in so many services has a route of its own.
const ROUTED: usize = 4;

/// Identities are shared by account: what a connection costs the control plane does not depend on how many there are.
const ACCOUNTS: usize = 20;

const SEED: u64 = 7;

/// The numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) services: usize,
    pub(super) endpoints: usize,
    pub(super) uses: usize,
}

impl Plan {
    /// In namespace `default`.
    pub(super) fn service(number: usize) -> String {
        format!("service-{number:04}")
    }

    /// What the service's instances and sidecars run as.
    pub(super) fn account(&self, service: usize) -> usize {
        service % self.accounts().len()
    }

    pub(super) fn account_name(account: usize) -> String {
        format!("team-{account:02}")
    }

    pub(super) fn accounts(&self) -> Range<usize> {
        0..ACCOUNTS.min(self.services)
    }

    /// The service that an endpoint is of, and its number there.
    pub(super) fn place(&self, endpoint: usize) -> (usize, usize) {
        (endpoint % self.services, endpoint / self.services)
    }

    /// What it runs beside.
    pub(super) fn own_service(&self, sidecar: usize) -> usize {
        sidecar % self.services
    }

    /// What it calls, ascending.
    pub(super) fn called_by(&self, sidecar: usize) -> Vec<usize> {
        let few = (sidecar < FEW).then_some(CALLED_BY_FEW);
        let mut called: BTreeSet<usize> = few.into_iter().chain([CALLED_BY_ALL]).collect();
        let mut random = fastrand::Rng::with_seed(SEED.wrapping_add(sidecar as u64));
        let most = self.uses.min(self.services.saturating_sub(2));
        while called.len() < most {
            called.insert(random.usize(2..self.services));
        }
        called.into_iter().collect()
    }

    /// How many of these sidecars call it.
    pub(super) fn subscribers(&self, service: usize, sidecars: usize) -> usize {
        let calls = |sidecar: &usize| self.called_by(*sidecar).contains(&service);
        (0..sidecars).filter(calls).count()
    }

    pub(super) fn is_routed(service: usize) -> bool {
        service.is_multiple_of(ROUTED)
    }

    /// A file for each service: it, the workload behind it, and its route if it has one.
    pub(super) fn documents(&self) -> Vec<String> {
        let documents = (0..self.services).map(|service| self.document(service, 0));
        documents.collect()
    }

    /// `edit`: each number is another route.
    pub(super) fn document(&self, service: usize, edit: usize) -> String {
        let name = Self::service(service);
        let account = Self::account_name(self.account(service));
        let mut text = format!(
            "apiVersion: v1
kind: Service
metadata: {{ name: {name} }}
spec:
  selector: {{ app: {name} }}
  ports:
  - {{ name: main, port: 8080, appProtocol: http }}
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata:
  name: {name}
  labels: {{ app: {name} }}
spec:
  serviceAccount: {account}
  healthCheck: {{ tcp: {{}} }}
"
        );
        if Self::is_routed(service) {
            text.push_str(&format!(
                "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name} }}
spec:
  parentRefs:
  - {{ group: \"\", kind: Service, name: {name}, port: 8080 }}
  rules:
  - matches:
    - path: {{ type: PathPrefix, value: /edit-{edit} }}
    backendRefs:
    - {{ name: {name}, port: 8080 }}
  - backendRefs:
    - {{ name: {name}, port: 8080 }}
"
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{CALLED_BY_ALL, CALLED_BY_FEW, FEW, Plan};

    #[test]
    fn the_fixed_service_has_the_same_callers_and_the_common_one_all() {
        let plan = Plan {
            services: 50,
            endpoints: 100,
            uses: 10,
        };
        assert_eq!(plan.subscribers(CALLED_BY_FEW, 100), FEW);
        assert_eq!(plan.subscribers(CALLED_BY_FEW, 300), FEW);
        assert_eq!(plan.subscribers(CALLED_BY_ALL, 300), 300);
        assert_eq!(plan.called_by(7), plan.called_by(7));
        assert!((0..300).all(|sidecar| plan.called_by(sidecar).len() == 10));
    }
}
