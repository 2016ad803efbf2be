//! All policies must allow; a broken one denies.
