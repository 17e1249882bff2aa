//! Messages on a stream: each behind its length, a varint.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::Dialect;
use super::message::{Message, MessageError};

/// Bytes of a length, at most.
const MAX_LENGTH_BYTES: usize = 5;

/// Bytes that memory is reserved for ahead of those that came: a length alone
/// reserves no more.
const AHEAD: usize = 64 << 10;

/// How long [`AHEAD`] bytes may take, either way: 2 KiB a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why no message came.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A length above what is read from this peer.
    #[error("a message of {len} bytes, above the limit of {most}")]
    TooLong {
        /// What was announced.
        len: u64,
        /// What is read.
        most: usize,
    },
    /// A length that is none.
    #[error("no length")]
    Length,
    /// Long messages at a time.
    #[error("a message of {len} bytes while others are under way")]
    Crowded {
        /// What was announced.
        len: usize,
    },
    /// Messages that say nothing, one after another.
    #[error("{many} messages in a row that say nothing")]
    Idle {
        /// So many.
        many: u32,
    },
    /// The bytes are none.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// The length of the next message, at most `most`; `None` where the stream ended
/// before it. Waits as long as there is none.
pub async fn length(
    stream: &mut (impl AsyncRead + Unpin),
    most: usize,
) -> Result<Option<usize>, FrameError> {
    let mut bytes = [0; MAX_LENGTH_BYTES];
    for at in 0..MAX_LENGTH_BYTES {
        let read = stream.read(&mut bytes[at..=at]).await?;
        if read == 0 {
            return match at {
                0 => Ok(None),
                _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            };
        }
        if bytes[at] & 0x80 == 0 {
            let (len, _) =
                unsigned_varint::decode::u64(&bytes[..=at]).map_err(|_| FrameError::Length)?;
            let fits = usize::try_from(len).ok().filter(|len| *len <= most);
            return fits.map(Some).ok_or(FrameError::TooLong { len, most });
        }
    }
    Err(FrameError::Length)
}

/// Reads the message of `len` bytes that follows its length.
pub async fn body(
    stream: &mut (impl AsyncRead + Unpin),
    len: usize,
) -> Result<Message, FrameError> {
    let mut bytes = Vec::with_capacity(len.min(AHEAD));
    while bytes.len() < len {
        let from = bytes.len();
        bytes.resize(len.min(from + AHEAD), 0);
        in_time(stream.read_exact(&mut bytes[from..])).await?;
    }
    Ok(Message::decode(Bytes::from(bytes))?)
}

/// Writes one message; gives the length of its bytes.
pub async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &Message,
    dialect: Dialect,
) -> io::Result<usize> {
    let body = message.encode(dialect);
    let mut length = unsigned_varint::encode::usize_buffer();
    let length = unsigned_varint::encode::usize(body.len(), &mut length);
    in_time(stream.write_all(length)).await?;
    for piece in body.chunks(AHEAD) {
        in_time(stream.write_all(piece)).await?;
    }
    in_time(stream.flush()).await?;
    Ok(body.len())
}

/// What `work` comes to, unless it takes too long.
async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use futures_util::io::Cursor;

    use super::*;

    async fn read(
        stream: &mut Cursor<impl AsRef<[u8]> + Unpin>,
        most: usize,
    ) -> Result<Option<Message>, FrameError> {
        match length(stream, most).await? {
            None => Ok(None),
            Some(len) => body(stream, len).await.map(Some),
        }
    }

    #[tokio::test]
    async fn messages_follow_one_another_and_the_end_is_told() {
        let message = Message {
            full: true,
            ..Message::default()
        };
        let mut wire = Cursor::new(Vec::new());
        for _ in 0..2 {
            write(&mut wire, &message, Dialect::V1_2).await.unwrap();
        }
        let bytes = wire.into_inner();
        let mut wire = Cursor::new(&bytes[..]);
        for _ in 0..2 {
            assert_eq!(read(&mut wire, 100).await.unwrap(), Some(message.clone()));
        }
        assert_eq!(read(&mut wire, 100).await.unwrap(), None);
        let mut cut = Cursor::new(&bytes[..bytes.len() - 1]);
        assert!(read(&mut cut, 100).await.unwrap().is_some());
        assert!(matches!(read(&mut cut, 100).await, Err(FrameError::Io(_))));
    }

    #[tokio::test]
    async fn a_length_above_the_limit_is_refused_before_its_bytes_come() {
        let mut wire = Cursor::new([0x80, 0x80, 0x80, 0x02]);
        let refused = read(&mut wire, super::super::MAX_MESSAGE - 1).await;
        assert!(matches!(refused, Err(FrameError::TooLong { .. })));
        let mut endless = Cursor::new([0xff; 16]);
        let refused = read(&mut endless, 100).await;
        assert!(matches!(refused, Err(FrameError::Length)));
    }
}
