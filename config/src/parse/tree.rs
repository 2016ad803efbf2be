//! YAML text → a tree in which every key and value knows its position.
//!
//! Built from the parser's events, not from `serde_yaml::Value`, which has no positions. Aliases are not expanded
//! (a bomb of nine lines would be gigabytes) but refused, and so are tags; what remains is JSON with comments.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use super::position::{Position, Positions};
use super::report::Report;

/// Deeper nesting is refused. The deepest kind needs 8.
pub(super) const DEPTH_MAX: usize = 64;

/// A value and where it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) position: Position,
    pub(super) content: Content,
}

impl Node {
    /// Whether nothing is written: `---` alone.
    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.content, Content::Scalar { text, plain: true } if text.is_empty() || text == "~")
    }
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Content {
    /// Plain text may mean a number, a truth value or nothing; quoted text is text.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
    /// A kind of YAML we refuse; holds its name. Reported by [`survey`], silent afterwards.
    Refused(&'static str),
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Node,
    pub(super) value: Node,
}

impl Entry {
    /// The key as text; `None` where it is a list or mapping.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.key.content {
            Content::Scalar { text, .. } => Some(text),
            Content::Sequence(_) | Content::Mapping(_) | Content::Refused(_) => None,
        }
    }
}

/// Why there is no tree.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) position: Position,
    pub(super) found: String,
    pub(super) allowed: String,
}

/// Reads one document whose first line is line `first_line` of its file. `None`: nothing but comments.
pub(super) fn read(text: &str, first_line: u32) -> Result<Option<Node>, Unreadable> {
    let mut builder = Builder {
        first_line,
        open: Vec::new(),
        root: None,
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((Event::StreamEnd, _)) => break,
            Ok((event, span)) => builder.take(event, span)?,
            Err(error) => return Err(builder.syntax(text, &error)),
        }
    }
    Ok(builder.root)
}

enum Open {
    Sequence(Position, Vec<Node>),
    Mapping(Position, Vec<Entry>, Option<Node>),
}

struct Builder {
    first_line: u32,
    open: Vec<Open>,
    root: Option<Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Unreadable> {
        let position = self.position(span);
        match event {
            Event::Scalar(text, style, _, tag) => {
                let content = match tag.as_deref() {
                    Some(tag) if !is_text_tag(tag) => Content::Refused("a tag"),
                    tag => Content::Scalar {
                        plain: style == ScalarStyle::Plain && tag.is_none(),
                        text: text.into_owned(),
                    },
                };
                self.put(Node { position, content })
            }
            Event::Alias(_) => self.put(Node {
                position,
                content: Content::Refused("an alias"),
            }),
            Event::SequenceStart(..) => self.enter(Open::Sequence(position, Vec::new()), position),
            Event::MappingStart(..) => {
                self.enter(Open::Mapping(position, Vec::new(), None), position)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::Sequence(position, items)) => self.put(Node {
                    position,
                    content: Content::Sequence(items),
                }),
                Some(Open::Mapping(position, entries, _)) => self.put(Node {
                    position,
                    content: Content::Mapping(entries),
                }),
                None => Ok(()),
            },
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn enter(&mut self, open: Open, position: Position) -> Result<(), Unreadable> {
        if self.open.len() >= DEPTH_MAX {
            return Err(Unreadable {
                position,
                found: format!("nesting deeper than {DEPTH_MAX}"),
                allowed: format!("at most {DEPTH_MAX} levels"),
            });
        }
        self.open.push(open);
        Ok(())
    }

    fn put(&mut self, mut node: Node) -> Result<(), Unreadable> {
        match self.open.last_mut() {
            Some(Open::Sequence(_, items)) => items.push(node),
            Some(Open::Mapping(_, entries, pending)) => match pending.take() {
                None => *pending = Some(node),
                Some(key) => {
                    // An empty value has no place of its own: the parser names that of whatever comes next.
                    if node.position.length == 0 {
                        node.position = key.position;
                    }
                    entries.push(Entry { key, value: node });
                }
            },
            None if self.root.is_none() => self.root = Some(node),
            None => {
                return Err(Unreadable {
                    position: node.position,
                    found: "a second value".into(),
                    allowed: "one value per document; `---` begins the next".into(),
                });
            }
        }
        Ok(())
    }

    fn position(&self, span: Span) -> Position {
        let characters = span.end.index().saturating_sub(span.start.index());
        let mut position = self.place(&span.start);
        position.length = number(characters);
        position
    }

    fn place(&self, marker: &Marker) -> Position {
        let line = self
            .first_line
            .saturating_add(number(marker.line().saturating_sub(1)));
        Position {
            line,
            column: number(marker.col()).saturating_add(1),
            length: 1,
        }
    }

    fn syntax(&self, text: &str, error: &ScanError) -> Unreadable {
        let line = error.marker().line();
        if error.info().contains("tab")
            && let Some(tabbed) = tab_for_indentation(text, line)
        {
            return Unreadable {
                position: Position {
                    line: self.first_line.saturating_add(number(tabbed)),
                    column: 1,
                    length: 1,
                },
                found: "a tab that indents".into(),
                allowed: "spaces: YAML does not indent by tabs".into(),
            };
        }
        let mut position = self.place(error.marker());
        // What misses its end is noticed after the last line, where nothing can be shown.
        if let Some((last, shown)) = text.lines().enumerate().last()
            && line > last + 1
        {
            position.line = self.first_line.saturating_add(number(last));
            position.column = number(shown.chars().count()).max(1);
        }
        Unreadable {
            position,
            found: format!("text that is not YAML ({})", error.info()),
            allowed: "a YAML document".into(),
        }
    }
}

/// The first line from `line` (the first is 1) on that a tab indents, counted from 0. The scanner may notice one line
/// before it, where it looks for the end of what is there.
fn tab_for_indentation(text: &str, line: usize) -> Option<usize> {
    let indents = |line: &str| line.trim_start_matches(' ').starts_with('\t');
    let mut lines = text.lines().enumerate().skip(line.saturating_sub(1));
    lines.find(|(_, line)| indents(line)).map(|(at, _)| at)
}

fn is_text_tag(tag: &Tag) -> bool {
    tag.is_yaml_core_schema() && tag.suffix == "str"
}

fn number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Reports what is wrong with the tree itself: repeated keys, keys that are not text, aliases and tags.
pub(super) fn survey(root: &Node, report: &Report) {
    survey_node(root, &mut Vec::new(), report);
}

fn survey_node<'a>(node: &'a Node, path: &mut Vec<Step<'a>>, report: &Report) {
    match &node.content {
        Content::Scalar { .. } => {}
        Content::Refused(what) => report.add(
            node.position,
            written(path),
            (*what).to_owned(),
            "the value written out: aliases and tags are not read".into(),
        ),
        Content::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                survey_node(item, path, report);
                path.pop();
            }
        }
        Content::Mapping(entries) => survey_mapping(entries, path, report),
    }
}

fn survey_mapping<'a>(entries: &'a [Entry], path: &mut Vec<Step<'a>>, report: &Report) {
    let mut first: HashMap<&str, Position> = HashMap::new();
    for entry in entries {
        let Some(name) = entry.name() else {
            let found = "a key that is not text".to_owned();
            report.add(
                entry.key.position,
                written(path),
                found,
                "text as a key".into(),
            );
            continue;
        };
        path.push(Step::Key(name));
        if let Some(earlier) = first.insert(name, entry.key.position) {
            first.insert(name, earlier);
            let found = format!("`{}` for the second time", shorten(name));
            report.add_related(
                entry.key.position,
                written(path),
                (found, "each key once".into()),
                (earlier, "first given here"),
            );
        } else {
            survey_node(&entry.value, path, report);
        }
        path.pop();
    }
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// `spec.rules[0].name`
fn written(path: &[Step<'_>]) -> String {
    path.iter().fold(String::new(), |path, step| match step {
        Step::Key(name) => child(&path, name),
        Step::Index(index) => format!("{path}[{index}]"),
    })
}

/// The path of a field of the mapping at `path`.
pub(super) fn child(path: &str, name: &str) -> String {
    if path.is_empty() {
        shorten(name)
    } else {
        format!("{path}.{}", shorten(name))
    }
}

/// At most 80 characters: whatever a file holds, messages stay readable.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The position of every field. Only for trees that decoded: their size is bounded by the kind's shape.
pub(super) fn positions(root: &Node) -> Positions {
    let mut positions = Positions::default();
    collect("", root, &mut positions);
    positions
}

fn collect(path: &str, node: &Node, positions: &mut Positions) {
    positions.0.insert(path.to_owned(), node.position);
    match &node.content {
        Content::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(&format!("{path}[{index}]"), item, positions);
            }
        }
        Content::Mapping(entries) => {
            for entry in entries {
                if let Some(name) = entry.name() {
                    collect(&child(path, name), &entry.value, positions);
                }
            }
        }
        Content::Scalar { .. } | Content::Refused(_) => {}
    }
}
