//! One normal form, and no path that two readers could read differently.
