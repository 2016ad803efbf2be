//! Names as people type them: with their namespace, or without where only one is meant.

use usher_config::{
    parse::{nearest, nearest_qualified},
    value::ServiceName,
};

/// How many names an answer lists: a mesh of thousands must not fill the terminal.
const LISTED_MAX: usize = 10;

/// Which of `known` is meant.
///
/// # Errors
/// None or several: a line that says what there is, with `what` for what was looked for.
pub fn find<'a>(
    known: impl Iterator<Item = &'a ServiceName> + Clone,
    text: &str,
    what: &str,
) -> Result<&'a ServiceName, String> {
    let qualified = text.split_once('/');
    let is_meant = |name: &&ServiceName| match qualified {
        Some((namespace, bare)) => {
            name.namespace.as_str() == namespace && name.name.as_str() == bare
        }
        None => name.name.as_str() == text,
    };
    let found: Vec<&ServiceName> = known.clone().filter(is_meant).collect();
    match found.as_slice() {
        [only] => Ok(only),
        [] => Err(unknown(known, qualified, (text, what))),
        several => Err(format!(
            "`{text}` may be {}: say which",
            listed(several.iter().copied())
        )),
    }
}

fn unknown<'a>(
    known: impl Iterator<Item = &'a ServiceName> + Clone,
    qualified: Option<(&str, &str)>,
    (text, what): (&str, &str),
) -> String {
    let names = known.clone();
    let near = match qualified {
        Some(asked) => {
            let names = names.map(|known| (known.namespace.as_str(), known.name.as_str()));
            nearest_qualified(asked, names).map(|(namespace, name)| format!("{namespace}/{name}"))
        }
        None => {
            let bare = known.clone().map(|known| known.name.as_str());
            let near = nearest(text, bare);
            let mut names = known.clone();
            near.and_then(|near| names.find(|name| name.name.as_str() == near))
                .map(ToString::to_string)
        }
    };
    let begin = format!("there is no {what} `{text}`");
    match near {
        Some(near) => format!("{begin}; did you mean {near}?"),
        None if known.clone().next().is_none() => format!("{begin}, nor any other"),
        None => format!("{begin}; there is {}", listed(known)),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a ServiceName>) -> String {
    let mut names: Vec<String> = names.map(ToString::to_string).collect();
    let more = names.len().saturating_sub(LISTED_MAX);
    names.truncate(LISTED_MAX);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{}{more}", names.join(", "))
}

#[cfg(test)]
mod tests;
