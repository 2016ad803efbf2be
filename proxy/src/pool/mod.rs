//! Endpoint → connection, per worker.
