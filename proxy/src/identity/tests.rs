//! Identity: tokens, rotation timing, files, and a control plane to get an SVID from.
