//! Balancing is fair, spares the ejected and never refuses on opinion alone.
