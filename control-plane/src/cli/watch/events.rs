//! Server-sent events, as far as `/v1/watch` sends them (WHATWG HTML §9.2). Pure.

use serde::Deserialize;

use crate::status::ChangeReport;

/// Longest event read, in bytes: one instance has less than a kilobyte.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// What is said.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    Change(Box<ChangeReport>),
    Synced,
    Ended(String),
}

/// What has been read of the stream, and makes no event yet.
#[derive(Debug, Default)]
pub(super) struct Events {
    rest: Vec<u8>,
    name: String,
    data: String,
}

#[derive(Deserialize)]
struct Reason {
    reason: String,
}

impl Events {
    /// The events that are complete with these bytes. Unknown ones are skipped: a newer control plane may have more.
    ///
    /// # Errors
    /// This is no such stream.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Event>, &'static str> {
        self.rest.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            events.extend(self.line(line.trim_end_matches(['\n', '\r']))?);
        }
        if self.rest.len() + self.data.len() > EVENT_BYTES_MAX {
            return Err("its answer is not what a control plane of this version says");
        }
        Ok(events)
    }

    fn line(&mut self, line: &str) -> Result<Option<Event>, &'static str> {
        if line.is_empty() {
            let (name, data) = (
                std::mem::take(&mut self.name),
                std::mem::take(&mut self.data),
            );
            return event(&name, &data);
        }
        // A line that begins with a colon is a sign of life.
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => self.data.push_str(value),
            _ => {}
        }
        Ok(None)
    }
}

fn event(name: &str, data: &str) -> Result<Option<Event>, &'static str> {
    let foreign = |_| "its answer is not what a control plane of this version says";
    Ok(match name {
        "change" => Some(Event::Change(serde_json::from_str(data).map_err(foreign)?)),
        "synced" => Some(Event::Synced),
        "ended" => {
            let Reason { reason } = serde_json::from_str(data).map_err(foreign)?;
            Some(Event::Ended(reason))
        }
        _ => None,
    })
}
