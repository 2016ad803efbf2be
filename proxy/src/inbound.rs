//! Story: mesh → application, one call per stage.
