//! Interim answers (1xx): an application's on their way back, and the 100 that this proxy says itself.
//!
//! HTTP/2 callers get what the application says (103 Early Hints; RFC 8297); HTTP/1.1 callers do not: too many
//! clients of that age take the first head for the answer. An interim answer never changes what comes after it.
//!
//! Applications are never asked to encourage a caller (`Expect` goes no further than here): the proxy does, as soon
//! as somebody takes the body, which is when there is a connection for it.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    mem::take,
    rc::Rc,
    task::Poll,
};

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use tokio::sync::mpsc;

use super::{Body, headers};

/// Between sidecars: the caller can hear interim answers.
const ASKED: HeaderName = HeaderName::from_static("x-usher-interim");

/// More of one request are dropped: they pass no window, and what the caller does not read has to be kept.
const MOST: u8 = 8;

/// The way back to a caller's HTTP/2 stream.
#[derive(Debug)]
pub(super) struct Back {
    pub(super) respond: RefCell<SendResponse<Bytes>>,
    left: Cell<u8>,
}

/// Whoever can be told; the default: nobody.
#[derive(Debug, Clone, Default)]
pub struct Interim(Option<Rc<Back>>);

impl Back {
    pub(super) fn new(respond: SendResponse<Bytes>) -> Rc<Self> {
        Rc::new(Self {
            respond: RefCell::new(respond),
            left: Cell::new(MOST),
        })
    }

    /// The answer itself is next: nothing may come between.
    pub(super) fn close(&self) {
        self.left.set(0);
    }
}

impl Interim {
    pub(super) fn to(back: &Rc<Back>) -> Self {
        Self(Some(back.clone()))
    }

    /// Whether another sidecar's caller can hear them.
    pub fn is_asked_for(headers: &HeaderMap) -> bool {
        headers.contains_key(ASKED)
    }

    /// Asks another sidecar for them, if anybody here can hear them.
    pub fn ask(&self, headers: &mut HeaderMap) {
        if self.0.is_some() {
            headers.insert(ASKED, HeaderValue::from_static("1"));
        }
    }

    /// Encourages the caller to send its body.
    pub(super) fn go_on(&self) {
        self.send(response(StatusCode::CONTINUE, HeaderMap::new()));
    }

    /// Passes one on.
    pub fn forward(&self, mut interim: Response<()>) {
        // The caller has been encouraged already, and cannot leave HTTP/2.
        let known = [StatusCode::CONTINUE, StatusCode::SWITCHING_PROTOCOLS];
        if known.contains(&interim.status()) {
            return;
        }
        headers::remove_hop_by_hop(interim.headers_mut());
        headers::remove_ours(interim.headers_mut(), &[]);
        self.send(interim);
    }

    fn send(&self, interim: Response<()>) {
        let Some(back) = &self.0 else { return };
        if let Some(left) = back.left.get().checked_sub(1) {
            back.left.set(left);
            // A stream that is gone will say so to the answer.
            let _ = back.respond.borrow_mut().send_informational(interim);
        }
    }

    /// Makes an exchange of hyper's, passing on what comes before its answer.
    pub async fn during<F: Future>(
        &self,
        request: &mut Request<Body>,
        exchange: impl FnOnce(Request<Body>) -> F,
    ) -> F::Output {
        if self.0.is_none() {
            return exchange(take(request)).await;
        }
        let (tell, mut heard) = mpsc::channel(usize::from(MOST));
        hyper::ext::on_informational(request, move |interim| {
            let headers = interim.headers().clone();
            let _ = tell.try_send(response(interim.status(), headers));
        });
        // Boxed: few callers can hear them, and the others' futures would have place for both ways.
        let mut exchange = Box::pin(exchange(take(request)));
        poll_fn(|cx| {
            let answer = exchange.as_mut().poll(cx);
            while let Poll::Ready(Some(interim)) = heard.poll_recv(cx) {
                self.forward(interim);
            }
            answer
        })
        .await
    }
}

fn response(status: StatusCode, headers: HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
