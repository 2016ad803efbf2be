//! Edits → text, in place. Nothing here has to be right for every way of writing YAML: who calls reads the result again.

use super::{
    edits::Edit,
    emit,
    node::{Entry, Node, Place},
};

/// Bytes, and what comes in their place.
struct Splice {
    start: usize,
    end: usize,
    text: String,
}

/// `text` with all edits made; `None`: one of them has no place of its own.
pub(super) fn spliced(text: &str, edits: &Option<Vec<Edit<'_>>>) -> Option<String> {
    let lines = Lines { text };
    let mut splices: Vec<Splice> = Vec::new();
    for edit in edits.as_ref()? {
        splices.push(lines.splice(edit)?);
    }
    // Of those that begin at the same byte, what is put in comes before what is taken out; otherwise as they are.
    splices.sort_by_key(|splice| (splice.start, splice.end));
    let windows = text.contains("\r\n");
    let (mut result, mut at) = (String::with_capacity(text.len() + 4096), 0);
    for splice in splices {
        result.push_str(text.get(at..splice.start)?);
        match windows {
            true => result.push_str(&splice.text.replace('\n', "\r\n")),
            false => result.push_str(&splice.text),
        }
        at = splice.end;
    }
    result.push_str(text.get(at..)?);
    Some(result)
}

struct Lines<'a> {
    text: &'a str,
}

impl Lines<'_> {
    fn splice(&self, edit: &Edit<'_>) -> Option<Splice> {
        match *edit {
            Edit::AddEntry(mapping, entry) => self.add_entry(mapping, entry),
            Edit::ReplaceEntry(mapping, at, entry) => self.replace_entry(mapping, at, entry),
            Edit::RemoveEntries(mapping, first, last) => {
                let place = |entry: &Entry| self.extent(entry);
                let (before, this, after) = around(mapping.entries(), (first, last), place)?;
                self.remove(mapping.place?.flow, before, this, after)
            }
            Edit::AddItem(sequence, before, item) => self.add_item(sequence, before, item),
            Edit::ReplaceItem(sequence, at, item) => {
                let old = sequence.items().get(at)?.place?;
                let text = match sequence.place?.flow {
                    true => emit::flow(item),
                    false => {
                        let dash = self.dash(old)?;
                        let column = self.column(dash);
                        return Some(Splice {
                            start: dash,
                            end: old.end,
                            text: emit::item(item, column),
                        });
                    }
                };
                Some(Splice {
                    start: old.start,
                    end: old.end,
                    text,
                })
            }
            Edit::RemoveItems(sequence, first, last) => {
                let flow = sequence.place?.flow;
                let place = |item: &Node| {
                    let place = item.place?;
                    let start = if flow { place.start } else { self.dash(place)? };
                    Some((start, place.end))
                };
                let (before, this, after) = around(sequence.items(), (first, last), place)?;
                self.remove(flow, before, this, after)
            }
        }
    }

    fn add_entry(&self, mapping: &Node, entry: &Entry) -> Option<Splice> {
        let place = mapping.place?;
        let last = mapping.entries().last();
        if place.flow {
            let Some(last) = last else {
                return Some(put(place.start + 1, emit::flow_entry(entry)));
            };
            let (_, end) = self.extent(last)?;
            return Some(put(end, format!(", {}", emit::flow_entry(entry))));
        }
        let column = self.column(mapping.entries().first()?.place?.start);
        let (_, end) = self.extent(last?)?;
        self.put_after(end, column, &emit::entry(entry, column))
    }

    fn replace_entry(&self, mapping: &Node, at: usize, entry: &Entry) -> Option<Splice> {
        let (start, end) = self.extent(mapping.entries().get(at)?)?;
        let text = match mapping.place?.flow {
            true => emit::flow_entry(entry),
            false => emit::entry(entry, self.column(start)),
        };
        Some(Splice { start, end, text })
    }

    fn add_item(&self, sequence: &Node, before: usize, item: &Node) -> Option<Splice> {
        let place = sequence.place?;
        let items = sequence.items();
        if place.flow {
            return Some(match (items.get(before), items.last()) {
                (Some(next), _) => put(next.place?.start, format!("{}, ", emit::flow(item))),
                (None, Some(last)) => put(last.place?.end, format!(", {}", emit::flow(item))),
                (None, None) => put(place.start + 1, emit::flow(item)),
            });
        }
        let column = self.column(self.dash(items.first()?.place?)?);
        let text = emit::item(item, column);
        match items.get(before) {
            Some(next) => {
                let dash = self.dash(next.place?)?;
                let line = self.line_start(dash);
                if !is_blank(self.text.get(line..dash)?) {
                    // Behind another dash.
                    return Some(put(dash, format!("{text}\n{:column$}", "")));
                }
                Some(put(
                    self.with_comments(line),
                    format!("{:column$}{text}\n", ""),
                ))
            }
            None => self.put_after(items.last()?.place?.end, column, &text),
        }
    }

    /// In lines of its own behind the one in which `end` is.
    fn put_after(&self, end: usize, column: usize, text: &str) -> Option<Splice> {
        // The end of a text in several lines is that of its last line that is not empty.
        let end = self.text.get(..end)?.trim_end().len();
        let at = self.line_end(end);
        let rest = self.text.get(end..at)?.trim();
        if !(rest.is_empty() || rest.starts_with('#')) {
            return None;
        }
        Some(match self.text.get(..at)?.ends_with('\n') {
            true => put(at, format!("{:column$}{text}\n", "")),
            false => put(at, format!("\n{:column$}{text}", "")),
        })
    }

    /// `before`: where the one before ends, `after`: where the one after begins, of those that there are.
    fn remove(
        &self,
        flow: bool,
        before: Option<usize>,
        (start, end): (usize, usize),
        after: Option<usize>,
    ) -> Option<Splice> {
        let gone = |start, end| {
            Some(Splice {
                start,
                end,
                text: String::new(),
            })
        };
        let line = self.line_start(start);
        if flow {
            return match (before, after) {
                (Some(before), _) => gone(before, end),
                (None, Some(after)) => gone(start, after),
                (None, None) => gone(start, end),
            };
        }
        if !is_blank(self.text.get(line..start)?) {
            return gone(start, after?);
        }
        if before.is_none() && after.is_none() {
            return None;
        }
        let end = self.text.get(..end)?.trim_end().len();
        match self.line_end(end) {
            // The newline before it was put in with it.
            all if !self.text.get(..all)?.ends_with('\n') => gone(line.saturating_sub(1), all),
            all => gone(line, all),
        }
    }

    /// Key and value. A value that is not written ends with its colon.
    fn extent(&self, entry: &Entry) -> Option<(usize, usize)> {
        let key = entry.place?;
        let value = entry.value.place?;
        if value.start != key.start {
            return Some((key.start, value.end));
        }
        let colon = self.text.get(key.end..)?.find(':')?;
        Some((key.start, key.end + colon + 1))
    }

    /// The dash before an item.
    fn dash(&self, item: Place) -> Option<usize> {
        let before = self.text.get(..item.start)?.trim_end();
        before.ends_with('-').then(|| before.len() - 1)
    }

    /// The first of the lines of comments above a line.
    fn with_comments(&self, line: usize) -> usize {
        let mut first = line;
        while first > 0 {
            let above = self.line_start(first - 1);
            let text = self.text.get(above..first).unwrap_or_default();
            if !text.trim_start().starts_with('#') {
                break;
            }
            first = above;
        }
        first
    }

    fn line_start(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or_default();
        before.rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// Behind its newline.
    fn line_end(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        rest.find('\n')
            .map_or(self.text.len(), |newline| at + newline + 1)
    }

    /// Characters before it in its line.
    fn column(&self, at: usize) -> usize {
        let line = self.text.get(self.line_start(at)..at);
        line.map_or(0, |before| before.chars().count())
    }
}

fn put(at: usize, text: String) -> Splice {
    Splice {
        start: at,
        end: at,
        text,
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

type Extent = (usize, usize);

/// Where the neighbours of a stretch end and begin, and its own extent.
fn around<T>(
    all: &[T],
    (first, last): (usize, usize),
    extent: impl Fn(&T) -> Option<Extent>,
) -> Option<(Option<usize>, Extent, Option<usize>)> {
    let this = (extent(all.get(first)?)?.0, extent(all.get(last)?)?.1);
    let before = match first.checked_sub(1).and_then(|at| all.get(at)) {
        None => None,
        Some(one) => Some(extent(one)?.1),
    };
    let after = match all.get(last + 1) {
        None => None,
        Some(one) => Some(extent(one)?.0),
    };
    Some((before, this, after))
}
