//! Never more are out than allowed, and everybody can return.
