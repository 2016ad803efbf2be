//! No request can get more than a proof permits.
