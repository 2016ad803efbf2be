//! The API server of a Kubernetes cluster, asked and told.
//!
//! ```text
//! reviews  whose a service account's token is (TokenReview)
//! trust    the mesh's roots in each namespace (ConfigMap usher-trust), for pods that have no identity yet
//! watches  what there is, and what changes    seen   of each object only what is kept    listed  a list counts once it is whole
//! status   what is written into objects (pure)   writer  does it   lease  while it is ours
//!  └ feed  bursts, failures                   └ cluster (pure)  events in, desired state out
//! ```

mod listed;
mod reviews;
mod trust;
mod cluster;
mod seen;
mod watches;
mod feed;
mod status;
mod lease;
mod writer;

pub(crate) use cluster::is_of_pods;
pub use feed::{Change, Configuration, Feed};
pub use kube::Client;
pub use reviews::TokenReviews;
pub(crate) use status::ListenerVerdict;
pub use status::Verdict;
pub use trust::TrustMaps;
