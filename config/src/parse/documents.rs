//! A file is cut into documents *before* YAML sees it: a line that begins with `---` or `...` ends a document
//! wherever it stands (YAML 1.2.2 §9.1.2 forbids it inside every scalar), so a syntax error costs one document.

/// A document's text, its `---` included.
pub(super) struct Document<'a> {
    pub(super) text: &'a str,
    pub(super) first_line: u32,
}

/// In order.
pub(super) fn documents(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    // Where the document begins, its first line, and whether it holds only comments and directives so far: those
    // belong to the document whose `---` follows.
    let (mut start, mut first_line, mut prologue) = (0, 1, true);
    let mut at = 0;
    for (line, number) in text.split_inclusive('\n').zip(1_u32..) {
        let (begins, ends) = (is_marker(line, "---"), is_marker(line, "..."));
        if begins && !prologue {
            documents.push(Document {
                text: text.get(start..at).unwrap_or_default(),
                first_line,
            });
            (start, first_line) = (at, number);
        }
        at += line.len();
        prologue = prologue && !begins && (line.trim().is_empty() || line.starts_with(['#', '%']));
        if ends {
            documents.push(Document {
                text: text.get(start..at).unwrap_or_default(),
                first_line,
            });
            (start, first_line, prologue) = (at, number.saturating_add(1), true);
        }
    }
    if start < text.len() {
        documents.push(Document {
            text: text.get(start..).unwrap_or_default(),
            first_line,
        });
    }
    documents
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}
