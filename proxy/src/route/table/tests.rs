//! A compiled table agrees with trying each route in order.
