//! The life of one connected peer.
//!
//! One task decides; beside it run what reads ahead, the sender, the mail desk
//! and the batches being archived. All of them end with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::limits::{Party, Reason};
use crate::mailserver::MailRequest;
use crate::mailserver::response::Completion;
use crate::mailserver::sync::{SyncRequest, SyncResponse, TOO_MANY_SYNCS};
use crate::rlpx::DisconnectReason;
use crate::rlpx::session::RemotePeer;
use crate::rlpx::socket::{CLOSE_DEADLINE, LinkError, PeerLink, PeerReader};
use crate::whisper::dialect::Dialect;
use crate::whisper::node::collect::NotStored;
use crate::whisper::node::ended::Ended;
use crate::whisper::node::guard::Known;
use crate::whisper::node::ingest::TakenIn;
use crate::whisper::node::intake::{Intake, Received};
use crate::whisper::node::lines::Noted;
use crate::whisper::node::mail::{HandedIn, MailDesk};
use crate::whisper::node::orders::{Line, Order, Orders};
use crate::whisper::node::registry::{PeerInfo, Seat};
use crate::whisper::node::send::{Outbox, PacketWriter};
use crate::whisper::node::side::{self, Side};
use crate::whisper::node::toll::Toll;
use crate::whisper::node::unconfirmed::Unconfirmed;
use crate::whisper::node::{ARCHIVING_GRACE, NodeEvent, RELAY_CYCLE, Shared, ingest};
use crate::whisper::packet::{CAPABILITY, Packet, batch_hash};
use crate::whisper::peer::{Action, BatchId, Session};
use crate::whisper::{Envelope, EnvelopeHash};

/// Batches of one peer that may wait for the archive. With more, reading stops
/// until one is durable. A peer that sends one envelope at a time fills an append
/// with them; the answers they earn fit into the outbox.
const MAX_BATCHES_IN_FLIGHT: usize = 512;

/// What batches of one peer may weigh that wait for the archive, not counting
/// the one that exceeds it: 8 MiB, some 16,000 messages of usual size.
const MAX_WEIGHT_IN_FLIGHT: usize = 8 << 20;

/// How long a peer may take to introduce itself. Without a status nothing can be
/// sent to it and nothing taken from it, and it keeps a seat from others.
pub(super) const STATUS_DEADLINE: Duration = Duration::from_secs(15);

/// What a client is told whose request came too soon: status-go's words.
const RATE_LIMIT_EXCEEDED: &str = "rate limit exceeded";

/// And what it answers to open requests then.
const TOO_MANY_OPEN: &str = "exceeded the number of requests limit";

/// Which side opened a connection, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The peer dialled.
    Inbound,
    /// This node dialled, to stay connected.
    Static,
    /// This node dialled, because discovery found the peer.
    Found,
}

/// A seat for the peer on `link`, or what to tell it.
pub(super) fn seat(
    shared: &Shared,
    link: &PeerLink,
    origin: Origin,
) -> Result<Seat, DisconnectReason> {
    let remote = link.remote();
    let address = link.address();
    let client = remote.hello.client();
    let info = PeerInfo {
        id: remote.id,
        address,
        client: client.clone(),
        inbound: origin == Origin::Inbound,
        is_static: origin == Origin::Static,
    };
    let of_address = shared.guard.peers_of(&address.ip().into());
    let now = shared.clock.now();
    shared
        .registry
        .seat(info, of_address, now)
        .map_err(|no_seat| {
            let who = Known {
                peer: remote.id,
                ip: address.ip(),
                client: &client,
            };
            let told = no_seat.told();
            shared
                .guard
                .dropped(no_seat.reason(), &who, &told.to_string());
            told
        })
}

/// Serves a link until it ends.
pub(super) async fn serve(shared: Arc<Shared>, link: PeerLink, seat: Seat) {
    let remote = Arc::clone(link.remote());
    let address = link.address();
    let (name, _) = CAPABILITY;
    let Some(protocol) = remote.protocol(name) else {
        return link.close(DisconnectReason::UselessPeer).await;
    };
    let offset = protocol.offset;
    let client = remote.hello.client();
    tracing::debug!(peer = ?remote.id, %address, %client, "connected");
    let (reader, writer) = link.split();
    let tally = Arc::clone(seat.tally());
    let writer = PacketWriter::new(writer, offset, tally);
    let why = Connection::new(Arc::clone(&shared), reader, writer, offset, &seat)
        .run(seat)
        .await;
    if let Some(reason) = why.ledger_reason() {
        let who = Known {
            peer: remote.id,
            ip: address.ip(),
            client: &client,
        };
        shared.guard.dropped(reason, &who, &why.to_string());
    }
}

/// A batch that was being archived, its weight, and what came of it.
struct Finished {
    batch: BatchId,
    weight: usize,
    outcome: Result<TakenIn, NotStored>,
}

struct Connection {
    shared: Arc<Shared>,
    session: Session,
    remote: Arc<RemotePeer>,
    address: SocketAddr,
    intake: Intake,
    writer: PacketWriter,
    offset: u64,
    orders: Orders,
    _noted: Noted,
    unconfirmed: Unconfirmed,
    outbox: Outbox,
    desk: MailDesk,
    side: Option<Side>,
    sender: JoinSet<()>,
    _clerk: JoinSet<()>,
    in_flight: JoinSet<Finished>,
    weight_in_flight: usize,
    toll: Toll,
}

impl Connection {
    fn new(
        shared: Arc<Shared>,
        reader: PeerReader,
        writer: PacketWriter,
        offset: u64,
        seat: &Seat,
    ) -> Self {
        // Sets of one task each, which end their task when dropped.
        let mut sender = JoinSet::new();
        let mut clerk = JoinSet::new();
        let (outbox, sending) = Outbox::new(writer.clone());
        sender.spawn(sending);
        let party = Party {
            peer: reader.remote().id,
            address: reader.address().ip().into(),
        };
        let tally = Arc::clone(seat.tally());
        let toll = Toll::new(party, Arc::clone(&tally));
        let (desk, answering) = MailDesk::open(Arc::clone(&shared), party, writer.clone(), tally);
        clerk.spawn(answering);
        let side = Side::open(shared.side.as_ref(), &reader, writer.link());
        // First heard of, then asked: a rule that changes meanwhile is told.
        let (line, orders) = Line::new(writer.clone());
        let noted = shared.lines.note(party.peer, line);
        let mut session = Session::new(shared.session());
        session.hint(Dialect::of_client(&reader.remote().hello.client()));
        Self {
            session,
            shared,
            remote: Arc::clone(reader.remote()),
            address: reader.address(),
            intake: Intake::new(reader, offset),
            writer,
            offset,
            orders,
            _noted: noted,
            unconfirmed: Unconfirmed::default(),
            outbox,
            desk,
            side,
            sender,
            _clerk: clerk,
            in_flight: JoinSet::new(),
            weight_in_flight: 0,
            toll,
        }
    }

    /// Runs to the end and says why. Holds the seat until the link is closed.
    async fn run(mut self, seat: Seat) -> Ended {
        self.outbox.answer([self.session.open()]);
        let ended = self.converse().await;
        if self.session.status().is_some() {
            let id = self.remote.id;
            self.shared.events.tell(NodeEvent::Disconnected(id));
        }
        // What a peer sent before it left was received: it is stored, too.
        self.finish_in_flight().await;
        if matches!(ended.reason(), Some(DisconnectReason::Subprotocol)) {
            self.shared
                .counters
                .update(|counters| counters.violations += 1);
        }
        self.part(&ended).await;
        drop(seat);
        ended
    }

    async fn converse(&mut self) -> Ended {
        let stopping = self.shared.stopping.clone();
        let status_due = sleep(STATUS_DEADLINE);
        tokio::pin!(status_due);
        let mut relay = interval(RELAY_CYCLE);
        relay.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let owed = self.toll.is_owed();
            let may_read = self.in_flight.len() < MAX_BATCHES_IN_FLIGHT
                && self.weight_in_flight < MAX_WEIGHT_IN_FLIGHT
                && !self.outbox.is_clogged()
                && !owed;
            tokio::select! {
                () = stopping.cancelled() => return Ended::Stopping,
                () = &mut status_due, if self.session.status().is_none() => {
                    return Ended::NoStatus;
                }
                Some(finished) = self.in_flight.join_next() => self.settle(finished),
                Some(order) = self.orders.recv(), if self.session.status().is_some() => {
                    if let Err(ended) = self.obey(order) {
                        return ended;
                    }
                }
                _ = relay.tick() => self.relay(),
                received = self.intake.recv(), if may_read => {
                    let handled = received.map_err(Ended::from).and_then(|r| self.handle(r));
                    if let Err(ended) = handled {
                        return ended;
                    }
                }
                () = self.toll.settled(), if owed => {}
                // What the peer sent before is taken in first.
                error = ended(&self.writer), if !may_read && self.intake.is_empty() => {
                    return error.into();
                }
                fault = side::failed(&mut self.side) => return fault.into(),
            }
        }
    }

    fn handle(&mut self, received: Received) -> Result<(), Ended> {
        let Received {
            message,
            opened,
            _room,
        } = received;
        let message = &message;
        if let Some(side) = &self.side
            && side.takes(message)?
        {
            self.toll.charge_side(&self.shared.guard, message);
            return Ok(());
        }
        let code = message
            .code
            .checked_sub(self.offset)
            .and_then(|code| u8::try_from(code).ok())
            .ok_or(Ended::ForeignCode(message.code))?;
        let actions = match opened {
            Some(opened) => self.session.receive_opened(opened)?,
            None => self.session.receive(code, &message.payload)?,
        };
        let repeats = self.session.take_repeats();
        self.toll
            .charge(&self.shared.guard, message, code, &actions, repeats)?;
        for action in actions {
            self.act(action)?;
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), Ended> {
        match action {
            Action::Offer { batch, envelopes } => {
                let weight = ingest::weight(&envelopes);
                self.weight_in_flight += weight;
                let taking_in = ingest::take_in(Arc::clone(&self.shared), envelopes);
                self.in_flight.spawn(async move {
                    Finished {
                        batch,
                        weight,
                        outcome: taking_in.await,
                    }
                });
            }
            Action::AnswerMail(payload) => match self.desk.hand_in(&payload) {
                HandedIn::Accepted => {}
                HandedIn::NotARequest(error) => return Err(error.into()),
                HandedIn::Refused(request, reason) => self.refuse(&request, reason),
            },
            Action::AnswerSync(payload) => self.hand_in_sync(&payload)?,
            Action::Acknowledged(batch) => {
                self.shared
                    .counters
                    .update(|counters| counters.confirmed += 1);
                let own = self.unconfirmed.acknowledged(&batch);
                self.tell_sent(own);
            }
            Action::Faults { batch, faults } => {
                for fault in faults {
                    tracing::debug!(%batch, hash = %fault.hash, why = %fault.description,
                        "a peer did not take an envelope");
                    if self.unconfirmed.not_taken(&batch, &fault.hash) {
                        self.shared.events.tell(NodeEvent::NotTaken {
                            hash: fault.hash,
                            peer: self.remote.id,
                            reason: fault.description,
                        });
                    }
                }
            }
            Action::Ready => {
                let id = self.remote.id;
                self.shared.events.tell(NodeEvent::Connected(id));
            }
            Action::Mail(envelopes) => {
                let peer = self.remote.id;
                self.shared.events.tell(NodeEvent::Mail {
                    peer,
                    envelopes: envelopes.into(),
                });
            }
            Action::MailComplete(payload) => {
                let completion = Completion::decode(&payload).map_err(Ended::Completion)?;
                self.shared.events.tell(NodeEvent::MailCompleted {
                    peer: self.remote.id,
                    request: completion.request(),
                    completion,
                });
            }
        }
        Ok(())
    }

    fn obey(&mut self, order: Order) -> Result<(), Ended> {
        match order {
            Order::Trust(done) => {
                self.session.trust();
                // Whoever asked may have given up.
                let _ = done.send(());
            }
            Order::Say(packet) => self.outbox.answer([packet]),
            Order::Light(light) => self.session.set_light(light),
            Order::Disconnect(reason) => return Err(Ended::ToldTo(reason)),
        }
        Ok(())
    }

    /// Has another mailserver's request answered. One that is none ends the
    /// connection, as with status-go, but the peer is told why; where it came too
    /// soon the connection stays.
    fn hand_in_sync(&self, payload: &bytes::Bytes) -> Result<(), Ended> {
        let say = |why: &str| {
            let response = SyncResponse::failed(why);
            self.outbox
                .answer([Packet::SyncResponse(response.encode())]);
        };
        match SyncRequest::decode(payload) {
            Ok(request) => {
                if let Err(reason) = self.desk.hand_in_sync(request) {
                    say(TOO_MANY_SYNCS);
                    self.limited(reason, TOO_MANY_SYNCS);
                }
                Ok(())
            }
            Err(error) => {
                if error.is_told() {
                    say(&error.to_string());
                }
                Err(error.into())
            }
        }
    }

    /// Answers a request that came too soon; the connection stays.
    fn refuse(&self, request: &MailRequest, reason: Reason) {
        let message = match request {
            MailRequest::Sealed(_) => RATE_LIMIT_EXCEEDED,
            MailRequest::Open(_) => TOO_MANY_OPEN,
        };
        let completion = Completion::Failed {
            request: request.id(),
            message: message.to_owned(),
        };
        self.outbox
            .answer([Packet::RequestComplete(completion.encode())]);
        self.limited(reason, message);
    }

    /// Notes that a request was refused for coming too soon.
    fn limited(&self, reason: Reason, message: &str) {
        self.shared
            .counters
            .update(|counters| counters.requests_refused += 1);
        let remote = &self.remote;
        let who = Known {
            peer: remote.id,
            ip: self.address.ip(),
            client: &remote.hello.client(),
        };
        self.shared.guard.dropped(reason, &who, message);
    }

    /// A batch is durable, or never will be.
    fn settle(&mut self, finished: Result<Finished, tokio::task::JoinError>) {
        let finished = match finished {
            Ok(finished) => finished,
            Err(error) => {
                tracing::error!(%error, "BUG: taking in a batch panicked");
                return;
            }
        };
        self.weight_in_flight -= finished.weight;
        match finished.outcome {
            Ok(taken) => {
                self.session.learn(&taken.works);
                let answers = self.session.batch_stored(finished.batch, taken.faults);
                if answers.is_empty() {
                    return;
                }
                self.outbox.answer(answers);
                self.shared.counters.update(|counters| counters.acked += 1);
            }
            Err(_) => self.session.batch_failed(finished.batch),
        }
    }

    fn relay(&mut self) {
        let Some(turn) = self.outbox.turn() else {
            return;
        };
        let now = self.shared.clock.now();
        let (packets, own) = {
            let pool = self.shared.pool();
            let packets = self.session.relay(&pool, now);
            let own_of = |packet: &Vec<Envelope>| pool.own_among(packet);
            let own: Vec<_> = packets.iter().map(own_of).collect();
            (packets, own)
        };
        if packets.is_empty() {
            return;
        }
        let envelopes: usize = packets.iter().map(Vec::len).sum();
        let packets: Vec<_> = packets.into_iter().map(Packet::Messages).collect();
        let confirms = self
            .session
            .status()
            .and_then(|status| status.confirmations);
        let mut sent = Vec::new();
        for (packet, own) in packets.iter().zip(own).filter(|(_, own)| !own.is_empty()) {
            if confirms == Some(true) {
                self.unconfirmed.sent(batch_hash(&packet.encode()), own);
            } else {
                sent.extend(own);
            }
        }
        turn.send(packets);
        self.tell_sent(sent);
        let envelopes = u64::try_from(envelopes).unwrap_or(u64::MAX);
        self.shared
            .counters
            .update(|counters| counters.relayed += envelopes);
    }

    fn tell_sent(&self, own: Vec<EnvelopeHash>) {
        let peer = self.remote.id;
        for hash in own {
            self.shared.events.tell(NodeEvent::Sent { hash, peer });
        }
    }

    /// Waits for what is being archived, so that it is acknowledged.
    async fn finish_in_flight(&mut self) {
        let waiting = async {
            while let Some(finished) = self.in_flight.join_next().await {
                self.settle(finished);
            }
        };
        if timeout(ARCHIVING_GRACE, waiting).await.is_err() {
            tracing::warn!("a link ends before what it brought is durable");
        }
    }

    /// Sends what is queued and the reason, and waits until that is done. A
    /// mail answer under way is cut off.
    async fn part(self, ended: &Ended) {
        let Self {
            writer,
            outbox,
            mut sender,
            ..
        } = self;
        drop(outbox);
        let Some(reason) = ended.reason() else {
            return;
        };
        // Past its time, what is left unsent stays so.
        let _ = timeout(CLOSE_DEADLINE, sender.join_next()).await;
        writer.link().disconnect(reason);
        writer.link().ended().await;
    }
}

async fn ended(writer: &PacketWriter) -> LinkError {
    writer.link().ended().await
}
