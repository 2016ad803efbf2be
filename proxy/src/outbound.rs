//! Story: application → mesh, one call per stage.
