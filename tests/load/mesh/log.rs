//! What the control plane's log says about how long a configuration took to be accepted.

use std::{
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
    time::Duration,
};

use anyhow::Result;

/// One configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    /// The directory was read and parsed.
    pub(super) read: Duration,
    /// It became a world, was compiled, encoded and written.
    pub(super) decided: Duration,
}

/// Those of which the log tells beyond its first so many bytes.
pub(super) fn accepted_since(log: &Path, seen: u64) -> Result<Vec<Accepted>> {
    let mut file = std::fs::File::open(log)?;
    file.seek(SeekFrom::Start(seen))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text.lines().filter_map(accepted).collect())
}

fn accepted(line: &str) -> Option<Accepted> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let text = |field: &str| line.get(field)?.as_str();
    (text("message")? == "directory in force").then_some(())?;
    Some(Accepted {
        read: duration(text("read")?)?,
        decided: duration(text("decided")?)?,
    })
}

/// As `Duration` shows itself.
fn duration(text: &str) -> Option<Duration> {
    let units = [("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let (number, unit) = units
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))?;
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Accepted, accepted};

    #[test]
    fn how_long_it_took_is_read_from_the_log() {
        let line = r#"{"message":"directory in force","revision":7,"read":"1.5ms","decided":"2s"}"#;
        let expected = Accepted {
            read: Duration::from_micros(1_500),
            decided: Duration::from_secs(2),
        };
        assert_eq!(accepted(line), Some(expected));
        assert_eq!(accepted(r#"{"message":"instance registered"}"#), None);
        assert_eq!(accepted("Usher control plane of test.mesh"), None);
    }
}
