// A Whisper node of Status, driven from outside: commands are lines of JSON on
// standard input, what happens are lines of JSON on standard output.
//
// The node itself is github.com/status-im/whisper on Status's go-ethereum, the
// library that status-go runs. This program adds no protocol of its own; it
// calls that library the way status-go's client, canary and mailserver do.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sync"
)

// out serialises the lines of standard output.
var out sync.Mutex

// fields is what an event says beside its name.
type fields map[string]interface{}

// emit prints one event.
func emit(event string, facts fields) {
	line := fields{"event": event}
	for name, value := range facts {
		line[name] = value
	}
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	out.Lock()
	defer out.Unlock()
	fmt.Println(string(text))
}

// command is one line of standard input; each uses some of the members.
type command struct {
	Do       string   `json:"do"`
	Enode    string   `json:"enode"`
	Chat     string   `json:"chat"`
	Chats    []string `json:"chats"`
	Text     string   `json:"text"`
	Password string   `json:"password"`
	From     uint32   `json:"from"`
	To       uint32   `json:"to"`
	Limit    uint32   `json:"limit"`
	Cursor   string   `json:"cursor"`
	Batch    bool     `json:"batch"`
}

func main() {
	listen := flag.String("listen", "", "address to accept peers at; none without")
	light := flag.Bool("light", false, "begin with a bloom that wants nothing")
	pow := flag.Float64("pow", leastPow, "least proof of work taken")
	server := flag.String("server", "", "be a mailserver with this password")
	flag.Parse()

	node, err := start(options{listen: *listen, light: *light, pow: *pow, password: *server})
	if err != nil {
		fmt.Fprintln(os.Stderr, "status-peer:", err)
		os.Exit(1)
	}
	emit("started", fields{"enode": node.enode()})

	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var c command
		err := json.Unmarshal(lines.Bytes(), &c)
		if err == nil {
			err = node.do(c)
		}
		if err != nil {
			emit("failed", fields{"do": c.Do, "error": err.Error()})
		}
	}
}
