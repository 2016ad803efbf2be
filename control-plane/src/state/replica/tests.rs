//! Two control planes on one store that this process plays.
