// Payloads of public chats as status-go makes them, and others, as JSON on stdout: what
// fixtures/status/payloads.json holds.
package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"log"
	"os"

	"github.com/golang/protobuf/proto"
	"github.com/russolsen/transit"

	"github.com/status-im/status-go/eth-node/crypto"
	"github.com/status-im/status-go/protocol/encryption"
	"github.com/status-im/status-go/protocol/protobuf"
	v1 "github.com/status-im/status-go/protocol/v1"
)

type vector struct {
	Name    string `json:"name"`
	Payload string `json:"payload"`
	Said    said   `json:"said"`
}

type said map[string]interface{}

var author, _ = crypto.ToECDSA(bytes.Repeat([]byte{7}, 32))

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func marshal(message proto.Message) []byte {
	out, err := proto.Marshal(message)
	must(err)
	return out
}

func hexed(data []byte) string { return "0x" + hex.EncodeToString(data) }

// wrapped is a message as the author signs it, and what is told of it besides.
func wrapped(message proto.Message, kind protobuf.ApplicationMetadataMessage_Type, told said) ([]byte, said) {
	return signed(marshal(message), kind, told)
}

func signed(message []byte, kind protobuf.ApplicationMetadataMessage_Type, told said) ([]byte, said) {
	payload, err := v1.WrapMessageV1(message, kind, author)
	must(err)
	told["format"] = "status-protobuf"
	told["author"] = hexed(crypto.FromECDSAPub(&author.PublicKey))
	told["id"] = v1.MessageID(&author.PublicKey, payload).String()
	return payload, told
}

func public(payload []byte) []byte {
	return marshal(&encryption.ProtocolMessage{
		InstallationId: "8d5a1c4e-52a0-4ef9-9d0d-3f6a1e9a4c11",
		PublicMessage:  payload,
	})
}

func transitMessage(values ...interface{}) []byte {
	var out bytes.Buffer
	must(transit.NewEncoder(&out, false).Encode(transit.TaggedValue{Tag: "c4", Value: values}))
	return bytes.TrimSpace(out.Bytes())
}

func main() {
	var vectors []vector
	add := func(name string, payload []byte, told said) {
		vectors = append(vectors, vector{name, hexed(payload), told})
	}

	chat := func(text string, kind protobuf.ChatMessage_ContentType) *protobuf.ChatMessage {
		return &protobuf.ChatMessage{
			Clock: 9, Timestamp: 1590000000000, Text: text, ChatId: "status",
			MessageType: protobuf.ChatMessage_PUBLIC_GROUP, ContentType: kind,
		}
	}
	const message = protobuf.ApplicationMetadataMessage_CHAT_MESSAGE

	text := chat("good morning", protobuf.ChatMessage_TEXT_PLAIN)
	text.EnsName = "alice.eth"
	told := func(kind string) said {
		return said{"kind": kind, "chat": "status", "written": 1590000000000}
	}
	full := told("text")
	full["text"], full["name"] = "good morning", "alice.eth"
	payload, full := wrapped(text, message, full)
	add("a text", payload, full)
	add("a text in the layer of encryption", public(payload), full)

	reply := chat("and to you", protobuf.ChatMessage_TEXT_PLAIN)
	reply.ResponseTo = v1.MessageID(&author.PublicKey, payload).String()
	answer := told("text")
	answer["text"], answer["replies_to"] = "and to you", reply.ResponseTo
	payload, answer = wrapped(reply, message, answer)
	add("a reply", payload, answer)

	emoji := told("emoji")
	emoji["text"] = "\U0001F44B"
	payload, emoji = wrapped(chat("\U0001F44B", protobuf.ChatMessage_EMOJI), message, emoji)
	add("an emoji", payload, emoji)

	sticker := chat("", protobuf.ChatMessage_STICKER)
	sticker.Payload = &protobuf.ChatMessage_Sticker{
		Sticker: &protobuf.StickerMessage{Hash: "e30101701220ab", Pack: 3},
	}
	stuck := told("sticker")
	stuck["attached"] = said{"sticker": said{"hash": "e30101701220ab", "pack": 3}}
	payload, stuck = wrapped(sticker, message, stuck)
	add("a sticker", payload, stuck)

	update, changed := wrapped(
		&protobuf.ContactUpdate{Clock: 3, EnsName: "bob.eth"},
		protobuf.ApplicationMetadataMessage_CONTACT_UPDATE,
		said{"kind": "contact update", "name": "bob.eth"},
	)
	add("a contact update", update, changed)

	pair, paired := wrapped(
		&protobuf.PairInstallation{Clock: 4, InstallationId: "x", DeviceType: "ios", Name: "phone"},
		protobuf.ApplicationMetadataMessage_PAIR_INSTALLATION,
		said{"kind": "pair installation"},
	)
	add("a pairing", pair, paired)

	direct := marshal(&encryption.ProtocolMessage{
		InstallationId: "8d5a1c4e-52a0-4ef9-9d0d-3f6a1e9a4c11",
		DirectMessage: map[string]*encryption.DirectMessageProtocol{
			"x": {Payload: bytes.Repeat([]byte{1}, 40)},
		},
	})
	add("a direct message", direct, said{"format": "status-protobuf", "kind": "direct message"})

	keyword := transit.Keyword("public-group-user-message")
	old := said{
		"format": "status-transit", "text": "abc123", "chat": "status",
		"written": 1545930773682, "kind": "public-group-user-message, text/plain",
	}
	payload = transitMessage("abc123", "text/plain", keyword, int64(154593077368201), int64(1545930773682),
		map[interface{}]interface{}{
			transit.Keyword("chat-id"): "status",
			transit.Keyword("text"):    "abc123",
		})
	add("a text in transit", payload, old)
	add("a text in transit in the layer of encryption", public(payload), old)

	escaped := said{
		"format": "status-transit", "text": "~tilde ^ `", "written": 2,
		"kind": "public-group-user-message, text/plain",
	}
	payload = transitMessage("~tilde ^ `", "text/plain", keyword, int64(1), int64(2))
	add("a text in transit that begins with an escape", payload, escaped)

	addLater(add)
	addForeign(add)

	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	must(out.Encode(map[string]interface{}{
		"source":      "status-go v0.50.0 and its transit library, and by hand what came later and what others write; by tests/peers/statusd/payloads",
		"description": "payloads of Whisper messages in hex, and what they say; the author's secret key is 07 x 32; names: what numbers of types of messages, contents, images and reactions are called",
		"names":       names,
		"vectors":     vectors,
	}))
}
