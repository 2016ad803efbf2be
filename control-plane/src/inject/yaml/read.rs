//! A document's text → its tree. Aliases and merge keys are resolved as kubectl does; what they would blow up is bounded.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};

use super::node::{Content, Entry, Mapping, Node, Place, Scalar};

/// Deeper nesting is refused: far beyond what API servers take.
const DEPTH_MAX: usize = 200;

/// Values that aliases may add up to; a document of nine lines could ask for billions.
const ALIASED_MAX: usize = 100_000;

/// A document, read.
#[derive(Debug)]
pub(in crate::inject) struct Read {
    /// `None`: nothing but comments.
    pub(in crate::inject) root: Option<Node>,
    /// What keeps it from being changed, though it can be read: a tag of somebody's own, a key twice.
    pub(in crate::inject) odd: Option<Unreadable>,
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::inject) struct Unreadable {
    /// From 1, in the document.
    pub(in crate::inject) line: u32,
    /// From 1.
    pub(in crate::inject) column: u32,
    pub(in crate::inject) found: String,
    pub(in crate::inject) allowed: &'static str,
}

/// Reads one document.
///
/// # Errors
/// Where it is not YAML, or beyond the bounds.
pub(in crate::inject) fn read(text: &str) -> Result<Read, Unreadable> {
    let mut builder = Builder::new(text);
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((Event::StreamEnd, _)) => break,
            Ok((event, span)) => builder.take(event, span)?,
            Err(error) => {
                let found = format!("text that is not YAML ({})", error.info());
                let mut unreadable = unreadable(error.marker(), found, "a YAML document");
                // What misses its end is noticed after the last line, where nothing can be shown.
                if let Some((last, shown)) = text.lines().enumerate().last()
                    && error.marker().line() > last + 1
                {
                    unreadable.line = number(last).saturating_add(1);
                    unreadable.column = number(shown.chars().count()).max(1);
                }
                return Err(unreadable);
            }
        }
    }
    Ok(Read {
        root: builder.root,
        odd: builder.odd,
    })
}

enum Open {
    Sequence(Frame, Vec<Node>),
    Mapping(Frame, Entries),
}

#[derive(Default)]
struct Entries {
    entries: Vec<Entry>,
    names: HashSet<String>,
    /// A key whose value comes next.
    pending: Option<Node>,
}

struct Frame {
    start: Marker,
    anchor: usize,
    flow: bool,
}

struct Builder<'a> {
    text: &'a str,
    /// Bytes before each character; empty: all characters are one byte.
    bytes: Vec<usize>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    aliased: usize,
    root: Option<Node>,
    odd: Option<Unreadable>,
}

impl<'a> Builder<'a> {
    fn new(text: &'a str) -> Self {
        let bytes = match text.is_ascii() {
            true => Vec::new(),
            false => text.char_indices().map(|(at, _)| at).collect(),
        };
        Self {
            text,
            bytes,
            open: Vec::new(),
            anchors: HashMap::new(),
            aliased: 0,
            root: None,
            odd: None,
        }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Unreadable> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = Scalar {
                    plain: style == ScalarStyle::Plain && !is_text_tag(tag.as_deref()),
                    text: text.into_owned(),
                };
                self.look_at(tag.as_deref(), &span.start);
                let place = self.place(&span.start, span.end.index());
                self.anchored(anchor, Content::Scalar(scalar), place, &span.start)
            }
            Event::Alias(anchor) => self.alias(anchor, &span.start),
            Event::SequenceStart(anchor, tag) => {
                self.look_at(tag.as_deref(), &span.start);
                let frame = self.frame(span, anchor, "[");
                self.enter(Open::Sequence(frame, Vec::new()), &span.start)
            }
            Event::MappingStart(anchor, tag) => {
                self.look_at(tag.as_deref(), &span.start);
                let frame = self.frame(span, anchor, "{");
                self.enter(Open::Mapping(frame, Entries::default()), &span.start)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::Sequence(frame, items)) => {
                    let last = items.last().and_then(|item| item.place);
                    let place = self.closed(&frame, last, span);
                    self.anchored(frame.anchor, Content::Sequence(items), place, &frame.start)
                }
                Some(Open::Mapping(frame, Entries { entries, .. })) => {
                    let last = entries.last().and_then(|entry| entry.value.place);
                    let place = self.closed(&frame, last, span);
                    let mapping = merged(entries);
                    self.anchored(frame.anchor, Content::Mapping(mapping), place, &frame.start)
                }
                None => Ok(()),
            },
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn enter(&mut self, open: Open, at: &Marker) -> Result<(), Unreadable> {
        if self.open.len() >= DEPTH_MAX {
            let found = format!("nesting deeper than {DEPTH_MAX}");
            return Err(unreadable(at, found, "at most 200 levels"));
        }
        self.open.push(open);
        Ok(())
    }

    fn anchored(
        &mut self,
        anchor: usize,
        content: Content,
        place: Option<Place>,
        at: &Marker,
    ) -> Result<(), Unreadable> {
        let node = Node { content, place };
        if anchor != 0 {
            self.anchors.insert(anchor, unplaced(&node));
        }
        self.put(node, at)
    }

    fn alias(&mut self, anchor: usize, at: &Marker) -> Result<(), Unreadable> {
        let node = self.anchors.get(&anchor).cloned();
        let node = node.ok_or_else(|| {
            unreadable(
                at,
                "an alias inside of what it names".into(),
                "a value that ends",
            )
        })?;
        self.aliased = self.aliased.saturating_add(size(&node));
        if self.aliased > ALIASED_MAX {
            let found = format!("aliases that stand for more than {ALIASED_MAX} values");
            return Err(unreadable(at, found, "fewer of them"));
        }
        self.put(node, at)
    }

    fn put(&mut self, node: Node, at: &Marker) -> Result<(), Unreadable> {
        match self.open.last_mut() {
            Some(Open::Sequence(_, items)) => items.push(node),
            Some(Open::Mapping(_, entries)) => {
                if let Some(odd) = entries.put(node, at) {
                    self.odd.get_or_insert(odd);
                }
            }
            None if self.root.is_none() => self.root = Some(node),
            None => {
                let found = "a second value".to_owned();
                let allowed = "one value per document; `---` begins the next";
                return Err(unreadable(at, found, allowed));
            }
        }
        Ok(())
    }

    fn look_at(&mut self, tag: Option<&Tag>, at: &Marker) {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            let found = format!("the tag `{}{}`", tag.handle, tag.suffix);
            let allowed = "no tags but YAML's own";
            self.odd
                .get_or_insert_with(|| unreadable(at, found, allowed));
        }
    }

    fn frame(&self, span: Span, anchor: usize, bracket: &str) -> Frame {
        let start = self.byte(span.start.index());
        let rest = self.text.get(start..).unwrap_or_default();
        let inside = self.open.iter().any(|open| match open {
            Open::Sequence(frame, _) | Open::Mapping(frame, _) => frame.flow,
        });
        Frame {
            start: span.start,
            anchor,
            flow: inside || rest.starts_with(bracket),
        }
    }

    /// Of what is written in blocks the end is that of its last part: the parser names the place of whatever comes next.
    fn closed(&self, frame: &Frame, last: Option<Place>, span: Span) -> Option<Place> {
        let end = match (frame.flow, last) {
            (true, _) => self.byte(span.end.index().max(span.start.index())),
            (false, Some(last)) => last.end,
            (false, None) => return None,
        };
        let start = self.byte(frame.start.index());
        Some(Place {
            start,
            end,
            flow: frame.flow,
            ..position(&frame.start)
        })
    }

    fn place(&self, start: &Marker, end: usize) -> Option<Place> {
        let flow = self.open.last().is_some_and(|open| match open {
            Open::Sequence(frame, _) | Open::Mapping(frame, _) => frame.flow,
        });
        Some(Place {
            start: self.byte(start.index()),
            end: self.byte(end),
            flow,
            ..position(start)
        })
    }

    fn byte(&self, character: usize) -> usize {
        if self.bytes.is_empty() {
            return character.min(self.text.len());
        }
        let byte = self.bytes.get(character);
        byte.copied().unwrap_or(self.text.len())
    }
}

impl Entries {
    /// A key, or the value of the one before; and what is odd about it.
    fn put(&mut self, node: Node, at: &Marker) -> Option<Unreadable> {
        let Some(key) = self.pending.take() else {
            self.pending = Some(node);
            return None;
        };
        let (place, value) = (key.place, self_placed(node, key.place));
        let key = match key.content {
            Content::Scalar(key) => key,
            Content::Sequence(_) | Content::Mapping(_) => {
                let found = "a key that is not text".to_owned();
                return Some(unreadable(at, found, "text as a key"));
            }
        };
        let again = !self.names.insert(key.text.clone()) && key.text != "<<";
        let found = again.then(|| format!("the key `{}` for the second time", key.text));
        self.entries.push(Entry { key, place, value });
        found.map(|found| unreadable(at, found, "each key once"))
    }
}

/// With what `<<` brings in, which is nobody's place, behind what is written.
fn merged(entries: Vec<Entry>) -> Mapping {
    let (merges, mut own): (Vec<Entry>, Vec<Entry>) = entries
        .into_iter()
        .partition(|entry| entry.key.plain && entry.key.text == "<<");
    for merge in &merges {
        let one = std::slice::from_ref(&merge.value);
        let several = merge.value.items();
        for source in one.iter().chain(several) {
            for entry in source.entries() {
                if !own.iter().any(|mine| mine.key.text == entry.key.text) {
                    own.push(Entry {
                        key: entry.key.clone(),
                        place: None,
                        value: unplaced(&entry.value),
                    });
                }
            }
        }
    }
    Mapping(own)
}

/// An empty value has no place of its own: the parser names that of whatever comes next.
fn self_placed(mut value: Node, key: Option<Place>) -> Node {
    if value.place.is_some_and(|place| place.start >= place.end) {
        value.place = key;
    }
    value
}

fn unplaced(node: &Node) -> Node {
    let content = match &node.content {
        Content::Scalar(scalar) => Content::Scalar(scalar.clone()),
        Content::Sequence(items) => Content::Sequence(items.iter().map(unplaced).collect()),
        Content::Mapping(mapping) => {
            let entries = mapping.0.iter().map(|entry| Entry {
                key: entry.key.clone(),
                place: None,
                value: unplaced(&entry.value),
            });
            Content::Mapping(Mapping(entries.collect()))
        }
    };
    Node {
        content,
        place: None,
    }
}

fn size(node: &Node) -> usize {
    let items = node.items().iter().map(size).sum::<usize>();
    let entries = node.entries().iter().map(|entry| size(&entry.value));
    1 + items + entries.sum::<usize>()
}

fn is_text_tag(tag: Option<&Tag>) -> bool {
    tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str")
}

fn position(at: &Marker) -> Place {
    Place {
        start: 0,
        end: 0,
        line: number(at.line()),
        column: number(at.col()).saturating_add(1),
        flow: false,
    }
}

fn unreadable(at: &Marker, found: String, allowed: &'static str) -> Unreadable {
    Unreadable {
        line: number(at.line()),
        column: number(at.col()).saturating_add(1),
        found,
        allowed,
    }
}

fn number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
