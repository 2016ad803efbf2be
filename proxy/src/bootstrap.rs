//! Startup file, flags and environment → typed settings.
