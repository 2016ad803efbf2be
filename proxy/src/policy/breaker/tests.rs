//! A breaker opens, rests, tries and closes; nothing old disturbs it.
