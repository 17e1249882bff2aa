//! Many streams on one connection, by yamux, in bounded memory.
//!
//! Always true:
//! - No stream has more than [`WINDOW`] bytes that came and were not read, and no
//!   connection more than [`STREAMS`] times that: windows do not grow.
//! - Frames that bring little are read at a bounded rate, because each that waits
//!   takes up memory beside its bytes. The others wait in the socket.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::io;
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_util::io::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use tokio::time::{Instant, Sleep};
use yamux::{Connection, ConnectionError, Mode};

/// Streams of one connection. Kubo opens seven or so; Helia one for each message,
/// fifty at a time.
pub(super) const STREAMS: usize = 128;

/// The window of a stream: what yamux begins with. Some programs fill a window with
/// one frame, and one of more than 1 MiB would end the connection.
pub(super) const WINDOW: usize = 256 << 10;

/// Bytes of the header of a frame.
const HEADER: usize = 12;

/// A frame that brings less than this is small: what it takes up beside its bytes,
/// some sixty, is no longer little.
const SMALL: u32 = 1 << 10;

/// Small frames that may come at once: a thousand streams that are agreed on.
const SMALL_AT_ONCE: u32 = 8_192;

/// How long a small frame takes beyond that: a thousand in a second.
const SMALL_EACH: Duration = Duration::from_millis(1);

/// How streams are made of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Yamux;

impl Yamux {
    fn of<C>(io: C, mode: Mode) -> Muxer<C>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(STREAMS);
        // With nothing to grow into, no window grows.
        config.set_max_connection_receive_window(Some(STREAMS * WINDOW));
        Muxer {
            connection: Connection::new(Paced::new(io), config, mode),
            came: VecDeque::new(),
            waker: None,
        }
    }
}

impl UpgradeInfo for Yamux {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C> InboundConnectionUpgrade<C> for Yamux
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, io: C, _: Self::Info) -> Self::Future {
        ready(Ok(Self::of(io, Mode::Server)))
    }
}

impl<C> OutboundConnectionUpgrade<C> for Yamux
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, io: C, _: Self::Info) -> Self::Future {
        ready(Ok(Self::of(io, Mode::Client)))
    }
}

/// The streams of one connection.
#[derive(Debug)]
pub(super) struct Muxer<C> {
    connection: Connection<Paced<C>>,
    /// Streams that came while only those that are open were looked after; yamux
    /// makes all progress in one place.
    came: VecDeque<yamux::Stream>,
    /// Who waits for one.
    waker: Option<Waker>,
}

impl<C> Muxer<C>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<yamux::Stream, ConnectionError>> {
        let next = ready!(self.connection.poll_next_inbound(cx));
        Poll::Ready(next.unwrap_or(Err(ConnectionError::Closed)))
    }
}

impl<C> StreamMuxer for Muxer<C>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    type Substream = yamux::Stream;
    type Error = ConnectionError;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        if let Some(stream) = self.came.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        if let Poll::Ready(next) = self.poll_next(cx) {
            return Poll::Ready(next);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        self.connection.poll_new_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connection.poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        // There are no more of them than yamux lets be open.
        let stream = ready!(self.poll_next(cx))?;
        self.came.push_back(stream);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        // Others have their turn before the next one is looked for.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A connection on which small frames are read at a bounded rate.
#[derive(Debug)]
struct Paced<C> {
    io: C,
    frames: Frames,
    /// Until when so many small frames as came take.
    paid: Instant,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<C> Paced<C> {
    fn new(io: C) -> Self {
        Self {
            io,
            frames: Frames::default(),
            paid: Instant::now(),
            pause: None,
        }
    }

    /// So many small frames came. Gives until when to wait, where they are too many.
    fn charge(&mut self, small: u32, now: Instant) -> Option<Instant> {
        self.paid = self.paid.max(now) + SMALL_EACH * small;
        let until = self.paid.checked_sub(SMALL_EACH * SMALL_AT_ONCE)?;
        (until > now).then_some(until)
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Paced<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, bytes))?;
        let small = self.frames.take_in(&bytes[..read]);
        if small > 0
            && let Some(until) = self.charge(small, Instant::now())
        {
            self.pause = Some(Box::pin(tokio::time::sleep_until(until)));
        }
        Poll::Ready(Ok(read))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Paced<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

/// Where the frames of what comes begin. What is wrong with them is for yamux to
/// say.
#[derive(Debug, Default)]
struct Frames {
    header: [u8; HEADER],
    known: usize,
    /// Bytes of the frame that are still to come.
    left: u32,
}

impl Frames {
    /// Takes in what came; gives the number of small frames that began in it.
    fn take_in(&mut self, mut bytes: &[u8]) -> u32 {
        let mut small = 0;
        while !bytes.is_empty() {
            let skip = bytes.len().min(self.left as usize);
            self.left -= u32::try_from(skip).expect("at most what is left");
            bytes = &bytes[skip..];
            let more = bytes.len().min(HEADER - self.known);
            self.header[self.known..self.known + more].copy_from_slice(&bytes[..more]);
            self.known += more;
            bytes = &bytes[more..];
            if self.known == HEADER {
                self.known = 0;
                // Of the kinds of frames, only the first brings bytes.
                let [_, kind, _, _, _, _, _, _, len @ ..] = self.header;
                self.left = if kind == 0 {
                    u32::from_be_bytes(len)
                } else {
                    0
                };
                small += u32::from(self.left < SMALL);
            }
        }
        small
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::task::noop_waker;
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, len: u32) -> Vec<u8> {
        let mut bytes = vec![0, kind, 0, 0, 0, 0, 0, 1];
        bytes.extend(len.to_be_bytes());
        if kind == 0 {
            bytes.resize(HEADER + len as usize, 0xff);
        }
        bytes
    }

    proptest! {
        #[test]
        fn small_frames_are_counted_however_they_come(
            frames in prop::collection::vec((0_u8..4, 0_u32..2 * SMALL), 0..30),
            cuts in prop::collection::vec(1_usize..3_000, 1..60),
        ) {
            let wire: Vec<u8> = frames.iter().flat_map(|(kind, len)| frame(*kind, *len)).collect();
            let expected = frames.iter().filter(|(kind, len)| *kind != 0 || *len < SMALL).count();
            let (mut counter, mut rest, mut counted) = (Frames::default(), &wire[..], 0);
            let mut cuts = cuts.into_iter().cycle();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                counted += counter.take_in(piece);
                rest = after;
            }
            prop_assert_eq!(counted as usize, expected);
        }
    }

    #[tokio::test]
    async fn a_burst_of_small_frames_is_read_at_once_and_more_in_their_time() {
        let mut paced = Paced::new(());
        let now = Instant::now();
        paced.paid = now;
        assert_eq!(paced.charge(SMALL_AT_ONCE, now), None);
        let more = paced.charge(1_000, now);
        assert_eq!(more, Some(now + 1_000 * SMALL_EACH));
        // After a while all is as before.
        let later = now + SMALL_EACH * (SMALL_AT_ONCE + 1_000);
        assert_eq!(paced.charge(SMALL_AT_ONCE, later), None);
    }

    const DATA: u8 = 0;
    const CREDIT: u8 = 1;
    const PING: u8 = 2;
    const SYN: u8 = 1;
    const ACK: u8 = 2;

    /// What the other end says and hears; it says nothing of its own accord.
    #[derive(Clone, Debug, Default)]
    struct Wire(Arc<Mutex<Said>>);

    #[derive(Debug, Default)]
    struct Said {
        coming: Vec<u8>,
        taken: usize,
        gone: Vec<u8>,
    }

    impl Wire {
        fn say(&self, kind: u8, flags: u8, stream: u32, value: u32, body: &[u8]) {
            let mut said = self.0.lock().unwrap();
            said.coming.extend([0, kind, 0, flags]);
            said.coming.extend(stream.to_be_bytes());
            said.coming.extend(value.to_be_bytes());
            said.coming.extend(body);
        }

        fn data(&self, flags: u8, stream: u32, body: &[u8]) {
            let len = u32::try_from(body.len()).unwrap();
            self.say(DATA, flags, stream, len, body);
        }

        /// The frames that it was sent: kind, flags and value.
        fn hear(&self) -> Vec<(u8, u8, u32)> {
            let gone = std::mem::take(&mut self.0.lock().unwrap().gone);
            let (mut rest, mut frames) = (&gone[..], Vec::new());
            while let [_, kind, _, flags, _, _, _, _, a, b, c, d, after @ ..] = rest {
                let value = u32::from_be_bytes([*a, *b, *c, *d]);
                frames.push((*kind, *flags, value));
                let body = if *kind == DATA { value as usize } else { 0 };
                rest = &after[body..];
            }
            frames
        }
    }

    impl AsyncRead for Wire {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let mut said = self.0.lock().unwrap();
            let coming = &said.coming[said.taken..];
            let many = coming.len().min(bytes.len());
            if many == 0 {
                return Poll::Pending;
            }
            bytes[..many].copy_from_slice(&coming[..many]);
            said.taken += many;
            Poll::Ready(Ok(many))
        }
    }

    impl AsyncWrite for Wire {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.lock().unwrap().gone.extend(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Takes in all that comes; gives the streams that were opened.
    fn turn(muxer: &mut Muxer<Wire>) -> Vec<yamux::Stream> {
        let waker = noop_waker();
        let cx = &mut Context::from_waker(&waker);
        let mut opened = Vec::new();
        while let Poll::Ready(Ok(stream)) = Pin::new(&mut *muxer).poll_inbound(cx) {
            opened.push(stream);
        }
        opened
    }

    /// Reads what waits on a stream; gives how much that was.
    fn read(stream: &mut yamux::Stream) -> usize {
        let waker = noop_waker();
        let cx = &mut Context::from_waker(&waker);
        let (mut all, mut bytes) = (0, vec![0; 16 << 10]);
        while let Poll::Ready(Ok(many)) = Pin::new(&mut *stream).poll_read(cx, &mut bytes) {
            if many == 0 {
                break;
            }
            all += many;
        }
        all
    }

    #[tokio::test]
    async fn no_more_is_kept_of_streams_that_nobody_reads_than_their_windows() {
        let wire = Wire::default();
        let mut muxer = Yamux::of(wire.clone(), Mode::Server);
        let window = vec![7; WINDOW];
        for stream in [1, 3, 5, 7] {
            wire.data(SYN, stream, &window);
        }
        // Nobody gave credit for these.
        for stream in [1, 3, 5, 7] {
            wire.data(0, stream, &window);
        }
        let mut opened = turn(&mut muxer);
        let kept: Vec<usize> = opened.iter_mut().map(read).collect();
        assert_eq!(kept, [WINDOW; 4]);
    }

    #[tokio::test]
    async fn windows_do_not_grow_for_who_is_slow_to_answer_and_quick_to_send() {
        let wire = Wire::default();
        let mut muxer = Yamux::of(wire.clone(), Mode::Server);
        wire.data(SYN, 1, &[7]);
        let mut opened = turn(&mut muxer);
        let heard = wire.hear();
        let ping = heard.iter().find(|frame| frame.0 == PING).expect("a ping");
        // All that comes after so slow an answer seems to come at once.
        std::thread::sleep(Duration::from_millis(50));
        wire.say(PING, ACK, 0, ping.2, &[]);
        turn(&mut muxer);
        let (mut may, mut read_so_far) = (WINDOW - 1, read(&mut opened[0]));
        for _ in 0..8 {
            wire.data(0, 1, &vec![7; may]);
            turn(&mut muxer);
            read_so_far += read(&mut opened[0]);
            turn(&mut muxer);
            let credits = wire.hear().into_iter().filter(|frame| frame.0 == CREDIT);
            may = credits.map(|frame| frame.2 as usize).sum();
            assert!((1..=WINDOW).contains(&may), "{may}");
        }
        assert!(read_so_far > 7 * WINDOW / 2);
    }

    #[tokio::test]
    async fn a_flood_of_small_frames_is_left_in_the_socket() {
        let wire = Wire::default();
        let mut muxer = Yamux::of(wire.clone(), Mode::Server);
        wire.data(SYN, 1, &[7]);
        let many = 10 * SMALL_AT_ONCE as usize;
        for _ in 0..many {
            wire.data(0, 1, &[7]);
        }
        let mut opened = turn(&mut muxer);
        // What is above it was read from the socket in one piece with the last.
        let taken = wire.0.lock().unwrap().taken / (HEADER + 1);
        assert!(taken >= SMALL_AT_ONCE as usize, "{taken}");
        assert!(taken < 2 * SMALL_AT_ONCE as usize, "{taken}");
        assert!(read(&mut opened[0]) <= taken);
    }
}
