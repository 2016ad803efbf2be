//! A text is cut into documents before YAML sees it: a line that begins with `---` or `...` ends a document wherever it
//! stands (YAML 1.2.2 §9.1.2 forbids it inside every scalar), so documents stay apart byte for byte.

/// A document's text, its `---` included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::inject) struct Document<'a> {
    pub(in crate::inject) text: &'a str,
    /// From 1.
    pub(in crate::inject) first_line: u32,
}

/// In order; together they are the text.
pub(in crate::inject) fn documents(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    // Where the document begins, its first line, and whether it holds only comments and directives so far: those
    // belong to the document whose `---` follows.
    let (mut start, mut first_line, mut prologue) = (0, 1, true);
    let mut at = 0;
    let mut cut = |start: usize, end: usize, first_line: u32| {
        if let Some(text) = text.get(start..end).filter(|text| !text.is_empty()) {
            documents.push(Document { text, first_line });
        }
    };
    for (line, number) in text.split_inclusive('\n').zip(1_u32..) {
        let (begins, ends) = (is_marker(line, "---"), is_marker(line, "..."));
        if begins && !prologue {
            cut(start, at, first_line);
            (start, first_line) = (at, number);
        }
        at += line.len();
        prologue = prologue && !begins && (line.trim().is_empty() || line.starts_with(['#', '%']));
        if ends {
            cut(start, at, first_line);
            (start, first_line, prologue) = (at, number.saturating_add(1), true);
        }
    }
    cut(start, text.len(), first_line);
    documents
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}
