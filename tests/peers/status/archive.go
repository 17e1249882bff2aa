package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sort"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
	whisper "github.com/status-im/whisper/whisperv6"
)

// defaultLimit is how many envelopes status-go sends where none is named.
const defaultLimit = 2000

// row is one envelope of the archive and its key: time sent, then hash.
type row struct {
	key      []byte
	envelope *whisper.Envelope
}

// archive is a mailserver in memory: the answers of status-go's, in its order
// and with its packets, without its database.
type archive struct {
	shh *whisper.Whisper
	key []byte

	mu   sync.Mutex
	rows []row
}

func newArchive(shh *whisper.Whisper, password string) (*archive, error) {
	id, err := shh.AddSymKeyFromPassword(password)
	if err != nil {
		return nil, err
	}
	key, err := shh.GetSymKey(id)
	return &archive{shh: shh, key: key}, err
}

// Archive keeps an envelope.
func (a *archive) Archive(envelope *whisper.Envelope) {
	key := make([]byte, 36)
	binary.BigEndian.PutUint32(key, envelope.Expiry-envelope.TTL)
	hash := envelope.Hash()
	copy(key[4:], hash[:])

	a.mu.Lock()
	at := sort.Search(len(a.rows), func(i int) bool { return bytes.Compare(a.rows[i].key, key) >= 0 })
	known := at < len(a.rows) && bytes.Equal(a.rows[at].key, key)
	if !known {
		a.rows = append(a.rows, row{})
		copy(a.rows[at+1:], a.rows[at:])
		a.rows[at] = row{key: key, envelope: envelope}
	}
	a.mu.Unlock()
	if !known {
		emit("archived", fields{"hash": hash.Hex()})
	}
}

// page finds what is asked for; next is set where the limit was reached.
func (a *archive) page(from, to uint32, bloom, cursor []byte, limit uint32) (found []*whisper.Envelope, next []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.rows {
		sent := binary.BigEndian.Uint32(r.key)
		if sent < from || sent > to || (len(cursor) == 36 && bytes.Compare(r.key, cursor) <= 0) {
			continue
		}
		if !whisper.BloomFilterMatch(bloom, r.envelope.Bloom()) {
			continue
		}
		found = append(found, r.envelope)
		if uint32(len(found)) == limit {
			return found, r.key
		}
	}
	return found, nil
}

// DeliverMail answers a request that came in an envelope.
func (a *archive) DeliverMail(peer *whisper.Peer, request *whisper.Envelope) {
	id := request.Hash()
	opened, err := request.OpenSymmetric(a.key)
	if err != nil || !opened.ValidateAndParse() {
		a.refuse(peer, id, "failed to decrypt p2p request")
		return
	}
	var asked mailRequest
	if err := rlp.DecodeBytes(opened.Payload, &asked); err != nil || len(asked.Bloom) != whisper.BloomFilterSize {
		a.refuse(peer, id, "Undersized p2p request")
		return
	}
	a.answer(peer, id, asked)
}

// Deliver answers a request that came unencrypted.
func (a *archive) Deliver(peer *whisper.Peer, request whisper.MessagesRequest) {
	id := common.BytesToHash(request.ID)
	if err := request.Validate(); err != nil {
		a.refuse(peer, id, "invalid request: "+err.Error())
		return
	}
	a.answer(peer, id, mailRequest{
		Lower: request.From, Upper: request.To, Bloom: request.Bloom,
		Limit: request.Limit, Cursor: request.Cursor, Batch: true,
	})
}

func (a *archive) answer(peer *whisper.Peer, id common.Hash, asked mailRequest) {
	if asked.Limit == 0 {
		asked.Limit = defaultLimit
	}
	found, next := a.page(asked.Lower, asked.Upper, asked.Bloom, asked.Cursor, asked.Limit)
	var last common.Hash
	for _, bundle := range bundles(found, next != nil, asked.Batch) {
		if err := a.shh.SendP2PDirect(peer, bundle...); err != nil {
			return
		}
		last = bundle[len(bundle)-1].Hash()
	}
	payload := whisper.CreateMailServerRequestCompletedPayload(id, last, next)
	if err := a.shh.SendHistoricMessageResponse(peer, payload); err == nil {
		emit("served", fields{"hash": id.Hex(), "count": len(found)})
	}
}

// bundles cuts an answer into packets as status-go does: one for all, but the
// one that reaches the limit by itself.
func bundles(found []*whisper.Envelope, limited, batch bool) [][]*whisper.Envelope {
	var cut [][]*whisper.Envelope
	whole := len(found)
	if limited {
		whole--
	}
	if batch && whole > 0 {
		cut = append(cut, found[:whole])
		found = found[whole:]
	}
	for _, envelope := range found {
		cut = append(cut, []*whisper.Envelope{envelope})
	}
	return cut
}

func (a *archive) refuse(peer *whisper.Peer, id common.Hash, why string) {
	payload := whisper.CreateMailServerRequestFailedPayload(id, errors.New(why))
	if err := a.shh.SendHistoricMessageResponse(peer, payload); err == nil {
		emit("refused", fields{"hash": id.Hex(), "error": why})
	}
}

// SyncMail answers another mailserver.
func (a *archive) SyncMail(peer *whisper.Peer, request whisper.SyncMailRequest) error {
	found, next := a.page(request.Lower, request.Upper, request.Bloom, request.Cursor, request.Limit)
	for _, bundle := range bundles(found, next != nil, true) {
		if err := a.shh.SendSyncResponse(peer, whisper.SyncResponse{Envelopes: bundle}); err != nil {
			return err
		}
	}
	emit("synced", fields{"count": len(found)})
	return a.shh.SendSyncResponse(peer, whisper.SyncResponse{Cursor: next, Final: true})
}
