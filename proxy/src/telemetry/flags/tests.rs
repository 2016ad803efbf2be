//! Every flag is explained.
