//! The control thread: xDS, SVID, own application's health, admin.
