package main

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	whisper "github.com/status-im/whisper/whisperv6"
)

// ttl of what is posted and asked, in seconds.
const ttl = 50

// leastPow is the work that status-go asks, and spends on what it sends.
const leastPow = 0.001

// name is what the node calls itself, as status-go does: others tell by it which
// definition of work such a node goes by.
const name = "Statusd/v0.34.0-beta.9/interop"

// options are how a node starts.
type options struct {
	listen   string
	light    bool
	pow      float64
	password string
}

// node is a running Whisper node.
type node struct {
	shh    *whisper.Whisper
	server *p2p.Server
	// The mailserver asked and read from: the peer connected to last.
	mailserver *enode.Node
}

// start runs a node without discovery.
func start(o options) (*node, error) {
	key, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	shh := whisper.New(&whisper.Config{
		MaxMessageSize:     whisper.DefaultMaxMessageSize,
		MinimumAcceptedPOW: o.pow,
	})
	if o.light {
		if err := shh.SetBloomFilter(make([]byte, whisper.BloomFilterSize)); err != nil {
			return nil, err
		}
	}
	if o.password != "" {
		archive, err := newArchive(shh, o.password)
		if err != nil {
			return nil, err
		}
		shh.RegisterServer(archive)
	}
	server := &p2p.Server{Config: p2p.Config{
		PrivateKey:  key,
		MaxPeers:    25,
		NoDiscovery: true,
		Name:        name,
		Protocols:   shh.Protocols(),
		ListenAddr:  o.listen,
	}}
	n := &node{shh: shh, server: server}
	events := make(chan whisper.EnvelopeEvent, 1000)
	shh.SubscribeEnvelopeEvents(events)
	go report(events)
	if err := server.Start(); err != nil {
		return nil, err
	}
	peers := make(chan *p2p.PeerEvent, 100)
	server.SubscribeEvents(peers)
	go n.reportPeers(peers)
	return n, shh.Start(server)
}

func (n *node) enode() string { return n.server.NodeInfo().Enode }

// report prints the events of the library under their own names.
func report(events chan whisper.EnvelopeEvent) {
	for e := range events {
		facts := fields{"hash": e.Hash.Hex()}
		switch data := e.Data.(type) {
		case *whisper.MailServerResponse:
			facts["last"] = data.LastEnvelopeHash.Hex()
			facts["cursor"] = hex.EncodeToString(data.Cursor)
			if data.Error != nil {
				facts["error"] = data.Error.Error()
			}
		case whisper.SyncEventResponse:
			facts["cursor"] = hex.EncodeToString(data.Cursor)
			facts["error"] = data.Error
		case []whisper.EnvelopeError:
			refused := []fields{}
			for _, one := range data {
				refused = append(refused, fields{
					"hash": one.Hash.Hex(), "code": one.Code, "text": one.Description,
				})
			}
			facts["refused"] = refused
		}
		if e.Batch != (common.Hash{}) {
			facts["batch"] = e.Batch.Hex()
		}
		emit(string(e.Event), facts)
	}
}

// reportPeers prints "connected" once the Whisper part of a peer answers to its
// id too, which is a moment after the peer is added.
func (n *node) reportPeers(events chan *p2p.PeerEvent) {
	for e := range events {
		switch e.Type {
		case p2p.PeerEventTypeAdd:
			for n.shh.AllowP2PMessagesFromPeer(e.Peer[:]) != nil {
				time.Sleep(10 * time.Millisecond)
			}
			emit("connected", fields{"peer": e.Peer.String()})
		case p2p.PeerEventTypeDrop:
			emit("dropped", fields{"peer": e.Peer.String(), "error": e.Error})
		}
	}
}

// do carries out one command.
func (n *node) do(c command) error {
	switch c.Do {
	case "connect":
		peer, err := enode.ParseV4(c.Enode)
		if err != nil {
			return err
		}
		n.mailserver = peer
		n.server.AddPeer(peer)
		return nil
	case "chat":
		return n.chat(c.Chat)
	case "post":
		return n.post(c.Chat, c.Text)
	case "request":
		return n.request(c)
	case "open-request":
		return n.openRequest(c)
	case "sync":
		return n.sync(c)
	}
	return fmt.Errorf("unknown command %q", c.Do)
}

// chatKey is the key of a public chat.
func (n *node) chatKey(name string) ([]byte, error) {
	id, err := n.shh.AddSymKeyFromPassword(name)
	if err != nil {
		return nil, err
	}
	return n.shh.GetSymKey(id)
}

func chatTopic(name string) whisper.TopicType {
	return whisper.BytesToTopic(crypto.Keccak256([]byte(name)))
}

// chat joins a public chat: its messages are printed, history included.
func (n *node) chat(name string) error {
	key, err := n.chatKey(name)
	if err != nil {
		return err
	}
	topic := chatTopic(name)
	filter := &whisper.Filter{
		KeySym:   key,
		Topics:   [][]byte{topic[:]},
		AllowP2P: true,
		Messages: whisper.NewMemoryMessageStore(),
	}
	if _, err := n.shh.Subscribe(filter); err != nil {
		return err
	}
	go func() {
		for range time.Tick(50 * time.Millisecond) {
			for _, message := range filter.Retrieve() {
				emit("message", fields{
					"chat": name,
					"text": string(message.Payload),
					"hash": message.EnvelopeHash.Hex(),
				})
			}
		}
	}()
	emit("joined", fields{"chat": name})
	return nil
}

// post sends a signed message to a public chat.
func (n *node) post(chat, text string) error {
	key, err := n.chatKey(chat)
	if err != nil {
		return err
	}
	envelope, err := n.seal(&whisper.MessageParams{
		KeySym:  key,
		Topic:   chatTopic(chat),
		Payload: []byte(text),
	})
	if err != nil {
		return err
	}
	if err := n.shh.Send(envelope); err != nil {
		return err
	}
	emit("posted", fields{"hash": envelope.Hash().Hex(), "text": text})
	return nil
}

// seal encrypts, signs with the node key and mines.
func (n *node) seal(params *whisper.MessageParams) (*whisper.Envelope, error) {
	params.TTL = ttl
	params.PoW = leastPow
	params.WorkTime = 5
	params.Src = n.server.PrivateKey
	message, err := whisper.NewSentMessage(params)
	if err != nil {
		return nil, err
	}
	return message.Wrap(params, n.shh.GetCurrentTime())
}
