//! Admin doors.
