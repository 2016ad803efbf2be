//! What a burst of events in a directory has left half-done. Pure: events in, how long to wait out.
//!
//! A file that somebody has begun to write must not be read, and one that an editor has moved away to write it anew must not
//! be taken for deleted. Both are seen to end: by the close after the last write, or by the rename over the name. Only what is
//! not seen to end needs a guess, which is longer.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{
    Event, EventKind,
    event::{AccessKind, AccessMode, ModifyKind, RenameMode},
};

/// All that was begun is finished: long enough for whoever writes several files to open the next one.
pub(super) const QUIET_FINISHED: Duration = Duration::from_millis(25);

/// Something is half-done, or gone: an editor that truncates, writes and renames does so within milliseconds.
pub(super) const QUIET: Duration = Duration::from_millis(100);

/// More half-done files than anybody edits at once are not told apart.
const NAMES_MAX: usize = 1_000;

/// What has happened since the directory was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Burst {
    /// Written to and not closed, or gone from its name.
    half_done: BTreeSet<PathBuf>,
    /// Something that says nothing of when it ends; or a file of a new name: its policy may come in the next one, over a
    /// network that takes as long for each.
    unclear: bool,
    /// Files that were there before it.
    known: Arc<BTreeSet<PathBuf>>,
}

impl Burst {
    /// None yet, where these files are.
    pub(super) fn new(known: Arc<BTreeSet<PathBuf>>) -> Self {
        Self {
            known,
            ..Self::default()
        }
    }

    /// What comes from now on is another one.
    pub(super) fn is_over(&mut self) {
        *self = Self::new(Arc::clone(&self.known));
    }

    /// Files that are there by now. What has happened since the last one was over stays.
    pub(super) fn knows(&mut self, known: Arc<BTreeSet<PathBuf>>) {
        self.known = known;
    }

    /// Something happened, of whatever kind.
    pub(super) fn note(&mut self, event: &Event) {
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => self.finished(&event.paths),
            EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => {
                // A temporary name is used once. A file that is read under its name may come back under it.
                let is_back = |path: &&PathBuf| !is_yaml(path);
                let (from, to) = event.paths.split_at(event.paths.len().min(1));
                from.iter().filter(is_back).for_each(|path| {
                    self.half_done.remove(path);
                });
                self.finished(to);
            }
            EventKind::Modify(ModifyKind::Metadata(_)) | EventKind::Access(_) => {}
            EventKind::Create(_)
            | EventKind::Remove(_)
            | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Name(RenameMode::From)) => {
                self.half_done.extend(event.paths.iter().cloned());
            }
            EventKind::Any | EventKind::Modify(_) | EventKind::Other => self.unclear = true,
        }
        let is_new = |path: &PathBuf| is_yaml(path) && !self.known.contains(path);
        if !is_gone(event.kind) && event.paths.iter().any(is_new) {
            self.unclear = true;
        }
        if event.need_rescan() || self.half_done.len() > NAMES_MAX {
            self.unclear = true;
            self.half_done.clear();
        }
    }

    /// Something happened of which nothing is known.
    pub(super) fn lost(&mut self) {
        self.unclear = true;
    }

    fn finished(&mut self, paths: &[PathBuf]) {
        for path in paths {
            self.half_done.remove(path);
        }
    }

    /// How long nothing must happen until it is over.
    pub(super) fn quiet(&self) -> Duration {
        match self.unclear || !self.half_done.is_empty() {
            true => QUIET,
            false => QUIET_FINISHED,
        }
    }
}

fn is_gone(kind: EventKind) -> bool {
    const FROM: ModifyKind = ModifyKind::Name(RenameMode::From);
    matches!(kind, EventKind::Remove(_)) || kind == EventKind::Modify(FROM)
}

pub(super) fn is_yaml(path: &Path) -> bool {
    path.extension()
        .is_some_and(|end| end == "yaml" || end == "yml")
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, MetadataKind, RemoveKind};

    use super::*;

    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const CREATED: EventKind = EventKind::Create(CreateKind::File);
    const REMOVED: EventKind = EventKind::Remove(RemoveKind::File);
    const FROM: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::From));
    const TO: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    const BOTH: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::Both));

    /// How long is waited after these events.
    fn quiet(events: &[(EventKind, &[&str])]) -> Duration {
        let known = ["a.yaml", "b.yaml"].map(|name| PathBuf::from(format!("/mesh/{name}")));
        let mut burst = Burst::new(Arc::new(known.into()));
        for (kind, paths) in events {
            let event = Event::new(*kind);
            let event = paths.iter().fold(event, |event, path| {
                event.add_path(PathBuf::from(format!("/mesh/{path}")))
            });
            burst.note(&event);
        }
        burst.quiet()
    }

    #[test]
    fn a_file_is_read_soon_after_it_was_closed_and_not_before() {
        assert_eq!(quiet(&[(WRITTEN, &["a.yaml"])]), QUIET);
        assert_eq!(
            quiet(&[(WRITTEN, &["a.yaml"]), (CLOSED, &["a.yaml"])]),
            QUIET_FINISHED
        );
        // Another one is still open, or the same again.
        let both = [
            (CREATED, ["b.yaml"].as_slice()),
            (WRITTEN, &["a.yaml"]),
            (CLOSED, &["a.yaml"]),
        ];
        assert_eq!(quiet(&both), QUIET);
        let again = [(CLOSED, ["a.yaml"].as_slice()), (WRITTEN, &["a.yaml"])];
        assert_eq!(quiet(&again), QUIET);
    }

    #[test]
    fn a_file_renamed_into_its_place_is_finished() {
        let renamed = [
            (CREATED, [".a.swp"].as_slice()),
            (WRITTEN, &[".a.swp"]),
            (CLOSED, &[".a.swp"]),
            (FROM, &[".a.swp"]),
            (TO, &["a.yaml"]),
            (BOTH, &[".a.swp", "a.yaml"]),
        ];
        assert_eq!(quiet(&renamed), QUIET_FINISHED);
    }

    #[test]
    fn a_file_that_is_gone_may_come_back() {
        assert_eq!(quiet(&[(REMOVED, &["a.yaml"])]), QUIET);
        // As vi saves: what was moved away to `a.yaml~` is written anew.
        let moved = [
            (FROM, ["a.yaml"].as_slice()),
            (TO, &["a.yaml~"]),
            (BOTH, &["a.yaml", "a.yaml~"]),
        ];
        assert_eq!(quiet(&moved), QUIET);
        let written = [
            (CREATED, ["a.yaml"].as_slice()),
            (WRITTEN, &["a.yaml"]),
            (CLOSED, &["a.yaml"]),
        ];
        assert_eq!(quiet(&[moved, written].concat()), QUIET_FINISHED);
    }

    #[test]
    fn after_a_file_of_a_new_name_another_may_come() {
        let written = [
            (CREATED, ["c.yaml"].as_slice()),
            (WRITTEN, &["c.yaml"]),
            (CLOSED, &["c.yaml"]),
        ];
        assert_eq!(quiet(&written), QUIET);
        let copied = [
            (CREATED, [".c.yaml.X"].as_slice()),
            (CLOSED, &[".c.yaml.X"]),
            (FROM, &[".c.yaml.X"]),
            (TO, &["c.yaml"]),
            (BOTH, &[".c.yaml.X", "c.yaml"]),
        ];
        assert_eq!(quiet(&copied), QUIET);
    }

    #[test]
    fn what_says_nothing_of_its_end_is_waited_for() {
        let rights = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
        assert_eq!(quiet(&[(rights, &["a.yaml"])]), QUIET_FINISHED);
        assert_eq!(quiet(&[(EventKind::Other, &[])]), QUIET);
        let mut burst = Burst::default();
        burst.lost();
        assert_eq!(burst.quiet(), QUIET);
    }

    #[test]
    fn thousands_of_half_done_files_take_no_more_memory_than_a_thousand() {
        let mut burst = Burst::default();
        for number in 0..10 * NAMES_MAX {
            burst.note(&Event::new(WRITTEN).add_path(PathBuf::from(format!("/mesh/{number}"))));
            assert!(burst.half_done.len() <= NAMES_MAX);
        }
        assert_eq!(burst.quiet(), QUIET);
    }
}
