// What status-go's LevelDB mailserver does with envelopes, without its network:
// the baseline of `benches/durable.rs` and `benches/deliver`, which write the
// files read here.
//
//	go run . FOLDER
//	go run . FOLDER deliver
//
// FOLDER/envelopes.rlps holds envelopes one after the other, FOLDER/queries one
// query a line: name, topic, first and last second. FOLDER/requests holds one
// request a line: name, bloom, first and last second; "deliver" answers those,
// by pages and in bundles. One JSON object a line.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"
	"golang.org/x/crypto/sha3"
)

// Length of a key: when it was sent, hash, topic.
const keyLength = 4 + 32 + 4

// Envelopes stored with a sync for each; more would only take longer.
const synced = 2000

type envelope struct {
	expiry, ttl uint32
	topic       [4]byte
	data        []byte
	nonce       uint64
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: baseline FOLDER [deliver]")
	}
	folder := os.Args[1]
	envelopes := read(filepath.Join(folder, "envelopes.rlps"))
	if len(os.Args) > 2 {
		db, path := open(folder)
		archive(db, envelopes, nil)
		envelopes = nil
		requests(db, filepath.Join(folder, "requests"))
		closeAndRemove(db, path)
		return
	}

	few := envelopes[:min(synced, len(envelopes))]
	db, path := open(folder)
	report("synced", len(few), timed(func() { archive(db, few, &opt.WriteOptions{Sync: true}) }))
	closeAndRemove(db, path)

	db, path = open(folder)
	report("unsynced", len(envelopes), timed(func() { archive(db, envelopes, nil) }))
	queries(db, filepath.Join(folder, "queries"))
	closeAndRemove(db, path)
}

// open opens a database as the mailserver does.
func open(folder string) (*leveldb.DB, string) {
	path, err := os.MkdirTemp(folder, "leveldb")
	check(err)
	db, err := leveldb.OpenFile(path, &opt.Options{OpenFilesCacheCapacity: 5})
	check(err)
	return db, path
}

func closeAndRemove(db *leveldb.DB, path string) {
	check(db.Close())
	check(os.RemoveAll(path))
}

// archive stores envelopes one Put each: hashed, encoded, keyed by time.
func archive(db *leveldb.DB, envelopes []envelope, options *opt.WriteOptions) {
	for i := range envelopes {
		e := &envelopes[i]
		raw := e.encode()
		hash := keccak(raw)
		var key [keyLength]byte
		binary.BigEndian.PutUint32(key[:], e.expiry-e.ttl)
		copy(key[4:], hash[:])
		copy(key[36:], e.topic[:])
		check(db.Put(key[:], raw, options))
	}
}

// queries answers each query by a scan of its time range that looks at the
// bloom of every key's topic.
func queries(db *leveldb.DB, path string) {
	file, err := os.Open(path)
	check(err)
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var name, topicHex string
		var from, to uint32
		_, err := fmt.Sscan(lines.Text(), &name, &topicHex, &from, &to)
		check(err)
		topic, err := hex.DecodeString(topicHex)
		check(err)
		wanted := bloomOf(topic)
		found, bytes := 0, 0
		took := timed(func() {
			var start, limit [keyLength]byte
			binary.BigEndian.PutUint32(start[:], from)
			binary.BigEndian.PutUint32(limit[:], to+1)
			scan := db.NewIterator(&util.Range{Start: start[:], Limit: limit[:]}, nil)
			for scan.Next() {
				key := scan.Key()
				if !matches(&wanted, bloomOf(key[36:40])) {
					continue
				}
				raw := append([]byte(nil), scan.Value()...)
				found++
				bytes += len(raw)
			}
			scan.Release()
			check(scan.Error())
		})
		fmt.Printf("{\"work\":\"leveldb %s\",\"found\":%d,\"bytes\":%d,\"micros\":%d}\n",
			name, found, bytes, took.Microseconds())
	}
	check(lines.Err())
}

// What a request is answered with at most: status clients ask for no more.
const pageLimit = 10000

// Bytes of a bundle; the reference flushes below its largest message.
const bundleSize = 1 << 20

// Times a request is answered; the first is told apart.
const runs = 5

// requests answers each request page by page until nothing follows, as the
// mailserver does: each page scans from its cursor on, tests the bloom of every
// key's topic, copies values and gathers them into bundles, each of which is
// encoded as a list.
func requests(db *leveldb.DB, path string) {
	file, err := os.Open(path)
	check(err)
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var name, bloomHex string
		var from, to uint32
		_, err := fmt.Sscan(lines.Text(), &name, &bloomHex, &from, &to)
		check(err)
		decoded, err := hex.DecodeString(bloomHex)
		check(err)
		var wanted [64]byte
		copy(wanted[:], decoded)
		var took []time.Duration
		var found, bytes int
		for run := 0; run < runs; run++ {
			found, bytes = 0, 0
			took = append(took, timed(func() {
				var cursor []byte
				for {
					var count, size int
					count, size, cursor = page(db, &wanted, from, to, cursor)
					found += count
					bytes += size
					if cursor == nil {
						return
					}
				}
			}))
		}
		first := took[0]
		rest := took[1:]
		sort.Slice(rest, func(i, j int) bool { return rest[i] < rest[j] })
		fmt.Printf("{\"work\":\"leveldb %s\",\"found\":%d,\"bytes\":%d,\"first_micros\":%d,\"micros\":%d}\n",
			name, found, bytes, first.Microseconds(), rest[(len(rest)-1)/2].Microseconds())
	}
	check(lines.Err())
}

// page answers one request; the cursor leads on, or is nil.
func page(db *leveldb.DB, wanted *[64]byte, from, to uint32, cursor []byte) (found, bytes int, next []byte) {
	var start, limit [keyLength]byte
	binary.BigEndian.PutUint32(start[:], from)
	binary.BigEndian.PutUint32(limit[:], to+1)
	scan := db.NewIterator(&util.Range{Start: start[:], Limit: limit[:]}, nil)
	defer scan.Release()
	if cursor != nil {
		scan.Seek(cursor)
	}
	var bundle [][]byte
	size := 0
	flush := func() {
		if len(bundle) > 0 {
			bytes += len(list(bundle, size))
			bundle, size = nil, 0
		}
	}
	for scan.Next() {
		key := scan.Key()
		if !matches(wanted, bloomOf(key[36:40])) {
			continue
		}
		raw := append([]byte(nil), scan.Value()...)
		if size+len(raw) >= bundleSize {
			flush()
		}
		bundle = append(bundle, raw)
		size += len(raw)
		found++
		if found == pageLimit {
			next = append([]byte(nil), key[:36]...)
			break
		}
	}
	flush()
	check(scan.Error())
	return
}

// list encodes items that are encoded already.
func list(items [][]byte, size int) []byte {
	encoded := appendHeader(make([]byte, 0, size+9), 0xc0, size)
	for _, item := range items {
		encoded = append(encoded, item...)
	}
	return encoded
}

// bloomOf sets three of 512 bits, as EIP-627 says.
func bloomOf(topic []byte) (bloom [64]byte) {
	for j := 0; j < 3; j++ {
		index := int(topic[j])
		if topic[3]&(1<<j) != 0 {
			index += 256
		}
		bloom[index/8] |= 1 << (index % 8)
	}
	return
}

func matches(filter *[64]byte, sample [64]byte) bool {
	for i := range filter {
		if filter[i]|sample[i] != filter[i] {
			return false
		}
	}
	return true
}

func keccak(raw []byte) (hash [32]byte) {
	h := sha3.NewLegacyKeccak256()
	h.Write(raw)
	h.Sum(hash[:0])
	return
}

func (e *envelope) encode() []byte {
	body := make([]byte, 0, len(e.data)+32)
	body = appendInt(body, uint64(e.expiry))
	body = appendInt(body, uint64(e.ttl))
	body = append(append(body, 0x84), e.topic[:]...)
	if len(e.data) == 1 && e.data[0] < 0x80 {
		body = append(body, e.data[0])
	} else {
		body = append(appendHeader(body, 0x80, len(e.data)), e.data...)
	}
	body = appendInt(body, e.nonce)
	return append(appendHeader(make([]byte, 0, len(body)+9), 0xc0, len(body)), body...)
}

func appendInt(to []byte, n uint64) []byte {
	if n == 0 {
		return append(to, 0x80)
	}
	if n < 0x80 {
		return append(to, byte(n))
	}
	digits := trimmed(n)
	return append(append(to, 0x80+byte(len(digits))), digits...)
}

func appendHeader(to []byte, kind byte, length int) []byte {
	if length < 56 {
		return append(to, kind+byte(length))
	}
	digits := trimmed(uint64(length))
	return append(append(to, kind+55+byte(len(digits))), digits...)
}

func trimmed(n uint64) []byte {
	var all [8]byte
	binary.BigEndian.PutUint64(all[:], n)
	i := 0
	for i < 7 && all[i] == 0 {
		i++
	}
	return all[i:]
}

// read reads a stream that our own side just wrote.
func read(path string) (all []envelope) {
	stream, err := os.ReadFile(path)
	check(err)
	for len(stream) > 0 {
		var body []byte
		body, stream = item(stream)
		var e envelope
		var field []byte
		field, body = item(body)
		e.expiry = uint32(number(field))
		field, body = item(body)
		e.ttl = uint32(number(field))
		field, body = item(body)
		copy(e.topic[:], field)
		e.data, body = item(body)
		field, _ = item(body)
		e.nonce = number(field)
		all = append(all, e)
	}
	return
}

// item splits the first RLP item's payload off.
func item(from []byte) (payload, rest []byte) {
	kind := from[0]
	if kind < 0x80 {
		return from[:1], from[1:]
	}
	short := int(kind-0x80) % 0x40
	if short < 56 {
		return from[1 : 1+short], from[1+short:]
	}
	digits := 1 + short - 55
	end := digits + int(number(from[1:digits]))
	return from[digits:end], from[end:]
}

func number(digits []byte) (n uint64) {
	for _, digit := range digits {
		n = n<<8 | uint64(digit)
	}
	return
}

func timed(work func()) time.Duration {
	start := time.Now()
	work()
	return time.Since(start)
}

func report(work string, count int, took time.Duration) {
	fmt.Printf("{\"work\":\"leveldb %s\",\"per_second\":%.0f}\n", work, float64(count)/took.Seconds())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
