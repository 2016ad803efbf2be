//! Names of headers that a server may take for one another: WSGI, Rack, PHP and whatever else follows CGI (RFC 3875 §4.1.18)
//! make one variable of `x-a` and `x_a`.

/// Whether a server may take the name, in lower case, for `wanted`. Both ways: whoever asks for `x_a` gets `x-a`, too.
pub fn is_like(name: &str, wanted: &str) -> bool {
    name.len() == wanted.len() && begins_like(name, wanted)
}

/// Whether a server may take it for one that begins with `prefix`.
pub fn begins_like(name: &str, prefix: &str) -> bool {
    let (name, prefix) = (name.as_bytes(), prefix.as_bytes());
    let plain = |byte: &u8| if *byte == b'_' { b'-' } else { *byte };
    let alike = |(have, want): (&u8, &u8)| plain(have) == plain(want);
    name.len() >= prefix.len() && name.iter().zip(prefix).all(alike)
}
