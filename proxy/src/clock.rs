//! Time as the request path sees it.
