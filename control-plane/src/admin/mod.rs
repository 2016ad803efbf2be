//! What operators read (REST, metrics) and ask for (the Unix socket).
