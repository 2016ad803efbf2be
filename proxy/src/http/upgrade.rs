//! Leaving HTTP/1.1 (RFC 9110 §7.8): WebSocket, and whatever else two applications agree on.
//!
//! An upgrade crosses the mesh as the request that it is; if it comes about, the two directions of its connection are
//! the exchange's bodies (`http::tunnel`), so that all that holds for bodies holds for them. This module is about
//! heads only: who offers what, and who accepts it.
//!
//! Between sidecars HTTP/2 is spoken, which has no 101 (RFC 9113 §8.6). There offer and acceptance are a field each.
//! Not extended CONNECT (RFC 8441): it can say neither the request's method (Docker and Kubernetes upgrade POSTs) nor
//! that the application ignored the offer and answered 200, and would have to wait for the peer's settings.
//!
//! `h2c` is not carried on (RFC 9113 §3.1 withdrew it): past a proxy it would be a way around every rule.

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header, request,
    response,
};
use http_body::Body;
use smallvec::SmallVec;

/// Between sidecars: what the caller offers to go on with.
const OFFERED: HeaderName = HeaderName::from_static("x-usher-upgrade");
/// Between sidecars: what the application goes on with.
const ACCEPTED: HeaderName = HeaderName::from_static("x-usher-upgraded");

/// What a caller offers; an extension of its request.
#[derive(Debug, Clone)]
pub struct Offer(HeaderValue);

/// What was agreed on; an extension of a response whose status is 101.
#[derive(Debug, Clone)]
pub struct Accepted(HeaderValue);

impl Offer {
    /// Whether a request asks to leave HTTP. An offer of HTTP/1.0, or in a request with a body, is ignored, as any
    /// server may.
    pub fn of<B: Body>(request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        if !headers.contains_key(header::UPGRADE)
            || request.version() != Version::HTTP_11
            || !request.body().is_end_stream()
            || !names_upgrade(headers)
        {
            return None;
        }
        Self::parse(headers, &header::UPGRADE)
    }

    /// Takes another sidecar's word for what its caller offers.
    pub fn from_sidecar<B>(request: &mut Request<B>) {
        if let Some(offer) = Self::parse(request.headers(), &OFFERED) {
            request.headers_mut().remove(OFFERED);
            request.extensions_mut().insert(offer);
        }
    }

    fn parse(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let offered: SmallVec<[&[u8]; 2]> = tokens(headers, name)
            .filter(|token| !token.eq_ignore_ascii_case(b"h2c"))
            .collect();
        if offered.is_empty() {
            return None;
        }
        HeaderValue::from_bytes(&offered.join(&b", "[..]))
            .ok()
            .map(Self)
    }

    fn contains(&self, protocol: &[u8]) -> bool {
        split(&self.0).any(|offered| offered.eq_ignore_ascii_case(protocol))
    }

    /// Writes it as an HTTP/1.1 application reads it.
    pub fn ask(&self, headers: &mut HeaderMap) {
        write(headers, &self.0);
    }

    /// Moves it to where another sidecar looks for it; whether there is one.
    pub fn to_sidecar(head: &mut request::Parts) -> Option<Self> {
        let offer: Self = head.extensions.remove()?;
        head.headers.insert(OFFERED, offer.0.clone());
        Some(offer)
    }

    /// What an application's 101 agrees to; `None`: nothing that was offered.
    pub fn accepted_by<B>(&self, response: &Response<B>) -> Option<Accepted> {
        self.accepted(response.headers(), &header::UPGRADE)
    }

    fn accepted(&self, headers: &HeaderMap, name: &HeaderName) -> Option<Accepted> {
        let mut agreed = tokens(headers, name).peekable();
        agreed.peek()?;
        if agreed.any(|protocol| !self.contains(protocol)) {
            return None;
        }
        headers.get(name).cloned().map(Accepted)
    }

    /// Reads another sidecar's answer: a 101 again, if it was one.
    pub fn answered_by_sidecar<B>(&self, response: &mut Response<B>) {
        let accepted = self.accepted(response.headers(), &ACCEPTED);
        if response.headers_mut().remove(ACCEPTED).is_some()
            && let Some(accepted) = accepted
        {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.extensions_mut().insert(accepted);
        }
    }
}

impl Accepted {
    /// Writes it as an HTTP/1.1 caller reads it.
    pub fn answer(&self, headers: &mut HeaderMap) {
        write(headers, &self.0);
    }

    /// Puts a 101 into words that HTTP/2 has.
    pub fn to_sidecar(head: &mut response::Parts) {
        if let Some(Self(protocol)) = head.extensions.remove() {
            head.status = StatusCode::OK;
            head.headers.insert(ACCEPTED, protocol);
        }
    }
}

fn write(headers: &mut HeaderMap, protocol: &HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, protocol.clone());
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case(b"upgrade"))
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().flat_map(split)
}

fn split(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let tokens = value.as_bytes().split(|byte| *byte == b',');
    tokens
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests;
