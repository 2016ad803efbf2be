//! Files → documents → objects.

use std::{
    borrow::Cow,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    kind::{Kind, ObjectKey},
    value::Name,
};

use super::documents::{Document, documents};
use super::found::{Found, list};
use super::known::{Known, Stamp};
use super::place::Place;
use super::report::Report;
use super::{Located, Mistake, Parsed, Position, Rejected, Severity, decode, references, tree};

/// Larger documents are refused; an object that people wrote has kilobytes.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// Larger files are refused unread.
const FILE_BYTES_MAX: u64 = 16 << 20;

const START: Position = Position {
    line: 1,
    column: 1,
    length: 1,
};

/// Parses texts: `(name of the file, its text)`. Total: whatever the texts hold, the answer says what is wrong.
pub fn parse_files(files: &[(PathBuf, String)]) -> Parsed {
    let mut parsed = Parsed::default();
    for (path, text) in files {
        parse_file(path, text, Report::new, &mut parsed);
    }
    finish(parsed)
}

/// Parses every `*.yaml` and `*.yml` below `directory` (or the one file it is), in order of path. Names that
/// begin with a dot are passed over: editors' files, and the `..data` of a mounted ConfigMap.
///
/// # Errors
/// A directory or file that cannot be read. Text that is not UTF-8 is a [`Mistake`], not an error.
pub fn parse_directory(directory: &Path) -> io::Result<Parsed> {
    parse_paths(&[directory.to_owned()])
}

/// The same for several directories and files, which together are one configuration.
///
/// # Errors
/// As [`parse_directory`].
pub fn parse_paths(places: &[PathBuf]) -> io::Result<Parsed> {
    parse_unless_known(places, &mut Known::default())
}

/// As [`parse_directory`], without parsing again what has the text that it had, nor reading what its times say is as it was. All
/// objects are checked against each other; a file that is gone is forgotten.
///
/// # Errors
/// As [`parse_directory`].
pub fn parse_directory_again(directory: &Path, known: &mut Known) -> io::Result<Parsed> {
    parse_unless_known(&[directory.to_owned()], known)
}

fn parse_unless_known(places: &[PathBuf], known: &mut Known) -> io::Result<Parsed> {
    let mut found = Found::default();
    for place in places {
        let metadata = fs::metadata(place).map_err(|error| named(place, &error))?;
        if metadata.is_dir() {
            list(place, 0, &mut found)?;
        } else {
            found.files.push((place.clone(), Stamp::of(&metadata)));
        }
    }
    // Of one directory they are in order already.
    if places.len() > 1 {
        found.files.sort_by(|(a, _), (b, _)| a.cmp(b));
        found.files.dedup_by(|(a, _), (b, _)| a == b);
        found.dangling.sort();
        found.dangling.dedup();
    }
    let (mut parsed, look) = (Parsed::default(), known.look());
    let mut sources = Vec::with_capacity(found.files.len());
    for (path, stamp) in found.files {
        let (stamp, said) = match look.unread(&path, stamp) {
            Some(said) => (stamp, Ok(said)),
            None => {
                let (stamp, text) = read(&path)?;
                let said = text.map(|text| {
                    let same = look.with_text(&path, &text);
                    same.unwrap_or_else(|| alone(&path, &text))
                });
                (stamp, said)
            }
        };
        match said {
            Ok(said) => {
                append(&mut parsed, &said);
                let texts = said.sources.iter();
                sources.extend(texts.map(|(path, text)| (path.clone(), text.clone())));
                known.keep(&look, path, (said, stamp));
            }
            Err((found, allowed)) => {
                parsed.mistakes.push(whole_file(&path, found, allowed));
                parsed.unreadable.push(path);
            }
        }
    }
    // At once, as they are in order: path after path, each is looked for from the root.
    parsed.sources = sources.into_iter().collect();
    for path in found.dangling {
        // Not mounted, most likely. Were what it held deleted, the link would be, too.
        let allowed = "a link to a file or folder; to delete what that held, remove the link";
        let mistake = whole_file(&path, "a link that leads nowhere", allowed);
        parsed.mistakes.push(mistake);
        parsed.unreadable.push(path);
    }
    Ok(finish(parsed))
}

/// What a file says, whatever others say.
fn alone(path: &Path, text: &str) -> Arc<Parsed> {
    let mut parsed = Parsed::default();
    parse_file(path, text, Report::new, &mut parsed);
    Arc::new(parsed)
}

/// But for its texts.
pub(super) fn append(parsed: &mut Parsed, said: &Parsed) {
    let Parsed {
        objects,
        mistakes,
        rejected,
        broken,
        unreadable,
        sources: _,
        since,
    } = said;
    parsed.objects.extend_from_slice(objects);
    parsed.mistakes.extend_from_slice(mistakes);
    parsed.rejected.extend_from_slice(rejected);
    parsed.broken.extend_from_slice(broken);
    parsed.unreadable.extend_from_slice(unreadable);
    let times = since.iter().map(|(key, at)| (key.clone(), *at));
    parsed.since.extend(times);
}

fn whole_file(path: &Path, found: &str, allowed: &str) -> Mistake {
    let (found, allowed) = (found.to_owned(), allowed.to_owned());
    Mistake::new(path.to_owned(), START, String::new(), found, allowed)
}

/// A text, or what is wrong with it and what is allowed.
type Text = Result<String, (&'static str, &'static str)>;

/// The text, and by what the file is known that it was read from, which may be another one by now.
fn read(path: &Path) -> io::Result<(Stamp, Text)> {
    let mut file = fs::File::open(path).map_err(|error| named(path, &error))?;
    let stamp = Stamp::of(&file.metadata().map_err(|error| named(path, &error))?);
    if stamp.length() > FILE_BYTES_MAX {
        return Ok((stamp, Err(("a file of more than 16 MiB", "at most 16 MiB"))));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(stamp.length()).unwrap_or_default());
    file.read_to_end(&mut bytes)
        .map_err(|error| named(path, &error))?;
    let text = String::from_utf8(bytes).map_err(|_| ("bytes that are not UTF-8", "UTF-8 text"));
    Ok((stamp, text))
}

pub(super) fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

pub(super) fn finish(mut parsed: Parsed) -> Parsed {
    references::check(&mut parsed);
    parsed
        .mistakes
        .sort_by(|a, b| (&a.file, a.position).cmp(&(&b.file, b.position)));
    parsed.unreadable.dedup();
    parsed
}

/// `report`: makes that of each document.
pub(super) fn parse_file(
    path: &Path,
    text: &str,
    report: fn(PathBuf) -> Report,
    parsed: &mut Parsed,
) {
    let file: Arc<Path> = path.into();
    let text = with_line_feeds(text.strip_prefix('\u{feff}').unwrap_or(text));
    parsed.sources.insert(path.to_owned(), text.as_ref().into());
    for (document_index, document) in documents(&text).into_iter().enumerate() {
        let report = report(path.to_owned());
        match read_document(&document, &report) {
            Ok(None) => {}
            Ok(Some(root)) => take(&file, document_index, (&root, report), parsed),
            Err(unreadable) => {
                report.add(
                    unreadable.position,
                    String::new(),
                    unreadable.found,
                    unreadable.allowed,
                );
                parsed.mistakes.extend(report.into_mistakes());
                parsed.unreadable.push(path.to_owned());
            }
        }
    }
}

/// YAML ends lines at a bare CR too, nothing else does: so that all count alike, it becomes a LF.
fn with_line_feeds(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let next_is_line_feed = |at: usize| bytes.get(at + 1) == Some(&b'\n');
    let is_bare = |at: usize, character: char| character == '\r' && !next_is_line_feed(at);
    if text
        .char_indices()
        .any(|(at, character)| is_bare(at, character))
    {
        let replace = |(at, character)| {
            if is_bare(at, character) {
                '\n'
            } else {
                character
            }
        };
        text.char_indices().map(replace).collect::<String>().into()
    } else {
        text.into()
    }
}

fn read_document(
    document: &Document<'_>,
    report: &Report,
) -> Result<Option<tree::Node>, tree::Unreadable> {
    if document.text.len() > DOCUMENT_BYTES_MAX {
        let position = Position {
            line: document.first_line,
            column: 1,
            length: 1,
        };
        let found = "a document of more than 1 MiB".to_owned();
        return Err(tree::Unreadable {
            position,
            found,
            allowed: "at most 1 MiB".into(),
        });
    }
    let root = tree::read(document.text, document.first_line)?;
    if let Some(root) = &root {
        tree::survey(root, report);
    }
    Ok(root)
}

/// Puts what a document holds where it belongs.
fn take(
    file: &Arc<Path>,
    document_index: usize,
    (root, report): (&tree::Node, Report),
    parsed: &mut Parsed,
) {
    if root.is_empty() {
        return;
    }
    let is_sound = report.is_empty();
    let decoded = decode::object(&Place::root(root, &report));
    let line = root.position.line;
    parsed
        .mistakes
        .extend(report.take_warnings(decoded.key.as_ref()));
    if decoded.is_foreign && is_sound {
        let warnings = report.into_mistakes().into_iter().map(|mistake| Mistake {
            severity: Severity::Warning,
            object: decoded.title.clone(),
            ..mistake
        });
        parsed.mistakes.extend(warnings);
        return;
    }
    if let Some(object) = decoded.object {
        let positions = tree::positions(root);
        let located = Located {
            object,
            file: file.clone(),
            document_index,
            line,
            positions,
        };
        if report.is_empty() {
            parsed.objects.push(Arc::new(located));
            return;
        }
        parsed.broken.push(Arc::new(located));
    }
    if report.is_empty() {
        // A decoder that gives up has said why. Should one ever not, the object must not vanish in silence.
        let allowed = "an object this version of Usher can read".to_owned();
        report.add(
            root.position,
            String::new(),
            "an object that cannot be read".into(),
            allowed,
        );
    }
    let title = decoded.title.filter(|_| decoded.key.is_none());
    let named = decoded.key.is_some();
    let stand_in = || unnamed(decoded.home?, file, document_index);
    let key = decoded.key.or_else(stand_in);
    let mut mistakes = report.into_mistakes();
    for mistake in &mut mistakes {
        if let Some(key) = &key {
            mistake.set_object(key);
        }
        if !named {
            mistake.object.clone_from(&title);
        }
    }
    parsed.mistakes.append(&mut mistakes);
    match key {
        Some(key) => parsed.rejected.push(Rejected {
            key,
            named,
            file: file.to_path_buf(),
            line,
            targets: decoded.targets,
        }),
        None => parsed.unreadable.push(file.to_path_buf()),
    }
}

/// How the keys of policies begin that say no valid name.
pub const UNNAMED: &str = "unnamed-";

/// A key for an AccessPolicy or AuthenticationPolicy without a valid name: what it was meant to protect must not stand open meanwhile. The
/// same document has the same key each time.
pub fn unnamed(
    (kind, namespace): (Kind, Name),
    file: &Path,
    document_index: usize,
) -> Option<ObjectKey> {
    if !matches!(kind, Kind::AccessPolicy | Kind::AuthenticationPolicy) {
        return None;
    }
    // FNV-1a: files of one name in two folders are two.
    let hash = file
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
    let name = format!("{UNNAMED}{}-{hash:08x}", document_index.saturating_add(1));
    Some(ObjectKey {
        kind,
        namespace,
        name: name.parse().ok()?,
    })
}
