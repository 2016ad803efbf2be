//! HTTP/1.1 on a kept connection, with as little of our own work as possible between the bytes.

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What is sent: peers look at the path only, our sidecars at the host.
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: api\r\n\r\n";

/// An answer longer than this is none of ours.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A connection on which no request is under way.
#[derive(Debug)]
pub(crate) struct Kept<S> {
    stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Kept<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream }
    }

    /// To close it in its own way.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }

    /// A GET and its whole answer, whose status is returned.
    ///
    /// The buffer lives as long as the request, so that a waiting connection costs this process little.
    pub(crate) async fn get(&mut self) -> Result<u16> {
        self.stream.write_all(GET).await?;
        let mut answer = Vec::with_capacity(2048);
        loop {
            let read = self.stream.read_buf(&mut answer).await?;
            ensure!(read > 0, "closed within an answer");
            if let Some((status, length)) = parse(&answer)?
                && answer.len() >= length
            {
                ensure!(answer.len() == length, "more than one answer");
                return Ok(status);
            }
            ensure!(answer.len() < ANSWER_BYTES_MAX, "an endless answer");
        }
    }
}

/// Status and length of the whole answer, as soon as its head is complete.
fn parse(answer: &[u8]) -> Result<Option<(u16, usize)>> {
    let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(answer.get(..head).unwrap_or_default())?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status = status.context("no status")?.parse()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim())
    });
    let length: usize = length.context("no content-length")?.parse()?;
    Ok(Some((status, head + 4 + length)))
}

#[cfg(test)]
mod tests {
    use super::{Kept, parse};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[test]
    fn an_answer_is_as_long_as_it_says() {
        let head = b"HTTP/1.1 503 Service Unavailable\r\nContent-LENGTH: 3\r\nx: y\r\n\r\n";
        assert_eq!(parse(head).unwrap(), Some((503, head.len() + 3)));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\ncontent-le").unwrap(), None);
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[tokio::test]
    async fn an_answer_in_pieces_is_one_answer() {
        let (client, mut server) = tokio::io::duplex(64);
        let task = tokio::spawn(async move { Kept::new(client).get().await });
        let mut request = [0_u8; 29];
        server.read_exact(&mut request).await.unwrap();
        for piece in ["HTTP/1.1 200 OK\r\ncontent-length: 4\r", "\n\r\nab", "cd"] {
            server.write_all(piece.as_bytes()).await.unwrap();
        }
        assert_eq!(task.await.unwrap().unwrap(), 200);
    }
}
