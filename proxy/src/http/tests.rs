//! Bodies, header edits, answers.
