//! What the proxy tells about itself: metrics, access log, trace context.
