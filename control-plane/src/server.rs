//! Start order of `usher serve`: one constructor per task.
