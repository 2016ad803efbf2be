//! Small parts of large read buffers, copied out of them.
//!
//! hyper and `h2` hand out what they read as parts of their read buffers (8 KiB and more), and every part keeps all of
//! its buffer. What is sent on over HTTP/2 is kept for long: `h2` remembers the last frame that it wrote, and HPACK's
//! table on either side the fields that it may see again. So each idle connection would hold several read buffers that
//! are used for a few bytes, and readers would make a new buffer for every message instead of using theirs again.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;

/// Pieces of a body up to this size, in bytes, are copied; larger ones fill a fair part of their buffer.
const COPIED_MAX: usize = 2 * 1024;

/// A frame whose data stands for itself.
pub(super) fn data_apart(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.data_ref() {
        Some(bytes) if bytes.len() <= COPIED_MAX => Frame::data(Bytes::copy_from_slice(bytes)),
        Some(_) | None => frame,
    }
}

/// Moves all values into one buffer of just their size.
pub fn fields_apart(fields: &mut HeaderMap) {
    let length = fields.values().map(HeaderValue::len).sum();
    let mut all = BytesMut::with_capacity(length);
    for value in fields.values() {
        all.extend_from_slice(value.as_bytes());
    }
    let mut all = all.freeze();
    for value in fields.values_mut() {
        let part = all.split_to(value.len());
        // It was a value before, so it is one again.
        if let Ok(mut apart) = HeaderValue::from_maybe_shared(part) {
            apart.set_sensitive(value.is_sensitive());
            *value = apart;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_name_value_order_and_secrecy() {
        let mut fields = HeaderMap::new();
        let read = Bytes::from_static(b"one\xfftwo\tthree");
        for (name, range) in [("a", 0..4), ("b", 4..4), ("a", 4..13)] {
            let value = HeaderValue::from_maybe_shared(read.slice(range)).unwrap();
            fields.append(name, value);
        }
        let mut secret = HeaderValue::from_static("secret");
        secret.set_sensitive(true);
        fields.insert("c", secret);
        let before = fields.clone();
        fields_apart(&mut fields);
        assert_eq!(fields, before);
        let secrecy = |fields: &HeaderMap| -> Vec<bool> {
            fields.values().map(HeaderValue::is_sensitive).collect()
        };
        assert_eq!(secrecy(&fields), secrecy(&before));
    }

    #[test]
    fn a_read_buffer_is_free_again_for_the_next_message() {
        let mut read = BytesMut::with_capacity(8 * 1024);
        let place = read.as_ptr();
        read.extend_from_slice(b"value, body");
        let value = read.split_to(5).freeze();
        let body = read.split_to(6).freeze();
        let mut fields = HeaderMap::new();
        fields.insert("a", HeaderValue::from_maybe_shared(value).unwrap());
        fields_apart(&mut fields);
        let _body = data_apart(Frame::data(body));
        read.reserve(8 * 1024);
        assert_eq!(read.as_ptr(), place, "something still holds the buffer");
    }
}
