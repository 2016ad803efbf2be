//! The API server of a Kubernetes cluster, asked and told.
//!
//! ```text
//! reviews  whose a service account's token is (TokenReview)
//! trust    the mesh's roots in each namespace (ConfigMap usher-trust), for pods that have no identity yet
//! ```

mod reviews;
mod trust;

pub use kube::Client;
pub use reviews::TokenReviews;
pub use trust::TrustMaps;
