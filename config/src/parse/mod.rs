//! Text to kinds, every mistake in one pass.
