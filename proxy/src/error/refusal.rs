//! What is wrong with a request's head, when it is refused before anybody looked at what it means.

/// One rule of RFC 9112 (or bound of ours) that a head breaks. Each has a slug of its own: whoever sent the
/// request should be able to find the byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Not `method SP target SP version` (§3).
    RequestLine,
    /// Not a token, longer than any method known, or in small letters: methods are case-sensitive, and an
    /// application that thinks otherwise would see another method than the mesh.
    Method,
    /// Not one of the forms of §3.2, with a fragment, or with octets that no URI has.
    Target,
    /// See `http::strict::TARGET_MAX`.
    TargetTooLong,
    /// Neither 1.0 nor 1.1.
    Version,
    /// `CONNECT` would make the sidecar an open relay.
    Connect,
    /// A line that does not end with CRLF, or a CR or LF elsewhere (§2.2).
    LineEnding,
    /// A line that continues the one before (§5.2), or begins with white space.
    Folded,
    /// Empty, not a token, or with white space before its colon (§5.1).
    FieldName,
    /// With a control character (RFC 9110 §5.5).
    FieldValue,
    /// See `http::headers::HEADER_BYTES_MAX`.
    HeadTooLarge,
    /// See `http::headers::HEADERS_MAX`.
    TooManyFields,
    /// HTTP/1.1 needs one (§3.2).
    HostMissing,
    /// More than one.
    HostRepeated,
    /// Not digits, or more than fits.
    ContentLength,
    /// More than one, be they equal or not.
    ContentLengthRepeated,
    /// Both framings at once (§6.1): what a smuggled request is made of.
    LengthAndCoding,
    /// `chunked` is not the only and last coding, or there are several fields (§6.1).
    TransferCoding,
    /// A coding before `chunked` that this proxy would have to take off.
    TransferCodingUnknown,
    /// In an HTTP/1.0 message, whose framing is then unknown (§6.1).
    TransferCodingInOldVersion,
    /// Anything but `100-continue` (RFC 9110 §10.1.1).
    Expectation,
}

impl Refusal {
    /// Constant kebab-case words for `x-usher-reason`.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::RequestLine => "request-line-malformed",
            Self::Method => "method-malformed",
            Self::Target => "target-malformed",
            Self::TargetTooLong => "target-too-long",
            Self::Version => "version-not-supported",
            Self::Connect => "connect-not-allowed",
            Self::LineEnding => "line-ending-malformed",
            Self::Folded => "field-folded",
            Self::FieldName => "field-name-malformed",
            Self::FieldValue => "field-value-malformed",
            Self::HeadTooLarge => "head-too-large",
            Self::TooManyFields => "too-many-fields",
            Self::HostMissing => "host-missing",
            Self::HostRepeated => "host-repeated",
            Self::ContentLength => "content-length-malformed",
            Self::ContentLengthRepeated => "content-length-repeated",
            Self::LengthAndCoding => "content-length-with-transfer-encoding",
            Self::TransferCoding => "transfer-encoding-malformed",
            Self::TransferCodingUnknown => "transfer-coding-not-supported",
            Self::TransferCodingInOldVersion => "transfer-encoding-in-http-1-0",
            Self::Expectation => "expectation-not-supported",
        }
    }
}
