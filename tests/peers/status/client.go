package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"

	"github.com/ethereum/go-ethereum/rlp"
	whisper "github.com/status-im/whisper/whisperv6"
)

// mailRequest is the payload of a request for history as status-go encodes it.
type mailRequest struct {
	Lower, Upper uint32
	Bloom        []byte
	Limit        uint32
	Cursor       []byte
	Batch        bool
}

// bloomOf covers the chats named; none means everything.
func bloomOf(c command) []byte {
	chats := c.Chats
	if c.Chat != "" {
		chats = append(chats, c.Chat)
	}
	bloom := make([]byte, whisper.BloomFilterSize)
	for _, chat := range chats {
		for i, b := range whisper.TopicToBloom(chatTopic(chat)) {
			bloom[i] |= b
		}
	}
	if len(chats) == 0 {
		for i := range bloom {
			bloom[i] = 0xff
		}
	}
	return bloom
}

// connectedTo is the mailserver's id in Whisper.
func (n *node) connectedTo() ([]byte, error) {
	if n.mailserver == nil {
		return nil, errors.New("no mailserver connected")
	}
	id := n.mailserver.ID()
	return id[:], nil
}

// request asks for history in an envelope, encrypted with the password, or
// to the mailserver's node key where there is none.
func (n *node) request(c command) error {
	peer, err := n.connectedTo()
	if err != nil {
		return err
	}
	cursor, err := hex.DecodeString(c.Cursor)
	if err != nil {
		return err
	}
	payload, err := rlp.EncodeToBytes(mailRequest{
		Lower: c.From, Upper: c.To, Bloom: bloomOf(c), Limit: c.Limit, Cursor: cursor, Batch: c.Batch,
	})
	if err != nil {
		return err
	}
	params := &whisper.MessageParams{Payload: payload}
	if c.Password == "" {
		params.Dst = n.mailserver.Pubkey()
	} else if params.KeySym, err = n.chatKey(c.Password); err != nil {
		return err
	}
	envelope, err := n.seal(params)
	if err != nil {
		return err
	}
	emit("requested", fields{"hash": envelope.Hash().Hex()})
	return n.shh.RequestHistoricMessagesWithTimeout(peer, envelope, 0)
}

// openRequest asks for history without encryption or work.
func (n *node) openRequest(c command) error {
	peer, err := n.connectedTo()
	if err != nil {
		return err
	}
	cursor, err := hex.DecodeString(c.Cursor)
	if err != nil {
		return err
	}
	id := make([]byte, 32)
	if _, err := rand.Read(id); err != nil {
		return err
	}
	emit("requested", fields{"hash": "0x" + hex.EncodeToString(id)})
	return n.shh.SendMessagesRequest(peer, whisper.MessagesRequest{
		ID: id, From: c.From, To: c.To, Limit: c.Limit, Cursor: cursor, Bloom: bloomOf(c),
	})
}

// sync asks for history as one mailserver asks another.
func (n *node) sync(c command) error {
	peer, err := n.connectedTo()
	if err != nil {
		return err
	}
	cursor, err := hex.DecodeString(c.Cursor)
	if err != nil {
		return err
	}
	return n.shh.SyncMessages(peer, whisper.SyncMailRequest{
		Lower: c.From, Upper: c.To, Bloom: bloomOf(c), Limit: c.Limit, Cursor: cursor,
	})
}
