//! Names for what knows nothing of the mesh: `service.namespace.mesh` → the service's virtual address.
//!
//! [`Asked`] says what a name can mean, [`answer()`] what is answered (both pure), [`message`] turns bytes into questions
//! and answers into bytes (by `hickory-proto`, no wire format of our own), [`server`] is a thin shell over UDP and TCP,
//! and what is not of the mesh goes to the machine's own resolvers ([`forward`]). The names are those that sidecars
//! take in `Host`, so a program resolves what it may also say:
//!
//! | name, in `mesh`, `svc` or `svc.cluster.local` | answer |
//! |---|---|
//! | `service.namespace` | A, AAAA: its virtual address |
//! | `instance.service.namespace` | A, AAAA: where the instance's sidecar is |
//! | `_port._tcp.service.namespace` | SRV: every healthy instance, by weight |
//!
//! Of an address that the mesh knows, a service's virtual one or an instance's own, the name is told too (PTR, under
//! `in-addr.arpa` and `ip6.arpa`). That there is none is said of the mesh's own block alone ([`reverse`]); of all others
//! somebody else may know it.
//!
//! Nobody is answered more than they asked for: UDP answers have at most 1,232 bytes, ANY and zone transfers are
//! refused, and so is everything to callers that are not on private networks. Of what is held up, questions to others and
//! connections, each caller has a share.

mod answer;
mod asked;
mod forward;
mod message;
mod resolvers;
mod reverse;
mod server;
mod view;

pub use answer::{Answer, View, answer};
pub use asked::{Asked, What};
pub use forward::Forwarder;
pub use message::{Malformed, Request, read, write};
pub use resolvers::{Resolvers, Source, is_own};
pub use server::Dns;

pub use hickory_proto::op::ResponseCode;

#[cfg(test)]
mod tests;
