//go:build tools

// Package statusd pins the mailserver that the tests run beside.
package statusd

import (
	_ "github.com/status-im/status-go/cmd/node-canary"
	_ "github.com/status-im/status-go/cmd/statusd"
)
