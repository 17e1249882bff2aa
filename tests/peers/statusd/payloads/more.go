package main

import (
	"bytes"
	"strings"

	"github.com/golang/protobuf/proto"

	"github.com/status-im/status-go/protocol/encryption"
	"github.com/status-im/status-go/protocol/protobuf"
)

// names are what numbers are called: the words of the enumerations in status-go's
// definitions, in the words of this project.
var names = map[string][]string{
	"messages": {
		"unknown", "chat message", "contact update", "membership update", "pair installation",
		"sync installation", "request for an address", "address for a transaction",
		"declined request for an address", "request for a transaction", "transaction",
		"declined request for a transaction", "sync of a contact", "sync of an account",
		"sync of a public chat", "contact code", "push notification registration",
		"push notification registration response", "push notification query",
		"push notification query response", "push notification request",
		"push notification response", "emoji reaction", "group chat invitation", "chat identity",
		"community description", "community invitation", "request to join a community",
		"pin message", "edit message", "status update", "delete message",
	},
	"contents": {
		"unknown", "text", "sticker", "status", "emoji", "command", "group event", "image",
		"audio", "community", "gap", "contact request", "discord message",
		"identity verification", "pinned message",
	},
	"images":    {"unknown", "PNG", "JPEG", "WebP", "GIF"},
	"reactions": {"", "❤", "👍", "👎", "😆", "😢", "😠"},
}

type adder func(name string, payload []byte, told said)

// Fields of a group have no length: it begins and ends.
type edge int

const (
	begin edge = 3
	end   edge = 4
)

// fields are the bytes of a message: numbers of fields and what they hold, in turns.
func fields(pairs ...interface{}) []byte {
	out := proto.NewBuffer(nil)
	for at := 0; at < len(pairs); at += 2 {
		key := uint64(pairs[at].(int)) << 3
		switch value := pairs[at+1].(type) {
		case int:
			must(out.EncodeVarint(key))
			must(out.EncodeVarint(uint64(value)))
		case string:
			must(out.EncodeVarint(key | 2))
			must(out.EncodeStringBytes(value))
		case []byte:
			must(out.EncodeVarint(key | 2))
			must(out.EncodeRawBytes(value))
		case edge:
			must(out.EncodeVarint(key | uint64(value)))
		}
	}
	return out.Bytes()
}

// addLater adds what came after v0.50.0, by the numbers of later definitions.
func addLater(add adder) {
	later := func(name string, kind int, message []byte, told said) {
		payload, told := signed(message, protobuf.ApplicationMetadataMessage_Type(kind), told)
		add(name, payload, told)
	}
	chat := func(name string, told said, content int, more ...interface{}) {
		told["chat"], told["written"] = "status", 1600000000000
		message := fields(1, 9, 2, 1600000000000, 6, "status", 7, 2, 8, content)
		later(name, 1, append(message, fields(more...)...), told)
	}
	chat("an image", said{
		"kind": "image", "attached": said{"image": said{"bytes": 20, "encoding": "JPEG"}},
	}, 7, 10, fields(1, bytes.Repeat([]byte{1}, 20), 2, 2, 4, 640))
	chat("an image of a later encoding", said{
		"kind": "image", "attached": said{"image": said{"bytes": 3, "encoding": "unknown"}},
	}, 7, 10, fields(1, []byte{1, 2, 3}, 2, 99))
	chat("a recording", said{
		"kind": "audio", "attached": said{"audio": said{"bytes": 10, "duration": 3500}},
	}, 8, 11, fields(1, bytes.Repeat([]byte{1}, 10), 2, 1, 3, 3500))
	chat("a community", said{"kind": "community"}, 9, 12, []byte{1, 2, 3})
	chat("a contact request in a chat", said{
		"kind": "contact request", "text": "it is me", "name": "Alice",
	}, 11, 3, "it is me", 5, "alice.eth", 14, "Alice")
	chat("content of a later type", said{"kind": "content of type 99"}, 99)
	chat("a text with fields that came later, a group among them", said{"kind": "text", "text": "hi"},
		1, 3, "hi", 500, begin, 1, 7, 2, begin, 2, end, 500, end, 501, "x")
	chat("a text of which the last one counts", said{"kind": "text", "text": "two"}, 1, 3, "one", 3, "two")
	chat("a sticker in two parts", said{
		"kind": "sticker", "attached": said{"sticker": said{"hash": "e301", "pack": -7}},
	}, 2, 9, fields(1, "e301"), 9, fields(2, -7))

	later("a contact update with a display name", 2, fields(1, 3, 4, "Bob"),
		said{"kind": "contact update", "name": "Bob"})
	later("a reaction", 22, fields(1, 7, 2, "status", 3, "0x01", 4, 2, 5, 1),
		said{"kind": "emoji reaction", "chat": "status", "replies_to": "0x01", "text": "❤"})
	later("a reaction taken back", 22, fields(1, 7, 2, "status", 3, "0x01", 4, 2, 5, 2, 6, 1),
		said{"kind": "emoji reaction", "chat": "status", "replies_to": "0x01", "text": "👍 taken back"})
	later("a reaction that came later", 22, fields(1, 7, 2, "status", 3, "0x01", 4, 2, 5, 99),
		said{"kind": "emoji reaction", "chat": "status", "replies_to": "0x01"})
	later("a pin", 28, fields(1, 7, 2, "0x01", 3, "status", 4, 1, 5, 2),
		said{"kind": "pin message", "chat": "status", "replies_to": "0x01"})
	later("a pin taken out", 28, fields(1, 8, 2, "0x01", 3, "status", 5, 2),
		said{"kind": "unpin message", "chat": "status", "replies_to": "0x01"})
	later("an edit", 29, fields(1, 7, 2, "better", 3, "status", 4, "0x01", 6, 2),
		said{"kind": "edit message", "chat": "status", "replies_to": "0x01", "text": "better"})
	later("a deletion", 31, fields(1, 7, 2, "status", 3, "0x01", 5, 2),
		said{"kind": "delete message", "chat": "status", "replies_to": "0x01"})
	later("a community's description", 25, fields(1, 7), said{"kind": "community description"})
	later("a type that came later", 99, fields(1, 9), said{"kind": "message of type 99"})
	later("a type below zero", -1, fields(1, 9), said{"kind": "message of type -1"})

	add("keys of devices", marshal(&encryption.ProtocolMessage{
		InstallationId: "x",
		Bundles: []*encryption.Bundle{{
			Identity:      bytes.Repeat([]byte{2}, 33),
			SignedPreKeys: map[string]*encryption.SignedPreKey{"x": {SignedPreKey: []byte{3}, Version: 1}},
			Signature:     bytes.Repeat([]byte{1}, 65),
			Timestamp:     7,
		}},
	}), said{"format": "status-protobuf", "kind": "keys of devices"})

	const unread = "chat message that does not read"
	later("a chat message whose text is not UTF-8", 1, fields(3, []byte{0xff}), said{"kind": unread})
	later("a chat message whose text is a number", 1, fields(3, 7), said{"kind": unread})
	later("a chat message cut short", 1, []byte{0x1a, 5, 'h', 'i'}, said{"kind": unread})
	later("a chat message with a group that another one ends", 1, fields(500, begin, 501, end), said{"kind": unread})
	groups := func(deep int) []byte {
		return append(bytes.Repeat(fields(1, begin), deep), bytes.Repeat(fields(1, end), deep)...)
	}
	later("groups as deep as they are passed over", 31, groups(100), said{"kind": "delete message"})
	later("groups that nest deeper", 31, groups(101), said{"kind": "delete message that does not read"})
}

// addForeign adds older messages as they stood, and what others write or nobody means to.
func addForeign(add adder) {
	transit := func(name, text string, told said) {
		told["format"] = "status-transit"
		add(name, []byte(text), told)
	}
	transit("a sticker in transit",
		`["~#c4",[["^ ","~:hash","e301","~:pack",4],"sticker","~:public-group-user-message",1,2]]`,
		said{"kind": "public-group-user-message, sticker", "written": 2,
			"attached": said{"sticker": said{"hash": "e301", "pack": 4}}})
	transit("a reply in transit",
		`["~#c7",["yes","text/plain","~:public-group-user-message",1,2,["^ ","~:chat-id","~:kw","~:response-to-v2","0x01"]]]`,
		said{"kind": "public-group-user-message, text/plain", "written": 2,
			"text": "yes", "chat": "kw", "replies_to": "0x01"})
	transit("a contact request in transit", `["~#c2",["Alice","data:image/png;base64,","0x0",null]]`,
		said{"kind": "contact request", "name": "Alice"})
	transit("an answer to one", `["~#c3",["Bob","","0x0",null]]`,
		said{"kind": "contact request confirmed", "name": "Bob"})
	transit("a contact update in transit", `["~#c6",["Carol","","0x0"]]`,
		said{"kind": "contact update", "name": "Carol"})
	transit("a key of a contact", `["~#c1",["0x01"]]`, said{"kind": "new contact key"})
	transit("messages seen", `["~#c5",[["^ "]]]`, said{"kind": "messages seen"})
	transit("a membership update in transit", `["~#g5",["x",[]]]`, said{"kind": "membership update"})
	transit("a pairing in transit", `["~#p2",["x","ios","phone"]]`, said{"kind": "pair installation"})
	transit("a sync in transit", `["~#p1",[]]`, said{"kind": "sync installation"})
	transit("a time beyond 64 bits in transit", `["~#c4",["x","text/plain","~:kw",1,36893488147419103232]]`,
		said{"kind": "kw, text/plain", "text": "x"})
	nested := func(deep int) string {
		return `["~#c4",[` + strings.Repeat("[", deep) + strings.Repeat("]", deep) + `]]`
	}
	transit("a message that nests as deep as is read", nested(125), said{})

	foreign := func(name string, payload []byte, told said) {
		told["format"] = "unknown"
		add(name, payload, told)
	}
	isJSON := func(name, text string) { foreign(name, []byte(text), said{"kind": "JSON", "text": text}) }
	isJSON("JSON of another application", ` {"app": 1}`)
	isJSON("a message that nests deeper", nested(126))
	isJSON("half a character in transit", `["~#c4",["\ud800"]]`)
	isJSON("a number beyond all in transit", `["~#c4",[1e999]]`)
	isJSON("a tag around no list", `["~#c4",{}]`)
	foreign("a tag of others", []byte(`["~#constructor",["x"]]`), said{"kind": "transit constructor"})
	foreign("a text with controls", []byte("a\x00b"), said{"text": "a\x00b"})
	foreign("bytes of others", []byte{0xff, 0xfe}, said{})
	add("a text of somebody", []byte("hello\n\tthere"), said{"format": "text", "text": "hello\n\tthere"})
	add("a text that begins as JSON does", []byte("[sic] שלום 👋"), said{"format": "text", "text": "[sic] שלום 👋"})

	message := fields(3, "hi")
	honest, _ := signed(message, 1, said{})
	signature := honest[2 : 2+65]
	foreign("a wrapper with one more field", append(honest, fields(4, 1)...), said{})
	foreign("a wrapper in another order", fields(2, message, 1, signature, 3, 1), said{})
	foreign("a wrapper with a type twice", fields(1, signature, 2, message, 3, 2, 3, 1), said{})
	foreign("a wrapper that writes a zero", fields(1, signature, 2, message, 3, 0), said{})
	foreign("a wrapper with a number that is not the shortest",
		append(fields(1, signature, 2, message), 0x18, 0x81, 0), said{})
	foreign("a wrapper with a type beyond 32 bits", fields(1, signature, 2, message, 3, 1<<32+1), said{})
	foreign("a signature cut short", fields(1, signature[:64], 2, message, 3, 1), said{})
	foreign("a signature of nobody", fields(1, append(signature[:64:64], 9), 2, message, 3, 1), said{})
	foreign("a layer in a layer", public(public(honest)), said{})
	foreign("keys of devices that are none", fields(2, "x", 3, []byte{0xff}), said{})
}
