//! Our SVID: key, request, rotation.
