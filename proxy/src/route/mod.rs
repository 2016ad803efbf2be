//! Request → route (pure).
