//! RFC 9112 to the letter, slowly: what a strict origin makes of the bytes that reached it.
//!
//! Written without a look at the proxy's own reader, and with none of its code.

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message {
    pub(super) fn field(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(field, _)| field == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// All whole messages, and how many bytes of an unfinished one follow. `Err`: not HTTP/1.1, or ambiguous.
pub(super) fn messages(mut bytes: &[u8]) -> Result<(Vec<Message>, usize), String> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        match message(bytes)? {
            Some((message, rest)) => {
                all.push(message);
                bytes = rest;
            }
            None => return Ok((all, bytes.len())),
        }
    }
    Ok((all, 0))
}

type Parsed<'a, T> = Result<Option<(T, &'a [u8])>, String>;

fn message(bytes: &[u8]) -> Parsed<'_, Message> {
    let Some((line, mut rest)) = line(bytes)? else {
        return Ok(None);
    };
    let parts: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else {
        return Err(format!("request line {line:?}"));
    };
    if method.is_empty() || !method.chars().all(is_tchar) {
        return Err(format!("method {method:?}"));
    }
    if !target.starts_with('/')
        || target.contains('#')
        || !target.chars().all(|c| c.is_ascii_graphic())
    {
        return Err(format!("target {target:?}"));
    }
    let mut fields = Vec::new();
    loop {
        let Some((text, after)) = self::line(rest)? else {
            return Ok(None);
        };
        rest = after;
        if text.is_empty() {
            break;
        }
        fields.push(field(&text)?);
    }
    let mut message = Message {
        method: method.to_owned(),
        target: target.to_owned(),
        fields,
        body: Vec::new(),
    };
    if message.field("host").len() != 1 {
        return Err(format!("hosts {:?}", message.field("host")));
    }
    let (lengths, codings) = (
        message.field("content-length"),
        message.field("transfer-encoding"),
    );
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(Some((message, rest))),
        ([length], []) => {
            if length.is_empty() || !length.chars().all(|c| c.is_ascii_digit()) {
                return Err(format!("content-length {length:?}"));
            }
            let length: usize = length
                .parse()
                .map_err(|_| format!("content-length {length:?}"))?;
            if rest.len() < length {
                return Ok(None);
            }
            message.body = rest[..length].to_vec();
            Ok(Some((message, &rest[length..])))
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => {
            let Some((body, rest)) = chunked(rest)? else {
                return Ok(None);
            };
            message.body = body;
            Ok(Some((message, rest)))
        }
        _ => Err(format!("framing {lengths:?} {codings:?}")),
    }
}

fn chunked(mut bytes: &[u8]) -> Parsed<'_, Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Some((size, rest)) = line(bytes)? else {
            return Ok(None);
        };
        let digits = size.split(';').next().unwrap_or_default();
        if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(format!("chunk size {size:?}"));
        }
        let size = usize::from_str_radix(digits, 16).map_err(|_| format!("chunk size {size:?}"))?;
        bytes = rest;
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(..size + 2) else {
            return Ok(None);
        };
        if &chunk[size..] != b"\r\n" {
            return Err("a chunk without its end".into());
        }
        body.extend_from_slice(&chunk[..size]);
        bytes = &bytes[size + 2..];
    }
    loop {
        let Some((text, rest)) = line(bytes)? else {
            return Ok(None);
        };
        bytes = rest;
        if text.is_empty() {
            return Ok(Some((body, bytes)));
        }
        field(&text)?;
    }
}

fn line(bytes: &[u8]) -> Parsed<'_, String> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return if bytes.iter().rev().skip(1).any(|byte| *byte == b'\r') {
            Err("bare CR".into())
        } else {
            Ok(None)
        };
    };
    let text: String = bytes[..end].iter().map(|byte| char::from(*byte)).collect();
    match text.strip_suffix('\r') {
        Some(text) if !text.contains('\r') => Ok(Some((text.to_owned(), &bytes[end + 1..]))),
        _ => Err(format!("line end of {text:?}")),
    }
}

fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| format!("field {line:?}"))?;
    if name.is_empty() || !name.chars().all(is_tchar) {
        return Err(format!("field name {name:?}"));
    }
    let value = value.trim_matches([' ', '\t']);
    let is_fine =
        |c: char| c == '\t' || (' '..='~').contains(&c) || ('\u{80}'..='\u{ff}').contains(&c);
    if !value.chars().all(is_fine) {
        return Err(format!("field value {value:?}"));
    }
    Ok((name.to_ascii_lowercase(), value.to_owned()))
}

fn is_tchar(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}
