//! Copies get what passes, and never hold it up.

use std::future::poll_fn;

use tokio::task::yield_now;

use super::*;

fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

async fn frame(body: &mut Body) -> Option<Result<Frame<Bytes>, ProxyError>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

async fn whole(mut body: Body) -> Result<String, ProxyError> {
    let mut text = String::new();
    while let Some(read) = frame(&mut body).await {
        match read?.into_data() {
            Ok(data) => text.push_str(std::str::from_utf8(&data).unwrap()),
            Err(frame) => text.push_str(&format!("{:?}", frame.trailers_ref().unwrap())),
        }
    }
    Ok(text)
}

fn tee(frames: impl IntoIterator<Item = Frame<Bytes>>) -> Tee {
    Tee::new(Body::from_frames(frames))
}

#[tokio::test]
async fn copies_get_data_and_trailers() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x", "y".parse().unwrap());
    let mut tee = tee([data("a"), data("b"), Frame::trailers(trailers)]);
    let copies = [tee.copy(), tee.copy()];
    let original = whole(Body::Tee(Box::new(tee))).await.unwrap();
    assert_eq!(original, "ab{\"x\": \"y\"}");
    for (body, watch) in copies {
        assert_eq!(whole(Body::Copy(body)).await.unwrap(), original);
        assert_eq!(watch.fate().await, Fate::Whole);
    }
}

#[tokio::test]
async fn a_copy_waits_for_the_original() {
    let mut tee = tee([data("a"), data("b")]);
    let (mut copy, _watch) = tee.copy();
    let early = poll_fn(|cx| Poll::Ready(copy.poll_frame(cx))).await;
    assert!(early.is_pending());
    let mut original = Body::Tee(Box::new(tee));
    frame(&mut original).await.unwrap().unwrap();
    let first = poll_fn(|cx| copy.poll_frame(cx)).await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "a");
}

#[tokio::test]
async fn a_copy_that_falls_behind_is_given_up_and_the_original_goes_on() {
    let chunk = Bytes::from(vec![b'x'; 30_000]);
    let mut tee = tee((0..10).map(|_| Frame::data(chunk.clone())));
    let (slow, watch) = tee.copy();
    let original = whole(Body::Tee(Box::new(tee))).await.unwrap();
    assert_eq!(original.len(), 300_000);
    assert_eq!(watch.fate().await, Fate::Lagged);
    assert_eq!(slow.0.borrow().chunks.len(), 0, "nothing is kept for it");
    assert!(whole(Body::Copy(slow)).await.is_err());
}

#[tokio::test]
async fn one_chunk_larger_than_the_bound_still_passes() {
    let chunk = Bytes::from(vec![b'x'; 2 * LAG_MAX]);
    let mut tee = tee([Frame::data(chunk)]);
    let (copy, _watch) = tee.copy();
    whole(Body::Tee(Box::new(tee))).await.unwrap();
    assert_eq!(whole(Body::Copy(copy)).await.unwrap().len(), 2 * LAG_MAX);
}

#[tokio::test]
async fn an_original_that_is_dropped_cuts_its_copies() {
    let mut tee = tee([data("a"), data("b")]);
    let (copy, watch) = tee.copy();
    let mut original = Body::Tee(Box::new(tee));
    frame(&mut original).await.unwrap().unwrap();
    let reader = async { whole(Body::Copy(copy)).await };
    let cut = async {
        yield_now().await;
        drop(original);
        watch.fate().await
    };
    let (read, fate) = tokio::join!(reader, cut);
    assert_eq!((read.is_err(), fate), (true, Fate::Cut));
}

#[tokio::test]
async fn nothing_is_kept_for_a_copy_that_nobody_reads() {
    let mut tee = tee([data("a"), data("b")]);
    let (copy, watch) = tee.copy();
    drop(copy);
    whole(Body::Tee(Box::new(tee))).await.unwrap();
    assert_eq!(watch.0.borrow().chunks.len(), 0);
    assert_eq!(watch.fate().await, Fate::Whole);
}
